//! From the bytes of a frame to what the director asks about it: offsets, flags and the flow key.
//!
//! ```text
//!            l3               l4
//!  | Ethernet | IPv4 or IPv6  | TCP, UDP, SCTP, ICMP | payload      | padding
//!  | + tags   | + extensions  |                      |              |
//!             |<--------------------- ip_len ---------------------->|
//! ```
//!
//! Any bytes are welcome: what cannot be read is [`Parsed::Malformed`] with the reason that names the
//! place. Lengths are believed only after they were held against the frame; what stands in the frame
//! behind the packet is Ethernet padding and is not looked at.
//!
//! The transport checksum is not verified: a director in direct routing forwards it untouched, and the
//! kernel does not look at it either. The IPv4 header checksum is, as in the kernel.
//!
//! ```
//! use lvs_core::flow::Protocol;
//! use lvs_core::parse::{Parsed, parse};
//!
//! let syn = [
//!     2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0, // Ethernet
//!     0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x26, 0x78, 10, 0, 0, 9, 10, 0, 0, 80, // IPv4
//!     0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0, // TCP
//! ];
//! let Parsed::Ip(headers) = parse(&syn) else { panic!("it is IPv4") };
//! assert_eq!((headers.protocol, headers.flow.virt().to_string().as_str()), (Protocol::TCP, "10.0.0.80:80"));
//! assert!(matches!(parse(&syn[..30]), Parsed::Malformed(_)));
//! ```

mod ipv4;
mod ipv6;
mod plain;
mod quoted;
mod transport;

pub(crate) use plain::{Plain, plain_v4, plain_v6};
pub use quoted::{Quoted, parse_quoted};

use core::net::IpAddr;

use crate::addr::Family;
use crate::drop::{DropReason, PassReason};
use crate::flow::{FlowKey, Protocol};
use crate::wire::ethernet::{self, TagError, VlanTags};
use crate::wire::{be16, icmp};

pub use crate::wire::sctp::Chunks;
pub use crate::wire::tcp::TcpFlags;

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug)]
pub enum Parsed {
    /// An IPv4 or IPv6 packet.
    Ip(Headers),
    /// An ARP packet, for [`ArpPacket::parse`](crate::wire::arp::ArpPacket::parse).
    Arp {
        /// The frame's VLAN tags.
        tags: VlanTags,
        /// Where the ARP packet begins.
        l3: u16,
    },
    /// Nothing for a director.
    Other(PassReason),
    /// To be dropped.
    Malformed(DropReason),
}

/// What is known about an IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headers {
    /// IPv4 or IPv6.
    pub family: Family,
    /// The frame's VLAN tags.
    pub tags: VlanTags,
    /// Where the IP header begins, in bytes from the start of the frame.
    pub l3: u16,
    /// Where the transport header begins; in a fragment without one, the fragment's payload.
    pub l4: u16,
    /// Length of the IP packet in bytes, its header included: what byte counters count (rule A6).
    pub ip_len: u32,
    /// The transport protocol, behind any extension headers.
    pub protocol: Protocol,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Type of service or traffic class.
    pub tos: u8,
    /// Whether routers must not fragment the packet; always so for IPv6.
    pub dont_fragment: bool,
    /// Set for every fragment, the first included. An atomic IPv6 fragment (offset 0, none to follow;
    /// RFC 6946) is a whole packet and not a fragment.
    pub fragment: Option<FragmentInfo>,
    /// What the transport header says.
    pub l4_header: L4,
    /// Source as client, destination as virtual; ports 0 where there are none.
    pub flow: FlowKey,
}

/// A fragment's place in its packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentInfo {
    /// Offset in bytes.
    pub offset: u32,
    /// Identification; IPv4 uses the lower 16 bits.
    pub id: u32,
    /// Where the fragment's payload begins, in bytes from the start of the frame. It reaches to the
    /// end of the packet.
    pub payload: u16,
    /// Whether more fragments follow.
    pub more: bool,
}

/// What the transport header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum L4 {
    /// TCP.
    Tcp {
        /// Its flags.
        flags: TcpFlags,
        /// Bytes of its header, options included.
        header_len: u8,
    },
    /// UDP.
    Udp,
    /// SCTP, with what its chunks say.
    Sctp(Chunks),
    /// ICMP in IPv4, ICMPv6 in IPv6.
    Icmp {
        /// Its type.
        kind: u8,
        /// Its code.
        code: u8,
    },
    /// A fragment without a transport header: not the first, or too short for one.
    Fragment,
    /// A protocol without ports.
    Other,
}

impl Headers {
    /// Of no packet: what a place for headers holds before any are there.
    pub(crate) const EMPTY: Headers = Headers {
        family: Family::V4,
        tags: VlanTags::NONE,
        l3: 0,
        l4: 0,
        ip_len: 0,
        protocol: Protocol::IP,
        ttl: 0,
        tos: 0,
        dont_fragment: false,
        fragment: None,
        l4_header: L4::Other,
        flow: FlowKey::EMPTY,
    };

    /// The source address.
    #[inline]
    pub fn src(&self) -> IpAddr {
        self.flow.client_addr()
    }

    /// The destination address.
    #[inline]
    pub fn dst(&self) -> IpAddr {
        self.flow.virtual_addr()
    }

    /// Where the packet ends, in bytes from the start of the frame.
    #[inline]
    pub fn end(&self) -> usize {
        usize::from(self.l3) + self.ip_len as usize
    }

    /// Whether an ICMP error may answer the packet (RFC 1122 §3.2.2, RFC 4443 §2.4 e): it is no ICMP
    /// error itself, not a later fragment, and neither from nor to a group of hosts.
    ///
    /// The frame's destination must be looked at too: a link-layer broadcast is never answered.
    pub fn may_be_answered_with_error(&self) -> bool {
        let about_error = matches!(self.l4_header, L4::Icmp { kind, .. }
            if icmp::is_error(self.family, kind));
        let later_fragment = self.fragment.is_some_and(|fragment| fragment.offset > 0);
        !(about_error || later_fragment || is_group(self.src()) || is_group(self.dst()))
    }
}

/// Whether an address stands for no host or for several.
fn is_group(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(a) => a.is_multicast() || a.is_broadcast() || a.is_unspecified(),
        IpAddr::V6(a) => a.is_multicast() || a.is_unspecified(),
    }
}

/// Parses a frame from its Ethernet header on.
///
/// Never panics and never allocates, whatever the bytes.
#[inline]
pub fn parse(frame: &[u8]) -> Parsed {
    parse_frame(frame, Extent::Whole)
}

/// Parses a super-frame ([`Segments`](crate::io::Segments)): like [`parse`], but an IPv4 total length
/// or IPv6 payload length of 0 means "to the end of the frame", as the kernel leaves it where the
/// length does not fit the field.
#[inline]
pub fn parse_super(frame: &[u8]) -> Parsed {
    parse_frame(frame, Extent::Super)
}

/// Parses a frame whose end may be missing: what there is counts as the packet, for an error about it.
pub(crate) fn parse_cut_off(frame: &[u8]) -> Parsed {
    parse_frame(frame, Extent::CutOff)
}

/// How much of a packet a frame holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// As much as its header says.
    Whole,
    /// A super-frame's, which may say 0.
    Super,
    /// Perhaps less than its header says.
    CutOff,
}

impl Extent {
    /// The length of a packet of which a frame has `present` bytes, and whose header says `said`; `none` is
    /// what it says where the length does not fit the field.
    #[inline(always)]
    fn packet_len(self, said: usize, none: usize, present: usize) -> usize {
        match self {
            Extent::Whole => said,
            Extent::Super if said == none => present,
            Extent::Super => said,
            Extent::CutOff if said == none => present,
            Extent::CutOff => said.min(present),
        }
    }
}

/// What stands in front of the IP header.
#[derive(Clone, Copy)]
struct Link {
    tags: VlanTags,
    l3: u16,
    extent: Extent,
}

/// Untagged packets without options, extension headers or fragmentation are read in one inlined piece
/// that builds the result where it is returned; everything else is out of line. A result that went
/// through memory on its way (a `Result<Headers, _>`, a branch that fills the same variable by a call)
/// cost more than the parsing: its narrow stores are reloaded as wide words.
#[inline(always)]
fn parse_frame(frame: &[u8], extent: Extent) -> Parsed {
    let Some(header) = frame.first_chunk::<{ ethernet::HEADER_LEN }>() else {
        return Parsed::Malformed(DropReason::EthernetTruncated);
    };
    let link = Link { tags: VlanTags::NONE, l3: ethernet::HEADER_LEN as u16, extent };
    let packet = &frame[ethernet::HEADER_LEN..];
    match be16(header, ethernet::ETHERTYPE_AT) {
        ethernet::IPV4 => ipv4::parse(packet, link),
        ethernet::IPV6 => ipv6::parse(packet, link),
        _ => parse_other(frame, extent),
    }
}

/// Parses a frame that carries no IP, or carries it behind VLAN tags.
#[inline(never)]
fn parse_other(frame: &[u8], extent: Extent) -> Parsed {
    let (tags, ethertype, l3) = match ethernet::tags(frame) {
        Ok(found) => found,
        Err(TagError::Truncated) => return Parsed::Malformed(DropReason::VlanTruncated),
        Err(TagError::TooDeep) => return Parsed::Malformed(DropReason::VlanTooDeep),
    };
    let link = Link { tags, l3: l3 as u16, extent };
    let packet = &frame[l3..];
    match ethertype {
        ethernet::IPV4 => ipv4::parse(packet, link),
        ethernet::IPV6 => ipv6::parse(packet, link),
        ethernet::ARP => Parsed::Arp { tags, l3: link.l3 },
        _ => Parsed::Other(PassReason::NotIp),
    }
}

#[cfg(test)]
mod tests;
