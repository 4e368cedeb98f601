//! Fragments that wait for the others of their packet, IPv4 (RFC 791 §3.2, RFC 815) and IPv6 (RFC 8200 §4.5).
//!
//! What belongs together is a *set*: a list of *runs*, each a row of fragments that follow one another and
//! came in that order, as the kernel keeps them. A fragment of which a run has every byte is a duplicate and
//! ignored; one that overlaps anything else ends the whole set (RFC 5722), in IPv4 too. A set begins with any
//! fragment and ends 30 s later, in IPv6 60 s, however many come meanwhile (`ipfrag_time`,
//! `nf_conntrack_frag6_timeout`). All memory is fixed when it is made; what finds no room is dropped.

use alloc::boxed::Box;
use alloc::vec;

use crate::addr::Family;
use crate::drop::DropReason;
use crate::ids::PortId;
use crate::lookup;
use crate::store::{Parcel, Parts, Store};
use crate::time::{Duration, Instant};

mod sources;

use sources::Sources;

const NONE: u32 = u32::MAX;

/// How many fragments its sender may have sent between two of a packet's in IPv4 (`ipfrag_max_dist`).
const DISTANCE_MAX: u32 = 64;

/// How long a set waits (`ipfrag_time`, RFC 1122 §3.3.2).
const LIFETIME_V4: Duration = Duration::from_secs(30);
/// How long a set waits in IPv6 (RFC 8200 §4.5).
const LIFETIME_V6: Duration = Duration::from_secs(60);

/// What fragments of one packet have in common, as words: addresses, identification, VLAN, and in IPv4 the
/// protocol.
pub(crate) type Key = [u64; 6];

/// A fragment that came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    pub(crate) family: Family,
    /// The frame from its Ethernet header to the end of its packet.
    pub(crate) frame: &'a [u8],
    /// Where what the fragment carries begins in it.
    pub(crate) payload: usize,
    /// Where that belongs in the whole, in bytes.
    pub(crate) offset: u32,
    pub(crate) more: bool,
    /// Length of the fragment as an IP packet.
    pub(crate) ip_len: u32,
    pub(crate) dont_fragment: bool,
    /// The congestion bits (RFC 3168).
    pub(crate) congestion: u8,
    pub(crate) port: PortId,
}

/// What became of a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Added {
    /// It waits; so many bytes of the packet are there.
    Held(u32),
    /// It was the last one missing.
    Whole(SetIndex),
    /// It is dropped, and nothing else changes.
    Refused(DropReason),
    /// It is dropped, and so many that waited with it.
    GivenUp(DropReason, u32),
}

/// A set's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SetIndex(u32);

/// What is known of a set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) family: Family,
    /// The port that the first fragment came in by.
    pub(crate) port: PortId,
    /// Fragments that are there.
    pub(crate) fragments: u32,
    /// Length of the longest one as an IP packet.
    pub(crate) largest: u32,
    /// Whether one of that length must not be fragmented further.
    pub(crate) dont_fragment: bool,
    /// The congestion bits that occur: bit n for value n.
    pub(crate) congestion: u8,
    pub(crate) parts: Parts,
}

/// A fragment in the store, at the place of its parcel's number.
#[derive(Clone, Copy)]
struct Piece {
    /// The next one of the same run.
    next: u32,
    offset: u32,
    len: u32,
    /// Bytes in the store in front of what it carries.
    skip: u32,
    /// Of the first one of a run: where the run ends, its last piece, and the first of the next run.
    end: u32,
    last: u32,
    next_run: u32,
}

#[derive(Clone, Copy)]
struct Set {
    key: Key,
    family: Family,
    expires: Instant,
    /// The first pieces of the first and the last run.
    first_run: u32,
    last_run: u32,
    fragments: u32,
    /// Bytes that are there, and up to where the packet goes as far as is known.
    held: u32,
    end: u32,
    /// Whether the last fragment was seen, so that `end` is final.
    end_known: bool,
    largest: u32,
    largest_dont_fragment: u32,
    congestion: u8,
    port: PortId,
    /// The number of its last fragment among those of its sender.
    number: u32,
    /// The next set of the same bucket; of a free place, the next free one.
    chain: u32,
    /// Neighbours among the sets of one family, by age.
    older: u32,
    newer: u32,
}

/// Sets of one family from the oldest to the newest, which is how they end.
#[derive(Clone, Copy)]
struct Line {
    oldest: u32,
    newest: u32,
}

/// All sets.
pub(crate) struct Reassembly {
    store: Store,
    pieces: Box<[Piece]>,
    /// Parcels by number, as the store hands them out.
    parcels: Box<[Option<Parcel>]>,
    sets: Box<[Set]>,
    buckets: Box<[u32]>,
    free: u32,
    lines: [Line; 2],
    sources: Sources,
    seed: [u64; 2],
}

/// Where a fragment belongs among the runs.
enum Place {
    /// Behind the last run, going on with it.
    Append,
    /// Behind the last run, with a hole between.
    Behind,
    /// Behind this run (none: in front of all) and before the next one.
    After(u32),
    Duplicate,
    Overlap,
}

impl core::fmt::Debug for Reassembly {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Reassembly({} sets, {:?})", self.sets.len(), self.store)
    }
}

impl Reassembly {
    /// Bytes that a store of these sizes takes.
    pub(crate) fn memory(bytes: u32, sets: u32) -> usize {
        let sets = sets as usize;
        let each = size_of::<Piece>() + size_of::<Option<Parcel>>();
        Store::memory(bytes)
            + Store::parcels_of(bytes) * each
            + sets * size_of::<Set>()
            + Sources::MEMORY
            + sets.next_power_of_two() * size_of::<u32>()
    }

    pub(crate) fn new(bytes: u32, sets: u32, seed: [u64; 2]) -> Reassembly {
        let store = Store::new(bytes);
        let piece =
            Piece { next: NONE, offset: 0, len: 0, skip: 0, end: 0, last: NONE, next_run: NONE };
        let free = |i: u32| Set {
            chain: if i + 1 < sets { i + 1 } else { NONE },
            ..Set::new([0; 6], Family::V4, Instant::ZERO)
        };
        Reassembly {
            pieces: vec![piece; store.parcels_max()].into_boxed_slice(),
            parcels: vec![None; store.parcels_max()].into_boxed_slice(),
            store,
            sets: (0..sets).map(free).collect(),
            buckets: vec![NONE; (sets as usize).next_power_of_two()].into_boxed_slice(),
            free: 0,
            lines: [Line { oldest: NONE, newest: NONE }; 2],
            sources: Sources::new(seed),
            seed,
        }
    }

    /// Counts a fragment that is about to be [added](Self::add) for its sender. If that has sent too many since
    /// the last one of this packet, those that wait are given up, for the identification has probably come
    /// round: it is the first of another packet. Returns how many they were.
    pub(crate) fn keep_distance(&mut self, key: &Key, family: Family) -> u32 {
        if family == Family::V6 {
            return 0;
        }
        let number = self.sources.count(key);
        let Some(known) = self.find(key) else { return 0 };
        let last = core::mem::replace(&mut self.at_mut(known).number, number);
        if number.wrapping_sub(last) > DISTANCE_MAX { self.release(known) } else { 0 }
    }

    /// Takes a fragment in, whose set it begins if it is the first to come.
    pub(crate) fn add(&mut self, now: Instant, key: &Key, fragment: &Fragment<'_>) -> Added {
        let known = self.find(key);
        // The kernel gives an IPv4 set up over what it only ignores in IPv6.
        let strict = fragment.family == Family::V4;
        let wrong = |reason| match known {
            Some(set) if strict => Err((set, reason)),
            _ => Ok(Added::Refused(reason)),
        };
        let len = (fragment.frame.len() - fragment.payload) as u32;
        let refused = if len == 0 {
            Some(wrong(DropReason::FragmentMalformed))
        } else if known.is_some_and(|set| !self.fits_end(set, fragment.offset + len, fragment.more))
        {
            Some(wrong(DropReason::FragmentInconsistent))
        } else {
            None
        };
        match refused {
            Some(Ok(added)) => return added,
            Some(Err((set, reason))) => return Added::GivenUp(reason, self.release(set)),
            None => {}
        }
        let Some(set) = known.or_else(|| self.begin(now, key, fragment.family)) else {
            return Added::Refused(DropReason::FragmentStoreFull);
        };
        self.insert(set, fragment, len)
    }

    /// Whether a fragment that ends at `end` agrees with what is known of the packet's end.
    fn fits_end(&self, set: SetIndex, end: u32, more: bool) -> bool {
        let set = self.at(set);
        match more {
            true => !(set.end_known && end > set.end),
            false => end >= set.end && !(set.end_known && end != set.end),
        }
    }

    fn insert(&mut self, index: SetIndex, fragment: &Fragment<'_>, len: u32) -> Added {
        let (offset, end) = (fragment.offset, fragment.offset + len);
        let set = self.at_mut(index);
        set.end = set.end.max(end);
        set.end_known |= !fragment.more;
        let place = self.place(index, offset, end);
        match place {
            Place::Duplicate => return Added::Refused(DropReason::FragmentDuplicate),
            Place::Overlap => {
                return Added::GivenUp(DropReason::FragmentOverlap, self.release(index));
            }
            Place::Append | Place::Behind | Place::After(_) => {}
        }
        // Only the first fragment's headers are needed again.
        let from = if offset == 0 { 0 } else { fragment.payload };
        let Some(parcel) = self.store.put_bytes(&fragment.frame[from..], fragment.port) else {
            if self.at(index).fragments == 0 {
                self.release(index);
            }
            return Added::Refused(DropReason::FragmentStoreFull);
        };
        let new = parcel.index() as u32;
        self.parcels[parcel.index()] = Some(parcel);
        let skip = (fragment.payload - from) as u32;
        self.pieces[parcel.index()] =
            Piece { next: NONE, offset, len, skip, end, last: new, next_run: NONE };
        self.link(index, place, new);
        let set = self.at_mut(index);
        set.fragments += 1;
        set.held += len;
        set.congestion |= 1 << (fragment.congestion & 3);
        set.largest = set.largest.max(fragment.ip_len);
        if fragment.dont_fragment {
            set.largest_dont_fragment = set.largest_dont_fragment.max(fragment.ip_len);
        }
        if offset == 0 {
            set.port = fragment.port;
        }
        // Nothing overlaps, so as many bytes as there are to the end are all of them.
        if set.end_known && set.held == set.end {
            return Added::Whole(index);
        }
        Added::Held(set.held)
    }

    /// Where the bytes from `offset` to `end` belong among the runs.
    fn place(&self, set: SetIndex, offset: u32, end: u32) -> Place {
        let set = self.at(set);
        if set.last_run == NONE {
            return Place::Behind;
        }
        let last_end = self.pieces[set.last_run as usize].end;
        if end > last_end {
            return match offset.cmp(&last_end) {
                core::cmp::Ordering::Less => Place::Overlap,
                core::cmp::Ordering::Equal => Place::Append,
                core::cmp::Ordering::Greater => Place::Behind,
            };
        }
        let (mut before, mut at) = (NONE, set.first_run);
        while at != NONE {
            let run = &self.pieces[at as usize];
            if end <= run.offset {
                break;
            }
            if offset < run.end {
                let within = offset >= run.offset && end <= run.end;
                return if within { Place::Duplicate } else { Place::Overlap };
            }
            (before, at) = (at, run.next_run);
        }
        Place::After(before)
    }

    fn link(&mut self, index: SetIndex, place: Place, new: u32) {
        let Set { first_run, last_run, .. } = *self.at(index);
        match place {
            Place::Append => {
                let end = self.pieces[new as usize].end;
                let run = &mut self.pieces[last_run as usize];
                let last = core::mem::replace(&mut run.last, new);
                run.end = end;
                self.pieces[last as usize].next = new;
            }
            Place::Behind if last_run == NONE => {
                let set = self.at_mut(index);
                (set.first_run, set.last_run) = (new, new);
            }
            Place::Behind => {
                self.pieces[last_run as usize].next_run = new;
                self.at_mut(index).last_run = new;
            }
            Place::After(NONE) => {
                self.pieces[new as usize].next_run = first_run;
                self.at_mut(index).first_run = new;
            }
            Place::After(before) => {
                let next = core::mem::replace(&mut self.pieces[before as usize].next_run, new);
                self.pieces[new as usize].next_run = next;
            }
            Place::Duplicate | Place::Overlap => {}
        }
    }

    pub(crate) fn summary(&self, index: SetIndex) -> Summary {
        let set = self.at(index);
        Summary {
            family: set.family,
            port: set.port,
            fragments: set.fragments,
            largest: set.largest,
            dont_fragment: set.largest > 0 && set.largest_dont_fragment == set.largest,
            congestion: set.congestion,
            parts: self.parts(index),
        }
    }

    /// The lengths that a packet came in, where three numbers say them.
    fn parts(&self, index: SetIndex) -> Parts {
        let mut lens = self.in_order(index).map(|piece| self.pieces[piece as usize].len);
        let (Some(first), Some(rest)) = (lens.next(), lens.next()) else { return Parts::default() };
        let mut last = rest;
        for len in lens {
            if last != rest {
                return Parts::default();
            }
            last = len;
        }
        match (u16::try_from(first), u16::try_from(rest), u16::try_from(last)) {
            (Ok(first), Ok(rest), Ok(last)) => Parts { first, rest, last },
            _ => Parts::default(),
        }
    }

    /// Copies the packet of a whole set to the front of `out`: the first fragment's headers, then what all of
    /// them carry. Returns the length; `None` if there is no room.
    pub(crate) fn copy_whole(&self, index: SetIndex, out: &mut [u8]) -> Option<usize> {
        let mut at = 0;
        for piece in self.in_order(index) {
            let (parcel, piece) = (self.parcel(piece)?, &self.pieces[piece as usize]);
            let skip = if at == 0 { 0 } else { piece.skip as usize };
            let len = self.store.len(parcel) - skip;
            self.store.read(parcel, skip, out.get_mut(at..at + len)?);
            at += len;
        }
        Some(at)
    }

    /// Copies the frame of a set's first fragment to the front of `out`; `None` if that did not come.
    pub(crate) fn copy_first(&self, index: SetIndex, out: &mut [u8]) -> Option<usize> {
        let first = self.at(index).first_run;
        let piece = self.pieces.get(first as usize).filter(|piece| piece.offset == 0)?;
        let parcel = self.parcel(first)?;
        let len = self.store.len(parcel);
        debug_assert!(piece.skip > 0, "the first fragment is kept with its headers");
        self.store.read(parcel, 0, out.get_mut(..len)?);
        Some(len)
    }

    /// Forgets a set and gives back its memory. Returns how many fragments it had.
    pub(crate) fn release(&mut self, index: SetIndex) -> u32 {
        let mut run = self.at(index).first_run;
        while run != NONE {
            let mut piece = run;
            run = self.pieces[run as usize].next_run;
            while piece != NONE {
                if let Some(parcel) = self.parcels[piece as usize].take() {
                    self.store.free(parcel);
                }
                piece = self.pieces[piece as usize].next;
            }
        }
        self.unlink(index);
        let fragments = self.at(index).fragments;
        self.at_mut(index).chain = self.free;
        self.free = index.0;
        fragments
    }

    /// A set whose time is over.
    pub(crate) fn expired(&self, now: Instant) -> Option<SetIndex> {
        let oldest = self.lines.iter().map(|line| line.oldest).filter(|&set| set != NONE);
        let due = oldest.filter(|&set| self.sets[set as usize].expires <= now);
        due.min_by_key(|&set| self.sets[set as usize].expires).map(SetIndex)
    }

    /// When the next set ends; `Instant::MAX` if there is none.
    pub(crate) fn next_due(&self) -> Instant {
        let oldest = self.lines.iter().filter_map(|line| self.sets.get(line.oldest as usize));
        oldest.map(|set| set.expires).min().unwrap_or(Instant::MAX)
    }

    fn find(&self, key: &Key) -> Option<SetIndex> {
        let mut at = self.buckets[self.bucket(key)];
        while at != NONE && self.sets[at as usize].key != *key {
            at = self.sets[at as usize].chain;
        }
        (at != NONE).then_some(SetIndex(at))
    }

    fn begin(&mut self, now: Instant, key: &Key, family: Family) -> Option<SetIndex> {
        let index = self.free;
        self.free = self.sets.get(index as usize)?.chain;
        let lifetime = match family {
            Family::V4 => LIFETIME_V4,
            Family::V6 => LIFETIME_V6,
        };
        let bucket = self.bucket(key);
        let chain = core::mem::replace(&mut self.buckets[bucket], index);
        let line = &mut self.lines[line_of(family)];
        let older = core::mem::replace(&mut line.newest, index);
        match older {
            NONE => line.oldest = index,
            older => self.sets[older as usize].newer = index,
        }
        let number = self.sources.last(key);
        let set = Set::new(*key, family, now + lifetime);
        self.sets[index as usize] = Set { chain, older, number, ..set };
        Some(SetIndex(index))
    }

    /// Takes a set out of its bucket and its line.
    fn unlink(&mut self, index: SetIndex) {
        let Set { key, family, chain, older, newer, .. } = *self.at(index);
        let bucket = self.bucket(&key);
        let mut at = self.buckets[bucket];
        if at == index.0 {
            self.buckets[bucket] = chain;
        } else {
            while self.sets[at as usize].chain != index.0 {
                at = self.sets[at as usize].chain;
            }
            self.sets[at as usize].chain = chain;
        }
        let line = &mut self.lines[line_of(family)];
        match older {
            NONE => line.oldest = newer,
            older => self.sets[older as usize].newer = newer,
        }
        match newer {
            NONE => line.newest = older,
            newer => self.sets[newer as usize].older = older,
        }
    }

    /// The pieces of a set in the order of the packet.
    fn in_order(&self, index: SetIndex) -> impl Iterator<Item = u32> + '_ {
        let mut run = self.at(index).first_run;
        let mut at = run;
        core::iter::from_fn(move || {
            let piece = at;
            let found = self.pieces.get(piece as usize)?;
            at = found.next;
            if at == NONE {
                run = self.pieces[run as usize].next_run;
                at = run;
            }
            Some(piece)
        })
    }

    fn parcel(&self, piece: u32) -> Option<Parcel> {
        self.parcels.get(piece as usize).copied().flatten()
    }

    fn at(&self, index: SetIndex) -> &Set {
        &self.sets[index.0 as usize]
    }

    fn at_mut(&mut self, index: SetIndex) -> &mut Set {
        &mut self.sets[index.0 as usize]
    }

    fn bucket(&self, key: &Key) -> usize {
        lookup::hash(key, self.seed) as usize & (self.buckets.len() - 1)
    }
}

impl Set {
    fn new(key: Key, family: Family, expires: Instant) -> Set {
        Set {
            key,
            family,
            expires,
            first_run: NONE,
            last_run: NONE,
            fragments: 0,
            held: 0,
            end: 0,
            end_known: false,
            largest: 0,
            largest_dont_fragment: 0,
            congestion: 0,
            port: PortId(0),
            number: 0,
            chain: NONE,
            older: NONE,
            newer: NONE,
        }
    }
}

const fn line_of(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

#[cfg(test)]
mod tests;
