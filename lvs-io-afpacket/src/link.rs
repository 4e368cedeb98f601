//! One port: the socket on its interface, its state and its counters.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lvs_core::addr::MacAddr;
use lvs_core::ids::PortId;
use lvs_core::io::vnet::VNET_HEADER_LEN;
use lvs_io_linux::{
    ETHERNET_LEN_MAX, Events, HEADROOM, NetDevice, PortCounters, PortState, PortWatch,
};

use crate::builder::Settings;
use crate::error::Error;
use crate::interface::{Interface, interfaces};
use crate::ring::{Geometry, Ring};
use crate::sys;

/// Bytes that the kernel puts between its structures and the Ethernet header besides the reserve, and
/// that are headroom too: alignment and the virtio-net header; at most.
const KERNEL_RESERVE: usize = 128;
/// The longest MTU whose frames get slots of their length. Longer frames, and super-frames, are fetched
/// by a system call each.
const SLOT_MTU_MAX: u32 = 9_216;
/// The shortest MTU of any slot: every IPv6 link has it (RFC 8200 §5).
const SLOT_MTU_MIN: u32 = 1_280;

/// A port.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) watch: PortWatch,
    pub(crate) interface: Interface,
    pub(crate) socket: OwnedFd,
    pub(crate) counters: PortCounters,
    pub(crate) settings: Settings,
    /// Whether [`BigTcp`](lvs_io_linux::Event::BigTcp) was told.
    pub(crate) big_tcp_told: bool,
    groups: Vec<MacAddr>,
}

impl Link {
    /// Opens a port on the interface `name`.
    pub(crate) fn open(
        port: PortId,
        name: &str,
        settings: Settings,
        events: &mut Events,
    ) -> Result<(Link, Ring), Error> {
        let (socket, ring, device) = open_socket(name, &settings)?;
        let link = Link {
            watch: PortWatch::new(port, name, device.is_up, events),
            interface: describe(name, &device),
            socket,
            counters: PortCounters::default(),
            settings,
            big_tcp_told: false,
            groups: Vec::new(),
        };
        Ok((link, ring))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.watch.state() == PortState::Up
    }

    /// Whether the interface is gone, and with it what the socket was bound to.
    pub(crate) fn is_gone(&self) -> bool {
        self.watch.state() == PortState::Gone
    }

    /// Joins a group; a second time is no error.
    pub(crate) fn join(&mut self, group: MacAddr) -> Result<(), Error> {
        if self.groups.contains(&group) {
            return Ok(());
        }
        if !self.is_gone() {
            self.set_group(true, group)?;
        }
        self.groups.push(group);
        Ok(())
    }

    /// Leaves a group; one that was not joined is no error.
    pub(crate) fn leave(&mut self, group: MacAddr) -> Result<(), Error> {
        let Some(place) = self.groups.iter().position(|joined| *joined == group) else {
            return Ok(());
        };
        self.groups.swap_remove(place);
        if self.is_gone() { Ok(()) } else { self.set_group(false, group) }
    }

    fn set_group(&self, add: bool, group: MacAddr) -> Result<(), Error> {
        let (index, kind) = (self.interface.index, libc::PACKET_MR_MULTICAST);
        sys::set_membership(self.fd(), add, index, kind, group.0).map_err(|error| {
            let what = if add { "join a multicast group" } else { "leave a multicast group" };
            Error::system(&self.interface.name, what, error)
        })
    }

    /// Fetches the frame that waits in the socket's queue because it is longer than a slot. `None` if it
    /// is not `len` bytes long or does not fit the buffer.
    pub(crate) fn fetch(
        &self,
        header: &mut [u8; VNET_HEADER_LEN],
        buffer: &mut [u8],
        len: usize,
    ) -> Option<()> {
        loop {
            match sys::receive(self.fd(), header, buffer) {
                Ok(found) if found == len => return (len <= buffer.len()).then_some(()),
                // A frame whose slot was lost; the one wanted is behind it.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // The interface's going down is told once, in place of a frame.
                Err(_) => match sys::receive(self.fd(), header, buffer) {
                    Ok(found) if found == len => return (len <= buffer.len()).then_some(()),
                    _ => return None,
                },
            }
        }
    }

    /// Takes the frame that waits in the queue, unseen.
    pub(crate) fn discard(&self, len: usize) {
        let _ = self.fetch(&mut [0; VNET_HEADER_LEN], &mut [], len);
    }

    /// Empties the socket's queue.
    pub(crate) fn drain(&self) {
        while sys::receive(self.fd(), &mut [0; VNET_HEADER_LEN], &mut []).is_ok() {}
    }

    /// Looks again what became of the interface, after the socket told of an error or a send failed.
    pub(crate) fn note_trouble(&mut self, events: &mut Events) {
        // Reading the error clears it, so that poll no longer reports it.
        let _ = rustix::net::sockopt::socket_error(&self.socket);
        let name = &self.interface.name;
        let state = match NetDevice::ask(self.fd(), name) {
            Ok(device) if device.index != self.interface.index => PortState::Gone,
            Ok(device) if device.is_up => PortState::Up,
            Ok(_) => PortState::Down,
            Err(_) => PortState::Gone,
        };
        self.watch.note(state, name, events);
    }

    /// A port that does not work looks whether it can again. Returns the new ring if it was reopened.
    pub(crate) fn revive(&mut self, events: &mut Events) -> Option<Ring> {
        if !self.is_gone() {
            self.note_trouble(events);
        }
        if !self.is_gone() {
            return None;
        }
        let name = self.interface.name.clone();
        match open_socket(&name, &self.settings) {
            Ok((socket, ring, device)) => {
                self.add_kernel_drops();
                self.socket = socket;
                self.interface = describe(&name, &device);
                self.counters.reopened += 1;
                self.big_tcp_told = false;
                for group in self.groups.clone() {
                    if let Err(error) = self.set_group(true, group) {
                        self.watch.reopen_failed(&name, &error, events);
                    }
                }
                self.watch.reopened(&name, device.is_up, events);
                Some(ring)
            }
            Err(Error::NoSuchInterface { .. }) => None,
            Err(error) => {
                self.watch.reopen_failed(&name, &error, events);
                None
            }
        }
    }

    /// The kernel's count of frames that found the ring full starts anew at each reading.
    pub(crate) fn add_kernel_drops(&mut self) {
        if let Ok(drops) = sys::take_kernel_drops(self.fd()) {
            self.counters.kernel_drops += u64::from(drops);
        }
    }
}

/// What is known about an interface, addresses included.
fn describe(name: &str, device: &NetDevice) -> Interface {
    let listed = interfaces().into_iter().find(|interface| interface.index == device.index);
    Interface {
        name: name.to_owned(),
        index: device.index,
        mac: Some(device.mac),
        addresses: listed.map(|interface| interface.addresses).unwrap_or_default(),
        mtu: device.mtu,
        is_up: device.is_up,
    }
}

/// A socket that receives from and sends by an interface, and its ring.
fn open_socket(name: &str, settings: &Settings) -> Result<(OwnedFd, Ring, NetDevice), Error> {
    let socket = sys::open_packet_socket()
        .map_err(|error| Error::system(name, "open a packet socket", error))?;
    let fd = socket.as_fd();
    let device = NetDevice::ask(fd, name).map_err(|error| match error.raw_os_error() {
        Some(libc::ENODEV) => {
            let present = interfaces().into_iter().map(|interface| interface.name).collect();
            Error::NoSuchInterface { name: name.to_owned(), present }
        }
        _ => Error::system(name, "ask about the interface", error),
    })?;
    if device.kind != libc::ARPHRD_ETHER {
        return Err(Error::NotEthernet { name: name.to_owned(), kind: device.kind });
    }
    set_options(fd, name, settings)?;
    let mtu = device.mtu.clamp(SLOT_MTU_MIN, SLOT_MTU_MAX) as usize;
    let reserve = KERNEL_RESERVE + HEADROOM;
    let geometry = Geometry::new(settings.ring_bytes, reserve, mtu + ETHERNET_LEN_MAX);
    let ring = Ring::new(fd, geometry).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOMEM) => {
            Error::NoMemory { name: name.to_owned(), ring_bytes: settings.ring_bytes }
        }
        _ => Error::system(name, "make a receive ring", error),
    })?;
    // Frames come from here on, when everything else is in place.
    sys::bind(fd, device.index)
        .map_err(|error| Error::system(name, "bind to the interface", error))?;
    if settings.promiscuous {
        sys::set_membership(fd, true, device.index, libc::PACKET_MR_PROMISC, [0; 6])
            .map_err(|error| Error::system(name, "ask for all frames", error))?;
    }
    Ok((socket, ring, device))
}

fn set_options(fd: BorrowedFd<'_>, name: &str, settings: &Settings) -> Result<(), Error> {
    let version = libc::tpacket_versions::TPACKET_V2 as libc::c_int;
    let options = [
        (libc::PACKET_VERSION, version, "choose the ring's version"),
        (libc::PACKET_RESERVE, HEADROOM as libc::c_int, "reserve headroom"),
        (libc::PACKET_VNET_HDR, 1, "ask for offload metadata"),
        // Any value but zero puts frames longer than a slot into the socket's queue, whole.
        (libc::PACKET_COPY_THRESH, 1, "ask for long frames"),
        (libc::PACKET_IGNORE_OUTGOING, 1, "ignore outgoing frames (needs Linux 4.20)"),
        (libc::PACKET_QDISC_BYPASS, settings.qdisc_bypass.into(), "bypass the queue"),
    ];
    for (option, value, what) in options {
        sys::set_packet_option(fd, option, value)
            .map_err(|error| Error::system(name, what, error))?;
    }
    // Beyond the system's limit only with CAP_NET_ADMIN; without it, as much as there is.
    let buffers = [
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, settings.send_buffer),
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, settings.receive_buffer),
    ];
    for (force, ask, bytes) in buffers {
        let bytes = bytes.try_into().unwrap_or(libc::c_int::MAX);
        sys::set_socket_option(fd, force, bytes)
            .or_else(|_| sys::set_socket_option(fd, ask, bytes))
            .map_err(|error| Error::system(name, "set a buffer's size", error))?;
    }
    Ok(())
}
