//! `nq`: never queue.

use alloc::boxed::Box;

use super::{Candidates, Request, Schedule, SchedulerInfo, load};

pub(super) const INFO: SchedulerInfo = SchedulerInfo {
    name: "nq",
    summary: "Never queue: the first server without an active connection, otherwise as sed.",
    make: |_, _| Box::new(NeverQueue),
};

/// The first eligible server without an active connection, whatever its weight, else the shortest expected
/// delay (rule S6).
#[derive(Clone, Debug)]
struct NeverQueue;

impl Schedule for NeverQueue {
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(self.clone()))
    }

    fn pick(&mut self, candidates: &Candidates<'_>, _: &Request<'_>) -> Option<usize> {
        let idle = candidates.iter().find(|(_, d)| d.is_eligible() && d.active() == 0);
        match idle {
            Some((position, _)) => Some(position),
            None => load::least(candidates, load::expected),
        }
    }
}
