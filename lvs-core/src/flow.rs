//! The key of a connection: protocol, client, virtual address.
//!
//! ```
//! use lvs_core::flow::{Endpoint, FlowKey, Protocol};
//! let client = Endpoint::new("192.0.2.7".parse()?, 40_000);
//! let virt = Endpoint::new("198.51.100.1".parse()?, 80);
//! let key = FlowKey::new(Protocol::TCP, client, virt);
//! assert_eq!((key.client(), key.virt()), (client, virt));
//! assert_eq!(format!("{key:?}"), "TCP 192.0.2.7:40000 > 198.51.100.1:80");
//! assert_eq!(key.reversed().client(), virt);
//! # Ok::<(), core::net::AddrParseError>(())
//! ```

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::addr::Family;
use crate::ids::L4Port;

/// An IP protocol number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// 0, which IPVS uses for the templates of firewall-mark services (listed as `IP`).
    pub const IP: Protocol = Protocol(0);
    /// ICMP for IPv4.
    pub const ICMP: Protocol = Protocol(1);
    /// IPv4 in IP (RFC 2003).
    pub const IPIP: Protocol = Protocol(4);
    /// TCP.
    pub const TCP: Protocol = Protocol(6);
    /// UDP.
    pub const UDP: Protocol = Protocol(17);
    /// IPv6 in IP (RFC 2473, RFC 4213).
    pub const IPV6: Protocol = Protocol(41);
    /// Generic routing encapsulation (RFC 2784).
    pub const GRE: Protocol = Protocol(47);
    /// ICMPv6.
    pub const ICMPV6: Protocol = Protocol(58);
    /// SCTP.
    pub const SCTP: Protocol = Protocol(132);

    /// The name as listings print it: `TCP`, `UDP`, `SCTP`, `IP`, otherwise the number.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Protocol::IP => Some("IP"),
            Protocol::ICMP => Some("ICMP"),
            Protocol::TCP => Some("TCP"),
            Protocol::UDP => Some("UDP"),
            Protocol::ICMPV6 => Some("ICMPv6"),
            Protocol::SCTP => Some("SCTP"),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One end of a flow: address and port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub addr: IpAddr,
    /// The port; 0 where there is none.
    pub port: L4Port,
}

impl Endpoint {
    /// An address with a port.
    pub const fn new(addr: IpAddr, port: u16) -> Endpoint {
        Endpoint { addr, port: L4Port(port) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            IpAddr::V4(a) => write!(f, "{a}:{}", self.port),
            IpAddr::V6(a) => write!(f, "[{a}]:{}", self.port),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What identifies a connection: family, protocol, client and virtual endpoint (always in this order).
///
/// It is kept as five machine words, the form in which it is hashed, compared and stored in the
/// connection table (IPv4 and IPv6 alike):
///
/// ```text
/// word 0, 1   client address:  IPv4 in the low half of word 0, the rest zero;
///             IPv6 as two big-endian numbers, the high half first
/// word 2, 3   virtual address, likewise
/// word 4      bits 0-15 client port, 16-31 virtual port, 32-39 protocol, 40 family (1 = IPv6),
///             41-47 zero, 48-63 zero (the table keeps the timeout's index there)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey(pub(crate) [u64; 5]);

impl FlowKey {
    /// A key that no packet has; its family is IPv4 and everything is zero.
    pub const EMPTY: FlowKey = FlowKey([0; 5]);

    /// The key of a flow. Both endpoints must be of one family.
    ///
    /// # Panics
    /// In debug builds, if the families differ.
    #[inline]
    pub fn new(protocol: Protocol, client: Endpoint, virt: Endpoint) -> FlowKey {
        debug_assert_eq!(Family::of(client.addr), Family::of(virt.addr));
        let [c0, c1] = addr_words(client.addr);
        let [v0, v1] = addr_words(virt.addr);
        let family = u64::from(client.addr.is_ipv6());
        let tail = u64::from(client.port.0)
            | u64::from(virt.port.0) << 16
            | u64::from(protocol.0) << 32
            | family << 40;
        FlowKey([c0, c1, v0, v1, tail])
    }

    /// The key of a flow from words as they stand in it; `ports` is the client's in the upper half, as in
    /// a transport header.
    #[inline(always)]
    pub(crate) const fn of_words(
        family: Family,
        protocol: Protocol,
        client: [u64; 2],
        virt: [u64; 2],
        ports: u32,
    ) -> FlowKey {
        let tail = ports.rotate_left(16) as u64 | (protocol.0 as u64) << 32 | (family as u64) << 40;
        FlowKey([client[0], client[1], virt[0], virt[1], tail])
    }

    /// The address family.
    #[inline]
    pub const fn family(&self) -> Family {
        if self.0[4] >> 40 & 1 == 1 { Family::V6 } else { Family::V4 }
    }

    /// The protocol.
    pub const fn protocol(&self) -> Protocol {
        Protocol((self.0[4] >> 32) as u8)
    }

    /// The client's end.
    pub fn client(&self) -> Endpoint {
        Endpoint { addr: self.client_addr(), port: self.client_port() }
    }

    /// The virtual end.
    pub fn virt(&self) -> Endpoint {
        Endpoint { addr: self.virtual_addr(), port: self.virtual_port() }
    }

    /// The client's address.
    #[inline]
    pub fn client_addr(&self) -> IpAddr {
        words_addr(self.family(), [self.0[0], self.0[1]])
    }

    /// The virtual address.
    #[inline]
    pub fn virtual_addr(&self) -> IpAddr {
        words_addr(self.family(), [self.0[2], self.0[3]])
    }

    /// The virtual address and its family as words, as tables of addresses are looked up by.
    #[inline]
    pub(crate) const fn virtual_words(&self) -> [u64; 3] {
        [self.0[2], self.0[3], self.0[4] >> 40 & 1]
    }

    /// The client's port.
    pub const fn client_port(&self) -> L4Port {
        L4Port(self.0[4] as u16)
    }

    /// The virtual port.
    pub const fn virtual_port(&self) -> L4Port {
        L4Port((self.0[4] >> 16) as u16)
    }

    /// Whether two flows have family, protocol and the client's end in common.
    #[inline]
    pub(crate) const fn same_client(&self, other: &FlowKey) -> bool {
        const TAIL: u64 = 0x1ff << 32 | 0xffff;
        (self.0[0] ^ other.0[0]) | (self.0[1] ^ other.0[1]) | (self.0[4] ^ other.0[4]) & TAIL == 0
    }

    /// The key of the flow seen from the other side: what the client's end would be if this packet came
    /// from the virtual address.
    #[inline]
    pub const fn reversed(&self) -> FlowKey {
        let [c0, c1, v0, v1, tail] = self.0;
        let ports = (tail & 0xffff) << 16 | tail >> 16 & 0xffff;
        FlowKey([v0, v1, c0, c1, tail & !0xffff_ffff | ports])
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} > {}", self.protocol(), self.client(), self.virt())
    }
}

/// An address as the two words of a [`FlowKey`].
#[inline]
pub(crate) fn addr_words(addr: IpAddr) -> [u64; 2] {
    match addr {
        IpAddr::V4(a) => [u64::from(a.to_bits()), 0],
        IpAddr::V6(a) => {
            let bits = a.to_bits();
            [(bits >> 64) as u64, bits as u64]
        }
    }
}

/// The address that two words of a [`FlowKey`] stand for.
#[inline]
pub(crate) fn words_addr(family: Family, words: [u64; 2]) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(words[0] as u32)),
        Family::V6 => {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(words[0]) << 64 | u128::from(words[1])))
        }
    }
}
