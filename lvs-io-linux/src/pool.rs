//! Memory for frames that lie in no ring: those read one by one, and those that the director sends of its own.

use std::slice::ChunksExactMut;

use arrayvec::ArrayVec;
use lvs_core::ids::PortId;
use lvs_core::io::{BurstReport, Frame};

use crate::{BURST_MAX, FRAME_LEN_MAX};

/// As many slots as a burst has frames. Their pages are only filled in when they are used.
#[derive(Debug)]
pub struct Pool {
    memory: Vec<u8>,
    frame_start: usize,
    slot_len: usize,
}

/// The slots of a pool that are still free in this burst.
pub type Slots<'a> = ChunksExactMut<'a, u8>;

/// What became of a burst.
#[derive(Debug, Default)]
pub struct Settled {
    /// How the frames ended.
    pub report: BurstReport,
    /// Whether a port had no more room.
    pub full: bool,
}

impl Pool {
    /// Of so many slots, in each of which a frame begins at `frame_start` and may be one byte longer than any
    /// frame is, so that a longer one is known.
    pub fn new(slots: usize, frame_start: usize) -> Pool {
        // Whole cache lines, so that no two slots share one.
        let slot_len = (frame_start + FRAME_LEN_MAX + 1).next_multiple_of(64);
        Pool { memory: vec![0; slots * slot_len], frame_start, slot_len }
    }

    /// The slots.
    pub fn slots(&mut self) -> Slots<'_> {
        self.memory.chunks_exact_mut(self.slot_len)
    }

    /// The body of [`FrameIo::inject`](lvs_core::io::FrameIo::inject): lends empty frames to `fill` as long as
    /// it fills them, and gives them to `settle` a burst at a time, until a port is full. Returns how many were
    /// sent.
    pub fn inject(
        &mut self,
        fill: &mut dyn FnMut(&mut Frame<'_>) -> bool,
        mut settle: impl FnMut(&mut [Frame<'_>]) -> Settled,
    ) -> u32 {
        let mut sent = 0;
        loop {
            let mut frames = ArrayVec::<Frame<'_>, BURST_MAX>::new();
            let mut has_more = true;
            for slot in self.memory.chunks_exact_mut(self.slot_len).take(BURST_MAX) {
                let mut frame = Frame::new(slot, self.frame_start, 0, PortId(0));
                has_more = fill(&mut frame);
                if !has_more {
                    break;
                }
                frames.push(frame);
            }
            let settled = settle(&mut frames);
            sent += settled.report.transmitted;
            if !has_more || settled.full {
                return sent;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Injects `count` frames through a pool of 4 slots of which each burst sends all; returns the bursts.
    fn bursts(count: u8, full: bool) -> (u32, Vec<Vec<u8>>) {
        let (mut left, mut seen) = (0..count, Vec::new());
        let sent = Pool::new(4, 64).inject(
            &mut |frame| left.next().is_some_and(|number| frame.replace(&[number])),
            |frames| {
                seen.push(frames.iter().map(|frame| frame.bytes()[0]).collect());
                let transmitted = frames.len() as u32;
                Settled { report: BurstReport { transmitted, ..BurstReport::default() }, full }
            },
        );
        (sent, seen)
    }

    #[test]
    fn frames_are_sent_in_bursts_until_there_are_no_more() {
        let expected = vec![vec![0, 1, 2, 3], vec![4, 5]];
        assert_eq!(bursts(6, false), (6, expected));
    }

    #[test]
    fn no_further_burst_is_filled_when_a_port_is_full() {
        assert_eq!(bursts(9, true), (4, vec![vec![0, 1, 2, 3]]));
    }
}
