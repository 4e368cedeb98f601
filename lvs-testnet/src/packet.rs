//! A packet socket on an interface of a host: raw frames in and out.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_timeout,
};
use rustix::net::{SendFlags, netdevice};

use crate::host::Host;
use crate::sys;

/// The longest frame: a packet of 64 KiB and room for headers. A longer one is cut off.
const FRAME_MAX: usize = 66 * 1024;

/// Receive buffer of the socket, in bytes: half a second of a fast transfer.
const RECEIVE_BUFFER: usize = 64 * 1024 * 1024;

/// The shortest wait that the kernel does not take for "without end".
const SHORTEST_WAIT: Duration = Duration::from_micros(1);

/// A frame that was on an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// When it was read.
    pub at: Instant,
    /// When the kernel took it in, by the clock of the whole machine; see [`PacketSocket::stamp`].
    pub stamp: Option<SystemTime>,
    /// Whether the host sent it; otherwise it came in.
    pub outgoing: bool,
    /// Its length in bytes, also where `bytes` was cut off.
    pub len: usize,
    /// The frame from the Ethernet header on, VLAN tags included.
    pub bytes: Vec<u8>,
}

/// A packet socket, bound to one interface.
///
/// It sees every frame that comes in or goes out, super-frames uncut (default offloads), also those that
/// a rule of the host's netdev ingress hook drops afterwards.
#[derive(Debug)]
pub struct PacketSocket {
    pub(crate) socket: OwnedFd,
    buffer: Vec<u8>,
}

impl PacketSocket {
    /// A socket on an interface of `host`.
    ///
    /// # Panics
    /// If there is no such interface, or without CAP_NET_RAW.
    #[track_caller]
    pub fn open(host: &Host, interface: &str) -> PacketSocket {
        let opened = host.enter(|| -> io::Result<OwnedFd> {
            let socket = sys::open_packet_socket()?;
            let index = netdevice::name_to_index(&socket, interface)?;
            // In a user namespace the system's limit holds, and a fast transfer may lose frames.
            set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)
                .or_else(|_| set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER))?;
            sys::bind_packet_socket(&socket, index)?;
            Ok(socket)
        });
        let socket = opened.unwrap_or_else(|error| {
            panic!("{}: no packet socket on {interface}: {error}", host.name())
        });
        PacketSocket { socket, buffer: vec![0; FRAME_MAX] }
    }

    /// Has the kernel say of each frame when it came ([`Seen::stamp`]), however late it is read. The first few
    /// after this may still be stamped when they are read.
    ///
    /// # Panics
    /// If the kernel cannot.
    #[track_caller]
    pub fn stamp(&self) {
        sys::stamp_frames(&self.socket).unwrap_or_else(|error| panic!("no stamps: {error}"));
    }

    /// Sends a frame as it is, tags included.
    ///
    /// # Panics
    /// If the interface does not take it.
    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        let sent = rustix::net::send(&self.socket, frame, SendFlags::empty());
        assert_eq!(sent, Ok(frame.len()), "cannot send a frame of {} bytes", frame.len());
    }

    /// The next frame, in either direction; `None` if there was none within `timeout`.
    ///
    /// # Panics
    /// If the interface is gone.
    #[track_caller]
    pub fn receive(&mut self, timeout: Duration) -> Option<Seen> {
        let (received, bytes) = self.receive_raw(timeout)?;
        Some(seen(bytes, received))
    }

    /// What the socket gives, before the tag is put back.
    #[track_caller]
    pub(crate) fn receive_raw(&mut self, timeout: Duration) -> Option<(sys::Received, &[u8])> {
        // A timeout of zero would wait without end.
        let timeout = timeout.max(SHORTEST_WAIT);
        set_socket_timeout(&self.socket, Timeout::Recv, Some(timeout))
            .unwrap_or_else(|error| panic!("cannot set a timeout: {error}"));
        match sys::receive(&self.socket, &mut self.buffer) {
            Ok(received) => Some((received, &self.buffer[..received.len.min(self.buffer.len())])),
            Err(error) if is_timeout(&error) => None,
            Err(error) => panic!("cannot receive: {error}"),
        }
    }

    /// The next incoming frame that `wanted` accepts; `None` if there was none within `timeout`.
    ///
    /// # Panics
    /// If the interface is gone.
    #[track_caller]
    pub fn receive_where(
        &mut self,
        timeout: Duration,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let seen = self.receive(left)?;
            if !seen.outgoing && wanted(&seen.bytes) {
                return Some(seen.bytes);
            }
        }
    }
}

/// A received frame, its tag put back.
pub(crate) fn seen(kept: &[u8], received: sys::Received) -> Seen {
    let (mut bytes, mut len) = (kept.to_vec(), received.len);
    if let (Some((tpid, tci)), 12..) = (received.tag, bytes.len()) {
        let [a, b] = tpid.to_be_bytes();
        let [c, d] = tci.to_be_bytes();
        bytes.splice(12..12, [a, b, c, d]);
        len += 4;
    }
    let (outgoing, stamp) = (received.outgoing, received.stamp);
    Seen { at: Instant::now(), stamp, outgoing, len, bytes }
}

/// Whether an error says that nothing came in time, or that a signal came first.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
