//! Carrying out verdicts: frames leave from where they lie.

use lvs_core::io::vnet::{self, VNET_HEADER_LEN};
use lvs_core::io::{Frame, Verdict};
use lvs_io_linux::{ETHERNET_LEN, Events, Settled};
use rustix::io::Errno;

use crate::port::Port;

/// Bytes of a VLAN tag, which does not count for the MTU (IEEE 802.3 allows them on top of it).
const TAG_LEN: usize = 4;

/// Carries out every frame's verdict in the order of the slots. `queue_of` says by which queue of its
/// device a frame came in.
pub(crate) fn settle(
    ports: &mut [Port],
    frames: &mut [Frame<'_>],
    queue_of: impl Fn(usize) -> usize,
    events: &mut Events,
) -> Settled {
    let mut settled = Settled::default();
    settled.report.received = frames.len() as u32;
    for (number, frame) in frames.iter_mut().enumerate() {
        let report = &mut settled.report;
        match frame.verdict {
            Verdict::Pass(_) => report.passed += 1,
            Verdict::Drop(_) => report.dropped += 1,
            Verdict::Absorb => {}
            Verdict::Transmit(id) | Verdict::Reply(id) => match ports.get_mut(id.index()) {
                Some(port) => send(port, queue_of(number), frame, &mut settled, events),
                None => report.unsent += 1,
            },
        }
    }
    settled
}

/// Sends one frame, or counts why not.
fn send(
    port: &mut Port,
    queue: usize,
    frame: &mut Frame<'_>,
    settled: &mut Settled,
    events: &mut Events,
) {
    // Whether it works again is looked at while waiting, not for each frame.
    if !port.is_up() {
        port.counters.port_down += 1;
        settled.report.unsent += 1;
        return;
    }
    if !is_sendable(frame, port.interface.mtu as usize) {
        port.counters.transmit_error += 1;
        settled.report.unsent += 1;
        return;
    }
    // A frame may have come in by another device, which has more queues.
    let queue = queue % port.queues.len();
    match write(port, queue, frame) {
        Ok(()) => {
            port.counters.transmitted += 1;
            settled.report.transmitted += 1;
            return;
        }
        Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => {
            port.counters.transmit_full += 1;
            settled.full = true;
        }
        // EIO: the device is down. EBADFD: it was deleted.
        Err(Errno::IO | Errno::BADFD | Errno::NODEV) => {
            port.counters.port_down += 1;
            port.look(events);
        }
        Err(_) => port.counters.transmit_error += 1,
    }
    settled.report.unsent += 1;
}

/// Whether a frame has a header and its packets fit the MTU; of a super-frame those that it stands for.
/// The kernel does not check what is written to a TAP device: it takes it as received.
fn is_sendable(frame: &Frame<'_>, mtu: usize) -> bool {
    let bytes = frame.bytes();
    if bytes.len() < ETHERNET_LEN {
        return false;
    }
    let longest = frame.offload.segments.map_or(bytes.len(), |segments| {
        usize::from(segments.header_len) + usize::from(segments.size)
    });
    longest <= ETHERNET_LEN + mtu + tags_len(bytes)
}

/// Bytes of the VLAN tags of a frame, at most two.
fn tags_len(bytes: &[u8]) -> usize {
    let is_tag = |at: usize| matches!(bytes.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8]));
    match (is_tag(12), is_tag(12 + TAG_LEN)) {
        (false, _) => 0,
        (true, false) => TAG_LEN,
        (true, true) => 2 * TAG_LEN,
    }
}

/// Hands the frame over with its header in front. There is always room for it: see `FRAME_START`.
fn write(port: &Port, queue: usize, frame: &mut Frame<'_>) -> Result<(), Errno> {
    let header = vnet::encode(&frame.offload);
    let len = frame.len() + VNET_HEADER_LEN;
    let Ok(front) = frame.prepend(VNET_HEADER_LEN) else { return Err(Errno::INVAL) };
    front.copy_from_slice(&header);
    loop {
        match rustix::io::write(port.fd(queue), frame.bytes()) {
            Ok(written) if written == len => return Ok(()),
            Ok(_) => return Err(Errno::INVAL),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use lvs_core::ids::PortId;
    use lvs_core::io::{Checksum, Offload, SegmentKind, Segments};

    use super::*;

    fn fits(len: usize, ethertype: [u8; 2], segments: Option<Segments>) -> bool {
        let mut slot = vec![0; len];
        if len >= ETHERNET_LEN {
            slot[12..14].copy_from_slice(&ethertype);
        }
        let mut frame = Frame::new(&mut slot, 0, len, PortId(0));
        frame.offload = Offload { checksum: Checksum::Unknown, segments };
        is_sendable(&frame, 1500)
    }

    #[test]
    fn a_frame_is_as_long_as_the_mtu_allows_beside_its_tags() {
        assert!(fits(1514, [8, 0], None));
        assert!(!fits(1515, [8, 0], None));
        assert!(fits(1518, [0x81, 0], None));
        assert!(!fits(1519, [0x81, 0], None));
        assert!(!fits(13, [8, 0], None));
    }

    #[test]
    fn a_super_frame_is_as_long_as_its_segments() {
        let segments =
            |size| Segments { kind: SegmentKind::Tcp4, size, header_len: 54, ecn: false };
        assert!(fits(30_000, [8, 0], Some(segments(1460))));
        assert!(!fits(30_000, [8, 0], Some(segments(1461))));
    }
}
