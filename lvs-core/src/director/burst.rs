//! A burst in passes, so that the memory accesses of its frames overlap.
//!
//! ```text
//!  classify   bytes ─▶ Headers, hash; the bucket is asked for
//!  candidate  bucket ─▶ record, which is asked for
//!  decide     record ─▶ verdict
//! ```
//!
//! What the first pass finds stays where it is written, in the director's scratch: moving the headers of
//! a burst from pass to pass by value cost more than parsing them.

use super::{Director, inbound, link};
use crate::drop::{DropReason, PassReason};
use crate::explain::{Event, Explain, Silent};
use crate::ids::ConnId;
use crate::io::{Frame, Verdict};
use crate::lookup::Words;
use crate::parse::{Headers, Parsed, parse, parse_super};
use crate::time::Instant;
use crate::wire::ethernet::{self, VlanTags};

/// Frames whose memory accesses are overlapped: 32 gives all there is to gain, more gives nothing.
const STAGE: usize = 32;

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
    /// The slot that probably has the packet's connection.
    hint: Option<ConnId>,
    hash: u64,
    /// Meaningful for packets that go on to the connection table, and neighbour messages.
    headers: Headers,
}

impl Staged {
    const EMPTY: Staged = Staged {
        kind: Kind::Settled(Verdict::Drop(DropReason::Undecided)),
        hint: None,
        hash: 0,
        headers: Headers::EMPTY,
    };
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The verdict is known.
    Settled(Verdict),
    /// ARP, with where its packet begins.
    Arp(VlanTags, u16),
    /// ICMPv6 that may be a neighbour message.
    Neighbor,
    /// To a local address.
    Inbound,
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
    fn classify_all(&self, frames: &[Frame<'_>], staged: &mut [Staged]) {
        // Most packets of a burst are to the same address as the one before.
        let mut local = NO_ADDRESS;
        for (frame, staged) in frames.iter().zip(staged) {
            staged.kind = self.classify(frame, staged, &mut local);
        }
    }

    /// What a frame is and whether it concerns us. `local` is an address known to be local.
    #[inline(always)]
    fn classify(&self, frame: &Frame<'_>, staged: &mut Staged, local: &mut Words) -> Kind {
        let parsed = match frame.offload.segments {
            None => parse(frame.bytes()),
            Some(_) => parse_super(frame.bytes()),
        };
        match parsed {
            Parsed::Ip(headers) => staged.headers = headers,
            Parsed::Arp { tags, l3 } => return Kind::Arp(tags, l3),
            Parsed::Other(reason) => return Kind::Settled(Verdict::Pass(reason)),
            Parsed::Malformed(reason) => return Kind::Settled(Verdict::Drop(reason)),
        }
        let headers = &staged.headers;
        let station = ethernet::dst(frame.bytes());
        let ours = self.link(frame.port()).is_none_or(|link| link.mac == station);
        if !ours {
            return if station.is_group() && link::may_be_neighbor_message(headers) {
                Kind::Neighbor
            } else {
                Kind::Settled(Verdict::Pass(PassReason::OtherStation))
            };
        }
        let to = headers.flow.virtual_words();
        let (kind, hash) = if to == *local || self.locals.contains(&to) {
            *local = to;
            if link::may_be_neighbor_message(headers) {
                return Kind::Neighbor;
            }
            (Kind::Inbound, self.conns.hash(&headers.flow))
        } else {
            (Kind::Crossing, self.conns.hash(&headers.flow.reversed()))
        };
        self.conns.prefetch(hash);
        staged.hash = hash;
        kind
    }

    /// Second pass: the buckets have come, the records are asked for.
    fn find_candidates(&self, staged: &mut [Staged]) {
        for staged in staged {
            if matches!(staged.kind, Kind::Inbound | Kind::Crossing) {
                staged.hint = self.conns.candidate(staged.hash);
            }
        }
    }

    /// Third pass.
    fn decide_all<X: Explain>(
        &mut self,
        first: usize,
        frames: &mut [Frame<'_>],
        staged: &[Staged],
        x: &mut X,
    ) {
        for (i, (frame, staged)) in frames.iter_mut().zip(staged).enumerate() {
            let n = first + i;
            let Staged { kind, hint, hash, headers } = staged;
            let verdict = match kind {
                Kind::Settled(verdict) => *verdict,
                Kind::Arp(tags, l3) => self.arp(frame, tags, *l3),
                Kind::Neighbor => self.neighbor_message(frame, headers),
                Kind::Inbound => {
                    let seen = inbound::Seen { n, headers, hash: *hash, hint: *hint };
                    self.inbound(frame, &seen, x)
                }
                Kind::Crossing => self.crossing(headers, *hash, *hint),
            };
            frame.verdict = verdict;
            self.count(verdict);
            match verdict {
                Verdict::Drop(reason) => x.event(n, || Event::Dropped(reason)),
                Verdict::Pass(reason) => x.event(n, || Event::Passed(reason)),
                _ => {}
            }
        }
    }

    #[inline]
    fn count(&mut self, verdict: Verdict) {
        self.stats.received += 1;
        match verdict {
            Verdict::Transmit(_) => self.stats.transmitted += 1,
            Verdict::Reply(_) => self.stats.replied += 1,
            Verdict::Absorb => self.stats.absorbed += 1,
            Verdict::Drop(reason) => self.stats.dropped[reason.index()] += 1,
            Verdict::Pass(reason) => self.stats.passed[reason.index()] += 1,
        }
    }
}

/// Words that no address has.
const NO_ADDRESS: Words = [0, 0, u64::MAX];
