//! From a slot of the ring to a frame to lend.

use lvs_core::io::vnet::{self, VNET_HEADER_LEN};
use lvs_core::io::{Frame, Offload};
use lvs_io_linux::{Event, Events, FRAME_LEN_MAX, Slots};

use crate::POOL_FRAME_START;
use crate::link::Link;
use crate::ring::{Slot, SlotHeader};

/// EtherType of an 802.1Q tag, for kernels that do not tell which kind they took out.
const TPID_DOT1Q: u16 = 0x8100;

/// The frame of a slot, or `None`, counted, if it is not to be lent.
pub(crate) fn frame<'a>(
    slot: Slot<'a>,
    link: &mut Link,
    pool: &mut Slots<'a>,
    events: &mut Events,
) -> Option<Frame<'a>> {
    let Slot { header, bytes, .. } = slot;
    link.counters.received += 1;
    if !is_for_us(&header, link) || !is_bearable(&header, link, events) {
        if header.status & libc::TP_STATUS_COPY != 0 {
            link.discard(header.len);
        }
        return None;
    }
    let whole = if header.status & libc::TP_STATUS_COPY != 0 {
        fetched(&header, link, pool)
    } else {
        in_ring(&header, bytes)
    };
    let Some((slot, start, vnet_header)) = whole else {
        link.counters.truncated += 1;
        return None;
    };
    let Some(offload) = vnet::decode(&vnet_header, &slot[start..start + header.len]) else {
        link.counters.refused += 1;
        return None;
    };
    let frame = with_tag(&header, Frame::new(slot, start, header.len, link.watch.port()), offload);
    link.counters.lent += u64::from(frame.is_some());
    link.counters.refused += u64::from(frame.is_none());
    frame
}

/// Whether the frame is addressed to this machine, or all frames are wanted.
fn is_for_us(header: &SlotHeader, link: &mut Link) -> bool {
    match header.packet_type {
        libc::PACKET_HOST | libc::PACKET_BROADCAST | libc::PACKET_MULTICAST => true,
        libc::PACKET_OTHERHOST if link.settings.promiscuous => true,
        libc::PACKET_OTHERHOST => {
            link.counters.other_host += 1;
            false
        }
        // Outgoing frames are not asked for, and the rest is internal to the kernel.
        _ => false,
    }
}

/// Whether a frame may be so long.
fn is_bearable(header: &SlotHeader, link: &mut Link, events: &mut Events) -> bool {
    if header.len <= FRAME_LEN_MAX {
        return true;
    }
    link.counters.refused += 1;
    if !link.big_tcp_told {
        link.big_tcp_told = true;
        let (port, interface) = (link.watch.port(), link.interface.name.clone());
        events.push(Event::BigTcp { port, interface, len: header.len });
    }
    false
}

/// A frame that is in the ring: its memory, where it begins there, and its virtio-net header, which lies
/// in front of it in what becomes its headroom.
fn in_ring<'a>(
    header: &SlotHeader,
    bytes: &'a mut [u8],
) -> Option<(&'a mut [u8], usize, [u8; VNET_HEADER_LEN])> {
    let (start, len) = (header.start, header.len);
    if header.captured_len < len || start < VNET_HEADER_LEN || start + len > bytes.len() {
        return None;
    }
    let vnet_header = bytes[start - VNET_HEADER_LEN..start].try_into().ok()?;
    Some((bytes, start, vnet_header))
}

/// A frame that is longer than a slot, fetched from the socket's queue into our own memory.
fn fetched<'a>(
    header: &SlotHeader,
    link: &Link,
    pool: &mut Slots<'a>,
) -> Option<(&'a mut [u8], usize, [u8; VNET_HEADER_LEN])> {
    let slot = pool.next()?;
    let mut vnet_header = [0; VNET_HEADER_LEN];
    link.fetch(&mut vnet_header, &mut slot[POOL_FRAME_START..], header.len)?;
    Some((slot, POOL_FRAME_START, vnet_header))
}

/// Puts the tag that the kernel took out back to where it was: behind the two addresses. Prepending
/// moves the positions in the offload metadata.
fn with_tag<'a>(header: &SlotHeader, mut frame: Frame<'a>, offload: Offload) -> Option<Frame<'a>> {
    frame.offload = offload;
    if header.status & libc::TP_STATUS_VLAN_VALID == 0 {
        return Some(frame);
    }
    let (tpid, tci) = header.tag;
    let told = header.status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let tpid = if told { tpid } else { TPID_DOT1Q };
    if frame.len() < 12 {
        return None;
    }
    frame.prepend(4).ok()?;
    let bytes = frame.bytes_mut();
    bytes.copy_within(4..16, 0);
    bytes[12..14].copy_from_slice(&tpid.to_be_bytes());
    bytes[14..16].copy_from_slice(&tci.to_be_bytes());
    Some(frame)
}
