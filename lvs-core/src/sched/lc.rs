//! `lc`: the least loaded, whatever its weight.

use alloc::boxed::Box;

use super::{Candidates, Request, Schedule, SchedulerInfo, load};

pub(super) const INFO: SchedulerInfo = SchedulerInfo {
    name: "lc",
    summary: "Least connection: the server with the fewest connections; weight only matters as 0.",
    make: |_, _| Box::new(LeastConnection),
};

/// Smallest load; ties go to the server added last (rules S1, S4).
#[derive(Clone, Debug)]
struct LeastConnection;

impl Schedule for LeastConnection {
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(self.clone()))
    }

    fn pick(&mut self, candidates: &Candidates<'_>, _: &Request<'_>) -> Option<usize> {
        let eligible = candidates.iter().filter(|(_, d)| d.is_eligible());
        eligible.min_by_key(|(_, d)| load::connections(d)).map(|(position, _)| position)
    }
}
