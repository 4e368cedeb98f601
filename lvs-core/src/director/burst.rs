//! A burst in passes, so that the memory accesses of its frames overlap.
//!
//! ```text
//!  classify   bytes ─▶ key, hash; the bucket is asked for
//!  candidate  bucket ─▶ record, which is asked for
//!  decide     record ─▶ verdict: the short way (established.rs) or the long one (inbound.rs)
//! ```
//!
//! What the first pass finds stays where it is written, in the director's scratch: moving the headers of
//! a burst from pass to pass by value cost more than parsing them. What few frames need is out of line, so
//! that the loops of the many keep their values in registers.

use super::{Director, inbound, link};
use crate::drop::{DropReason, PassReason};
use crate::explain::{Event, Explain, Silent};
use crate::flow::FlowKey;
use crate::ids::ConnId;
use crate::io::{Frame, Verdict};
use crate::lookup::Words;
use crate::parse::{Headers, Parsed, Plain, parse, parse_super, plain_v4, plain_v6};
use crate::time::Instant;
use crate::wire::ethernet;

/// Frames whose memory accesses are overlapped: 32 gives all there is to gain, more gives nothing.
const STAGE: usize = 32;

/// Words that no address has.
const NO_ADDRESS: Words = [0, 0, u64::MAX];

/// Scratch for the frames of one stage.
#[derive(Debug)]
pub(super) struct Stage([Staged; STAGE]);

impl Default for Stage {
    fn default() -> Stage {
        Stage([Staged::EMPTY; STAGE])
    }
}

/// A frame between the passes.
#[derive(Clone, Copy, Debug)]
struct Staged {
    kind: Kind,
    /// The verdict, if it is settled.
    settled: Verdict,
    /// The slot that probably has the packet's connection.
    hint: Option<ConnId>,
    hash: u64,
    /// Of a plain packet to a local address, all that is known yet.
    plain: Plain,
    /// Of any other packet, its headers; of ARP the tags and where its packet begins.
    headers: Headers,
}

impl Staged {
    const EMPTY: Staged = Staged {
        kind: Kind::Settled,
        settled: Verdict::Drop(DropReason::Undecided),
        hint: None,
        hash: 0,
        plain: Plain::EMPTY,
        headers: Headers::EMPTY,
    };

    fn settle(&mut self, verdict: Verdict) {
        (self.kind, self.settled) = (Kind::Settled, verdict);
    }
}

/// What a frame turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Nothing that is to be looked for: the verdict is known.
    Settled,
    Arp,
    /// ICMPv6 that may be a neighbour message.
    Neighbor,
    /// A plain packet to a local address.
    Plain,
    /// Any other packet to a local address.
    Inbound,
    /// A fragment of a packet to a local address.
    LocalFragment,
    /// A fragment of a packet to any other.
    OtherFragment,
    /// To any other address: perhaps a real server's answer.
    Crossing,
}

impl Director {
    /// Decides about each frame of a burst and writes its verdict. `now` must not go backwards; where it
    /// does, it stands still.
    pub fn process_burst(&mut self, now: Instant, frames: &mut [Frame<'_>]) {
        self.process_burst_explained(now, frames, &mut Silent);
    }

    /// The same, telling `explain` each step of each frame.
    pub fn process_burst_explained<X: Explain>(
        &mut self,
        now: Instant,
        frames: &mut [Frame<'_>],
        explain: &mut X,
    ) {
        self.advance(now);
        // Only a panic half-way through a burst can have left none.
        let mut stage = self.stage.take().unwrap_or_default();
        for (n, frames) in frames.chunks_mut(STAGE).enumerate() {
            let staged = &mut stage.0[..frames.len()];
            self.classify_all(frames, staged);
            self.find_candidates(staged);
            self.decide_all(n * STAGE, frames, staged, explain);
        }
        self.stage = Some(stage);
    }

    /// First pass.
    #[inline(never)]
    fn classify_all(&self, frames: &[Frame<'_>], staged: &mut [Staged]) {
        // Most packets of a burst are to the same address as the one before.
        let mut local = NO_ADDRESS;
        for (frame, staged) in frames.iter().zip(staged) {
            match plain_v4(frame.bytes()) {
                Some(packet) => self.classify_plain(frame, packet, staged, &mut local),
                None => self.classify_other(frame, staged, &mut local),
            }
        }
    }

    /// Whether a plain packet concerns us, and where it is looked for. `local` is an address known to be
    /// local.
    #[inline(always)]
    fn classify_plain(
        &self,
        frame: &Frame<'_>,
        packet: Plain,
        staged: &mut Staged,
        local: &mut Words,
    ) {
        let station = ethernet::dst_word(frame.bytes());
        if self.link(frame.port()).is_some_and(|link| link.station != station) {
            return staged.settle(Verdict::Pass(PassReason::OtherStation));
        }
        let to = packet.flow.virtual_words();
        if (to[0] ^ local[0]) | (to[1] ^ local[1]) | (to[2] ^ local[2]) != 0 {
            if !self.locals.contains(to) {
                return self.classify_crossing(packet.headers(frame.bytes()), staged);
            }
            *local = to;
        }
        staged.plain = packet;
        self.look_for(staged, Kind::Plain, &packet.flow);
    }

    /// The first pass of any frame that is no plain IPv4 packet.
    #[inline(never)]
    fn classify_other(&self, frame: &Frame<'_>, staged: &mut Staged, local: &mut Words) {
        if let Some(packet) = plain_v6(frame.bytes()) {
            return self.classify_plain(frame, packet, staged, local);
        }
        let parsed = match frame.offload.segments {
            None => parse(frame.bytes()),
            Some(_) => parse_super(frame.bytes()),
        };
        let headers = match parsed {
            Parsed::Ip(headers) => headers,
            Parsed::Arp { tags, l3 } => {
                (staged.headers.tags, staged.headers.l3) = (tags, l3);
                staged.kind = Kind::Arp;
                return;
            }
            Parsed::Other(reason) => return staged.settle(Verdict::Pass(reason)),
            Parsed::Malformed(reason) => return staged.settle(Verdict::Drop(reason)),
        };
        let station = ethernet::dst(frame.bytes());
        let ours = self.link(frame.port()).is_none_or(|link| link.mac == station);
        let local = ours && self.locals.contains(headers.flow.virtual_words());
        match link::may_be_neighbor_message(&headers) {
            true if local || !ours && station.is_group() => {
                (staged.headers, staged.kind) = (headers, Kind::Neighbor);
            }
            _ if !ours => staged.settle(Verdict::Pass(PassReason::OtherStation)),
            _ if headers.fragment.is_some() => {
                let kind = if local { Kind::LocalFragment } else { Kind::OtherFragment };
                (staged.headers, staged.kind) = (headers, kind);
            }
            _ if local => {
                staged.headers = headers;
                self.look_for(staged, Kind::Inbound, &headers.flow);
            }
            _ => self.classify_crossing(headers, staged),
        }
    }

    /// To an address that is not local: the connection of which it may be an answer is looked for.
    #[inline(never)]
    fn classify_crossing(&self, headers: Headers, staged: &mut Staged) {
        staged.headers = headers;
        self.look_for(staged, Kind::Crossing, &headers.flow.reversed());
    }

    /// Asks for the bucket of a key.
    #[inline(always)]
    fn look_for(&self, staged: &mut Staged, kind: Kind, key: &FlowKey) {
        let hash = self.conns.hash(key);
        self.conns.prefetch(hash);
        (staged.kind, staged.hash) = (kind, hash);
    }

    /// Second pass: the buckets have come, the records are asked for.
    #[inline(never)]
    fn find_candidates(&self, staged: &mut [Staged]) {
        for staged in staged {
            if matches!(staged.kind, Kind::Plain | Kind::Inbound | Kind::Crossing) {
                staged.hint = self.conns.candidate(staged.hash);
            }
        }
    }

    /// Third pass.
    fn decide_all<X: Explain>(
        &mut self,
        first: usize,
        frames: &mut [Frame<'_>],
        staged: &mut [Staged],
        x: &mut X,
    ) {
        self.stats.received += frames.len() as u64;
        for (i, (frame, staged)) in frames.iter_mut().zip(staged).enumerate() {
            if staged.kind == Kind::Plain {
                let port = self.pass_established(first + i, frame, &staged.plain, staged.hint, x);
                if let Some(port) = port {
                    self.stats.transmitted += 1;
                    frame.verdict = Verdict::Transmit(port);
                    continue;
                }
            }
            self.decide(first + i, frame, staged, x);
        }
    }

    /// The long way.
    #[inline(never)]
    fn decide<X: Explain>(
        &mut self,
        n: usize,
        frame: &mut Frame<'_>,
        staged: &mut Staged,
        x: &mut X,
    ) {
        if staged.kind == Kind::Plain {
            if let Some(port) = self.pass_masqueraded(n, frame, &staged.plain, staged.hint, x) {
                self.stats.transmitted += 1;
                frame.verdict = Verdict::Transmit(port);
                return;
            }
            (staged.kind, staged.headers) = (Kind::Inbound, staged.plain.headers(frame.bytes()));
        }
        let Staged { kind, settled, hint, hash, ref headers, .. } = *staged;
        let verdict = match kind {
            Kind::Settled => settled,
            Kind::Arp => self.arp(frame, &headers.tags, headers.l3),
            Kind::Neighbor => self.neighbor_message(frame, headers),
            Kind::Plain | Kind::Inbound => {
                self.inbound(frame, &inbound::Seen { n, headers, hash, hint, cut: None }, x)
            }
            Kind::LocalFragment => self.fragment(n, frame, headers, true, x),
            Kind::OtherFragment => self.fragment(n, frame, headers, false, x),
            Kind::Crossing => {
                self.cross(frame, &inbound::Seen { n, headers, hash, hint, cut: None }, x)
            }
        };
        frame.verdict = verdict;
        match verdict {
            Verdict::Transmit(_) => self.stats.transmitted += 1,
            Verdict::Reply(_) => self.stats.replied += 1,
            Verdict::Absorb => self.stats.absorbed += 1,
            Verdict::Drop(reason) => {
                let flow = (kind != Kind::Settled && kind != Kind::Arp).then_some(&headers.flow);
                self.count_drop(reason, Some(frame.port()), flow);
                x.event(n, || Event::Dropped(reason));
            }
            Verdict::Pass(reason) => {
                self.stats.passed[reason.index()] += 1;
                x.event(n, || Event::Passed(reason));
            }
        }
    }

    /// A packet to an address that is not local: an answer, or one that a mark delivers here all the same.
    /// `seen` has the hash of the answer's flow.
    pub(super) fn cross<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &inbound::Seen<'_>,
        x: &mut X,
    ) -> Verdict {
        match self.crossing(frame, seen, x) {
            Verdict::Pass(PassReason::NotLocal)
                if !self.delivered_marks.is_empty()
                    && self.is_delivered_by_mark(frame.port(), seen.headers) =>
            {
                let hash = self.conns.hash(&seen.headers.flow);
                self.inbound(frame, &inbound::Seen { hash, hint: None, ..*seen }, x)
            }
            verdict => verdict,
        }
    }
}
