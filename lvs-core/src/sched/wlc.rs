//! `wlc`: the least loaded for its weight.

use alloc::boxed::Box;

use super::{Candidates, Request, Schedule, SchedulerInfo};
use crate::dest::Destination;

pub(super) const INFO: SchedulerInfo = SchedulerInfo {
    name: "wlc",
    summary: "Weighted least connection: the server with the fewest connections for its weight.",
    make: |_, _| Box::new(WeightedLeastConnection),
};

/// Smallest load ÷ weight, compared by cross-multiplying so that nothing is rounded; ties go to the
/// server added last (rules S1, S4).
#[derive(Debug)]
struct WeightedLeastConnection;

impl Schedule for WeightedLeastConnection {
    fn pick(&mut self, candidates: &Candidates<'_>, _: &Request<'_>) -> Option<usize> {
        least(candidates, load)
    }
}

/// The load that wlc and its relatives compare: an active connection weighs 256 inactive ones (rule S4).
fn load(d: &Destination) -> u64 {
    (u64::from(d.active()) << 8) + u64::from(d.inactive())
}

/// The eligible destination with the smallest `load` ÷ weight, the first of equals.
fn least(candidates: &Candidates<'_>, load: impl Fn(&Destination) -> u64) -> Option<usize> {
    let mut best: Option<(usize, u128, u128)> = None;
    for (position, d) in candidates.iter().filter(|(_, d)| d.is_eligible()) {
        let (d_load, d_weight) = (u128::from(load(d)), u128::from(d.weight()));
        if best.is_none_or(|(_, b_load, b_weight)| b_load * d_weight > d_load * b_weight) {
            best = Some((position, d_load, d_weight));
        }
    }
    best.map(|(position, ..)| position)
}
