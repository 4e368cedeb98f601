//! The IPv6 header (RFC 8200), its extension headers included.

use core::net::{IpAddr, Ipv6Addr};

use super::transport::{self, Ports};
use super::{FragmentInfo, Headers, L4, Link, Parsed};
use crate::addr::Family;
use crate::drop::DropReason;
use crate::flow::{Endpoint, FlowKey, Protocol};
use crate::wire::be16;
use crate::wire::ipv6::{self, Chain, FragmentHeader, HEADER_LEN, field};

/// Parses a packet with whatever follows it in the frame.
#[inline(always)]
pub(super) fn parse(packet: &[u8], link: Link) -> Parsed {
    let Some(header) = packet.first_chunk::<HEADER_LEN>() else {
        return Parsed::Malformed(DropReason::Ipv6Truncated);
    };
    if header[field::VERSION] >> 4 != 6 {
        return Parsed::Malformed(DropReason::Ipv6Version);
    }
    let said = HEADER_LEN + usize::from(be16(header, field::PAYLOAD_LEN));
    let ip_len = link.extent.packet_len(said, HEADER_LEN, packet.len());
    let Some(packet) = packet.get(..ip_len) else {
        return Parsed::Malformed(DropReason::Ipv6PayloadLength);
    };
    if is_martian(ipv6::src(header), ipv6::dst(header)) {
        return Parsed::Malformed(DropReason::MartianAddress);
    }
    let next = header[field::NEXT_HEADER];
    if ipv6::is_extension(next) {
        return parse_extended(packet, header, link);
    }
    let chain = Chain::without_extensions(Protocol(next));
    match transport::read(Family::V6, Protocol(next), &packet[HEADER_LEN..]) {
        Ok(l4) => Parsed::Ip(headers(header, &chain, packet, link, None, l4)),
        Err(reason) => Parsed::Malformed(reason),
    }
}

/// Parses a packet with extension headers.
#[inline(never)]
fn parse_extended(packet: &[u8], header: &[u8; HEADER_LEN], link: Link) -> Parsed {
    match read_extended(packet, header, link) {
        Ok(headers) => Parsed::Ip(headers),
        Err(reason) => Parsed::Malformed(reason),
    }
}

fn read_extended(
    packet: &[u8],
    header: &[u8; HEADER_LEN],
    link: Link,
) -> Result<Headers, DropReason> {
    let chain = ipv6::follow(packet, header[field::NEXT_HEADER])?;
    // RFC 6946: a fragment header on a whole packet does not make it a fragment.
    let fragment = match chain.fragment {
        Some(fragment) if fragment.offset > 0 || fragment.more => {
            Some(fragment_info(&fragment, packet.len(), link.l3)?)
        }
        _ => None,
    };
    let l4 = match fragment {
        Some(fragment) if fragment.offset > 0 => L4::Fragment,
        // RFC 8200 §4.5: the first fragment holds the whole chain of headers.
        _ => transport::read(Family::V6, chain.protocol, &packet[chain.end..])?,
    };
    Ok(headers(header, &chain, packet, link, fragment, l4))
}

#[inline(always)]
fn headers(
    header: &[u8; HEADER_LEN],
    chain: &Chain,
    packet: &[u8],
    link: Link,
    fragment: Option<FragmentInfo>,
    l4_header: L4,
) -> Headers {
    let protocol = chain.protocol;
    let ports = Ports::behind(l4_header, &packet[chain.end..]);
    Headers {
        family: Family::V6,
        tags: link.tags,
        l3: link.l3,
        l4: link.l3 + chain.end as u16,
        ip_len: packet.len() as u32,
        protocol,
        ttl: header[field::HOP_LIMIT],
        tos: ipv6::traffic_class(header),
        dont_fragment: true,
        fragment,
        l4_header,
        flow: flow(protocol, ipv6::src(header), ipv6::dst(header), ports),
    }
}

/// The flow key of a packet, its source as client.
#[inline]
pub(super) fn flow(protocol: Protocol, src: Ipv6Addr, dst: Ipv6Addr, ports: Ports) -> FlowKey {
    let client = Endpoint::new(IpAddr::V6(src), ports.src);
    let virt = Endpoint::new(IpAddr::V6(dst), ports.dst);
    FlowKey::new(protocol, client, virt)
}

fn fragment_info(
    fragment: &FragmentHeader,
    packet_len: usize,
    l3: u16,
) -> Result<FragmentInfo, DropReason> {
    let len = packet_len - fragment.payload_at;
    // RFC 8200 §4.5: all but the last fragment are multiples of 8 bytes, and the payload length of the
    // whole, extension headers in front of the fragment header included, must fit its field.
    let unfragmentable = fragment.payload_at - HEADER_LEN - ipv6::FRAGMENT_HEADER_LEN;
    let end = unfragmentable + fragment.offset as usize + len;
    if len == 0 || end > 0xffff || fragment.more && !len.is_multiple_of(8) {
        return Err(DropReason::FragmentMalformed);
    }
    Ok(FragmentInfo {
        offset: fragment.offset,
        id: fragment.id,
        payload: l3 + fragment.payload_at as u16,
        more: fragment.more,
    })
}

/// Addresses that no packet on a wire may have: a group as source (RFC 4291 §2.7), loopback
/// (§2.5.3), the unspecified address as destination, or as the source of anything but a message to a
/// group (§2.5.2).
#[inline]
fn is_martian(src: Ipv6Addr, dst: Ipv6Addr) -> bool {
    src.is_multicast()
        || src.is_loopback()
        || dst.is_loopback()
        || dst.is_unspecified()
        || src.is_unspecified() && !dst.is_multicast()
}
