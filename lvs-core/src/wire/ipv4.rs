//! IPv4 (RFC 791).
//!
//! ```
//! use lvs_core::wire::{checksum, ipv4};
//! let mut header = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x26, 0x78, 10, 0, 0, 9, 10, 0, 0, 80];
//! assert_eq!(ipv4::decrement_ttl(&mut header), 63);
//! assert_eq!(checksum::of(&header), 0, "the checksum follows");
//! ```

use core::net::Ipv4Addr;

use crate::flow::Protocol;
use crate::wire::{be32, checksum};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;
/// Bytes of the longest header.
pub const HEADER_LEN_MAX: usize = 60;
/// The TTL of packets of our own, as Linux sends them (`ip_default_ttl`).
pub const TTL_DEFAULT: u8 = 64;

/// Offsets of the fields.
pub mod field {
    /// Version (high half) and header length in 32-bit words (low half).
    pub const VERSION_IHL: usize = 0;
    /// Type of service: DSCP and ECN.
    pub const TOS: usize = 1;
    /// Length of the packet, header included.
    pub const TOTAL_LEN: usize = 2;
    /// Identification.
    pub const IDENT: usize = 4;
    /// Flags (high three bits) and fragment offset in units of 8 bytes.
    pub const FRAGMENT: usize = 6;
    /// Time to live.
    pub const TTL: usize = 8;
    /// Protocol.
    pub const PROTOCOL: usize = 9;
    /// Header checksum.
    pub const CHECKSUM: usize = 10;
    /// Source address.
    pub const SRC: usize = 12;
    /// Destination address.
    pub const DST: usize = 16;
}

/// "Don't fragment", in the 16 bits at [`field::FRAGMENT`].
pub const DONT_FRAGMENT: u16 = 0x4000;
/// "More fragments", in the same place.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset, in the same place.
pub const OFFSET_MASK: u16 = 0x1fff;

/// The source address.
#[inline]
pub(crate) fn src(header: &[u8; HEADER_LEN]) -> Ipv4Addr {
    Ipv4Addr::from_bits(be32(header, field::SRC))
}

/// The destination address.
#[inline]
pub(crate) fn dst(header: &[u8; HEADER_LEN]) -> Ipv4Addr {
    Ipv4Addr::from_bits(be32(header, field::DST))
}

/// Takes one from the TTL of the packet that begins at the slice's first byte, updates the header
/// checksum (RFC 1624), and returns the new TTL. A TTL of 0 stays.
///
/// # Panics
/// If the packet is shorter than a header; [`parse`](crate::parse::parse) lets no such packet through.
#[inline]
pub fn decrement_ttl(packet: &mut [u8]) -> u8 {
    let header: &mut [u8; HEADER_LEN] =
        packet.first_chunk_mut().expect("a packet is at least as long as its header");
    let Some(ttl) = header[field::TTL].checked_sub(1) else { return 0 };
    header[field::TTL] = ttl;
    // RFC 1624 §3, equation 3, for a word that is less by 0x100 whatever it was; in the machine's own byte
    // order, which such sums do not mind (RFC 1071 §2 B). One carry is all there can be.
    let [high, low] = [header[field::CHECKSUM], header[field::CHECKSUM + 1]];
    let sum = u32::from(!u16::from_ne_bytes([high, low])) + u32::from(!0x100u16.to_be());
    let sum = !((sum >> 16) + sum) as u16;
    header[field::CHECKSUM..field::SRC].copy_from_slice(&sum.to_ne_bytes());
    ttl
}

/// What goes into a header of our own; no options, no fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// What follows.
    pub protocol: Protocol,
    /// Time to live.
    pub ttl: u8,
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub ident: u16,
    /// Whether routers must not fragment the packet.
    pub dont_fragment: bool,
    /// Bytes that follow the header.
    pub payload_len: u16,
}

/// Writes a header with its checksum, [`HEADER_LEN`] bytes.
///
/// # Panics
/// If the buffer is shorter than that, or header and payload together pass 65,535 bytes.
pub fn emit_header(buf: &mut [u8], spec: &Header) {
    let header: &mut [u8; HEADER_LEN] =
        buf.first_chunk_mut().expect("a buffer at least as long as a header");
    let total_len = u16::try_from(HEADER_LEN + usize::from(spec.payload_len))
        .expect("a packet of at most 65,535 bytes");
    header[field::VERSION_IHL] = 0x45;
    header[field::TOS] = spec.tos;
    put16(header, field::TOTAL_LEN, total_len);
    put16(header, field::IDENT, spec.ident);
    put16(header, field::FRAGMENT, if spec.dont_fragment { DONT_FRAGMENT } else { 0 });
    header[field::TTL] = spec.ttl;
    header[field::PROTOCOL] = spec.protocol.0;
    put16(header, field::CHECKSUM, 0);
    header[field::SRC..field::DST].copy_from_slice(&spec.src.octets());
    header[field::DST..].copy_from_slice(&spec.dst.octets());
    let sum = checksum::of(header);
    put16(header, field::CHECKSUM, sum);
}

#[inline]
fn put16(header: &mut [u8; HEADER_LEN], at: usize, value: u16) {
    header[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(ttl: u8, ident: u16) -> [u8; HEADER_LEN] {
        let mut buf = [0xaa; HEADER_LEN];
        let spec = Header {
            src: Ipv4Addr::new(192, 0, 2, 7),
            dst: Ipv4Addr::new(10, 0, 0, 1),
            protocol: Protocol::TCP,
            ttl,
            tos: 0x10,
            ident,
            dont_fragment: true,
            payload_len: 20,
        };
        emit_header(&mut buf, &spec);
        buf
    }

    #[test]
    fn etherparse_reads_the_header_as_meant() {
        let bytes = header(64, 0x1234);
        let (read, rest) = etherparse::Ipv4Header::from_slice(&bytes).unwrap();
        assert!(rest.is_empty());
        assert_eq!(read.header_checksum, read.calc_header_checksum());
        assert_eq!((read.time_to_live, read.identification, read.total_len), (64, 0x1234, 40));
        assert_eq!((read.dont_fragment, read.more_fragments), (true, false));
        assert_eq!((read.source, read.destination), ([192, 0, 2, 7], [10, 0, 0, 1]));
    }

    #[test]
    fn a_ttl_of_zero_stays_zero() {
        let mut bytes = header(0, 1);
        let before = bytes;
        assert_eq!(decrement_ttl(&mut bytes), 0);
        assert_eq!(bytes, before);
    }

    proptest! {
        #[test]
        fn the_checksum_stays_right_when_the_ttl_goes_down(ttl in 1u8.., ident in any::<u16>()) {
            let mut bytes = header(ttl, ident);
            prop_assert_eq!(decrement_ttl(&mut bytes), ttl - 1);
            prop_assert_eq!(bytes, header(ttl - 1, ident));
        }
    }
}
