//! The packets that come by the million, read in one piece: TCP and UDP in untagged IPv4 without options
//! and IPv6 without extension headers, whole and with ordinary addresses.
//!
//! Only what an established connection's packet is handled by is read, and that stays in registers: some
//! 60 instructions, where [`parse`](super::parse) takes three times as many. Whatever is not plain, or not
//! right, is left to `parse`, which knows why; of a plain packet both say the same
//! (test `what_is_plain_is_what_the_parser_says`).

use super::{Headers, L4};
use crate::addr::Family;
use crate::flow::{FlowKey, Protocol};
use crate::wire::ethernet::{self, VlanTags};
use crate::wire::tcp::{self, TcpFlags};
use crate::wire::{be16, be32, checksum, ipv4, ipv6, udp};

/// Where the IP header begins.
const L3: usize = ethernet::HEADER_LEN;
/// Where the transport header begins in each family.
const L4_V4: usize = L3 + ipv4::HEADER_LEN;
const L4_V6: usize = L3 + ipv6::HEADER_LEN;

/// EtherType IPv4, version 4 and a header of 20 bytes.
const IPV4: u32 = (ethernet::IPV4 as u32) << 8 | 0x45;
/// EtherType IPv6 and version 6.
const IPV6: u32 = (ethernet::IPV6 as u32) << 4 | 6;

/// What is known of a plain packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    /// Source as client, destination as virtual.
    pub(crate) flow: FlowKey,
    /// Length of the IP packet in bytes, its header included.
    pub(crate) ip_len: u32,
    /// None for UDP.
    pub(crate) flags: TcpFlags,
}

impl Plain {
    pub(crate) const EMPTY: Plain = Plain { flow: FlowKey::EMPTY, ip_len: 0, flags: TcpFlags(0) };

    /// All headers of the packet, which must be that in `frame`.
    pub(crate) fn headers(&self, frame: &[u8]) -> Headers {
        let byte = |at: usize| frame.get(at).copied().unwrap_or(0);
        let (family, protocol) = (self.flow.family(), self.flow.protocol());
        let (l4, ttl) = match family {
            Family::V4 => (L4_V4, byte(L3 + ipv4::field::TTL)),
            Family::V6 => (L4_V6, byte(L3 + ipv6::field::HOP_LIMIT)),
        };
        let tos = match family {
            Family::V4 => byte(L3 + ipv4::field::TOS),
            Family::V6 => byte(L3) << 4 | byte(L3 + 1) >> 4,
        };
        let l4_header = match protocol {
            Protocol::TCP => L4::Tcp {
                flags: self.flags,
                header_len: byte(l4 + tcp::field::DATA_OFFSET) >> 4 << 2,
            },
            _ => L4::Udp,
        };
        let flags = byte(L3 + ipv4::field::FRAGMENT);
        Headers {
            family,
            tags: VlanTags::NONE,
            l3: L3 as u16,
            l4: l4 as u16,
            ip_len: self.ip_len,
            protocol,
            ttl,
            tos,
            dont_fragment: family == Family::V6 || u16::from(flags) << 8 & ipv4::DONT_FRAGMENT != 0,
            fragment: None,
            l4_header,
            flow: self.flow,
        }
    }
}

/// The plain IPv4 packet in a frame, if that is what it holds.
#[inline(always)]
pub(crate) fn plain_v4(frame: &[u8]) -> Option<Plain> {
    let start = frame.first_chunk::<{ L4_V4 + udp::HEADER_LEN }>()?;
    let header = start[L3..].first_chunk::<{ ipv4::HEADER_LEN }>()?;
    let place = be16(header, ipv4::field::FRAGMENT);
    let whole = place & (ipv4::MORE_FRAGMENTS | ipv4::OFFSET_MASK) == 0;
    let ordinary = is_ordinary(header[ipv4::field::SRC]) && is_ordinary(header[ipv4::field::DST]);
    if be32(start, ethernet::ETHERTYPE_AT) >> 8 != IPV4
        || !(whole && ordinary && checksum::is_right20(header))
    {
        return None;
    }
    let ip_len = usize::from(be16(header, ipv4::field::TOTAL_LEN));
    let protocol = Protocol(header[ipv4::field::PROTOCOL]);
    let flags = flags(frame, protocol, L4_V4, L3 + ip_len)?;
    let src = u64::from(be32(header, ipv4::field::SRC));
    let dst = u64::from(be32(header, ipv4::field::DST));
    let ports = be32(start, L4_V4);
    let flow = FlowKey::of_words(Family::V4, protocol, [src, 0], [dst, 0], ports);
    Some(Plain { flow, ip_len: ip_len as u32, flags })
}

/// The plain IPv6 packet in a frame, if that is what it holds.
#[inline(always)]
pub(crate) fn plain_v6(frame: &[u8]) -> Option<Plain> {
    let start = frame.first_chunk::<{ L4_V6 + udp::HEADER_LEN }>()?;
    let header = start[L3..].first_chunk::<{ ipv6::HEADER_LEN }>()?;
    let (src, dst) = (ipv6::words(header, ipv6::field::SRC), ipv6::words(header, ipv6::field::DST));
    // Neither unspecified nor loopback, of which the high half is zero; and no group as source.
    let ordinary = src[0] != 0 && dst[0] != 0 && src[0] >> 56 != 0xff;
    if be32(start, ethernet::ETHERTYPE_AT) >> 12 != IPV6 || !ordinary {
        return None;
    }
    let ip_len = ipv6::HEADER_LEN + usize::from(be16(header, ipv6::field::PAYLOAD_LEN));
    let protocol = Protocol(header[ipv6::field::NEXT_HEADER]);
    let flags = flags(frame, protocol, L4_V6, L3 + ip_len)?;
    let flow = FlowKey::of_words(Family::V6, protocol, src, dst, be32(start, L4_V6));
    Some(Plain { flow, ip_len: ip_len as u32, flags })
}

/// The flags of the TCP header at `at`, none of a UDP header; `end` is that of the packet. The frame has
/// room for the latter at least.
#[inline(always)]
fn flags(frame: &[u8], protocol: Protocol, at: usize, end: usize) -> Option<TcpFlags> {
    if end > frame.len() {
        return None;
    }
    if protocol == Protocol::TCP {
        let header = frame.get(at..)?.first_chunk::<{ tcp::HEADER_LEN }>()?;
        let header_len = usize::from(header[tcp::field::DATA_OFFSET] >> 4) * 4;
        let fits = header_len >= tcp::HEADER_LEN && at + header_len <= end;
        return fits.then_some(TcpFlags(header[tcp::field::FLAGS]));
    }
    (protocol == Protocol::UDP && at + udp::HEADER_LEN <= end).then_some(TcpFlags(0))
}

/// Whether an IPv4 address that begins with this byte is one host's, and not of this host or network (0/8,
/// 127/8): nothing more needs to be looked at.
#[inline(always)]
fn is_ordinary(first: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut first = 1;
        while first < 224 {
            table[first] = first != 127;
            first += 1;
        }
        table
    };
    TABLE[usize::from(first)]
}
