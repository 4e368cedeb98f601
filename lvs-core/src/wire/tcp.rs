//! TCP (RFC 9293): flags, and the reset that answers a segment of no connection.
//!
//! ```
//! use lvs_core::wire::tcp::TcpFlags;
//! let flags = TcpFlags::SYN.union(TcpFlags::ACK);
//! assert!(flags.syn() && flags.ack() && !flags.rst());
//! ```

use core::fmt;
use core::net::IpAddr;

use crate::flow::Protocol;
use crate::wire::{be32, checksum, chunk, ipv4, ipv6};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// Offsets of the fields.
pub mod field {
    /// Source port.
    pub const SRC_PORT: usize = 0;
    /// Destination port.
    pub const DST_PORT: usize = 2;
    /// Sequence number.
    pub const SEQ: usize = 4;
    /// Acknowledgement number.
    pub const ACK: usize = 8;
    /// Header length in 32-bit words (high half).
    pub const DATA_OFFSET: usize = 12;
    /// Flags.
    pub const FLAGS: usize = 13;
    /// Checksum.
    pub const CHECKSUM: usize = 16;
}

/// The eight flags of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Reset the connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Push.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgement number is meant.
    pub const ACK: TcpFlags = TcpFlags(0x10);
    /// The urgent pointer is meant.
    pub const URG: TcpFlags = TcpFlags(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: TcpFlags = TcpFlags(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: TcpFlags = TcpFlags(0x80);

    /// Whether all of `flags` are set.
    #[inline]
    pub const fn contains(self, flags: TcpFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Both sets together.
    #[inline]
    #[must_use]
    pub const fn union(self, flags: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | flags.0)
    }

    /// Whether FIN is set.
    #[inline]
    pub const fn fin(self) -> bool {
        self.contains(TcpFlags::FIN)
    }

    /// Whether SYN is set.
    #[inline]
    pub const fn syn(self) -> bool {
        self.contains(TcpFlags::SYN)
    }

    /// Whether RST is set.
    #[inline]
    pub const fn rst(self) -> bool {
        self.contains(TcpFlags::RST)
    }

    /// Whether PSH is set.
    #[inline]
    pub const fn psh(self) -> bool {
        self.contains(TcpFlags::PSH)
    }

    /// Whether ACK is set.
    #[inline]
    pub const fn ack(self) -> bool {
        self.contains(TcpFlags::ACK)
    }
}

/// The letters of the flags set, as packet dumps write them: `S`, `SA`, `FPA`; `.` for none.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str(".");
        }
        let letters = ["S", "F", "R", "P", "A", "U", "E", "W"];
        let flags = [0x02, 0x01, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80];
        for (letter, flag) in letters.into_iter().zip(flags) {
            if self.0 & flag != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The ECN bits of a TOS octet or traffic class, which a reset must not carry (RFC 3168 §6.1).
const ECN_MASK: u8 = 0x03;

/// Writes the whole IP packet that resets whoever sent `packet`, as a host without such a connection
/// answers (RFC 9293 §3.10.7.1). Returns its length: 40 bytes for IPv4, 60 for IPv6.
///
/// `packet` is the received IP packet cut to its own length, `l4` where its TCP header begins. As the
/// kernel does it, the TTL is 64, DF is set, the identification is 0 and the class of service is the
/// received one. `None` if the segment is itself a reset, if it is cut off, or if `buf` is too small.
pub fn emit_reset(buf: &mut [u8], packet: &[u8], l4: usize) -> Option<usize> {
    let received: &[u8; HEADER_LEN] = chunk(packet, l4)?;
    let flags = TcpFlags(received[field::FLAGS]);
    if flags.rst() {
        return None;
    }
    let header_len = usize::from(received[field::DATA_OFFSET] >> 4) * 4;
    let payload_len = packet.len().checked_sub(l4 + header_len)?;
    let (seq, ack, answer) = if flags.ack() {
        (be32(received, field::ACK), 0, TcpFlags::RST)
    } else {
        let len = payload_len as u32 + u32::from(flags.syn()) + u32::from(flags.fin());
        let ack = be32(received, field::SEQ).wrapping_add(len);
        (0, ack, TcpFlags::RST.union(TcpFlags::ACK))
    };

    let mut segment = [0; HEADER_LEN];
    segment[field::SRC_PORT..][..2].copy_from_slice(&received[field::DST_PORT..][..2]);
    segment[field::DST_PORT..][..2].copy_from_slice(&received[field::SRC_PORT..][..2]);
    segment[field::SEQ..][..4].copy_from_slice(&seq.to_be_bytes());
    segment[field::ACK..][..4].copy_from_slice(&ack.to_be_bytes());
    segment[field::DATA_OFFSET] = (HEADER_LEN as u8 / 4) << 4;
    segment[field::FLAGS] = answer.0;

    let (src, dst, len) = emit_answer_header(buf, packet)?;
    let sum = checksum::transport(src, dst, Protocol::TCP, &segment);
    segment[field::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
    buf.get_mut(len..len + HEADER_LEN)?.copy_from_slice(&segment);
    Some(len + HEADER_LEN)
}

/// Writes the IP header of an answer to `packet` that carries a bare TCP header; returns its source,
/// destination and length.
fn emit_answer_header(buf: &mut [u8], packet: &[u8]) -> Option<(IpAddr, IpAddr, usize)> {
    if packet.first()? >> 4 == 6 {
        let received: &[u8; ipv6::HEADER_LEN] = chunk(packet, 0)?;
        let spec = ipv6::Header {
            src: ipv6::dst(received),
            dst: ipv6::src(received),
            next_header: Protocol::TCP,
            hop_limit: ipv6::HOP_LIMIT_DEFAULT,
            traffic_class: ipv6::traffic_class(received) & !ECN_MASK,
            payload_len: HEADER_LEN as u16,
        };
        ipv6::emit_header(buf.get_mut(..ipv6::HEADER_LEN)?, &spec);
        return Some((spec.src.into(), spec.dst.into(), ipv6::HEADER_LEN));
    }
    let received: &[u8; ipv4::HEADER_LEN] = chunk(packet, 0)?;
    let spec = ipv4::Header {
        src: ipv4::dst(received),
        dst: ipv4::src(received),
        protocol: Protocol::TCP,
        ttl: ipv4::TTL_DEFAULT,
        tos: received[ipv4::field::TOS] & !ECN_MASK,
        ident: 0,
        dont_fragment: true,
        payload_len: HEADER_LEN as u16,
    };
    ipv4::emit_header(buf.get_mut(..ipv4::HEADER_LEN)?, &spec);
    Some((spec.src.into(), spec.dst.into(), ipv4::HEADER_LEN))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use etherparse::{PacketBuilder, TcpHeader};

    use super::*;

    fn segment(v6: bool, flags: TcpFlags, payload: &[u8]) -> Vec<u8> {
        let mut tcp = TcpHeader::new(40000, 80, 1000, 512);
        tcp.acknowledgment_number = 7000;
        tcp.syn = flags.syn();
        tcp.ack = flags.ack();
        tcp.fin = flags.fin();
        tcp.rst = flags.rst();
        let builder = if v6 {
            PacketBuilder::ipv6([0x20; 16], [0x21; 16], 60).tcp_header(tcp)
        } else {
            PacketBuilder::ipv4([192, 0, 2, 7], [10, 0, 0, 1], 60).tcp_header(tcp)
        };
        let mut bytes = Vec::new();
        builder.write(&mut bytes, payload).unwrap();
        bytes
    }

    fn reset(v6: bool, flags: TcpFlags, payload: &[u8]) -> Option<(usize, TcpHeader)> {
        let packet = segment(v6, flags, payload);
        let l4 = if v6 { 40 } else { 20 };
        let mut buf = [0; 64];
        let len = emit_reset(&mut buf, &packet, l4)?;
        let read = etherparse::PacketHeaders::from_ip_slice(&buf[..len]).unwrap();
        let tcp = read.transport.unwrap().tcp().unwrap();
        match read.net.unwrap() {
            etherparse::NetHeaders::Ipv4(ip, _) => {
                assert_eq!((ip.source, ip.destination), ([10, 0, 0, 1], [192, 0, 2, 7]));
                assert_eq!((ip.time_to_live, ip.dont_fragment, ip.identification), (64, true, 0));
                assert_eq!(tcp.calc_checksum_ipv4(&ip, &[]).unwrap(), tcp.checksum);
            }
            etherparse::NetHeaders::Ipv6(ip, _) => {
                assert_eq!((ip.source, ip.destination), ([0x21; 16], [0x20; 16]));
                assert_eq!(ip.hop_limit, 64);
                assert_eq!(tcp.calc_checksum_ipv6(&ip, &[]).unwrap(), tcp.checksum);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((tcp.source_port, tcp.destination_port), (80, 40000));
        Some((len, tcp))
    }

    #[test]
    fn a_syn_is_answered_with_reset_and_acknowledgement() {
        for (v6, expected_len) in [(false, 40), (true, 60)] {
            let (len, tcp) = reset(v6, TcpFlags::SYN, b"").unwrap();
            assert_eq!(len, expected_len);
            assert!(tcp.rst && tcp.ack && !tcp.syn);
            assert_eq!((tcp.sequence_number, tcp.acknowledgment_number), (0, 1001));
        }
    }

    #[test]
    fn an_acknowledgement_is_answered_with_a_bare_reset_at_the_number_it_names() {
        let (_, tcp) = reset(false, TcpFlags::ACK, b"data").unwrap();
        assert!(tcp.rst && !tcp.ack);
        assert_eq!((tcp.sequence_number, tcp.acknowledgment_number), (7000, 0));
    }

    #[test]
    fn payload_and_fin_are_acknowledged() {
        let (_, tcp) = reset(true, TcpFlags::FIN, b"data").unwrap();
        assert_eq!(tcp.acknowledgment_number, 1005);
    }

    #[test]
    fn a_reset_is_never_answered() {
        assert_eq!(reset(false, TcpFlags::RST, b""), None);
        assert_eq!(reset(false, TcpFlags::RST.union(TcpFlags::SYN), b""), None);
    }

    #[test]
    fn a_cut_off_segment_or_a_small_buffer_gives_nothing() {
        let packet = segment(false, TcpFlags::SYN, b"");
        let mut buf = [0; 64];
        for len in 0..40 {
            assert_eq!(emit_reset(&mut buf, &packet[..len], 20), None, "{len} bytes received");
            assert_eq!(emit_reset(&mut buf[..len], &packet, 20), None, "{len} bytes of room");
        }
    }

    #[test]
    fn flags_print_as_packet_dumps_write_them() {
        let syn_ack = TcpFlags::SYN.union(TcpFlags::ACK);
        assert_eq!(std::format!("{syn_ack} {} {}", TcpFlags(0), TcpFlags::RST), "SA . R");
    }
}
