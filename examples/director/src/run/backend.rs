//! Where frames come from and go to: network interfaces of the host, or TAP devices.

use std::os::fd::OwnedFd;
use std::time::Duration;

use lvs_core::addr::MacAddr;
use lvs_core::ids::PortId;
use lvs_core::io::{BurstReport, Caps, Frame, FrameIo, Readiness};
use lvs_io_afpacket::{AfPacket, Event};
use lvs_io_tap::Tap;

use crate::cli::RunArgs;

/// Why there is no backend, or it cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackendError {
    #[error(transparent)]
    Interfaces(#[from] lvs_io_afpacket::Error),
    #[error(transparent)]
    Taps(#[from] lvs_io_tap::Error),
}

/// The backend that the command line asks for.
#[derive(Debug)]
pub(super) enum Backend {
    Interfaces(AfPacket),
    Taps(Tap),
}

impl Backend {
    /// Opens the ports of the command line; `wake` ends a sleep.
    pub(super) fn open(args: &RunArgs, wake: OwnedFd) -> Result<Backend, BackendError> {
        if args.tap.is_empty() {
            let builder = args.interface.iter().fold(AfPacket::builder(), |b, name| b.port(name));
            return Ok(Backend::Interfaces(builder.wake_fd(wake).build()?));
        }
        let devices = args.tap.iter().map(|spec| spec.device.clone());
        let builder = devices.fold(Tap::builder(), |builder, device| builder.port(device));
        Ok(Backend::Taps(builder.wake_fd(wake).build()?))
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        match self {
            Backend::Interfaces(io) => io.next_event(),
            Backend::Taps(io) => io.next_event(),
        }
    }

    /// Receives what is sent to a group. A TAP device receives every group anyway.
    pub(super) fn join_multicast(
        &mut self,
        port: PortId,
        group: MacAddr,
    ) -> Result<(), BackendError> {
        match self {
            Backend::Interfaces(io) => Ok(io.join_multicast(port, group)?),
            Backend::Taps(_) => Ok(()),
        }
    }

    /// Undoes [`Backend::join_multicast`].
    pub(super) fn leave_multicast(
        &mut self,
        port: PortId,
        group: MacAddr,
    ) -> Result<(), BackendError> {
        match self {
            Backend::Interfaces(io) => Ok(io.leave_multicast(port, group)?),
            Backend::Taps(_) => Ok(()),
        }
    }
}

impl FrameIo for Backend {
    type Error = BackendError;

    fn caps(&self) -> &Caps {
        match self {
            Backend::Interfaces(io) => io.caps(),
            Backend::Taps(io) => io.caps(),
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<Readiness, BackendError> {
        Ok(match self {
            Backend::Interfaces(io) => io.wait(timeout)?,
            Backend::Taps(io) => io.wait(timeout)?,
        })
    }

    fn exchange(
        &mut self,
        decide: &mut dyn FnMut(&mut [Frame<'_>]),
    ) -> Result<BurstReport, BackendError> {
        Ok(match self {
            Backend::Interfaces(io) => io.exchange(decide)?,
            Backend::Taps(io) => io.exchange(decide)?,
        })
    }

    fn inject(
        &mut self,
        fill: &mut dyn FnMut(&mut Frame<'_>) -> bool,
    ) -> Result<u32, BackendError> {
        Ok(match self {
            Backend::Interfaces(io) => io.inject(fill)?,
            Backend::Taps(io) => io.inject(fill)?,
        })
    }
}
