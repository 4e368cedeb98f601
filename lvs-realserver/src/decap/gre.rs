//! GRE (RFC 2784, with key and sequence number of RFC 2890).
//!
//! ```text
//! flags and version 2 | protocol 2 | checksum 2, reserved 2 ? | key 4 ? | sequence number 4 ?
//! ```

use lvs_core::addr::Family;
use lvs_core::wire::{checksum, ethernet};

use super::{Refusal, Wrapped};

const LEN: usize = 4;
const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const VERSION: u16 = 0x0007;

/// Key and sequence number are stepped over: IPVS writes neither, and neither means anything to it.
pub(super) fn unwrap(payload: &[u8]) -> Result<Wrapped, Refusal> {
    let &[a, b, c, d] = payload.first_chunk::<LEN>().ok_or(Refusal::Truncated)?;
    let flags = u16::from_be_bytes([a, b]);
    if flags & (ROUTING | VERSION) != 0 {
        return Err(Refusal::GreForm);
    }
    let options = [CHECKSUM, KEY, SEQUENCE].iter().filter(|flag| flags & **flag != 0).count();
    let len = LEN + 4 * options;
    if payload.len() < len {
        return Err(Refusal::Truncated);
    }
    let family = match u16::from_be_bytes([c, d]) {
        ethernet::IPV4 => Family::V4,
        ethernet::IPV6 => Family::V6,
        _ => return Err(Refusal::NotIp),
    };
    let wrong_sum = flags & CHECKSUM != 0 && checksum::of(payload) != 0;
    Ok(Wrapped { len, family, remote_checksum: None, wrong_sum })
}
