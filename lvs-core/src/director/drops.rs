//! The last frame of each that was dropped, beside the counters.

use alloc::boxed::Box;

use super::Director;
use crate::drop::DropReason;
use crate::flow::FlowKey;
use crate::ids::PortId;
use crate::listing::LastDrop;

/// One for each reason, in the order of their counters.
#[derive(Clone, Debug)]
pub(super) struct LastDrops(Box<[Option<LastDrop>; DropReason::COUNT]>);

impl Default for LastDrops {
    fn default() -> LastDrops {
        LastDrops(Box::new([None; DropReason::COUNT]))
    }
}

impl Director {
    /// The last frame that was dropped for a reason.
    pub fn last_drop(&self, reason: DropReason) -> Option<&LastDrop> {
        self.last_drops.0[reason.index()].as_ref()
    }

    /// Counts a dropped frame and notes which one it was.
    #[cold]
    pub(super) fn count_drop(
        &mut self,
        reason: DropReason,
        port: Option<PortId>,
        flow: Option<&FlowKey>,
    ) {
        self.stats.dropped[reason.index()] += 1;
        let flow = flow.copied();
        self.last_drops.0[reason.index()] = Some(LastDrop { at: self.now, port, flow });
    }
}
