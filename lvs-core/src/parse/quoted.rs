//! The packet that an ICMP error quotes, which may be cut off behind its ports.

use super::transport::Ports;
use super::{ipv4, ipv6};
use crate::addr::Family;
use crate::flow::{FlowKey, Protocol};
use crate::wire::{self, be16, chunk};

/// What is known about a quoted packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted {
    /// Source as client, destination as virtual; ports 0 where there are none.
    pub flow: FlowKey,
    /// The transport protocol, behind any extension headers.
    pub protocol: Protocol,
    /// Where the transport header begins, in bytes from the start of the quote; its length may be less
    /// than a whole header.
    pub l4: usize,
    /// Offset in bytes if the quoted packet is a fragment, the first included. Only a first fragment
    /// has ports.
    pub fragment: Option<u32>,
}

/// Parses an IP packet that an ICMP error quotes; `bytes` is all of the error behind its ICMP header.
///
/// An error need not quote more than 8 bytes of the transport header (RFC 792), routers on the way may
/// have changed the TTL and others forget to set the length: so only what leads to the flow is checked.
/// `None` if the flow cannot be read.
pub fn parse_quoted(bytes: &[u8], family: Family) -> Option<Quoted> {
    match family {
        Family::V4 => quoted_v4(bytes),
        Family::V6 => quoted_v6(bytes),
    }
}

fn quoted_v4(bytes: &[u8]) -> Option<Quoted> {
    use wire::ipv4::{HEADER_LEN, MORE_FRAGMENTS, OFFSET_MASK, dst, field, src};

    let header: &[u8; HEADER_LEN] = chunk(bytes, 0)?;
    let version_ihl = header[field::VERSION_IHL];
    let l4 = usize::from(version_ihl & 0xf) * 4;
    if version_ihl >> 4 != 4 || l4 < HEADER_LEN || l4 > bytes.len() {
        return None;
    }
    let protocol = Protocol(header[field::PROTOCOL]);
    let place = be16(header, field::FRAGMENT);
    let fragment =
        (place & (MORE_FRAGMENTS | OFFSET_MASK) != 0).then_some(u32::from(place & OFFSET_MASK) * 8);
    let ports = ports(protocol, &bytes[l4..], fragment)?;
    let flow = ipv4::flow(protocol, src(header), dst(header), ports);
    Some(Quoted { flow, protocol, l4, fragment })
}

fn quoted_v6(bytes: &[u8]) -> Option<Quoted> {
    use wire::ipv6::{HEADER_LEN, dst, field, follow, src};

    let header: &[u8; HEADER_LEN] = chunk(bytes, 0)?;
    if header[field::VERSION] >> 4 != 6 {
        return None;
    }
    let chain = follow(bytes, header[field::NEXT_HEADER]).ok()?;
    let fragment = chain
        .fragment
        .filter(|fragment| fragment.more || fragment.offset > 0)
        .map(|fragment| fragment.offset);
    let ports = ports(chain.protocol, &bytes[chain.end..], fragment)?;
    let flow = ipv6::flow(chain.protocol, src(header), dst(header), ports);
    Some(Quoted { flow, protocol: chain.protocol, l4: chain.end, fragment })
}

/// The ports at the front of a segment, of which no more may be left than those four bytes.
fn ports(protocol: Protocol, segment: &[u8], fragment: Option<u32>) -> Option<Ports> {
    let later_fragment = fragment.is_some_and(|offset| offset > 0);
    if later_fragment || !matches!(protocol, Protocol::TCP | Protocol::UDP | Protocol::SCTP) {
        return Some(Ports::NONE);
    }
    segment.first_chunk().map(Ports::of)
}
