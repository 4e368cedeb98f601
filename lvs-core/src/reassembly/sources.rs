//! How many fragments came from whom, so that a packet whose sender has gone on for long is given up.

use alloc::boxed::Box;
use alloc::vec;

use super::Key;
use crate::lookup;

/// Counters; senders share one by hash. A fragment between two of a packet's counts for one of so many
/// packets of others, so that even a flood leaves a packet in time whole.
const COUNTERS: usize = 4096;

/// Fragments from each sender so far, IPv4.
#[derive(Debug)]
pub(super) struct Sources {
    counters: Box<[u32]>,
    seed: [u64; 2],
}

impl Sources {
    /// Bytes that they take.
    pub(super) const MEMORY: usize = COUNTERS * size_of::<u32>();

    pub(super) fn new(seed: [u64; 2]) -> Sources {
        Sources { counters: vec![0; COUNTERS].into_boxed_slice(), seed }
    }

    /// Counts a fragment of the sender of a set and returns its number, which wraps.
    pub(super) fn count(&mut self, key: &Key) -> u32 {
        let place = self.place(key);
        let counter = &mut self.counters[place];
        *counter = counter.wrapping_add(1);
        *counter
    }

    /// The number of the last fragment of a set's sender.
    pub(super) fn last(&self, key: &Key) -> u32 {
        self.counters[self.place(key)]
    }

    fn place(&self, key: &Key) -> usize {
        let [a, b, ..] = *key;
        lookup::hash(&[a, b, 0], self.seed) as usize % COUNTERS
    }
}
