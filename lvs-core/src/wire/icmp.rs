//! ICMP (RFC 792) and ICMPv6 (RFC 4443): the errors a director sends, as Linux sends them, and the echo
//! reply.
//!
//! ```
//! use lvs_core::addr::Family;
//! use lvs_core::wire::icmp::{error_header_len, is_error};
//! assert!(is_error(Family::V4, 3) && !is_error(Family::V4, 8), "unreachable is one, echo is none");
//! assert_eq!(error_header_len(Family::V4), 28);
//! ```

use core::net::IpAddr;

use crate::addr::Family;
use crate::flow::Protocol;
use crate::wire::{be16, checksum, chunk, ipv4, ipv6};

/// Bytes of the header of every message that matters here.
pub const HEADER_LEN: usize = 8;
/// The most bytes of an IPv4 packet that carries an error (RFC 1812 §4.3.2.3).
pub const ERROR_LEN_MAX_V4: usize = 576;
/// The precedence of an IPv4 error: internetwork control (RFC 1812 §4.3.2.5).
pub const ERROR_TOS: u8 = 0xc0;
/// What an IPv4 error takes over of the type of service of the packet that it answers (RFC 1812
/// §4.3.2.5): the four bits of RFC 1349 §3, of which the last is one of ECN's today. Linux does so still
/// (`icmp-error-tos` among the recorded scenarios).
const ERROR_TOS_KEPT: u8 = 0x1e;

/// Offsets of the fields.
pub mod field {
    /// Type.
    pub const KIND: usize = 0;
    /// Code.
    pub const CODE: usize = 1;
    /// Checksum.
    pub const CHECKSUM: usize = 2;
    /// The rest of the header: an MTU, a pointer, or identifier and sequence number.
    pub const REST: usize = 4;
}

/// Types of ICMP for IPv4.
pub mod v4 {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench.
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
}

/// Types of ICMPv6.
pub mod v6 {
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Packet too big.
    pub const TOO_BIG: u8 = 2;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Echo request; the smallest type that is not an error.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Neighbour solicitation.
    pub const NEIGHBOR_SOLICIT: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOR_ADVERT: u8 = 136;
}

/// Whether a message of this type reports an error, which must never be answered by an error
/// (RFC 1122 §3.2.2, RFC 4443 §2.4).
pub const fn is_error(family: Family, kind: u8) -> bool {
    match family {
        Family::V4 => matches!(
            kind,
            v4::UNREACHABLE
                | v4::SOURCE_QUENCH
                | v4::REDIRECT
                | v4::TIME_EXCEEDED
                | v4::PARAMETER_PROBLEM
        ),
        Family::V6 => kind < v6::ECHO_REQUEST,
    }
}

/// What an ICMP error reports; the family of the addresses decides type and code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpError {
    /// The TTL or hop limit ran out: 11/0, IPv6 3/0.
    TimeExceeded,
    /// Fragments did not become a packet in time: 11/1, IPv6 3/1.
    ReassemblyTimeExceeded,
    /// Nobody listens, or no real server is to be had (rule S12): 3/3, IPv6 1/4.
    PortUnreachable,
    /// No route or no neighbour (rule F11): 3/1, IPv6 1/3.
    HostUnreachable,
    /// The transport protocol is unknown: 3/2. IPv6 says "unrecognized next header", 4/1, and points
    /// at the octet that names it.
    ProtocolUnreachable,
    /// Larger than the next link's MTU (rule F8): 3/4, IPv6 2/0.
    TooBig {
        /// That MTU in bytes.
        mtu: u32,
    },
    /// What somebody else reported, passed on.
    Reported {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
        /// The last four bytes of the header.
        rest: u32,
    },
}

/// An ICMP error to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorSpec {
    /// Who reports. Must be of the family of `dst`.
    pub src: IpAddr,
    /// Who is told: the source of the packet that is quoted.
    pub dst: IpAddr,
    /// What is reported.
    pub kind: IcmpError,
    /// IPv4 identification; IPv6 has none.
    pub ident: u16,
}

/// Bytes of the IP and ICMP headers in front of an error's quote.
#[inline]
pub const fn error_header_len(family: Family) -> usize {
    match family {
        Family::V4 => ipv4::HEADER_LEN + HEADER_LEN,
        Family::V6 => ipv6::HEADER_LEN + HEADER_LEN,
    }
}

/// The most bytes that an error quotes: what fits into 576 bytes, for IPv6 into 1280 (RFC 4443 §2.4 c).
#[inline]
pub const fn quote_len_max(family: Family) -> usize {
    match family {
        Family::V4 => ERROR_LEN_MAX_V4 - error_header_len(family),
        Family::V6 => ipv6::MTU_MIN - error_header_len(family),
    }
}

/// Writes an ICMP error as a whole IP packet and returns its length; what it answers is `quoted`, from
/// its IP header to the end of the packet (without Ethernet padding), and is cut to
/// [`quote_len_max`] and to the room in `buf`.
///
/// TTL 64, DF clear, internetwork control as the precedence, the rest of the TOS as `quoted` has it; IPv6 hop limit 64, traffic class 0: as the kernel's (`no-servers`,
/// `dr-toobig`, `v6-dr` among the recorded scenarios). If `buf` does not even hold the headers, nothing
/// is written and 0 returned.
pub fn emit_error(buf: &mut [u8], spec: &ErrorSpec, quoted: &[u8]) -> usize {
    let header_len = error_header_len(Family::of(spec.dst));
    let Some(room) = buf.get_mut(header_len..) else { return 0 };
    let len = quoted.len().min(quote_len_max(Family::of(spec.dst))).min(room.len());
    room[..len].copy_from_slice(&quoted[..len]);
    wrap_error(buf, spec, len)
}

/// Like [`emit_error`] for a packet that already stands behind room for the headers: `buf` holds
/// [`error_header_len`] free bytes, then `quoted_len` bytes of the packet that is answered. Nothing is
/// copied.
pub fn wrap_error(buf: &mut [u8], spec: &ErrorSpec, quoted_len: usize) -> usize {
    let family = Family::of(spec.dst);
    let header_len = error_header_len(family);
    let quoted_len = quoted_len.min(quote_len_max(family));
    let len = header_len + quoted_len;
    let Some(packet) = buf.get_mut(..len) else { return 0 };
    let ip_len = header_len - HEADER_LEN;
    let payload_len = (len - ip_len) as u16;
    let (kind, code, rest) = encode(spec.kind, family, &packet[header_len..]);

    let quoted_tos = packet.get(header_len + ipv4::field::TOS).copied().unwrap_or_default();

    let message = &mut packet[ip_len..];
    message[field::KIND] = kind;
    message[field::CODE] = code;
    message[field::CHECKSUM..field::REST].fill(0);
    message[field::REST..HEADER_LEN].copy_from_slice(&rest.to_be_bytes());
    let sum = match (spec.src, spec.dst) {
        (IpAddr::V4(_), _) => checksum::of(message),
        (src, dst) => checksum::transport(src, dst, Protocol::ICMPV6, message),
    };
    message[field::CHECKSUM..field::REST].copy_from_slice(&sum.to_be_bytes());

    match (spec.src, spec.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let header = ipv4::Header {
                src,
                dst,
                protocol: Protocol::ICMP,
                ttl: ipv4::TTL_DEFAULT,
                tos: ERROR_TOS | quoted_tos & ERROR_TOS_KEPT,
                ident: spec.ident,
                dont_fragment: false,
                payload_len,
            };
            ipv4::emit_header(packet, &header);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let header = ipv6::Header {
                src,
                dst,
                next_header: Protocol::ICMPV6,
                hop_limit: ipv6::HOP_LIMIT_DEFAULT,
                traffic_class: 0,
                payload_len,
            };
            ipv6::emit_header(packet, &header);
        }
        // An error from an address of the other family cannot be said.
        _ => return 0,
    }
    len
}

/// Type, code and the rest of the header.
fn encode(error: IcmpError, family: Family, quoted: &[u8]) -> (u8, u8, u32) {
    match (error, family) {
        (IcmpError::TimeExceeded, Family::V4) => (v4::TIME_EXCEEDED, 0, 0),
        (IcmpError::ReassemblyTimeExceeded, Family::V4) => (v4::TIME_EXCEEDED, 1, 0),
        (IcmpError::HostUnreachable, Family::V4) => (v4::UNREACHABLE, 1, 0),
        (IcmpError::ProtocolUnreachable, Family::V4) => (v4::UNREACHABLE, 2, 0),
        (IcmpError::PortUnreachable, Family::V4) => (v4::UNREACHABLE, 3, 0),
        // RFC 1191 §4: the MTU is 16 bits, the upper half is unused.
        (IcmpError::TooBig { mtu }, Family::V4) => (v4::UNREACHABLE, 4, mtu.min(0xffff)),
        (IcmpError::TimeExceeded, Family::V6) => (v6::TIME_EXCEEDED, 0, 0),
        (IcmpError::ReassemblyTimeExceeded, Family::V6) => (v6::TIME_EXCEEDED, 1, 0),
        (IcmpError::HostUnreachable, Family::V6) => (v6::UNREACHABLE, 3, 0),
        (IcmpError::PortUnreachable, Family::V6) => (v6::UNREACHABLE, 4, 0),
        (IcmpError::ProtocolUnreachable, Family::V6) => {
            let pointer = quoted
                .get(ipv6::field::NEXT_HEADER)
                .and_then(|&first| ipv6::follow(quoted, first).ok())
                .map_or(ipv6::field::NEXT_HEADER, |chain| chain.named_at);
            (v6::PARAMETER_PROBLEM, 1, pointer as u32)
        }
        (IcmpError::TooBig { mtu }, Family::V6) => (v6::TOO_BIG, 0, mtu),
        (IcmpError::Reported { kind, code, rest }, _) => (kind, code, rest),
    }
}

/// Turns an echo request into its reply in place and returns the reply's length.
///
/// `packet` is the received IP packet cut to its own length, `l4` where its ICMP header begins, `ident`
/// the reply's IPv4 identification. The reply has a TTL of 64, DF clear, the request's class of service
/// and no IP options or extension headers. `None`, with the packet untouched, if it is no echo request,
/// its checksum is wrong, or it was not sent to one host alone.
pub fn echo_reply(packet: &mut [u8], l4: usize, ident: u16) -> Option<usize> {
    let message = packet.get(l4..)?;
    let header: &[u8; HEADER_LEN] = message.first_chunk()?;
    let kind_code = be16(header, field::KIND);
    let message_len = message.len();
    let (ip_len, reply_kind) = match packet[0] >> 4 {
        4 => {
            let ip: &[u8; ipv4::HEADER_LEN] = chunk(packet, 0)?;
            let dst = ipv4::dst(ip);
            let request = u16::from(v4::ECHO_REQUEST) << 8;
            if kind_code != request
                || checksum::of(message) != 0
                || dst.is_multicast()
                || dst.is_broadcast()
            {
                return None;
            }
            (ipv4::HEADER_LEN, v4::ECHO_REPLY)
        }
        6 => {
            let ip: &[u8; ipv6::HEADER_LEN] = chunk(packet, 0)?;
            let (src, dst) = (ipv6::src(ip), ipv6::dst(ip));
            let sum = checksum::transport(src.into(), dst.into(), Protocol::ICMPV6, message);
            let request = u16::from(v6::ECHO_REQUEST) << 8;
            if kind_code != request || sum != 0 || dst.is_multicast() {
                return None;
            }
            (ipv6::HEADER_LEN, v6::ECHO_REPLY)
        }
        _ => return None,
    };
    // A caller's mistake in `l4` or the packet's end must not become a panic.
    if l4 < ip_len || ip_len + message_len > usize::from(u16::MAX) {
        return None;
    }
    let sum = be16(header, field::CHECKSUM);
    let sum = checksum::update16(sum, kind_code, u16::from(reply_kind) << 8);
    packet.copy_within(l4.., ip_len);
    let message = &mut packet[ip_len..];
    message[field::KIND] = reply_kind;
    message[field::CHECKSUM..field::REST].copy_from_slice(&sum.to_be_bytes());
    emit_echo_header(packet, message_len as u16, ident);
    Some(ip_len + message_len)
}

/// Overwrites the IP header of an echo request with that of its reply.
fn emit_echo_header(packet: &mut [u8], payload_len: u16, ident: u16) {
    if let Some(ip) = chunk::<{ ipv6::HEADER_LEN }>(packet, 0).copied()
        && ip[0] >> 4 == 6
    {
        let header = ipv6::Header {
            src: ipv6::dst(&ip),
            dst: ipv6::src(&ip),
            next_header: Protocol::ICMPV6,
            hop_limit: ipv6::HOP_LIMIT_DEFAULT,
            traffic_class: ipv6::traffic_class(&ip),
            payload_len,
        };
        ipv6::emit_header(packet, &header);
    } else if let Some(ip) = chunk::<{ ipv4::HEADER_LEN }>(packet, 0).copied() {
        let header = ipv4::Header {
            src: ipv4::dst(&ip),
            dst: ipv4::src(&ip),
            protocol: Protocol::ICMP,
            ttl: ipv4::TTL_DEFAULT,
            tos: ip[ipv4::field::TOS],
            ident,
            dont_fragment: false,
            payload_len,
        };
        ipv4::emit_header(packet, &header);
    }
}

#[cfg(test)]
mod tests;
