//! `lvsadm drain`: a real server is taken out of its service while clients are at work.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use lvs_testnet::{HttpServer, Net, Process, Signal, TcpEcho, http};

use crate::director::{
    Director, Done, Held, PATIENCE, SocketPath, load, rules, servers4, wait_for, wait_until,
};
use crate::numbers::Stats;

/// Connections that have ended are kept for so short a time (`--set` of the second value), that a drain ends soon.
const SOON: &str = "--set 900 1 300";

fn target(net: &Net) -> SocketAddr {
    SocketAddr::new(net.vip4(0), 80)
}

/// The weight of a real server; `None` if it is gone.
fn weight(socket: &SocketPath, server: IpAddr) -> Option<u32> {
    let listing = socket.done("-L -n");
    let line = listing.lines().find(|line| line.contains(&format!("-> {server}:80 ")))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

fn drain(net: &Net, socket: &SocketPath, server: IpAddr, options: &str) -> Process {
    socket.start(net, &format!("drain {} {server}:80 {options}", target(net)))
}

/// Whoever drains is told so by the director: from here on, no new client comes.
#[track_caller]
fn begun(net: &Net, drain: &Process, server: IpAddr) {
    let told = format!(
        "{server}:80 of TCP {} takes no new clients (its weight was 1); it stays so if you interrupt this\n",
        target(net)
    );
    drain.wait_for(&told, PATIENCE);
}

/// A connection to this real server on which no request has come yet.
#[track_caller]
fn slow_request(net: &Net, socket: &SocketPath, server: IpAddr) -> TcpStream {
    wait_for(&format!("a connection to {server}"), || {
        let stream = net.client().enter(|| http::connect(target(net), None)).ok()?;
        let client = stream.local_addr().expect("it is connected");
        let told = socket.done(&format!("connection tcp {client} {}", target(net)));
        told.contains(&format!("  server     {server}:80 (")).then_some(stream)
    })
}

/// Sends the request at last, and returns the answer.
#[track_caller]
fn ask_at_last(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let asked = stream.write_all(b"GET / HTTP/1.0\r\n\r\n");
    asked.and_then(|()| stream.read_to_string(&mut answer)).expect("the connection goes on");
    answer.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_drain_sends_a_server_no_new_client_lets_its_work_end_and_removes_it() {
    let net = Net::one_armed(3);
    let _servers: Vec<HttpServer> =
        net.servers().iter().map(|host| HttpServer::start(host, 80)).collect();
    let socket = SocketPath::new();
    let text = rules(&format!("-t {} -s rr", target(&net)), servers4(&net));
    let director = Director::start_with(&net, &text, &["--control", socket.path()]);
    socket.done(SOON);
    let (server, service) = (net.server4(0), format!("TCP {}", target(&net)));
    let [first, second] = [(); 2].map(|()| slow_request(&net, &socket, server));
    let (done, loads) = (AtomicBool::new(false), AtomicU32::new(0));
    let told = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                load(&net, 1_000, target(&net), None);
                loads.fetch_add(1, Ordering::SeqCst);
            }
        });
        let _done = Done(&done);
        wait_until("the load has reached every server", || loads.load(Ordering::SeqCst) > 0);
        let mut drain = drain(&net, &socket, server, "");
        begun(&net, &drain, server);
        assert_eq!(weight(&socket, server), Some(0));
        let before = Stats::of(&socket);
        let some = loads.load(Ordering::SeqCst) + 2;
        wait_until("more load", || loads.load(Ordering::SeqCst) >= some);
        let after = Stats::of(&socket);
        let new = |i| {
            let server = net.server4(i);
            after.server(&service, server)[0] - before.server(&service, server)[0]
        };
        assert_eq!(new(0), 0, "no new client comes to it");
        assert!(new(1) > 100 && new(2) > 100, "others take them: {after:?}");
        // What is at work there goes on, and is waited for.
        assert!(drain.is_running(), "{}", drain.stdout());
        assert_eq!(ask_at_last(first), "server1");
        drain.wait_for("\n1 connection left, the last ends in ", PATIENCE);
        assert_eq!(weight(&socket, server), Some(0));
        assert_eq!(ask_at_last(second), "server1");
        let output = drain.finish(PATIENCE).expect_success();
        assert_eq!(output.stderr, "");
        assert_eq!(weight(&socket, server), None, "it is removed, and not before");
        output.stdout
    });
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[1].contains(" connections left, the last ends in "), "{told}");
    let removed = format!("{server}:80 is removed from {service}, after ");
    assert!(lines.last().unwrap().starts_with(&removed), "{told}");
    assert!(!told.contains("cut off"), "{told}");
    // No request failed, or the load would have said so; and nothing was dropped.
    let stopped = director.stop().output.stdout;
    assert!(!stopped.contains("dropped:"), "{stopped}");
}

/// A director of echo servers with a connection that stays open.
struct Talking {
    net: Net,
    socket: SocketPath,
    held: Held,
    /// The server of that connection, and another.
    server: IpAddr,
    other: IpAddr,
    _director: Director,
    _servers: Vec<TcpEcho>,
}

impl Talking {
    fn new(options: &str) -> Talking {
        let net = Net::one_armed(2);
        let _servers = net.servers().iter().map(|host| TcpEcho::start(host, 80)).collect();
        let socket = SocketPath::new();
        let text = rules(&format!("-t {} -s rr {options}", target(&net)), servers4(&net));
        let _director = Director::start_with(&net, &text, &["--control", socket.path()]);
        socket.done(SOON);
        let held = Held::open(&net, target(&net), None);
        let number = usize::from(held.server == "server2");
        let (server, other) = (net.server4(number), net.server4(1 - number));
        Talking { net, socket, held, server, other, _director, _servers }
    }

    fn open(&self) -> Held {
        Held::open(&self.net, target(&self.net), None)
    }
}

#[test]
fn at_the_deadline_what_is_left_is_cut_off_and_the_server_goes() {
    let mut talking = Talking::new("");
    let (net, socket, server) = (&talking.net, &talking.socket, talking.server);
    let drain = drain(net, socket, server, "--deadline 3s");
    begun(net, &drain, server);
    talking.held.echo("until the deadline");
    assert_ne!(talking.open().server, talking.held.server);
    let output = drain.finish(PATIENCE).expect_success();
    let story = &output.stdout;
    assert!(story.contains("\n1 connection left, the last ends in "), "{story}");
    assert!(story.contains("; deadline in "), "{story}");
    let cut = format!(
        "\nthe deadline has come: 1 connection cut off\n{server}:80 is removed from TCP {}, after ",
        target(net)
    );
    assert!(story.contains(&cut), "{story}");
    assert_eq!((weight(socket, server), weight(socket, talking.other)), (None, Some(1)));
    // The connection's packets have nowhere to go any more.
    talking.held.send("too late");
    wait_until("it is dropped", || socket.done("drops").contains("  destination-gone: the last "));
}

#[test]
fn an_interrupted_drain_leaves_the_server_quiet_until_somebody_says_otherwise() {
    let mut talking = Talking::new("");
    let (net, socket, server) = (&talking.net, &talking.socket, talking.server);
    let first = drain(net, socket, server, "");
    begun(net, &first, server);
    first.wait_for("1 connection left", PATIENCE);
    first.signal(Signal::INT);
    let output = first.finish(PATIENCE);
    assert_eq!(output.status.signal(), Some(Signal::INT.as_raw()), "{output:?}");
    assert!(!output.stdout.contains("removed"), "{}", output.stdout);
    assert_eq!(weight(socket, server), Some(0));
    talking.held.echo("it goes on");
    let held: Vec<Held> = (0..4).map(|_| talking.open()).collect();
    assert!(held.iter().all(|held| held.server != talking.held.server));
    // Taken up again, it knows that the server was quiet; then it comes back as it was.
    let second = drain(net, socket, server, "");
    second.wait_for("(its weight was 0)", PATIENCE);
    second.signal(Signal::INT);
    second.finish(PATIENCE);
    socket.done(&format!("-e -t {} -r {server} -g -w 1", target(net)));
    let held: Vec<Held> = (0..4).map(|_| talking.open()).collect();
    assert_eq!(held.iter().filter(|held| held.server == talking.held.server).count(), 2);
    talking.held.echo("and on");
}

#[test]
fn clients_with_a_template_keep_coming_during_a_drain_unless_its_hint_is_taken() {
    let mut talking = Talking::new("-p 300");
    let (net, socket, server) = (&talking.net, &talking.socket, talking.server);
    let drain = drain(net, socket, server, "");
    begun(net, &drain, server);
    drain.wait_for("clients with a template keep coming to it until that ends", PATIENCE);
    drain.wait_for("\n1 connection and 1 template left, the last ends in ", PATIENCE);
    let again = talking.open();
    assert_eq!(again.server, talking.held.server, "the template is stronger than the weight");
    let story = drain.stdout();
    let hint = story.lines().find_map(|line| line.trim_start().strip_prefix("lvsadm "));
    socket.done(hint.unwrap_or_else(|| panic!("no hint in:\n{story}")));
    let moved = talking.open();
    assert_ne!(moved.server, talking.held.server, "as the hint says");
    drain.wait_for("\n2 connections left, the last ends in ", PATIENCE);
    talking.held.echo("it goes on");
    drop((again, talking.held));
    let output = drain.finish(PATIENCE).expect_success();
    assert!(!output.stdout.contains("cut off"), "{}", output.stdout);
    assert_eq!((weight(socket, server), weight(socket, talking.other)), (None, Some(1)));
}
