//! One port: the queues of its device, its state and its counters.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lvs_core::addr::MacAddr;
use lvs_core::ids::PortId;
use lvs_io_linux::{Events, NetDevice, PortCounters, PortState, PortWatch, inquiry_socket};

use crate::device::Device;
use crate::error::Error;
use crate::open::open;
use crate::sys;

/// The network device behind a port, as the host sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name, which may have been changed since.
    pub name: String,
    /// The kernel's number for it.
    pub index: u32,
    /// The Ethernet address of the *host's* end. The director, at the other end, needs another one.
    pub mac: MacAddr,
    /// The longest packet it takes, in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub is_up: bool,
}

/// A port.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) watch: PortWatch,
    pub(crate) device: Device,
    pub(crate) interface: Interface,
    pub(crate) queues: Vec<OwnedFd>,
    pub(crate) counters: PortCounters,
    /// The kernel's count of drops when the device was opened.
    drops_before: u64,
    /// Any socket of the namespace in which the device was opened.
    socket: OwnedFd,
}

impl Port {
    /// Opens a port.
    pub(crate) fn open(id: PortId, device: Device, events: &mut Events) -> Result<Port, Error> {
        let socket = open_socket(&device.name)?;
        let (queues, found) = open(&device, socket.as_fd())?;
        Ok(Port {
            watch: PortWatch::new(id, &device.name, found.is_up, events),
            interface: describe(&device.name, &found),
            queues,
            counters: PortCounters::default(),
            drops_before: kernel_drops(&device.name).unwrap_or(0),
            device,
            socket,
        })
    }

    pub(crate) fn fd(&self, queue: usize) -> BorrowedFd<'_> {
        self.queues[queue].as_fd()
    }

    #[inline]
    pub(crate) fn is_up(&self) -> bool {
        self.watch.state() == PortState::Up
    }

    /// Whether the device was deleted, and with it what the queues were attached to.
    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.watch.state() == PortState::Gone
    }

    /// Looks what became of the device.
    pub(crate) fn look(&mut self, events: &mut Events) {
        let state = match sys::name_of(self.queues[0].as_fd()) {
            Err(_) => PortState::Gone,
            Ok(name) => match NetDevice::ask(&self.socket, &name) {
                Ok(found) => {
                    self.interface = describe(&name, &found);
                    if found.is_up { PortState::Up } else { PortState::Down }
                }
                // It was moved to another namespace, and works there.
                Err(_) => PortState::Up,
            },
        };
        self.watch.note(state, &self.interface.name, events);
    }

    /// Makes the device anew if it was deleted.
    pub(crate) fn revive(&mut self, events: &mut Events) {
        if !self.is_gone() {
            return;
        }
        let name = self.device.name.clone();
        let opened = open_socket(&name)
            .and_then(|socket| open(&self.device, socket.as_fd()).map(|opened| (socket, opened)));
        match opened {
            Ok((socket, (queues, found))) => {
                self.counters.kernel_drops = self.kernel_drops();
                self.drops_before = kernel_drops(&name).unwrap_or(0);
                (self.socket, self.queues) = (socket, queues);
                self.interface = describe(&name, &found);
                self.counters.reopened += 1;
                self.watch.reopened(&name, found.is_up, events);
            }
            Err(error) => self.watch.reopen_failed(&name, &error, events),
        }
    }

    /// The counters with what the kernel says about its own drops.
    pub(crate) fn counters(&self) -> PortCounters {
        let mut counters = self.counters;
        if !self.is_gone() {
            counters.kernel_drops = self.kernel_drops();
        }
        counters
    }

    fn kernel_drops(&self) -> u64 {
        let now = kernel_drops(&self.interface.name).unwrap_or(self.drops_before);
        self.counters.kernel_drops + now.saturating_sub(self.drops_before)
    }
}

/// A socket to ask about the device with.
fn open_socket(name: &str) -> Result<OwnedFd, Error> {
    inquiry_socket().map_err(|error| Error::system(name, "open a socket to ask about", error))
}

fn describe(name: &str, found: &NetDevice) -> Interface {
    Interface {
        name: name.to_owned(),
        index: found.index,
        mac: found.mac,
        mtu: found.mtu,
        is_up: found.is_up,
    }
}

/// Frames to a device that found its queue full, since it exists; of the calling thread's namespace.
fn kernel_drops(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").ok()?;
    drops_in(&text, name)
}

/// The fourth of the columns about transmission, behind eight about reception.
fn drops_in(text: &str, name: &str) -> Option<u64> {
    let counts = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))?;
    counts.split_whitespace().nth(8 + 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_drops_are_found_by_name() {
        let text = "Inter-|   Receive        |  Transmit\n\
                    \x20face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop\n\
                    \x20lvs10: 1 2 3 4 5 6 7 8 9 10 11 112 13 14 15 16\n\
                    \x20 lvs1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
        assert_eq!(drops_in(text, "lvs1"), Some(12));
        assert_eq!(drops_in(text, "lvs10"), Some(112));
        assert_eq!(drops_in(text, "lvs"), None);
    }
}
