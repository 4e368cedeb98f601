//! The fragments that reach the host's stack one by one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lvs_core::flow::Protocol;
use lvs_core::parse::{FragmentInfo, Headers, Parsed, parse};

use super::ETHERNET;

/// IPv4: where total length, flags with offset, and checksum stand.
const V4: (usize, usize, usize) = (2, 6, 10);
/// IPv6: bytes of the fixed header and of a fragment header.
const V6: (usize, usize) = (40, 8);

type Key = (IpAddr, IpAddr, u32, Option<Protocol>);

/// Fragments by packet and offset: whether more follow, and the frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Fragments {
    sets: BTreeMap<Key, BTreeMap<u32, (FragmentInfo, Vec<u8>)>>,
}

impl Fragments {
    /// The frame as a whole packet: at once if it is none of a fragment, otherwise with the last one missing.
    pub(super) fn whole(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let Parsed::Ip(headers) = parse(frame) else { return Some(frame.to_vec()) };
        let Some(info) = headers.fragment else { return Some(frame.to_vec()) };
        let key = key_of(&headers, &info);
        let set = self.sets.entry(key).or_default();
        set.insert(info.offset, (info, frame[..headers.end()].to_vec()));
        let whole = put_together(set)?;
        self.sets.remove(&key);
        Some(whole)
    }
}

fn key_of(headers: &Headers, info: &FragmentInfo) -> Key {
    let protocol = headers.src().is_ipv4().then_some(headers.protocol);
    (headers.src(), headers.dst(), info.id, protocol)
}

fn put_together(set: &BTreeMap<u32, (FragmentInfo, Vec<u8>)>) -> Option<Vec<u8>> {
    let (first, frame) = set.get(&0)?;
    let mut whole = frame[..usize::from(first.payload)].to_vec();
    let mut next = 0;
    let mut more = true;
    for (&offset, (info, frame)) in set {
        let payload = frame.get(usize::from(info.payload)..)?;
        if offset != next {
            return None;
        }
        whole.extend_from_slice(payload);
        next += u32::try_from(payload.len()).ok()?;
        more = info.more;
    }
    if more {
        return None;
    }
    if frame.get(ETHERNET)? >> 4 == 4 {
        close_v4(&mut whole[ETHERNET..], usize::from(first.payload) - ETHERNET);
    } else {
        close_v6(&mut whole, usize::from(first.payload));
    }
    Some(whole)
}

fn close_v4(packet: &mut [u8], header_len: usize) {
    let (len_at, place_at, sum_at) = V4;
    let len = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    packet[len_at..len_at + 2].copy_from_slice(&len.to_be_bytes());
    packet[place_at..place_at + 2].fill(0);
    packet[sum_at..sum_at + 2].fill(0);
    let sum = lvs_core::wire::checksum::of(&packet[..header_len]);
    packet[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Takes the fragment header out, which here is the only extension header.
fn close_v6(frame: &mut Vec<u8>, payload: usize) {
    let (fixed, header) = V6;
    let next = frame[payload - header];
    frame.drain(payload - header..payload);
    frame[ETHERNET + 6] = next;
    let len = u16::try_from(frame.len() - ETHERNET - fixed).unwrap_or(u16::MAX);
    frame[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&len.to_be_bytes());
}
