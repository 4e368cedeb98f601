//! The UDP sockets of synchronisation daemons.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use lvs_io_afpacket::Interface;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

/// How long one message may wait for room in the socket's own queue.
const SEND_PATIENCE: Duration = Duration::from_millis(500);

/// The interface of a daemon, as it was when its sockets were opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) name: String,
    index: u32,
    /// Its primary address, from which a master sends.
    address: Option<Ipv4Addr>,
    pub(super) mtu: u32,
    is_up: bool,
}

impl Link {
    /// The interface of a name, if it is there.
    pub(super) fn find(name: &str, interfaces: &[Interface]) -> Option<Link> {
        let found = interfaces.iter().find(|interface| interface.name == name)?;
        let address = found.addresses.iter().find_map(|prefix| match prefix.addr() {
            IpAddr::V4(addr) => Some(addr),
            IpAddr::V6(_) => None,
        });
        Some(Link {
            name: found.name.clone(),
            index: found.index,
            address,
            mtu: found.mtu,
            is_up: found.is_up,
        })
    }

    /// Whether it has an IPv4 address to send from.
    pub(super) fn has_ipv4(&self) -> bool {
        self.address.is_some()
    }

    /// That it is down, in words.
    pub(super) fn down(&self) -> Option<String> {
        (!self.is_up).then(|| format!("{} is down", self.name))
    }

    /// Why nothing can be sent to a group by it, in words.
    pub(super) fn trouble(&self, group: IpAddr) -> Option<String> {
        let addressed = group.is_ipv6() || self.has_ipv4();
        let lacks = || (!addressed).then(|| format!("{} has no IPv4 address", self.name));
        self.down().or_else(lacks)
    }
}

/// A socket that sends to a group by a link, at most `hops` far and never back to this host. Its packets
/// may be cut on the way. `buffer` is `sync_sock_size`: 0 leaves the system's.
pub(super) fn sender(group: IpAddr, hops: u8, link: &Link, buffer: u32) -> io::Result<UdpSocket> {
    let socket = open(group)?;
    match group {
        IpAddr::V4(_) => {
            let address = link.address.ok_or(io::ErrorKind::AddrNotAvailable)?;
            socket.set_multicast_if_v4(&address)?;
            socket.set_multicast_ttl_v4(hops.into())?;
            socket.set_multicast_loop_v4(false)?;
            sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT)?;
            socket.bind_device(Some(link.name.as_bytes()))?;
            socket.bind(&SocketAddr::from((address, 0)).into())?;
        }
        IpAddr::V6(_) => {
            socket.set_multicast_if_v6(link.index)?;
            socket.set_multicast_hops_v6(hops.into())?;
            socket.set_multicast_loop_v6(false)?;
            sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DONT)?;
            socket.bind_device(Some(link.name.as_bytes()))?;
        }
    }
    if buffer > 0 {
        socket.set_send_buffer_size(buffer as usize)?;
    }
    socket.set_write_timeout(Some(SEND_PATIENCE))?;
    Ok(socket.into())
}

/// A socket that hears what comes to a port of a group by a link, and nothing else.
pub(super) fn receiver(
    group: IpAddr,
    port: u16,
    link: &Link,
    buffer: u32,
) -> io::Result<UdpSocket> {
    let socket = open(group)?;
    // Others of this host may listen, too, among them this daemon before it was changed.
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(link.name.as_bytes()))?;
    socket.bind(&address(group, port, link).into())?;
    match group {
        IpAddr::V4(group) => {
            socket.set_multicast_all_v4(false)?;
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(link.index))?;
        }
        IpAddr::V6(group) => {
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&group, link.index)?;
        }
    }
    if buffer > 0 {
        socket.set_recv_buffer_size(buffer as usize)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A port of a group as it is reached by a link.
pub(super) fn address(group: IpAddr, port: u16, link: &Link) -> SocketAddr {
    match group {
        IpAddr::V4(group) => SocketAddr::from((group, port)),
        // The group may be of a scope that only means something at an interface.
        IpAddr::V6(group) => SocketAddrV6::new(group, port, 0, link.index).into(),
    }
}

fn open(group: IpAddr) -> io::Result<Socket> {
    let domain = if group.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if group.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}
