//! Two directors, one of which takes over the connections of the other.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::thread;

use lvs_testnet::{Host, HttpServer, Net, PacketSocket, TcpEcho};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::director::{
    Director, Held, SocketPath, load, rules, servers4, servers6, wait_for, wait_until,
};
use crate::wire::arp_request;

/// A director of a pair, and how to speak to it.
pub(crate) struct Node {
    pub(crate) director: Director,
    pub(crate) socket: SocketPath,
}

impl Node {
    pub(crate) fn start(host: &Host, rules: &str, options: &[&str]) -> Node {
        let socket = SocketPath::new();
        let always = ["--interface", "eth0", "--control", socket.path()];
        let director = Director::start_on(host, rules, &[&always, options].concat());
        Node { director, socket }
    }

    fn daemons(&self) -> Value {
        let text = self.socket.done("-L --daemon --json");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// A counter of the only daemon: `refused`, `message-malformed`.
    fn counter(&self, table: &str, name: &str) -> u64 {
        let daemons = self.daemons();
        let value = &daemons["daemons"][0]["counters"][table][name];
        value.as_u64().unwrap_or_else(|| panic!("no {table} {name} in {daemons}"))
    }

    /// Connections and templates without the time they have left, sorted; those that a master tells of.
    pub(crate) fn connections(&self) -> Vec<String> {
        let text = self.socket.done("-L -c -n");
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            [&words[..1], &words[2..]].concat().join(" ")
        };
        let mut lines: Vec<String> = text.lines().skip(2).map(line).collect();
        lines.sort();
        lines
    }
}

pub(crate) fn vip(net: &Net) -> SocketAddr {
    SocketAddr::new(net.vip4(0), 80)
}

/// Two real servers, a standby director and three addresses of the client.
pub(crate) fn pair(mut net: Net) -> (Net, Vec<TcpEcho>) {
    net.add_standby();
    (1..=2).for_each(|n| net.add_client_address(n));
    let servers = net.servers().iter().map(|host| TcpEcho::start(host, 80)).collect();
    (net, servers)
}

/// As keepalived does: the host gets the address, and tells the link so.
fn give_vip(net: &Net, host: &Host) {
    host.add_address("eth0", &format!("{}/32", net.vip4(0)));
    let wire = PacketSocket::open(host, "eth0");
    wire.send(&arp_request(host.mac("eth0"), net.vip4(0), net.vip4(0)));
}

/// Connections from each of the client's addresses, all of which have said something.
pub(crate) fn hold(net: &Net, per_address: usize) -> Vec<(IpAddr, Held)> {
    let sources = (0..3).flat_map(|n| vec![net.client4(n); per_address]);
    let open = |source| (source, Held::open(net, vip(net), Some(source)));
    let mut held: Vec<(IpAddr, Held)> = sources.map(open).collect();
    for (_, held) in &mut held {
        held.echo("before");
        held.echo("before");
    }
    held
}

const ON_ETH1: &str = " --mcast-interface eth1\n";
pub(crate) const BOTH: &str =
    "--start-daemon master --syncid 5\n--start-daemon backup --syncid 5\n";

#[test]
fn open_connections_and_templates_go_on_when_a_standby_takes_over() {
    let (net, _servers) = pair(Net::one_armed(2));
    let text = rules(&format!("-t {} -s rr -p 600", vip(&net)), servers4(&net)) + BOTH;
    give_vip(&net, net.director());
    let active = Node::start(net.director(), &text, &["--no-arp"]);
    let standby = Node::start(net.standby(), &text, &["--no-arp"]);
    let listed = "master sync daemon (mcast=eth0, syncid=5, maxlen=1472, group=224.0.0.81, port=8848, \
                  ttl=1)\nbackup sync daemon (mcast=eth0, syncid=5, maxlen=1472, group=224.0.0.81, \
                  port=8848, ttl=1)\n";
    assert_eq!(active.socket.done("-L --daemon"), listed);
    assert!(active.socket.done("about").contains("synchronisation: master and backup\n"));

    let mut held = hold(&net, 3);
    let told = wait_for("the standby knows what the active one knows", || {
        let told = active.connections();
        (told.len() == 12 && told == standby.connections()).then_some(told)
    });
    assert!(told.iter().any(|line| line.contains("ESTABLISHED")), "{told:?}");

    // The host fails with all it has.
    net.director().ip("link set eth0 down");
    active.director.kill();
    give_vip(&net, net.standby());
    for (_, held) in &mut held {
        held.echo("after");
    }
    let moved = standby.connections();
    assert_eq!(moved, told, "no connection was opened anew");
    for (source, held) in held.iter().step_by(3) {
        let again = Held::open(&net, vip(&net), Some(*source));
        assert_eq!(again.server, held.server, "the template says where {source} belongs");
    }
    standby.director.stop();
}

#[test]
fn a_rule_of_the_readme_keeps_connections_when_the_process_alone_dies() {
    let (net, _servers) = pair(Net::one_armed(2));
    let text = rules(&format!("-t {} -s rr", vip(&net)), servers4(&net)) + BOTH;
    give_vip(&net, net.director());
    let vip_only = net.vip4(0);
    for rule in [
        "add table inet vip".to_owned(),
        "add chain inet vip out { type filter hook output priority 0 ; }".to_owned(),
        format!("add rule inet vip out ip saddr {vip_only} tcp flags rst counter drop"),
    ] {
        let words: Vec<&str> = ["nft"].into_iter().chain(rule.split(' ')).collect();
        net.director().run(&words).expect_success();
    }
    let active = Node::start(net.director(), &text, &["--no-arp"]);
    let standby = Node::start(net.standby(), &text, &["--no-arp"]);
    let mut held = hold(&net, 1);
    wait_until("the standby knows what the active one knows", || {
        standby.connections() == active.connections()
    });
    active.director.kill();
    thread::scope(|scope| {
        for (_, held) in &mut held {
            scope.spawn(|| held.echo("while nobody is there"));
        }
        wait_until("the host would have reset them", || {
            let rules = net.director().run(&["nft", "list", "ruleset"]).stdout;
            rules.contains(" counter packets ") && !rules.contains(" counter packets 0 ")
        });
        net.director().ip(&format!("addr del {vip_only}/32 dev eth0"));
        give_vip(&net, net.standby());
    });
    held.iter_mut().for_each(|(_, held)| held.echo("after"));
    standby.director.stop();
}

#[test]
fn connections_of_ipv6_are_told_of_by_ipv6() {
    let (net, _servers) = pair(Net::one_armed(2));
    let vip = SocketAddr::new(net.vip6(0), 80);
    let text = rules(&format!("-t {vip} -s rr -p 600"), servers6(&net))
        + &BOTH.replace('\n', " --mcast-group ff05::81 --mcast-port 9000 --mcast-ttl 3\n");
    let give_vip = |host: &Host| {
        host.add_address("eth0", &format!("{}/128", vip.ip()));
        // The client asks anew who has it.
        net.client().ip("-6 neigh flush dev eth0");
    };
    give_vip(net.director());
    let active = Node::start(net.director(), &text, &["--no-arp"]);
    let standby = Node::start(net.standby(), &text, &["--no-arp"]);
    let mut held = Held::open(&net, vip, Some(net.client6(1)));
    held.echo("before");
    let told = wait_for("the standby knows what the active one knows", || {
        let told = active.connections();
        (told.len() == 2 && told == standby.connections()).then_some(told)
    });
    net.director().ip("link set eth0 down");
    active.director.kill();
    give_vip(net.standby());
    held.echo("after");
    assert_eq!(standby.connections(), told, "no connection was opened anew");
    standby.director.stop();
}

#[test]
fn masqueraded_connections_go_on_when_the_gateway_moves_along() {
    let mut net = Net::two_armed(2);
    net.add_standby();
    let gateway = "10.77.2.201";
    for server in net.servers() {
        server.ip(&format!("route replace default via {gateway}"));
        server.ip(&format!("addr del {}/32 dev lo", net.vip4(0)));
    }
    let _servers: Vec<TcpEcho> =
        net.servers().iter().map(|host| TcpEcho::start(host, 8080)).collect();
    let move_to = |host: &Host| {
        give_vip(&net, host);
        host.add_address("eth1", &format!("{gateway}/24"));
        let wire = PacketSocket::open(host, "eth1");
        let gateway = gateway.parse().unwrap();
        wire.send(&arp_request(host.mac("eth1"), gateway, gateway));
    };
    let servers: String =
        (0..2).map(|i| format!("-a -t {} -r {}:8080 -m\n", vip(&net), net.server4(i))).collect();
    let text = format!("-A -t {} -s rr\n{servers}{}", vip(&net), BOTH.replace('\n', ON_ETH1));
    let options = ["--interface", "eth1", "--no-arp"];
    move_to(net.director());
    let active = Node::start(net.director(), &text, &options);
    let standby = Node::start(net.standby(), &text, &options);
    let mut held: Vec<Held> = (0..4).map(|_| Held::open(&net, vip(&net), None)).collect();
    held.iter_mut().for_each(|held| held.echo("before"));
    wait_until("the standby knows what the active one knows", || {
        standby.connections() == active.connections()
    });
    for arm in ["eth0", "eth1"] {
        net.director().ip(&format!("link set {arm} down"));
    }
    active.director.kill();
    move_to(net.standby());
    for held in &mut held {
        held.echo("after");
    }
    // New ones as well, and each real server has its share.
    let new: Vec<Held> = (0..2).map(|_| Held::open(&net, vip(&net), None)).collect();
    assert_ne!(new[0].server, new[1].server);
    assert_eq!(standby.connections().len(), 6);
    standby.director.stop();
}

/// Whether a standby has every connection but those that end while one looks.
fn standby_knows(active: &[String], standby: &[String]) -> bool {
    !active.is_empty() && active.iter().all(|line| standby.contains(line))
}

const REQUESTS: u32 = 5_000;

#[test]
fn thousands_of_connections_are_told_of_without_loss() {
    let mut net = Net::one_armed(2);
    net.add_standby();
    let _servers: Vec<HttpServer> =
        net.servers().iter().map(|host| HttpServer::start(host, 80)).collect();
    let service = rules(&format!("-t {} -s rr", vip(&net)), servers4(&net));
    let master = Node::start(net.director(), &(service.clone() + "--start-daemon master\n"), &[]);
    let backup = Node::start(net.standby(), &(service + "--start-daemon backup\n"), &["--no-arp"]);
    load(&net, REQUESTS, vip(&net), None);
    let daemon = |node: &Node| node.daemons()["daemons"][0]["counters"].clone();
    wait_until("all is told of", || {
        let sent = daemon(&master);
        sent["entries"]["sent"].as_u64() >= Some(REQUESTS.into())
            && sent["entries"]["sent"] == sent["entries"]["announced"]
            && sent["messages"] == daemon(&backup)["messages"]
    });
    let [sent, heard] = [&master, &backup].map(daemon);
    for counters in [&sent, &heard] {
        let refused = counters["refused"].as_object().unwrap();
        assert!(refused.values().all(|count| *count == 0), "{counters}");
    }
    let became = heard["entries"].as_object().unwrap().values();
    let became: u64 = became.map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(sent["entries"]["sent"], became, "{heard}");
    wait_until("the standby knows what the active one knows", || {
        standby_knows(&master.connections(), &backup.connections())
    });
    master.director.stop();
    backup.director.stop();
}

/// Sends datagrams to the group of the second test from the client.
fn send_garbage(net: &Net, group: Ipv6Addr, datagrams: &[&[u8]]) {
    net.client().enter(|| {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).expect("a UDP socket");
        let index = std::fs::read_to_string("/proc/thread-self/net/if_inet6").expect("/proc");
        let line = index.lines().find(|line| line.ends_with(" eth0")).expect("eth0 has IPv6");
        let index = line.split_whitespace().nth(1).expect("a line has six words");
        let index = u32::from_str_radix(index, 16).expect("an index is hexadecimal");
        socket.set_multicast_if_v6(index).expect("eth0 may send to groups");
        let target = SocketAddrV6::new(group, 8848, 0, index);
        for datagram in datagrams {
            socket.send_to(datagram, &target.into()).expect("the datagram leaves");
        }
    });
}

#[test]
fn a_backup_counts_what_it_refuses_and_goes_on() {
    let (net, _servers) = pair(Net::one_armed(2));
    let service = rules(&format!("-t {} -s rr -p 600", vip(&net)), servers4(&net));
    let daemon = |role: &str, id: u8| {
        format!("{service}--start-daemon {role} --syncid {id} --mcast-group ff02::81\n")
    };
    let master = Node::start(net.director(), &daemon("master", 5), &[]);
    let backup = Node::start(net.standby(), &daemon("backup", 7), &["--no-arp"]);
    let mut held = hold(&net, 2);
    wait_until("messages of another syncid are counted", || {
        held[0].1.echo("more");
        backup.counter("refused", "message-of-other-syncid") > 0
    });
    assert_eq!(backup.connections(), [""; 0]);
    let garbage: [&[u8]; 4] = [b"", b"x", &[0xff; 1400], &[0; 4]];
    send_garbage(&net, "ff02::81".parse().unwrap(), &garbage);
    wait_until("garbage is counted", || backup.counter("refused", "message-malformed") >= 3);
    send_garbage(&net, "ff02::81".parse().unwrap(), &[&[7; 9000]]);
    wait_until("what is too long is counted", || backup.counter("refused", "message-too-long") > 0);
    assert_eq!(backup.connections(), [""; 0]);
    let log = backup.director.log();
    assert!(log.contains("came what is refused: the message is of syncid 5, and"), "{log}");
    assert!(backup.socket.done("sync").contains(" message-of-other-syncid\n"));

    // With syncid 0 a backup takes every master's word.
    backup.socket.done("--stop-daemon backup");
    backup.socket.done("--start-daemon backup --mcast-group ff02::81");
    wait_until("the standby knows all connections", || {
        held.iter_mut().for_each(|(_, held)| held.echo("more"));
        backup.connections().len() == master.connections().len()
    });
    assert_eq!(backup.counter("refused", "message-of-other-syncid"), 0);
    assert!(backup.counter("entries", "taken") >= 9);
    master.socket.done("--stop-daemon master");
    assert_eq!(master.socket.done("-L --daemon"), "");
}

#[test]
fn a_backup_that_comes_late_learns_of_quiet_connections_by_a_sweep() {
    let (net, _servers) = pair(Net::one_armed(2));
    let text = rules(&format!("-t {} -s rr -p 600", vip(&net)), servers4(&net))
        + "sysctl -w net.ipv4.vs.sync_sweep_period=1\n"
        + BOTH;
    let active = Node::start(net.director(), &text, &[]);
    let _held = hold(&net, 2);
    let standby = Node::start(net.standby(), &text, &["--no-arp"]);
    wait_until("the standby knows what the active one knows", || {
        let known = active.connections();
        known.len() == 9 && known == standby.connections()
    });
}

#[test]
fn an_interface_that_was_gone_is_used_again() {
    let (mut net, _servers) = pair(Net::one_armed(2));
    let service = rules(&format!("-t {} -s rr -p 600", vip(&net)), servers4(&net))
        + "sysctl -w net.ipv4.vs.sync_ports=4\n";
    let master = Node::start(net.director(), &(service.clone() + "--start-daemon master\n"), &[]);
    let backup = Node::start(net.standby(), &(service + "--start-daemon backup\n"), &["--no-arp"]);
    assert_eq!(backup.daemons()["daemons"][0]["ports"], 4);
    let trouble = |node: &Node| node.daemons()["daemons"][0]["trouble"].clone();
    let mut held = hold(&net, 1);
    let heard = || backup.daemons()["daemons"][0]["counters"]["messages"].as_u64().unwrap();
    wait_until("the standby hears", || {
        held.iter_mut().for_each(|(_, held)| held.echo("more"));
        heard() > 0
    });
    net.replace_director_interface(|| {
        wait_until("the master notices", || trouble(&master) == "eth0 is gone");
    });
    wait_until("the master goes on", || trouble(&master).is_null());
    let before = heard();
    wait_until("the standby hears again", || {
        held.iter_mut().for_each(|(_, held)| held.echo("more"));
        heard() > before
    });
    net.standby().ip("link set eth0 down");
    wait_until("the backup notices", || trouble(&backup) == "eth0 is down");
    net.standby().ip("link set eth0 up");
    wait_until("the backup goes on", || trouble(&backup).is_null());
    let before = heard();
    wait_until("the standby hears again", || {
        held.iter_mut().for_each(|(_, held)| held.echo("more"));
        heard() > before
    });
}

#[test]
fn a_daemon_that_cannot_run_is_refused_with_what_to_do() {
    let net = Net::one_armed(1);
    let service = rules(&format!("-t {} -s rr", vip(&net)), servers4(&net));
    let node = Node::start(net.director(), &service, &[]);
    net.director().ip("link add bare0 type veth peer name bare1");
    for (line, message) in [
        ("--stop-daemon master", "No daemon is running\n"),
        (
            "--start-daemon master --mcast-interface wlan9",
            "No such device\n    there is no wlan9 here; name the interface with --mcast-interface: \
             lo, eth0, bare1, bare0\n",
        ),
        (
            "--start-daemon master --mcast-interface bare0",
            "Cannot assign requested address\n    bare0 has no IPv4 address to send from: give it \
             one, or name an IPv6 group with --mcast-group\n",
        ),
    ] {
        let admin = node.socket.lvsadm(line);
        assert_eq!((admin.status, admin.stderr.as_str()), (Some(255), message), "{line}");
    }
    node.socket.done("--start-daemon backup --mcast-interface bare0");
    let again = node.socket.lvsadm("--start-daemon backup");
    assert_eq!((again.status, again.stderr.as_str()), (Some(255), "Daemon has already run\n"));

    // Of a file with a daemon that cannot run nothing is applied.
    let before = node.socket.done("-S -n");
    let wrong = format!("-A -f 7\n{service}--start-daemon master --mcast-interface wlan9\n");
    let refused = node.socket.lvsadm_reading("apply -", &wrong);
    assert_eq!(refused.status, Some(255));
    assert!(refused.stderr.starts_with("No such device\n"), "{}", refused.stderr);
    assert_eq!(node.socket.done("-S -n"), before);
    let log = node.director.reload(&(service + "--start-daemon backup --syncid 3\n"));
    assert!(log.contains("~ daemon   backup  --mcast-interface bare0 → "), "{log}");
    assert!(node.socket.done("-L --daemon").contains("(mcast=eth0, syncid=3, maxlen=1472,"));
}
