//! One small network and real sockets under each forwarding method: the topology and the addresses of the
//! kernel's own test of IPVS (`tools/testing/selftests/net/netfilter/ipvs.sh`), with a rules file in the
//! place of ipvsadm and `realserver` in the place of the commands on the real server.
//!
//! ```text
//!  client br0 10.0.0.2 ──┬── veth10 10.0.0.1 director veth12 172.16.0.1 ──┐
//!                        └── veth20 10.0.0.3 server   veth21 172.16.0.2 ──┘
//! ```
//!
//! The client reaches the virtual address 207.175.44.110 through 10.0.0.1. Answers take `veth20` where the
//! method lets them.

use std::net::SocketAddr;

use lvs_testnet::{Host, HttpServer, digest_of_pattern, http, require};

use crate::director::Director;
use crate::far::RealServer;

const VIP: &str = "207.175.44.110";
const SERVER: &str = "172.16.0.2";
const ARMS: [&str; 4] = ["--interface", "veth10", "--interface", "veth12"];
const LEN: u64 = 3_000_000;

struct Three {
    client: Host,
    director: Host,
    server: Host,
}

/// A veth pair between two hosts, both ends up.
fn pair(left: (&Host, &str), right: (&Host, &str)) {
    let namespace = right.0.namespace_path().display();
    let (from, to) = (left.1, right.1);
    left.0.ip(&format!("link add {from} type veth peer name {to} netns {namespace}"));
    left.0.ip(&format!("link set {from} up"));
    right.0.ip(&format!("link set {to} up"));
}

impl Three {
    fn new() -> Three {
        require(&["ip"]);
        let (client, director) = (Host::new("client"), Host::new("director"));
        let server = Host::new("server");
        client.ip("link add br0 type bridge stp_state 0 forward_delay 0");
        client.ip("link set br0 up");
        pair((&client, "veth01"), (&director, "veth10"));
        pair((&client, "veth02"), (&server, "veth20"));
        pair((&director, "veth12"), (&server, "veth21"));
        client.ip("link set veth01 master br0");
        client.ip("link set veth02 master br0");
        for (host, name, address) in [
            (&client, "br0", "10.0.0.2/24"),
            (&director, "veth10", "10.0.0.1/24"),
            (&director, "veth12", "172.16.0.1/24"),
            (&server, "veth20", "10.0.0.3/24"),
            (&server, "veth21", "172.16.0.2/24"),
        ] {
            host.add_address(name, address);
        }
        director.set_sysctl("net.ipv4.ip_forward", "1");
        client.ip(&format!("route add {VIP} via 10.0.0.1"));
        // As many distributions set it: what comes by veth21 would be dropped, as its answers leave by
        // veth20.
        server.set_sysctl("net.ipv4.conf.all.rp_filter", "1");
        Three { client, director, server }
    }

    /// Sends the server so many bytes through the director, and what it got is what was sent.
    #[track_caller]
    fn carries(&self, method: &str) {
        let _http = HttpServer::start(&self.server, 80);
        let rules = format!("-A -t {VIP}:80 -s rr\n-a -t {VIP}:80 -r {SERVER}:80 {method}\n");
        let director = Director::start_on(&self.director, &rules, &ARMS);
        let target = SocketAddr::new(VIP.parse().expect("an address"), 80);
        let digest = self.client.enter(|| http::upload(target, LEN));
        assert_eq!(digest.unwrap(), digest_of_pattern(LEN), "{method}");
        assert!(director.stop().totals.bytes_in > LEN);
    }
}

#[test]
fn direct_routing_carries_what_the_client_sends() {
    let three = Three::new();
    let made = RealServer::start(&three.server, &["--vip", VIP, "--interface", "veth21"]);
    assert!(made.printed().contains("net.ipv4.conf.veth21.rp_filter=2"), "{}", made.printed());
    three.carries("-g");
    made.stop();
    assert_eq!(three.server.sysctl("net.ipv4.conf.veth21.rp_filter"), "0");
}

#[test]
fn a_tunnel_carries_what_the_client_sends() {
    let three = Three::new();
    let options = ["--vip", VIP, "--tun", "ipip", "--director", "172.16.0.1"];
    let made = RealServer::start(&three.server, &options);
    three.carries("-i");
    let printed = made.stop();
    assert!(!printed.contains("dropped"), "{printed}");
}

#[test]
fn masquerading_carries_what_the_client_sends() {
    let three = Three::new();
    // Answers must come back through the director.
    three.server.ip("link del veth20");
    three.server.ip("route add default via 172.16.0.1");
    three.carries("-m");
}
