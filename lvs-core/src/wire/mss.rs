//! The maximum segment size, an option of TCP's SYN (RFC 9293 §3.7.1).

use super::tcp::{HEADER_LEN, field};
use super::{checksum, tcp};

/// The end of the list of options (RFC 9293 §3.1).
const END: u8 = 0;
/// An option that is a single byte of padding.
const NOTHING: u8 = 1;
/// The option itself, and its length.
const KIND: u8 = 2;
const LEN: usize = 4;

/// Lowers the maximum segment size in a SYN to `max` and returns what it was; `None` if the segment says
/// none, or one that is not larger. Nothing else changes but the checksum, which is updated if it is
/// `finished`; an unfinished one, of the pseudo-header alone, stays right as it is.
///
/// `segment` begins with the TCP header. Options that do not keep within the header end the search.
///
/// ```
/// use lvs_core::wire::mss;
///
/// let mut syn = [0; 24];
/// syn[12] = 6 << 4;
/// syn[20..].copy_from_slice(&[2, 4, 0x05, 0xb4]);
/// assert_eq!(mss::lower(&mut syn, 1360, false), Some(1460));
/// assert_eq!(syn[22..], 1360u16.to_be_bytes());
/// assert_eq!(mss::lower(&mut syn, 1400, false), None);
/// ```
pub fn lower(segment: &mut [u8], max: u16, finished: bool) -> Option<u16> {
    let header_len = usize::from(*segment.get(field::DATA_OFFSET)? >> 4) * 4;
    let header = segment.get_mut(..header_len)?;
    let mut at = HEADER_LEN;
    loop {
        match *header.get(at)? {
            END => return None,
            NOTHING => at += 1,
            KIND => break,
            _ => {
                let len = usize::from(*header.get(at + 1)?);
                // A length below its own two bytes would never end.
                at += if len < 2 { return None } else { len };
            }
        }
    }
    let option: &mut [u8; LEN] = header.get_mut(at..)?.first_chunk_mut()?;
    let old = u16::from_be_bytes([option[2], option[3]]);
    if usize::from(option[1]) != LEN || old <= max {
        return None;
    }
    option[2..].copy_from_slice(&max.to_be_bytes());
    if finished {
        // The checksum's words begin at even offsets; at an odd one the halves are swapped.
        let (old, new) = match at % 2 {
            0 => (old, max),
            _ => (old.swap_bytes(), max.swap_bytes()),
        };
        let place = tcp::field::CHECKSUM;
        let sum = u16::from_be_bytes([header[place], header[place + 1]]);
        let sum = checksum::update16(sum, old, new);
        header[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    }
    Some(old)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::flow::Protocol;

    const ENDS: [IpAddr; 2] = [
        IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 7)),
        IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 1)),
    ];

    /// A SYN with these options, padded, and a right checksum.
    fn syn(options: &[u8]) -> Vec<u8> {
        let mut segment = [&[0; HEADER_LEN][..], options].concat();
        segment.resize(segment.len().next_multiple_of(4), 0);
        segment[field::DATA_OFFSET] = ((segment.len() / 4) << 4) as u8;
        segment[field::FLAGS] = 2;
        let sum = checksum::transport(ENDS[0], ENDS[1], Protocol::TCP, &segment);
        segment[field::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
        segment
    }

    fn is_right(segment: &[u8]) -> bool {
        checksum::transport(ENDS[0], ENDS[1], Protocol::TCP, segment) == 0
    }

    #[test]
    fn the_option_is_lowered_wherever_it_stands_and_the_checksum_stays_right() {
        for padding in 0..6 {
            let options = [&[1; 5][..padding], &[3, 3, 7, 2, 4, 0x05, 0xb4, 4, 2]].concat();
            let mut segment = syn(&options);
            assert_eq!(lower(&mut segment, 1360, true), Some(1460));
            assert_eq!(segment[25 + padding..27 + padding], 1360u16.to_be_bytes());
            assert!(is_right(&segment), "{padding} bytes of padding");
        }
    }

    #[test]
    fn a_segment_without_the_option_or_with_a_smaller_one_stays_as_it_is() {
        for options in [
            &[][..],
            &[1, 1, 1, 1],
            &[0, 2, 4, 0x05, 0xb4],
            &[2, 4, 0x05, 0x50],
            &[2, 3, 0x05],
            &[3, 0, 2, 4, 0x05, 0xb4],
            &[3, 40, 2, 4, 0x05, 0xb4],
            &[1, 1, 1, 2],
        ] {
            let mut segment = syn(options);
            let before = segment.clone();
            assert_eq!(lower(&mut segment, 1360, true), None, "{options:?}");
            assert_eq!(segment, before);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_options_are_the_checksum_stays_right_and_only_one_place_changes(
            options in proptest::collection::vec(any::<u8>(), 0..40),
            max in 88u16..,
        ) {
            let mut segment = syn(&options);
            let before = segment.clone();
            let lowered = lower(&mut segment, max, true);
            prop_assert!(is_right(&segment));
            let changed = segment.iter().zip(&before).skip(HEADER_LEN).filter(|(a, b)| a != b);
            let most = if lowered.is_some() { 2 } else { 0 };
            prop_assert!(changed.count() <= most);
        }

        #[test]
        fn any_bytes_are_welcome(mut segment in proptest::collection::vec(any::<u8>(), 0..80)) {
            lower(&mut segment, 100, true);
        }
    }
}
