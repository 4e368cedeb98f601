//! A director at the far end of TAP devices that are ports of bridges: no network card of its own, and a host
//! that is only one more station on the wire.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use lvs_testnet::{
    Host, HttpServer, Net, PacketSocket, Signal, TcpEcho, digest_of_pattern, http, require,
};

use crate::director::{
    Director, Held, PATIENCE, PROGRAM, RulesFile, load, page, rules, servers4, servers6, wait_until,
};

/// Bytes of the large upload.
const LARGE: u64 = 300_000_000;
const MEDIUM: u64 = 50_000_000;

/// Makes the director's host a switch: its interface becomes a port of a bridge that has its addresses.
fn bridge(net: &Net, interface: &str, bridge: &str, addresses: &[String]) {
    let host = net.director();
    host.ip(&format!("addr flush dev {interface}"));
    host.ip(&format!("link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"));
    host.ip(&format!("link set {interface} master {bridge}"));
    host.ip(&format!("link set {bridge} up"));
    addresses.iter().for_each(|address| host.add_address(bridge, address));
}

/// A director with two arms, each a TAP device in a bridge of its host.
pub(crate) fn start_between_bridges(net: &Net, rules: &str) -> Director {
    bridge(net, "eth0", "br0", &[]);
    bridge(net, "eth1", "br1", &[]);
    let arms = [
        "--tap",
        "lvs0,address=10.77.1.1/24,address6=fd77:1::1/64,bridge=br0",
        "--tap",
        "lvs1,address=10.77.2.1/24,address6=fd77:2::1/64,bridge=br1",
    ];
    Director::start_on(net.director(), rules, &arms)
}

/// The kernel takes up to a second until a new port of a bridge forwards.
#[track_caller]
fn wait_until_served(net: &Net, target: SocketAddr) {
    wait_until(&format!("a page from {target}"), || {
        net.client().enter(|| http::fetch(target, "/")).is_ok()
    });
}

fn http_servers(net: &Net) -> Vec<HttpServer> {
    net.servers().iter().map(|host| HttpServer::start(host, 80)).collect()
}

#[track_caller]
fn answers_ping(from: &Host, to: IpAddr) {
    let to = to.to_string();
    wait_until(&format!("{to} answers a ping"), || {
        from.run(&["ping", "-c", "1", "-W", "1", &to]).status.success()
    });
}

#[test]
fn between_two_bridges_every_request_and_every_byte_arrives() {
    let net = Net::two_armed(3);
    let servers = http_servers(&net);
    let target = SocketAddr::new(net.vip4(0), 80);
    let director = start_between_bridges(&net, &rules(&format!("-t {target}"), servers4(&net)));
    wait_until_served(&net, target);
    let before: u64 = servers.iter().map(HttpServer::requests).sum();
    load(&net, 10_000, target, None);
    let after: u64 = servers.iter().map(HttpServer::requests).sum();
    assert!(after - before >= 10_000);
    let uploaded = net.client().enter(|| http::upload(target, LARGE));
    assert_eq!(uploaded.unwrap(), digest_of_pattern(LARGE), "the upload");
    let seen = director.listing().totals();
    // Of each request at least SYN, request, FIN and an acknowledgement.
    assert!(seen.packets_in > 40_000, "{seen:?}");
    // With default offloads, most of the upload crosses as super-frames.
    assert!(seen.bytes_in / seen.packets_in > 1_500, "{seen:?}");
    director.stop();
}

#[test]
fn between_two_bridges_ipv6_clients_are_served_and_errors_answered() {
    let net = Net::two_armed(2);
    let _servers = http_servers(&net);
    let target = SocketAddr::new(net.vip6(0), 80);
    let director = start_between_bridges(&net, &rules(&format!("-t {target}"), servers6(&net)));
    wait_until_served(&net, target);
    let uploaded = net.client().enter(|| http::upload(target, MEDIUM));
    assert_eq!(uploaded.unwrap(), digest_of_pattern(MEDIUM), "the upload");
    // Nobody is behind the director: what a host would answer, it answers itself.
    answers_ping(net.client(), net.vip6(0));
    answers_ping(net.client(), net.director6());
    answers_ping(net.client(), net.director4());
    let closed = SocketAddr::new(net.vip6(0), 81);
    let refused = net.client().enter(|| http::connect(closed, None));
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    director.stop();
}

#[test]
fn servers_behind_masquerading_and_tunnels_are_served_between_bridges_too() {
    let net = Net::two_armed(2);
    let server = &net.servers()[0];
    // The way back is the director, which no host routes for.
    server.ip("route replace default via 10.77.2.1");
    server.ip("-6 route replace default via fd77:2::1");
    let _masqueraded = HttpServer::start(server, 8080);
    let (target4, target6) = (SocketAddr::new(net.vip4(0), 80), SocketAddr::new(net.vip6(0), 80));
    let own = [net.server4(0), net.server6(0)].map(|addr| SocketAddr::new(addr, 8080));
    let text = format!(
        "-A -t {target4}\n-a -t {target4} -r {} -m\n-A -t {target6}\n-a -t {target6} -r {} -m\n\
         -A -u {vip}:53\n-a -u {vip}:53 -r {}:53 -i\n",
        own[0],
        own[1],
        net.server4(1),
        vip = net.vip4(0)
    );
    let director = start_between_bridges(&net, &text);
    for target in [target4, target6] {
        wait_until_served(&net, target);
        let uploaded = net.client().enter(|| http::upload(target, MEDIUM));
        assert_eq!(uploaded.unwrap(), digest_of_pattern(MEDIUM), "the upload to {target}");
        let (got, digest) = net.client().enter(|| http::download(target, MEDIUM)).unwrap();
        assert_eq!((got, digest), (MEDIUM, digest_of_pattern(MEDIUM)), "the download");
    }
    let mut wire = PacketSocket::open(&net.servers()[1], "eth0");
    net.client().enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a port is free");
        socket.send_to(b"inside", (net.vip4(0), 53)).expect("the VIP has a route");
    });
    let is_outer = |frame: &[u8]| frame[12..14] == [8, 0] && frame[23] == 4;
    let outer = wire.receive_where(PATIENCE, is_outer).expect("a packet inside another");
    assert_eq!(outer[26..30], [10, 77, 2, 1], "from the director's own address");
    director.stop();
}

#[test]
fn the_host_reaches_the_service_through_the_device_as_any_client_does() {
    let net = Net::one_armed(2);
    let _servers = http_servers(&net);
    let (host, target) = (net.director(), SocketAddr::new(net.vip4(0), 80));
    bridge(&net, "eth0", "br0", &[format!("{}/24", net.director4())]);
    let rules = rules(&format!("-t {target} -s rr"), servers4(&net));
    let tap = ["--tap", "lvs0,address=10.77.0.2/24,bridge=br0"];
    let director = Director::start_on(host, &rules, &tap);
    wait_until_served(&net, target);
    let mut names = [(); 2].map(|()| {
        let page = host.enter(|| http::fetch(target, "/"));
        page.unwrap_or_else(|error| panic!("no page for the host: {error}")).body
    });
    names.sort();
    assert_eq!(names, ["server1\n", "server2\n"]);
    let uploaded = host.enter(|| http::upload(target, MEDIUM));
    assert_eq!(uploaded.unwrap(), digest_of_pattern(MEDIUM), "the host's upload");
    assert_eq!(page(&net, target).len(), "server1".len(), "and so do others");
    director.stop();
}

#[test]
fn without_any_capability_a_device_that_root_made_is_enough() {
    require(&["setpriv"]);
    let net = Net::one_armed(1);
    let _servers = http_servers(&net);
    let target = SocketAddr::new(net.vip4(0), 80);
    bridge(&net, "eth0", "br0", &[]);
    net.director().ip("tuntap add dev lvs0 mode tap vnet_hdr");
    net.director().ip("link set lvs0 master br0 up");
    let rules = RulesFile::new(&rules(&format!("-t {target}"), servers4(&net)));
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-all", "--inh-caps", "-all", PROGRAM, "run"]);
    command.args(["--rules", rules.path(), "--tap", "lvs0,address=10.77.0.2/24"]);
    let director = net.director().start_command(command);
    director.wait_for("forwarding on lvs0", PATIENCE);
    wait_until_served(&net, target);
    director.signal(Signal::TERM);
    director.finish(PATIENCE).expect_success();
}

#[test]
fn a_persistent_device_waits_for_the_next_director_and_neighbours_see_no_difference() {
    let net = Net::one_armed(2);
    let _servers: Vec<_> = net.servers().iter().map(|host| TcpEcho::start(host, 80)).collect();
    let target = SocketAddr::new(net.vip4(0), 80);
    bridge(&net, "eth0", "br0", &[]);
    let rules = rules(&format!("-t {target} -s rr"), servers4(&net));
    let tap = ["--tap", "lvs0,address=10.77.0.2/24,bridge=br0,persistent"];
    let director = Director::start_on(net.director(), &rules, &tap);
    wait_until("a connection", || net.client().enter(|| http::connect(target, None)).is_ok());
    Held::open(&net, target, None).echo("before");
    let neighbour = || {
        let line = net.client().ip(&format!("neigh show {}", net.vip4(0)));
        line.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).map(str::to_owned)
    };
    let before = neighbour();
    director.kill();
    assert!(
        net.director().ip("-o link show master br0").contains("lvs0"),
        "it stays in its bridge"
    );
    let director = Director::start_on(net.director(), &rules, &tap);
    Held::open(&net, target, None).echo("after");
    assert!(before.is_some());
    assert_eq!(neighbour(), before, "the MAC address is the same at each start");
    director.stop();
    assert!(net.director().ip("-o link").contains("lvs0"));
}

#[test]
fn a_device_that_somebody_deletes_comes_back_and_the_service_with_it() {
    let net = Net::one_armed(1);
    let _servers = http_servers(&net);
    let target = SocketAddr::new(net.vip4(0), 80);
    bridge(&net, "eth0", "br0", &[]);
    let rules = rules(&format!("-t {target}"), servers4(&net));
    let tap = ["--tap", "lvs0,address=10.77.0.2/24,bridge=br0"];
    let director = Director::start_on(net.director(), &rules, &tap);
    wait_until_served(&net, target);
    net.director().ip("link del lvs0");
    director.wait_for_log_from(0, &["port 0: reopened on a new interface lvs0"]);
    wait_until_served(&net, target);
    net.director().ip("link set lvs0 mtu 1400");
    director.wait_for_log_from(0, &["MTU 1400, 10.77.0.2/24"]);
    director.stop();
    // It was not persistent.
    assert!(!net.director().ip("-o link").contains("lvs0"));
}

#[test]
fn a_device_without_an_address_or_in_use_is_refused_with_what_to_do() {
    let net = Net::one_armed(1);
    let host = net.director();
    let rules_file = RulesFile::new("-A -t 10.77.0.200:80\n");
    let refused = |options: &[&str]| {
        let command = [&[PROGRAM, "run", "--rules", rules_file.path()], options].concat();
        let ended = host.start(&command).finish(Duration::from_secs(20));
        assert!(!ended.status.success());
        ended.stderr
    };
    let error = refused(&["--tap", "lvs0"]);
    assert!(error.contains("write lvs0,address=10.0.0.2/24"), "{error}");
    let error = refused(&["--tap", "lvs0,address=10.77.0.2/24", "--interface", "eth0"]);
    assert!(error.contains("cannot be used with"), "{error}");
    let error = refused(&["--tap", "eth0,address=10.77.0.2/24"]);
    assert!(error.contains("interface eth0 is there already and is no TAP device"), "{error}");
    let tap = ["--tap", "lvs0,address=10.77.0.2/24"];
    let rules = "-A -t 10.77.0.200:80\n-a -t 10.77.0.200:80 -r 10.77.0.11 -g\n\
                 -A -t [fd77::200]:80\n-a -t [fd77::200]:80 -r [fd77::11]:80 -g\n";
    let director = Director::start_on(host, rules, &tap);
    let log = director.log();
    assert!(
        log.contains("no way leads to real server fd77::11: give a --tap an address6="),
        "{log}"
    );
    assert!(!log.contains("real server 10.77.0.11"), "{log}");
    let error = refused(&tap);
    assert!(error.contains("TAP device lvs0 is in use by another process"), "{error}");
}
