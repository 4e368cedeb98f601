//! The guard on a veth pair with default offloads: what the host still sees, answers and forwards.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use lvs_core::flow::{Endpoint, Protocol};
use lvs_guard::{Guard, GuardRule, GuardSpec};
use lvs_testnet::{Capture, Host, Net, PacketSocket, Signal, require};

mod frames;

/// Long enough for an answer that comes to come.
const PATIENCE: Duration = Duration::from_millis(300);

/// Set for the copy of this test program that holds a guard until it is killed.
const HOLD: &str = "LVS_GUARD_TEST_HOLD";

#[derive(PartialEq, Eq, Debug)]
enum Answer {
    Silence,
    Refusal,
}

fn guard_on(host: &Host, spec: &GuardSpec) -> Guard {
    let mut guard = host.enter(Guard::open).unwrap();
    let applied = guard.apply(spec).unwrap();
    assert_eq!(applied.missing, Vec::<String>::new());
    guard
}

fn spec(rules: impl IntoIterator<Item = GuardRule>) -> GuardSpec {
    let mut spec = GuardSpec::new(["eth0"]);
    spec.rules.extend(rules);
    spec
}

fn service(protocol: Protocol, addr: IpAddr, port: u16) -> GuardRule {
    GuardRule::for_service(protocol, Endpoint::new(addr, port), true)
}

/// What a client gets from a TCP port where nobody listens.
fn tcp(client: &Host, addr: IpAddr, port: u16) -> Answer {
    let target = SocketAddr::new(addr, port);
    answer_within(|patience| {
        client.enter(|| TcpStream::connect_timeout(&target, patience)).unwrap_err()
    })
}

/// What a client gets from a UDP port where nobody listens.
fn udp(client: &Host, addr: IpAddr, port: u16) -> Answer {
    let ask = |patience| {
        let socket = UdpSocket::bind(if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.connect((addr, port))?;
        socket.set_read_timeout(Some(patience))?;
        socket.send(b"?")?;
        socket.recv(&mut [0; 1])
    };
    answer_within(|patience| client.enter(|| ask(patience)).unwrap_err())
}

/// Asks twice before it believes in silence: a machine under load may keep the first answer waiting.
fn answer_within(ask: impl Fn(Duration) -> io::Error) -> Answer {
    let asked = [PATIENCE / 2, PATIENCE * 2].into_iter().map(|patience| ask(patience).kind());
    let heard = asked
        .into_iter()
        .find(|kind| !matches!(kind, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock));
    match heard {
        None => Answer::Silence,
        Some(io::ErrorKind::ConnectionRefused) => Answer::Refusal,
        Some(other) => panic!("unexpected: {other}"),
    }
}

fn answers_ping(client: &Host, addr: IpAddr) -> bool {
    require(&["ping"]);
    client.run(&["ping", "-n", "-c", "1", "-W", "1", &addr.to_string()]).status.success()
}

fn tables(host: &Host) -> String {
    require(&["nft"]);
    host.run(&["nft", "list", "tables"]).expect_success().stdout
}

/// Waits until no table is left: the kernel removes it a moment after its owner's end.
fn wait_until_no_table(host: &Host) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !tables(host).is_empty() {
        assert!(Instant::now() < deadline, "left behind: {}", tables(host));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_guarded_service_is_silent_and_all_else_on_its_address_answers() {
    let net = Net::one_armed(0);
    net.give_vip_to_director(0);
    let (client, director) = (net.client(), net.director());
    let both = [net.vip4(0), net.vip6(0)];
    for vip in both {
        assert_eq!(tcp(client, vip, 80), Answer::Refusal, "without a guard");
    }
    let _guard = guard_on(
        director,
        &spec(
            both.into_iter()
                .flat_map(|vip| [service(Protocol::TCP, vip, 80), service(Protocol::UDP, vip, 53)]),
        ),
    );
    let mut tap = PacketSocket::open(director, "eth0");
    for vip in both {
        assert_eq!(tcp(client, vip, 80), Answer::Silence);
        assert_eq!(tcp(client, vip, 81), Answer::Refusal);
        assert_eq!(tcp(client, vip, 53), Answer::Refusal);
        assert_eq!(udp(client, vip, 53), Answer::Silence);
        assert_eq!(udp(client, vip, 80), Answer::Refusal);
        assert!(answers_ping(client, vip));
        assert_eq!(tcp(client, net.director4(), 80), Answer::Refusal);
        let syn = tap.receive_where(PATIENCE * 10, |frame| {
            lvs_testnet::describe(frame).ends_with(&format!("{}:80 tcp S len=0", vip))
        });
        assert!(syn.is_some(), "a packet socket sees what the guard hides");
    }
}

#[test]
fn a_whole_address_is_silent_and_the_others_are_not_touched() {
    let net = Net::one_armed(0);
    net.give_vip_to_director(0);
    net.give_vip_to_director(1);
    let client = net.client();
    let hidden = [net.vip4(0), net.vip6(0)];
    // The client knows the way before: the host answers neighbour solicitations all the same.
    let _guard =
        guard_on(net.director(), &spec(hidden.map(|vip| GuardRule::for_address(vip, true))));
    for vip in hidden {
        assert_eq!(tcp(client, vip, 22), Answer::Silence);
        assert_eq!(udp(client, vip, 9), Answer::Silence);
        assert!(!answers_ping(client, vip));
    }
    for vip in [net.vip4(1), net.vip6(1)] {
        assert_eq!(tcp(client, vip, 22), Answer::Refusal);
        assert!(answers_ping(client, vip));
    }
}

#[test]
fn the_host_confirms_an_address_that_it_owns_though_the_rest_is_hidden() {
    let net = Net::one_armed(0);
    net.give_vip_to_director(0);
    let vip = net.vip6(0);
    let _guard = guard_on(net.director(), &spec([GuardRule::for_address(vip, true)]));
    let mac = net.director().mac("eth0").map(|byte| format!("{byte:02x}")).join(":");
    let capture = Capture::start(net.client(), "eth0");
    // The client asks by unicast whether its neighbour is still there (RFC 4861 §7.3).
    net.client().ip(&format!("-6 neigh replace {vip} lladdr {mac} dev eth0 nud probe"));
    std::thread::sleep(Duration::from_millis(1500));
    let lines = capture.stop_and_describe();
    let asked = format!("> {} icmp6 neighbor-solicitation", vip);
    assert!(lines.iter().any(|line| line.ends_with(&asked)), "{lines:#?}");
    assert!(lines.iter().any(|line| line.ends_with("neighbor-advertisement")), "{lines:#?}");
}

#[test]
fn what_the_host_would_forward_is_not_forwarded() {
    let net = Net::one_armed(0);
    let (client, director) = (net.client(), net.director());
    let mac = director.mac("eth0").map(|byte| format!("{byte:02x}")).join(":");
    let both = [net.vip4(0), net.vip6(0)];
    let sent_by_the_director = || {
        let capture = Capture::start_where(director, "eth0", |seen| seen.outgoing);
        for vip in both {
            client.ip(&format!("neigh replace {vip} lladdr {mac} dev eth0"));
            tcp_to_nobody(client, vip);
        }
        let mut lines = capture.stop_and_describe();
        lines.retain(|line| line.contains(".200") || line.contains("::200"));
        lines
    };
    let without = sent_by_the_director();
    assert!(!without.is_empty(), "without a guard the host asks for the next hop, or sends on");
    let rules =
        both.map(|vip| GuardRule::for_service(Protocol::TCP, Endpoint::new(vip, 80), false));
    let _guard = guard_on(director, &spec(rules));
    std::thread::sleep(Duration::from_secs(4)); // The host gives up on what it was asking for.
    assert_eq!(sent_by_the_director(), Vec::<String>::new());
}

/// Sends a SYN and waits a moment; what comes back does not matter.
fn tcp_to_nobody(client: &Host, addr: IpAddr) {
    let target = SocketAddr::new(addr, 80);
    let _ = client.enter(|| TcpStream::connect_timeout(&target, PATIENCE));
}

#[test]
fn a_new_spec_takes_the_place_of_the_old_one() {
    let net = Net::one_armed(0);
    net.give_vip_to_director(0);
    let (client, director, vip) = (net.client(), net.director(), net.vip4(0));
    let mut guard = guard_on(director, &spec([service(Protocol::TCP, vip, 80)]));
    assert_eq!((tcp(client, vip, 80), tcp(client, vip, 443)), (Answer::Silence, Answer::Refusal));
    guard.apply(&spec([service(Protocol::TCP, vip, 443)])).unwrap();
    assert_eq!((tcp(client, vip, 80), tcp(client, vip, 443)), (Answer::Refusal, Answer::Silence));
    guard.apply(&spec([])).unwrap();
    assert_eq!((tcp(client, vip, 80), tcp(client, vip, 443)), (Answer::Refusal, Answer::Refusal));
    assert_eq!(tables(director).lines().count(), 1);
}

#[test]
fn thousands_of_services_are_hidden_in_one_step() {
    let net = Net::one_armed(0);
    net.give_vip_to_director(0);
    let mut rules = Vec::new();
    for vip in [net.vip4(0), net.vip6(0)] {
        rules.extend((1_000..11_000).map(|port| service(Protocol::TCP, vip, port)));
    }
    let mut guard = guard_on(net.director(), &spec(rules));
    for vip in [net.vip4(0), net.vip6(0)] {
        for port in [1_000, 1_499, 1_500, 10_999] {
            assert_eq!(tcp(net.client(), vip, port), Answer::Silence, "port {port}");
        }
        assert_eq!(tcp(net.client(), vip, 11_000), Answer::Refusal);
    }
    guard.apply(&spec([])).unwrap();
    assert_eq!(tcp(net.client(), net.vip4(0), 1_500), Answer::Refusal);
}

#[test]
fn an_interface_that_is_missing_is_named_and_guarded_when_it_comes() {
    let net = Net::one_armed(0);
    let host = net.director();
    let mut spec = spec([service(Protocol::TCP, net.vip4(0), 80)]);
    spec.interfaces.push("late0".to_owned());
    spec.interfaces.push("a-name-that-no-interface-can-have".to_owned());
    let mut guard = host.enter(Guard::open).unwrap();
    let applied = guard.apply(&spec).unwrap();
    assert_eq!(applied.guarded, ["eth0"]);
    assert_eq!(applied.missing, ["late0", "a-name-that-no-interface-can-have"]);
    for _ in 0..2 {
        // An interface may come, go and come again.
        host.ip("link add late0 type veth peer name late1");
        assert_eq!(guard.apply(&spec).unwrap().guarded, ["eth0", "late0"]);
        let shown = host.run(&["nft", "list", "table", "netdev", guard.table()]).expect_success();
        assert!(shown.stdout.contains("device \"late0\""), "{}", shown.stdout);
        host.ip("link del late0");
    }
    assert_eq!(guard.apply(&spec).unwrap().guarded, ["eth0"]);
}

#[test]
fn two_guards_do_not_meet() {
    let net = Net::one_armed(0);
    net.give_vip_to_director(0);
    let (client, director, vip) = (net.client(), net.director(), net.vip4(0));
    let one = guard_on(director, &spec([service(Protocol::TCP, vip, 80)]));
    let other = guard_on(director, &spec([service(Protocol::TCP, vip, 443)]));
    assert_ne!(one.table(), other.table());
    drop(one);
    assert_eq!((tcp(client, vip, 80), tcp(client, vip, 443)), (Answer::Refusal, Answer::Silence));
}

#[test]
fn dropping_the_guard_leaves_no_table() {
    let net = Net::one_armed(0);
    let guard = guard_on(net.director(), &spec([service(Protocol::TCP, net.vip4(0), 80)]));
    assert_eq!(tables(net.director()), format!("table netdev {}\n", guard.table()));
    drop(guard);
    wait_until_no_table(net.director());
}

#[test]
fn nobody_else_can_remove_it() {
    let net = Net::one_armed(0);
    let guard = guard_on(net.director(), &spec([service(Protocol::TCP, net.vip4(0), 80)]));
    net.director().run(&["nft", "flush", "ruleset"]);
    let delete = net.director().run(&["nft", "delete", "table", "netdev", guard.table()]);
    assert!(!delete.status.success());
    assert!(tables(net.director()).contains(guard.table()));
}

#[test]
fn a_killed_process_leaves_no_table() {
    let net = Net::one_armed(0);
    let mut holder = Command::new(std::env::current_exe().unwrap());
    holder.args(["--exact", "hold_a_guard_until_killed", "--nocapture"]).env(HOLD, "1");
    let holder = net.director().start_command(holder);
    holder.wait_for("holding", Duration::from_secs(20));
    assert!(tables(net.director()).contains("lvs-guard-"));
    holder.signal(Signal::KILL);
    holder.finish(Duration::from_secs(5));
    wait_until_no_table(net.director());
}

#[test]
fn without_the_capability_the_message_says_what_to_do() {
    let net = Net::one_armed(0);
    let program = std::env::current_exe().unwrap();
    let mut holder = Command::new("setpriv");
    holder.args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]).arg(program);
    holder.args(["--exact", "hold_a_guard_until_killed", "--nocapture"]).env(HOLD, "1");
    let output = net.director().start_command(holder).finish(Duration::from_secs(20));
    let printed = output.stdout + &output.stderr;
    assert!(printed.contains("CAP_NET_ADMIN") && printed.contains("--no-guard"), "{printed}");
}

/// Not a test of its own: the other end of the tests above, which start this program again.
#[test]
fn hold_a_guard_until_killed() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    let mut guard = Guard::open().unwrap_or_else(|error| panic!("{error}"));
    let vip: IpAddr = "10.77.0.200".parse().unwrap();
    let spec = spec([service(Protocol::TCP, vip, 80)]);
    guard.apply(&spec).unwrap_or_else(|error| panic!("{error}"));
    println!("holding {}", guard.table());
    loop {
        std::thread::park();
    }
}
