//! The IPv4 header (RFC 791), checked as the kernel checks it on arrival.

use core::net::{IpAddr, Ipv4Addr};

use super::{FragmentInfo, Headers, Link, transport};
use crate::addr::Family;
use crate::drop::DropReason;
use crate::flow::{Endpoint, FlowKey, Protocol};
use crate::wire::ipv4::{self, DONT_FRAGMENT, HEADER_LEN, MORE_FRAGMENTS, OFFSET_MASK, field};
use crate::wire::{be16, checksum};

/// Parses a packet with whatever follows it in the frame.
#[inline]
pub(super) fn parse(packet: &[u8], link: Link) -> Result<Headers, DropReason> {
    let Some(header) = packet.first_chunk::<HEADER_LEN>() else {
        return Err(DropReason::Ipv4Truncated);
    };
    let version_ihl = header[field::VERSION_IHL];
    if version_ihl >> 4 != 4 {
        return Err(DropReason::Ipv4Version);
    }
    let header_len = usize::from(version_ihl & 0xf) * 4;
    if header_len < HEADER_LEN || header_len > packet.len() {
        return Err(DropReason::Ipv4HeaderLength);
    }
    let sum = if header_len == HEADER_LEN {
        checksum::of(header)
    } else {
        checksum::of(&packet[..header_len])
    };
    if sum != 0 {
        return Err(DropReason::Ipv4Checksum);
    }
    let mut ip_len = usize::from(be16(header, field::TOTAL_LEN));
    if ip_len == 0 && link.is_super {
        ip_len = packet.len();
    }
    if ip_len < header_len || ip_len > packet.len() {
        return Err(DropReason::Ipv4TotalLength);
    }
    let (src, dst) = (ipv4::src(header), ipv4::dst(header));
    if is_martian(src, dst) {
        return Err(DropReason::MartianAddress);
    }

    let segment = &packet[header_len..ip_len];
    let l4 = link.l3 + header_len as u16;
    let protocol = Protocol(header[field::PROTOCOL]);
    let place = be16(header, field::FRAGMENT);
    let (fragment, read) = if place & (MORE_FRAGMENTS | OFFSET_MASK) == 0 {
        (None, transport::read(Family::V4, protocol, segment)?)
    } else {
        let fragment = fragment(header, segment.len(), header_len, l4)?;
        (Some(fragment), transport::read_fragment(protocol, segment, fragment.offset))
    };
    Ok(Headers {
        family: Family::V4,
        tags: link.tags,
        l3: link.l3,
        l4,
        ip_len: ip_len as u32,
        protocol,
        ttl: header[field::TTL],
        tos: header[field::TOS],
        dont_fragment: place & DONT_FRAGMENT != 0,
        fragment,
        l4_header: read.l4_header,
        flow: flow(protocol, src, dst, read.ports),
    })
}

/// The flow key of a packet, its source as client.
#[inline]
pub(super) fn flow(
    protocol: Protocol,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    ports: transport::Ports,
) -> FlowKey {
    let client = Endpoint::new(IpAddr::V4(src), ports.src);
    let virt = Endpoint::new(IpAddr::V4(dst), ports.dst);
    FlowKey::new(protocol, client, virt)
}

#[inline(never)]
fn fragment(
    header: &[u8; HEADER_LEN],
    payload_len: usize,
    header_len: usize,
    payload: u16,
) -> Result<FragmentInfo, DropReason> {
    let place = be16(header, field::FRAGMENT);
    let offset = u32::from(place & OFFSET_MASK) * 8;
    let more = place & MORE_FRAGMENTS != 0;
    let end = header_len + offset as usize + payload_len;
    // RFC 791 §3.2: all but the last fragment are multiples of 8 bytes; no packet passes 65,535.
    if payload_len == 0 || end > 0xffff || more && !payload_len.is_multiple_of(8) {
        return Err(DropReason::FragmentMalformed);
    }
    Ok(FragmentInfo { offset, id: u32::from(be16(header, field::IDENT)), payload, more })
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
