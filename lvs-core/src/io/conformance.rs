//! The suite that every backend is held to.
//!
//! A backend's test supplies a [`Harness`]: the backend with two ports, and a peer at the far end of
//! each. [`run`] then checks the contract of the [module documentation](super) point by point; it
//! panics with the number of the point that does not hold. Point 6 (no clock outside `wait`) cannot be
//! seen from outside and is left to review.
//!
//! The suite knows its own frames by a mark in them and leaves all others alone, so a harness may run
//! on a real link where a kernel sends frames of its own.

mod checks;
mod frames;
pub mod peer;

use core::time::Duration;
use std::vec::Vec;

use super::{BurstReport, Frame, FrameIo, Offload, Readiness, Verdict};
use crate::addr::MacAddr;
use crate::drop::{DropReason, PassReason};
use crate::ids::PortId;

/// The port by which the suite's frames come in.
const IN: PortId = PortId(0);
/// The port by which most of them leave.
const OUT: PortId = PortId(1);

/// How long one `wait` of the suite may last.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a peer received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerFrame {
    /// The frame from its Ethernet header on.
    pub bytes: Vec<u8>,
    /// Its offload metadata, if the link carries any; the default if the frame is complete.
    pub offload: Offload,
}

/// A backend with at least two ports, and a peer behind each of them.
pub trait Harness {
    /// The backend.
    type Io: FrameIo;

    /// The backend.
    fn io(&mut self) -> &mut Self::Io;

    /// The address that a frame must be sent to so that the port receives it.
    fn mac(&self, port: PortId) -> MacAddr;

    /// Sends a frame from the peer into a port. Metadata other than the default is only asked for when
    /// [`Caps::offloads`](super::Caps::offloads) is set.
    fn peer_send(&mut self, port: PortId, frame: &[u8], offload: Offload);

    /// What came out of a port since the last call. Waits a generous time for `at_least` frames, and a
    /// short time for further ones (with `at_least` 0 only that).
    fn peer_receive(&mut self, port: PortId, at_least: usize) -> Vec<PeerFrame>;

    /// Makes a port's transmit ring or queue so full that it soon refuses frames: at the latest after
    /// 32 of 1,000 bytes.
    fn clog(&mut self, port: PortId);

    /// Undoes [`Harness::clog`]. What was queued meanwhile may be lost.
    fn unclog(&mut self, port: PortId);

    /// The length of a frame that can be built in an empty slot but that the ports refuse to send.
    fn refused_len(&self) -> usize;
}

/// Checks the whole contract, with a new harness for each point.
///
/// # Panics
/// With the number of the point, if the backend does not keep it.
pub fn run<H: Harness>(make: &mut dyn FnMut() -> H) {
    for (name, check) in checks::all::<H>() {
        std::eprintln!("conformance: {name}");
        check(&mut make());
    }
}

/// The sums of several [`BurstReport`]s.
#[derive(Default, Debug)]
struct Tally {
    received: u32,
    transmitted: u32,
    passed: u32,
    dropped: u32,
    unsent: u32,
    /// How many frames were not the suite's.
    foreign: u32,
}

impl Tally {
    fn add(&mut self, report: &BurstReport) {
        self.received += report.received;
        self.transmitted += report.transmitted;
        self.passed += report.passed;
        self.dropped += report.dropped;
        self.unsent += report.unsent;
    }
}

/// One `exchange`, with what must hold of each: points 1, 2, 3 and 8, and that the report adds up.
/// Returns how many frames of the suite were lent.
fn exchange_once<H: Harness>(
    harness: &mut H,
    tally: &mut Tally,
    decide: &mut dyn FnMut(u32, &mut Frame<'_>),
) -> u32 {
    let caps = *harness.io().caps();
    let (mut calls, mut lent, mut foreign, mut absorbed) = (0, 0u32, 0u32, 0u32);
    let result = harness.io().exchange(&mut |burst| {
        calls += 1;
        assert!(!burst.is_empty(), "point 1: decide was called without a frame");
        assert!(burst.len() <= usize::from(caps.burst_max), "point 1: more than burst_max frames");
        lent = burst.len() as u32;
        for frame in burst.iter_mut() {
            assert_eq!(frame.verdict, Verdict::Drop(DropReason::Undecided), "point 2");
            let headroom = frame.headroom();
            assert!(headroom >= usize::from(caps.headroom_min), "point 3: only {headroom} bytes");
            assert!(frame.port().0 < caps.ports, "a frame from a port that does not exist");
            match frames::number_of(frame.bytes()) {
                Some(number) => decide(number, frame),
                None => {
                    foreign += 1;
                    frame.verdict = Verdict::Pass(PassReason::NotIp);
                }
            }
            absorbed += u32::from(frame.verdict == Verdict::Absorb);
        }
    });
    let report = result.unwrap_or_else(|e| panic!("point 9: a frame made the backend fail: {e}"));
    assert!(calls <= 1, "point 1: decide was called {calls} times in one exchange");
    assert_eq!(report.received, lent, "the report's `received` is not what was lent");
    let settled = report.transmitted + report.passed + report.dropped + report.unsent + absorbed;
    assert_eq!(settled, lent, "the report does not add up: {report:?}");
    if lent == u32::from(caps.burst_max) {
        assert!(report.more, "point 8: the burst was full, but `more` is not set");
    }
    tally.add(&report);
    tally.foreign += foreign;
    lent - foreign
}

/// Waits and exchanges until `wanted` frames of the suite were lent. Waits only when the last report
/// did not ask for another poll.
fn pump<H: Harness>(
    harness: &mut H,
    wanted: u32,
    decide: &mut dyn FnMut(u32, &mut Frame<'_>),
) -> Tally {
    let (mut tally, mut lent, mut idle) = (Tally::default(), 0, 0);
    while lent < wanted {
        let readiness = harness.io().wait(Some(PATIENCE)).unwrap_or_else(|e| panic!("wait: {e}"));
        if readiness != Readiness::Frames {
            idle += 1;
            assert!(idle < 3, "only {lent} of {wanted} frames arrived ({readiness:?})");
        }
        loop {
            let before = tally.received;
            lent += exchange_once(harness, &mut tally, decide);
            if tally.received == before {
                break;
            }
        }
    }
    assert_eq!(lent, wanted, "more frames were lent than the peer sent");
    tally
}

/// Exchanges until nothing has come for a while; every frame goes to `decide`.
fn settle_down<H: Harness>(harness: &mut H, decide: &mut dyn FnMut(u32, &mut Frame<'_>)) {
    for _ in 0..5 {
        let timeout = Some(Duration::from_millis(5));
        harness.io().wait(timeout).unwrap_or_else(|e| panic!("wait: {e}"));
        exchange_once(harness, &mut Tally::default(), decide);
    }
}

/// The numbers of the suite's frames among what a peer received.
fn numbers(received: &[PeerFrame]) -> Vec<u32> {
    received.iter().filter_map(|f| frames::number_of(&f.bytes)).collect()
}
