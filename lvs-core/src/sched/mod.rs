//! Schedulers: which destination a new connection goes to.
//!
//! A scheduler sees the destinations of its service, read-only and in the kernel's order (newest first,
//! rule S1), and the flow that asks. It sees no packet and no table, allocates nothing in
//! [`Schedule::pick`], and returns a position in the list.
//!
//! To add one: a file beside these, and a line in [`SCHEDULERS`].

use alloc::boxed::Box;
use core::fmt;

use crate::command::{SchedulerFlags, Tunables};
use crate::dest::{Destination, Destinations};
use crate::flow::FlowKey;
use crate::ids::DestIndex;
use crate::time::Instant;

mod dh;
mod fo;
mod lc;
mod load;
mod locality;
mod mh;
mod nq;
mod ovf;
mod rr;
mod sed;
mod sh;
mod wlc;
mod wrr;

/// The destinations of a service, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    list: &'a [DestIndex],
    all: &'a Destinations,
}

impl<'a> Candidates<'a> {
    pub(crate) fn new(list: &'a [DestIndex], all: &'a Destinations) -> Candidates<'a> {
        Candidates { list, all }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The destination at a position.
    ///
    /// # Panics
    /// If `position` is not below [`Candidates::len`].
    pub fn at(&self, position: usize) -> &'a Destination {
        self.all.at(self.list[position])
    }

    /// What names the destination at a position for as long as it exists, whatever becomes of the list.
    ///
    /// # Panics
    /// If `position` is not below [`Candidates::len`].
    pub fn index_at(&self, position: usize) -> DestIndex {
        self.list[position]
    }

    /// Where a destination stands now; `None` if it is in the list no more.
    pub fn position_of(&self, index: DestIndex) -> Option<usize> {
        self.list.iter().position(|&listed| listed == index)
    }

    /// All of them with their positions, newest first.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &'a Destination)> + use<'a> {
        let all = self.all;
        self.list.iter().enumerate().map(move |(i, &index)| (i, all.at(index)))
    }
}

/// Who asks for a destination.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The flow to be scheduled.
    pub flow: &'a FlowKey,
    /// The present moment.
    pub now: Instant,
}

/// What happened to a service's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A destination now stands at this position (always 0, the head), the others moved up.
    Added(usize),
    /// The destination at this position was edited.
    Edited(usize),
    /// The destination that stood at this position is gone, those behind it moved down.
    Removed(usize),
    /// Several of these at one instant; only told to whoever [starts anew](Schedule::starts_anew).
    Several,
}

/// A scheduling algorithm with its state for one service.
///
/// ```
/// use lvs_core::sched::{Candidates, Request, Schedule};
///
/// /// Always the newest server that may be chosen.
/// #[derive(Debug)]
/// struct Newest;
///
/// impl Schedule for Newest {
///     fn pick(&mut self, candidates: &Candidates<'_>, _: &Request<'_>) -> Option<usize> {
///         candidates.iter().find(|(_, d)| d.is_eligible()).map(|(position, _)| position)
///     }
/// }
/// ```
pub trait Schedule: fmt::Debug + Send {
    /// Chooses a position, or `None` if no destination may be chosen. Called once per new connection;
    /// must not allocate.
    fn pick(&mut self, candidates: &Candidates<'_>, request: &Request<'_>) -> Option<usize>;

    /// Another one in the same state, which may be asked in this one's place where nothing is to change:
    /// for [`Director::explain_flow`](crate::director::Director::explain_flow). `None`, unless it is
    /// overridden: then nobody can foretell what this scheduler will choose.
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        None
    }

    /// Told the switches in force when it is made, and whenever they change.
    fn tune(&mut self, _tunables: &Tunables) {}

    /// Whether [`changed`](Schedule::changed) goes by the list as it is then and not by what has changed, so
    /// that after several changes at one instant
    /// ([`Director::together`](crate::director::Director::together)) it is told once.
    fn starts_anew(&self) -> bool {
        false
    }

    /// Told after the list changed.
    fn changed(&mut self, _candidates: &Candidates<'_>, _change: Change) {}
}

/// Makes a scheduler for a service that may have destinations already.
pub type MakeScheduler = fn(SchedulerFlags, &Candidates<'_>) -> Box<dyn Schedule>;

/// A line of the scheduler table.
#[derive(Clone, Copy)]
pub struct SchedulerInfo {
    /// The name after `-s`.
    pub name: &'static str,
    /// What it does, for help texts: one sentence.
    pub summary: &'static str,
    /// Makes one.
    pub make: MakeScheduler,
}

impl fmt::Debug for SchedulerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.summary)
    }
}

/// Every scheduler there is.
pub const SCHEDULERS: &[SchedulerInfo] = &[
    rr::INFO,
    wrr::INFO,
    lc::INFO,
    wlc::INFO,
    locality::LBLC,
    locality::LBLCR,
    dh::INFO,
    sh::INFO,
    sed::INFO,
    nq::INFO,
    fo::INFO,
    ovf::INFO,
    mh::INFO,
];

/// The first of the heaviest destinations that may be chosen.
fn first_heaviest(
    candidates: &Candidates<'_>,
    may_be_chosen: fn(&Destination) -> bool,
) -> Option<usize> {
    let mut best: Option<(usize, u32)> = None;
    for (position, d) in candidates.iter().filter(|(_, d)| may_be_chosen(d)) {
        if best.is_none_or(|(_, weight)| d.weight() > weight) {
            best = Some((position, d.weight()));
        }
    }
    best.map(|(position, _)| position)
}

/// The scheduler of that name.
pub fn by_name(name: &str) -> Option<&'static SchedulerInfo> {
    SCHEDULERS.iter().find(|info| info.name == name)
}

#[cfg(test)]
pub(crate) mod tests;
