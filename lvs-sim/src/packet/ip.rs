//! IP headers around transport segments, whole or in fragments.

use std::net::IpAddr;

use etherparse::{
    IpDscp, IpEcn, IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header,
};

use super::transport::segment;
use crate::scenario::{Packet, PacketOptions, Quoted};

/// TTL of a packet that gives none.
const TTL: u8 = 64;
/// TTL of a tunnel header in a quoted packet.
const TUNNEL_TTL: u8 = 60;

/// The IP packets of a scenario's packet.
pub(super) fn packets(packet: &Packet) -> Vec<Vec<u8>> {
    let (from, to) = (packet.source.addr, packet.destination.addr);
    let (protocol, segment) = segment(packet);
    let Some(fragments) = &packet.fragments else {
        return vec![wrap(from, to, protocol, &segment, packet.options, None)];
    };
    let mut cuts = vec![0];
    match fragments.at.as_slice() {
        [] => cuts.push((segment.len() / 2) & !7),
        at => cuts.extend(at.iter().map(|cut| cut & !7)),
    }
    cuts.push(segment.len());
    let parts: Vec<Vec<u8>> = cuts
        .windows(2)
        .map(|cut| {
            let to_byte = cut[1].min(segment.len());
            let piece = &segment[cut[0].min(to_byte)..to_byte];
            let fragment =
                Fragment { id: packet.id(), offset: cut[0], more: cut[1] != segment.len() };
            wrap(from, to, protocol, piece, packet.options, Some(fragment))
        })
        .collect();
    match &fragments.send {
        None => parts,
        Some(send) => send.iter().filter_map(|&part| parts.get(part).cloned()).collect(),
    }
}

/// The IP packet that an ICMP error quotes, whole.
pub(super) fn quoted(quoted: &Quoted) -> Vec<u8> {
    let inner = packets(&quoted.packet).swap_remove(0);
    let Some((from, to)) = quoted.tunnel else { return inner };
    let protocol = match quoted.packet.source.addr {
        IpAddr::V4(_) => IpNumber::IPV4,
        IpAddr::V6(_) => IpNumber::IPV6,
    };
    let options = PacketOptions { ttl: Some(TUNNEL_TTL), ..PacketOptions::default() };
    wrap(from, to, protocol, &inner, options, None)
}

#[derive(Clone, Copy)]
struct Fragment {
    id: u16,
    /// In bytes.
    offset: usize,
    more: bool,
}

impl Fragment {
    fn offset(self) -> IpFragOffset {
        IpFragOffset::try_new((self.offset / 8) as u16).unwrap_or(IpFragOffset::ZERO)
    }
}

fn wrap(
    from: IpAddr,
    to: IpAddr,
    protocol: IpNumber,
    payload: &[u8],
    options: PacketOptions,
    fragment: Option<Fragment>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 48);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let tos = options.tos.unwrap_or(0);
            let mut header = Ipv4Header {
                dscp: IpDscp::try_new(tos >> 2).unwrap_or(IpDscp::ZERO),
                ecn: IpEcn::try_new(tos & 3).unwrap_or(IpEcn::ZERO),
                total_len: (Ipv4Header::MIN_LEN + payload.len()) as u16,
                identification: fragment.map_or(options.id.unwrap_or(super::ID), |f| f.id),
                dont_fragment: options.df.unwrap_or(fragment.is_none()),
                more_fragments: fragment.is_some_and(|f| f.more),
                fragment_offset: fragment.map_or(IpFragOffset::ZERO, Fragment::offset),
                time_to_live: options.ttl.unwrap_or(TTL),
                protocol,
                source: from.octets(),
                destination: to.octets(),
                ..Ipv4Header::default()
            };
            header.header_checksum = header.calc_header_checksum();
            bytes.extend_from_slice(&header.to_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let extension = fragment.map(|f| {
                Ipv6FragmentHeader::new(protocol, f.offset(), f.more, u32::from(f.id)).to_bytes()
            });
            let extension = extension.as_ref().map_or(&[][..], |header| &header[..]);
            let header = Ipv6Header {
                traffic_class: options.tos.unwrap_or(0),
                payload_length: (extension.len() + payload.len()) as u16,
                next_header: if fragment.is_some() {
                    IpNumber::IPV6_FRAGMENTATION_HEADER
                } else {
                    protocol
                },
                hop_limit: options.ttl.unwrap_or(TTL),
                source: from.octets(),
                destination: to.octets(),
                ..Ipv6Header::default()
            };
            bytes.extend_from_slice(&header.to_bytes());
            bytes.extend_from_slice(extension);
        }
        // The parser refuses packets whose ends are of different families.
        _ => return bytes,
    }
    bytes.extend_from_slice(payload);
    bytes
}
