//! The IPv4 header (RFC 791), checked as the kernel checks it on arrival.

use core::net::{IpAddr, Ipv4Addr};

use super::transport::{self, Ports};
use super::{FragmentInfo, Headers, L4, Link, Parsed};
use crate::addr::Family;
use crate::drop::DropReason;
use crate::flow::{Endpoint, FlowKey, Protocol};
use crate::wire::be16;
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, DONT_FRAGMENT, HEADER_LEN, MORE_FRAGMENTS, OFFSET_MASK, field};

/// Parses a packet with whatever follows it in the frame.
#[inline(always)]
pub(super) fn parse(packet: &[u8], link: Link) -> Parsed {
    let Some(header) = packet.first_chunk::<HEADER_LEN>() else {
        return Parsed::Malformed(DropReason::Ipv4Truncated);
    };
    // Options and fragments are rare, and everything else is simpler without them.
    if header[field::VERSION_IHL] != 0x45 || is_fragment(header) {
        return parse_uncommon(packet, header, link);
    }
    let segment = match check(packet, header, HEADER_LEN, link) {
        Ok(segment) => segment,
        Err(reason) => return Parsed::Malformed(reason),
    };
    match transport::read(Family::V4, Protocol(header[field::PROTOCOL]), segment) {
        Ok(l4) => Parsed::Ip(headers(header, HEADER_LEN, segment, link, None, l4)),
        Err(reason) => Parsed::Malformed(reason),
    }
}

/// Parses a packet with options, a fragment, or something that is not IPv4.
#[inline(never)]
fn parse_uncommon(packet: &[u8], header: &[u8; HEADER_LEN], link: Link) -> Parsed {
    match read_uncommon(packet, header, link) {
        Ok(headers) => Parsed::Ip(headers),
        Err(reason) => Parsed::Malformed(reason),
    }
}

fn read_uncommon(
    packet: &[u8],
    header: &[u8; HEADER_LEN],
    link: Link,
) -> Result<Headers, DropReason> {
    let version_ihl = header[field::VERSION_IHL];
    if version_ihl >> 4 != 4 {
        return Err(DropReason::Ipv4Version);
    }
    let header_len = usize::from(version_ihl & 0xf) * 4;
    if header_len < HEADER_LEN || header_len > packet.len() {
        return Err(DropReason::Ipv4HeaderLength);
    }
    let segment = check(packet, header, header_len, link)?;
    let l4 = transport::read(Family::V4, Protocol(header[field::PROTOCOL]), segment);
    if !is_fragment(header) {
        return Ok(headers(header, header_len, segment, link, None, l4?));
    }
    let fragment = fragment(header, segment.len(), header_len, link)?;
    let l4 = match l4 {
        Ok(l4) if fragment.offset == 0 => l4,
        // A first fragment may be too short for its transport header: the rest comes with the others.
        _ => L4::Fragment,
    };
    Ok(headers(header, header_len, segment, link, Some(fragment), l4))
}

/// Checks checksum, length and addresses; returns what follows the header in the packet.
#[inline(always)]
fn check<'a>(
    packet: &'a [u8],
    header: &[u8; HEADER_LEN],
    header_len: usize,
    link: Link,
) -> Result<&'a [u8], DropReason> {
    let options = &packet[HEADER_LEN..header_len];
    if Sum::ZERO.bytes(header).bytes(options).finish() != 0 {
        return Err(DropReason::Ipv4Checksum);
    }
    let said = usize::from(be16(header, field::TOTAL_LEN));
    let ip_len = link.extent.packet_len(said, 0, packet.len());
    let Some(segment) = packet.get(header_len..ip_len) else {
        return Err(DropReason::Ipv4TotalLength);
    };
    if is_martian(ipv4::src(header), ipv4::dst(header)) {
        return Err(DropReason::MartianAddress);
    }
    Ok(segment)
}

#[inline(always)]
fn headers(
    header: &[u8; HEADER_LEN],
    header_len: usize,
    segment: &[u8],
    link: Link,
    fragment: Option<FragmentInfo>,
    l4_header: L4,
) -> Headers {
    let protocol = Protocol(header[field::PROTOCOL]);
    let ports = Ports::behind(l4_header, segment);
    Headers {
        family: Family::V4,
        tags: link.tags,
        l3: link.l3,
        l4: link.l3 + header_len as u16,
        ip_len: (header_len + segment.len()) as u32,
        protocol,
        ttl: header[field::TTL],
        tos: header[field::TOS],
        dont_fragment: be16(header, field::FRAGMENT) & DONT_FRAGMENT != 0,
        fragment,
        l4_header,
        flow: flow(protocol, ipv4::src(header), ipv4::dst(header), ports),
    }
}

/// The flow key of a packet, its source as client.
#[inline]
pub(super) fn flow(protocol: Protocol, src: Ipv4Addr, dst: Ipv4Addr, ports: Ports) -> FlowKey {
    let client = Endpoint::new(IpAddr::V4(src), ports.src);
    let virt = Endpoint::new(IpAddr::V4(dst), ports.dst);
    FlowKey::new(protocol, client, virt)
}

/// Whether the packet is a fragment, the first included.
#[inline]
fn is_fragment(header: &[u8; HEADER_LEN]) -> bool {
    be16(header, field::FRAGMENT) & (MORE_FRAGMENTS | OFFSET_MASK) != 0
}

fn fragment(
    header: &[u8; HEADER_LEN],
    payload_len: usize,
    header_len: usize,
    link: Link,
) -> Result<FragmentInfo, DropReason> {
    let place = be16(header, field::FRAGMENT);
    let offset = u32::from(place & OFFSET_MASK) * 8;
    let more = place & MORE_FRAGMENTS != 0;
    let end = header_len + offset as usize + payload_len;
    // RFC 791 §3.2: all but the last fragment are multiples of 8 bytes; no packet passes 65,535. One without
    // any bytes goes through, because it ends its set.
    if end > 0xffff || more && !payload_len.is_multiple_of(8) {
        return Err(DropReason::FragmentMalformed);
    }
    let id = u32::from(be16(header, field::IDENT));
    Ok(FragmentInfo { offset, id, payload: link.l3 + header_len as u16, more })
}

/// Addresses that the kernel calls martian on any interface but the loopback's: a source that is a
/// group or loopback, a destination that is loopback or unspecified (RFC 1812 §5.3.7). The unspecified
/// source is for hosts that have no address yet, and they can only speak to groups.
#[inline]
fn is_martian(src: Ipv4Addr, dst: Ipv4Addr) -> bool {
    src.is_multicast()
        || src.is_broadcast()
        || src.is_loopback()
        || dst.is_loopback()
        || dst.is_unspecified()
        || src.is_unspecified() && !(dst.is_broadcast() || dst.is_multicast())
}
