//! Cutting a packet that is larger than the next link (RFC 791 §3.2, rule F8), or that came in fragments
//! (rule F9).

use super::Director;
use crate::drop::DropReason;
use crate::io::{Checksum, Frame, Verdict};
use crate::neighbor::NeighborIndex;
use crate::parse::Headers;
use crate::store::{Cut, Parcel, Store};
use crate::wire::{checksum, ethernet, ipv4, ipv6};

/// Bytes that hold any link and IPv4 header.
const HEAD: usize = ethernet::HEADER_LEN + 8 + ipv4::HEADER_LEN_MAX;

/// One option of an IPv4 header: "no operation" (RFC 791 §3.1).
const NOOP: u8 = 1;

impl Director {
    /// Keeps a packet that leaves in pieces; its checksum must be finished.
    pub(super) fn cut_later(
        &mut self,
        frame: &mut Frame<'_>,
        neighbor: NeighborIndex,
        cut: Option<Cut>,
    ) -> Verdict {
        if self.neighbors.at(neighbor).mac().is_none() {
            return self.wait_for_neighbor(frame, neighbor, cut);
        }
        let Some(parcel) = self.store.put(frame) else {
            return Verdict::Drop(DropReason::StoreFull);
        };
        self.store.set_cut(parcel, cut);
        if self.send_stored(parcel, neighbor) {
            Verdict::Absorb
        } else {
            Verdict::Drop(DropReason::StoreFull)
        }
    }
}

/// Finishes a checksum that was left to the hardware, which cannot sum over several frames.
pub(super) fn finish_checksum(frame: &mut Frame<'_>, headers: &Headers) {
    let Checksum::Partial { start, offset } = frame.offload.checksum else { return };
    let (start, at) = (usize::from(start), usize::from(start) + usize::from(offset));
    let end = headers.end().min(frame.len());
    let bytes = frame.bytes_mut();
    if at + 2 <= end {
        // The field holds the pseudo-header's sum, which so becomes part of the whole.
        let sum = match checksum::of(&bytes[start..end]) {
            0 => 0xffff,
            sum => sum,
        };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    frame.offload.checksum = Checksum::Unknown;
}

/// Writes the piece of a stored packet that begins at `offset` of its payload, link header included and
/// without MAC addresses of the next hop. Returns where the next one begins, or `None` after the last;
/// `Err` if the slot is too small.
pub(super) fn piece(
    store: &Store,
    parcel: Parcel,
    mtu: u32,
    offset: usize,
    frame: &mut Frame<'_>,
) -> Result<Option<usize>, DropReason> {
    let mut head = [0; HEAD];
    store.read(parcel, 0, &mut head);
    let Ok((_, _, l3)) = ethernet::tags(&head) else {
        return Err(DropReason::VlanTruncated);
    };
    let ip = &head[l3..];
    if ip[0] >> 4 == 6 {
        return piece_v6(store, parcel, mtu, offset, (l3, ip), frame);
    }
    let header_len = usize::from(ip[0] & 0xf) * 4;
    let total_len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let field = u16::from_be_bytes([ip[6], ip[7]]);
    let payload = total_len.saturating_sub(header_len);
    let most = (mtu as usize).saturating_sub(header_len);
    let Some(len) = piece_len(store.cut(parcel), offset, payload, most) else {
        return Err(DropReason::TooBig);
    };
    let last = offset + len == payload;
    if !frame.set_len(l3 + header_len + len) {
        return Err(DropReason::SlotTooSmall);
    }
    let bytes = frame.bytes_mut();
    bytes[..l3 + header_len].copy_from_slice(&head[..l3 + header_len]);
    store.read(parcel, l3 + header_len + offset, &mut bytes[l3 + header_len..]);
    let header = &mut bytes[l3..l3 + header_len];
    if offset > 0 {
        blank_options(&mut header[ipv4::HEADER_LEN..]);
    }
    let more = if last { field & ipv4::MORE_FRAGMENTS } else { ipv4::MORE_FRAGMENTS };
    let place = (field & ipv4::OFFSET_MASK) + (offset / 8) as u16;
    let df = field & ipv4::DONT_FRAGMENT;
    header[2..4].copy_from_slice(&((header_len + len) as u16).to_be_bytes());
    header[6..8].copy_from_slice(&(df | more | place).to_be_bytes());
    header[10..12].fill(0);
    let sum = checksum::of(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    Ok(if last { None } else { Some(offset + len) })
}

/// Bytes of the payload that go into the piece at `offset`, of which there is room for `most`; all but the
/// last are a multiple of 8 (RFC 791 §3.1). `None` if nothing can.
fn piece_len(cut: Option<Cut>, offset: usize, payload: usize, most: usize) -> Option<usize> {
    if offset >= payload {
        return None;
    }
    let left = payload - offset;
    let as_it_came = cut.and_then(|cut| cut.parts.len_at(offset, payload, most));
    let len = as_it_came.unwrap_or(if left <= most { left } else { most & !7 });
    (len > 0).then_some(len)
}

/// The same for an IPv6 packet of our own, or one that came in fragments (RFC 8200 §4.5): `l3` is where it
/// begins, `ip` its fixed header.
fn piece_v6(
    store: &Store,
    parcel: Parcel,
    mtu: u32,
    offset: usize,
    (l3, ip): (usize, &[u8]),
    frame: &mut Frame<'_>,
) -> Result<Option<usize>, DropReason> {
    let cut = store.cut(parcel).ok_or(DropReason::TooBig)?;
    let (front, named_at) = (usize::from(cut.front), usize::from(cut.named_at));
    let ip_len = ipv6::HEADER_LEN + usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    let payload = ip_len.saturating_sub(front);
    let most = (mtu as usize).saturating_sub(front + ipv6::FRAGMENT_HEADER_LEN);
    let len = piece_len(Some(cut), offset, payload, most).ok_or(DropReason::TooBig)?;
    let last = offset + len == payload;
    let head = l3 + front;
    let at = head + ipv6::FRAGMENT_HEADER_LEN;
    if !frame.set_len(at + len) {
        return Err(DropReason::SlotTooSmall);
    }
    let bytes = frame.bytes_mut();
    store.read(parcel, 0, &mut bytes[..head]);
    store.read(parcel, head + offset, &mut bytes[at..]);
    let payload_len = (at - l3 - ipv6::HEADER_LEN + len) as u16;
    bytes[l3 + ipv6::field::PAYLOAD_LEN..][..2].copy_from_slice(&payload_len.to_be_bytes());
    let next = core::mem::replace(&mut bytes[l3 + named_at], ipv6::next::FRAGMENT);
    let place = offset as u16 | u16::from(!last);
    bytes[head..][..2].copy_from_slice(&[next, 0]);
    bytes[head + 2..][..2].copy_from_slice(&place.to_be_bytes());
    bytes[head + 4..][..4].copy_from_slice(&cut.ident.to_be_bytes());
    Ok(if last { None } else { Some(offset + len) })
}

/// Replaces the options that are not copied into later fragments (RFC 791 §3.1, the copied flag).
fn blank_options(options: &mut [u8]) {
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        let len = match kind {
            0 => return,
            NOOP => 1,
            _ => match options.get(at + 1) {
                Some(&len) if len >= 2 => usize::from(len),
                _ => return,
            },
        };
        let end = (at + len).min(options.len());
        if kind & 0x80 == 0 {
            options[at..end].fill(NOOP);
        }
        at = end;
    }
}
