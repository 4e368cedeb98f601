//! What the director's host does with packets that are not for itself: it forwards them, or tells the
//! sender why not.

use std::net::IpAddr;

use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpDscp, IpEcn, IpFragOffset, IpNumber,
    Ipv4Header, Ipv6Header,
};

use crate::net::{Network, OWN};
use crate::scenario::Side;

/// Why a packet cannot be forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    TimeExceeded,
    TooBig {
        mtu: u32,
    },
    NoRoute,
    /// The other fragments of its packet did not come; `from` is who says so, where that is not the host's own
    /// address on that side.
    FragmentTimeout {
        from: Option<IpAddr>,
    },
}

impl Trouble {
    /// Whose address the error comes from.
    fn source(self, side: Side, v6: bool) -> IpAddr {
        match self {
            Trouble::FragmentTimeout { from: Some(from) } => from,
            _ => own(side, v6),
        }
    }
}

/// The packet with its TTL decremented and the side it leaves by, or why it cannot leave.
pub(super) fn forward(
    network: &Network,
    packet: &[u8],
    destination: IpAddr,
) -> Result<(Side, [u8; 6], Vec<u8>), Trouble> {
    let Some((side, mac)) = network.route(destination) else { return Err(Trouble::NoRoute) };
    let mut packet = packet.to_vec();
    match Ipv4Header::from_slice(&packet) {
        Ok((mut header, _)) => {
            if header.time_to_live <= 1 {
                return Err(Trouble::TimeExceeded);
            }
            let mtu = network.mtu(side);
            if packet.len() as u32 > mtu && header.dont_fragment {
                return Err(Trouble::TooBig { mtu });
            }
            header.time_to_live -= 1;
            header.header_checksum = header.calc_header_checksum();
            packet[..header.header_len()].copy_from_slice(&header.to_bytes());
        }
        Err(_) => {
            if packet[7] <= 1 {
                return Err(Trouble::TimeExceeded);
            }
            let mtu = network.mtu(side);
            if packet.len() as u32 > mtu {
                return Err(Trouble::TooBig { mtu });
            }
            packet[7] -= 1;
        }
    }
    Ok((side, mac.0, packet))
}

/// The ICMP error for a packet that came in from `side`, from the host's address there; `None` if no
/// error may be sent about it (RFC 1122 §3.2.2, RFC 4443 §2.4).
pub(super) fn error(side: Side, packet: &[u8], trouble: Trouble, ident: u16) -> Option<Vec<u8>> {
    match Ipv4Header::from_slice(packet) {
        Ok((header, rest)) => error_v4(side, packet, &header, rest, trouble, ident),
        Err(_) => error_v6(side, packet, trouble),
    }
}

fn own(side: Side, v6: bool) -> IpAddr {
    OWN[usize::from(side == Side::Servers) + if v6 { 2 } else { 0 }]
}

fn error_v4(
    side: Side,
    packet: &[u8],
    about: &Ipv4Header,
    rest: &[u8],
    trouble: Trouble,
    ident: u16,
) -> Option<Vec<u8>> {
    let is_error = about.protocol == IpNumber::ICMP && !matches!(rest.first(), Some(0 | 8));
    if is_error || about.fragment_offset != IpFragOffset::ZERO {
        return None;
    }
    let kind = match trouble {
        Trouble::TimeExceeded => (11, 0, [0; 4]),
        Trouble::TooBig { mtu } => (3, 4, mtu.to_be_bytes()),
        Trouble::NoRoute => (3, 1, [0; 4]),
        Trouble::FragmentTimeout { .. } => (11, 1, [0; 4]),
    };
    let (type_u8, code_u8, bytes5to8) = kind;
    // 576 bytes in all (RFC 1812 §4.3.2.3).
    let quote = &packet[..packet.len().min(576 - 28)];
    let icmp =
        Icmpv4Header::with_checksum(Icmpv4Type::Unknown { type_u8, code_u8, bytes5to8 }, quote);
    let IpAddr::V4(source) = trouble.source(side, false) else { return None };
    // Internetwork control, and the type of service of the packet in question (RFC 1812 §4.3.2.5).
    let tos = 0xc0 | packet[1] & 0x1e;
    let dscp = IpDscp::try_new(tos >> 2).unwrap_or(IpDscp::CS6);
    let ecn = IpEcn::try_new(tos & 3).unwrap_or_default();
    let mut header = Ipv4Header {
        dscp,
        ecn,
        total_len: (28 + quote.len()) as u16,
        identification: ident,
        dont_fragment: false,
        time_to_live: 64,
        protocol: IpNumber::ICMP,
        source: source.octets(),
        destination: about.source,
        ..Ipv4Header::default()
    };
    header.header_checksum = header.calc_header_checksum();
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(&icmp.to_bytes());
    bytes.extend_from_slice(quote);
    Some(bytes)
}

fn error_v6(side: Side, packet: &[u8], trouble: Trouble) -> Option<Vec<u8>> {
    let (about, rest) = Ipv6Header::from_slice(packet).ok()?;
    let is_error = about.next_header == IpNumber::IPV6_ICMP && *rest.first()? < 128;
    if is_error {
        return None;
    }
    let kind = match trouble {
        Trouble::TimeExceeded => (3, 0, [0; 4]),
        Trouble::TooBig { mtu } => (2, 0, mtu.to_be_bytes()),
        Trouble::NoRoute => (1, 0, [0; 4]),
        Trouble::FragmentTimeout { .. } => (3, 1, [0; 4]),
    };
    let (type_u8, code_u8, bytes5to8) = kind;
    let IpAddr::V6(source) = trouble.source(side, true) else { return None };
    // 1,280 bytes in all (RFC 4443 §2.4).
    let quote = &packet[..packet.len().min(1280 - 48)];
    let icmp = Icmpv6Header::with_checksum(
        Icmpv6Type::Unknown { type_u8, code_u8, bytes5to8 },
        source.octets(),
        about.source,
        quote,
    )
    .ok()?;
    let header = Ipv6Header {
        payload_length: (8 + quote.len()) as u16,
        next_header: IpNumber::IPV6_ICMP,
        hop_limit: 64,
        source: source.octets(),
        destination: about.source,
        ..Ipv6Header::default()
    };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(&icmp.to_bytes());
    bytes.extend_from_slice(quote);
    Some(bytes)
}
