//! `dh`: by the destination address.

use alloc::boxed::Box;

use super::{Candidates, Change, Request, Schedule, SchedulerInfo, load};

/// Buckets of the table.
const BUCKETS: usize = 256;

pub(super) const INFO: SchedulerInfo = SchedulerInfo {
    name: "dh",
    summary: "Destination hashing: the server that the destination address falls on; weights are ignored.",
    make: |_, candidates| {
        let mut hashing = DestinationHashing { buckets: [None; BUCKETS] };
        hashing.changed(candidates, Change::Edited(0));
        Box::new(hashing)
    },
};

/// Buckets are filled with the servers in turn; a bucket whose server is quiesced or full refuses its
/// clients (rule S10).
#[derive(Clone, Debug)]
struct DestinationHashing {
    /// The position of each bucket's server.
    buckets: [Option<u32>; BUCKETS],
}

impl Schedule for DestinationHashing {
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(self.clone()))
    }

    fn pick(&mut self, candidates: &Candidates<'_>, request: &Request<'_>) -> Option<usize> {
        let bucket = load::bucket_of_256(load::fold(request.flow.virtual_addr()));
        let position = self.buckets[bucket]? as usize;
        candidates.at(position).is_eligible().then_some(position)
    }

    fn starts_anew(&self) -> bool {
        true
    }

    fn changed(&mut self, candidates: &Candidates<'_>, _: Change) {
        for (i, bucket) in self.buckets.iter_mut().enumerate() {
            *bucket = (i as u32).checked_rem(candidates.len() as u32);
        }
    }
}
