//! Where frames come from and go to: the lending interface between a backend and the director.
//!
//! A backend keeps its memory. [`FrameIo::exchange`] lends a burst of received frames as a mutable
//! slice; the director writes a [`Verdict`] into each; when the closure returns the backend carries the
//! verdicts out. A frame cannot outlive its slot, there is one dynamic call per burst, and the trait is
//! object-safe, so that a program can choose its backend at run time.
//!
//! # The contract of a backend
//!
//! 1. `decide` is called at most once per `exchange`, with 1 to [`Caps::burst_max`] frames, never 0.
//! 2. Each frame starts with the verdict `Drop(Undecided)`: forgetting one is safe, and counted.
//! 3. [`Frame::headroom`] is the truth for that frame; [`Caps::headroom_min`] the promise for all.
//! 4. Verdicts are carried out in slot order per port. A full transmit ring drops and counts; it never
//!    blocks and never queues.
//! 5. If `decide` unwinds, every slot returns to the receive side.
//! 6. No clock is read except in `wait`.
//! 7. The backend never shows the director a frame that the director sent.
//! 8. [`BurstReport::more`] says that the burst was full: poll again before waiting.
//! 9. `Err` means that the backend as a whole cannot go on. Anything about one frame is a counter; a
//!    port that goes down is counted and reopened.
//!
//! # Example
//!
//! `examples/pcap-bridge` is a backend of about a hundred lines; [the manual](crate::manual::extending) says how to
//! test one. Frames without a backend are in the [manual's loop](crate::manual::feeding).

#[cfg(feature = "std")]
pub mod conformance;
mod frame;
#[cfg(feature = "std")]
pub mod mem;
pub mod vnet;

pub use frame::{Checksum, Frame, NoHeadroom, Offload, SegmentKind, Segments, Verdict};

use crate::time::Instant;

/// The headroom a backend should offer in front of each frame, in bytes.
///
/// An IPv6 outer header (40), GUE over UDP (12) and a restored VLAN tag (4) fit several times over.
pub const HEADROOM_DEFAULT: usize = 128;

const _: () =
    assert!(HEADROOM_DEFAULT >= 40 + 8 + 4 + 8, "IPv6, UDP, GUE and two VLAN tags must fit");

/// What a backend can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Number of ports; their [`PortId`](crate::ids::PortId)s are 0 to `ports - 1`.
    pub ports: u16,
    /// Bytes of headroom that every received frame has at least.
    pub headroom_min: u16,
    /// The longest frame that can be received or sent, in bytes, Ethernet header included.
    pub frame_len_max: u32,
    /// The most frames lent in one burst.
    pub burst_max: u16,
    /// Whether frames may carry [`Offload`] metadata (unfinished checksums, segments to be cut).
    pub offloads: bool,
}

/// Why [`FrameIo::wait`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// Frames may be waiting.
    Frames,
    /// The deadline passed.
    Deadline,
    /// Something else woke the backend (a signal, a control message).
    Woken,
}

/// What one [`FrameIo::exchange`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BurstReport {
    /// Frames lent to `decide`.
    pub received: u32,
    /// Frames sent, whether transmitted or replied.
    pub transmitted: u32,
    /// Frames left to the host.
    pub passed: u32,
    /// Frames dropped by verdict.
    pub dropped: u32,
    /// Frames that were to be sent but could not be: ring full, system error, port down.
    pub unsent: u32,
    /// The burst was full, so more frames may be waiting.
    pub more: bool,
}

/// A source and sink of frames.
///
/// See the [module documentation](self) for the contract, and `lvs_core::io::conformance` (feature
/// `std`) for the suite that a new backend should pass.
pub trait FrameIo {
    /// Why the backend as a whole cannot go on.
    type Error: core::error::Error;

    /// What this backend can do.
    fn caps(&self) -> &Caps;

    /// Sleeps until frames may be waiting, `timeout` has passed, or something wakes the backend.
    /// `None` waits without end, `Some(ZERO)` does not wait.
    ///
    /// # Errors
    /// If the backend cannot go on.
    fn wait(&mut self, timeout: Option<core::time::Duration>) -> Result<Readiness, Self::Error>;

    /// Receives up to one burst, lends it to `decide`, then carries out each frame's verdict.
    ///
    /// # Errors
    /// If the backend cannot go on.
    fn exchange(
        &mut self,
        decide: &mut dyn FnMut(&mut [Frame<'_>]),
    ) -> Result<BurstReport, Self::Error>;

    /// Offers empty frames to `fill` while it returns `true` and there is room, and sends those whose
    /// verdict is `Transmit` or `Reply`. Returns how many were sent. One whose verdict is `Pass` was kept,
    /// as a fragment is, and is the host's after all; a backend whose host sees all frames by itself does
    /// nothing with it.
    ///
    /// # Errors
    /// If the backend cannot go on.
    fn inject(&mut self, fill: &mut dyn FnMut(&mut Frame<'_>) -> bool) -> Result<u32, Self::Error>;
}

/// How long to wait at `now` so that something due at `deadline` is not late.
///
/// Backends take a duration because each has a clock of its own.
pub fn until(now: Instant, deadline: Option<Instant>) -> Option<core::time::Duration> {
    deadline.map(|at| at.saturating_since(now))
}
