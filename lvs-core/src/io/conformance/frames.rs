//! The frames that the suite sends, and what it knows them by.

use std::vec;
use std::vec::Vec;

use crate::addr::MacAddr;
use crate::io::{Checksum, Offload, SegmentKind, Segments};

/// The mark of a frame of the suite; a number follows it.
const MARK: &[u8; 8] = b"lvs-conf";
/// The source address of the suite's frames: locally administered, of no port.
const PEER: MacAddr = MacAddr([0x02, 0x6c, 0x76, 0x73, 0, 0x99]);
/// EtherType for local experiments (IEEE 802 §9.2.4).
const ETHERTYPE: u16 = 0x88b5;

/// Bytes of the Ethernet, IPv4 and TCP headers of [`super_frame`].
pub(super) const TCP_HEADERS: usize = 14 + 20 + 20;
/// Bytes of the Ethernet and IPv4 headers.
const IP_END: usize = 14 + 20;

/// A frame of `len` bytes with a number. `len` is at least 60.
pub(super) fn numbered(to: MacAddr, number: u32, len: usize) -> Vec<u8> {
    let mut frame = ethernet(to, ETHERTYPE);
    mark(&mut frame, number);
    pad(&mut frame, len);
    frame
}

/// A UDP datagram whose checksum is left to whoever sends it last.
pub(super) fn unfinished_udp(to: MacAddr, number: u32) -> (Vec<u8>, Offload) {
    let mut frame = ethernet(to, 0x0800);
    let udp_len = 8 + 100;
    ipv4(&mut frame, 17, udp_len);
    frame.extend([0x30, 0x39, 0x30, 0x3a]);
    frame.extend((udp_len as u16).to_be_bytes());
    frame.extend(pseudo_sum(&frame, 17, udp_len).to_be_bytes());
    mark(&mut frame, number);
    pad(&mut frame, IP_END + udp_len);
    let checksum = Checksum::Partial { start: IP_END as u16, offset: 6 };
    (frame, Offload { checksum, segments: None })
}

/// A TCP super-frame of `count` segments of `size` bytes, its checksum unfinished.
pub(super) fn super_frame(to: MacAddr, number: u32, size: u16, count: u16) -> (Vec<u8>, Offload) {
    let payload = usize::from(size) * usize::from(count);
    let mut frame = ethernet(to, 0x0800);
    ipv4(&mut frame, 6, 20 + payload);
    frame.extend([0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0x10, 0]);
    frame.extend(pseudo_sum(&frame, 6, 20 + payload).to_be_bytes());
    frame.extend([0, 0]);
    // Each segment carries the mark, so that it is known whether it leaves whole or cut.
    for _ in 0..count {
        mark(&mut frame, number);
        let end = frame.len() - 12 + usize::from(size);
        pad(&mut frame, end);
    }
    let segments =
        Segments { kind: SegmentKind::Tcp4, size, header_len: TCP_HEADERS as u16, ecn: false };
    let checksum = Checksum::Partial { start: IP_END as u16, offset: 16 };
    (frame, Offload { checksum, segments: Some(segments) })
}

/// The number of a frame of the suite.
pub(super) fn number_of(frame: &[u8]) -> Option<u32> {
    let at = frame.windows(MARK.len()).position(|w| w == MARK)? + MARK.len();
    Some(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?))
}

/// Whether the frame's transport checksum is right, or unfinished as its metadata says.
pub(super) fn checksum_is_sound(frame: &[u8], offload: &Offload) -> bool {
    let protocol = frame[23];
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let transport_len = total - 20;
    match offload.checksum {
        Checksum::Partial { start, offset } => {
            let at = usize::from(start + offset);
            let found = u16::from_be_bytes([frame[at], frame[at + 1]]);
            usize::from(start) == IP_END && found == pseudo_sum(frame, protocol, transport_len)
        }
        Checksum::Unknown | Checksum::Verified => {
            let pseudo = u32::from(pseudo_sum(frame, protocol, transport_len));
            sum(&frame[IP_END..14 + total], pseudo) == 0xffff
        }
    }
}

fn ethernet(to: MacAddr, ethertype: u16) -> Vec<u8> {
    let mut frame = vec![];
    frame.extend(to.0);
    frame.extend(PEER.0);
    frame.extend(ethertype.to_be_bytes());
    frame
}

fn ipv4(frame: &mut Vec<u8>, protocol: u8, payload: usize) {
    let at = frame.len();
    let [hi, lo] = ((20 + payload) as u16).to_be_bytes();
    frame.extend([0x45, 0, hi, lo, 0, 1, 0, 0, 64, protocol, 0, 0]);
    frame.extend([192, 0, 2, 1, 192, 0, 2, 2]);
    let checksum = !sum(&frame[at..], 0);
    frame[at + 10..at + 12].copy_from_slice(&checksum.to_be_bytes());
}

/// The sum over the pseudo-header, not complemented (RFC 793 §3.1, RFC 768).
fn pseudo_sum(frame: &[u8], protocol: u8, transport_len: usize) -> u16 {
    sum(&frame[26..34], u32::from(protocol) + transport_len as u32)
}

/// The one's complement sum of RFC 1071, not complemented.
fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = u64::from(start);
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn mark(frame: &mut Vec<u8>, number: u32) {
    frame.extend(MARK);
    frame.extend(number.to_be_bytes());
}

fn pad(frame: &mut Vec<u8>, len: usize) {
    while frame.len() < len {
        frame.push(frame.len() as u8);
    }
}
