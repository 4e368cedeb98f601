//! GUE (the Internet draft `draft-ietf-intarea-gue`): version 0, and version 1, which is no header at all.
//!
//! ```text
//! version 2 bits, control 1, words of options 5 | protocol 1 | flags 2 | options
//! ```
//!
//! Of options there is Linux' remote checksum (`net/gue.h`): the flag of private flags, behind it 4 bytes of
//! those, then where summing begins and where the checksum stands, 2 bytes each.

use lvs_core::addr::Family;
use lvs_core::flow::Protocol;

use super::{Refusal, Wrapped};

const LEN: usize = 4;
const CONTROL: u8 = 0x20;
const WORDS: u8 = 0x1f;
const PRIVATE: u16 = 0x0001;
const REMOTE_CHECKSUM: u32 = 0x8000_0000;

pub(super) fn unwrap(payload: &[u8]) -> Result<Wrapped, Refusal> {
    let first = *payload.first().ok_or(Refusal::Truncated)?;
    // Version 1 is the first two bits of an IP header's own version.
    let direct = |family| Wrapped { len: 0, family, remote_checksum: None, wrong_sum: false };
    match first >> 4 {
        4 => return Ok(direct(Family::V4)),
        6 => return Ok(direct(Family::V6)),
        0..=3 if first & CONTROL == 0 => {}
        _ => return Err(Refusal::GueForm),
    }
    let &[_, protocol, a, b] = payload.first_chunk::<LEN>().ok_or(Refusal::Truncated)?;
    let len = LEN + 4 * usize::from(first & WORDS);
    let options = payload.get(LEN..len).ok_or(Refusal::Truncated)?;
    let family = match Protocol(protocol) {
        Protocol::IPIP => Family::V4,
        Protocol::IPV6 => Family::V6,
        _ => return Err(Refusal::NotIp),
    };
    let remote_checksum = match u16::from_be_bytes([a, b]) {
        0 => None,
        PRIVATE => read_private(options)?,
        _ => return Err(Refusal::GueForm),
    };
    Ok(Wrapped { len, family, remote_checksum, wrong_sum: false })
}

fn read_private(options: &[u8]) -> Result<Option<(u16, u16)>, Refusal> {
    let (flags, rest) = options.split_first_chunk::<4>().ok_or(Refusal::Truncated)?;
    match u32::from_be_bytes(*flags) {
        0 => Ok(None),
        REMOTE_CHECKSUM => {
            let &[a, b, c, d] = rest.first_chunk::<4>().ok_or(Refusal::Truncated)?;
            Ok(Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))))
        }
        _ => Err(Refusal::GueForm),
    }
}
