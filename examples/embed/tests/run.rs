//! The example as a user runs it.

use std::process::Command;

#[test]
fn eighteen_connections_are_shared_out_by_weight() {
    let out = Command::new(env!("CARGO_BIN_EXE_embed")).output().unwrap();
    let shown = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{shown}{}", String::from_utf8_lossy(&out.stderr));
    assert!(shown.contains("-> 10.0.0.2:80  weight 4  active 12"), "{shown}");
    assert!(shown.contains("-> 10.0.0.3:80  weight 2  active 6"), "{shown}");
    assert_eq!(shown.matches("client port").count(), 18, "{shown}");
}

#[test]
fn the_event_loop_fits_in_150_lines() {
    let lines = include_str!("../src/main.rs").lines().count();
    assert!(lines < 150, "{lines} lines");
}
