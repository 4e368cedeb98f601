//! `sed`: shortest expected delay.

use alloc::boxed::Box;

use super::{Candidates, Request, Schedule, SchedulerInfo, load};

pub(super) const INFO: SchedulerInfo = SchedulerInfo {
    name: "sed",
    summary: "Shortest expected delay: smallest (active + 1) for its weight; inactive ones do not count.",
    make: |_, _| Box::new(ShortestExpectedDelay),
};

/// Smallest (active + 1) ÷ weight; ties go to the server added last (rules S1, S6).
#[derive(Clone, Debug)]
struct ShortestExpectedDelay;

impl Schedule for ShortestExpectedDelay {
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(self.clone()))
    }

    fn pick(&mut self, candidates: &Candidates<'_>, _: &Request<'_>) -> Option<usize> {
        load::least(candidates, load::expected)
    }
}
