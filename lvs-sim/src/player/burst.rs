//! Packets of one moment: in bursts through the director, then what came of each.

use lvs_core::explain::Event;
use lvs_core::io::mem::PassedFrame;
use lvs_core::io::{Frame, FrameIo, Verdict};
use lvs_core::parse::{Parsed, parse};

use super::{Player, Sent};
use crate::explain::Explanation;
use crate::host::HostFrame;
use crate::record::describe;
use crate::scenario::{Body, Packet, Side};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// A frame on its way in, and everything that came of it.
struct Slot<'p> {
    packet: &'p Packet,
    /// Which frame of how many of its packet.
    part: usize,
    parts: usize,
    bytes: Vec<u8>,
    verdict: Option<Verdict>,
    delivered: bool,
    sent: Vec<Sent>,
    explanation: Explanation,
    /// A request for a neighbour was ascribed to it.
    asked: bool,
    /// Pieces of it were ascribed to it.
    cut: bool,
}

impl Player<'_> {
    pub(super) fn play_packets(&mut self, time: &str, packets: &[&Packet]) {
        let burst = usize::from(self.io.caps().burst_max);
        let mut slots: Vec<Slot<'_>> = packets.iter().flat_map(|packet| slots_of(packet)).collect();
        let mut rest = slots.as_mut_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(burst_len(rest, burst));
            self.play_burst(now);
            rest = later;
        }
        for slot in &mut slots {
            self.record_slot(time, slot);
        }
    }

    /// Lends one burst to the director, lets its host answer, and ascribes what was sent.
    fn play_burst(&mut self, slots: &mut [Slot<'_>]) {
        // A frame that the host's own check refuses never reaches the director.
        let mut seen: Vec<usize> = Vec::with_capacity(slots.len());
        for (i, slot) in slots.iter().enumerate() {
            if self.host.accepts(slot.packet.side, &slot.bytes) {
                self.io.push(slot.packet.side.port(), &slot.bytes);
                seen.push(i);
            }
        }
        let (director, now) = (&mut self.director, self.now);
        let Ok(_) = self.io.exchange(&mut |frames| {
            let mut explain = |n: usize, event: Event| {
                if let Some(slot) = seen.get(n).and_then(|&i| slots.get_mut(i)) {
                    slot.explanation.push(event);
                }
            };
            director.process_burst_explained(now, frames, &mut explain);
            for (frame, &i) in frames.iter().zip(&seen) {
                slots[i].verdict = Some(frame.verdict);
            }
        });
        self.daemons.turn(self.now, &mut self.director);
        self.ascribe_verdicts(slots, &seen);
        let mut cutting = None;
        for sent in self.drain() {
            let owner = owner(slots, &sent, &mut cutting);
            slots[owner].sent.push(sent);
        }
        self.let_host_answer(slots, &seen);
    }

    /// What left in the frames' own slots, in their order.
    fn ascribe_verdicts(&mut self, slots: &mut [Slot<'_>], seen: &[usize]) {
        let mut queues =
            [Side::Clients, Side::Servers].map(|side| self.io.sent(side.port()).into_iter());
        for &i in seen {
            let Some(Verdict::Transmit(port) | Verdict::Reply(port)) = slots[i].verdict else {
                continue;
            };
            if let Some(frame) = queues.get_mut(port.index()).and_then(Iterator::next) {
                slots[i].sent.push(Sent { side: Side::of(port), bytes: frame.bytes });
            }
        }
    }

    /// The host takes what was left to it; what it sends of its own passes the director, which takes
    /// notice.
    fn let_host_answer(&mut self, slots: &mut [Slot<'_>], seen: &[usize]) {
        let mut passed = self.io.passed().into_iter();
        self.io.dropped();
        for &i in seen {
            let Some(Verdict::Pass(_)) = slots[i].verdict else { continue };
            let Some(frame) = passed.next() else { continue };
            self.let_host_take(&mut slots[i], &frame);
        }
        // What was kept and is the host's after all comes behind, in the order of the packets.
        for &i in seen {
            if !slots[i].explanation.returns_to_host() {
                continue;
            }
            for frame in passed.by_ref() {
                self.let_host_take(&mut slots[i], &frame);
                if !place_of_piece(&frame.bytes).is_some_and(|(_, more)| more) {
                    break;
                }
            }
        }
    }

    fn let_host_take(&mut self, slot: &mut Slot<'_>, frame: &PassedFrame) {
        let handled = self.host.take(self.now, frame);
        slot.delivered |= handled.delivered;
        for sent in self.let_director_see(handled.sent) {
            slot.sent.push(sent);
        }
    }

    /// The director takes notice of what the host sends of its own.
    pub(super) fn let_director_see(&mut self, frames: Vec<HostFrame>) -> Vec<Sent> {
        let noticed = frames.into_iter().map(|HostFrame { side, mut bytes, own }| {
            if own {
                let len = bytes.len();
                let mut frame = Frame::new(&mut bytes, 0, len, side.port());
                self.director.observe_output(self.now, &mut frame);
            }
            Sent { side, bytes }
        });
        noticed.collect()
    }

    fn record_slot(&mut self, time: &str, slot: &mut Slot<'_>) {
        slot.sent.sort_by_key(|sent| sent.side);
        let outcomes: Vec<_> = slot
            .sent
            .iter()
            .filter_map(|sent| describe(self.network, sent.side, &sent.bytes, Some(slot.packet)))
            .collect();
        let text = &slot.packet.text;
        let action =
            if slot.parts > 1 { format!("{text} part {}", slot.part) } else { text.clone() };
        let first = slot.delivered.then_some("local");
        let otherwise = if slot.is_held() { "held" } else { "drop" };
        self.record.packet(time, &action, first, &outcomes, otherwise);
        self.explain(&slot.explanation);
    }
}

impl Slot<'_> {
    /// Whether the frame, if nothing came of it, is a fragment that waits for others.
    fn is_held(&self) -> bool {
        let Some(fragments) = &self.packet.fragments else { return false };
        self.part + 1 < self.parts || self.parts < fragments.parts()
    }

    fn is_absorbed(&self) -> bool {
        self.verdict == Some(Verdict::Absorb)
    }

    /// Whether it leaves after its burst.
    fn leaves_later(&self) -> bool {
        self.is_absorbed() && self.explanation.leaves()
    }

    /// Whether it may wait for the neighbour with this address.
    fn may_wait_for(&self, target: &[u8]) -> bool {
        let destination = self.explanation.destination().filter(|_| self.is_absorbed());
        destination.is_some_and(|destination| match destination.addr {
            std::net::IpAddr::V4(addr) => addr.octets() == target,
            std::net::IpAddr::V6(addr) => addr.octets() == target,
        })
    }
}

/// How many of the next frames go in one burst. It ends early before a SYN of a flow that had another
/// packet in it: the host may have answered that one with a RST, which the director must see before it
/// opens a connection.
fn burst_len(slots: &[Slot<'_>], most: usize) -> usize {
    const SYN: u8 = 2;
    let flags = |slot: &Slot<'_>| match slot.packet.body {
        Body::Tcp { flags } => Some(flags),
        _ => None,
    };
    let most = most.min(slots.len());
    (1..most)
        .find(|&n| {
            let syn = &slots[n];
            let opens = flags(syn).is_some_and(|flags| flags & SYN != 0);
            opens
                && slots[..n].iter().any(|other| {
                    flags(other).is_some_and(|flags| flags & SYN == 0)
                        && other.packet.source == syn.packet.source
                        && other.packet.destination == syn.packet.destination
                })
        })
        .unwrap_or(most)
}

fn slots_of(packet: &Packet) -> Vec<Slot<'_>> {
    let frames = packet.frames();
    let parts = frames.len();
    frames
        .into_iter()
        .enumerate()
        .map(|(part, bytes)| Slot {
            packet,
            part,
            parts,
            bytes,
            verdict: None,
            delivered: false,
            sent: Vec::new(),
            explanation: Explanation::default(),
            asked: false,
            cut: false,
        })
        .collect()
}

/// Which frame of a burst caused a frame that the director sent afterwards: a request for the neighbour
/// it waits for, or the packet that was kept, which leave in the order they came. `cutting` is the frame that
/// the last piece was of.
fn owner(slots: &mut [Slot<'_>], sent: &Sent, cutting: &mut Option<usize>) -> usize {
    if slots.len() == 1 {
        return 0;
    }
    let packet = sent.bytes.get(ETHERNET..).unwrap_or_default();
    let target = match (sent.bytes.get(12), sent.bytes.get(13)) {
        (Some(0x08), Some(0x06)) => packet.get(24..28),
        (Some(0x86), Some(0xdd)) if packet.get(6) == Some(&58) => packet.get(48..64),
        _ => None,
    };
    let found = match target {
        Some(target) => {
            let asker = slots.iter().position(|slot| !slot.asked && slot.may_wait_for(target));
            asker.inspect(|&i| slots[i].asked = true)
        }
        None if place_of_piece(&sent.bytes).is_some_and(|(offset, _)| offset > 0) => *cutting,
        None => {
            let whole = slots.iter().position(|slot| !slot.cut && slot.leaves_later());
            *cutting = whole;
            whole.inspect(|&i| slots[i].cut = true)
        }
    };
    found.unwrap_or(slots.len() - 1)
}

/// Of a frame that is a piece of a packet, where the piece belongs and whether more follow.
fn place_of_piece(frame: &[u8]) -> Option<(u32, bool)> {
    let Parsed::Ip(headers) = parse(frame) else { return None };
    headers.fragment.map(|fragment| (fragment.offset, fragment.more))
}
