//! Linux TAP devices as an I/O backend of lvs.
//!
//! A TAP device is an Ethernet interface whose wire ends in a program: what the host sends out of `lvs0`
//! is read here, and what is written here the host receives by `lvs0`. [`Tap`] opens such devices as ports
//! and implements [`FrameIo`]. Made ports of bridges, they put a director between virtual machines,
//! containers or cards without touching a network card.
//!
//! ```no_run
//! use lvs_core::ids::PortId;
//! use lvs_core::io::{FrameIo, Verdict};
//! use lvs_io_tap::{Device, Tap};
//!
//! let clients = Device::new("lvs0").bridge("br-clients");
//! let servers = Device::new("lvs1").bridge("br-servers").mtu(9000);
//! let mut io = Tap::builder().port(clients).port(servers).build()?;
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
//! # Ok::<(), lvs_io_tap::Error>(())
//! ```
//!
//! # Who is who
//!
//! The interface's own Ethernet and IP addresses are those of the host's end. The program at the other end
//! is a station of its own on that wire: it brings its addresses, and answers for them itself. A frame left
//! alone ([`Verdict::Pass`](lvs_core::io::Verdict::Pass)) goes nowhere. All frames are lent, whichever
//! station they are for: a bridge floods those whose station it does not know.
//!
//! # What it needs
//!
//! Linux 4.2 or later and `/dev/net/tun`. Making a device, setting its MTU and setting it up take
//! CAP_NET_ADMIN; a device that root made for a user (`ip tuntap add dev lvs0 mode tap vnet_hdr user NAME`) and
//! set up takes nothing. A device that was deleted is made anew in the network namespace of the thread that
//! calls `wait`, so that thread should stay in the one in which the backend was built. A device that is moved
//! to another namespace, such as a container's, goes on working.
//!
//! # What it does about offloads
//!
//! The host hands over super-frames of up to 64 KiB with unfinished checksums, of TCP and, since Linux 6.2,
//! UDP. They cross as they are, with their metadata (`IFF_VNET_HDR`, see [`lvs_core::io::vnet`]), and the
//! kernel or a card cuts and finishes them where they leave. VLAN tags are part of the frame.
//!
//! # Which system calls, and why
//!
//! One `read` or `write` a frame: the kernel has no call for several. The header lies directly in front of the
//! frame, in what is its headroom otherwise, so that neither is copied. Measured with
//! `cargo run --release -p lvs-io-tap --example system_calls` (Linux 6.18, 2-core virtual machine; medians, frames
//! of 64, 1,514 and 60,000 bytes): `writev` takes 1.02 to 1.18 times as long as `write`, `readv` 1.10 to 1.13 times
//! as long as `read`. io_uring with a registered descriptor, one call a burst of 32, takes 0.96 to 1.08 times as
//! long as `write` and 0.93 to 0.95 times as long as `read`: the calls are the smaller part of a frame's way through the
//! host. That is too little for something that containers and hardened kernels forbid.
//!
//! # When something fails
//!
//! What concerns one frame is a counter ([`Tap::counters`]). A device that is set down or deleted is an
//! [`Event`] and a counter; one that was deleted is made anew. The other ports go on. Only the builder and
//! `wait` return errors.
#![cfg(target_os = "linux")]

mod builder;
mod device;
mod error;
mod open;
mod port;
mod receive;
mod sys;
mod transmit;
mod waiting;

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use lvs_core::ids::PortId;
use lvs_core::io::vnet::VNET_HEADER_LEN;
use lvs_core::io::{BurstReport, Caps, Frame, FrameIo, Readiness};
use lvs_io_linux::{ETHERNET_LEN, Events, HEADROOM, Pool, Sleeper};

pub use builder::Builder;
pub use device::Device;
pub use error::Error;
pub use lvs_io_linux::{BURST_MAX, Event, PortCounters};
pub use port::Interface;

use port::Port;
use receive::Read;

/// The least MTU of a port, in bytes: every IPv6 link has it (RFC 8200 §5).
pub const MTU_MIN: u32 = 1_280;
/// The greatest MTU of a port, in bytes: what the kernel allows a TAP device, a packet of 65,535 bytes less
/// an Ethernet header.
pub const MTU_MAX: u32 = 65_535 - ETHERNET_LEN as u32;

/// The most queues of a device (`MAX_TAP_QUEUES` of the kernel).
pub const QUEUES_MAX: u16 = 256;

/// Where a frame begins in its memory: the promised headroom, and room for the header that goes in front of
/// the frame however much of the headroom is used. Two bytes more put the IP header where 16 divides.
const FRAME_START: usize = HEADROOM + VNET_HEADER_LEN + 8;

const _: () = assert!((FRAME_START + ETHERNET_LEN).is_multiple_of(16), "the IP header is aligned");

/// TAP devices as the ports of a director. See the [crate documentation](crate).
#[derive(Debug)]
pub struct Tap {
    caps: Caps,
    ports: Vec<Port>,
    /// Every queue, as (place of the port, number of the queue), in the order of their turns.
    turns: Vec<(usize, usize)>,
    pool: Pool,
    events: Events,
    sleeper: Sleeper,
    /// The turn that the next burst begins with.
    first: usize,
    looked_at: Instant,
}

impl Tap {
    /// Begins to build a backend. It needs at least one port.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The next thing that an operator should hear about. Ask after each round: `wait` returns
    /// [`Readiness::Woken`] for what happens while it sleeps, and `exchange` and `inject` may add others.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.next()
    }

    /// The network device of a port, as it was a quarter of a second ago at the latest, if
    /// [`wait`](FrameIo::wait) was called since.
    pub fn interface(&self, port: PortId) -> Option<&Interface> {
        self.ports.get(port.index()).map(|port| &port.interface)
    }

    /// The counters of a port. Frames that the kernel dropped are not counted while the device is in another
    /// network namespace than the one it was opened in.
    pub fn counters(&self, port: PortId) -> Option<PortCounters> {
        self.ports.get(port.index()).map(Port::counters)
    }
}

impl FrameIo for Tap {
    type Error = Error;

    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<Readiness, Error> {
        self.wait_for_frames(timeout)
    }

    fn exchange(&mut self, decide: &mut dyn FnMut(&mut [Frame<'_>])) -> Result<BurstReport, Error> {
        let Tap { ports, turns, pool, events, .. } = self;
        let first = self.first;
        self.first = (first + 1) % turns.len();
        let mut frames = ArrayVec::<Frame<'_>, BURST_MAX>::new();
        let mut came_by = ArrayVec::<u16, BURST_MAX>::new();
        let mut slots = pool.slots();
        let mut slot = slots.next();
        let mut taken = 0;
        for turn in 0..turns.len() {
            let (place, queue) = turns[(first + turn) % turns.len()];
            let port = &mut ports[place];
            while taken < usize::from(self.caps.burst_max)
                && !port.is_gone()
                && let Some(free) = slot.take()
            {
                match receive::read(port, queue, free) {
                    Read::Frame(frame) => {
                        taken += 1;
                        frames.push(frame);
                        came_by.push(queue as u16);
                        slot = slots.next();
                    }
                    Read::Refused(free) => {
                        taken += 1;
                        slot = Some(free);
                    }
                    Read::Gone(free) => {
                        slot = Some(free);
                        port.look(events);
                        break;
                    }
                    Read::Empty(free) => {
                        slot = Some(free);
                        break;
                    }
                }
            }
        }
        let mut report = BurstReport::default();
        if !frames.is_empty() {
            decide(&mut frames);
            let queue_of = |number: usize| usize::from(came_by[number]);
            report = transmit::settle(ports, &mut frames, queue_of, events).report;
        }
        // Also when some of them were not to be lent: there may be more behind them.
        report.more = taken == usize::from(self.caps.burst_max);
        Ok(report)
    }

    fn inject(&mut self, fill: &mut dyn FnMut(&mut Frame<'_>) -> bool) -> Result<u32, Error> {
        let Tap { ports, pool, events, .. } = self;
        Ok(pool.inject(fill, |frames| transmit::settle(ports, frames, |_| 0, events)))
    }
}

/// The example of the README is compiled with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
