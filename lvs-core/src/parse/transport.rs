//! Transport headers: ports, flags, type and code.

use super::L4;
use crate::addr::Family;
use crate::drop::DropReason;
use crate::flow::Protocol;
use crate::wire::tcp::{self, TcpFlags};
use crate::wire::{be16, icmp, sctp, udp};

/// Source and destination port.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) src: u16,
    pub(super) dst: u16,
}

impl Ports {
    /// For protocols that have no ports.
    pub(super) const NONE: Ports = Ports { src: 0, dst: 0 };

    /// The ports of a whole packet, whose transport header is known to be there.
    #[inline(always)]
    pub(super) fn behind(l4_header: L4, segment: &[u8]) -> Ports {
        match (l4_header, segment.first_chunk::<4>()) {
            (L4::Tcp { .. } | L4::Udp | L4::Sctp(_), Some(header)) => Ports::of(header),
            _ => Ports::NONE,
        }
    }

    /// The ports of a TCP, UDP or SCTP header.
    #[inline]
    pub(super) fn of(header: &[u8; 4]) -> Ports {
        Ports { src: be16(header, tcp::field::SRC_PORT), dst: be16(header, tcp::field::DST_PORT) }
    }
}

const _: () = assert!(
    tcp::field::SRC_PORT == udp::field::SRC_PORT
        && tcp::field::DST_PORT == udp::field::DST_PORT
        && tcp::field::SRC_PORT == sctp::field::SRC_PORT
        && tcp::field::DST_PORT == sctp::field::DST_PORT,
    "one function reads the ports of all three"
);

/// Reads the transport header of a whole packet; `segment` is all that follows the IP headers.
///
/// The length in a UDP header is not held against the packet's: the kernel does not at this point, and
/// the receiver will.
#[inline(always)]
pub(super) fn read(family: Family, protocol: Protocol, segment: &[u8]) -> Result<L4, DropReason> {
    match (protocol, family) {
        (Protocol::TCP, _) => {
            let Some(header) = segment.first_chunk::<{ tcp::HEADER_LEN }>() else {
                return Err(DropReason::TcpTruncated);
            };
            let header_len = (header[tcp::field::DATA_OFFSET] >> 4) * 4;
            if usize::from(header_len) < tcp::HEADER_LEN || usize::from(header_len) > segment.len()
            {
                return Err(DropReason::TcpHeaderLength);
            }
            let flags = TcpFlags(header[tcp::field::FLAGS]);
            Ok(L4::Tcp { flags, header_len })
        }
        (Protocol::UDP, _) => match segment.first_chunk::<{ udp::HEADER_LEN }>() {
            Some(_) => Ok(L4::Udp),
            None => Err(DropReason::UdpTruncated),
        },
        (Protocol::SCTP, _) => match segment.first_chunk::<{ sctp::HEADER_LEN }>() {
            Some(_) => Ok(L4::Sctp(sctp::Chunks::parse(segment))),
            None => Err(DropReason::SctpTruncated),
        },
        (Protocol::ICMP, Family::V4) | (Protocol::ICMPV6, Family::V6) => {
            let Some(header) = segment.first_chunk::<{ icmp::HEADER_LEN }>() else {
                return Err(DropReason::IcmpTruncated);
            };
            let (kind, code) = (header[icmp::field::KIND], header[icmp::field::CODE]);
            Ok(L4::Icmp { kind, code })
        }
        _ => Ok(L4::Other),
    }
}
