//! Clients that misbehave: the loop never waits for them, and they get no more than their share.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lvs_control::protocol::REQUEST_MAX;
use lvs_control::server::{CONNECTIONS_MAX, Patience};
use lvs_control::{Reply, Request};

use crate::answers::loaded;
use crate::director::{PATIENCE, Running, SocketPath, wait_until};

fn short() -> Patience {
    let [request, idle, reader] = [200, 400, 300].map(Duration::from_millis);
    Patience { request, idle, reader }
}

fn connect(running: &Running) -> UnixStream {
    let stream = UnixStream::connect(&*running.path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes and reads what comes back until the end.
fn exchange(running: &Running, bytes: &[u8]) -> String {
    let mut stream = connect(running);
    // The other side may have had enough before all is sent.
    let _ = stream.write_all(bytes);
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    text
}

/// The director still answers.
fn still_answers(running: &Running) {
    let replies: Vec<_> = running.client().ask(Request::About).unwrap().collect();
    assert!(matches!(&replies[..], [Ok(Reply::About(_))]), "{replies:?}");
}

/// The director answers as soon as there is a place for one more client.
fn wait_until_answered(running: &Running) {
    wait_until("the director answers", || {
        running
            .client()
            .ask(Request::About)
            .is_ok_and(|mut replies| matches!(replies.next(), Some(Ok(Reply::About(_)))))
    });
}

#[test]
fn malformed_requests_are_refused_with_a_text_and_the_connection_ends() {
    let running = Running::start();
    let cases = [
        ("\n", "the request is wrong: EOF"),
        ("hello\n", "the request is wrong: expected value"),
        ("{\"version\":1}\n", "missing field `request`"),
        ("{\"version\":99,\"request\":\"tea\"}\n", "speaks version 1 of the protocol, not 99"),
        ("{\"version\":1,\"request\":\"tea\"}\n", "unknown variant `tea`"),
        ("GET / HTTP/1.1\r\n\r\n", "the request is wrong"),
        ("\u{0}\u{0}\n", "the request is wrong"),
        (
            "{\"version\":1,\"request\":{\"change\":{\"changes\":[{\"delete_service\":{\"mark\":0,\
             \"family\":\"ipv4\"}}]}}}\n",
            "the mark of a service is not 0",
        ),
    ];
    for (request, wanted) in cases {
        let mut stream = connect(&running);
        stream.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"refused\":{\"status\":255"), "{request:?}: {line}");
        assert!(line.replace("\\\"", "\"").contains(wanted), "{request:?}: {line}");
    }
    let many = vec!["\"clear\""; 1025].join(",");
    let request =
        format!("{{\"version\":1,\"request\":{{\"change\":{{\"changes\":[{many}]}}}}}}\n");
    assert!(exchange(&running, request.as_bytes()).contains("at most 1024 changes"));
    // Braces that never close are not followed for ever.
    let deep = format!("{}\n", "[".repeat(1 << 20));
    assert!(exchange(&running, deep.as_bytes()).contains("the request is wrong"));
    still_answers(&running);
}

#[test]
fn a_request_without_an_end_is_refused_at_its_limit() {
    let running = Running::start();
    let text = exchange(&running, &vec![b'['; REQUEST_MAX + 1]);
    assert!(text.contains(&format!("longer than {REQUEST_MAX} bytes")), "{text}");
    still_answers(&running);
}

#[test]
fn long_requests_at_once_share_a_bounded_room() {
    let running = Running::start();
    let half = vec![b' '; REQUEST_MAX - 1];
    let mut held: Vec<UnixStream> = Vec::new();
    let mut refused = 0;
    for _ in 0..4 {
        let mut stream = connect(&running);
        // What is refused is not read to its end.
        if stream.write_all(&half).is_err() {
            refused += 1;
        }
        held.push(stream);
    }
    assert!((1..=3).contains(&refused), "{refused} of 4 were refused");
    still_answers(&running);
}

#[test]
fn half_a_request_is_waited_for_a_while_and_no_longer() {
    let running = Running::start_with(&[], short());
    let mut stream = connect(&running);
    stream.write_all(b"{\"version\":1,\"requ").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("no whole request came: it takes too long"), "{text}");
    // One byte after the other does not prolong it.
    let mut stream = connect(&running);
    while stream.write_all(b"[").is_ok() {
        std::thread::sleep(Duration::from_millis(20));
    }
    still_answers(&running);
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let running = Running::start();
    for _ in 0..3 * CONNECTIONS_MAX {
        let mut stream = connect(&running);
        stream.write_all(b"{\"version\":1,\"request\":\"connections\"").unwrap();
        drop(stream);
        let mut stream = connect(&running);
        let _ = stream.write_all(b"{\"version\":1,\"request\":\"connections\"}\n");
    }
    // Their places are free again.
    wait_until_answered(&running);
}

#[test]
fn ten_thousand_connections_are_refused_beyond_a_number_and_do_no_harm() {
    let running = Running::start_with(&[], short());
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let before = threads();
    let mut held = std::collections::VecDeque::new();
    let mut most = 0;
    for n in 0..10_000 {
        // As many as the system lets one process hold stay open.
        match UnixStream::connect(&*running.path) {
            Ok(stream) => held.push_back(stream),
            Err(error) => panic!("connection {n}: {error}"),
        }
        if held.len() > 400 {
            held.pop_front();
        }
        if n % 100 == 0 {
            most = most.max(threads());
        }
    }
    // Other tests run beside this one in the same process.
    let others = 40;
    assert!(most <= before + CONNECTIONS_MAX + others, "{most} threads, {before} before");
    drop(held);
    wait_until_answered(&running);
}

#[test]
fn whoever_finds_no_place_is_told() {
    let running = Running::start();
    let held: Vec<UnixStream> = (0..CONNECTIONS_MAX).map(|_| connect(&running)).collect();
    let mut told = String::new();
    wait_until("a connection is refused", || {
        told.clear();
        let stream = connect(&running);
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let _ = BufReader::new(stream).read_line(&mut told);
        !told.is_empty()
    });
    assert!(told.contains("64 others are connected to the director"), "{told}");
    drop(held);
}

#[test]
fn a_reader_that_never_reads_holds_up_nobody_and_is_let_go() {
    let patience = Patience { reader: Duration::from_secs(1), ..Patience::default() };
    let running = Running::run(loaded(100_000), patience, SocketPath::new()).unwrap();
    let mut lazy = connect(&running);
    lazy.write_all(b"{\"version\":1,\"request\":\"connections\"}\n").unwrap();
    // Its listing stands still; the loop rests and others are served.
    wait_until("the listing stands still", || {
        let before = running.turns.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
        let turns = running.turns.load(Ordering::SeqCst) - before;
        turns < 5 && before > 10
    });
    let done = running.turns.load(Ordering::SeqCst);
    assert!(done < 300, "{done} turns: what nobody reads is listed all the same");
    still_answers(&running);
    assert_eq!(running.count_connections(), 100_000);
    // In the end its connection is closed, before its listing is whole.
    let mut text = Vec::new();
    std::thread::sleep(Duration::from_millis(1500));
    let _ = lazy.read_to_end(&mut text);
    assert!(!text.ends_with(b"\"done\"\n"));
    still_answers(&running);
}
