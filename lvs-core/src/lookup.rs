//! A small map of fixed capacity from three words to an index, for tables that change by command and
//! are read by packets: services, local addresses, neighbours.

use alloc::boxed::Box;
use alloc::vec;

/// The words a table is looked up by.
pub(crate) type Words = [u64; 3];

const NONE: u32 = u32::MAX;

/// Open addressing, at most half full, keyed hash; deletion moves later entries back, so that there are
/// no tombstones.
pub(crate) struct Lookup {
    slots: Box<[(Words, u32)]>,
    mask: usize,
    seed: [u64; 2],
    len: usize,
    capacity: usize,
}

impl core::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Lookup({} of {})", self.len, self.capacity)
    }
}

impl Lookup {
    pub(crate) fn new(capacity: u32, seed: [u64; 2]) -> Lookup {
        let slots = (capacity as usize * 2).next_power_of_two();
        Lookup {
            slots: vec![([0; 3], NONE); slots].into_boxed_slice(),
            mask: slots - 1,
            seed,
            len: 0,
            capacity: capacity as usize,
        }
    }

    /// Bytes that a table of this capacity takes.
    pub(crate) fn memory(capacity: u32) -> usize {
        (capacity as usize * 2).next_power_of_two() * size_of::<(Words, u32)>()
    }

    #[inline]
    pub(crate) fn find(&self, words: &Words) -> Option<u32> {
        let mut at = self.home(words);
        loop {
            let (key, value) = &self.slots[at];
            if *value == NONE {
                return None;
            }
            if key == words {
                return Some(*value);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Adds or replaces; `false` if the map is full.
    pub(crate) fn insert(&mut self, words: Words, value: u32) -> bool {
        debug_assert_ne!(value, NONE);
        let mut at = self.home(&words);
        while self.slots[at].1 != NONE {
            if self.slots[at].0 == words {
                self.slots[at].1 = value;
                return true;
            }
            at = (at + 1) & self.mask;
        }
        if self.len == self.capacity {
            return false;
        }
        self.slots[at] = (words, value);
        self.len += 1;
        true
    }

    pub(crate) fn remove(&mut self, words: &Words) -> Option<u32> {
        let mut hole = self.home(words);
        while self.slots[hole].0 != *words || self.slots[hole].1 == NONE {
            if self.slots[hole].1 == NONE {
                return None;
            }
            hole = (hole + 1) & self.mask;
        }
        let value = self.slots[hole].1;
        let mut next = (hole + 1) & self.mask;
        while self.slots[next].1 != NONE {
            let home = self.home(&self.slots[next].0);
            // The entry may move into the hole if its home is not after the hole, going round.
            if (next.wrapping_sub(home) & self.mask) >= (next.wrapping_sub(hole) & self.mask) {
                self.slots[hole] = self.slots[next];
                hole = next;
            }
            next = (next + 1) & self.mask;
        }
        self.slots[hole].1 = NONE;
        self.len -= 1;
        Some(value)
    }

    #[inline]
    fn home(&self, words: &Words) -> usize {
        let first = fold(words[0] ^ self.seed[0], words[1] ^ self.seed[1]);
        fold(first ^ words[2], self.seed[0] | 1) as usize & self.mask
    }
}

/// A keyed hash of words.
pub(crate) fn hash(words: &[u64], seed: [u64; 2]) -> u64 {
    words.iter().fold(seed[1], |hash, word| fold(hash ^ word, seed[0] | 1))
}

/// Multiplies to 128 bits and folds the halves.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_lookup_behaves_as_a_map(
            steps in prop::collection::vec((any::<bool>(), 0u64..40, 0u32..100), 0..200)
        ) {
            let mut lookup = Lookup::new(16, [3, 5]);
            let mut model = BTreeMap::new();
            for (insert, key, value) in steps {
                let words = [key % 7, key, 0];
                if insert {
                    let fits = model.len() < 16 || model.contains_key(&words);
                    prop_assert_eq!(lookup.insert(words, value), fits);
                    if fits {
                        model.insert(words, value);
                    }
                } else {
                    prop_assert_eq!(lookup.remove(&words), model.remove(&words));
                }
                for key in 0..40 {
                    let words = [key % 7, key, 0];
                    prop_assert_eq!(lookup.find(&words), model.get(&words).copied());
                }
            }
        }
    }
}
