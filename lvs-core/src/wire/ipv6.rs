//! IPv6 and its extension headers (RFC 8200).
//!
//! ```
//! use lvs_core::wire::ipv6;
//! let mut header = [0; 40];
//! (header[0], header[7]) = (0x60, 64);
//! assert_eq!(ipv6::decrement_hop_limit(&mut header), 63);
//! ```

use core::net::Ipv6Addr;

use crate::drop::DropReason;
use crate::flow::Protocol;
use crate::wire::{be16, be32, chunk};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;
/// Bytes of a fragment header.
pub const FRAGMENT_HEADER_LEN: usize = 8;
/// The smallest MTU of any IPv6 link (RFC 8200 §5), and so the size of the largest ICMPv6 error.
pub const MTU_MIN: usize = 1280;
/// The hop limit of packets of our own, as Linux sends them.
pub const HOP_LIMIT_DEFAULT: u8 = 64;
/// The most extension headers that are followed. RFC 8200 §4.1 knows no order with more than seven.
pub const EXTENSIONS_MAX: usize = 8;

/// Offsets of the fields.
pub mod field {
    /// Version (high half) and the upper half of the traffic class.
    pub const VERSION: usize = 0;
    /// Bytes behind the fixed header, extension headers included.
    pub const PAYLOAD_LEN: usize = 4;
    /// Kind of the header that follows.
    pub const NEXT_HEADER: usize = 6;
    /// Hop limit.
    pub const HOP_LIMIT: usize = 7;
    /// Source address.
    pub const SRC: usize = 8;
    /// Destination address.
    pub const DST: usize = 24;
}

/// Next-header values of the extension headers that are followed.
pub(crate) mod next {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
}

/// The source address.
#[inline]
pub(crate) fn src(header: &[u8; HEADER_LEN]) -> Ipv6Addr {
    addr(header, field::SRC)
}

/// The destination address.
#[inline]
pub(crate) fn dst(header: &[u8; HEADER_LEN]) -> Ipv6Addr {
    addr(header, field::DST)
}

#[inline]
fn addr(header: &[u8; HEADER_LEN], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&header[at..at + 16]);
    Ipv6Addr::from(octets)
}

/// The traffic class.
#[inline]
pub(crate) fn traffic_class(header: &[u8; HEADER_LEN]) -> u8 {
    (be16(header, field::VERSION) >> 4) as u8
}

/// The address at `at` as two numbers, the high half first.
#[inline(always)]
pub(crate) fn words(header: &[u8; HEADER_LEN], at: usize) -> [u64; 2] {
    let half = |at| u64::from(be32(header, at)) << 32 | u64::from(be32(header, at + 4));
    [half(at), half(at + 8)]
}

/// Takes one from the hop limit of the packet that begins at the slice's first byte and returns the
/// new one. A hop limit of 0 stays.
///
/// # Panics
/// If the packet is shorter than a header; [`parse`](crate::parse::parse) lets no such packet through.
#[inline]
pub fn decrement_hop_limit(packet: &mut [u8]) -> u8 {
    let hop_limit = packet[field::HOP_LIMIT].saturating_sub(1);
    packet[field::HOP_LIMIT] = hop_limit;
    hop_limit
}

/// What goes into a header of our own; the flow label is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// What follows.
    pub next_header: Protocol,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Bytes that follow the header.
    pub payload_len: u16,
}

/// Writes a header, [`HEADER_LEN`] bytes.
///
/// # Panics
/// If the buffer is shorter than that.
pub fn emit_header(buf: &mut [u8], spec: &Header) {
    let header: &mut [u8; HEADER_LEN] =
        buf.first_chunk_mut().expect("a buffer at least as long as a header");
    let first = 6 << 28 | u32::from(spec.traffic_class) << 20;
    header[..4].copy_from_slice(&first.to_be_bytes());
    header[field::PAYLOAD_LEN..field::NEXT_HEADER].copy_from_slice(&spec.payload_len.to_be_bytes());
    header[field::NEXT_HEADER] = spec.next_header.0;
    header[field::HOP_LIMIT] = spec.hop_limit;
    header[field::SRC..field::DST].copy_from_slice(&spec.src.octets());
    header[field::DST..].copy_from_slice(&spec.dst.octets());
}

/// Where a chain of extension headers ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chain {
    /// What follows the chain.
    pub(crate) protocol: Protocol,
    /// Where it begins, in bytes from the fixed header.
    pub(crate) end: usize,
    /// Where the octet stands that names it: what "unrecognized next header" points at.
    pub(crate) named_at: usize,
    /// The fragment header, if there is one.
    pub(crate) fragment: Option<FragmentHeader>,
}

impl Chain {
    /// The chain of a packet whose fixed header names the transport protocol.
    #[inline]
    pub(crate) const fn without_extensions(protocol: Protocol) -> Chain {
        Chain { protocol, end: HEADER_LEN, named_at: field::NEXT_HEADER, fragment: None }
    }
}

/// A fragment header (RFC 8200 §4.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FragmentHeader {
    /// Offset of the fragment in bytes.
    pub(crate) offset: u32,
    /// Whether more fragments follow.
    pub(crate) more: bool,
    /// Identification.
    pub(crate) id: u32,
    /// Where the fragment's payload begins, in bytes from the fixed header.
    pub(crate) payload_at: usize,
}

/// Follows the extension headers of a packet to the transport header or, in a fragment that is not
/// the first, to the fragment's payload. `packet` begins with the fixed header and ends where the
/// packet does.
///
/// ESP and whatever else cannot be looked into counts as transport.
///
/// # Errors
/// `Ipv6ExtensionTruncated` if a header is cut off, `Ipv6ExtensionChain` if there are more than
/// [`EXTENSIONS_MAX`], or hop-by-hop options anywhere but first (RFC 8200 §4.1).
pub(crate) fn follow(packet: &[u8], first: u8) -> Result<Chain, DropReason> {
    let mut chain = Chain::without_extensions(Protocol(first));
    for count in 0.. {
        let kind = chain.protocol.0;
        if !is_extension(kind) {
            break;
        }
        if count == EXTENSIONS_MAX || kind == next::HOP_BY_HOP && count > 0 {
            return Err(DropReason::Ipv6ExtensionChain);
        }
        // Every extension header is at least 8 bytes long.
        let Some(header) = chunk::<8>(packet, chain.end) else {
            return Err(DropReason::Ipv6ExtensionTruncated);
        };
        let units = usize::from(header[1]);
        let len = match kind {
            next::FRAGMENT => FRAGMENT_HEADER_LEN,
            // RFC 4302 §2.2: in units of 4 bytes, minus two.
            next::AUTHENTICATION => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        chain.named_at = chain.end;
        chain.end += len;
        if chain.end > packet.len() {
            return Err(DropReason::Ipv6ExtensionTruncated);
        }
        chain.protocol = Protocol(header[0]);
        if kind == next::FRAGMENT {
            let place = be16(header, 2);
            let offset = u32::from(place & !7);
            let more = place & 1 == 1;
            let fragment =
                FragmentHeader { offset, more, id: be32(header, 4), payload_at: chain.end };
            chain.fragment = Some(fragment);
            if offset > 0 {
                break;
            }
        }
    }
    Ok(chain)
}

/// Where the fragment header of a packet stands, in bytes from the fixed header, and where the octet that
/// names it. `None` if there is none, or the packet is cut off in front of it.
pub(crate) fn find_fragment_header(packet: &[u8]) -> Option<(usize, usize)> {
    let mut named_at = field::NEXT_HEADER;
    let mut at = HEADER_LEN;
    for _ in 0..EXTENSIONS_MAX {
        match *packet.get(named_at)? {
            next::FRAGMENT => {
                return (at + FRAGMENT_HEADER_LEN <= packet.len()).then_some((at, named_at));
            }
            kind if !is_extension(kind) => return None,
            kind => {
                let units = usize::from(*packet.get(at + 1)?);
                named_at = at;
                at += if kind == next::AUTHENTICATION { (units + 2) * 4 } else { (units + 1) * 8 };
            }
        }
    }
    None
}

/// Whether a next-header value names an extension header that is followed.
#[inline]
pub(crate) const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        next::HOP_BY_HOP
            | next::ROUTING
            | next::FRAGMENT
            | next::AUTHENTICATION
            | next::DESTINATION_OPTIONS
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etherparse_reads_the_header_as_meant() {
        let mut buf = [0xaa; HEADER_LEN];
        let spec = Header {
            src: "2001:db8::7".parse().unwrap(),
            dst: "2001:db8:1::1".parse().unwrap(),
            next_header: Protocol::UDP,
            hop_limit: 64,
            traffic_class: 0xb8,
            payload_len: 1000,
        };
        emit_header(&mut buf, &spec);
        let (read, rest) = etherparse::Ipv6Header::from_slice(&buf).unwrap();
        assert!(rest.is_empty());
        assert_eq!((read.traffic_class, read.flow_label.value()), (0xb8, 0));
        assert_eq!((read.payload_length, read.next_header.0, read.hop_limit), (1000, 17, 64));
        assert_eq!(Ipv6Addr::from(read.source), spec.src);
        assert_eq!(Ipv6Addr::from(read.destination), spec.dst);
    }

    #[test]
    fn a_hop_limit_of_zero_stays_zero() {
        let mut buf = [0; HEADER_LEN];
        buf[field::HOP_LIMIT] = 2;
        assert_eq!(decrement_hop_limit(&mut buf), 1);
        assert_eq!(decrement_hop_limit(&mut buf), 0);
        assert_eq!(decrement_hop_limit(&mut buf), 0);
    }
}
