//! The socket's file.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use lvs_control::server::Patience;
use lvs_control::{Client, Reply, Request, ServerError};
use lvs_core::director::Director;
use lvs_core::limits::Limits;

use crate::director::{Running, SocketPath};

fn start_at(path: SocketPath) -> Result<Running, ServerError> {
    let director = Director::new(Limits::small(), [1, 2]).unwrap();
    Running::run(director, Patience::default(), path)
}

#[test]
fn only_owner_and_group_may_connect_and_the_file_goes_with_the_director() {
    let mut running = Running::start();
    let mode = std::fs::metadata(&*running.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    running.stop();
    assert!(!running.path.exists());
    let error = Client::connect(&running.path).unwrap_err().to_string();
    assert!(error.starts_with("no director is running at "), "{error}");
    assert!(error.contains("lvs-director run --interface eth0 --control"), "{error}");
}

#[test]
fn a_socket_that_was_left_behind_is_taken_over() {
    let path = SocketPath::new();
    drop(UnixListener::bind(&*path).unwrap());
    let error = Client::connect(&path).unwrap_err().to_string();
    assert!(error.starts_with("no director is running at "), "{error}");
    let running = start_at(path).unwrap();
    let first = running.client().ask(Request::About).unwrap().next();
    assert!(matches!(first, Some(Ok(Reply::About(_)))));
}

#[test]
fn a_socket_at_which_somebody_listens_is_left_alone() {
    let running = Running::start();
    let other = lvs_control::server::Place::take(&running.path).unwrap_err().to_string();
    assert!(other.starts_with("another director is running at "), "{other}");
    let first = running.client().ask(Request::About).unwrap().next();
    assert!(matches!(first, Some(Ok(Reply::About(_)))));
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let path = SocketPath::new();
    std::fs::write(&*path, "precious").unwrap();
    let error = lvs_control::server::Place::take(&path).unwrap_err().to_string();
    assert!(error.contains("is in the way and no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&*path).unwrap(), "precious");
}

#[test]
fn the_file_of_a_successor_is_left_alone() {
    let mut first = Running::start();
    std::fs::remove_file(&*first.path).unwrap();
    let successor = UnixListener::bind(&*first.path).unwrap();
    first.stop();
    assert!(first.path.exists());
    drop(successor);
}

#[test]
fn a_path_that_cannot_be_is_told() {
    let long = std::env::temp_dir().join("x".repeat(120));
    let error = lvs_control::server::Place::take(&long).unwrap_err().to_string();
    assert!(error.contains("too long"), "{error}");
    let nowhere = std::env::temp_dir().join("no-such-folder-of-lvs/control.sock");
    let error = lvs_control::server::Place::take(&nowhere).unwrap_err().to_string();
    assert!(error.starts_with("cannot open the control socket "), "{error}");
}
