//! Linux AF_PACKET as an I/O backend of lvs.
//!
//! [`AfPacket`] opens network interfaces as ports and implements
//! [`FrameIo`]: received frames are lent where the kernel put them, and leave
//! from there.
//!
//! ```no_run
//! use lvs_core::ids::PortId;
//! use lvs_core::io::{FrameIo, Verdict};
//! use lvs_io_afpacket::AfPacket;
//!
//! let mut io = AfPacket::builder().port("eth0").port("eth1").build()?;
//! loop {
//!     io.wait(None)?;
//!     io.exchange(&mut |burst| {
//!         for frame in burst {
//!             frame.verdict = Verdict::Transmit(PortId(1));
//!         }
//!     })?;
//!     while let Some(event) = io.next_event() {
//!         eprintln!("{event}");
//!     }
//! }
//! # Ok::<(), lvs_io_afpacket::Error>(())
//! ```
//!
//! # What it needs
//!
//! Linux 4.20 or later, and CAP_NET_RAW (root, or `setcap cap_net_raw,cap_net_admin+ep PROGRAM`). With
//! CAP_NET_ADMIN its buffers may exceed the system's limits. A port is reopened in the network namespace
//! of the thread that calls `wait`, so that thread should stay in the one in which the backend was
//! built.
//!
//! # What it does about offloads
//!
//! Local senders and receive offloads hand over super-frames of up to 64 KiB with unfinished checksums.
//! They cross as they are, with their metadata (`PACKET_VNET_HDR`), and the kernel or the card cuts and
//! finishes them where they leave. A VLAN tag that the kernel took out is put back.
//! The host's own transmissions, ours included, are not seen (`PACKET_IGNORE_OUTGOING`).
//!
//! # Which ring, and why
//!
//! The ring is TPACKET_V2: slots of one length, handed over frame by frame. The newer TPACKET_V3 hands
//! over blocks of frames when they are full or their timer fires, at best after 1 ms: it packs more
//! frames into the same memory, and a lone frame waits. A director has both, lone requests and
//! load, and switching between two rings can lose, double or reorder frames at the switch, because
//! nothing in the kernel moves a stream of frames from one socket to another at one instant.
//!
//! Measured before choosing (bare loops that forward 64-byte frames between two veth pairs; generator,
//! kernel and forwarder on one core of a 2-core virtual machine): V3 with blocks of 64 KiB 460–510
//! thousand frames a second; V2 with 4,096 slots 400–420, the difference being mostly that it is woken
//! for nearly each frame; V2 that naps 300 µs when it has nothing left, 440–490. So the ring is V2 and
//! `wait` does the gathering: above 80,000 frames a second it naps 150 µs before it looks, as a card
//! that moderates its interrupts; below, a frame is looked at when it comes. This crate then takes 1.2
//! times the processor time of the bare V3 loop at saturation, and a lone frame crosses in 51 µs where a
//! bridge of the kernel takes 24.
//!
//! A slot holds a frame of the interface's MTU. Frames longer than that, the super-frames, are
//! put into the socket's queue by the kernel, in order with the ring (`PACKET_COPY_THRESH`), and cost a
//! system call and no further copy: slots of 64 KiB would make a ring of a few hundred frames out of the
//! memory of thousands.
//!
//! # When something fails
//!
//! What concerns one frame is a counter ([`AfPacket::counters`]). An interface that goes down or
//! disappears is an [`Event`] and a counter, and the port is reopened by name when it is back; the other
//! ports go on. Only the builder and `wait` return errors.
#![cfg(target_os = "linux")]

mod builder;
mod error;
mod interface;
mod link;
mod pacing;
mod receive;
mod ring;
mod sys;
mod transmit;
mod waiting;

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use lvs_core::addr::MacAddr;
use lvs_core::ids::PortId;
use lvs_core::io::{BurstReport, Caps, Frame, FrameIo, Readiness};
use lvs_io_linux::{Events, Pool, Sleeper};

pub use builder::Builder;
pub use error::Error;
pub use interface::{Interface, interfaces};
pub use lvs_io_linux::{BURST_MAX, Event, PortCounters};

use link::Link;
use pacing::Pacing;
use ring::Ring;

/// Where a frame that is in no ring begins in its memory: the promised headroom, and room for a VLAN tag
/// that is put back.
const POOL_FRAME_START: usize = lvs_io_linux::HEADROOM + 4;

/// Network interfaces as the ports of a director. See the [crate documentation](crate).
#[derive(Debug)]
pub struct AfPacket {
    caps: Caps,
    links: Vec<Link>,
    /// By port, as `links`; apart from them because frames borrow the rings while links send.
    rings: Vec<Ring>,
    pool: Pool,
    events: Events,
    sleeper: Sleeper,
    pacing: Pacing,
    /// The port that the next burst begins with.
    first: usize,
    polled_at: Instant,
    revived_at: Instant,
    /// How often in a row `poll` promised a frame that was not there.
    phantoms: u32,
}

impl AfPacket {
    /// Begins to build a backend. It needs at least one port.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The next thing that an operator should hear about. Ask after each round: `wait` returns
    /// [`Readiness::Woken`] for what happens while it sleeps, and `exchange` and `inject` may add
    /// others.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.next()
    }

    /// The interface of a port, as it was when the port was opened or reopened.
    pub fn interface(&self, port: PortId) -> Option<&Interface> {
        self.links.get(port.index()).map(|link| &link.interface)
    }

    /// The counters of a port.
    pub fn counters(&mut self, port: PortId) -> Option<PortCounters> {
        let link = self.links.get_mut(port.index())?;
        link.add_kernel_drops();
        Some(link.counters)
    }

    /// Receives frames sent to a multicast address, such as the solicited-node group of a virtual
    /// address (RFC 4861 §7.2.1 and RFC 2464 §7). Joining twice is no error. The port rejoins when it is
    /// reopened.
    ///
    /// # Errors
    /// If there is no such port, or the interface takes no more addresses.
    pub fn join_multicast(&mut self, port: PortId, group: MacAddr) -> Result<(), Error> {
        self.link(port)?.join(group)
    }

    /// Undoes [`AfPacket::join_multicast`]. Leaving a group that was not joined is no error.
    ///
    /// # Errors
    /// If there is no such port, or the system refuses.
    pub fn leave_multicast(&mut self, port: PortId, group: MacAddr) -> Result<(), Error> {
        self.link(port)?.leave(group)
    }

    fn link(&mut self, port: PortId) -> Result<&mut Link, Error> {
        let ports = self.links.len();
        self.links.get_mut(port.index()).ok_or(Error::NoSuchPort { port, ports })
    }
}

impl FrameIo for AfPacket {
    type Error = Error;

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<Readiness, Error> {
        self.wait_for_frames(timeout)
    }

    fn exchange(&mut self, decide: &mut dyn FnMut(&mut [Frame<'_>])) -> Result<BurstReport, Error> {
        let AfPacket { links, rings, pool, events, pacing, .. } = self;
        let burst_max = usize::from(self.caps.burst_max);
        let first = self.first;
        self.first = (first + 1) % links.len();
        let report = ring::lend(rings, first, burst_max, |slots| {
            let taken = slots.len();
            let mut pool = pool.slots();
            let mut frames = ArrayVec::<Frame<'_>, BURST_MAX>::new();
            for slot in slots {
                let link = &mut links[slot.ring];
                frames.extend(receive::frame(slot, link, &mut pool, events));
            }
            pacing.count(taken);
            let mut report = BurstReport::default();
            if !frames.is_empty() {
                decide(&mut frames);
                report = transmit::settle(links, &frames, events).report;
            }
            // Also when some of the slots held nothing to lend: there may be more behind them.
            report.more = taken == burst_max;
            report
        });
        Ok(report)
    }

    fn inject(&mut self, fill: &mut dyn FnMut(&mut Frame<'_>) -> bool) -> Result<u32, Error> {
        let AfPacket { links, pool, events, .. } = self;
        Ok(pool.inject(fill, |frames| transmit::settle(links, frames, events)))
    }
}
