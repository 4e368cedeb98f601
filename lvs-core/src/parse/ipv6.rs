//! The IPv6 header (RFC 8200), its extension headers included.

use core::net::{IpAddr, Ipv6Addr};

use super::{FragmentInfo, Headers, Link, transport};
use crate::addr::Family;
use crate::drop::DropReason;
use crate::flow::{Endpoint, FlowKey, Protocol};
use crate::wire::be16;
use crate::wire::ipv6::{self, FragmentHeader, HEADER_LEN, field};

/// Parses a packet with whatever follows it in the frame.
#[inline]
pub(super) fn parse(packet: &[u8], link: Link) -> Result<Headers, DropReason> {
    let Some(header) = packet.first_chunk::<HEADER_LEN>() else {
        return Err(DropReason::Ipv6Truncated);
    };
    if header[field::VERSION] >> 4 != 6 {
        return Err(DropReason::Ipv6Version);
    }
    let payload_len = usize::from(be16(header, field::PAYLOAD_LEN));
    let ip_len =
        if payload_len == 0 && link.is_super { packet.len() } else { HEADER_LEN + payload_len };
    if ip_len > packet.len() {
        return Err(DropReason::Ipv6PayloadLength);
    }
    let (src, dst) = (ipv6::src(header), ipv6::dst(header));
    if is_martian(src, dst) {
        return Err(DropReason::MartianAddress);
    }

    let packet = &packet[..ip_len];
    let chain = ipv6::follow(packet, header[field::NEXT_HEADER])?;
    let segment = &packet[chain.end..];
    let (fragment, read) = match chain.fragment {
        Some(fragment) if fragment.offset > 0 || fragment.more => {
            let info = fragment_info(&fragment, packet.len(), link.l3)?;
            let read = if fragment.offset > 0 {
                transport::Read::FRAGMENT
            } else {
                // RFC 8200 §4.5: the first fragment holds the whole chain of headers.
                transport::read(Family::V6, chain.protocol, segment)?
            };
            (Some(info), read)
        }
        _ => (None, transport::read(Family::V6, chain.protocol, segment)?),
    };
    Ok(Headers {
        family: Family::V6,
        tags: link.tags,
        l3: link.l3,
        l4: link.l3 + chain.end as u16,
        ip_len: ip_len as u32,
        protocol: chain.protocol,
        ttl: header[field::HOP_LIMIT],
        tos: ipv6::traffic_class(header),
        dont_fragment: true,
        fragment,
        l4_header: read.l4_header,
        flow: flow(chain.protocol, src, dst, read.ports),
    })
}

/// The flow key of a packet, its source as client.
#[inline]
pub(super) fn flow(
    protocol: Protocol,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    ports: transport::Ports,
) -> FlowKey {
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
