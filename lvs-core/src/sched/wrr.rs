//! `wrr`: in proportion to weight, heaviest first, by the kernel's walk (rule S3).

use alloc::boxed::Box;

use super::{Candidates, Change, Request, Schedule, SchedulerInfo};

pub(super) const INFO: SchedulerInfo = SchedulerInfo {
    name: "wrr",
    summary: "Weighted round robin: connections in proportion to weight, heaviest servers first.",
    make: |_, candidates| {
        let mut wrr = WeightedRoundRobin { position: None, current: 0, step: 1, most: 0 };
        wrr.measure(candidates);
        wrr.current = wrr.most;
        Box::new(wrr)
    },
};

/// The walk: from the position onwards, the first server with weight ≥ `current` wins; passing the end
/// lowers `current` by `step`, and below 1 it becomes `most` again.
#[derive(Clone, Debug)]
struct WeightedRoundRobin {
    /// The position used last; `None` is the head of the list.
    position: Option<usize>,
    /// The weight a server must have at present.
    current: i64,
    /// Greatest common divisor of the weights that are not 0; 1 if there are none.
    step: i64,
    /// Greatest weight − (step − 1); 0 if there is none.
    most: i64,
}

impl WeightedRoundRobin {
    fn measure(&mut self, candidates: &Candidates<'_>) {
        let weights = || candidates.iter().map(|(_, d)| i64::from(d.weight())).filter(|&w| w > 0);
        self.step = weights().reduce(gcd).unwrap_or(1);
        self.most = weights().max().map_or(0, |greatest| greatest - (self.step - 1));
    }
}

impl Schedule for WeightedRoundRobin {
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(self.clone()))
    }

    fn pick(&mut self, candidates: &Candidates<'_>, _: &Request<'_>) -> Option<usize> {
        if self.most == 0 {
            return None;
        }
        let started_at = self.position;
        let mut next = started_at.map_or(0, |position| position + 1);
        // The walk ends when all servers were asked for the least weight there can be: at the end of
        // such a pass that began at the head, or where a wrapped walk meets the place it started from.
        let mut stop = None;
        let mut wrapped = false;
        let mut last_pass = false;
        loop {
            for position in next..candidates.len() {
                let d = candidates.at(position);
                if !d.overloaded() && i64::from(d.weight()) >= self.current {
                    self.position = Some(position);
                    return Some(position);
                }
                if Some(position) == stop {
                    self.position = Some(position);
                    return None;
                }
            }
            next = 0;
            self.current -= self.step;
            if self.current <= 0 {
                self.current = self.most;
                if last_pass || started_at.is_none() {
                    self.position = None;
                    return None;
                }
                wrapped = true;
            }
            last_pass = self.current <= self.step;
            if last_pass && wrapped {
                stop = started_at;
            }
        }
    }

    fn starts_anew(&self) -> bool {
        true
    }

    fn changed(&mut self, candidates: &Candidates<'_>, _: Change) {
        self.position = None;
        self.measure(candidates);
        if self.current > self.most || self.current == 0 {
            self.current = self.most;
        } else if self.step > 1 {
            self.current = self.current / self.step * self.step + 1;
        }
    }
}

fn gcd(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
