//! The timeouts in use: connections store two bytes that stand for one.

use alloc::vec::Vec;
use core::fmt;

/// A small set of timeouts, each with a number that stays the same as long as it is in use.
///
/// A director has a handful of timeouts at a time (one per protocol and state), but an operator may change
/// them while old connections keep theirs. Values are forgotten only when the set is full, by asking
/// which are still used ([`collect`](Self::collect)): on the control path, never for a packet.
///
/// ```
/// use lvs_core::conn::Timeouts;
/// let mut timeouts = Timeouts::new(2);
/// let a = timeouts.intern(900_000)?;
/// let b = timeouts.intern(120_000)?;
/// assert_eq!(timeouts.intern(900_000)?, a);
/// assert!(timeouts.intern(300_000).is_err());
/// timeouts.collect([a]); // only the first is still used
/// assert_eq!(timeouts.intern(300_000)?, b);
/// assert_eq!(timeouts.ticks(a), 900_000);
/// # Ok::<(), lvs_core::conn::TimeoutsFull>(())
/// ```
#[derive(Clone)]
pub struct Timeouts {
    /// The value of each number; unused ones stay.
    ticks: Vec<u32>,
    /// Values in use with their numbers, sorted by value.
    sorted: Vec<(u32, u16)>,
    /// Numbers without a value.
    free: Vec<u16>,
    max: u16,
}

impl Timeouts {
    /// An empty set for at most `max` values.
    pub fn new(max: u16) -> Timeouts {
        let len = usize::from(max);
        Timeouts {
            ticks: Vec::with_capacity(len),
            sorted: Vec::with_capacity(len),
            free: Vec::with_capacity(len),
            max,
        }
    }

    /// The number of a timeout in ticks (milliseconds), which is added if it is new. It allocates nothing.
    ///
    /// # Errors
    /// [`TimeoutsFull`] if it is new and all numbers are taken: [`collect`](Self::collect), then try again.
    pub fn intern(&mut self, ticks: u32) -> Result<u16, TimeoutsFull> {
        let at = match self.sorted.binary_search_by_key(&ticks, |&(value, _)| value) {
            Ok(at) => return Ok(self.sorted[at].1),
            Err(at) => at,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.ticks[usize::from(index)] = ticks;
                index
            }
            None if self.ticks.len() < usize::from(self.max) => {
                self.ticks.push(ticks);
                (self.ticks.len() - 1) as u16
            }
            None => return Err(TimeoutsFull { max: self.max }),
        };
        self.sorted.insert(at, (ticks, index));
        Ok(index)
    }

    /// The number of a timeout in ticks that is in use.
    pub fn index_of(&self, ticks: u32) -> Option<u16> {
        let at = self.sorted.binary_search_by_key(&ticks, |&(value, _)| value).ok()?;
        Some(self.sorted[at].1)
    }

    /// The timeout of a number, in ticks; 0 for a number that was never given.
    #[inline]
    pub fn ticks(&self, index: u16) -> u32 {
        self.ticks.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// Forgets all values but those whose numbers are `used`: by connections
    /// ([`ConnTable::next_live`](super::ConnTable::next_live) walks them) and by whoever keeps numbers for
    /// new ones.
    pub fn collect(&mut self, used: impl IntoIterator<Item = u16>) {
        let mut marks = alloc::vec![false; self.ticks.len()];
        for index in used {
            if let Some(mark) = marks.get_mut(usize::from(index)) {
                *mark = true;
            }
        }
        let free = &mut self.free;
        self.sorted.retain(|&(_, index)| {
            let keep = marks[usize::from(index)];
            if !keep {
                free.push(index);
            }
            keep
        });
    }

    /// How many values have a number.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

impl fmt::Debug for Timeouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.sorted.iter().map(|&(ticks, index)| (index, ticks))).finish()
    }
}

/// All numbers for timeouts are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeoutsFull {
    /// How many there are.
    pub max: u16,
}

impl fmt::Display for TimeoutsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} different timeouts are in use, and there is room for no more", self.max)
    }
}

impl core::error::Error for TimeoutsFull {}

#[cfg(test)]
mod tests;
