//! The topologies: who is connected to whom, under which addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::prerequisites::require;

/// How long the kernel may take to bring all links up (its link watch may wait a second).
const LINKS_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// Host part of the director's address.
const DIRECTOR: u8 = 1;
/// Host part of the standby director's address.
const STANDBY: u8 = 2;
/// Host part of the first real server's address.
const FIRST_SERVER: u8 = 11;
/// Host part of the client's first address.
const CLIENT: u8 = 100;
/// Host part of the first virtual address.
const FIRST_VIP: u8 = 200;
/// Host part of the router's addresses.
const ROUTER: u8 = 254;

/// A client, a director and real servers.
///
/// One-armed: everybody is on one segment, `10.77.0.0/24` and `fd77::/64`, with one interface, `eth0`.
///
/// ```text
///  client .100    director .1    server 1 .11    server 2 .12 …     VIPs .200, .201 …
///      └──────────────┴──────────────┴───────────────┴──
/// ```
///
/// Two-armed: the clients' segment is `10.77.1.0/24` and `fd77:1::/64`, the servers' `10.77.2.0/24` and
/// `fd77:2::/64`; the director has `eth0` on the clients' and `eth1` on the servers' segment. Answers of
/// the servers do not pass the director but a router between the segments, `.254` on both.
///
/// ```text
///  client .100 ──┬── eth0 director .1 eth1 ──┬── server 1 .11 …
///                └──── router .254 ──────────┘
/// ```
///
/// Each real server has the VIPs on `lo` with `arp_ignore=1` and `arp_announce=2`. The director's host
/// has `ip_forward=1` and does **not** have the VIPs unless [`Net::give_vip_to_director`] is called.
/// Offloads are the kernel's defaults everywhere.
#[derive(Debug)]
pub struct Net {
    client: Host,
    director: Host,
    servers: Vec<Host>,
    others: Vec<Host>,
    standby: Option<Host>,
    clients_side: Segment,
    servers_side: Option<Segment>,
}

/// A switch: a namespace with a bridge.
#[derive(Debug)]
struct Segment {
    switch: Host,
    /// Third byte of the IPv4 subnet; the second group of the IPv6 one.
    number: u8,
    ports: usize,
    /// Ports that there ever were, for their names.
    named: usize,
}

impl Net {
    /// The one-armed topology with `servers` real servers (at most 80).
    ///
    /// # Panics
    /// If `ip` is missing, the test is not root, or the kernel lacks veth or bridges.
    #[track_caller]
    pub fn one_armed(servers: usize) -> Net {
        Net::build(servers, false)
    }

    /// The two-armed topology with `servers` real servers (at most 80).
    ///
    /// # Panics
    /// As [`Net::one_armed`].
    #[track_caller]
    pub fn two_armed(servers: usize) -> Net {
        Net::build(servers, true)
    }

    /// The client.
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// The director's host.
    pub fn director(&self) -> &Host {
        &self.director
    }

    /// The real servers, in order.
    pub fn servers(&self) -> &[Host] {
        &self.servers
    }

    /// Virtual address number `n` (from 0): `10.77.0.200` and up, two-armed `10.77.1.200` and up.
    pub fn vip4(&self, n: u8) -> IpAddr {
        self.clients_side.v4(FIRST_VIP + n)
    }

    /// Virtual address number `n` (from 0): `fd77::200` and up, two-armed `fd77:1::200` and up.
    pub fn vip6(&self, n: u8) -> IpAddr {
        self.clients_side.v6(FIRST_VIP + n)
    }

    /// The client's address number `n`; only number 0 is there before [`Net::add_client_address`].
    pub fn client4(&self, n: u8) -> IpAddr {
        self.clients_side.v4(CLIENT + n)
    }

    /// The client's address number `n`; only number 0 is there before [`Net::add_client_address`].
    pub fn client6(&self, n: u8) -> IpAddr {
        self.clients_side.v6(CLIENT + n)
    }

    /// The director's address on the clients' segment.
    pub fn director4(&self) -> IpAddr {
        self.clients_side.v4(DIRECTOR)
    }

    /// The director's address on the clients' segment.
    pub fn director6(&self) -> IpAddr {
        self.clients_side.v6(DIRECTOR)
    }

    /// The address of real server number `i` (from 0).
    pub fn server4(&self, i: usize) -> IpAddr {
        self.servers_side.as_ref().unwrap_or(&self.clients_side).v4(server_host(i))
    }

    /// The address of real server number `i` (from 0).
    pub fn server6(&self, i: usize) -> IpAddr {
        self.servers_side.as_ref().unwrap_or(&self.clients_side).v6(server_host(i))
    }

    /// Gives the client its address number `n` in both families.
    ///
    /// # Panics
    /// If it has it.
    #[track_caller]
    pub fn add_client_address(&self, n: u8) {
        self.client.add_address("eth0", &format!("{}/24", self.client4(n)));
        self.client.add_address("eth0", &format!("{}/64", self.client6(n)));
    }

    /// Puts VIP number `n` of both families on `lo` of each real server; number 0 is there from the
    /// start.
    ///
    /// # Panics
    /// If it is there.
    #[track_caller]
    pub fn give_vip_to_servers(&self, n: u8) {
        for server in &self.servers {
            server.add_address("lo", &format!("{}/32", self.vip4(n)));
            server.add_address("lo", &format!("{}/128", self.vip6(n)));
        }
    }

    /// Puts VIP number `n` of both families on the director's `eth0`, as keepalived does: its host then
    /// answers ARP and neighbour solicitations for it.
    ///
    /// # Panics
    /// If it is there.
    #[track_caller]
    pub fn give_vip_to_director(&self, n: u8) {
        self.director.add_address("eth0", &format!("{}/32", self.vip4(n)));
        self.director.add_address("eth0", &format!("{}/128", self.vip6(n)));
    }

    /// Deletes the director's `eth0` and makes it anew with the same addresses, as a driver that is
    /// loaded again does: its index and MAC address are others. `meanwhile` runs while it is gone.
    ///
    /// # Panics
    /// As [`Net::one_armed`].
    #[track_caller]
    pub fn replace_director_interface(&mut self, meanwhile: impl FnOnce()) {
        // The other end of the pair, in the switch, goes with it.
        self.director.ip("link del eth0");
        self.clients_side.ports -= 1;
        meanwhile();
        self.clients_side.join_with_address(&self.director, "eth0", DIRECTOR);
        self.clients_side.wait_until_up();
    }

    /// Adds a second director's host beside the first, with the same arms and `.2` for `.1` in its
    /// addresses.
    ///
    /// # Panics
    /// As [`Net::one_armed`].
    #[track_caller]
    pub fn add_standby(&mut self) {
        let host = Host::new("standby");
        self.clients_side.join_with_address(&host, "eth0", STANDBY);
        if let Some(side) = &mut self.servers_side {
            side.join_with_address(&host, "eth1", STANDBY);
            side.wait_until_up();
        }
        self.clients_side.wait_until_up();
        forward(&host);
        self.standby = Some(host);
    }

    /// The second director's host.
    ///
    /// # Panics
    /// Without [`Net::add_standby`].
    #[track_caller]
    pub fn standby(&self) -> &Host {
        self.standby.as_ref().expect("add_standby was called")
    }

    /// One more host on the clients' segment, with an `eth0` that has no address (a peer for tagged or
    /// forged frames).
    ///
    /// # Panics
    /// As [`Net::one_armed`].
    #[track_caller]
    pub fn add_peer(&mut self, name: &str) -> &Host {
        let host = Host::new(name);
        self.clients_side.join(&host, "eth0");
        self.clients_side.wait_until_up();
        self.others.push(host);
        &self.others[self.others.len() - 1]
    }

    #[track_caller]
    fn build(servers: usize, two_armed: bool) -> Net {
        require(&["ip"]);
        assert!(servers <= 80, "the plan of addresses has room for 80 real servers");
        let clients_side = Segment::new("clients-switch", u8::from(two_armed));
        let servers_side = two_armed.then(|| Segment::new("servers-switch", 2));
        let mut net = Net {
            client: Host::new("client"),
            director: Host::new("director"),
            servers: (1..=servers).map(|i| Host::new(&format!("server{i}"))).collect(),
            others: Vec::new(),
            standby: None,
            clients_side,
            servers_side,
        };
        net.clients_side.join_with_address(&net.client, "eth0", CLIENT);
        net.clients_side.join_with_address(&net.director, "eth0", DIRECTOR);
        forward(&net.director);
        for (i, server) in net.servers.iter().enumerate() {
            let side = net.servers_side.as_mut().unwrap_or(&mut net.clients_side);
            side.join_with_address(server, "eth0", server_host(i));
            server.set_sysctl("net.ipv4.conf.all.arp_ignore", "1");
            server.set_sysctl("net.ipv4.conf.all.arp_announce", "2");
        }
        net.connect_segments();
        net.give_vip_to_servers(0);
        net.clients_side.wait_until_up();
        if let Some(side) = &net.servers_side {
            side.wait_until_up();
        }
        net
    }

    /// The servers' segment: the director's second arm, and the router of the way back.
    fn connect_segments(&mut self) {
        let Some(servers_side) = &mut self.servers_side else { return };
        servers_side.join_with_address(&self.director, "eth1", DIRECTOR);
        let router = Host::new("router");
        self.clients_side.join_with_address(&router, "eth0", ROUTER);
        servers_side.join_with_address(&router, "eth1", ROUTER);
        forward(&router);
        let (way4, way6) = (servers_side.v4(ROUTER), servers_side.v6(ROUTER));
        for server in &self.servers {
            server.ip(&format!("route add default via {way4}"));
            server.ip(&format!("-6 route add default via {way6}"));
        }
        let (way4, way6) = (self.clients_side.v4(ROUTER), self.clients_side.v6(ROUTER));
        self.client.ip(&format!("route add default via {way4}"));
        self.client.ip(&format!("-6 route add default via {way6}"));
        self.others.push(router);
    }
}

impl Segment {
    #[track_caller]
    fn new(name: &str, number: u8) -> Segment {
        let switch = Host::new(name);
        // Without snooping a solicitation reaches a VIP that no host's own stack has joined.
        switch.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
        switch.ip("link set br0 up");
        Segment { switch, number, ports: 0, named: 0 }
    }

    #[track_caller]
    fn join(&mut self, host: &Host, interface: &str) {
        let port = format!("port{}", self.named);
        self.named += 1;
        self.ports += 1;
        let namespace = host.namespace_path().display();
        self.switch
            .ip(&format!("link add {port} type veth peer name {interface} netns {namespace}"));
        self.switch.ip(&format!("link set {port} master br0 up"));
        host.ip(&format!("link set {interface} up"));
    }

    #[track_caller]
    fn join_with_address(&mut self, host: &Host, interface: &str, number: u8) {
        self.join(host, interface);
        host.add_address(interface, &format!("{}/24", self.v4(number)));
        host.add_address(interface, &format!("{}/64", self.v6(number)));
    }

    /// The kernel reports the carrier of a new link up to a second late; until then a bridge port does
    /// not forward.
    #[track_caller]
    fn wait_until_up(&self) {
        let deadline = Instant::now() + LINKS_UP_TIMEOUT;
        loop {
            let links = self.switch.ip("-o -d link show type veth");
            let up = links.lines().filter(|line| line.contains("state forwarding")).count();
            if up == self.ports {
                return;
            }
            assert!(Instant::now() < deadline, "the links do not come up:\n{links}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn v4(&self, host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 77, self.number, host))
    }

    /// The decimal digits of the host number, read as hexadecimal, so that `.200` and `::200` match.
    fn v6(&self, host: u8) -> IpAddr {
        let digits = u16::from(host);
        let group = digits / 100 * 0x100 + digits / 10 % 10 * 0x10 + digits % 10;
        IpAddr::V6(Ipv6Addr::new(0xfd77, u16::from(self.number), 0, 0, 0, 0, 0, group))
    }
}

/// Makes a host forward, as most directors' hosts do.
fn forward(host: &Host) {
    host.set_sysctl("net.ipv4.ip_forward", "1");
    host.set_sysctl("net.ipv6.conf.all.forwarding", "1");
}

/// Host part of a real server's address.
fn server_host(i: usize) -> u8 {
    // INVARIANT: `build` allows at most 80 servers, so the sum fits.
    FIRST_SERVER + u8::try_from(i).expect("at most 80 servers")
}
