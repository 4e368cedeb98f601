//! Our own memory for frames that are in no ring: those longer than a slot, and those the director sends
//! of its own.

use std::slice::ChunksExactMut;

use crate::{FRAME_LEN_MAX, HEADROOM};

/// Where a frame begins in a slot of the pool: the promised headroom, and room for a VLAN tag that is
/// put back.
pub(crate) const POOL_HEADROOM: usize = HEADROOM + 4;
/// Bytes of a slot of the pool, in whole cache lines.
const POOL_SLOT_LEN: usize = (POOL_HEADROOM + FRAME_LEN_MAX).next_multiple_of(64);

/// As many slots as a burst has frames. Their pages are only filled in when they are used.
#[derive(Debug)]
pub(crate) struct Pool {
    memory: Vec<u8>,
}

/// The slots that are still free in this burst.
pub(crate) type SlotsOfPool<'a> = ChunksExactMut<'a, u8>;

impl Pool {
    pub(crate) fn new(slots: usize) -> Pool {
        Pool { memory: vec![0; slots * POOL_SLOT_LEN] }
    }

    pub(crate) fn slots(&mut self) -> SlotsOfPool<'_> {
        self.memory.chunks_exact_mut(POOL_SLOT_LEN)
    }
}
