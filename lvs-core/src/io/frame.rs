//! A frame in its slot: bytes, headroom, offload metadata, verdict.

use core::fmt;

use crate::drop::{DropReason, PassReason};
use crate::ids::PortId;

/// What is to be done with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Leave it to the director's own host. A backend that only watches (AF_PACKET) does nothing.
    Pass(PassReason),
    /// Drop it.
    Drop(DropReason),
    /// Forward it through a port.
    Transmit(PortId),
    /// The slot now holds an answer to what was received; send it through a port.
    Reply(PortId),
    /// The core keeps a copy and will hand it out by `poll_transmit` (it waits for a neighbour or for the
    /// other fragments of its packet, or leaves in pieces); the slot itself is free.
    Absorb,
}

/// State of the transport checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// As on the wire; nobody has looked at it.
    #[default]
    Unknown,
    /// As on the wire, and found right by the network card or the kernel.
    Verified,
    /// Not finished: the field holds the uncomplemented pseudo-header sum, and whoever sends the frame
    /// must sum from `start` to the end and store the result at `start + offset`.
    Partial {
        /// Where summing begins, in bytes from the start of the frame.
        start: u16,
        /// Where the checksum is stored, in bytes from `start`.
        offset: u16,
    },
}

/// What kind of super-frame this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP, each segment a datagram of its own.
    Udp,
}

/// A frame that stands for several segments still to be cut (GSO).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segments {
    /// The kind of segments.
    pub kind: SegmentKind,
    /// Payload bytes of each segment but the last.
    pub size: u16,
    /// Bytes of all headers, Ethernet included, that each segment repeats.
    pub header_len: u16,
    /// TCP ECN: only the first segment carries CWR.
    pub ecn: bool,
}

/// Offload metadata that travels with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offload {
    /// State of the transport checksum.
    pub checksum: Checksum,
    /// Set if the frame is a super-frame.
    pub segments: Option<Segments>,
}

/// Fewer bytes in front of the frame than a new header needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoHeadroom {
    /// Bytes asked for.
    pub needed: usize,
    /// Bytes there are.
    pub available: usize,
}

impl fmt::Display for NoHeadroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of headroom needed, {} available", self.needed, self.available)
    }
}

impl core::error::Error for NoHeadroom {}

/// A window on one frame in its slot.
///
/// ```text
///  slot:  | headroom ............ | frame ............... | tailroom .... |
///         0                     start                    end
/// ```
#[derive(Debug)]
pub struct Frame<'a> {
    slot: &'a mut [u8],
    start: usize,
    end: usize,
    port: PortId,
    /// Offload metadata; positions in it are kept right by [`Frame::prepend`] and
    /// [`Frame::trim_front`].
    pub offload: Offload,
    /// What is to be done with the frame; at first `Drop(Undecided)`.
    pub verdict: Verdict,
}

impl<'a> Frame<'a> {
    /// A frame of `len` bytes that begins at `start` in its slot.
    ///
    /// # Panics
    /// If the frame does not lie within the slot; a bug of the backend.
    #[inline]
    pub fn new(slot: &'a mut [u8], start: usize, len: usize, port: PortId) -> Frame<'a> {
        let end = start + len;
        assert!(end <= slot.len(), "a frame must lie within its slot");
        let verdict = Verdict::Drop(DropReason::Undecided);
        Frame { slot, start, end, port, offload: Offload::default(), verdict }
    }

    /// The port the frame came in by.
    #[inline]
    pub fn port(&self) -> PortId {
        self.port
    }

    /// Says by which port a frame came in that is handed out again.
    pub(crate) fn set_port(&mut self, port: PortId) {
        self.port = port;
    }

    /// Where the frame begins in its slot, and its length: what a backend needs to send it.
    #[inline]
    pub fn range(&self) -> core::ops::Range<usize> {
        self.start..self.end
    }

    /// The frame, from the Ethernet header on.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.slot[self.start..self.end]
    }

    /// The frame, from the Ethernet header on.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.slot[self.start..self.end]
    }

    /// The first `N` bytes of a frame that is known to be at least as long; `None` at most for others.
    #[inline(always)]
    pub(crate) fn head_mut<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        debug_assert!(self.len() >= N, "a frame whose head is asked for");
        self.slot.get_mut(self.start..)?.first_chunk_mut()
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.end == self.start
    }

    /// Free bytes in front.
    #[inline]
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// The most bytes that [`Frame::set_len`] accepts.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.slot.len() - self.start
    }

    /// Grows the frame by `n` bytes at the front and returns those. They hold whatever was there.
    ///
    /// # Errors
    /// [`NoHeadroom`], and the frame is unchanged.
    pub fn prepend(&mut self, n: usize) -> Result<&mut [u8], NoHeadroom> {
        let Some(start) = self.start.checked_sub(n) else {
            return Err(NoHeadroom { needed: n, available: self.start });
        };
        self.start = start;
        if let Checksum::Partial { start, .. } = &mut self.offload.checksum {
            *start = start.saturating_add(n as u16);
        }
        if let Some(segments) = &mut self.offload.segments {
            segments.header_len = segments.header_len.saturating_add(n as u16);
        }
        Ok(&mut self.slot[start..start + n])
    }

    /// Cuts `n` bytes off the front.
    ///
    /// # Panics
    /// If the frame is shorter than that.
    pub fn trim_front(&mut self, n: usize) {
        assert!(n <= self.len(), "cannot cut more than there is");
        self.start += n;
        if let Checksum::Partial { start, .. } = &mut self.offload.checksum {
            *start = start.saturating_sub(n as u16);
        }
        if let Some(segments) = &mut self.offload.segments {
            segments.header_len = segments.header_len.saturating_sub(n as u16);
        }
    }

    /// Sets the length, growing or shrinking at the end. Returns `false`, and changes nothing, if the
    /// slot is too small.
    #[inline]
    pub fn set_len(&mut self, len: usize) -> bool {
        if len > self.capacity() {
            return false;
        }
        self.end = self.start + len;
        true
    }

    /// Replaces the frame by `bytes`, without offload metadata. Returns `false`, and changes nothing,
    /// if the slot is too small.
    pub fn replace(&mut self, bytes: &[u8]) -> bool {
        if !self.set_len(bytes.len()) {
            return false;
        }
        self.bytes_mut().copy_from_slice(bytes);
        self.offload = Offload::default();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepending_moves_the_offsets_of_the_offload() {
        let mut slot = [0u8; 64];
        let mut frame = Frame::new(&mut slot, 16, 40, PortId(0));
        frame.offload.checksum = Checksum::Partial { start: 34, offset: 16 };
        frame.prepend(4).unwrap().fill(7);
        assert_eq!(frame.offload.checksum, Checksum::Partial { start: 38, offset: 16 });
        assert_eq!(frame.len(), 44);
        frame.trim_front(4);
        assert_eq!(frame.offload.checksum, Checksum::Partial { start: 34, offset: 16 });
    }

    #[test]
    fn an_offset_at_the_limit_saturates() {
        let mut slot = [0u8; 64];
        let mut frame = Frame::new(&mut slot, 16, 40, PortId(0));
        frame.offload.checksum = Checksum::Partial { start: u16::MAX - 1, offset: 16 };
        frame.prepend(4).unwrap();
        assert_eq!(frame.offload.checksum, Checksum::Partial { start: u16::MAX, offset: 16 });
    }

    #[test]
    fn too_little_headroom_changes_nothing() {
        let mut slot = [0u8; 64];
        let mut frame = Frame::new(&mut slot, 8, 40, PortId(0));
        assert_eq!(frame.prepend(20), Err(NoHeadroom { needed: 20, available: 8 }));
        assert_eq!(frame.range(), 8..48);
    }
}
