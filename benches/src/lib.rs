//! What the benchmarks share: a ring of frames, a director to put them through, the loops that it is
//! compared with, and a generator for frames over an interface.
//!
//! Absolute figures differ between machines and between runs; compare lines of one group from one run.
//! `cargo xtask bench` prints them as ratios.

#[cfg(target_os = "linux")]
pub mod flood;
pub mod limit;
pub mod peer;
pub mod ring;
pub mod world;

/// What a director does to the destination and source MAC addresses, and nothing else.
#[inline(always)]
fn rewrite(frame: &mut [u8], mac: &[u8; 6]) {
    frame[0..6].copy_from_slice(mac);
    frame[6..12].copy_from_slice(&ring::DIRECTOR);
}

/// The 13 bytes that tell flows apart, as two words, of an Ethernet/IPv4/TCP frame; `None` for any other.
/// Lengths are checked, checksums are not: this is the least that a director must do.
#[inline(always)]
pub fn bare_key(frame: &[u8]) -> Option<[u64; 2]> {
    if frame.len() < 54 || frame[12] != 8 || frame[13] != 0 {
        return None;
    }
    let ip = &frame[14..];
    let header_len = usize::from(ip[0] & 15) * 4;
    let total_len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff;
    let lengths = header_len >= 20 && total_len >= header_len + 20 && total_len <= ip.len();
    if ip[0] >> 4 != 4 || !lengths || fragment != 0 || ip[9] != 6 {
        return None;
    }
    let tcp = ip.get(header_len..total_len)?;
    if tcp.len() < 20 || tcp[12] >> 4 < 5 {
        return None;
    }
    let addresses = u64::from_le_bytes(*ip[12..].first_chunk()?);
    let ports = u64::from(u32::from_le_bytes(*tcp.first_chunk()?));
    Some([addresses, ports | u64::from(ip[9]) << 32])
}
