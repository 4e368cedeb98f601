//! Whether a packet arrived whole: what the host's stack finds out before it answers.

use lvs_core::flow::Protocol;
use lvs_core::io::{Checksum, Frame};
use lvs_core::parse::Headers;
use lvs_core::wire::{checksum, udp};

/// Whether the checksum of a TCP segment is right.
///
/// A sender on the same machine leaves it unfinished, and a network card may have looked at it: then
/// there is nothing to sum.
pub(crate) fn tcp_is_right(frame: &Frame<'_>, headers: &Headers) -> bool {
    frame.offload.checksum != Checksum::Unknown
        || segment(frame, headers).is_some_and(|bytes| sums_to_zero(headers, bytes))
}

/// The length of a UDP datagram whose length and checksum are right, header included.
///
/// What a packet has beyond the datagram is not part of it. Without a checksum (RFC 768) a datagram is
/// good in IPv4 alone (RFC 8200 §8.1).
pub(crate) fn right_datagram_len(frame: &Frame<'_>, headers: &Headers) -> Option<usize> {
    let bytes = segment(frame, headers)?;
    let header: &[u8; udp::HEADER_LEN] = bytes.first_chunk()?;
    let [high, low] = [header[udp::field::LEN], header[udp::field::LEN + 1]];
    let len = usize::from(u16::from_be_bytes([high, low]));
    if frame.offload.segments.is_some() {
        // A super-frame's length may be that of one segment, or 0.
        return Some(bytes.len());
    }
    let datagram = bytes.get(..len).filter(|datagram| datagram.len() >= udp::HEADER_LEN)?;
    let absent = header[udp::field::CHECKSUM..] == [0, 0];
    let right = match frame.offload.checksum {
        _ if absent => headers.dst().is_ipv4(),
        Checksum::Unknown => sums_to_zero(headers, datagram),
        Checksum::Verified | Checksum::Partial { .. } => true,
    };
    right.then_some(len)
}

fn sums_to_zero(headers: &Headers, bytes: &[u8]) -> bool {
    let protocol: Protocol = headers.protocol;
    checksum::transport(headers.src(), headers.dst(), protocol, bytes) == 0
}

/// The transport header and all that follows, without Ethernet padding.
fn segment<'a>(frame: &'a Frame<'_>, headers: &Headers) -> Option<&'a [u8]> {
    frame.bytes().get(usize::from(headers.l4)..headers.end())
}
