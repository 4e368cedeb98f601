//! Where the destination of a service with an address is, without looking at all of them.

use alloc::boxed::Box;
use alloc::vec;
use core::hash::{Hash, Hasher};

use crate::command::ServiceKey;
use crate::flow::Endpoint;

const NONE: u32 = u32::MAX;

/// Chains of places by the hash of service and address; whoever follows one compares for himself.
#[derive(Debug)]
pub(super) struct Places {
    /// The first place of each chain.
    heads: Box<[u32]>,
    /// The place behind each in its chain.
    next: Box<[u32]>,
}

impl Places {
    pub(super) fn new(capacity: u32) -> Places {
        Places {
            heads: vec![NONE; chains(capacity)].into_boxed_slice(),
            next: vec![NONE; capacity as usize].into_boxed_slice(),
        }
    }

    /// Bytes that it takes.
    pub(super) fn memory(capacity: u32) -> usize {
        (chains(capacity) + capacity as usize) * size_of::<u32>()
    }

    /// The places where a destination of this service with this address may be.
    pub(super) fn of(&self, key: &ServiceKey, addr: Endpoint) -> impl Iterator<Item = u32> {
        let mut at = self.heads[self.chain(key, addr)];
        core::iter::from_fn(move || {
            let place = (at != NONE).then_some(at)?;
            at = self.next[place as usize];
            Some(place)
        })
    }

    /// Notes a place that is not noted yet.
    pub(super) fn add(&mut self, key: &ServiceKey, addr: Endpoint, place: u32) {
        let chain = self.chain(key, addr);
        self.next[place as usize] = core::mem::replace(&mut self.heads[chain], place);
    }

    /// Forgets a place that was noted so.
    pub(super) fn remove(&mut self, key: &ServiceKey, addr: Endpoint, place: u32) {
        let chain = self.chain(key, addr);
        let after = core::mem::replace(&mut self.next[place as usize], NONE);
        if self.heads[chain] == place {
            self.heads[chain] = after;
            return;
        }
        let mut at = self.heads[chain];
        while at != NONE {
            let next = &mut self.next[at as usize];
            if *next == place {
                *next = after;
                return;
            }
            at = *next;
        }
    }

    fn chain(&self, key: &ServiceKey, addr: Endpoint) -> usize {
        let mut folded = Folded(0);
        (key, addr).hash(&mut folded);
        (folded.finish() >> 32) as usize & (self.heads.len() - 1)
    }
}

fn chains(capacity: u32) -> usize {
    (capacity as usize).next_power_of_two()
}

/// A hash of what an operator wrote; nobody else chooses it, so it needs no key.
struct Folded(u64);

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // The golden ratio in 64 bits, as in Fibonacci hashing.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Family;
    use crate::ids::FwMark;

    #[test]
    fn a_place_is_found_until_it_is_forgotten() {
        let key = |mark| ServiceKey::Mark { mark: FwMark(mark), family: Family::V4 };
        let addr = |last| Endpoint::new([10, 1, 0, last].into(), 80);
        // Many more than chains, so that chains are long.
        let mut places = Places::new(8);
        places.next = vec![NONE; 256].into_boxed_slice();
        for place in 0..=255 {
            places.add(&key(1 + place % 3), addr(place as u8), place);
        }
        for place in (0..=255).step_by(2) {
            places.remove(&key(1 + place % 3), addr(place as u8), place);
        }
        for place in 0..=255 {
            let found = places.of(&key(1 + place % 3), addr(place as u8)).any(|at| at == place);
            assert_eq!(found, place % 2 == 1, "{place}");
        }
    }
}
