//! In-memory backend: ports are queues, the peer is the caller.
//!
//! It is a backend like any other and passes [`conformance`](super::conformance); simulations, tests
//! and programs that bring frames from elsewhere use it. It allocates freely and reads no clock.
//!
//! ```
//! use lvs_core::ids::PortId;
//! use lvs_core::io::mem::MemIo;
//! use lvs_core::io::{FrameIo, Verdict};
//!
//! let mut io = MemIo::new(2);
//! io.push(PortId(0), &[0u8; 60]);
//! io.exchange(&mut |burst| burst[0].verdict = Verdict::Transmit(PortId(1))).unwrap();
//! assert_eq!(io.sent(PortId(1)).len(), 1);
//! ```

use core::convert::Infallible;
use core::time::Duration;
use std::boxed::Box;
use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

use super::{BurstReport, Caps, Frame, FrameIo, HEADROOM_DEFAULT, Offload, Readiness, Verdict};
use crate::drop::{DropReason, PassReason};
use crate::ids::PortId;

/// The longest frame there is by default: an IPv4 or IPv6 packet of 65,535 bytes behind an Ethernet
/// header with two VLAN tags.
pub const FRAME_LEN_MAX_DEFAULT: u32 = 14 + 4 + 4 + 65_535;

/// Bytes that a slot has behind the longest frame, so that a frame can grow past what may be sent.
const TAILROOM: usize = 64;

/// The measures of a [`MemIo`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemConfig {
    /// Number of ports.
    pub ports: u16,
    /// The most frames lent in one burst; at least 1.
    pub burst_max: u16,
    /// Bytes of headroom in front of each frame.
    pub headroom: u16,
    /// The longest frame that can be received or sent, in bytes.
    pub frame_len_max: u32,
    /// How many frames a port holds until [`MemIo::sent`] takes them; beyond that its ring is full.
    pub transmit_capacity: usize,
}

impl Default for MemConfig {
    fn default() -> Self {
        MemConfig {
            ports: 2,
            burst_max: 32,
            headroom: HEADROOM_DEFAULT as u16,
            frame_len_max: FRAME_LEN_MAX_DEFAULT,
            transmit_capacity: 65_536,
        }
    }
}

/// A frame that left by a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentFrame {
    /// The frame from its Ethernet header on.
    pub bytes: Vec<u8>,
    /// Its offload metadata.
    pub offload: Offload,
    /// Whether the verdict was `Reply`.
    pub reply: bool,
}

/// A frame that was left to the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PassedFrame {
    /// The port it came in by.
    pub port: PortId,
    /// Why.
    pub reason: PassReason,
    /// The frame as `decide` left it.
    pub bytes: Vec<u8>,
}

/// A frame that was dropped: by verdict, or because it could not be received or sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DroppedFrame {
    /// The port it came in by; for a frame of [`FrameIo::inject`] the port it was to leave by.
    pub port: PortId,
    /// Why.
    pub reason: DropReason,
    /// The frame as `decide` left it.
    pub bytes: Vec<u8>,
}

/// Frames on their way in.
#[derive(Debug)]
struct Arrival {
    port: PortId,
    bytes: Vec<u8>,
    offload: Offload,
}

/// The sending side of a port.
#[derive(Debug, Default)]
struct Link {
    sent: Vec<SentFrame>,
    down: bool,
}

/// Everything that happened to frames, until the caller takes it.
#[derive(Debug)]
struct Outcome {
    links: Vec<Link>,
    passed: Vec<PassedFrame>,
    dropped: Vec<DroppedFrame>,
    frame_len_max: usize,
    transmit_capacity: usize,
}

/// The in-memory backend.
///
/// Frames are lent in the order in which they were pushed, over all ports.
#[derive(Debug)]
pub struct MemIo {
    caps: Caps,
    arrivals: VecDeque<Arrival>,
    slots: Vec<Box<[u8]>>,
    outcome: Outcome,
    woken: bool,
}

impl MemIo {
    /// A backend with `ports` ports and otherwise default measures.
    ///
    /// # Panics
    /// If `ports` is 0.
    pub fn new(ports: u16) -> MemIo {
        MemIo::with_config(MemConfig { ports, ..MemConfig::default() })
    }

    /// A backend of the given measures.
    ///
    /// # Panics
    /// If there are no ports, or bursts of no frames.
    pub fn with_config(config: MemConfig) -> MemIo {
        assert!(config.ports > 0, "a backend needs a port");
        assert!(config.burst_max > 0, "a burst needs a frame");
        let slot_len = usize::from(config.headroom) + config.frame_len_max as usize + TAILROOM;
        MemIo {
            caps: Caps {
                ports: config.ports,
                headroom_min: config.headroom,
                frame_len_max: config.frame_len_max,
                burst_max: config.burst_max,
                offloads: true,
            },
            arrivals: VecDeque::new(),
            slots: (0..config.burst_max).map(|_| vec![0; slot_len].into_boxed_slice()).collect(),
            outcome: Outcome {
                links: (0..config.ports).map(|_| Link::default()).collect(),
                passed: Vec::new(),
                dropped: Vec::new(),
                frame_len_max: config.frame_len_max as usize,
                transmit_capacity: config.transmit_capacity,
            },
            woken: false,
        }
    }

    /// Lets a frame arrive at a port, complete as on the wire.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn push(&mut self, port: PortId, bytes: &[u8]) {
        self.push_with(port, bytes, Offload::default());
    }

    /// Lets a frame arrive at a port with offload metadata. A frame longer than
    /// [`MemConfig::frame_len_max`] is dropped with `receive-truncated`; at a port that is down nothing
    /// arrives.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn push_with(&mut self, port: PortId, bytes: &[u8], offload: Offload) {
        if self.outcome.links[port.index()].down {
            return;
        }
        let bytes = bytes.to_vec();
        if bytes.len() > self.outcome.frame_len_max {
            let reason = DropReason::ReceiveTruncated;
            self.outcome.dropped.push(DroppedFrame { port, reason, bytes });
            return;
        }
        self.arrivals.push_back(Arrival { port, bytes, offload });
    }

    /// How many frames have arrived and were not yet lent.
    pub fn waiting(&self) -> usize {
        self.arrivals.len()
    }

    /// Takes what left by a port since the last call, oldest first. This also makes room in its ring.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn sent(&mut self, port: PortId) -> Vec<SentFrame> {
        core::mem::take(&mut self.outcome.links[port.index()].sent)
    }

    /// Takes the frames left to the host since the last call.
    pub fn passed(&mut self) -> Vec<PassedFrame> {
        core::mem::take(&mut self.outcome.passed)
    }

    /// Takes the frames dropped since the last call, those that could not be sent included.
    pub fn dropped(&mut self) -> Vec<DroppedFrame> {
        core::mem::take(&mut self.outcome.dropped)
    }

    /// Takes a port down or brings it back. While it is down nothing arrives and what is to leave by it
    /// is dropped with `port-down`.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn set_down(&mut self, port: PortId, down: bool) {
        self.outcome.links[port.index()].down = down;
    }

    /// Changes how many frames each port holds until they are taken.
    pub fn set_transmit_capacity(&mut self, frames: usize) {
        self.outcome.transmit_capacity = frames;
    }

    /// Makes the next [`FrameIo::wait`] that finds no frame return [`Readiness::Woken`].
    pub fn wake(&mut self) {
        self.woken = true;
    }
}

impl Outcome {
    /// Sends one frame, or says why it could not be sent.
    fn send(&mut self, port: PortId, frame: &Frame<'_>, reply: bool) -> Result<(), DropReason> {
        let capacity = self.transmit_capacity;
        let link = self.links.get_mut(port.index()).ok_or(DropReason::PortDown)?;
        if link.down {
            return Err(DropReason::PortDown);
        }
        if frame.len() < 14 || frame.len() > self.frame_len_max {
            return Err(DropReason::TransmitError);
        }
        if link.sent.len() >= capacity {
            return Err(DropReason::TransmitFull);
        }
        link.sent.push(SentFrame { bytes: frame.bytes().to_vec(), offload: frame.offload, reply });
        Ok(())
    }

    fn record_drop(&mut self, port: PortId, reason: DropReason, frame: &Frame<'_>) {
        self.dropped.push(DroppedFrame { port, reason, bytes: frame.bytes().to_vec() });
    }

    /// Carries out the verdict of a received frame.
    fn settle(&mut self, frame: &Frame<'_>, report: &mut BurstReport) {
        let (port, reply) = match frame.verdict {
            Verdict::Transmit(port) => (port, false),
            Verdict::Reply(port) => (port, true),
            Verdict::Pass(reason) => {
                let bytes = frame.bytes().to_vec();
                self.passed.push(PassedFrame { port: frame.port(), reason, bytes });
                report.passed += 1;
                return;
            }
            Verdict::Drop(reason) => {
                self.record_drop(frame.port(), reason, frame);
                report.dropped += 1;
                return;
            }
            Verdict::Absorb => return,
        };
        match self.send(port, frame, reply) {
            Ok(()) => report.transmitted += 1,
            Err(reason) => {
                self.record_drop(frame.port(), reason, frame);
                report.unsent += 1;
            }
        }
    }
}

impl FrameIo for MemIo {
    type Error = Infallible;

    fn caps(&self) -> &Caps {
        &self.caps
    }

    /// Never sleeps: nobody else could push a frame meanwhile. Without a frame the deadline counts as
    /// passed.
    fn wait(&mut self, _timeout: Option<Duration>) -> Result<Readiness, Infallible> {
        if !self.arrivals.is_empty() {
            return Ok(Readiness::Frames);
        }
        Ok(if core::mem::take(&mut self.woken) { Readiness::Woken } else { Readiness::Deadline })
    }

    fn exchange(
        &mut self,
        decide: &mut dyn FnMut(&mut [Frame<'_>]),
    ) -> Result<BurstReport, Infallible> {
        let count = self.arrivals.len().min(self.slots.len());
        if count == 0 {
            return Ok(BurstReport::default());
        }
        let start = usize::from(self.caps.headroom_min);
        let mut frames: Vec<Frame<'_>> = Vec::with_capacity(count);
        for (slot, arrival) in self.slots.iter_mut().zip(self.arrivals.drain(..count)) {
            let len = arrival.bytes.len();
            slot[start..start + len].copy_from_slice(&arrival.bytes);
            let mut frame = Frame::new(slot, start, len, arrival.port);
            frame.offload = arrival.offload;
            frames.push(frame);
        }
        decide(&mut frames);
        let mut report = BurstReport {
            received: count as u32,
            more: count == usize::from(self.caps.burst_max),
            ..BurstReport::default()
        };
        for frame in &frames {
            self.outcome.settle(frame, &mut report);
        }
        Ok(report)
    }

    fn inject(&mut self, fill: &mut dyn FnMut(&mut Frame<'_>) -> bool) -> Result<u32, Infallible> {
        let start = usize::from(self.caps.headroom_min);
        let mut sent = 0;
        loop {
            let mut frame = Frame::new(&mut self.slots[0], start, 0, PortId(0));
            if !fill(&mut frame) {
                return Ok(sent);
            }
            let (port, reply) = match frame.verdict {
                Verdict::Transmit(port) => (port, false),
                Verdict::Reply(port) => (port, true),
                Verdict::Drop(reason) => {
                    self.outcome.record_drop(frame.port(), reason, &frame);
                    continue;
                }
                Verdict::Pass(reason) => {
                    let bytes = frame.bytes().to_vec();
                    self.outcome.passed.push(PassedFrame { port: frame.port(), reason, bytes });
                    continue;
                }
                Verdict::Absorb => continue,
            };
            match self.outcome.send(port, &frame, reply) {
                Ok(()) => sent += 1,
                Err(reason) => {
                    self.outcome.record_drop(port, reason, &frame);
                    if reason == DropReason::TransmitFull {
                        return Ok(sent);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::MacAddr;
    use crate::io::conformance::{self, Harness, PeerFrame};

    struct Mem(MemIo);

    impl Harness for Mem {
        type Io = MemIo;

        fn io(&mut self) -> &mut MemIo {
            &mut self.0
        }

        fn mac(&self, port: PortId) -> MacAddr {
            MacAddr([2, 0, 0, 0, 0, port.0 as u8])
        }

        fn peer_send(&mut self, port: PortId, frame: &[u8], offload: Offload) {
            self.0.push_with(port, frame, offload);
        }

        fn peer_receive(&mut self, port: PortId, _at_least: usize) -> Vec<PeerFrame> {
            let sent = self.0.sent(port).into_iter();
            sent.map(|s| PeerFrame { bytes: s.bytes, offload: s.offload }).collect()
        }

        fn clog(&mut self, _port: PortId) {
            self.0.set_transmit_capacity(3);
        }

        fn unclog(&mut self, _port: PortId) {
            self.0.set_transmit_capacity(100_000);
        }

        fn refused_len(&self) -> usize {
            self.0.caps().frame_len_max as usize + 1
        }
    }

    #[test]
    fn the_in_memory_backend_keeps_the_contract() {
        conformance::run(&mut || Mem(MemIo::new(2)));
    }

    #[test]
    fn it_keeps_the_contract_with_bursts_of_one_and_little_headroom() {
        let config = MemConfig { burst_max: 1, headroom: 16, ..MemConfig::default() };
        conformance::run(&mut || Mem(MemIo::with_config(config)));
    }

    #[test]
    fn a_port_that_is_down_neither_receives_nor_sends() {
        let mut io = MemIo::new(2);
        io.set_down(PortId(1), true);
        io.push(PortId(1), &[0; 60]);
        assert_eq!(io.waiting(), 0);
        io.push(PortId(0), &[0; 60]);
        let report =
            io.exchange(&mut |burst| burst[0].verdict = Verdict::Transmit(PortId(1))).unwrap();
        assert_eq!((report.transmitted, report.unsent), (0, 1));
        assert_eq!(io.dropped()[0].reason, DropReason::PortDown);
    }

    #[test]
    fn a_frame_that_is_too_long_to_receive_is_dropped_with_a_reason() {
        let mut io = MemIo::with_config(MemConfig { frame_len_max: 100, ..MemConfig::default() });
        io.push(PortId(0), &[0; 101]);
        assert_eq!(io.waiting(), 0);
        assert_eq!(io.dropped()[0].reason, DropReason::ReceiveTruncated);
    }

    #[test]
    fn waking_is_told_once_and_after_frames() {
        let mut io = MemIo::new(1);
        io.wake();
        io.push(PortId(0), &[0; 60]);
        assert_eq!(io.wait(None), Ok(Readiness::Frames));
        io.exchange(&mut |_| {}).unwrap();
        assert_eq!(io.wait(None), Ok(Readiness::Woken));
        assert_eq!(io.wait(None), Ok(Readiness::Deadline));
    }
}
