//! The memory that frames are read into and sent from.

use std::slice::ChunksExactMut;

use lvs_core::io::vnet::VNET_HEADER_LEN;

use crate::{FRAME_LEN_MAX, HEADROOM};

/// Where a frame begins in a slot: the promised headroom, and room for the header that goes in front of
/// the frame however much of the headroom is used. Two bytes more put the IP header where 16 divides.
pub(crate) const FRAME_START: usize = HEADROOM + VNET_HEADER_LEN + 8;
/// Bytes of a slot, in whole cache lines: one more than the longest frame has, to know a longer one.
const SLOT_LEN: usize = (FRAME_START + FRAME_LEN_MAX + 1).next_multiple_of(64);

const _: () = assert!((FRAME_START + 14).is_multiple_of(16), "the IP header is aligned");

/// As many slots as a burst has frames. Their pages are only filled in when they are used.
#[derive(Debug)]
pub(crate) struct Pool {
    memory: Vec<u8>,
}

impl Pool {
    pub(crate) fn new(slots: usize) -> Pool {
        Pool { memory: vec![0; slots * SLOT_LEN] }
    }

    pub(crate) fn slots(&mut self) -> ChunksExactMut<'_, u8> {
        self.memory.chunks_exact_mut(SLOT_LEN)
    }
}
