//! The Internet checksum: summing (RFC 1071), updating in place (RFC 1624), pseudo-headers (RFC 9293
//! §3.1, RFC 8200 §8.1).
//!
//! ```
//! use lvs_core::wire::checksum;
//!
//! let mut header = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 9, 10, 0, 0, 80];
//! let sum = checksum::of(&header);
//! header[10..12].copy_from_slice(&sum.to_be_bytes());
//! assert_eq!(checksum::of(&header), 0, "the sum over all of it");
//! // A TTL less: updated without summing anew.
//! let updated = checksum::update16(sum, 0x4006, 0x3f06);
//! header[8] = 63;
//! header[10..12].copy_from_slice(&updated.to_be_bytes());
//! assert_eq!(checksum::of(&header), 0);
//! ```

use core::net::IpAddr;

use crate::flow::Protocol;

/// A one's complement sum on its way.
///
/// Bytes are added as numbers of the machine's own byte order, which RFC 1071 §2 (B) shows to be
/// sound, and the order is put right once at the end.
///
/// ```
/// use lvs_core::wire::checksum::Sum;
/// // The example of RFC 1071 §3.
/// let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
/// assert_eq!(Sum::ZERO.bytes(&bytes).fold(), 0xddf2);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Sum = Sum(0);

    /// The sum of a TCP, UDP or ICMPv6 pseudo-header. `len` is that of transport header and payload, in
    /// bytes. Both addresses must be of one family.
    #[inline]
    pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: Protocol, len: u32) -> Sum {
        Sum::ZERO.addr(src).addr(dst).word(u16::from(protocol.0)).dword(len)
    }

    /// Adds bytes. All but the last piece added must be of even length.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Sum {
        // 32-bit numbers in a 64-bit sum leave room for 2^32 carries, more than any packet has words;
        // and the compiler turns this loop into vector additions.
        let (dwords, tail) = bytes.as_chunks::<4>();
        let mut sum = self.0;
        for dword in dwords {
            sum += u64::from(u32::from_ne_bytes(*dword));
        }
        let mut last = [0; 4];
        last[..tail.len()].copy_from_slice(tail);
        Sum(sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// Takes bytes away, an even number, that were part of the sum (RFC 1624 §3: their complement is added).
    #[inline]
    #[must_use]
    pub fn less(self, bytes: &[u8]) -> Sum {
        debug_assert!(bytes.len().is_multiple_of(2), "whole words");
        let (words, _) = bytes.as_chunks::<2>();
        Sum(words.iter().fold(self.0, |sum, word| sum + u64::from(!u16::from_ne_bytes(*word))))
    }

    /// Two sums together.
    #[inline]
    #[must_use]
    pub fn and(self, other: Sum) -> Sum {
        Sum(self.0 + other.0)
    }

    /// Adds a 16-bit number.
    #[inline]
    #[must_use]
    pub fn word(self, word: u16) -> Sum {
        Sum(self.0 + u64::from(word.to_be()))
    }

    /// Adds a 32-bit number.
    #[inline]
    #[must_use]
    pub fn dword(self, dword: u32) -> Sum {
        Sum(self.0 + u64::from(dword.to_be()))
    }

    /// Adds an address.
    #[inline]
    #[must_use]
    pub fn addr(self, addr: IpAddr) -> Sum {
        match addr {
            IpAddr::V4(a) => self.bytes(&a.octets()),
            IpAddr::V6(a) => self.bytes(&a.octets()),
        }
    }

    /// The sum as 16 bits, not complemented: what the field of an unfinished checksum holds
    /// ([`Checksum::Partial`](crate::io::Checksum::Partial)).
    #[inline]
    pub fn fold(self) -> u16 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let sum = (sum >> 32) + (sum & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        u16::from_be((sum as u16).wrapping_add((sum >> 16) as u16))
    }

    /// The checksum: the complement of the sum. Over bytes that include a right checksum it is 0.
    #[inline]
    pub fn finish(self) -> u16 {
        !self.fold()
    }
}

/// The checksum of `bytes`; 0 if they include a right one.
#[inline]
pub fn of(bytes: &[u8]) -> u16 {
    Sum::ZERO.bytes(bytes).finish()
}

/// Whether the checksum of an IPv4 header without options is right: [`of`] is 0, in a dozen instructions.
/// The header must not be all zeros, whose sum has two forms.
#[inline(always)]
pub(crate) fn is_right20(header: &[u8; 20]) -> bool {
    // 65535 = 2¹⁶ - 1, so that this is the negated sum of powers of 2¹⁶.
    const INVERSE: u64 = 0x0001_0001_0001_0001u64.wrapping_neg();
    const _: () = assert!(INVERSE.wrapping_mul(0xffff) == 1);
    let (dwords, _) = header.as_chunks::<4>();
    let dword = |i: usize| u64::from(u32::from_ne_bytes(dwords[i]));
    let sum = dword(0) + dword(1) + dword(2) + dword(3) + dword(4);
    // What folds to all ones is a multiple of 0xffff. Exact division is multiplication by the inverse; of
    // other numbers that gives a quotient too large to be one (Warren, "Hacker's Delight", §10-17).
    sum.wrapping_mul(INVERSE) <= u64::MAX / 0xffff
}

/// The checksum of a transport segment with its pseudo-header; 0 if the segment includes a right one.
///
/// A UDP checksum that comes out as 0 is to be sent as 0xffff (RFC 768); that is left to the caller.
pub fn transport(src: IpAddr, dst: IpAddr, protocol: Protocol, segment: &[u8]) -> u16 {
    Sum::pseudo_header(src, dst, protocol, segment.len() as u32).bytes(segment).finish()
}

/// The checksum after a 16-bit word at an even offset changed (RFC 1624 §3, equation 3).
#[inline]
pub fn update16(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let sum = (sum >> 16) + (sum & 0xffff);
    !((sum >> 16) + sum) as u16
}

/// The checksum after bytes changed: `change` is the sum of the new ones, [`less`](Sum::less) the old
/// (RFC 1624 §3, equation 3). A wrong one stays wrong.
#[inline]
pub fn update(checksum: u16, change: Sum) -> u16 {
    change.word(!checksum).finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 §1 word for word, one 16-bit number at a time.
    fn textbook(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_largest_packet_of_ones_does_not_overflow() {
        let bytes = [0xff; 65_535];
        assert_eq!(of(&bytes), textbook(&bytes));
    }

    #[test]
    fn a_sum_with_many_carries_folds_to_sixteen_bits() {
        for sum in [u64::MAX, 0xffff_ffff_ffff_0000, 0x0000_ffff_ffff_ffff, 1 << 63] {
            let mut slow = u128::from(sum);
            while slow > 0xffff {
                slow = (slow >> 16) + (slow & 0xffff);
            }
            assert_eq!(u16::to_be(Sum(sum).fold()), slow as u16, "{sum:x}");
        }
    }

    #[test]
    fn updating_a_checksum_meets_the_corner_case_of_rfc_1624() {
        // RFC 1624 §4: m = 0x5555, m' = 0x3285, HC = 0xdd2f gives 0x0000, not 0xffff.
        assert_eq!(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    proptest! {
        #[test]
        fn the_fast_sum_agrees_with_the_textbook(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(of(&bytes), textbook(&bytes));
        }

        #[test]
        fn the_check_of_a_plain_header_agrees_with_the_textbook(
            words in any::<[u32; 5]>(), ones in any::<[bool; 5]>(), right in any::<bool>(),
        ) {
            let mut header = [0; 20];
            for (i, chunk) in header.chunks_mut(4).enumerate() {
                chunk.copy_from_slice(&if ones[i] { u32::MAX } else { words[i] }.to_ne_bytes());
            }
            header[0] = 0x45;
            if right {
                header[10..12].fill(0);
                let sum = textbook(&header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            prop_assert_eq!(is_right20(&header), textbook(&header) == 0);
        }

        #[test]
        fn a_sum_taken_in_even_pieces_is_the_sum_of_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cut in 0usize..100,
        ) {
            let cut = (cut * 2).min(bytes.len() & !1);
            let (a, b) = bytes.split_at(cut);
            prop_assert_eq!(Sum::ZERO.bytes(a).bytes(b).finish(), of(&bytes));
        }

        #[test]
        fn an_updated_checksum_is_the_checksum_of_the_updated_bytes(
            mut bytes in prop::collection::vec(any::<u8>(), 8..100),
            at in 0usize..40,
            new in any::<u16>(),
        ) {
            // A checksum of bytes that are all zero has two forms; no header is all zero.
            bytes[0] = 0x45;
            let at = 2 + (at * 2) % (bytes.len() / 2 * 2 - 4).max(2);
            prop_assume!(at + 2 <= bytes.len());
            let before = of(&bytes);
            let old = u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap());
            bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(update16(before, old, new), of(&bytes));
        }

        #[test]
        fn a_checksum_updated_by_a_change_is_that_of_the_changed_bytes(
            mut bytes in prop::collection::vec(any::<u8>(), 60..100),
            new in prop::collection::vec(any::<u8>(), 0..20), at in 0usize..20,
        ) {
            bytes[0] = 0x45;
            let before = of(&bytes);
            let (at, new) = (2 + at * 2, &new[..new.len() & !1]);
            let place = at..at + new.len();
            let change = Sum::ZERO.less(&bytes[place.clone()]).bytes(new);
            bytes[place].copy_from_slice(new);
            prop_assert_eq!(update(before, change), of(&bytes));
        }

        #[test]
        fn a_segment_with_its_checksum_in_place_sums_to_zero(
            src in any::<u32>(), dst in any::<u32>(),
            mut segment in prop::collection::vec(any::<u8>(), 18..200),
        ) {
            let (src, dst) = (IpAddr::V4(src.into()), IpAddr::V4(dst.into()));
            segment[16..18].fill(0);
            let sum = transport(src, dst, Protocol::TCP, &segment);
            segment[16..18].copy_from_slice(&sum.to_be_bytes());
            prop_assert_eq!(transport(src, dst, Protocol::TCP, &segment), 0);
        }
    }
}
