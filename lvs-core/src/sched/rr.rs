//! `rr`: one after the other.

use alloc::boxed::Box;

use super::{Candidates, Change, Request, Schedule, SchedulerInfo};

pub(super) const INFO: SchedulerInfo = SchedulerInfo {
    name: "rr",
    summary: "Round robin: the next server in list order whose weight is not 0.",
    make: |_, _| Box::new(RoundRobin { last: None }),
};

/// The pointer goes on from the server used last; a server added meanwhile is met when it wraps;
/// deleting the server it stands on moves it back by one (rule S2).
#[derive(Clone, Debug)]
struct RoundRobin {
    /// The position used last; `None` is the head of the list, before the first.
    last: Option<usize>,
}

impl Schedule for RoundRobin {
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(self.clone()))
    }

    fn pick(&mut self, candidates: &Candidates<'_>, _: &Request<'_>) -> Option<usize> {
        let len = candidates.len();
        let first = self.last.map_or(0, |last| last + 1);
        let chosen = (first..len)
            .chain(0..first.min(len))
            .find(|&position| candidates.at(position).is_eligible())?;
        self.last = Some(chosen);
        Some(chosen)
    }

    fn changed(&mut self, _: &Candidates<'_>, change: Change) {
        self.last = match (self.last, change) {
            (Some(last), Change::Added(at)) if at <= last => Some(last + 1),
            (Some(last), Change::Removed(at)) if at <= last => last.checked_sub(1),
            (last, _) => last,
        };
    }
}
