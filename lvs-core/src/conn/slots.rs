//! Which slots hold a connection: a bit each, and words over words to find a free one.
//!
//! ```text
//! level 0    bit s: slot s holds a connection
//! level n    bit w: word w of level n - 1 has no free slot below it
//! ```
//!
//! The lowest free slot is taken, not the one freed last. So connections stay together in the first
//! records of the table, and after a wave of them the records come one behind the other in memory, where a
//! list of free slots leads through it in the order in which the wave ended, one cache miss after another:
//! inserting into a million records freed at random took 300 ns with a list, and takes a third of
//! it so.

use super::record::Line;

/// Levels that the largest table needs: 64⁵ slots.
const LEVELS: usize = 5;

/// How many inserts ahead a record is asked for, so that it is there in time.
const AHEAD: u32 = 4;

/// The shape of the bits of a table; the words are handed in, as lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    /// The bits of each level, as far as there are levels; each has one for 64 of the level below.
    bits: [u32; LEVELS],
    /// The word at which each level begins.
    start: [u32; LEVELS],
    top: usize,
    /// The first word of level 0 that may have a free slot: where the next one is looked for, mostly
    /// with success. It is found anew by itself and no part of the region.
    lowest: u32,
}

impl Slots {
    pub(super) const fn new(capacity: u32) -> Slots {
        let mut slots = Slots { bits: [0; LEVELS], start: [0; LEVELS], top: 0, lowest: 0 };
        slots.bits[0] = capacity;
        while slots.bits[slots.top] > 64 {
            let words = slots.bits[slots.top].div_ceil(64);
            slots.start[slots.top + 1] = slots.start[slots.top] + words;
            slots.bits[slots.top + 1] = words;
            slots.top += 1;
        }
        slots
    }

    /// How many lines the bits of all levels need.
    pub(super) const fn lines_needed(&self) -> usize {
        (self.start[self.top] as usize + 1).div_ceil(8)
    }

    /// Takes the lowest free slot, and tells which will be the [`AHEAD`]th after it, if that is known at no
    /// cost.
    #[inline]
    pub(super) fn take(&mut self, lines: &mut [Line]) -> Option<(u32, Option<u32>)> {
        let mut free = self.free(lines, 0, self.lowest);
        if free == 0 {
            self.lowest = self.first_with_room(lines)?;
            free = self.free(lines, 0, self.lowest);
        }
        let at = |free: u64| self.lowest * 64 + free.trailing_zeros();
        let rest = (0..AHEAD).fold(free, |rest, _| rest & rest.wrapping_sub(1));
        let (slot, ahead) = (at(free), (rest != 0).then(|| at(rest)));
        self.set(lines, slot);
        Some((slot, ahead))
    }

    /// The first word of level 0 that has a free slot.
    #[inline(never)]
    fn first_with_room(&self, lines: &[Line]) -> Option<u32> {
        let mut word = 0;
        for level in (1..=self.top).rev() {
            let free = self.free(lines, level, word);
            if free == 0 {
                debug_assert!(level == self.top, "a level promised a free slot");
                return None;
            }
            word = word * 64 + free.trailing_zeros();
        }
        (self.free(lines, 0, word) != 0).then_some(word)
    }

    /// Gives a slot back.
    #[inline]
    pub(super) fn give_back(&mut self, lines: &mut [Line], slot: u32) {
        self.lowest = self.lowest.min(slot / 64);
        let mut bit = slot;
        for level in 0..=self.top {
            let full = self.free(lines, level, bit / 64) == 0;
            *self.word_mut(lines, level, bit / 64) &= !(1 << (bit % 64));
            if !full {
                return;
            }
            bit /= 64;
        }
    }

    /// The first slot with a connection at `from` or behind.
    pub(super) fn next(&self, lines: &[Line], from: u32) -> Option<u32> {
        let mut word = from / 64;
        let mut mask = u64::MAX << (from % 64);
        while word < self.bits[0].div_ceil(64) {
            let live = self.word(lines, 0, word) & mask;
            if live != 0 {
                return Some(word * 64 + live.trailing_zeros());
            }
            mask = u64::MAX;
            word += 1;
        }
        None
    }

    /// Marks a slot as taken, and the words above that become full by it.
    #[inline]
    fn set(&self, lines: &mut [Line], slot: u32) {
        let mut bit = slot;
        for level in 0..=self.top {
            *self.word_mut(lines, level, bit / 64) |= 1 << (bit % 64);
            if self.free(lines, level, bit / 64) != 0 {
                return;
            }
            bit /= 64;
        }
    }

    /// The clear bits of a word, without those behind the level's end.
    #[inline]
    fn free(&self, lines: &[Line], level: usize, word: u32) -> u64 {
        let there = self.bits[level] - word * 64;
        let mask = if there < 64 { (1 << there) - 1 } else { u64::MAX };
        !self.word(lines, level, word) & mask
    }

    #[inline]
    fn word(&self, lines: &[Line], level: usize, word: u32) -> u64 {
        let at = (self.start[level] + word) as usize;
        lines[at / 8].0[at % 8]
    }

    #[inline]
    fn word_mut<'a>(&self, lines: &'a mut [Line], level: usize, word: u32) -> &'a mut u64 {
        let at = (self.start[level] + word) as usize;
        &mut lines[at / 8].0[at % 8]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec;

    use proptest::prelude::*;

    use super::super::CAPACITY_MAX;
    use super::*;

    proptest! {
        #[test]
        fn the_lowest_free_slot_is_taken_and_each_live_one_is_walked(
            capacity in prop_oneof![1..200u32, 4000..4200u32, 260_000..265_000u32],
            given_back in prop::collection::vec(any::<u32>(), 0..100),
            from in any::<u32>(),
        ) {
            let mut slots = Slots::new(capacity);
            let mut lines = vec![Line::ZERO; slots.lines_needed()];
            for slot in 0..capacity {
                let ahead = slot + AHEAD;
                let next = (ahead < capacity && slot / 64 == ahead / 64).then_some(ahead);
                prop_assert_eq!(slots.take(&mut lines), Some((slot, next)));
            }
            prop_assert_eq!(slots.take(&mut lines), None);
            let free: BTreeSet<u32> = given_back.iter().map(|slot| slot % capacity).collect();
            for &slot in &free {
                slots.give_back(&mut lines, slot);
            }
            let from = from % capacity;
            let next = (from..capacity).find(|slot| !free.contains(slot));
            prop_assert_eq!(slots.next(&lines, from), next);
            for slot in free {
                prop_assert_eq!(slots.take(&mut lines).map(|(slot, _)| slot), Some(slot));
            }
            prop_assert_eq!(slots.take(&mut lines), None);
        }
    }

    #[test]
    fn the_largest_table_has_levels_enough() {
        let slots = Slots::new(CAPACITY_MAX);
        assert_eq!(slots.top, LEVELS - 1);
        assert_eq!(Slots::new(64).top, 0);
        assert_eq!(Slots::new(65).top, 1);
    }
}
