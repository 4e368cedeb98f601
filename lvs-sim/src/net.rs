//! The network of a scenario: two ports, what is behind them, and which addresses are whose.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lvs_core::addr::{Family, MacAddr, Prefix};
use lvs_core::command::{Command, IcmpPacing, PortSpec, RouteSpec};
use lvs_core::ids::{FwMark, PortId};

use crate::scenario::Side;

/// The clients' port, `c0`.
pub const CLIENTS: PortId = PortId(0);
/// The servers' port, `s0`.
pub const SERVERS: PortId = PortId(1);

/// The director's Ethernet address on `c0`.
pub const CLIENTS_MAC: MacAddr = MacAddr([0x02, 0xc0, 0, 0, 0, 1]);
/// The director's Ethernet address on `s0`.
pub const SERVERS_MAC: MacAddr = MacAddr([0x02, 0x50, 0, 0, 0, 1]);
/// The Ethernet address of the clients' default gateway.
pub const GATEWAY_MAC: MacAddr = MacAddr([0x02, 0xc1, 0, 0, 0, 0xfe]);

/// The clients' default gateway.
pub const GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254));
/// The clients' default gateway.
pub const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe));

/// The director's own addresses: on `c0`, on `s0`, IPv4 and IPv6.
pub const OWN: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1)),
];

/// Bits of the subnet of the real servers, IPv4.
const SERVERS_PREFIX: u8 = 16;

/// The UDP port that a GUE packet has when no `--tun-port` says otherwise.
const GUE_PORT: u16 = 6080;

/// The MTU of both ports without `@mtu`.
const MTU: u32 = 1500;

impl Side {
    /// The port of this side.
    pub const fn port(self) -> PortId {
        match self {
            Side::Clients => CLIENTS,
            Side::Servers => SERVERS,
        }
    }

    /// The side of a port; every port but the first is the servers'.
    pub fn of(port: PortId) -> Side {
        if port == CLIENTS { Side::Clients } else { Side::Servers }
    }

    /// The interface's name.
    pub const fn interface(self) -> &'static str {
        match self {
            Side::Clients => "c0",
            Side::Servers => "s0",
        }
    }

    /// The director's Ethernet address on this side.
    pub const fn mac(self) -> MacAddr {
        match self {
            Side::Clients => CLIENTS_MAC,
            Side::Servers => SERVERS_MAC,
        }
    }
}

/// The Ethernet address of the station with this IP address on the servers' side.
///
/// `02:04` and the address itself for IPv4, `02:06` and the CRC-32 of the address for IPv6, so that a
/// frame's destination names the server.
pub fn station_mac(addr: IpAddr) -> MacAddr {
    let (kind, id) = match addr {
        IpAddr::V4(addr) => (4, addr.octets()),
        IpAddr::V6(addr) => {
            let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&addr.octets());
            (6, crc.to_be_bytes())
        }
    };
    MacAddr([2, kind, id[0], id[1], id[2], id[3]])
}

/// The network of a scenario, as its directives and commands describe it.
#[derive(Clone, Debug, Default)]
pub struct Network {
    locals: Vec<IpAddr>,
    servers: BTreeMap<MacAddr, IpAddr>,
    silent: BTreeSet<IpAddr>,
    unreachable: Vec<IpAddr>,
    mtu: [Option<u32>; 2],
    transparent: Option<FwMark>,
    gue_ports: BTreeSet<u16>,
    tunnel_ends: BTreeSet<IpAddr>,
    local_server: bool,
}

impl Network {
    /// The virtual addresses, in the order they were named.
    pub fn locals(&self) -> &[IpAddr] {
        &self.locals
    }

    /// The real servers beyond `s0`.
    pub fn servers(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.servers.values().copied()
    }

    /// The server with this Ethernet address.
    pub fn server_of(&self, mac: MacAddr) -> Option<IpAddr> {
        self.servers.get(&mac).copied()
    }

    /// Whether a server has a neighbour entry and needs no asking.
    pub fn answers(&self, server: IpAddr) -> bool {
        !self.silent.contains(&server)
    }

    /// Whether one of the real servers is the director's own host. Its answers then move connections, so
    /// that each packet must be answered before the next one is looked at.
    pub fn has_local_server(&self) -> bool {
        self.local_server
    }

    /// The addresses that no route leads to (`@unreachable`).
    pub fn unreachable(&self) -> &[IpAddr] {
        &self.unreachable
    }

    /// The mark of `@transparent`.
    pub fn transparent(&self) -> Option<FwMark> {
        self.transparent
    }

    /// The MTU of a side's link.
    pub fn mtu(&self, side: Side) -> u32 {
        self.mtu[side.port().index()].unwrap_or(MTU)
    }

    /// Whether the recorded kernel asks for this neighbour. Its interfaces have no link-local address, and
    /// without one it sends a neighbour solicitation only for a packet from an address of its own:
    /// the outer one of a tunnel.
    pub fn asks_for(&self, neighbor: IpAddr) -> bool {
        neighbor.is_ipv4() || self.tunnel_ends.contains(&neighbor)
    }

    /// Whether a UDP packet to this port from the director itself is a GUE tunnel.
    pub fn is_gue_port(&self, port: u16) -> bool {
        port == GUE_PORT || self.gue_ports.contains(&port)
    }

    /// Whether an address is the director's: virtual or its own.
    pub fn is_local(&self, addr: IpAddr) -> bool {
        OWN.contains(&addr)
            || self.locals.contains(&addr)
            || matches!(addr, IpAddr::V4(addr) if addr.is_loopback())
    }

    /// Whether an address means every station of a link, the director included.
    pub fn is_broadcast(&self, addr: IpAddr) -> bool {
        let IpAddr::V4(addr) = addr else { return false };
        let of_servers = match OWN[1] {
            IpAddr::V4(own) => Ipv4Addr::from_bits(own.to_bits() | (u32::MAX >> SERVERS_PREFIX)),
            IpAddr::V6(_) => Ipv4Addr::BROADCAST,
        };
        addr.is_broadcast() || addr == of_servers
    }

    /// Where the host sends a packet to this address: the side, and the station there. `None` if no
    /// route leads to it.
    pub fn route(&self, addr: IpAddr) -> Option<(Side, MacAddr)> {
        if self.unreachable.contains(&addr) {
            return None;
        }
        let gateway = match addr {
            IpAddr::V4(_) => GATEWAY_V4,
            IpAddr::V6(_) => GATEWAY_V6,
        };
        let beyond_s0 = addr != gateway
            && (server_prefixes().iter().any(|prefix| prefix.contains(addr))
                || self.servers.values().any(|&server| server == addr));
        Some(if beyond_s0 {
            (Side::Servers, station_mac(addr))
        } else {
            (Side::Clients, GATEWAY_MAC)
        })
    }

    /// The commands that tell a director about this network, before the first event.
    pub fn commands(&self) -> Vec<Command> {
        let mut commands = vec![
            Command::SetIcmpPacing(IcmpPacing { enabled: false, ..IcmpPacing::default() }),
            self.port(Side::Clients, [Prefix::host(OWN[0]), Prefix::host(OWN[2])]),
            self.port(Side::Servers, server_prefixes()),
            Command::SetRoutes(self.routes()),
            // The recorder's network has it for IPv4 only.
            Command::DeliverMarked(
                self.transparent.map(|mark| (Family::V4, mark)).into_iter().collect(),
            ),
        ];
        commands.extend([GATEWAY_V4, GATEWAY_V6].map(|addr| Command::SetNeighbor {
            port: CLIENTS,
            addr,
            mac: GATEWAY_MAC,
        }));
        for (&mac, &addr) in &self.servers {
            if self.answers(addr) {
                commands.push(Command::SetNeighbor { port: SERVERS, addr, mac });
            }
        }
        for &addr in &self.locals {
            commands.push(Command::AddLocal { addr, answer: false });
        }
        commands
    }

    fn port(&self, side: Side, addresses: [Prefix; 2]) -> Command {
        Command::SetPort(PortSpec {
            id: side.port(),
            mac: side.mac(),
            mtu: self.mtu(side),
            addresses: addresses.into(),
        })
    }

    fn routes(&self) -> Vec<RouteSpec> {
        let mut routes: Vec<RouteSpec> = [GATEWAY_V4, GATEWAY_V6]
            .into_iter()
            .filter_map(|via| {
                let prefix = Prefix::new(Family::of(via).unspecified(), 0)?;
                Some(RouteSpec { prefix, port: Some(CLIENTS), via: Some(via) })
            })
            .collect();
        let inside = server_prefixes();
        routes.extend(
            self.servers
                .values()
                .filter(|&&server| !inside.iter().any(|prefix| prefix.contains(server)))
                .map(|&server| RouteSpec {
                    prefix: Prefix::host(server),
                    port: Some(SERVERS),
                    via: None,
                }),
        );
        let unreachable = self.unreachable.iter();
        routes.extend(unreachable.map(|&addr| RouteSpec {
            prefix: Prefix::host(addr),
            port: None,
            via: None,
        }));
        routes
    }
}

/// The director's addresses on `s0`, with the subnets of the real servers.
fn server_prefixes() -> [Prefix; 2] {
    [(OWN[1], SERVERS_PREFIX), (OWN[3], 64)]
        .map(|(addr, len)| Prefix::new(addr, len).unwrap_or(Prefix::host(addr)))
}

/// Collects what the lines of a scenario say about its network.
#[derive(Default, Debug)]
pub(crate) struct NetworkBuilder {
    network: Network,
    servers: Vec<IpAddr>,
    not_local: BTreeSet<IpAddr>,
}

impl NetworkBuilder {
    pub(crate) fn vip(&mut self, addr: IpAddr) {
        if !self.network.locals.contains(&addr) {
            self.network.locals.push(addr);
        }
    }

    pub(crate) fn no_vip(&mut self, addr: IpAddr) {
        self.not_local.insert(addr);
    }

    pub(crate) fn server(&mut self, addr: IpAddr) {
        self.servers.push(addr);
    }

    pub(crate) fn unreachable(&mut self, addr: IpAddr) {
        self.network.unreachable.push(addr);
    }

    pub(crate) fn no_neighbor(&mut self, addr: IpAddr) {
        self.network.silent.insert(addr);
    }

    pub(crate) fn transparent(&mut self, mark: FwMark) {
        self.network.transparent = Some(mark);
    }

    pub(crate) fn mtu(&mut self, side: Side, mtu: u32) {
        self.network.mtu[side.port().index()] = Some(mtu);
    }

    pub(crate) fn tunnel_end(&mut self, addr: IpAddr) {
        self.network.tunnel_ends.insert(addr);
    }

    pub(crate) fn gue_port(&mut self, port: u16) {
        self.network.gue_ports.insert(port);
    }

    /// A server with one of the director's addresses is local and no neighbour.
    pub(crate) fn finish(self) -> Network {
        let NetworkBuilder { mut network, servers, not_local } = self;
        network.locals.retain(|addr| !not_local.contains(addr));
        for server in servers {
            if network.is_local(server) || server.is_loopback() {
                network.local_server = true;
            } else {
                network.servers.insert(station_mac(server), server);
            }
        }
        network
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn network(text: &str) -> Network {
        Scenario::parse("n.lvs", text).unwrap().network
    }

    #[test]
    fn services_and_marks_make_addresses_local_and_servers_neighbours() {
        let network = network(
            "@novip 10.0.0.3\n\
             0 ipvsadm -A -t 10.0.0.1:80 -s rr\n\
             0 mark tcp 10.0.0.2:80 1\n\
             0 mark tcp 10.0.0.3:80 1\n\
             0 mark tcp 10.9.0.0/16 1\n\
             0 ipvsadm -a -t 10.0.0.1:80 -r 172.16.0.9 -g\n\
             0 ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.1 -g\n",
        );
        let addr = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network.locals(), [addr("10.0.0.1"), addr("10.0.0.2")]);
        assert_eq!(network.servers().collect::<Vec<_>>(), [addr("172.16.0.9")]);
        assert_eq!(network.server_of(MacAddr([2, 4, 172, 16, 0, 9])), Some(addr("172.16.0.9")));
        assert_eq!(network.route(addr("172.16.0.9")).unwrap().0, Side::Servers);
        assert_eq!(network.route(addr("172.16.0.10")).unwrap(), (Side::Clients, GATEWAY_MAC));
    }

    #[test]
    fn an_ipv6_station_is_named_by_the_crc_of_its_address() {
        // CRC-32 as in IEEE 802.3, the one zlib computes.
        let addr: IpAddr = "2001:db8:2::2".parse().unwrap();
        assert_eq!(station_mac(addr).to_string(), "02:06:be:f7:58:23");
    }
}
