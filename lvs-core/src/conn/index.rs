//! The index of a table: from a hash to the places that may hold its key.
//!
//! A bucket is one line: seven entries of a 32-bit tag and a 32-bit place, and a count of *overflow*.
//!
//! ```text
//! word 0-3   tags of lanes 0..=6 (two a word, the lower lane in the low half; 0 = free),
//!            the last half: overflow
//! word 4-7   places of lanes 0..=6 likewise, the last half unused
//! ```
//!
//! An entry stands in its home bucket or, if that is full, in the first one behind it with room. Every
//! full bucket that it had to pass counts it in `overflow`; taking it away counts them down again. A search
//! goes on to the next bucket only where `overflow` is not zero. So a removal leaves nothing behind (no
//! tombstones), nothing is ever moved (no rehash), and any hash finds room as long as there is any in the
//! whole index, which is what makes the table's capacity a promise. The idea of counting is F14's (Bronson
//! and Shi, "Open-sourcing F14 for faster, more memory-efficient hash tables", Facebook 2019).
//!
//! Why not two choices and a small overflow area: that bounds an insert strictly, but then either some keys
//! are refused before the table is full or the area needs a chain of its own; and a key that is not there
//! costs two lines, while here it costs one. With two lanes and a third for every entry that a table may
//! want (see [`Index::lines_needed`]) 3 in 100 buckets are full when every connection has one
//! entry, and the longest run of them is short: see the test `a_full_table_probes_few_buckets`.

use super::record::Line;

/// Entries of a bucket.
const LANES: usize = 7;
/// The lane whose tag is the overflow count.
const OVERFLOW: usize = LANES;

/// How an index of so many buckets is walked. It has no memory of its own: the lines are handed in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Index {
    buckets: u32,
}

impl Index {
    /// The lines for so many keys, each with a second entry: at most six of seven lanes get used.
    pub(crate) const fn lines_needed(keys: u32) -> u32 {
        let buckets = keys.div_ceil(3);
        if buckets == 0 { 1 } else { buckets }
    }

    /// An index of `buckets` lines.
    pub(crate) const fn new(buckets: u32) -> Index {
        Index { buckets }
    }

    /// Loads the home bucket's line; the value means nothing.
    #[inline]
    pub(crate) fn touch(&self, lines: &[Line], hash: u64) -> u32 {
        lines[self.home(hash)].0[3] as u32
    }

    /// The first place whose tag is that of `hash`.
    #[inline]
    pub(crate) fn first(&self, lines: &[Line], hash: u64) -> Option<u32> {
        let bucket = &lines[self.home(hash)];
        let hits = hits(bucket, tag(hash));
        if hits != 0 {
            return Some(lane(bucket, 4, hits.trailing_zeros() as usize));
        }
        if overflow(bucket) == 0 { None } else { self.search(lines, hash, |_| true) }
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
                let place = lane(bucket, 4, hits.trailing_zeros() as usize);
                if matches(place) {
                    return Some(place);
                }
                hits &= hits - 1;
            }
            if overflow(bucket) == 0 {
                return None;
            }
            at = self.next(at);
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
                let free = free.trailing_zeros() as usize;
                set_lane(bucket, 0, free, tag(hash));
                set_lane(bucket, 4, free, place);
                return;
            }
            set_lane(bucket, 0, OVERFLOW, overflow(bucket) + 1);
            at = self.next(at);
        }
        debug_assert!(false, "an index has more lanes than its table has keys");
    }

    /// Takes an entry away; whether it was there.
    pub(crate) fn remove(&self, lines: &mut [Line], hash: u64, place: u32) -> bool {
        let tag = tag(hash);
        let home = self.home(hash);
        let mut at = home;
        for passed in 0..self.buckets {
            let mut hits = hits(&lines[at], tag);
            while hits != 0 {
                let hit = hits.trailing_zeros() as usize;
                if lane(&lines[at], 4, hit) == place {
                    set_lane(&mut lines[at], 0, hit, 0);
                    set_lane(&mut lines[at], 4, hit, 0);
                    self.count_down(lines, home, passed);
                    return true;
                }
                hits &= hits - 1;
            }
            if overflow(&lines[at]) == 0 {
                return false;
            }
            at = self.next(at);
        }
        false
    }

    /// Undoes what an entry that passed so many buckets had counted.
    fn count_down(&self, lines: &mut [Line], home: usize, passed: u32) {
        let mut at = home;
        for _ in 0..passed {
            let bucket = &mut lines[at];
            set_lane(bucket, 0, OVERFLOW, overflow(bucket) - 1);
            at = self.next(at);
        }
    }

    /// The bucket in which a search begins: the high half of the hash, scaled. (A table of any size, not
    /// only of powers of two, and no division.)
    #[inline]
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * u64::from(self.buckets)) >> 32) as usize
    }

    #[inline]
    fn next(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets as usize { 0 } else { bucket + 1 }
    }
}

/// The low half of the hash, which the choice of the bucket leaves unused; never 0, which marks a free
/// lane.
#[inline]
fn tag(hash: u64) -> u32 {
    (hash as u32).max(1)
}

/// One bit for each lane with this tag.
#[inline]
fn hits(bucket: &Line, tag: u32) -> u32 {
    let mut hits = 0;
    for lane in 0..LANES {
        let word = bucket.0[lane / 2] >> (32 * (lane % 2));
        hits |= u32::from(word as u32 == tag) << lane;
    }
    hits
}

#[inline]
fn overflow(bucket: &Line) -> u32 {
    lane(bucket, 0, OVERFLOW)
}

/// Half a word: `first` is 0 for tags and 4 for places.
#[inline]
fn lane(bucket: &Line, first: usize, lane: usize) -> u32 {
    (bucket.0[first + lane / 2] >> (32 * (lane % 2))) as u32
}

#[inline]
fn set_lane(bucket: &mut Line, first: usize, lane: usize, value: u32) {
    let shift = 32 * (lane % 2);
    let word = &mut bucket.0[first + lane / 2];
    *word = *word & !(0xffff_ffff << shift) | u64::from(value) << shift;
}
