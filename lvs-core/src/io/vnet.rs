//! The virtio-net header: how offload metadata crosses packet sockets and TAP devices.
//!
//! The kernel puts it directly in front of a received frame and takes it in front of a frame to send
//! (`PACKET_VNET_HDR`, `IFF_VNET_HDR`). Layout and values are those of the Virtual I/O Device specification
//! 1.2 §5.1.6, in the byte order of the host, without `num_buffers`:
//!
//! ```text
//! flags u8 | gso_type u8 | hdr_len u16 | gso_size u16 | csum_start u16 | csum_offset u16
//! ```

use super::{Checksum, Offload, SegmentKind, Segments};

/// Bytes of the header.
pub const VNET_HEADER_LEN: usize = 10;

/// `flags`: the checksum is unfinished.
const NEEDS_CSUM: u8 = 1;
/// `flags`: the checksum was found right.
const DATA_VALID: u8 = 2;

/// `gso_type`: not a super-frame.
const GSO_NONE: u8 = 0;
/// `gso_type`: TCP over IPv4.
const GSO_TCPV4: u8 = 1;
/// `gso_type`: TCP over IPv6.
const GSO_TCPV6: u8 = 4;
/// `gso_type`: UDP, each segment a datagram.
const GSO_UDP_L4: u8 = 5;
/// `gso_type`: besides a TCP type, only the first segment has CWR.
const GSO_ECN: u8 = 0x80;

/// Reads the header of a received frame. `None` if it says what [`Offload`] has no word for, or points
/// outside the frame.
pub fn decode(header: &[u8; VNET_HEADER_LEN], frame: &[u8]) -> Option<Offload> {
    let field = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let checksum = if header[0] & NEEDS_CSUM != 0 {
        let (start, offset) = (field(6), field(8));
        if usize::from(start) + usize::from(offset) + 2 > frame.len() {
            return None;
        }
        Checksum::Partial { start, offset }
    } else if header[0] & DATA_VALID != 0 {
        Checksum::Verified
    } else {
        Checksum::Unknown
    };
    let kind = match header[1] & !GSO_ECN {
        GSO_NONE => return Some(Offload { checksum, segments: None }),
        GSO_TCPV4 => SegmentKind::Tcp4,
        GSO_TCPV6 => SegmentKind::Tcp6,
        GSO_UDP_L4 => SegmentKind::Udp,
        _ => return None,
    };
    let header_len = headers_len(kind, checksum, field(2), frame)?;
    let ecn = header[1] & GSO_ECN != 0;
    Some(Offload { checksum, segments: Some(Segments { kind, size: field(4), header_len, ecn }) })
}

/// Bytes of all headers of a super-frame.
///
/// `hint` (`hdr_len`) is what happens to be contiguous in the sender's memory, which may be more; the
/// truth stands in the transport header, and its place in the checksum metadata.
fn headers_len(kind: SegmentKind, checksum: Checksum, hint: u16, frame: &[u8]) -> Option<u16> {
    let Checksum::Partial { start, .. } = checksum else {
        return (usize::from(hint) <= frame.len()).then_some(hint);
    };
    let transport = frame.get(usize::from(start)..)?;
    let len = match kind {
        SegmentKind::Udp => 8,
        SegmentKind::Tcp4 | SegmentKind::Tcp6 => u16::from(*transport.get(12)? >> 4) * 4,
    };
    if usize::from(len) > transport.len() {
        return None;
    }
    start.checked_add(len)
}

/// The header for a frame to send. A finished checksum needs none, so `Unknown` and `Verified` are the
/// same here.
pub fn encode(offload: &Offload) -> [u8; VNET_HEADER_LEN] {
    let mut header = [0; VNET_HEADER_LEN];
    let mut put = |at: usize, value: u16| {
        header[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    };
    if let Some(segments) = offload.segments {
        put(2, segments.header_len);
        put(4, segments.size);
    }
    if let Checksum::Partial { start, offset } = offload.checksum {
        put(6, start);
        put(8, offset);
        header[0] = NEEDS_CSUM;
    }
    if let Some(segments) = offload.segments {
        let kind = match segments.kind {
            SegmentKind::Tcp4 => GSO_TCPV4,
            SegmentKind::Tcp6 => GSO_TCPV6,
            SegmentKind::Udp => GSO_UDP_L4,
        };
        header[1] = kind | if segments.ecn { GSO_ECN } else { 0 };
    }
    header
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn tcp_frame() -> Vec<u8> {
        let mut frame = vec![0; 3000];
        frame[34 + 12] = 8 << 4;
        frame
    }

    fn super_frame() -> Offload {
        let kind = SegmentKind::Tcp4;
        let segments = Some(Segments { kind, size: 1448, header_len: 34 + 32, ecn: true });
        Offload { checksum: Checksum::Partial { start: 34, offset: 16 }, segments }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let unfinished =
            Offload { checksum: Checksum::Partial { start: 34, offset: 6 }, segments: None };
        for offload in [Offload::default(), unfinished, super_frame()] {
            assert_eq!(decode(&encode(&offload), &tcp_frame()), Some(offload));
        }
    }

    #[test]
    fn the_length_of_the_headers_is_read_from_the_frame_not_from_the_hint() {
        let mut header = encode(&super_frame());
        header[2..4].copy_from_slice(&2000u16.to_ne_bytes());
        assert_eq!(decode(&header, &tcp_frame()), Some(super_frame()));
    }

    #[test]
    fn a_verified_checksum_is_told_and_sent_as_a_finished_one() {
        let mut header = [0; VNET_HEADER_LEN];
        header[0] = DATA_VALID;
        let offload = decode(&header, &[0; 60]).unwrap();
        assert_eq!(offload.checksum, Checksum::Verified);
        assert_eq!(encode(&offload), [0; VNET_HEADER_LEN]);
    }

    #[test]
    fn metadata_that_points_outside_the_frame_is_refused() {
        let offload =
            Offload { checksum: Checksum::Partial { start: 50, offset: 16 }, segments: None };
        assert_eq!(decode(&encode(&offload), &[0; 60]), None);
        assert_eq!(decode(&encode(&super_frame()), &[0; 40]), None);
        let mut short = tcp_frame();
        short.truncate(60);
        assert_eq!(decode(&encode(&super_frame()), &short), None);
    }

    #[test]
    fn positions_at_the_very_end_of_a_long_frame_do_not_overflow() {
        let frame = vec![0xff; 14 + 8 + 65_535];
        let checksum = Checksum::Partial { start: u16::MAX, offset: 6 };
        for kind in [SegmentKind::Tcp4, SegmentKind::Udp] {
            let segments = Some(Segments { kind, size: 1000, header_len: 54, ecn: false });
            assert_eq!(decode(&encode(&Offload { checksum, segments }), &frame), None);
        }
    }

    #[test]
    fn an_unknown_kind_of_segments_is_refused() {
        let mut header = encode(&super_frame());
        header[1] = 3;
        assert_eq!(decode(&header, &tcp_frame()), None);
    }
}
