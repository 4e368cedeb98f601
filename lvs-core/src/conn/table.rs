//! The table: the region, its sections, and what can be done with a connection.

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;

use super::FlowHash;
use super::index::Index;
use super::record::{COLD_PER_LINE, COLD_WORDS, Cold, Hot, HotMut, Line};
use super::slots::Slots;
use crate::flow::FlowKey;
use crate::ids::{ConnId, DestIndex, FwMark, TemplateId};
use crate::prefetch::prefetch;

/// The most connections that a table may be made for.
pub const CAPACITY_MAX: u32 = 1 << 28;

/// Bit of an index entry's place: it is a connection's second entry.
const ALIAS: u32 = 1 << 31;
const _: () = assert!(CAPACITY_MAX < ALIAS, "a place and the alias bit share 32 bits");

/// The memory of a connection table.
///
/// Its owner may take it from huge pages or from a mapping that others read; the table has no pointer in
/// it and is its single writer.
pub enum Region {
    /// Memory of the table's own.
    Owned(Box<[Line]>),
    /// Memory lent for good.
    Lent(&'static mut [Line]),
}

impl Region {
    /// How many lines a table for `capacity` connections needs (about 106 bytes a connection).
    pub const fn lines_needed(capacity: u32) -> usize {
        Layout::of(capacity).end
    }

    /// Memory from the allocator, as much as `capacity` connections need.
    pub fn owned(capacity: u32) -> Region {
        Region::Owned(vec![Line::ZERO; Region::lines_needed(capacity)].into_boxed_slice())
    }

    #[inline]
    fn lines(&self) -> &[Line] {
        match self {
            Region::Owned(lines) => lines,
            Region::Lent(lines) => lines,
        }
    }

    #[inline]
    fn lines_mut(&mut self) -> &mut [Line] {
        match self {
            Region::Owned(lines) => lines,
            Region::Lent(lines) => lines,
        }
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Region::Owned(_) => "Owned",
            Region::Lent(_) => "Lent",
        };
        write!(f, "{kind}({} lines)", self.lines().len())
    }
}

/// Where the sections of the region begin, in lines.
#[derive(Clone, Copy, Debug)]
struct Layout {
    index: usize,
    hot: usize,
    cold: usize,
    live: usize,
    end: usize,
}

impl Layout {
    const fn of(capacity: u32) -> Layout {
        let slots = capacity as usize;
        let index = 1;
        let hot = index + Index::lines_needed(capacity) as usize;
        let cold = hot + slots;
        let live = cold + slots.div_ceil(COLD_PER_LINE);
        Layout { index, hot, cold, live, end: live + Slots::new(capacity).lines_needed() }
    }

    /// The index and the live bits, which inserting and removing write.
    #[inline]
    fn sections<'a>(&self, lines: &'a mut [Line]) -> (&'a mut [Line], &'a mut [Line]) {
        let (front, live) = lines.split_at_mut(self.live);
        (&mut front[self.index..self.hot], live)
    }
}

/// "LVSCONN" and the version of the layout.
const MAGIC: u64 = u64::from_be_bytes(*b"LVSCONN\x01");

// Words of the header.
const H_MAGIC: usize = 0;
const H_SHAPE: usize = 1;
const H_SEED: usize = 2;
const H_LEN: usize = 4;

/// The connections of a director. See [the module](super) for its use.
///
/// # Layout
///
/// The region is an array of 64-byte lines of eight native-endian 64-bit words, free of pointers:
///
/// ```text
///   line 0     ┌──────────────────────────────────────────────────────────────┐
///              │ header     word 0 "LVSCONN" and version of the layout        │
///              │            word 1 capacity C, index lines B (high half)      │
///              │            word 2, 3 seed of the hash                        │
///              │            word 4 connections    word 5-7 zero               │
///   line 1     ├──────────────────────────────────────────────────────────────┤
///              │ index      B buckets: 7 entries (tag, place), overflow count │
///              │            (bit 31 of a place: a second entry)               │
///   1 + B      ├──────────────────────────────────────────────────────────────┤
///              │ hot        C records, one line each: see Hot                 │
///   1 + B + C  ├──────────────────────────────────────────────────────────────┤
///              │ cold       four connections a line: see Cold                 │
///              ├──────────────────────────────────────────────────────────────┤
///              │ live       one bit a slot, set while it holds a connection;  │
///              │            one bit for 64 of those, set while all are; …     │
///              └──────────────────────────────────────────────────────────────┘
///   B = 2C/5 rounded up to an odd number
/// ```
///
/// # Cost
///
/// Lookup, insert and remove touch one index line and one record, seldom a second index line. That is so
/// whatever the fill and whichever keys clients choose, as long as they do not know the seed.
pub struct ConnTable {
    region: Region,
    layout: Layout,
    index: Index,
    slots: Slots,
    hash: FlowHash,
    capacity: u32,
}

impl ConnTable {
    /// An empty table for exactly `capacity` connections, in memory that need not be clean.
    ///
    /// `seed` keys the hash; take it from a source of randomness wherever clients are not trusted.
    ///
    /// # Errors
    /// [`TableError::Capacity`] if `capacity` is 0 or above [`CAPACITY_MAX`], [`TableError::Region`] if the
    /// region is shorter than [`Region::lines_needed`].
    pub fn new(capacity: u32, seed: [u64; 2], region: Region) -> Result<ConnTable, TableError> {
        if capacity == 0 || capacity > CAPACITY_MAX {
            return Err(TableError::Capacity { given: capacity });
        }
        let layout = Layout::of(capacity);
        let lines = region.lines().len();
        if lines < layout.end {
            return Err(TableError::Region { given: lines, needed: layout.end });
        }
        let buckets = Index::lines_needed(capacity);
        let index = Index::new(buckets);
        let (slots, hash) = (Slots::new(capacity), FlowHash::new(seed));
        let mut table = ConnTable { region, layout, index, slots, hash, capacity };
        table.region.lines_mut()[..layout.end].fill(Line::ZERO);
        let header = table.header_mut();
        header[H_MAGIC] = MAGIC;
        header[H_SHAPE] = u64::from(capacity) | u64::from(buckets) << 32;
        header[H_SEED] = seed[0];
        header[H_SEED + 1] = seed[1];
        Ok(table)
    }

    /// The hash of a key, which the other calls take so that it is computed once and early.
    #[inline]
    pub fn hash(&self, key: &FlowKey) -> u64 {
        self.hash.of(key)
    }

    /// First stage of a burst: asks for the index line of a hash, so that it is there when
    /// [`candidate`](Self::candidate) wants it.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(self.index_lines(), hash);
    }

    /// Second stage of a burst: the first slot whose tag fits. Its record is asked for, but not compared
    /// yet: this is just a hint for [`find`](Self::find).
    #[inline]
    pub fn candidate(&self, hash: u64) -> Option<ConnId> {
        let slot = self.index.candidate(self.index_lines(), hash)? & !ALIAS;
        self.prefetch_record(ConnId(slot));
        Some(ConnId(slot))
    }

    /// Asks for the record of a slot that will be looked at soon, as of those whose time ends next; nothing
    /// happens for a slot that the table does not have.
    #[inline]
    pub fn prefetch_record(&self, id: ConnId) {
        if let Some(record) = self.hot_lines().get(id.index()) {
            prefetch(record);
        }
    }

    /// The connection of a flow. A wrong `hint` costs time, never a wrong answer.
    #[inline]
    pub fn find(&self, key: &FlowKey, hash: u64, hint: Option<ConnId>) -> Option<ConnId> {
        match hint {
            Some(id) if self.hot(id).holds(key) => Some(id),
            _ => self.search(key, hash),
        }
    }

    #[inline(never)]
    fn search(&self, key: &FlowKey, hash: u64) -> Option<ConnId> {
        // Mostly there is none, which is seen at once.
        self.index.candidate(self.index_lines(), hash)?;
        self.index
            .search(self.index_lines(), hash, |place| {
                place & ALIAS == 0 && self.hot(ConnId(place)).holds(key)
            })
            .map(ConnId)
    }

    /// Adds the connection of a flow that has none yet. All its fields are zero, and its generation
    /// is one more than the last connection's in the same slot.
    ///
    /// # Errors
    /// [`Full`] if `capacity` connections are there.
    pub fn insert(&mut self, key: &FlowKey, hash: u64) -> Result<ConnId, Full> {
        debug_assert_eq!(self.search(key, hash), None, "{key:?} has a connection");
        let (index, live) = self.layout.sections(self.region.lines_mut());
        let taken = self.slots.take(live);
        let (slot, next) = taken.ok_or(Full { capacity: self.capacity })?;
        self.index.insert(index, hash, slot);
        if let Some(next) = next {
            self.prefetch_record(ConnId(next));
        }
        let id = ConnId(slot);
        self.hot_mut(id).open(key);
        self.set_cold(id, Cold::default());
        self.header_mut()[H_LEN] += 1;
        Ok(id)
    }

    /// Removes a connection; a second index entry must have been removed before.
    ///
    /// # Panics
    /// In debug builds, if there is no such connection or it still has a second entry.
    pub fn remove(&mut self, id: ConnId) {
        debug_assert!(self.is_live(id), "{id:?} is no connection");
        debug_assert!(!self.hot(id).is_aliased(), "{id:?} still has a second index entry");
        if !self.is_live(id) {
            return;
        }
        let hash = self.hash(&self.hot(id).key());
        let (index, live) = self.layout.sections(self.region.lines_mut());
        let found = self.index.remove(index, hash, id.0);
        debug_assert!(found, "{id:?} is not in the index");
        self.slots.give_back(live, id.0);
        self.hot_mut(id).close();
        self.header_mut()[H_LEN] -= 1;
    }

    /// Makes a connection findable by a second hash too: that of the flow as its server's answers have it
    /// (NAT). A connection has one such entry at most, and there is always room for it.
    ///
    /// # Panics
    /// In debug builds, if there is no such connection or it has a second entry.
    pub fn insert_alias(&mut self, id: ConnId, alias: &FlowKey) {
        debug_assert!(self.is_live(id) && !self.hot(id).is_aliased(), "{id:?} cannot be aliased");
        let hash = self.hash(alias);
        let (index, _) = self.layout.sections(self.region.lines_mut());
        self.index.insert(index, hash, id.0 | ALIAS);
        self.hot_mut(id).set_aliased(true);
    }

    /// Removes the second entry that [`insert_alias`](Self::insert_alias) made, with the same `alias`.
    ///
    /// # Panics
    /// In debug builds, if it is not there.
    pub fn remove_alias(&mut self, id: ConnId, alias: &FlowKey) {
        let hash = self.hash(alias);
        let (index, _) = self.layout.sections(self.region.lines_mut());
        let found = self.index.remove(index, hash, id.0 | ALIAS);
        debug_assert!(found, "{id:?} has no second entry {alias:?}");
        if found {
            self.hot_mut(id).set_aliased(false);
        }
    }

    /// The connection with a second entry of this hash that `matches` accepts. The alias itself is not
    /// stored: the caller compares, for its protocol and client end are the connection's and the other
    /// end is its destination's.
    pub fn find_alias(
        &self,
        hash: u64,
        mut matches: impl FnMut(ConnId, Hot<'_>) -> bool,
    ) -> Option<ConnId> {
        self.index
            .search(self.index_lines(), hash, |place| {
                let id = ConnId(place & !ALIAS);
                place & ALIAS != 0 && matches(id, self.hot(id))
            })
            .map(|place| ConnId(place & !ALIAS))
    }

    /// The hot record of a slot.
    ///
    /// # Panics
    /// If the table has no such slot.
    #[inline]
    pub fn hot(&self, id: ConnId) -> Hot<'_> {
        debug_assert!(id.0 < self.capacity);
        Hot(&self.region.lines()[self.layout.hot + id.index()])
    }

    /// The hot record of a slot, to write.
    ///
    /// # Panics
    /// If the table has no such slot.
    #[inline]
    pub fn hot_mut(&mut self, id: ConnId) -> HotMut<'_> {
        debug_assert!(id.0 < self.capacity);
        let at = self.layout.hot + id.index();
        HotMut(&mut self.region.lines_mut()[at])
    }

    /// The hot record of a [candidate](Self::candidate), to write, if it holds the connection of the flow
    /// and that has this timeout.
    #[inline(always)]
    pub(crate) fn hot_of(&mut self, id: ConnId, key: &FlowKey, timeout: u16) -> Option<HotMut<'_>> {
        let at = self.layout.hot + id.index();
        let record = HotMut(self.region.lines_mut().get_mut(at)?);
        record.read().holds_with(key, timeout).then_some(record)
    }

    /// Counts a packet of `bytes` bytes seen at `now_tick`.
    #[inline]
    pub fn record_packet(&mut self, id: ConnId, now_tick: u32, bytes: u32) {
        self.hot_mut(id).record_packet(now_tick, bytes);
    }

    /// The cold data of a slot.
    pub fn cold(&self, id: ConnId) -> Cold {
        let (line, word) = self.cold_place(id);
        let words = &self.region.lines()[line].0;
        Cold::from_words([words[word], words[word + 1]])
    }

    /// Sets the cold data of a slot.
    pub fn set_cold(&mut self, id: ConnId, cold: Cold) {
        let (line, word) = self.cold_place(id);
        self.region.lines_mut()[line].0[word..word + COLD_WORDS].copy_from_slice(&cold.to_words());
    }

    /// Whether a slot holds a connection; `false` for a slot that the table does not have.
    #[inline]
    pub fn is_live(&self, id: ConnId) -> bool {
        id.0 < self.capacity && self.hot(id).is_live()
    }

    /// The connections in the table.
    pub fn len(&self) -> u32 {
        self.header()[H_LEN] as u32
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most connections that it holds.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The first connection at slot `from` or behind, for walks in chunks: go on with the slot after it. It
    /// reads one bit a slot, so that a nearly empty table of a million costs microseconds.
    pub fn next_live(&self, from: u32) -> Option<ConnId> {
        self.slots.next(&self.region.lines()[self.layout.live..self.layout.end], from).map(ConnId)
    }

    fn cold_place(&self, id: ConnId) -> (usize, usize) {
        debug_assert!(id.0 < self.capacity);
        let line = self.layout.cold + id.index() / COLD_PER_LINE;
        (line, id.index() % COLD_PER_LINE * COLD_WORDS)
    }

    #[inline]
    fn index_lines(&self) -> &[Line] {
        &self.region.lines()[self.layout.index..self.layout.hot]
    }

    #[inline]
    fn hot_lines(&self) -> &[Line] {
        &self.region.lines()[self.layout.hot..self.layout.cold]
    }

    fn header(&self) -> &[u64; 8] {
        &self.region.lines()[0].0
    }

    fn header_mut(&mut self) -> &mut [u64; 8] {
        &mut self.region.lines_mut()[0].0
    }
}

/// The fields of a connection one by one, for callers that want no view.
impl ConnTable {
    /// The flow of a connection.
    pub fn key(&self, id: ConnId) -> FlowKey {
        self.hot(id).key()
    }

    /// Its destination.
    pub fn dest(&self, id: ConnId) -> DestIndex {
        self.hot(id).dest()
    }

    /// The template that controls it.
    pub fn template(&self, id: ConnId) -> Option<TemplateId> {
        self.cold(id).template
    }

    /// The mark of the packet that opened it.
    pub fn mark(&self, id: ConnId) -> FwMark {
        self.cold(id).mark
    }

    /// The tick at which it was opened.
    pub fn created(&self, id: ConnId) -> u32 {
        self.cold(id).created
    }

    /// Flags that packets do not look at.
    pub fn cold_flags(&self, id: ConnId) -> u32 {
        self.cold(id).flags
    }

    /// Sets the flags that packets do not look at.
    pub fn set_cold_flags(&mut self, id: ConnId, flags: u32) {
        let cold = self.cold(id);
        self.set_cold(id, Cold { flags, ..cold });
    }
}

impl fmt::Debug for ConnTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnTable")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// The connection table holds as many connections as it was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full {
    /// How many that is.
    pub capacity: u32,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the table is full: it was made for {} entries", self.capacity)
    }
}

impl core::error::Error for Full {}

/// A connection table that cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableError {
    /// A capacity out of bounds.
    Capacity {
        /// What was asked for.
        given: u32,
    },
    /// Too little memory.
    Region {
        /// The lines given.
        given: usize,
        /// The lines needed.
        needed: usize,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableError::Capacity { given } => {
                write!(f, "a connection table holds 1 to {CAPACITY_MAX} connections, not {given}")
            }
            TableError::Region { given, needed } => {
                write!(f, "the region has {given} lines of 64 bytes, but the table needs {needed}")
            }
        }
    }
}

impl core::error::Error for TableError {}

#[cfg(test)]
mod tests;
