//! Outer headers of tunnels: IP in IP (RFC 2003, RFC 2473, RFC 4213), GUE (the Internet draft
//! `draft-ietf-intarea-gue`, version 0) and GRE (RFC 2784), as Linux IPVS writes them (rules F2 to F7).
//!
//! ```text
//!  IPIP  | outer IP | packet
//!  GUE   | outer IP | UDP 8 | GUE 4        | packet
//!  GRE   | outer IP | GRE 4 | checksum 4 ? | packet
//! ```

use core::net::IpAddr;

use crate::addr::Family;
use crate::command::{Tunnel, TunnelChecksum};
use crate::flow::Protocol;
use crate::wire::checksum::{self, Sum};
use crate::wire::{ethernet, ipv4, ipv6, udp};

/// Bytes of a GUE header without options.
const GUE_LEN: usize = 4;
/// Bytes of a GRE header without options.
const GRE_LEN: usize = 4;
/// Bytes of GRE's checksum and what is reserved behind it.
const GRE_CHECKSUM_LEN: usize = 4;
/// The flag "checksum present" of a GRE header.
const GRE_CHECKSUM: u16 = 0x8000;
/// The low half of the type of service: explicit congestion notification (RFC 3168).
const ECN_MASK: u8 = 3;
const ECN_CONGESTED: u8 = 3;
const ECN_CAPABLE: u8 = 2;
/// The first source port of GUE and how many there are: Linux' range of ephemeral ports.
const SOURCE_PORTS: (u16, u16) = (32768, 28232);

/// The outer headers of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer {
    /// The director's own address.
    pub src: IpAddr,
    /// The real server; of the family of `src`.
    pub dst: IpAddr,
    /// The kind of tunnel.
    pub tunnel: Tunnel,
    /// TTL or hop limit: the packet's own, already decremented (rule F2).
    pub ttl: u8,
    /// Type of service or traffic class; see [`outer_tos`].
    pub tos: u8,
    /// Whether routers must not fragment the outer packet. IPv6 has no such flag.
    pub dont_fragment: bool,
    /// IPv4 identification; IPv6 has none.
    pub ident: u16,
    /// A hash of the packet's flow: GUE's source port, so that networks spread flows over their links.
    pub flow_hash: u64,
}

/// Bytes that a tunnel puts in front of a packet.
#[inline]
pub const fn overhead(outer: Family, tunnel: Tunnel) -> usize {
    let ip = match outer {
        Family::V4 => ipv4::HEADER_LEN,
        Family::V6 => ipv6::HEADER_LEN,
    };
    ip + match tunnel {
        Tunnel::IpIp => 0,
        Tunnel::Gue { .. } => udp::HEADER_LEN + GUE_LEN,
        Tunnel::Gre { checksum: TunnelChecksum::None } => GRE_LEN,
        Tunnel::Gre { .. } => GRE_LEN + GRE_CHECKSUM_LEN,
    }
}

/// The outer type of service for an inner one: the same, but "congestion experienced" becomes ECT(0)
/// (RFC 3168 §9.1.1, rule F2).
#[inline]
pub const fn outer_tos(inner: u8) -> u8 {
    if inner & ECN_MASK == ECN_CONGESTED { inner & !ECN_MASK | ECN_CAPABLE } else { inner }
}

/// Writes the outer headers. `packet` holds [`overhead`] free bytes, then the packet of family `inner` to
/// its end.
///
/// # Panics
/// If the packet is shorter than the headers or the whole longer than 65,535 bytes.
pub fn emit(packet: &mut [u8], outer: &Outer, inner: Family) {
    let family = Family::of(outer.dst);
    let ip_len = match family {
        Family::V4 => ipv4::HEADER_LEN,
        Family::V6 => ipv6::HEADER_LEN,
    };
    let payload = &mut packet[ip_len..];
    let protocol = match outer.tunnel {
        Tunnel::IpIp => inner_protocol(inner),
        Tunnel::Gue { port, checksum } => {
            emit_gue(payload, outer, port.0, checksum, inner);
            Protocol::UDP
        }
        Tunnel::Gre { checksum } => {
            emit_gre(payload, checksum, inner);
            Protocol::GRE
        }
    };
    let payload_len =
        u16::try_from(payload.len()).expect("an outer packet of at most 65,535 bytes");
    emit_ip(packet, outer, protocol, payload_len);
}

fn emit_ip(packet: &mut [u8], outer: &Outer, protocol: Protocol, payload_len: u16) {
    match (outer.src, outer.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let header = ipv4::Header {
                src,
                dst,
                protocol,
                ttl: outer.ttl,
                tos: outer.tos,
                ident: outer.ident,
                dont_fragment: outer.dont_fragment,
                payload_len,
            };
            ipv4::emit_header(packet, &header);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = ipv6::Header {
                src,
                dst,
                next_header: protocol,
                hop_limit: outer.ttl,
                traffic_class: outer.tos,
                payload_len,
            };
            ipv6::emit_header(packet, &header);
        }
        _ => unreachable!("INVARIANT: both ends of a tunnel are of one family"),
    }
}

/// GUE, version 0, without options: a remote checksum has nothing to say about a packet whose checksum is
/// finished (rule F6).
fn emit_gue(payload: &mut [u8], outer: &Outer, port: u16, checksum: TunnelChecksum, inner: Family) {
    let (first, count) = SOURCE_PORTS;
    let source = first + (outer.flow_hash % u64::from(count)) as u16;
    let len = payload.len() as u16;
    payload[udp::field::SRC_PORT..][..2].copy_from_slice(&source.to_be_bytes());
    payload[udp::field::DST_PORT..][..2].copy_from_slice(&port.to_be_bytes());
    payload[udp::field::LEN..][..2].copy_from_slice(&len.to_be_bytes());
    payload[udp::field::CHECKSUM..][..2].fill(0);
    payload[udp::HEADER_LEN..][..GUE_LEN].copy_from_slice(&[0, inner_protocol(inner).0, 0, 0]);
    if checksum == TunnelChecksum::None {
        return;
    }
    let sum = match checksum::transport(outer.src, outer.dst, Protocol::UDP, payload) {
        0 => 0xffff,
        sum => sum,
    };
    payload[udp::field::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
}

fn emit_gre(payload: &mut [u8], checksum: TunnelChecksum, inner: Family) {
    let kind = match inner {
        Family::V4 => ethernet::IPV4,
        Family::V6 => ethernet::IPV6,
    };
    let summed = checksum != TunnelChecksum::None;
    let flags = if summed { GRE_CHECKSUM } else { 0 };
    payload[..2].copy_from_slice(&flags.to_be_bytes());
    payload[2..GRE_LEN].copy_from_slice(&kind.to_be_bytes());
    if summed {
        payload[GRE_LEN..][..GRE_CHECKSUM_LEN].fill(0);
        let sum = Sum::ZERO.bytes(payload).finish();
        payload[GRE_LEN..][..2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Makes the outer headers that [`emit`] wrote right for a packet of another length and content. `ident` is the
/// IPv4 identification, where there has to be one. A packet of no tunnel stays as it is.
pub fn refit(packet: &mut [u8], ident: u16) {
    let Some((src, dst, protocol, ip_len)) = outer_ip(packet) else { return };
    let (total_len, payload) = (packet.len(), &mut packet[ip_len..]);
    match protocol {
        Protocol::UDP if payload.len() >= udp::HEADER_LEN => {
            let len = payload.len() as u16;
            payload[udp::field::LEN..][..2].copy_from_slice(&len.to_be_bytes());
            let field = udp::field::CHECKSUM..udp::field::CHECKSUM + 2;
            if payload[field.clone()] != [0, 0] {
                payload[field.clone()].fill(0);
                let sum = match checksum::transport(src, dst, Protocol::UDP, payload) {
                    0 => 0xffff,
                    sum => sum,
                };
                payload[field].copy_from_slice(&sum.to_be_bytes());
            }
        }
        Protocol::GRE if has_gre_checksum(payload) => {
            payload[GRE_LEN..][..GRE_CHECKSUM_LEN].fill(0);
            let sum = Sum::ZERO.bytes(payload).finish();
            payload[GRE_LEN..][..2].copy_from_slice(&sum.to_be_bytes());
        }
        _ => {}
    }
    if src.is_ipv6() {
        let len = (total_len - ipv6::HEADER_LEN) as u16;
        packet[ipv6::field::PAYLOAD_LEN..][..2].copy_from_slice(&len.to_be_bytes());
        return;
    }
    let header = &mut packet[..ip_len];
    header[ipv4::field::TOTAL_LEN..][..2].copy_from_slice(&(total_len as u16).to_be_bytes());
    if header[ipv4::field::FRAGMENT] & (ipv4::DONT_FRAGMENT >> 8) as u8 == 0 {
        header[ipv4::field::IDENT..][..2].copy_from_slice(&ident.to_be_bytes());
    }
    header[ipv4::field::CHECKSUM..][..2].fill(0);
    let sum = checksum::of(header);
    header[ipv4::field::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
}

fn has_gre_checksum(payload: &[u8]) -> bool {
    payload.len() >= GRE_LEN + GRE_CHECKSUM_LEN
        && u16::from_be_bytes([payload[0], payload[1]]) & GRE_CHECKSUM != 0
}

const fn inner_protocol(inner: Family) -> Protocol {
    match inner {
        Family::V4 => Protocol::IPIP,
        Family::V6 => Protocol::IPV6,
    }
}

/// A packet inside a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inside {
    /// The outer source.
    pub src: IpAddr,
    /// The outer destination.
    pub dst: IpAddr,
    /// The packet's family.
    pub family: Family,
    /// Where the packet begins, in bytes from the outer header.
    pub at: usize,
    /// The kind of tunnel.
    pub through: Through,
}

/// A kind of tunnel, as its packets show it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Through {
    /// IP in IP.
    IpIp,
    /// Generic UDP encapsulation to this port.
    Gue(u16),
    /// GRE.
    Gre,
}

impl Through {
    /// Whether that tunnel writes packets of this kind.
    pub fn is_of(self, tunnel: Tunnel) -> bool {
        match (self, tunnel) {
            (Through::IpIp, Tunnel::IpIp) | (Through::Gre, Tunnel::Gre { .. }) => true,
            (Through::Gue(seen), Tunnel::Gue { port, .. }) => seen == port.0,
            _ => false,
        }
    }
}

/// Looks into a tunnel: `packet` begins with an outer IP header and may be cut off anywhere, as in the
/// quote of an ICMP error. `None` if it is none of the tunnels that [`emit`] writes.
pub fn look_inside(packet: &[u8]) -> Option<Inside> {
    let (src, dst, protocol, ip_len) = outer_ip(packet)?;
    let payload = packet.get(ip_len..)?;
    let (family, at, through) = match protocol {
        Protocol::IPIP => (Family::V4, 0, Through::IpIp),
        Protocol::IPV6 => (Family::V6, 0, Through::IpIp),
        Protocol::UDP => {
            let gue = payload.get(udp::HEADER_LEN..)?.first_chunk::<GUE_LEN>()?;
            let family = match (gue[0], Protocol(gue[1])) {
                // Version 0, no control message, no options.
                (0, Protocol::IPIP) => Family::V4,
                (0, Protocol::IPV6) => Family::V6,
                _ => return None,
            };
            let port = u16::from_be_bytes([payload[2], payload[3]]);
            (family, udp::HEADER_LEN + GUE_LEN, Through::Gue(port))
        }
        Protocol::GRE => {
            let &[a, b, c, d] = payload.first_chunk::<GRE_LEN>()?;
            let more = match u16::from_be_bytes([a, b]) {
                0 => 0,
                GRE_CHECKSUM => GRE_CHECKSUM_LEN,
                _ => return None,
            };
            let family = match u16::from_be_bytes([c, d]) {
                ethernet::IPV4 => Family::V4,
                ethernet::IPV6 => Family::V6,
                _ => return None,
            };
            (family, GRE_LEN + more, Through::Gre)
        }
        _ => return None,
    };
    let at = ip_len + at;
    (at < packet.len()).then_some(Inside { src, dst, family, at, through })
}

/// Addresses, protocol and header length of an outer packet that is no later fragment.
fn outer_ip(packet: &[u8]) -> Option<(IpAddr, IpAddr, Protocol, usize)> {
    match packet.first()? >> 4 {
        4 => {
            let header: &[u8; ipv4::HEADER_LEN] = packet.first_chunk()?;
            let place = u16::from_be_bytes([
                header[ipv4::field::FRAGMENT],
                header[ipv4::field::FRAGMENT + 1],
            ]);
            let len = usize::from(header[0] & 0xf) * 4;
            if place & ipv4::OFFSET_MASK != 0 || len < ipv4::HEADER_LEN {
                return None;
            }
            let (src, dst) = (ipv4::src(header).into(), ipv4::dst(header).into());
            Some((src, dst, Protocol(header[ipv4::field::PROTOCOL]), len))
        }
        6 => {
            let header: &[u8; ipv6::HEADER_LEN] = packet.first_chunk()?;
            let (src, dst) = (ipv6::src(header).into(), ipv6::dst(header).into());
            let protocol = Protocol(header[ipv6::field::NEXT_HEADER]);
            Some((src, dst, protocol, ipv6::HEADER_LEN))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
