//! `ovf`: overflow to the next.

use alloc::boxed::Box;

use super::{Candidates, Request, Schedule, SchedulerInfo};

pub(super) const INFO: SchedulerInfo = SchedulerInfo {
    name: "ovf",
    summary: "Overflow: the heaviest server whose active connections are not more than its weight.",
    make: |_, _| Box::new(Overflow),
};

/// A server takes one connection more than its weight before it overflows; UDP is never active and so
/// never overflows (rules S5, S7).
#[derive(Clone, Debug)]
struct Overflow;

impl Schedule for Overflow {
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(self.clone()))
    }

    fn pick(&mut self, candidates: &Candidates<'_>, _: &Request<'_>) -> Option<usize> {
        super::first_heaviest(candidates, |d| d.is_eligible() && d.active() <= d.weight())
    }
}
