//! A generator: the frames of the benchmarks, sent over an interface, many in one system call.

use std::ops::Range;
use std::time::{Duration, Instant};

use lvs_core::ids::PortId;
use lvs_core::io::{Frame, FrameIo, Verdict};
use lvs_io_afpacket::{AfPacket, Error};

use crate::ring::{FRAME_LEN, Order, Pattern};

/// Sends frames of many flows.
#[derive(Debug)]
pub struct Flood {
    io: AfPacket,
}

impl Flood {
    /// A generator on an interface of the calling thread's network namespace.
    ///
    /// # Errors
    /// If there is no such interface, or the privilege is missing.
    pub fn open(interface: &str) -> Result<Flood, Error> {
        // It receives nothing, so its ring may be the smallest.
        let io = AfPacket::builder().port(interface).ring_bytes(0).qdisc_bypass(true).build()?;
        Ok(Flood { io })
    }

    /// Sends one frame of each of some flows, in order.
    ///
    /// # Errors
    /// If the interface is gone.
    pub fn send_flows(&mut self, pattern: &Pattern, flows: Range<u32>) -> Result<(), Error> {
        self.send(pattern, flows)
    }

    /// Sends `bursts` bursts of flows in random order, and returns how long that took.
    ///
    /// # Errors
    /// If the interface is gone.
    pub fn send_random(
        &mut self,
        pattern: &Pattern,
        order: &mut Order,
        bursts: usize,
    ) -> Result<Duration, Error> {
        let flows = std::iter::repeat_with(|| *order.next_burst()).take(bursts).flatten();
        let started = Instant::now();
        self.send(pattern, flows)?;
        Ok(started.elapsed())
    }

    fn send(
        &mut self,
        pattern: &Pattern,
        mut flows: impl Iterator<Item = u32>,
    ) -> Result<(), Error> {
        let mut more = true;
        // The backend returns early when the interface has no more room.
        while more {
            self.io.inject(&mut |frame: &mut Frame<'_>| {
                let Some(flow) = flows.next() else {
                    more = false;
                    return false;
                };
                frame.set_len(FRAME_LEN);
                pattern.write(flow, frame.bytes_mut());
                frame.verdict = Verdict::Transmit(PortId(0));
                true
            })?;
        }
        Ok(())
    }
}
