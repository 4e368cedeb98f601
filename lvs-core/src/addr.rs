//! Addresses: family, MAC, prefixes and the masks of persistence granularity.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(addr: IpAddr) -> Family {
        match addr {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Bits in an address of this family: 32 or 128.
    pub const fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// The unspecified address, `0.0.0.0` or `::`.
    pub const fn unspecified(self) -> IpAddr {
        match self {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All ones: every station on the link.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);

    /// Whether the group bit is set (multicast or broadcast).
    #[inline]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address with a prefix length: a subnet, or an interface's address within its subnet.
///
/// ```
/// use lvs_core::addr::Prefix;
/// let p = Prefix::new("10.1.0.1".parse().unwrap(), 16).unwrap();
/// assert!(p.contains("10.1.255.9".parse().unwrap()));
/// assert!(!p.contains("10.2.0.1".parse().unwrap()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

impl Prefix {
    /// A prefix of `len` bits; `None` if `len` is longer than the address.
    pub const fn new(addr: IpAddr, len: u8) -> Option<Prefix> {
        if len > Family::of(addr).bits() { None } else { Some(Prefix { addr, len }) }
    }

    /// The prefix that holds `addr` alone (/32 or /128).
    pub const fn host(addr: IpAddr) -> Prefix {
        Prefix { addr, len: Family::of(addr).bits() }
    }

    /// The address as given, host bits included.
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The number of network bits.
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether the prefix is the default route (`/0`).
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the prefix is a single address.
    pub const fn is_host(&self) -> bool {
        self.len == Family::of(self.addr).bits()
    }

    /// Whether `addr` lies in the prefix; never for the other family.
    pub fn contains(&self, addr: IpAddr) -> bool {
        Family::of(addr) == Family::of(self.addr)
            && Granularity::Prefix(self.len).apply(addr)
                == Granularity::Prefix(self.len).apply(self.addr)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// Persistence granularity: which bits of a client's address tell clients apart.
///
/// IPv4 takes any mask, contiguous or not (rule R12: `255.0.255.0` is accepted); IPv6 takes a prefix
/// length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Granularity {
    /// An IPv4 netmask, as a number in host order.
    Mask(u32),
    /// A prefix length in bits, cut to the length of the address it is applied to.
    Prefix(u8),
}

impl Granularity {
    /// Each address by itself: `255.255.255.255` or 128.
    pub const fn single(family: Family) -> Granularity {
        match family {
            Family::V4 => Granularity::Mask(u32::MAX),
            Family::V6 => Granularity::Prefix(128),
        }
    }

    /// The address with the bits outside the granularity cleared.
    pub fn apply(self, addr: IpAddr) -> IpAddr {
        match addr {
            IpAddr::V4(a) => {
                let mask = match self {
                    Granularity::Mask(mask) => mask,
                    Granularity::Prefix(len) => {
                        u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0)
                    }
                };
                IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
            }
            IpAddr::V6(a) => {
                let len = match self {
                    Granularity::Mask(_) => 128,
                    Granularity::Prefix(len) => len.min(128),
                };
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
            }
        }
    }
}
