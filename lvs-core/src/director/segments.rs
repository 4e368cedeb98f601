//! Super-frames into tunnels. Outer headers go around packets, not around what a network card still has to cut:
//! so the super-frame is kept behind the outer headers of its first segment, and each segment is made when it
//! leaves.

use crate::drop::DropReason;
use crate::flow::Protocol;
use crate::forward::segment::{self, Segment};
use crate::forward::tunnel;
use crate::io::{Frame, Offload, SegmentKind};
use crate::store::{Parcel, Store};
use crate::wire::{ethernet, ipv4, ipv6};

/// Writes one segment of a stored super-frame with its outer headers, without MAC addresses of the next hop.
/// Returns the number of the next one, or `None` after the last.
pub(super) fn write(
    store: &Store,
    parcel: Parcel,
    number: u16,
    ident: u16,
    frame: &mut Frame<'_>,
) -> Result<Option<u16>, DropReason> {
    const WRONG: DropReason = DropReason::TunnelSuperFrame;
    let segments = store.offload(parcel).segments.ok_or(WRONG)?;
    let (head, size) = (usize::from(segments.header_len), usize::from(segments.size));
    let payload = store.len(parcel).checked_sub(head).ok_or(WRONG)?;
    let offset = usize::from(number) * size;
    if size == 0 || offset >= payload.max(1) {
        return Err(WRONG);
    }
    let len = size.min(payload - offset);
    let last = offset + len == payload;
    if !frame.set_len(head + len) {
        return Err(DropReason::SlotTooSmall);
    }
    frame.offload = Offload::default();
    let bytes = frame.bytes_mut();
    store.read(parcel, 0, &mut bytes[..head]);
    store.read(parcel, head + offset, &mut bytes[head..]);
    let (.., l3) = ethernet::tags(bytes).map_err(|_| DropReason::VlanTruncated)?;
    let inside = tunnel::look_inside(&bytes[l3..]).ok_or(WRONG)?;
    let packet = bytes.get_mut(l3 + inside.at..).ok_or(WRONG)?;
    let l4 = transport_at(packet).filter(|&at| l3 + inside.at + at < head).ok_or(WRONG)?;
    let protocol = match segments.kind {
        SegmentKind::Tcp4 | SegmentKind::Tcp6 => Protocol::TCP,
        SegmentKind::Udp => Protocol::UDP,
    };
    segment::finish(
        packet,
        inside.family,
        protocol,
        l4,
        &Segment { number, offset: offset as u32, last },
    );
    tunnel::refit(&mut bytes[l3..], ident);
    match number.checked_add(1) {
        _ if last => Ok(None),
        Some(next) => Ok(Some(next)),
        None => Err(WRONG),
    }
}

/// Where the transport header of an IP packet begins.
fn transport_at(packet: &[u8]) -> Option<usize> {
    if packet.first()? >> 4 == 4 {
        return Some(usize::from(packet[ipv4::field::VERSION_IHL] & 0xf) * 4);
    }
    let next = *packet.get(ipv6::field::NEXT_HEADER)?;
    ipv6::follow(packet, next).ok().map(|chain| chain.end)
}
