//! `fo`: fail over.

use alloc::boxed::Box;

use super::{Candidates, Request, Schedule, SchedulerInfo};

pub(super) const INFO: SchedulerInfo = SchedulerInfo {
    name: "fo",
    summary: "Fail over: the heaviest server that is not full; connections do not count.",
    make: |_, _| Box::new(FailOver),
};

/// The greatest weight; ties go to the server added last (rules S1, S8).
#[derive(Clone, Debug)]
struct FailOver;

impl Schedule for FailOver {
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(self.clone()))
    }

    fn pick(&mut self, candidates: &Candidates<'_>, _: &Request<'_>) -> Option<usize> {
        super::first_heaviest(candidates, |d| d.is_eligible())
    }
}
