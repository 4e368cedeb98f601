//! A packet socket that sends and receives offload metadata with each frame.

use std::time::Duration;

use rustix::net::SendFlags;

use crate::host::Host;
use crate::packet::{PacketSocket, Seen, seen};
use crate::sys;

/// Bytes of a virtio-net header (Virtual I/O Device specification 1.2 §5.1.6, without `num_buffers`).
const HEADER_LEN: usize = 10;

/// A packet socket with a virtio-net header in front of each frame: it can send frames with unfinished
/// checksums and super-frames as a local TCP would, and receives them uncut with what they still need.
///
/// The header is `flags`, `gso_type`, then in the host's byte order `hdr_len`, `gso_size`,
/// `csum_start`, `csum_offset`. All zeroes is a frame complete as on the wire.
#[derive(Debug)]
pub struct OffloadSocket {
    socket: PacketSocket,
}

impl OffloadSocket {
    /// A socket on an interface of `host`.
    ///
    /// # Panics
    /// As [`PacketSocket::open`].
    #[track_caller]
    pub fn open(host: &Host, interface: &str) -> OffloadSocket {
        let socket = PacketSocket::open(host, interface);
        sys::add_virtio_net_header(&socket.socket)
            .unwrap_or_else(|error| panic!("{}: no offload metadata: {error}", host.name()));
        let mut opened = OffloadSocket { socket };
        // What came before that has no header in front.
        while opened.socket.receive_raw(Duration::ZERO).is_some() {}
        opened
    }

    /// Sends a frame with its metadata.
    ///
    /// # Panics
    /// If the interface does not take it.
    #[track_caller]
    pub fn send(&self, header: &[u8; HEADER_LEN], frame: &[u8]) {
        let bytes = [header.as_slice(), frame].concat();
        let sent = rustix::net::send(&self.socket.socket, &bytes, SendFlags::empty());
        assert_eq!(sent, Ok(bytes.len()), "cannot send {} bytes with {header:?}", frame.len());
    }

    /// The next frame, in either direction, with its metadata; `None` if there was none within
    /// `timeout`. A tag that is put back into the frame is not counted in the header's `csum_start`.
    ///
    /// # Panics
    /// If the interface is gone.
    #[track_caller]
    pub fn receive(&mut self, timeout: Duration) -> Option<([u8; HEADER_LEN], Seen)> {
        let (mut received, bytes) = self.socket.receive_raw(timeout)?;
        let (header, frame) = bytes.split_first_chunk()?;
        received.len -= HEADER_LEN;
        Some((*header, seen(frame, received)))
    }
}
