//! What `lvsadm` tells of one packet, of one connection and of what was dropped, and that it comes true.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use etherparse::PacketBuilder;
use lvs_testnet::{Host, Net, PacketSocket, TcpEcho, http};

use crate::director::{
    Director, Held, SocketPath, rules, servers4, wait_for, wait_until, wait_until_unreachable,
};
use crate::numbers::Stats;

/// A server behind each port on each host.
fn greeters(net: &Net, ports: &[u16]) -> Vec<TcpEcho> {
    let on = |host: &'_ Host| ports.iter().map(|&port| TcpEcho::start(host, port)).collect();
    net.servers().iter().flat_map(|host| -> Vec<TcpEcho> { on(host) }).collect()
}

fn director(net: &Net, rules: &str, socket: &SocketPath) -> Director {
    Director::start_with(net, rules, &["--control", socket.path()])
}

/// Everything that a question must leave as it is: counters, connections and templates, drops. Times,
/// which go on, are left out.
fn state(socket: &SocketPath) -> [String; 3] {
    let connections = socket.done("-L -c -n");
    let timeless = connections.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {}\n", words[0], words[2..].join(" "))
    });
    let drops = socket.done("drops");
    let drops = drops.lines().map(|line| line.split_once(": the last ").map_or(line, |(of, _)| of));
    [socket.done("-L -n --stats --exact"), timeless.collect(), drops.collect()]
}

/// Where `lvsadm explain` with these words says that the packet would go.
#[track_caller]
fn explained(socket: &SocketPath, question: &str) -> String {
    let told = socket.done(&format!("explain {question}"));
    let outcome = told.lines().last().and_then(|line| line.strip_prefix("=> "));
    outcome.unwrap_or_else(|| panic!("no outcome in:\n{told}")).to_owned()
}

/// The name of the real server that an outcome names.
#[track_caller]
fn server_named(net: &Net, outcome: &str) -> String {
    let address = outcome.strip_prefix("to ").and_then(|rest| rest.split([':', ',']).next());
    let found = (0..net.servers().len())
        .find(|&i| address == Some(net.server4(i).to_string().as_str()))
        .unwrap_or_else(|| panic!("{outcome:?} names no real server"));
    net.servers()[found].name().to_owned()
}

/// The value of a line of `lvsadm connection`.
#[track_caller]
fn row<'t>(details: &'t str, name: &str) -> &'t str {
    let line = details.lines().find_map(|line| line.trim_start().strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in:\n{details}")).trim_start()
}

/// The seconds of `14:59` or `59 s`.
#[track_caller]
fn seconds(span: &str) -> u64 {
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{span:?} is no span"));
    match span.split_once(':') {
        Some((minutes, seconds)) => number(minutes) * 60 + number(seconds),
        None => number(span.split(['.', ' ']).next().unwrap_or_default()),
    }
}

#[test]
fn explain_names_the_server_that_the_next_connection_gets_and_changes_nothing() {
    let net = Net::one_armed(3);
    net.add_client_address(1);
    let schedulers = ["rr", "wrr", "wlc", "sh", "lc -p 300"];
    let ports: Vec<u16> = (80..).take(schedulers.len()).collect();
    let _servers = greeters(&net, &ports);
    let services = schedulers.iter().zip(&ports);
    let text: String = services
        .map(|(scheduler, port)| {
            rules(&format!("-t {}:{port} -s {scheduler}", net.vip4(0)), servers4(&net))
        })
        .collect();
    let socket = SocketPath::new();
    let _director = director(&net, &text, &socket);
    let mut held = Vec::new();
    for round in 0..4u8 {
        for (scheduler, &port) in schedulers.iter().zip(&ports) {
            let target = SocketAddr::new(net.vip4(0), port);
            let source = 40_000 + u16::from(round) * 1000 + port;
            let client = SocketAddr::new(net.client4(round % 2), source);
            let question = format!("tcp {client} {target}");
            let before = state(&socket);
            let told = socket.done(&format!("explain {question}"));
            let name = server_named(&net, &explained(&socket, &question));
            assert_eq!(state(&socket), before, "a question changes nothing");
            assert!(told.contains("  no connection yet\n"), "{told}");
            let belongs = told.contains("template: this client belongs to ");
            assert_eq!(belongs, scheduler.contains("-p") && round >= 2, "{told}");
            let chosen = told.lines().find(|line| line.ends_with(" chosen"));
            assert_ne!(chosen.is_some(), belongs, "{told}");

            let opened = Held::open_from(&net, target, client);
            assert_eq!(opened.server, name, "{scheduler}, round {round}:\n{told}");
            if let Some(chosen) = chosen {
                let chosen = format!("to {}", chosen.split_whitespace().next().unwrap());
                assert_eq!(server_named(&net, &chosen), name, "{told}");
            }
            held.push(opened);
        }
    }
    let served = |name: &str| held.iter().filter(|held| held.server == name).count();
    assert!(net.servers().iter().all(|host| served(host.name()) > 0));
}

#[test]
fn of_a_live_connection_explain_tells_where_it_stays_and_what_would_end_it() {
    let net = Net::one_armed(2);
    let _servers = greeters(&net, &[80]);
    let socket = SocketPath::new();
    let target = SocketAddr::new(net.vip4(0), 80);
    let _director = director(&net, &rules(&format!("-t {target} -s rr"), servers4(&net)), &socket);
    let client = SocketAddr::new(net.client4(0), 40_000);
    let mut held = Held::open_from(&net, target, client);
    let address = format!("{}:80", net.server4(usize::from(held.server == "server2")));
    let question = format!("tcp {client} {target}");
    // A packet with data, the reset of a client that gives up, and one that no program would send.
    for (flags, wanted) in [("A", "ESTABLISHED stays"), ("R", "ESTABLISHED becomes CLOSE")] {
        let before = state(&socket);
        let told = socket.done(&format!("explain {question} --flags {flags} --in eth0"));
        let known = format!("  connection known: ESTABLISHED to {address}\n");
        assert!(told.contains(&known) && told.contains(wanted), "{told}");
        assert!(told.ends_with(&format!("=> to {address}\n")), "{told}");
        assert_eq!(state(&socket), before);
        held.echo("nothing has happened to it");
    }
    // A quiesced server keeps it; others go elsewhere.
    socket.done(&format!("-e -t {target} -r {address} -w 0"));
    assert_eq!(explained(&socket, &question), format!("to {address}"));
    let other = explained(&socket, &format!("tcp {}:40001 {target}", client.ip()));
    assert_ne!(server_named(&net, &other), held.server);
    held.echo("still here");
    // Without its server it is told to be dropped, and is.
    socket.done(&format!("-d -t {target} -r {address}"));
    assert_eq!(explained(&socket, &question), "dropped (destination-gone)");
    assert_eq!(socket.done("drops"), "no frame was dropped\n", "to ask is not to drop");
    held.send("too late");
    let dropped = wait_for("a drop", || {
        Some(socket.done("drops")).filter(|drops| drops.contains("destination-gone"))
    });
    assert!(
        dropped.contains(&format!(" ago, in by eth0, TCP {client} to {target}\n")),
        "{dropped}"
    );
}

#[test]
fn of_what_is_not_served_explain_tells_who_answers_and_how() {
    let net = Net::one_armed(1);
    let _servers = greeters(&net, &[80]);
    let socket = SocketPath::new();
    let target = |port| SocketAddr::new(net.vip4(0), port);
    let text = rules(&format!("-t {} -s rr", target(80)), servers4(&net))
        + &format!("-A -t {} -s rr\n", target(82))
        + &format!("-A -t {0} -s rr\n-a -t {0} -r 10.99.0.1\n", target(83));
    let _director = director(&net, &text, &socket);
    let told = |target: SocketAddr| {
        let before = state(&socket);
        let outcome = explained(&socket, &format!("tcp {}:40000 {target}", net.client4(0)));
        assert_eq!(state(&socket), before);
        outcome
    };
    let refused = |target: SocketAddr| {
        let tried = net.client().enter(|| http::connect(target, None));
        let error = tried.expect_err("nobody serves it");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{target}: {error}");
    };
    assert_eq!(told(target(81)), "left to the director's host (no-service)");
    refused(target(81));
    assert_eq!(told(target(82)), "refused: port unreachable");
    refused(target(82));
    assert_eq!(told(target(83)), "refused: host unreachable");
    wait_until_unreachable(&net, target(83));
    let own = SocketAddr::new(net.director4(), 80);
    assert_eq!(told(own), "left to the director's host (no-service)");
    refused(own);
    let crossing = SocketAddr::new(net.server4(0), 80);
    assert_eq!(told(crossing), "left to the director's host (not-local)");
    // One who knows the address but begins in the middle opens nothing.
    let middle = format!("tcp {}:40000 {} --flags A", net.client4(0), target(80));
    assert_eq!(explained(&socket, &middle), "left to the director's host (not-scheduled)");
}

#[test]
fn what_finds_no_room_is_told_to_be_dropped_and_is() {
    let net = Net::one_armed(1);
    let _servers = greeters(&net, &[80]);
    let socket = SocketPath::new();
    let target = SocketAddr::new(net.vip4(0), 80);
    let text = rules(&format!("-t {target} -s rr"), servers4(&net));
    let options = ["--control", socket.path(), "--connections-max", "2"];
    let director = Director::start_with(&net, &text, &options);
    let client = |port| SocketAddr::new(net.client4(0), port);
    let question = |port| format!("tcp {} {target}", client(port));
    let mut held = Vec::new();
    for port in [40_000, 40_001] {
        assert_eq!(server_named(&net, &explained(&socket, &question(port))), "server1");
        held.push(Held::open_from(&net, target, client(port)));
    }
    assert_eq!(explained(&socket, &question(40_002)), "dropped (connection-table-full)");
    assert_eq!(socket.done("drops"), "no frame was dropped\n");
    let (wire, syn) = (PacketSocket::open(net.client(), "eth0"), syn(&net, client(40_002), target));
    wire.send(&syn);
    wait_until("it is dropped", || socket.done("drops").contains("  connection-table-full: "));
    held.iter_mut().for_each(|held| held.echo("still here"));
    let stopped = director.stop().output.stdout;
    assert!(stopped.contains("  dropped: connection-table-full 1\n"), "{stopped}");
}

#[test]
fn by_mark_explain_tells_the_rule_the_template_and_the_server() {
    let net = Net::one_armed(2);
    let _servers = greeters(&net, &[80, 443]);
    let socket = SocketPath::new();
    let vip = net.vip4(0);
    let mark = |port| {
        format!(
            "iptables -t mangle -A PREROUTING -d {vip} -p tcp --dport {port} -j MARK --set-mark 10\n"
        )
    };
    let text = mark(80) + &mark(443) + &rules("-f 10 -s rr -p 300", servers4(&net));
    let _director = director(&net, &text, &socket);
    let question = |port| format!("tcp {}:{} {vip}:{port}", net.client4(0), 40_000 + port);
    let told = socket.done(&format!("explain {}", question(80)));
    assert!(told.contains("  a rule sets mark 10\n  service FWM 10\n"), "{told}");
    assert!(told.contains(" could be\n") && told.contains(" chosen\n"), "{told}");
    let name = server_named(&net, &explained(&socket, &question(80)));
    let open = |port: u16| {
        let client = SocketAddr::new(net.client4(0), 40_000 + port);
        Held::open_from(&net, SocketAddr::new(vip, port), client)
    };
    let first = open(80);
    assert_eq!(first.server, name);
    // The other port belongs to the same mark, and so to the same server.
    let told = socket.done(&format!("explain {}", question(443)));
    assert!(told.contains("  template: this client belongs to "), "{told}");
    assert!(told.contains("(1 connection now)\n"), "{told}");
    assert_eq!(server_named(&net, &explained(&socket, &question(443))), name);
    assert_eq!(open(443).server, name);
    // A port without the rule is not of the service.
    let told = socket.done(&format!("explain {}", question(8080)));
    assert!(!told.contains("mark") && told.contains("no service matches"), "{told}");
}

#[test]
fn a_connection_and_its_template_are_told_with_everything_known_and_count_down() {
    let net = Net::one_armed(2);
    let _servers = greeters(&net, &[80]);
    let socket = SocketPath::new();
    let target = SocketAddr::new(net.vip4(0), 80);
    let text = rules(&format!("-t {target} -s rr -p 300"), servers4(&net));
    let _director = director(&net, &text, &socket);
    let client = SocketAddr::new(net.client4(0), 40_000);
    let mut held = Held::open_from(&net, target, client);
    held.echo("a few bytes");
    let number = usize::from(held.server == "server2");
    let (rip, vip) = (net.server4(number), net.vip4(0));
    let ask = || socket.done(&format!("connection tcp {client} {target}"));
    let told = ask();
    assert!(told.starts_with(&format!("connection TCP {client} to {target}\n")), "{told}");
    assert_eq!(row(&told, "state"), "ESTABLISHED, active");
    assert_eq!(row(&told, "service"), format!("TCP {target}"));
    assert_eq!(row(&told, "server"), format!("{rip}:80 (weight 1; 1 active, 0 inactive)"));
    assert_eq!(row(&told, "method"), "direct route");
    let mac: Vec<String> =
        net.servers()[number].mac("eth0").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(row(&told, "leaves"), format!("by eth0 to {rip} at {}", mac.join(":")));
    let template = format!("{} at {target}: 1 connections, ends in ", client.ip());
    assert!(row(&told, "template").starts_with(&template), "{told}");
    // What it received is what the server has in its counters, being the only one.
    let stats = Stats::of(&socket);
    let [connections, packets, _, bytes, _] = stats.server(&format!("TCP {target}"), rip);
    assert_eq!(connections, 1);
    assert_eq!(row(&ask(), "received"), format!("{packets} packets, {bytes} bytes"));

    let ends = |told: &str| {
        let (left, timeout) = row(told, "ends").split_once(", ").unwrap();
        assert_eq!(timeout, "15:00 after its last packet");
        seconds(left.strip_prefix("in ").unwrap())
    };
    wait_until("it counts down", || ends(&ask()) + 1 < ends(&told));
    let age = seconds(row(&told, "age"));
    wait_until("it grows older", || seconds(row(&ask(), "age")) > age);
    held.echo("and begins anew with a packet");

    let told = socket.done(&format!("connection tcp {} {target}", client.ip()));
    assert!(told.starts_with(&format!("template TCP {}:0 to {target}\n", client.ip())), "{told}");
    assert_eq!(row(&told, "made"), "1 connections");
    assert_eq!(row(&told, "controls"), "1 connections");
    assert!(row(&told, "ends").ends_with(", 5:00 after its last packet"), "{told}");
    let left = |told: &str| seconds(row(told, "ends")[3..].split(',').next().unwrap());
    wait_until("it counts down", || {
        left(&socket.done(&format!("connection tcp {} {target}", client.ip()))) < left(&told)
    });

    socket.done(&format!("-e -t {target} -r {rip} -w 0"));
    assert_eq!(row(&ask(), "server"), format!("{rip}:80 (quiesced; 1 active, 0 inactive)"));
    drop(held);
    wait_until("it has ended", || row(&ask(), "state") == "FIN_WAIT, inactive");
    socket.done(&format!("-d -t {target} -r {rip}"));
    assert!(row(&ask(), "server").starts_with(&format!("{rip}:80 (deleted; ")), "{}", ask());

    for (protocol, port) in [("tcp", 81), ("udp", 80)] {
        let asked = socket.lvsadm(&format!("connection {protocol} {client} {vip}:{port}"));
        assert_eq!((asked.status, asked.stdout.as_str()), (Some(1), ""), "{}", asked.stderr);
        let (told, protocol) = (asked.stderr, protocol.to_uppercase());
        let wanted = format!("no connection and no template {protocol} {client} > {vip}:{port}\n");
        assert_eq!(told, wanted);
    }
}

fn v4(addr: IpAddr) -> [u8; 4] {
    match addr {
        IpAddr::V4(addr) => addr.octets(),
        IpAddr::V6(addr) => panic!("{addr} is no IPv4 address"),
    }
}

/// An address that no packet on a wire may come from. (A bridge with `br_netfilter` does not let frames
/// through of which the IPv4 header itself is wrong.)
pub(crate) fn martian(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The first frame of a TCP connection, from the client's interface to the director's.
pub(crate) fn syn(net: &Net, client: SocketAddr, target: SocketAddr) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(net.client().mac("eth0"), net.director().mac("eth0"))
        .ipv4(v4(client.ip()), v4(target.ip()), 64)
        .tcp(client.port(), target.port(), 1, 64_000)
        .syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).expect("a vector takes everything");
    frame
}

#[test]
fn drops_are_told_by_reason_with_their_number_and_the_last_of_each() {
    let net = Net::one_armed(1);
    let _servers = greeters(&net, &[80]);
    let socket = SocketPath::new();
    let target = SocketAddr::new(net.vip4(0), 80);
    let text = rules(&format!("-t {target} -s rr"), servers4(&net));
    let options = ["--control", socket.path(), "--connections-max", "1"];
    let director = Director::start_with(&net, &text, &options);
    let mut held = Held::open(&net, target, None);
    assert_eq!(socket.done("drops"), "no frame was dropped\n");
    assert_eq!(socket.done("drops --json"), "[]\n");

    // Whoever nobody can be, and connections for which there is no room.
    let wire = PacketSocket::open(net.client(), "eth0");
    let client = |port| SocketAddr::new(net.client4(0), port);
    (50_000..50_007).for_each(|port| wire.send(&syn(&net, martian(port), target)));
    (51_000..51_003).for_each(|port| wire.send(&syn(&net, client(port), target)));
    let json = wait_for("ten drops", || {
        let json: serde_json::Value = serde_json::from_str(&socket.done("drops --json")).unwrap();
        let drops = json.as_array()?.clone();
        let count: u64 = drops.iter().filter_map(|dropped| dropped["count"].as_u64()).sum();
        (count == 10).then_some(drops)
    });
    let told = socket.done("drops");
    let lines: Vec<&str> = told.lines().map(str::trim_start).collect();
    assert_eq!(lines.len(), 4, "two reasons and what they mean:\n{told}");
    assert!(lines[0].starts_with("7  martian-address: the last "), "{told}");
    assert!(lines[0].ends_with(" s ago, in by eth0"), "{told}");
    assert_eq!(lines[1], "A source or destination address that no packet on a wire may have.");
    assert!(lines[2].starts_with("3  connection-table-full: the last "), "{told}");
    let last = format!(" s ago, in by eth0, TCP {} to {target}", client(51_002));
    assert!(lines[2].ends_with(&last), "{told}");
    assert_eq!(
        (&json[0]["reason"], json[0]["count"].as_u64()),
        (&"martian-address".into(), Some(7))
    );
    assert_eq!(json[0]["last"]["flow"], serde_json::Value::Null);
    assert_eq!(json[1]["last"]["flow"]["client"], client(51_002).to_string());

    // A packet that is forwarded leaves the list as it is, and in the end the director says the same.
    held.echo("forwarded");
    assert_eq!(socket.done("drops").lines().count(), 4);
    let stopped = director.stop().output.stdout;
    assert!(stopped.contains("  dropped: martian-address 7\n"), "{stopped}");
    assert!(stopped.contains("  dropped: connection-table-full 3\n"), "{stopped}");
    assert!(stopped.contains(", 10 dropped\n"), "{stopped}");
}
