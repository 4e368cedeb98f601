//! The keyed hash of a flow key.

use crate::flow::FlowKey;

/// A hash that only who knows the seed can aim at.
///
/// A client picks its port, and with IPv6 most of its address. Against a fixed hash it could pile its
/// connections up in one bucket, so every word is mixed with secret words before it is multiplied.
/// Multiply-and-fold (the high half of the product xored on the low half) costs about a nanosecond where
/// SipHash costs five, and leaves room to overlap the hashes of a burst.
#[derive(Clone, Copy)]
pub(crate) struct FlowHash([u64; 6]);

impl FlowHash {
    /// Spreads the seed over the words that the fold needs.
    pub(crate) const fn new(seed: [u64; 2]) -> FlowHash {
        FlowHash([
            mix(seed[0]),
            mix(seed[1]),
            mix(seed[0].wrapping_add(GOLDEN)),
            // A multiplier: never zero, and odd so that no bit of the other factor is lost.
            mix(seed[1].wrapping_add(GOLDEN)) | 1,
            mix(seed[0].wrapping_add(GOLDEN.wrapping_mul(2))),
            mix(seed[1].wrapping_add(GOLDEN.wrapping_mul(2))),
        ])
    }

    /// A hash that is the same for all keys: the multiplier is zero.
    #[cfg(test)]
    pub(crate) const fn constant() -> FlowHash {
        FlowHash([0; 6])
    }

    /// The hash of a key; all 64 bits are good.
    #[inline]
    pub(crate) fn of(&self, key: &FlowKey) -> u64 {
        let [c0, c1, v0, v1, tail] = key.0;
        let [k0, k1, k2, k3, k4, k5] = self.0;
        if tail >> 40 & 1 == 0 {
            // Both IPv4 addresses fit one word.
            let addrs = c0 | v0 << 32;
            fold(fold(addrs ^ k0, tail ^ k1) ^ k2, k3)
        } else {
            let client = fold(c0 ^ k0, c1 ^ k1);
            let virt = fold(v0 ^ k4, v1 ^ k5);
            // The halves are rotated apart so that equal ends do not cancel out.
            fold(fold(client ^ tail, virt.rotate_left(32) ^ k1) ^ k2, k3)
        }
    }

    /// A hash with bytes mixed in, as secretly as the words of a key.
    pub(crate) fn with(&self, hash: u64, bytes: &[u8]) -> u64 {
        let [_, _, _, k3, k4, k5] = self.0;
        let start = fold(hash ^ k4, bytes.len() as u64 ^ k5);
        bytes.chunks(8).fold(start, |hash, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            fold(hash ^ k5, u64::from_le_bytes(word) ^ k4) ^ fold(hash ^ k4, k3)
        })
    }
}

/// The 128-bit product, folded.
#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
/// OOPSLA 2014), so that a poor seed still gives words with all bits in play.
const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(GOLDEN);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// 2⁶⁴ divided by the golden ratio, SplitMix64's step.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Endpoint, Protocol};
    use std::collections::BTreeSet;
    use std::vec;
    use std::vec::Vec;

    fn keys() -> Vec<FlowKey> {
        let mut keys = vec![];
        for (net, vip) in [("10.0.0.", "10.9.9.9"), ("2001:db8::", "2001:db8::9:9")] {
            for host in 1..200 {
                for port in 0..100 {
                    let client = std::format!("{net}{host}").parse().unwrap();
                    keys.push(FlowKey::new(
                        Protocol::TCP,
                        Endpoint::new(client, 1024 + port),
                        Endpoint::new(vip.parse().unwrap(), 80),
                    ));
                }
            }
        }
        keys
    }

    #[test]
    fn neighbouring_keys_spread_over_both_halves_of_the_hash() {
        let hash = FlowHash::new([0, 0]);
        let keys = keys();
        let hashes: Vec<u64> = keys.iter().map(|k| hash.of(k)).collect();
        assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), keys.len());
        for half in [0, 32] {
            let mut buckets = [0u32; 256];
            for h in &hashes {
                buckets[(h >> half & 255) as usize] += 1;
            }
            // 39,800 keys in 256 buckets: 155 each, standard deviation 12.4.
            assert!(buckets.iter().all(|&n| (95..=215).contains(&n)), "{buckets:?}");
        }
    }

    #[test]
    fn another_seed_gives_other_hashes() {
        let (a, b) = (FlowHash::new([1, 2]), FlowHash::new([1, 3]));
        assert!(keys().iter().all(|k| a.of(k) != b.of(k)));
    }

    #[test]
    fn a_flow_and_its_reverse_hash_apart() {
        let hash = FlowHash::new([5, 6]);
        assert!(keys().iter().all(|k| hash.of(k) != hash.of(&k.reversed())));
    }
}
