//! Transport checksums that are not finished.

use lvs_core::parse::{Headers, L4};
use lvs_core::wire::checksum::{self, Sum};
use lvs_core::wire::{tcp, udp};

use super::{HEADROOM, Refusal, Unfinished};

/// Whether the kernel merged segments into this packet: then the checksum field holds the sum of the
/// pseudo-header alone, not complemented. One right checksum of 65,536 looks the same, so the whole is
/// summed before that is believed.
pub(super) fn unfinished(headers: &Headers, packet: &[u8]) -> Option<Unfinished> {
    if headers.fragment.is_some() {
        return None;
    }
    let (offset, headers_len, is_tcp) = match headers.l4_header {
        L4::Tcp { header_len, .. } => (tcp::field::CHECKSUM, header_len, true),
        L4::Udp => (udp::field::CHECKSUM, udp::HEADER_LEN as u8, false),
        _ => return None,
    };
    let start = usize::from(headers.l4) - HEADROOM;
    let segment = packet.get(start..)?;
    let field = u16::from_be_bytes([*segment.get(offset)?, *segment.get(offset + 1)?]);
    let (src, dst, protocol) = (headers.src(), headers.dst(), headers.protocol);
    let pseudo = Sum::pseudo_header(src, dst, protocol, segment.len() as u32).fold();
    if field != pseudo || checksum::transport(src, dst, protocol, segment) == 0 {
        return None;
    }
    Some(Unfinished {
        start: start as u16,
        offset: offset as u16,
        headers: start as u16 + u16::from(headers_len),
        is_tcp,
    })
}

/// What a remote checksum of GUE says, if that is about the packet's TCP or UDP checksum: then it is the
/// same as of a merged one, but never of several segments.
pub(super) fn remote(headers: &Headers, (start, at): (u16, u16)) -> Result<Unfinished, Refusal> {
    let (offset, headers_len, is_tcp) = match headers.l4_header {
        L4::Tcp { header_len, .. } => (tcp::field::CHECKSUM as u16, header_len, true),
        L4::Udp => (udp::field::CHECKSUM as u16, udp::HEADER_LEN as u8, false),
        _ => return Err(Refusal::GueForm),
    };
    if headers.fragment.is_some()
        || usize::from(start) + HEADROOM != usize::from(headers.l4)
        || at.checked_sub(start) != Some(offset)
    {
        return Err(Refusal::GueForm);
    }
    Ok(Unfinished { start, offset, headers: start + u16::from(headers_len), is_tcp })
}
