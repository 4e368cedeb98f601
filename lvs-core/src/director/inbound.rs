//! A packet to a local address: its connection, or the opening of one; then its state.

use super::forward::{Method, Way};
use super::open::Bound;
use super::{Director, flags, timers};
use crate::drop::{DropReason, PassReason};
use crate::explain::{Event, Explain, Rescheduled};
use crate::flow::FlowKey;
use crate::ids::{ConnId, DestIndex};
use crate::io::{Frame, Verdict};
use crate::parse::{Headers, L4};
use crate::state::{Direction, Signal, State, sctp_step, tcp_step, tcp_step_secure};
use crate::store::Cut;

/// What the first passes found out about a frame.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    /// Its place in the burst.
    pub(super) n: usize,
    pub(super) headers: &'a Headers,
    pub(super) hash: u64,
    pub(super) hint: Option<ConnId>,
    /// Of a packet that came in fragments, how it leaves in pieces.
    pub(super) cut: Option<Cut>,
}

/// What the connection table says about a packet.
enum Existing {
    /// Its connection.
    Found(ConnId),
    /// None; where there is one with its key that may not be used, that one is to end.
    Missing(Option<ConnId>),
}

impl Director {
    pub(super) fn inbound<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        x: &mut X,
    ) -> Verdict {
        match self.bind(frame, seen, x) {
            Ok(way) => {
                self.limit_mss(frame, seen.headers, way.destination);
                self.forward(frame, seen, &way, x)
            }
            Err(verdict) => verdict,
        }
    }

    /// Finds or opens the packet's connection, counts the packet and moves the state.
    #[inline]
    fn bind<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        x: &mut X,
    ) -> Result<Way, Verdict> {
        let headers = seen.headers;
        if self.dormant {
            return Err(Verdict::Pass(PassReason::BackupOnly));
        }
        if !self.looks_at(headers.family) {
            if let L4::Icmp { kind, .. } = headers.l4_header {
                self.overhear_error(frame, headers, kind);
            }
            return Err(Verdict::Pass(PassReason::NoServices));
        }
        let signal = match headers.l4_header {
            L4::Icmp { kind, .. } => return self.bind_error(frame, seen, kind, x),
            other => match signal(other) {
                Some(signal) => signal,
                None => return Err(Verdict::Pass(PassReason::OtherProtocol)),
            },
        };
        x.event(seen.n, || Event::Flow(headers.flow));
        let (id, fresh) = match self.existing(seen, signal, x)? {
            Existing::Found(id) => (id, false),
            Existing::Missing(ended) => match self.open_marked(frame, seen, signal, ended, x) {
                Ok(Bound::Connection(id)) => (id, true),
                Ok(Bound::OnePacket(way)) => {
                    self.count_in(way.destination, headers.ip_len);
                    return Ok(way);
                }
                Err(verdict) => {
                    if let Some(id) = ended {
                        self.end_soon(id);
                    }
                    return Err(verdict);
                }
            },
        };
        let way = self.way_of(id);
        let direction = match self.conns.hot(id).flags() & flags::NO_OUTPUT {
            0 => Direction::Input,
            _ => Direction::InputOnly,
        };
        self.step(seen.n, id, direction, signal, fresh, x);
        self.conns.record_packet(id, self.tick(), headers.ip_len);
        self.count_in(way.destination, headers.ip_len);
        if self.announcer.is_some() {
            self.announce_connection(id);
        }
        Ok(way)
    }

    /// Where a connection's packets go, by the method that it was made with (rule L5).
    #[inline]
    pub(super) fn way_of(&self, id: ConnId) -> Way {
        let record = self.conns.hot(id);
        let method = match record.flags() & flags::METHOD {
            flags::TUNNEL => Method::Tunnel,
            flags::BYPASS => Method::Bypass,
            flags::MASQUERADE => Method::Masquerade,
            _ => Method::Direct,
        };
        let own_port = record.flags() & flags::OWN_PORT != 0;
        Way { destination: record.dest(), method, own_port, connected: true }
    }

    /// The connection of a packet, unless the rules of reuse or a deleted server say otherwise.
    #[inline]
    fn existing<X: Explain>(
        &mut self,
        seen: &Seen<'_>,
        signal: Signal,
        x: &mut X,
    ) -> Result<Existing, Verdict> {
        let Some(id) = self.find_live(&seen.headers.flow, seen.hash, seen.hint) else {
            x.event(seen.n, || Event::ConnectionMissing);
            return Ok(Existing::Missing(None));
        };
        let destination = self.conns.hot(id).dest();
        x.event(seen.n, || Event::ConnectionFound {
            destination: self.dests.at(destination).addr(),
            state: State::from_byte(self.conns.hot(id).state()),
        });
        if signal.begins()
            && let Some(why) = self.rescheduled(id)
        {
            x.event(seen.n, || Event::Rescheduled(why));
            return Ok(Existing::Missing(Some(id)));
        }
        if self.dests.front(destination).service().is_none() && self.is_gone(id) {
            if !self.tunables.expire_nodest_conn {
                return Err(Verdict::Drop(DropReason::DestinationGone));
            }
            x.event(seen.n, || Event::Rescheduled(Rescheduled::Deleted));
            return Ok(Existing::Missing(Some(id)));
        }
        Ok(Existing::Found(id))
    }

    /// Whether a connection whose server is in no service has lost it: it is neither one that has none nor
    /// one that was announced without any.
    #[cold]
    pub(super) fn is_gone(&self, id: ConnId) -> bool {
        !self.is_bypass(id) && !self.dests.at(self.conns.dest(id)).is_unbound()
    }

    /// Whether a SYN or INIT on this connection is scheduled anew (rules C5, C6).
    #[inline(never)]
    pub(super) fn rescheduled(&self, id: ConnId) -> Option<Rescheduled> {
        let destination = self.dests.at(self.conns.dest(id));
        if self.tunables.expire_nodest_conn && destination.weight() == 0 && !self.is_bypass(id) {
            return Some(Rescheduled::Quiesced);
        }
        let mode = self.tunables.conn_reuse_mode;
        if mode == 0 || self.conns.template(id).is_some() {
            return None;
        }
        let one_way = self.conns.hot(id).flags() & flags::NO_OUTPUT != 0;
        match State::from_byte(self.conns.hot(id).state()) {
            State::TimeWait | State::Close | State::SctpClosed => Some(Rescheduled::Reused),
            State::FinWait if mode & 2 != 0 && one_way => Some(Rescheduled::Reused),
            _ => None,
        }
    }

    /// The connection with this key, if it has not ended.
    #[inline]
    pub(super) fn find_live(
        &self,
        key: &FlowKey,
        hash: u64,
        hint: Option<ConnId>,
    ) -> Option<ConnId> {
        self.conns.find(key, hash, hint).filter(|&id| self.is_alive(id))
    }

    /// Moves a connection's state on, and its place among active and inactive ones and in the wheel. Most
    /// packets find the state and its timeout as they leave them.
    #[inline(always)]
    pub(super) fn step<X: Explain>(
        &mut self,
        n: usize,
        id: ConnId,
        direction: Direction,
        signal: Signal,
        fresh: bool,
        x: &mut X,
    ) {
        let record = self.conns.hot(id);
        let from = State::from_byte(record.state());
        let to = self.next_state(from, direction, signal);
        x.event(n, || Event::State { from, to, timeout: self.lifetimes.duration(to) });
        let timeout = self.lifetimes.index(to);
        if to != from || timeout != record.timeout_index() || fresh {
            self.change_state(id, to, timeout, fresh);
        }
        if signal == Signal::Udp && direction == Direction::Output {
            self.assure(id);
        }
    }

    /// The state that a packet leads to.
    #[inline(always)]
    pub(super) fn next_state(&self, from: State, direction: Direction, signal: Signal) -> State {
        match signal {
            Signal::Tcp(flags) if self.defense.secure_tcp() => {
                tcp_step_secure(from, direction, flags)
            }
            Signal::Tcp(flags) => tcp_step(from, direction, flags),
            Signal::Udp => State::Udp,
            Signal::Sctp(chunks) => {
                chunks.telling().map_or(from, |chunk| sctp_step(from, direction, chunk))
            }
        }
    }

    #[inline(never)]
    fn change_state(&mut self, id: ConnId, to: State, timeout: u16, fresh: bool) {
        let was_active = self.conns.hot(id).flags() & flags::INACTIVE == 0;
        let moves = self.conns.hot(id).state() != to as u8;
        // What a master told counts as it was told until the state moves (rule Z1).
        if moves && was_active != to.is_active() {
            let destination = self.conns.dest(id);
            self.dests.at_mut(destination).connection_moves(to.is_active());
            let flags = self.conns.hot(id).flags() ^ flags::INACTIVE;
            self.conns.hot_mut(id).set_flags(flags);
        }
        let old_ticks = self.timeouts.ticks(self.conns.hot(id).timeout_index());
        let ticks = self.timeouts.ticks(timeout);
        let mut record = self.conns.hot_mut(id);
        record.set_state(to as u8);
        record.set_timeout_index(timeout);
        // A later end is found when the wheel comes to the old one; an earlier end must be filed.
        if fresh || ticks < old_ticks {
            let deadline = self.now.as_millis() + u64::from(ticks);
            self.wheel.file(timers::connection_timer(id), deadline);
        }
        if to.is_established() {
            self.assure(id);
        }
    }

    /// The connection's template becomes ASSURED (rule R2).
    fn assure(&mut self, id: ConnId) {
        if let Some(template) = self.conns.template(id) {
            self.templates.template_mut(template).assured = true;
        }
    }

    /// Ends a connection within the tick. What comes before that finds it still, as in the kernel, where
    /// the answer of the host's own stack keeps it for the ten seconds of CLOSE (rule L3).
    pub(super) fn end_soon(&mut self, id: ConnId) {
        let (ending, tick) = (self.lifetimes.ending, self.tick());
        let mut record = self.conns.hot_mut(id);
        record.set_timeout_index(ending);
        record.set_last_seen(tick);
        self.wheel.file(timers::connection_timer(id), self.now.as_millis() + 1);
    }

    #[inline]
    pub(super) fn count_in(&mut self, destination: DestIndex, bytes: u32) {
        let bytes = u64::from(bytes);
        let front = self.dests.front_mut(destination);
        let Some(service) = front.service() else { return };
        front.counters.count_in(bytes);
        self.services.counters_mut(service).count_in(bytes);
        self.stats.total.count_in(bytes);
    }

    pub(super) fn count_out(&mut self, destination: DestIndex, bytes: u32) {
        let bytes = u64::from(bytes);
        let front = self.dests.front_mut(destination);
        let Some(service) = front.service() else { return };
        front.counters.count_out(bytes);
        self.services.counters_mut(service).count_out(bytes);
        self.stats.total.count_out(bytes);
    }
}

/// What a packet says to the state of its connection; `None` for a protocol that has no connections.
#[inline]
pub(super) fn signal(header: L4) -> Option<Signal> {
    match header {
        L4::Tcp { flags, .. } => Some(Signal::Tcp(flags)),
        L4::Udp => Some(Signal::Udp),
        L4::Sctp(chunks) => Some(Signal::Sctp(chunks)),
        L4::Icmp { .. } | L4::Fragment | L4::Other => None,
    }
}
