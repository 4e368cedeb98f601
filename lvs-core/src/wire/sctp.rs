//! SCTP (RFC 9260): the common header, what a director sees of the chunks, and the CRC-32c.
//!
//! ```
//! use lvs_core::wire::sctp::{Chunk, Chunks};
//! let mut segment = [0; 32]; // ports, tag and checksum, then an INIT chunk of 20 bytes
//! (segment[12], segment[15]) = (1, 20);
//! assert_eq!(Chunks::parse(&segment).first(), Some(Chunk::Init));
//! ```

use crate::wire::chunk;

/// Bytes of the common header.
pub const HEADER_LEN: usize = 12;

/// Offsets of the fields.
pub mod field {
    /// Source port.
    pub const SRC_PORT: usize = 0;
    /// Destination port.
    pub const DST_PORT: usize = 2;
    /// CRC-32c over the whole packet.
    pub const CHECKSUM: usize = 8;
}

/// What a chunk says to the state of an association. Types that say nothing of their own (SACK,
/// heartbeats, unknown ones) count as data, as in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Chunk {
    /// DATA, and every type that is none of the others.
    Data,
    /// INIT.
    Init,
    /// INIT ACK.
    InitAck,
    /// COOKIE ECHO.
    CookieEcho,
    /// COOKIE ACK.
    CookieAck,
    /// SHUTDOWN.
    Shutdown,
    /// SHUTDOWN ACK.
    ShutdownAck,
    /// SHUTDOWN COMPLETE.
    ShutdownComplete,
    /// ERROR.
    Error,
    /// ABORT.
    Abort,
}

impl Chunk {
    /// The chunk with this type (RFC 9260 §3.2).
    pub const fn of(kind: u8) -> Chunk {
        match kind {
            1 => Chunk::Init,
            2 => Chunk::InitAck,
            6 => Chunk::Abort,
            7 => Chunk::Shutdown,
            8 => Chunk::ShutdownAck,
            9 => Chunk::Error,
            10 => Chunk::CookieEcho,
            11 => Chunk::CookieAck,
            14 => Chunk::ShutdownComplete,
            _ => Chunk::Data,
        }
    }
}

/// The chunks of a packet, as far as a director looks at them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Chunks {
    first: Option<Chunk>,
    aborted: bool,
}

impl Chunks {
    /// Of a packet that opens an association.
    pub const INIT: Chunks = Chunks { first: Some(Chunk::Init), aborted: false };

    /// Reads them; `segment` begins with the common header and ends with the packet.
    #[inline]
    pub fn parse(segment: &[u8]) -> Chunks {
        let Some(&[kind, _, high, low]) = chunk::<4>(segment, HEADER_LEN) else {
            return Chunks::default();
        };
        let first = Chunk::of(kind);
        let len = usize::from(u16::from_be_bytes([high, low]));
        let may_bundle = matches!(first, Chunk::CookieEcho | Chunk::CookieAck);
        let aborted = may_bundle && len >= 4 && {
            let next = HEADER_LEN + len.next_multiple_of(4);
            chunk::<4>(segment, next).is_some_and(|next| Chunk::of(next[0]) == Chunk::Abort)
        };
        Chunks { first: Some(first), aborted }
    }

    /// The first chunk; `None` if the packet ends before it.
    pub const fn first(self) -> Option<Chunk> {
        self.first
    }

    /// The chunk that moves the state: the first one, or an ABORT right behind a COOKIE ECHO or
    /// COOKIE ACK.
    pub const fn telling(self) -> Option<Chunk> {
        if self.aborted { Some(Chunk::Abort) } else { self.first }
    }
}

/// The CRC-32c (RFC 9260 §6.8, polynomial 0x1EDC6F41 reflected) of a packet whose checksum field counts as
/// zero, in the byte order of the wire. `segment` begins with the common header and ends with the packet.
pub fn checksum(segment: &[u8]) -> [u8; 4] {
    let (head, rest) = segment.split_at(segment.len().min(field::CHECKSUM));
    let rest = rest.get(4..).unwrap_or_default();
    let crc = update(update(update(u32::MAX, head), &[0; 4]), rest);
    (!crc).to_le_bytes()
}

/// Writes the right checksum into a packet that has a whole common header.
pub fn set_checksum(segment: &mut [u8]) {
    let sum = checksum(segment);
    if let Some(field) = segment.get_mut(field::CHECKSUM..field::CHECKSUM + 4) {
        field.copy_from_slice(&sum);
    }
}

/// Goes on with a CRC over more bytes, eight at a time.
fn update(mut crc: u32, bytes: &[u8]) -> u32 {
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let [a, b, c, d, e, f, g, h] = *word;
        let low = crc ^ u32::from_le_bytes([a, b, c, d]);
        let [a, b, c, d] = low.to_le_bytes();
        crc = TABLES[7][usize::from(a)]
            ^ TABLES[6][usize::from(b)]
            ^ TABLES[5][usize::from(c)]
            ^ TABLES[4][usize::from(d)]
            ^ TABLES[3][usize::from(e)]
            ^ TABLES[2][usize::from(f)]
            ^ TABLES[1][usize::from(g)]
            ^ TABLES[0][usize::from(h)];
    }
    tail.iter().fold(crc, |crc, byte| crc >> 8 ^ TABLES[0][usize::from(crc as u8 ^ byte)])
}

/// The CRC of each byte, followed by 0 to 7 zero bytes.
static TABLES: [[u32; 256]; 8] = {
    /// 0x1EDC6F41, the lowest bit first.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc: u32 = tables[behind - 1][byte];
            tables[behind][byte] = crc >> 8 ^ tables[0][(crc & 0xff) as usize];
            byte += 1;
        }
        behind += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(chunks: &[u8]) -> alloc::vec::Vec<u8> {
        [&[0x0f, 0xa0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0], chunks].concat()
    }

    #[test]
    fn the_checksum_of_nine_digits_is_that_of_the_literature() {
        // The check value of CRC-32C (RFC 3720 appendix B.4 has others of the same polynomial).
        assert_eq!(!update(u32::MAX, b"123456789"), 0xe306_9283);
        assert_eq!(!update(u32::MAX, &[0; 32]), 0x8a91_36aa);
        assert_eq!(!update(u32::MAX, &[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn the_checksum_does_not_depend_on_what_stands_in_its_field() {
        let mut packet = packet(&[1, 0, 0, 4, 7, 7, 7]);
        let right = checksum(&packet);
        packet[8..12].copy_from_slice(&[9; 4]);
        set_checksum(&mut packet);
        assert_eq!(packet[8..12], right);
        assert_eq!(checksum(&packet), right);
        assert_eq!(checksum(&[]), checksum(&[]), "a cut packet is no panic");
    }

    #[test]
    fn an_abort_behind_a_cookie_tells_but_not_behind_data() {
        let abort = [6, 0, 0, 4];
        let with = |kind: u8, len: u8| {
            let mut chunks = alloc::vec![kind, 0, 0, len];
            chunks.resize(usize::from(len).next_multiple_of(4).max(4), 0);
            Chunks::parse(&packet(&[&chunks[..], &abort].concat()))
        };
        assert_eq!(with(10, 6).first(), Some(Chunk::CookieEcho));
        assert_eq!(with(10, 6).telling(), Some(Chunk::Abort));
        assert_eq!(with(11, 4).telling(), Some(Chunk::Abort));
        assert_eq!(with(10, 3).telling(), Some(Chunk::CookieEcho), "no length to go by");
        assert_eq!(with(0, 8).telling(), Some(Chunk::Data));
        assert_eq!(Chunks::parse(&packet(&[1, 0, 0])).first(), None);
        assert_eq!(Chunks::parse(&packet(&[200, 0, 0, 4])).telling(), Some(Chunk::Data));
    }
}
