//! Fragments: kept until their packet is whole, then decided about as that packet (rule F9).
//!
//! ```text
//!  fragment ─▶ reassembly ─▶ held: Absorb
//!                         └▶ whole: copied together ─▶ inbound or crossing, as any packet
//!                              Transmit, Reply  ─▶ store ─▶ poll_transmit
//!                              Pass             ─▶ store ─▶ poll_transmit, left to the host in pieces
//!                              cut              ─▶ store ─▶ poll_transmit, in pieces no longer than it came in
//! ```
//!
//! The whole packet has no room in the slot of its last fragment, so it is put together in a buffer of the
//! director's own, as a frame with headroom: everything behind here handles it as it handles any other.

use alloc::boxed::Box;
use alloc::vec;

use super::Director;
use super::inbound::Seen;
use crate::addr::Family;
use crate::drop::{DropReason, PassReason};
use crate::explain::{Event, Explain};
use crate::flow::addr_words;
use crate::io::{Frame, HEADROOM_DEFAULT, Verdict};
use crate::parse::{Headers, Parsed, parse};
use crate::reassembly::{Added, Fragment, Key, SetIndex, Summary};
use crate::store::Cut;
use crate::wire::icmp::IcmpError;
use crate::wire::{checksum, ethernet, ipv4, ipv6};

/// Bytes of the longest packet of either family, behind its link header.
const WHOLE_MAX: usize = ethernet::HEADER_LEN
    + ethernet::TAGS_MAX * ethernet::TAG_LEN
    + ipv6::HEADER_LEN
    + ipv6::FRAGMENT_HEADER_LEN
    + 0xffff;
/// Linux sends no pieces of IPv6 packets shorter than what every link carries (RFC 8200 §5).
const PIECE_MIN_V6: u32 = ipv6::MTU_MIN as u32;

/// Where packets are put together.
#[derive(Debug)]
pub(super) struct Workbench(Option<Box<[u8]>>);

impl Workbench {
    /// Bytes that it takes.
    pub(super) const MEMORY: usize = HEADROOM_DEFAULT + WHOLE_MAX;

    pub(super) fn new() -> Workbench {
        Workbench(Some(vec![0; HEADROOM_DEFAULT + WHOLE_MAX].into_boxed_slice()))
    }
}

impl Director {
    /// Keeps a fragment, or handles the packet that it completes. `local` says whether the packet is to a
    /// local address.
    #[inline(never)]
    pub(super) fn fragment<X: Explain>(
        &mut self,
        n: usize,
        frame: &Frame<'_>,
        headers: &Headers,
        local: bool,
        x: &mut X,
    ) -> Verdict {
        if !self.looks_at(headers.family) {
            let reason = if local { PassReason::NoServices } else { PassReason::NotLocal };
            return Verdict::Pass(reason);
        }
        let Some(info) = headers.fragment else {
            return Verdict::Drop(DropReason::FragmentMalformed);
        };
        // Its set may be over, whether or not a timer was there to see it.
        self.expire_fragments();
        let end = headers.end().min(frame.len());
        let fragment = Fragment {
            family: headers.family,
            frame: &frame.bytes()[..end],
            payload: usize::from(info.payload).min(end),
            offset: info.offset,
            more: info.more,
            ip_len: headers.ip_len,
            dont_fragment: headers.dont_fragment,
            congestion: headers.tos & 3,
            port: frame.port(),
        };
        let key = key_of(headers);
        let lost = self.reassembly.keep_distance(&key, headers.family);
        self.lose_fragments(DropReason::FragmentDistance, lost);
        match self.reassembly.add(self.now, &key, &fragment) {
            Added::Held(held) => {
                x.event(n, || Event::FragmentHeld { offset: info.offset, held });
                Verdict::Absorb
            }
            Added::Refused(reason) => Verdict::Drop(reason),
            Added::GivenUp(reason, lost) => {
                self.lose_fragments(reason, lost);
                Verdict::Drop(reason)
            }
            Added::Whole(set) => {
                let verdict = self.whole(n, set, info.id, local, x);
                // The others were taken for kept.
                let others = self.reassembly.release(set) - 1;
                if let Verdict::Drop(reason) = verdict {
                    self.lose_fragments(reason, others);
                }
                verdict
            }
        }
    }

    /// Handles a packet that is whole.
    fn whole<X: Explain>(
        &mut self,
        n: usize,
        set: SetIndex,
        id: u32,
        local: bool,
        x: &mut X,
    ) -> Verdict {
        let mut bench = self.workbench.0.take().unwrap_or_default();
        let summary = self.reassembly.summary(set);
        let verdict = match self.put_together(set, &summary, id, &mut bench) {
            Ok((mut frame, headers, cut)) => {
                self.stats.reassembled += 1;
                let (fragments, len) = (summary.fragments, headers.ip_len);
                x.event(n, || Event::Reassembled { fragments, len });
                // What is not sent to a real server goes on as it came.
                let cut = if local { cut } else { Cut { parts: summary.parts, ..cut } };
                let key = if local { headers.flow } else { headers.flow.reversed() };
                let hash = self.conns.hash(&key);
                let seen = Seen { n, headers: &headers, hash, hint: None, cut: Some(cut) };
                let verdict = if local {
                    self.inbound(&mut frame, &seen, x)
                } else {
                    self.cross(&mut frame, &seen, x)
                };
                frame.verdict = verdict;
                self.send_whole(n, &frame, cut, x)
            }
            Err(reason) => Verdict::Drop(reason),
        };
        self.workbench.0 = Some(bench);
        verdict
    }

    /// Makes the frame of a whole packet, with headers that say so.
    fn put_together<'b>(
        &self,
        set: SetIndex,
        summary: &Summary,
        id: u32,
        bench: &'b mut [u8],
    ) -> Result<(Frame<'b>, Headers, Cut), DropReason> {
        const WRONG: DropReason = DropReason::FragmentInconsistent;
        let congestion = congestion_of(summary.congestion)?;
        let room = bench.get_mut(HEADROOM_DEFAULT..).ok_or(WRONG)?;
        let len = self.reassembly.copy_whole(set, room).ok_or(WRONG)?;
        let mut frame = Frame::new(bench, HEADROOM_DEFAULT, len, summary.port);
        let (.., l3) = ethernet::tags(frame.bytes()).map_err(|_| WRONG)?;
        let cut = match summary.family {
            Family::V4 => close_v4(&mut frame, l3, summary, congestion)?,
            Family::V6 => close_v6(&mut frame, l3, summary, id, congestion)?,
        };
        match parse(frame.bytes()) {
            Parsed::Ip(headers) => Ok((frame, headers, cut)),
            Parsed::Malformed(reason) => Err(reason),
            Parsed::Arp { .. } | Parsed::Other(_) => Err(WRONG),
        }
    }

    /// Carries out what was decided about a whole packet, whose own slot holds but its last fragment.
    fn send_whole<X: Explain>(
        &mut self,
        n: usize,
        frame: &Frame<'_>,
        cut: Cut,
        x: &mut X,
    ) -> Verdict {
        let sent = match frame.verdict {
            verdict @ (Verdict::Drop(_) | Verdict::Absorb) => return verdict,
            Verdict::Transmit(port) | Verdict::Reply(port) => self.send_copy(frame, port),
            Verdict::Pass(reason) => {
                x.event(n, || Event::Passed(reason));
                self.return_to_host(frame, cut, reason)
            }
        };
        if sent { Verdict::Absorb } else { Verdict::Drop(DropReason::StoreFull) }
    }

    /// Ends the sets whose time is over.
    pub(super) fn expire_fragments(&mut self) {
        while let Some(set) = self.reassembly.expired(self.now) {
            let mut bench = self.workbench.0.take().unwrap_or_default();
            let room = bench.get_mut(HEADROOM_DEFAULT..).unwrap_or_default();
            if let Some(len) = self.reassembly.copy_first(set, room) {
                let port = self.reassembly.summary(set).port;
                let mut frame = Frame::new(&mut bench, HEADROOM_DEFAULT, len, port);
                self.tell_of_timeout(&mut frame);
            }
            self.workbench.0 = Some(bench);
            let lost = self.reassembly.release(set);
            self.lose_fragments(DropReason::FragmentTimeout, lost);
        }
    }

    /// Tells the sender that its packet did not become whole; where it was not for a real server, the host
    /// is to.
    fn tell_of_timeout(&mut self, frame: &mut Frame<'_>) {
        let Parsed::Ip(headers) = parse(frame.bytes()) else { return };
        let flow = &headers.flow;
        let mark = self.marks.mark_of(frame.port(), flow);
        let connection = self.find_live(flow, self.conns.hash(flow), None);
        let service = self.services.find(mark, flow.protocol(), flow.virt());
        let local = self.locals.contains(flow.virtual_words());
        if !local || connection.is_none() && service.is_none() {
            let whole = Cut { whole: u32::MAX, ..Cut::outer(u32::MAX, 0) };
            self.return_to_host(frame, whole, PassReason::FragmentTimeout);
            return;
        }
        let (kind, reason) = (IcmpError::ReassemblyTimeExceeded, DropReason::FragmentTimeout);
        let Verdict::Reply(port) = self.answer_error(frame, &headers, kind, reason) else { return };
        if let Some(id) = connection {
            self.count_out(self.conns.dest(id), (frame.len() - usize::from(headers.l3)) as u32);
        }
        self.send_copy(frame, port);
    }

    fn lose_fragments(&mut self, reason: DropReason, lost: u32) {
        for _ in 0..lost {
            self.lose_absorbed(reason);
        }
    }
}

/// Whether a packet that came in fragments may not leave: of IPv4 one that must not be fragmented, as if it
/// had never been; of IPv6 one whose fragments were too long for the way.
pub(super) fn is_too_big(headers: &Headers, cut: &Cut, mtu: u32, dont_fragment: bool) -> bool {
    match headers.family {
        Family::V4 => dont_fragment && headers.ip_len > mtu,
        Family::V6 => cut.whole > mtu,
    }
}

/// What fragments of one packet have in common. Links do not matter, as in the kernel, but VLANs do: they
/// may use the same addresses.
fn key_of(headers: &Headers) -> Key {
    let [a, b] = addr_words(headers.src());
    let [c, d] = addr_words(headers.dst());
    let [outer, inner] = headers.tags.ids();
    let id = headers.fragment.map_or(0, |fragment| fragment.id);
    let vlan = u64::from(outer) << 16 | u64::from(inner);
    let kind = match headers.family {
        Family::V4 => 1 << 8 | u64::from(headers.protocol.0),
        // RFC 8200 §4.5: the next header may differ, only the first fragment's is used.
        Family::V6 => 0,
    };
    [a, b, c, d, u64::from(id) << 32 | vlan, kind]
}

/// What a packet's congestion bits gain from its fragments' (RFC 3168 §5.3): if one met congestion, the
/// packet did; but fragments of senders that take part and of those that do not are not of one packet.
fn congestion_of(seen: u8) -> Result<u8, DropReason> {
    const NOT_CAPABLE: u8 = 1 << 0;
    const CONGESTED: u8 = 1 << 3;
    if seen & NOT_CAPABLE != 0 && seen != NOT_CAPABLE {
        return Err(DropReason::FragmentCongestionMark);
    }
    Ok(if seen & CONGESTED != 0 { 3 } else { 0 })
}

/// Makes the first fragment's IPv4 header that of the whole packet.
fn close_v4(
    frame: &mut Frame<'_>,
    l3: usize,
    summary: &Summary,
    congestion: u8,
) -> Result<Cut, DropReason> {
    let packet = &mut frame.bytes_mut()[l3..];
    let total_len = u16::try_from(packet.len()).map_err(|_| DropReason::FragmentInconsistent)?;
    let header_len = usize::from(packet[ipv4::field::VERSION_IHL] & 0xf) * 4;
    let place = if summary.dont_fragment { ipv4::DONT_FRAGMENT } else { 0 };
    let header = &mut packet[..header_len];
    header[ipv4::field::TOS] |= congestion;
    header[ipv4::field::TOTAL_LEN..][..2].copy_from_slice(&total_len.to_be_bytes());
    header[ipv4::field::FRAGMENT..][..2].copy_from_slice(&place.to_be_bytes());
    header[ipv4::field::CHECKSUM..][..2].fill(0);
    let sum = checksum::of(header);
    header[ipv4::field::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
    Ok(Cut::outer(summary.largest, 0))
}

/// Takes the fragment header out of the first fragment's IPv6 headers.
fn close_v6(
    frame: &mut Frame<'_>,
    l3: usize,
    summary: &Summary,
    id: u32,
    congestion: u8,
) -> Result<Cut, DropReason> {
    const WRONG: DropReason = DropReason::FragmentInconsistent;
    const GAP: usize = ipv6::FRAGMENT_HEADER_LEN;
    let (front, named_at) =
        ipv6::find_fragment_header(&frame.bytes()[l3..]).ok_or(DropReason::FragmentMalformed)?;
    let bytes = frame.bytes_mut();
    bytes[l3 + named_at] = bytes[l3 + front];
    bytes.copy_within(..l3 + front, GAP);
    frame.trim_front(GAP);
    let packet = &mut frame.bytes_mut()[l3..];
    let payload_len = u16::try_from(packet.len() - ipv6::HEADER_LEN).map_err(|_| WRONG)?;
    packet[ipv6::field::PAYLOAD_LEN..][..2].copy_from_slice(&payload_len.to_be_bytes());
    // The traffic class lies across two bytes.
    packet[1] |= congestion << 4;
    Ok(Cut {
        whole: summary.largest,
        mtu: summary.largest.max(PIECE_MIN_V6),
        ident: id,
        front: front as u16,
        named_at: named_at as u16,
        parts: summary.parts,
        segments: false,
    })
}
