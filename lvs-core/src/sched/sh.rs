//! `sh`: by the client's address.

use alloc::boxed::Box;

use super::{Candidates, Change, Request, Schedule, SchedulerInfo, load};

/// Buckets of the table.
const BUCKETS: usize = 256;

pub(super) const INFO: SchedulerInfo = SchedulerInfo {
    name: "sh",
    summary: "Source hashing: the server that the client's address falls on, in proportion to weight.",
    make: |flags, candidates| {
        let (fallback, with_port) = (flags.flag_1, flags.flag_2);
        let mut hashing = SourceHashing { buckets: [None; BUCKETS], fallback, with_port };
        hashing.changed(candidates, Change::Edited(0));
        Box::new(hashing)
    },
};

/// Each server owns as many buckets in a row as its weight, a quiesced one too; its clients are refused
/// unless `sh-fallback` looks on (rule S9).
#[derive(Clone, Debug)]
struct SourceHashing {
    /// The position of each bucket's server.
    buckets: [Option<u32>; BUCKETS],
    fallback: bool,
    with_port: bool,
}

impl Schedule for SourceHashing {
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(self.clone()))
    }

    fn pick(&mut self, candidates: &Candidates<'_>, request: &Request<'_>) -> Option<usize> {
        let port = if self.with_port { u32::from(request.flow.client_port().0) } else { 0 };
        let client = load::fold(request.flow.client_addr());
        let first = load::bucket_of_256(client.wrapping_add(port));
        let usable = |bucket: usize| {
            let position = self.buckets[bucket]? as usize;
            candidates.at(position).is_eligible().then_some(position)
        };
        usable(first).or_else(|| {
            let offsets = if self.fallback { BUCKETS } else { 0 };
            (0..offsets).find_map(|off| usable((first + (off + first) % BUCKETS) % BUCKETS))
        })
    }

    fn starts_anew(&self) -> bool {
        true
    }

    fn changed(&mut self, candidates: &Candidates<'_>, _: Change) {
        let (mut position, mut filled) = (0, 0);
        for bucket in &mut self.buckets {
            if candidates.is_empty() {
                *bucket = None;
                continue;
            }
            *bucket = Some(position as u32);
            filled += 1;
            if filled >= candidates.at(position).weight() {
                (position, filled) = ((position + 1) % candidates.len(), 0);
            }
        }
    }
}
