//! `wlc`: the least loaded for its weight.

use alloc::boxed::Box;

use super::{Candidates, Request, Schedule, SchedulerInfo, load};

pub(super) const INFO: SchedulerInfo = SchedulerInfo {
    name: "wlc",
    summary: "Weighted least connection: the server with the fewest connections for its weight.",
    make: |_, _| Box::new(WeightedLeastConnection),
};

/// Smallest load ÷ weight; ties go to the server added last (rules S1, S4).
#[derive(Clone, Debug)]
struct WeightedLeastConnection;

impl Schedule for WeightedLeastConnection {
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(self.clone()))
    }

    fn pick(&mut self, candidates: &Candidates<'_>, _: &Request<'_>) -> Option<usize> {
        load::least(candidates, load::connections)
    }
}
