//! The index of a table: from a hash to the places that may hold its key.
//!
//! A bucket is one line: seven entries and a count.
//!
//! ```text
//! word 0-6   low half tag, high half place; 0 = free
//! word 7     overflow
//! ```
//!
//! An entry is one word, so that it comes and goes by one store.
//!
//! An entry stands in its home bucket or, if that is full, in the next one on its way with room. Every
//! full bucket that it had to pass counts it in `overflow`; taking it away counts them down again. A search
//! goes on to the next bucket only where `overflow` is not zero. So a removal leaves nothing behind (no
//! tombstones), nothing is ever moved (no rehash), and any hash finds room as long as there is any in the
//! whole index, which is what makes the table's capacity a promise. The idea of counting is F14's (Bronson
//! and Shi, "Open-sourcing F14 for faster, more memory-efficient hash tables", Facebook 2019).
//!
//! Why not two choices and a small overflow area: that bounds an insert strictly, but then either some keys
//! are refused before the table is full or the area needs a chain of its own; and a key that is not there
//! costs two lines, while here it costs one. Measured with 100,000 connections in a full table (test
//! `a_full_table_probes_few_buckets`), lines read to learn that a key is not there:
//!
//! ```text
//!                                        one entry each      two entries each (all NAT)
//! C/3 lines, the next bucket is behind                        47 % overflow, runs of 66
//! C/3 lines, eight strides               1.01, at worst 3     1.90, at worst 30
//! 2C/5 lines, eight strides              1.00, at worst 3     1.22, at worst 10
//! ```
//!
//! so the last it is; four bytes a connection more cost no time.

use super::record::Line;
use crate::prefetch::prefetch;

/// Entries of a bucket.
const LANES: usize = 7;
/// The word with the overflow count.
const OVERFLOW: usize = LANES;

/// How an index of so many buckets is walked. It has no memory of its own: the lines are handed in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Index {
    buckets: u32,
}

impl Index {
    /// The lines for so many keys, each with a second entry: at most five of seven lanes get used.
    pub(crate) const fn lines_needed(keys: u32) -> u32 {
        // Odd, so that any power of two is a stride that visits every bucket.
        ((2 * keys as u64).div_ceil(5) | 1) as u32
    }

    /// An index of so many lines, an odd number.
    pub(crate) const fn new(buckets: u32) -> Index {
        debug_assert!(buckets % 2 == 1);
        Index { buckets }
    }

    /// Asks for the home bucket's line.
    #[inline]
    pub(crate) fn prefetch(&self, lines: &[Line], hash: u64) {
        prefetch(&lines[self.home(hash)]);
    }

    /// A place whose tag is that of `hash`: of several, which agree in 31 bits that the choice of the bucket
    /// did not look at, any.
    #[inline]
    pub(crate) fn candidate(&self, lines: &[Line], hash: u64) -> Option<u32> {
        let bucket = &lines[self.home(hash)];
        let tag = tag(hash);
        // Conditional moves, no branches: which lane it is cannot be predicted, and a search that is
        // for a single entry needs no mask of lanes.
        let mut found = 0;
        for &entry in &bucket.0[..LANES] {
            found = if entry as u32 == tag { entry } else { found };
        }
        if found != 0 {
            return Some((found >> 32) as u32);
        }
        if bucket.0[OVERFLOW] == 0 { None } else { self.search(lines, hash, |_| true) }
    }

    /// The first place whose tag is that of `hash` and that `matches` accepts.
    pub(crate) fn search(
        &self,
        lines: &[Line],
        hash: u64,
        mut matches: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let tag = tag(hash);
        let mut at = self.home(hash);
        for _ in 0..self.buckets {
            let bucket = &lines[at];
            let mut hits = hits(bucket, tag);
            while hits != 0 {
                let place = place(bucket, hits);
                if matches(place) {
                    return Some(place);
                }
                hits &= hits - 1;
            }
            if bucket.0[OVERFLOW] == 0 {
                return None;
            }
            at = self.next(at, hash);
        }
        None
    }

    /// Adds an entry. There must be a free lane somewhere.
    pub(crate) fn insert(&self, lines: &mut [Line], hash: u64, place: u32) {
        let mut at = self.home(hash);
        for _ in 0..self.buckets {
            let bucket = &mut lines[at];
            let free = hits(bucket, 0);
            if free != 0 {
                bucket.0[free.trailing_zeros() as usize] =
                    u64::from(tag(hash)) | u64::from(place) << 32;
                return;
            }
            bucket.0[OVERFLOW] += 1;
            at = self.next(at, hash);
        }
        debug_assert!(false, "an index has more lanes than its table has keys");
    }

    /// Takes an entry away; whether it was there.
    pub(crate) fn remove(&self, lines: &mut [Line], hash: u64, place: u32) -> bool {
        let entry = u64::from(tag(hash)) | u64::from(place) << 32;
        let mut at = self.home(hash);
        for passed in 0..self.buckets {
            let bucket = &mut lines[at];
            if let Some(word) = bucket.0[..LANES].iter_mut().find(|word| **word == entry) {
                *word = 0;
                self.count_down(lines, hash, passed);
                return true;
            }
            if bucket.0[OVERFLOW] == 0 {
                return false;
            }
            at = self.next(at, hash);
        }
        false
    }

    /// Undoes what an entry that passed so many buckets had counted.
    fn count_down(&self, lines: &mut [Line], hash: u64, passed: u32) {
        let mut at = self.home(hash);
        for _ in 0..passed {
            let bucket = &mut lines[at];
            bucket.0[OVERFLOW] -= 1;
            at = self.next(at, hash);
        }
    }

    /// The bucket in which a search begins: the high half of the hash, scaled. (A table of any size, not
    /// only of powers of two, and no division.)
    #[inline]
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * u64::from(self.buckets)) >> 32) as usize
    }

    /// The bucket to go on with. The stride is one of eight, chosen by the hash, so that full buckets do not
    /// grow into long runs, and none is so long that the walk leaves the page often.
    #[inline]
    fn next(&self, bucket: usize, hash: u64) -> usize {
        (bucket + (1 << (hash & 7))) % self.buckets as usize
    }

    /// The lines that a search reads for a hash that is not there.
    #[cfg(test)]
    pub(crate) fn lines_read(&self, lines: &[Line], hash: u64) -> usize {
        let walk = core::iter::successors(Some(self.home(hash)), |&at| Some(self.next(at, hash)));
        1 + walk.take_while(|&at| lines[at].0[OVERFLOW] != 0).count()
    }
}

/// The low half of the hash, which the choice of the bucket leaves unused; made odd, because 0 marks a
/// free lane.
#[inline]
fn tag(hash: u64) -> u32 {
    hash as u32 | 1
}

/// One bit for each lane with this tag. (Written so that the compiler compares several at once.)
#[inline]
fn hits(bucket: &Line, tag: u32) -> u32 {
    let mut hits = 0;
    for lane in 0..=LANES {
        hits |= u32::from(bucket.0[lane] as u32 == tag) << lane;
    }
    hits & ((1 << LANES) - 1)
}

/// The place of the first lane hit.
#[inline]
fn place(bucket: &Line, hits: u32) -> u32 {
    (bucket.0[hits.trailing_zeros() as usize % 8] >> 32) as u32
}
