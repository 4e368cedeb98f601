//! The timer wheel: who is to be looked at, and when.
//!
//! It knows numbers and deadlines, nothing of connections. A packet never touches it: the owner of an entry
//! only notes in the entry that its end has moved, and decides when the wheel hands it out whether it ends
//! or is [filed](TimerWheel::file) anew.

use alloc::vec::Vec;
use core::fmt;

use crate::prefetch::prefetch;

/// Levels of the wheel. Level `l` has slots of 64^l ms: 1 ms, 64 ms, 4.1 s, 4.4 min, 4.7 h, 12.4 days.
const LEVELS: usize = 6;
/// Bits of the time that a level looks at.
const BITS: u32 = 6;
/// Slots of a level.
const SLOTS: usize = 1 << BITS;
/// How far ahead of the wheel an entry is filed at most, in ms: 49.7 days.
const SPAN: u64 = u32::MAX as u64;
/// How many places ahead an entry is asked for.
const AHEAD: usize = 8;
/// No entry.
const NIL: u32 = u32::MAX;

const _: () = assert!(SLOTS == u64::BITS as usize, "a word tells the slots in use of a level");
const _: () = assert!(
    SPAN < (1 << (BITS * LEVELS as u32)) - (1 << (BITS * (LEVELS as u32 - 1))),
    "within its span an entry never shares a slot of the top level with the present"
);

/// A hierarchical timer wheel over entries that are numbers, with a resolution of 1 ms.
///
/// Filing and cancelling are constant work. Advancing costs work for each entry (it moves down a level at
/// most five times) and none for the time that passed, so that a jump of years costs no more than a
/// millisecond. Entries come out in the order of their deadlines, and those of the same millisecond in the
/// order in which they were filed.
///
/// ```
/// use lvs_core::timer::TimerWheel;
/// let mut wheel = TimerWheel::new(16, 0);
/// wheel.file(3, 1_000);
/// wheel.file(5, 60_000);
/// assert!(wheel.next_deadline().unwrap() <= 1_000);
/// assert_eq!(wheel.pop_due(999), None);
/// assert_eq!(wheel.pop_due(100_000), Some((3, 1_000)));
/// wheel.file(3, 2_000); // it was seen in the meantime
/// assert_eq!(wheel.pop_due(100_000), Some((3, 2_000)));
/// assert_eq!(wheel.pop_due(100_000), Some((5, 60_000)));
/// assert_eq!(wheel.pop_due(100_000), None);
/// ```
///
/// Time is in milliseconds and is the caller's; one that goes backwards is taken as one that stands still.
pub struct TimerWheel {
    /// Where the wheel stands: no filed deadline lies before it.
    elapsed: u64,
    /// For each level, the slots that have entries.
    occupied: [u64; LEVELS],
    slots: Vec<Slot>,
    nodes: Vec<Node>,
    len: u32,
    /// No slot with entries begins before this.
    quiet_until: u64,
}

/// The entries of a slot: a ring in the order of filing.
#[derive(Clone, Copy)]
struct Slot {
    /// The first entry.
    head: u32,
    /// How many were appended so far.
    appended: u32,
    /// Who was appended last, so that the entry so many places before a new one can point at it.
    recent: [u32; AHEAD],
}

impl Slot {
    const EMPTY: Slot = Slot { head: NIL, appended: 0, recent: [NIL; AHEAD] };
}

/// The links of an entry: sixteen bytes.
///
/// The deadline's upper half is not stored: it lies within [`SPAN`] of where the wheel stands.
#[derive(Clone, Copy)]
struct Node {
    /// The next entry of the slot's ring; `NIL` if the entry is not filed.
    next: u32,
    prev: u32,
    due: u32,
    /// The entry that was appended [`AHEAD`] places behind, if all is as it was: a hint whom to ask for
    /// early. A ring leads through memory at random, and without the hint each step waits for the last.
    ahead: u32,
}

const _: () = assert!(size_of::<Node>() == 16, "four entries share a cache line");

impl TimerWheel {
    /// A wheel for the entries `0..ids`, none of them filed, that stands at `start`.
    ///
    /// # Panics
    /// If `ids` is `u32::MAX`, which stands for "none".
    pub fn new(ids: u32, start: u64) -> TimerWheel {
        assert!(ids < NIL, "a wheel has at most {} entries", NIL - 1);
        TimerWheel {
            elapsed: start,
            occupied: [0; LEVELS],
            slots: alloc::vec![Slot::EMPTY; LEVELS * SLOTS],
            nodes: alloc::vec![Node { next: NIL, prev: NIL, due: 0, ahead: NIL }; ids as usize],
            len: 0,
            quiet_until: u64::MAX,
        }
    }

    /// Bytes that a wheel for so many entries takes.
    pub(crate) fn memory(ids: u32) -> usize {
        ids as usize * size_of::<Node>() + LEVELS * SLOTS * size_of::<Slot>()
    }

    /// Files an entry under a deadline in ms; if it is filed already, it moves.
    ///
    /// A deadline before the wheel's present counts as now. One further ahead than 2³² - 1 ms (49.7 days) is
    /// filed there: the entry comes out early and its owner files it again.
    ///
    /// # Panics
    /// If there is no entry `id`.
    pub fn file(&mut self, id: u32, deadline: u64) {
        self.cancel(id);
        let due = deadline.clamp(self.elapsed, self.elapsed.saturating_add(SPAN));
        self.nodes[id as usize].due = due as u32;
        self.link(id, due);
        self.len += 1;
    }

    /// Takes an entry out; nothing happens if it is not filed.
    ///
    /// # Panics
    /// If there is no entry `id`.
    pub fn cancel(&mut self, id: u32) {
        let node = self.nodes[id as usize];
        if node.next == NIL {
            return;
        }
        let (level, slot) = self.place(self.due(node));
        let head = &mut self.slots[level * SLOTS + slot].head;
        if node.next == id {
            *head = NIL;
            self.occupied[level] &= !(1 << slot);
        } else {
            if *head == id {
                *head = node.next;
            }
            self.nodes[node.prev as usize].next = node.next;
            self.nodes[node.next as usize].prev = node.prev;
        }
        self.nodes[id as usize].next = NIL;
        self.len -= 1;
    }

    /// Whether an entry is filed.
    ///
    /// # Panics
    /// If there is no entry `id`.
    pub fn is_filed(&self, id: u32) -> bool {
        self.nodes[id as usize].next != NIL
    }

    /// The deadline that an entry is filed under.
    ///
    /// # Panics
    /// If there is no entry `id`.
    pub fn deadline(&self, id: u32) -> Option<u64> {
        let node = self.nodes[id as usize];
        (node.next != NIL).then(|| self.due(node))
    }

    /// The entries that are filed.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no entry is filed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// When [`pop_due`](Self::pop_due) should be called next: never after the earliest deadline. It may be
    /// before it, at the start of the earliest entry's slot; calling `pop_due` then moves the entry down a
    /// level, so that at most five such calls come before an entry's own.
    pub fn next_deadline(&self) -> Option<u64> {
        self.earliest().map(|(_, _, start)| start)
    }

    /// An entry that will probably be handed out some calls of [`pop_due`](Self::pop_due) after the next, so
    /// that what it stands for can be asked for early. Just a hint.
    #[inline]
    pub fn upcoming(&self) -> Option<u32> {
        let slot = self.occupied[0].trailing_zeros() as usize;
        let head = self.slots.get(slot).filter(|_| slot < SLOTS)?.head;
        Some(self.nodes.get(head as usize)?.ahead).filter(|&id| id != NIL)
    }

    /// Takes out the entry with the earliest deadline that is not after `now`, and tells the deadline.
    ///
    /// Deadlines never decrease from call to call, whatever is filed in between: the wheel stands at the one
    /// handed out last, and what is filed before that counts as due at it. Once `None` is returned it stands
    /// at `now`.
    #[inline]
    pub fn pop_due(&mut self, now: u64) -> Option<(u32, u64)> {
        let now = now.max(self.elapsed);
        if now < self.quiet_until {
            self.elapsed = now;
            return None;
        }
        self.pop(now)
    }

    #[inline(never)]
    fn pop(&mut self, now: u64) -> Option<(u32, u64)> {
        self.quiet_until = u64::MAX;
        while let Some((level, slot, start)) = self.earliest() {
            self.quiet_until = start;
            if start > now {
                break;
            }
            debug_assert!(start >= self.elapsed, "a slot with entries was passed over");
            self.elapsed = start;
            if level == 0 {
                let id = self.slots[slot].head;
                self.prefetch(self.nodes[id as usize].ahead);
                self.cancel(id);
                return Some((id, start));
            }
            self.move_down(level, slot);
        }
        self.elapsed = now;
        None
    }

    /// Files the entries of a slot, at whose start the wheel stands, in the levels below.
    fn move_down(&mut self, level: usize, slot: usize) {
        let list = &mut self.slots[level * SLOTS + slot];
        let first = core::mem::replace(list, Slot::EMPTY).head;
        self.occupied[level] &= !(1 << slot);
        let mut id = first;
        loop {
            let node = self.nodes[id as usize];
            self.prefetch(node.ahead);
            self.link(id, self.due(node));
            if node.next == first {
                break;
            }
            id = node.next;
        }
    }

    /// Appends an entry to the slot of its deadline.
    fn link(&mut self, id: u32, due: u64) {
        let (level, slot) = self.place(due);
        let shift = BITS * level as u32;
        self.quiet_until = self.quiet_until.min(due >> shift << shift);
        let list = &mut self.slots[level * SLOTS + slot];
        let at = list.appended as usize % AHEAD;
        list.appended = list.appended.wrapping_add(1);
        let before = core::mem::replace(&mut list.recent[at], id);
        if let Some(before) = self.nodes.get_mut(before as usize) {
            before.ahead = id;
        }
        let head = list.head;
        if head == NIL {
            list.head = id;
            self.occupied[level] |= 1 << slot;
            let node = &mut self.nodes[id as usize];
            (node.next, node.prev) = (id, id);
        } else {
            let last = core::mem::replace(&mut self.nodes[head as usize].prev, id);
            self.nodes[last as usize].next = id;
            let node = &mut self.nodes[id as usize];
            (node.next, node.prev) = (head, last);
        }
    }

    /// Asks for an entry that will be looked at soon.
    #[inline]
    fn prefetch(&self, id: u32) {
        if let Some(node) = self.nodes.get(id as usize) {
            prefetch(node);
        }
    }

    /// The level and slot of a deadline: the level of the highest digit (base 64) in which it differs from
    /// where the wheel stands. The answer stays the same as the wheel advances, until it reaches the slot.
    fn place(&self, due: u64) -> (usize, usize) {
        // The lowest digit always counts; above the top level the wheel wraps around.
        let differs = (self.elapsed ^ due) | 1;
        let level = ((differs.ilog2() / BITS) as usize).min(LEVELS - 1);
        (level, (due >> (BITS * level as u32)) as usize % SLOTS)
    }

    /// The level, slot and start of the first slot with entries.
    fn earliest(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let shift = BITS * level as u32;
        let here = self.elapsed >> shift;
        // Below the top level all entries are ahead in the same turn, so that rotating changes nothing.
        let ahead = self.occupied[level].rotate_right(here as u32 % SLOTS as u32).trailing_zeros();
        let there = here.saturating_add(u64::from(ahead)).min(u64::MAX >> shift);
        Some((level, there as usize % SLOTS, there << shift))
    }

    /// The deadline of a filed entry.
    fn due(&self, node: Node) -> u64 {
        self.elapsed + u64::from(node.due.wrapping_sub(self.elapsed as u32))
    }
}

impl fmt::Debug for TimerWheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerWheel")
            .field("elapsed", &self.elapsed)
            .field("filed", &self.len)
            .field("next_deadline", &self.next_deadline())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
