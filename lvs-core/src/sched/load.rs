//! What several schedulers share: load, the least loaded, and the folding of addresses.

use core::net::IpAddr;

use super::Candidates;
use crate::dest::Destination;

/// The load that lc, wlc and their relatives compare (rule S4).
pub(super) fn connections(d: &Destination) -> u64 {
    d.load()
}

/// The load that sed and nq compare: the active connections with the new one (rule S6).
pub(super) fn expected(d: &Destination) -> u64 {
    u64::from(d.active()) + 1
}

/// The eligible destination with the smallest `load` ÷ weight, the first of equals (rule S1). Compared by
/// cross-multiplication, so that nothing is rounded.
pub(super) fn least(candidates: &Candidates<'_>, load: fn(&Destination) -> u64) -> Option<usize> {
    let mut best: Option<(usize, u128, u128)> = None;
    for (position, d) in candidates.iter().filter(|(_, d)| d.is_eligible()) {
        let (d_load, d_weight) = (u128::from(load(d)), u128::from(d.weight()));
        if best.is_none_or(|(_, b_load, b_weight)| b_load * d_weight > d_load * b_weight) {
            best = Some((position, d_load, d_weight));
        }
    }
    best.map(|(position, ..)| position)
}

/// Whether lblc and lblcr leave a destination: it has more active connections than weight, and some other
/// has less than half its weight (rule S13).
pub(super) fn is_outweighed(d: &Destination, candidates: &Candidates<'_>) -> bool {
    let twice = |d: &Destination| u64::from(d.active()) * 2;
    u64::from(d.active()) > u64::from(d.weight())
        && candidates.iter().any(|(_, other)| twice(other) < u64::from(other.weight()))
}

/// An address as the 32-bit number that sh, dh and mh hash: IPv6 is the XOR of its four words (rule S9).
pub(super) fn fold(addr: IpAddr) -> u32 {
    match addr {
        IpAddr::V4(a) => a.to_bits(),
        IpAddr::V6(a) => {
            let bits = a.to_bits();
            (bits >> 96) as u32 ^ (bits >> 64) as u32 ^ (bits >> 32) as u32 ^ bits as u32
        }
    }
}

/// The kernel's multiplicative hash of a number to a bucket of 256 (rule S9).
pub(super) fn bucket_of_256(number: u32) -> usize {
    (number.wrapping_mul(0x61c8_8647) >> 24) as usize
}

/// The number of a server's own address. It has as many words as those of its service: of an IPv6 server
/// of an IPv4 service only the first counts (rule S11, `mh-families`).
pub(super) fn fold_server(d: &Destination) -> u32 {
    match d.addr().addr {
        IpAddr::V6(addr) if !d.serves_v6() => (addr.to_bits() >> 96) as u32,
        addr => fold(addr),
    }
}
