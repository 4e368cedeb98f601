//! Packets that are not for a local address: a real server's answers on their way to the client, and
//! errors about what it was sent.
//!
//! The answers of masqueraded servers are rewritten and sent on; of all others it is only noticed that
//! they pass (rule C7), and the host forwards them.

use super::forward::{Leaving, Method, cut_rule, rewrite};
use super::icmp::{has_good_checksum, is_steered, quoted};
use super::inbound::{Seen, signal};
use super::{Director, flags};
use crate::addr::Family;
use crate::dest::Hop;
use crate::drop::{DropReason, PassReason};
use crate::explain::{Event, Explain};
use crate::flow::FlowKey;
use crate::forward::translate::End;
use crate::ids::ConnId;
use crate::io::{Frame, Verdict};
use crate::parse::{Headers, L4, Parsed, Quoted, parse_cut_off};
use crate::state::{Direction, Signal, State};
use crate::time::Instant;
use crate::wire::ethernet::VlanTags;
use crate::wire::icmp::IcmpError;
use crate::wire::sctp::Chunk;
use crate::wire::{icmp, ipv4, ipv6};

const LEAVE: Verdict = Verdict::Pass(PassReason::NotLocal);

impl Director {
    /// A packet that is not for a local address.
    pub(super) fn crossing<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        x: &mut X,
    ) -> Verdict {
        let headers = seen.headers;
        if headers.fragment.is_some() || !self.looks_at(headers.family) {
            return LEAVE;
        }
        if let L4::Icmp { kind, .. } = headers.l4_header {
            return self.crossing_error(frame, seen, kind, x);
        }
        let Some(signal) = signal(headers.l4_header) else { return LEAVE };
        let key = headers.flow.reversed();
        let Some(id) = self.answered(&key, seen.hash, seen.hint) else {
            return self.orphan(frame, seen, signal, x);
        };
        self.tell_found(seen, id, &key, x);
        if self.way_of(id).method != Method::Masquerade {
            if headers.ttl <= 1 {
                // It gets no further than the host, which tells its sender.
                return LEAVE;
            }
            self.notice_answer(seen, id, signal, x);
            return Verdict::Pass(PassReason::Reply);
        }
        let (leaving, too_big) = match self.leave_for_client(frame, seen) {
            Ok(leaving) => leaving,
            Err(verdict) => return verdict,
        };
        self.notice_answer(seen, id, signal, x);
        self.limit_mss(frame, headers, self.conns.dest(id));
        self.unmasquerade(frame, seen, id, None, x);
        self.send_to_client(frame, seen, &leaving, too_big, x)
    }

    /// Sends a packet on as a router does, and sets the frame's verdict: for one that
    /// [`process_burst`](Director::process_burst) left to a host which does not get to see it, such as what a
    /// masqueraded real server sends without a connection. A packet for a local address stays the host's.
    pub fn forward_for_host(&mut self, now: Instant, frame: &mut Frame<'_>) {
        self.advance(now);
        let Verdict::Pass(left) = frame.verdict else { return };
        let Parsed::Ip(headers) = parse_cut_off(frame.bytes()) else { return };
        if self.locals.find(headers.dst()).is_some() {
            return;
        }
        let seen = Seen { n: 0, headers: &headers, hash: 0, hint: None, cut: None };
        let verdict = match self.leave_for_client(frame, &seen) {
            Ok((leaving, too_big)) => {
                let silent = &mut crate::explain::Silent;
                self.send_to_client(frame, &seen, &leaving, too_big, silent)
            }
            Err(verdict) => verdict,
        };
        frame.verdict = verdict;
        self.stats.passed[left.index()] -= 1;
        match verdict {
            Verdict::Transmit(_) => self.stats.transmitted += 1,
            Verdict::Reply(_) => self.stats.replied += 1,
            Verdict::Absorb => self.stats.absorbed += 1,
            Verdict::Drop(reason) => {
                self.count_drop(reason, Some(frame.port()), Some(&headers.flow));
            }
            Verdict::Pass(reason) => self.stats.passed[reason.index()] += 1,
        }
    }

    /// A packet of the host's own; only a local real server's needs to be rewritten.
    pub(super) fn observe(&mut self, frame: &mut Frame<'_>, headers: &Headers) {
        let key = headers.flow.reversed();
        let seen = Seen { n: 0, headers, hash: self.conns.hash(&key), hint: None, cut: None };
        let x = &mut crate::explain::Silent;
        if headers.fragment.is_some() || !self.looks_at(headers.family) {
            return;
        }
        let error = match headers.l4_header {
            L4::Icmp { kind, .. } if is_steered(headers.family, kind) => quoted(frame, headers),
            _ => None,
        };
        let signal = signal(headers.l4_header);
        let found = match (error, signal) {
            (Some(quoted), _) => self.answered_quote(&quoted),
            (None, Some(_)) => self.answered(&key, seen.hash, None),
            (None, None) => return,
        };
        let Some(id) = found else { return };
        match signal {
            Some(signal) => self.notice_answer(&seen, id, signal, x),
            None => self.count_out(self.conns.dest(id), headers.ip_len),
        }
        if self.way_of(id).method == Method::Masquerade {
            self.unmasquerade(frame, &seen, id, error.as_ref(), x);
        }
    }

    /// An answer counts as outgoing and moves the state (rules C3, C7).
    fn notice_answer<X: Explain>(
        &mut self,
        seen: &Seen<'_>,
        id: ConnId,
        signal: Signal,
        x: &mut X,
    ) {
        self.count_out(self.conns.dest(id), seen.headers.ip_len);
        let (kept, tick) = (self.conns.hot(id).flags() & !flags::NO_OUTPUT, self.tick());
        let mut record = self.conns.hot_mut(id);
        record.set_flags(kept);
        record.set_last_seen(tick);
        self.step(seen.n, id, Direction::Output, signal, false, x);
    }

    /// Rewrites the real server's end of an answer, or of an error, to the virtual one.
    fn unmasquerade<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        id: ConnId,
        error: Option<&Quoted>,
        x: &mut X,
    ) {
        let to = self.conns.key(id).virt();
        let from = error.map_or(seen.headers.flow.client(), |quoted| quoted.flow.virt());
        rewrite(frame, seen.headers, error, End::Source, to);
        x.event(seen.n, || Event::Translated { from, to });
    }

    /// An error on its way to a client, about what a masqueraded server was sent: it comes from the
    /// virtual address, whoever sent it, and quotes what the client sent (rule I2). It does not move
    /// the state.
    #[inline(never)]
    fn crossing_error<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        kind: u8,
        x: &mut X,
    ) -> Verdict {
        let headers = seen.headers;
        if !is_steered(headers.family, kind) {
            return LEAVE;
        }
        let Some(quoted) = quoted(frame, headers) else { return LEAVE };
        let Some(id) = self.answered_quote(&quoted) else {
            return self.steer_crossing_error(frame, seen, &quoted, x);
        };
        self.tell_found(seen, id, &quoted.flow, x);
        if self.way_of(id).method != Method::Masquerade {
            if headers.ttl > 1 {
                self.count_out(self.conns.dest(id), headers.ip_len);
            }
            return LEAVE;
        }
        let (leaving, too_big) = match self.leave_for_client(frame, seen) {
            Ok(leaving) => leaving,
            Err(verdict) => return verdict,
        };
        if !has_good_checksum(frame, headers) {
            return Verdict::Drop(DropReason::IcmpChecksum);
        }
        self.count_out(self.conns.dest(id), headers.ip_len);
        self.unmasquerade(frame, seen, id, Some(&quoted), x);
        self.send_to_client(frame, seen, &leaving, too_big, x)
    }

    /// An error that is not to a local address but quotes an answer of a virtual one: it goes to the real
    /// server like any other (rule I1), having been forwarded once already.
    fn steer_crossing_error<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        quoted: &Quoted,
        x: &mut X,
    ) -> Verdict {
        let flow = quoted.flow.reversed();
        let found = self.find_live(&flow, self.conns.hash(&flow), None);
        let Some(id) = found.filter(|_| seen.headers.ttl > 1) else { return LEAVE };
        self.tell_found(seen, id, &flow, x);
        if !has_good_checksum(frame, seen.headers) {
            return Verdict::Drop(DropReason::IcmpChecksum);
        }
        let way = self.way_of(id);
        self.count_in(way.destination, seen.headers.ip_len);
        age(frame, seen.headers);
        let headers = Headers { ttl: seen.headers.ttl - 1, ..*seen.headers };
        self.forward(frame, &Seen { headers: &headers, ..*seen }, &way, x)
    }

    /// A packet that belongs to no connection. A real server may open one (rule E4); otherwise it is left to the host, which forwards it as it is, unless
    /// its sender is to be told (`nat_icmp_send`, rule F10).
    #[inline(never)]
    fn orphan<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        signal: Signal,
        x: &mut X,
    ) -> Verdict {
        let headers = seen.headers;
        if signal == Signal::Udp
            && self.services.any_engine()
            && let Some(verdict) = self.server_request(frame, seen, x)
        {
            return verdict;
        }
        let ends = match signal {
            Signal::Tcp(flags) => flags.rst(),
            Signal::Udp => false,
            Signal::Sctp(chunks) => chunks.first() == Some(Chunk::Abort),
        };
        let told = self.tunables.nat_icmp_send
            && !ends
            && headers.ttl > 1
            && self.dests.masquerades_to(headers.flow.client(), headers.protocol);
        if !told {
            return LEAVE;
        }
        age(frame, headers);
        self.answer_sender(frame, headers, IcmpError::PortUnreachable, DropReason::NoConnection)
    }

    /// Undoes the translation of a packet that waited for its neighbour in vain, so that its sender is told
    /// about what it sent. Returns the headers that the packet then has, and whether it was on its way to
    /// a masqueraded server: the error about such a one comes from the virtual address and counts as
    /// an answer, as in the kernel (rule I2).
    pub(super) fn untranslate(
        &mut self,
        frame: &mut Frame<'_>,
        headers: Headers,
    ) -> (Headers, bool) {
        let (flow, back) = (headers.flow, headers.flow.reversed());
        if headers.fragment.is_some() || signal(headers.l4_header).is_none() {
            return (headers, false);
        }
        let masqueraded =
            |found: Option<ConnId>| found.filter(|&id| self.conns.hot(id).is_aliased());
        let inbound = masqueraded(self.answered(&flow, self.conns.hash(&flow), None));
        let answer = masqueraded(self.find_live(&back, self.conns.hash(&back), None));
        let (end, to) = match (inbound, answer) {
            (Some(id), _) => (End::Destination, self.conns.key(id).virt()),
            (None, Some(id)) => (End::Source, self.answer_key(id).virt()),
            (None, None) => return (headers, false),
        };
        rewrite(frame, &headers, None, end, to);
        if let Some(id) = inbound {
            let len = icmp::error_header_len(headers.family) as u32 + headers.ip_len;
            let most = (icmp::error_header_len(headers.family)
                + icmp::quote_len_max(headers.family)) as u32;
            self.count_out(self.conns.dest(id), len.min(most));
        }
        match parse_cut_off(frame.bytes()) {
            Parsed::Ip(headers) => (headers, inbound.is_some()),
            _ => (headers, inbound.is_some()),
        }
    }

    /// The way to a client, for a packet that the kernel would forward: its route, TTL and size are
    /// looked at before anything else, and errors come from the director's own address.
    pub(super) fn leave_for_client(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
    ) -> Result<(Leaving, bool), Verdict> {
        let headers = seen.headers;
        let route = self.routes.towards(headers.dst());
        let Some((port, next, link)) =
            route.and_then(|(port, next)| Some((port, next, *self.link(port)?)))
        else {
            let (kind, reason) = (IcmpError::HostUnreachable, DropReason::NoRoute);
            return Err(self.answer_sender(frame, headers, kind, reason));
        };
        if headers.ttl <= 1 {
            let (kind, reason) = (IcmpError::TimeExceeded, DropReason::TtlExceeded);
            return Err(self.answer_sender(frame, headers, kind, reason));
        }
        let (too_big, may_be_cut) = cut_rule(frame, seen, link.mtu);
        if too_big && !may_be_cut {
            let (kind, reason) = (IcmpError::TooBig { mtu: link.mtu }, DropReason::TooBig);
            return Err(self.answer_sender(frame, headers, kind, reason));
        }
        let Some(neighbor) = self.neighbors.find_or_add(port, &VlanTags::NONE, next) else {
            self.want_room_for_neighbors();
            return Err(Verdict::Drop(DropReason::NeighborQueueFull));
        };
        Ok((Leaving { port, neighbor, link }, too_big))
    }

    pub(super) fn send_to_client<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        leaving: &Leaving,
        too_big: bool,
        x: &mut X,
    ) -> Verdict {
        age(frame, seen.headers);
        let Leaving { port, neighbor, .. } = *leaving;
        x.event(seen.n, || Event::Forward(Hop::Via { port, neighbor }));
        self.neighbors.at_mut(neighbor).used = true;
        match self.depart(frame, seen, leaving, too_big, x) {
            Ok(_) => Verdict::Transmit(port),
            Err(verdict) => verdict,
        }
    }

    /// Answers a real server's packet with an error from the director's own address.
    #[cold]
    fn answer_sender(
        &mut self,
        frame: &mut Frame<'_>,
        headers: &Headers,
        kind: IcmpError,
        reason: DropReason,
    ) -> Verdict {
        match self.routes.own_address(frame.port(), headers.src()) {
            Some(own) => self.answer_error_from(own, frame, headers, kind, reason),
            None => Verdict::Drop(reason),
        }
    }

    fn tell_found<X: Explain>(&self, seen: &Seen<'_>, id: ConnId, key: &FlowKey, x: &mut X) {
        x.event(seen.n, || Event::Flow(*key));
        x.event(seen.n, || Event::ConnectionFound {
            destination: self.dests.at(self.conns.dest(id)).addr(),
            state: State::from_byte(self.conns.hot(id).state()),
        });
    }
}

/// Takes one from the TTL.
fn age(frame: &mut Frame<'_>, headers: &Headers) {
    let packet = &mut frame.bytes_mut()[usize::from(headers.l3)..];
    match headers.family {
        Family::V4 => ipv4::decrement_ttl(packet),
        Family::V6 => ipv6::decrement_hop_limit(packet),
    };
}
