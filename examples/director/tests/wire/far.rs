//! Real servers that are several hops away from the director.
//!
//! ```text
//!  client ─ eth0 ── eth0 ─ director ─ eth1 ── eth0 ─ router 1 ─ eth1 ── eth0 ─ router 2 ─ eth1 ── eth0 ─ server 1
//!     └──── eth1 ─────────────────────────── eth2 ──────┘                          └───── eth2 ── eth0 ─ server 2
//! ```
//!
//! Each line is a veth pair and a network of its own, `10.80.N.0/24` and `fd80:N::/64` (N in hexadecimal); the left end has
//! `.1`, the right one `.2`. Answers go from the servers over both routers to the client and do not pass
//! the director. The VIPs are `10.80.1.200` and `fd80:1::200`; nobody has them but who is given them.

use std::net::{IpAddr, Ipv6Addr};

use lvs_testnet::{Host, PacketSocket, Process, Signal, require};

use crate::director::{PATIENCE, PROGRAM};

/// Number of the network between client and director, director and router 1, and so on.
const CLIENTS: u8 = 1;
const DIRECTORS: u8 = 2;
const ROUTERS: u8 = 3;
const BACK: u8 = 4;
/// Number of the first real server's network.
const SERVERS: u8 = 11;

pub(crate) struct Far {
    pub(crate) client: Host,
    pub(crate) director: Host,
    pub(crate) routers: [Host; 2],
    pub(crate) servers: Vec<Host>,
}

/// Address of the left (1) or right (2) end of a link.
fn v4(network: u8, end: u8) -> IpAddr {
    IpAddr::from([10, 80, network, end])
}

fn v6(network: u8, end: u16) -> IpAddr {
    Ipv6Addr::new(0xfd80, u16::from(network), 0, 0, 0, 0, 0, end).into()
}

fn link(left: (&Host, &str), right: (&Host, &str), network: u8) {
    let ((left, left_name), (right, right_name)) = (left, right);
    let namespace = right.namespace_path().display();
    left.ip(&format!("link add {left_name} type veth peer name {right_name} netns {namespace}"));
    for (host, name, end) in [(left, left_name, 1), (right, right_name, 2)] {
        host.ip(&format!("link set {name} up"));
        host.add_address(name, &format!("{}/24", v4(network, end)));
        host.add_address(name, &format!("{}/64", v6(network, end.into())));
    }
}

fn route(host: &Host, to: u8, network: u8, end: u8) {
    host.ip(&format!("route add 10.80.{to}.0/24 via {}", v4(network, end)));
    host.ip(&format!("-6 route add fd80:{to:x}::/64 via {}", v6(network, end.into())));
}

impl Far {
    pub(crate) fn new(servers: u8) -> Far {
        require(&["ip"]);
        let far = Far {
            client: Host::new("client"),
            director: Host::new("director"),
            routers: [Host::new("router1"), Host::new("router2")],
            servers: (1..=servers).map(|i| Host::new(&format!("server{i}"))).collect(),
        };
        let [first, second] = &far.routers;
        for host in [&far.director, first, second] {
            host.set_sysctl("net.ipv4.ip_forward", "1");
            host.set_sysctl("net.ipv6.conf.all.forwarding", "1");
        }
        link((&far.client, "eth0"), (&far.director, "eth0"), CLIENTS);
        link((&far.director, "eth1"), (first, "eth0"), DIRECTORS);
        link((first, "eth1"), (second, "eth0"), ROUTERS);
        link((&far.client, "eth1"), (first, "eth2"), BACK);
        route(first, CLIENTS, BACK, 1);
        route(second, CLIENTS, ROUTERS, 1);
        route(second, DIRECTORS, ROUTERS, 1);
        for (i, server) in far.servers.iter().enumerate() {
            let network = SERVERS + i as u8;
            link((second, &format!("eth{}", i + 1)), (server, "eth0"), network);
            server.ip(&format!("route add default via {}", v4(network, 1)));
            server.ip(&format!("-6 route add default via {}", v6(network, 1)));
            route(&far.director, network, DIRECTORS, 2);
            route(first, network, ROUTERS, 2);
        }
        far
    }

    pub(crate) fn vip4(&self) -> IpAddr {
        v4(CLIENTS, 200)
    }

    pub(crate) fn vip6(&self) -> IpAddr {
        v6(CLIENTS, 0x200)
    }

    pub(crate) fn server4(&self, i: usize) -> IpAddr {
        v4(SERVERS + i as u8, 2)
    }

    pub(crate) fn server6(&self, i: usize) -> IpAddr {
        v6(SERVERS + i as u8, 2)
    }

    /// The director's address towards the servers, in the family of `like`.
    pub(crate) fn director_towards(&self, like: IpAddr) -> IpAddr {
        if like.is_ipv4() { v4(DIRECTORS, 1) } else { v6(DIRECTORS, 1) }
    }

    /// The gateway's interface towards a server, and that server's MAC address: frames that are sent here
    /// reach the server as if they had been routed.
    pub(crate) fn last_hop(&self, i: usize) -> (PacketSocket, [u8; 6]) {
        let interface = format!("eth{}", i + 1);
        (PacketSocket::open(&self.routers[1], &interface), self.servers[i].mac("eth0"))
    }

    /// Makes every server a real server of both VIPs; `options` name the method.
    #[track_caller]
    pub(crate) fn make_real_servers(&self, options: &[&str]) -> Vec<RealServer> {
        let vips = [self.vip4(), self.vip6()].map(|vip| vip.to_string());
        let [vip4, vip6] = &vips;
        let options = [&["--vip", vip4, "--vip", vip6], options].concat();
        self.servers.iter().map(|host| RealServer::start(host, &options)).collect()
    }

    /// Both directors' addresses as options of a real server.
    pub(crate) fn directors(&self) -> [String; 4] {
        let address = |like| self.director_towards(like).to_string();
        let option = || "--director".to_owned();
        [option(), address(self.vip4()), option(), address(self.vip6())]
    }
}

/// A host that `lvs-director realserver --apply` made a real server.
pub(crate) struct RealServer {
    process: Option<Process>,
}

impl RealServer {
    /// Starts it and waits until it serves.
    #[track_caller]
    pub(crate) fn start(host: &Host, options: &[&str]) -> RealServer {
        let command = [&[PROGRAM, "realserver", "--apply"], options].concat();
        let process = host.start(&command);
        process.wait_for("ready;", PATIENCE);
        RealServer { process: Some(process) }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it is only taken by what consumes the real server")
    }

    /// What it printed so far.
    pub(crate) fn printed(&self) -> String {
        self.process().stdout()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// Stops it as an operator does, and returns what it printed.
    #[track_caller]
    pub(crate) fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let process = self.process.take().expect("nobody has taken it yet");
        process.finish(PATIENCE).expect_success().stdout
    }

    /// Kills it and waits for its end.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        let process = self.process.take().expect("nobody has taken it yet");
        assert_eq!(process.finish(PATIENCE).status.code(), None);
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        if let Some(process) = self.process.as_ref().filter(|_| std::thread::panicking()) {
            eprintln!("a real server said:\n{}{}", process.stdout(), process.stderr());
        }
    }
}
