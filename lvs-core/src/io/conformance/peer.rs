//! The virtio-net header as a peer of the suite reads and writes it.
//!
//! It is written apart from [`vnet`](crate::io::vnet), which is what a backend under test uses: a mistake
//! there would cancel out here.

use crate::io::vnet::VNET_HEADER_LEN;
use crate::io::{Checksum, Offload, SegmentKind};

/// The virtio-net header that a peer sends in front of a frame with this metadata.
pub fn virtio_header(offload: &Offload) -> [u8; VNET_HEADER_LEN] {
    let mut fields = [0u16; 4];
    let (mut flags, mut kind) = (0, 0);
    if let Some(segments) = offload.segments {
        kind = match segments.kind {
            SegmentKind::Tcp4 => 1,
            SegmentKind::Tcp6 => 4,
            SegmentKind::Udp => 5,
        };
        kind |= if segments.ecn { 0x80 } else { 0 };
        (fields[0], fields[1]) = (segments.header_len, segments.size);
    }
    if let Checksum::Partial { start, offset } = offload.checksum {
        flags = 1;
        (fields[2], fields[3]) = (start, offset);
    }
    let mut header = [flags, kind, 0, 0, 0, 0, 0, 0, 0, 0];
    for (bytes, field) in header[2..].chunks_exact_mut(2).zip(fields) {
        bytes.copy_from_slice(&field.to_ne_bytes());
    }
    header
}

/// The checksum's state, by the virtio-net header of a frame that a peer received.
pub fn checksum_of(header: &[u8; VNET_HEADER_LEN]) -> Checksum {
    let field = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    match header[0] {
        flags if flags & 1 != 0 => Checksum::Partial { start: field(6), offset: field(8) },
        flags if flags & 2 != 0 => Checksum::Verified,
        _ => Checksum::Unknown,
    }
}
