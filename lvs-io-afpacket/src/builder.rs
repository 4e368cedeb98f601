//! Building a backend.

use std::os::fd::OwnedFd;
use std::time::Instant;

use lvs_core::ids::PortId;
use lvs_io_linux::{BURST_MAX, Events, Pool, Sleeper, caps};

use crate::error::Error;
use crate::link::Link;
use crate::pacing::Pacing;
use crate::{AfPacket, POOL_FRAME_START};

/// What is the same for every port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) ring_bytes: usize,
    pub(crate) send_buffer: usize,
    pub(crate) receive_buffer: usize,
    pub(crate) promiscuous: bool,
    pub(crate) qdisc_bypass: bool,
}

/// Collects what an [`AfPacket`] is to be; see [`AfPacket::builder`].
#[derive(Debug)]
pub struct Builder {
    names: Vec<String>,
    settings: Settings,
    burst_max: usize,
    wake: Option<OwnedFd>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        let settings = Settings {
            ring_bytes: 8 << 20,
            send_buffer: 8 << 20,
            receive_buffer: 32 << 20,
            promiscuous: false,
            qdisc_bypass: false,
        };
        Builder { names: Vec::new(), settings, burst_max: BURST_MAX, wake: None }
    }

    /// Adds a port on an interface. The first has the [`PortId`] 0, the next 1.
    #[must_use]
    pub fn port(mut self, interface: impl Into<String>) -> Builder {
        self.names.push(interface.into());
        self
    }

    /// A descriptor that makes [`wait`](lvs_core::io::FrameIo::wait) return
    /// [`Woken`](lvs_core::io::Readiness::Woken) when it is readable: a pipe or eventfd that a signal handler
    /// or another thread writes to. The backend reads it empty. When its far end is closed it is no longer
    /// looked at.
    #[must_use]
    pub fn wake_fd(mut self, fd: OwnedFd) -> Builder {
        self.wake = Some(fd);
        self
    }

    /// Bytes of each port's receive ring, rounded up to blocks of 256 KiB; 8 MiB by default, which at an
    /// MTU of 1,500 bytes is about 4,400 frames.
    #[must_use]
    pub fn ring_bytes(mut self, bytes: usize) -> Builder {
        self.settings.ring_bytes = bytes;
        self
    }

    /// Bytes of each port's send buffer, 8 MiB by default; without CAP_NET_ADMIN at most what
    /// `net.core.wmem_max` allows.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Builder {
        self.settings.send_buffer = bytes;
        self
    }

    /// Bytes of each port's queue for frames longer than a slot of its ring (super-frames), 32 MiB by
    /// default; without CAP_NET_ADMIN at most what `net.core.rmem_max` allows.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: usize) -> Builder {
        self.settings.receive_buffer = bytes;
        self
    }

    /// The most frames of a burst, 1 to [`BURST_MAX`], which is the default; other values are moved into
    /// that range.
    #[must_use]
    pub fn burst_max(mut self, frames: usize) -> Builder {
        self.burst_max = frames.clamp(1, BURST_MAX);
        self
    }

    /// Whether to receive, and lend, frames addressed to other stations; off by default.
    #[must_use]
    pub fn promiscuous(mut self, on: bool) -> Builder {
        self.settings.promiscuous = on;
        self
    }

    /// Whether frames go to the driver past the interface's queueing discipline; off by default. Then
    /// traffic shaping does not apply, and a busy driver drops instead of queueing.
    #[must_use]
    pub fn qdisc_bypass(mut self, on: bool) -> Builder {
        self.settings.qdisc_bypass = on;
        self
    }

    /// Opens the ports. Frames that arrive from here on are received.
    ///
    /// # Errors
    /// See [`Error`]; the message says what to do. An interface that is down is no error but an
    /// [`Event`](crate::Event).
    pub fn build(self) -> Result<AfPacket, Error> {
        if self.names.is_empty() {
            return Err(Error::NoPorts);
        }
        let too_many = Error::TooManyPorts(self.names.len());
        let ports = u16::try_from(self.names.len()).map_err(|_| too_many)?;
        let mut events = Events::default();
        let (mut links, mut rings) = (Vec::new(), Vec::new());
        for (name, port) in self.names.iter().zip((0..ports).map(PortId)) {
            let (link, ring) = Link::open(port, name, self.settings, &mut events)?;
            // By index, because an interface may have alternative names.
            let same = |other: &Link| other.interface.index == link.interface.index;
            if links.iter().any(same) {
                return Err(Error::DuplicatePort(name.clone()));
            }
            links.push(link);
            rings.push(ring);
        }
        let now = Instant::now();
        Ok(AfPacket {
            caps: caps(ports, self.burst_max),
            links,
            rings,
            pool: Pool::new(self.burst_max, POOL_FRAME_START),
            events,
            sleeper: Sleeper::new(self.wake),
            pacing: Pacing::new(now),
            first: 0,
            polled_at: now,
            revived_at: now,
            phantoms: 0,
        })
    }
}
