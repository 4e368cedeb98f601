//! Building a backend.

use std::os::fd::OwnedFd;
use std::time::Instant;

use lvs_core::ids::PortId;
use lvs_io_linux::{BURST_MAX, Events, Pool, Sleeper, caps};

use crate::device::Device;
use crate::error::Error;
use crate::port::Port;
use crate::{FRAME_START, Tap};

/// Collects what a [`Tap`] is to be; see [`Tap::builder`].
#[derive(Debug)]
pub struct Builder {
    devices: Vec<Device>,
    burst_max: usize,
    wake: Option<OwnedFd>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder { devices: Vec::new(), burst_max: BURST_MAX, wake: None }
    }

    /// Adds a port on a TAP device. The first has the [`PortId`] 0, the next 1.
    #[must_use]
    pub fn port(mut self, device: Device) -> Builder {
        self.devices.push(device);
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

    /// The most frames of a burst, 1 to [`BURST_MAX`], which is the default; other values are moved into
    /// that range.
    #[must_use]
    pub fn burst_max(mut self, frames: usize) -> Builder {
        self.burst_max = frames.clamp(1, BURST_MAX);
        self
    }

    /// Opens the devices, makes those that are not there, and sets them up.
    ///
    /// # Errors
    /// See [`Error`]; the message says what to do. A device that is down, and may not be set up by this
    /// process, is no error but an [`Event`](crate::Event).
    pub fn build(self) -> Result<Tap, Error> {
        if self.devices.is_empty() {
            return Err(Error::NoPorts);
        }
        let too_many = Error::TooManyPorts(self.devices.len());
        let count = u16::try_from(self.devices.len()).map_err(|_| too_many)?;
        // All of them first, so that a mistake in the last one does not make the first one come and go.
        for (place, device) in self.devices.iter().enumerate() {
            device.check()?;
            if self.devices[..place].iter().any(|other| other.name == device.name) {
                return Err(Error::DuplicatePort(device.name.clone()));
            }
        }
        let mut events = Events::default();
        let mut ports = Vec::with_capacity(self.devices.len());
        for (device, id) in self.devices.into_iter().zip((0..count).map(PortId)) {
            ports.push(Port::open(id, device, &mut events)?);
        }
        let queues = |(place, port): (usize, &Port)| {
            (0..port.queues.len()).map(move |queue| (place, queue)).collect::<Vec<_>>()
        };
        Ok(Tap {
            caps: caps(count, self.burst_max),
            turns: ports.iter().enumerate().flat_map(queues).collect(),
            ports,
            pool: Pool::new(self.burst_max, FRAME_START),
            events,
            sleeper: Sleeper::new(self.wake),
            first: 0,
            looked_at: Instant::now(),
        })
    }
}
