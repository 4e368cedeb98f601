//! What a backup of connection synchronisation makes of what its master announces.
//!
//! The rules are the kernel's (Z1 to Z14). A connection or template is bound to a real server of the backup's own, and
//! goes by that server's forwarding method. Where there is none it is *unbound*: it goes on by what was
//! announced, and is bound by the first announcement after the server has come (rule Z2).

use alloc::collections::BTreeMap;

use super::forward::Method;
use super::lifetimes::ticks;
use super::{Director, flags, timers};
use crate::addr::Family;
use crate::command::{DestinationSpec, ForwardingMethod, Tunnel};
use crate::conn::Cold;
use crate::dest::{Destination, UNLISTED_CHECK};
use crate::engine::EngineData;
use crate::flow::{Endpoint, FlowKey, Protocol};
use crate::ids::{ConnId, DestIndex, FwMark, L4Port, TemplateId};
use crate::snapshot::{self, Announced, Announcement, Heard, ImportError};
use crate::state::State;
use crate::time::{Duration, Instant};

/// A template's timeout if none is announced.
const TEMPLATE_TIMEOUT: Duration = Duration::from_secs(180);

/// Where the destinations are that stand for servers of no service.
pub(super) type UnboundServers = BTreeMap<Endpoint, DestIndex>;

impl Director {
    /// Takes what a master [announced](Director::poll_announcement), as of `now`. It may allocate, as
    /// [`apply`](Director::apply) may.
    ///
    /// # Errors
    /// If the announcement cannot be, or a table is full; then nothing has changed.
    pub fn take_announcement(
        &mut self,
        now: Instant,
        announcement: &Announcement,
    ) -> Result<Heard, ImportError> {
        self.advance(now);
        self.settle();
        check(announcement)?;
        match announcement.kind {
            Announced::Connection(state) => self.hear_connection(announcement, state),
            Announced::Template { assured } => self.hear_template(announcement, assured),
        }
    }

    fn hear_connection(
        &mut self,
        given: &Announcement,
        state: State,
    ) -> Result<Heard, ImportError> {
        let flow = FlowKey::new(given.protocol, given.client, given.virt);
        let hash = self.conns.hash(&flow);
        let timeout = match given.timeout {
            Duration::ZERO => self.lifetimes.duration(state),
            timeout => timeout,
        };
        let old = self.find_live(&flow, hash, None);
        if let Some(id) = old
            && self.server_end(&self.way_of(id), given.virt.port) == given.server
        {
            let timeout = self.imported_timeout(ticks(timeout))?;
            self.set_inactive(id, given.inactive);
            let heard = self.bind_late(id, given);
            self.set_heard(id, state, timeout);
            return Ok(heard);
        }
        if old.is_some() && given.inactive {
            return Ok(Heard::Superseded);
        }
        if old.is_none() && self.conns.len() == self.conns.capacity() {
            return Err(ImportError::Limit("connections_max"));
        }
        let timeout = self.imported_timeout(ticks(timeout))?;
        let known = self.server_announced(given);
        let server = match known {
            Some(server) => server,
            None => self.unbound_server(given.server)?,
        };
        if let Some(old) = old {
            self.end_connection(old);
        }
        let full = |_| ImportError::Limit("connections_max");
        let id = self.conns.insert(&flow, hash).map_err(full)?;
        let cold =
            Cold { template: None, mark: given.mark, created: self.tick(), ..Cold::default() };
        self.conns.set_cold(id, cold);
        self.conns.hot_mut(id).set_flags(flags::INACTIVE | flags::TOLD);
        self.dests.at_mut(server).connection_begins();
        self.attach(id, server, given);
        self.set_inactive(id, given.inactive);
        self.set_heard(id, state, timeout);
        Ok(new(old.is_some(), known.is_some()))
    }

    /// Gives a connection its server, and the forwarding method that goes with it.
    fn attach(&mut self, id: ConnId, server: DestIndex, given: &Announcement) {
        let destination = self.dests.at(server);
        let (method, one_way) = match destination.is_unbound() {
            true => (method_of(given.method), !given.answered),
            false => {
                let method = Method::of(destination.method());
                (method, method != Method::Masquerade)
            }
        };
        let own_port = destination.addr().port == L4Port::ANY && method != Method::Bypass;
        let method = match method {
            Method::Direct => flags::DIRECT,
            Method::Tunnel => flags::TUNNEL,
            Method::Bypass => flags::BYPASS,
            Method::Masquerade => flags::MASQUERADE,
        };
        let kept = self.conns.hot(id).flags() & (flags::INACTIVE | flags::TOLD);
        let one_way = if one_way { flags::NO_OUTPUT } else { 0 };
        let own_port = if own_port { flags::OWN_PORT } else { 0 };
        let mut record = self.conns.hot_mut(id);
        record.set_dest(server);
        record.set_flags(kept | method | one_way | own_port);
        if method == flags::MASQUERADE {
            self.expect_answers(id);
        }
    }

    /// Moves a connection between active and inactive ones, whatever its state.
    fn set_inactive(&mut self, id: ConnId, inactive: bool) {
        let (flags, destination) = (self.conns.hot(id).flags(), self.conns.dest(id));
        if (flags & flags::INACTIVE != 0) != inactive {
            self.dests.at_mut(destination).connection_moves(!inactive);
            self.conns.hot_mut(id).set_flags(flags ^ flags::INACTIVE);
        }
    }

    /// Binds a connection that was unbound so far, if its server has come.
    fn bind_late(&mut self, id: ConnId, given: &Announcement) -> Heard {
        let from = self.conns.dest(id);
        if !self.dests.at(from).is_unbound() {
            return Heard::Updated;
        }
        let Some(to) = self.server_announced(given) else { return Heard::Updated };
        let active = self.conns.hot(id).flags() & flags::INACTIVE == 0;
        self.expect_no_answers(id);
        self.dests.at_mut(from).connection_ends(active);
        self.dests.at_mut(to).connection_begins();
        if active {
            self.dests.at_mut(to).connection_moves(true);
        }
        self.attach(id, to, given);
        Heard::Bound
    }

    /// State, timeout and packets as announced, and the whole timeout from now on. The packets are those
    /// after which a connection was announced, so that a backup which takes over does not announce it at
    /// once.
    fn set_heard(&mut self, id: ConnId, state: State, timeout: u16) {
        let (tick, threshold) = (self.tick(), self.tunables.sync_threshold);
        let mut record = self.conns.hot_mut(id);
        record.set_state(state as u8);
        record.set_timeout_index(timeout);
        record.set_last_seen(tick);
        record.set_packets(threshold);
        self.note_heard(id);
        let after = Duration::from_millis(u64::from(self.timeouts.ticks(timeout)));
        self.wheel.file(timers::connection_timer(id), self.after(after));
    }

    fn hear_template(&mut self, given: &Announcement, assured: bool) -> Result<Heard, ImportError> {
        let key = FlowKey::new(given.protocol, given.client, given.virt);
        let read = given.engine.as_ref().map(EngineData::as_key);
        let old = self.templates.find(&key, read);
        let timeout = match given.timeout {
            Duration::ZERO => TEMPLATE_TIMEOUT,
            timeout => timeout,
        };
        if let Some(id) = old {
            // One that is there keeps its server, whichever is announced (rule Z3).
            let heard = self.bind_template_late(id, given);
            self.set_template_heard(id, assured, timeout);
            return Ok(heard);
        }
        if !self.templates.has_room(false) {
            return Err(ImportError::Limit("templates_max"));
        }
        if !self.templates.has_room(read.is_some()) {
            return Err(ImportError::Limit("engine_templates_max"));
        }
        let known = self.server_announced(given);
        let server = match known {
            Some(server) => server,
            None => self.unbound_server(given.server)?,
        };
        let full = |_| ImportError::Limit("templates_max");
        let id = self.templates.insert(&key, read).map_err(full)?;
        let tick = self.tick();
        let template = self.templates.template_mut(id);
        (template.dest, template.dest_port) = (server, given.server.port);
        (template.mark, template.created, template.told) = (given.mark, tick, true);
        self.dests.at_mut(server).template_begins();
        self.set_template_heard(id, assured, timeout);
        Ok(new(false, known.is_some()))
    }

    fn bind_template_late(&mut self, id: TemplateId, given: &Announcement) -> Heard {
        let template = self.templates.template(id);
        let (from, port) = (template.dest, template.dest_port);
        if !self.dests.at(from).is_unbound() {
            return Heard::Updated;
        }
        let server = Endpoint { addr: self.dests.at(from).addr().addr, port };
        let given = Announcement { server, ..*given };
        let Some(to) = self.server_announced(&given) else { return Heard::Updated };
        self.dests.at_mut(from).template_ends();
        self.dests.at_mut(to).template_begins();
        self.templates.template_mut(id).dest = to;
        Heard::Bound
    }

    fn set_template_heard(&mut self, id: TemplateId, assured: bool, timeout: Duration) {
        let tick = self.tick();
        let template = self.templates.template_mut(id);
        (template.assured, template.deferred) = (assured, false);
        (template.timeout, template.last_used) = (ticks(timeout), tick);
        self.note_template_heard(id);
        self.wheel.file(self.template_timer(id), self.after(timeout));
    }

    /// The real server of what was announced: that of the service which its packets belong to, with its
    /// port or without one. Of a mark service the one without is asked for first, unless it is
    /// masqueraded to.
    fn server_announced(&self, given: &Announcement) -> Option<DestIndex> {
        let service = self.services.find(given.mark, given.protocol, given.virt)?;
        let Endpoint { addr, port } = given.server;
        let any_first = given.mark != FwMark::NONE && given.method != snapshot::Method::Masquerade;
        let ports = if any_first { [L4Port::ANY, port] } else { [port, L4Port::ANY] };
        let mut listed = ports.iter().filter_map(|&port| {
            let position = self.listed(service, Endpoint { addr, port })?;
            Some(self.services.at(service).list[position])
        });
        let server = listed.next()?;
        // A server without a port is reached at the virtual one.
        let reached = self.dests.at(server).addr().port != L4Port::ANY
            || port == given.virt.port
            || matches!(given.kind, Announced::Template { .. });
        reached.then_some(server)
    }

    /// The destination that stands for a server of no service.
    fn unbound_server(&mut self, addr: Endpoint) -> Result<DestIndex, ImportError> {
        let limit = ImportError::Limit("destinations_max");
        let dests = &self.dests;
        if let Some(&index) = self.unbound.get(&addr).filter(|&&at| dests.is_unbound_to(at, addr)) {
            return Ok(index);
        }
        // Half of each table is left to servers of the rules, whatever a master announces.
        let limits = &self.limits;
        let most = (limits.destinations_max.min(limits.neighbors_max) / 2).max(1) as usize;
        if self.unbound.len() >= most && self.may_purge() {
            self.dests.forget_idle_unbound();
            let dests = &self.dests;
            self.unbound.retain(|&addr, &mut at| dests.is_unbound_to(at, addr));
        }
        if self.unbound.len() >= most {
            return Err(limit);
        }
        // Which kind of tunnel is the server's setting, and nobody set it.
        let method = ForwardingMethod::Tunnel(Tunnel::IpIp);
        let spec = DestinationSpec { method, ..DestinationSpec::new(addr) };
        let hop = self.hop_to(addr.addr);
        let index = self.dests.insert(Destination::unbound(spec)).ok_or(limit)?;
        self.dests.at_mut(index).hop = hop;
        self.unbound.insert(addr, index);
        self.next_unlisted_check.get_or_insert(self.now + UNLISTED_CHECK);
        Ok(index)
    }
}

fn new(replaces: bool, bound: bool) -> Heard {
    match (replaces, bound) {
        (true, _) => Heard::Replaced,
        (false, true) => Heard::Taken,
        (false, false) => Heard::Unbound,
    }
}

fn method_of(method: snapshot::Method) -> Method {
    match method {
        snapshot::Method::DirectRoute => Method::Direct,
        snapshot::Method::Tunnel => Method::Tunnel,
        snapshot::Method::Masquerade => Method::Masquerade,
        snapshot::Method::Bypass => Method::Bypass,
    }
}

/// Checks what no packet could have made.
fn check(given: &Announcement) -> Result<(), ImportError> {
    let invalid = |field, expected| Err(ImportError::Invalid { field, expected });
    let family = Family::of(given.virt.addr);
    if let Announced::Connection(state) = given.kind {
        let of_protocol = match given.protocol {
            Protocol::TCP => state < State::Udp,
            Protocol::UDP => matches!(state, State::None | State::Udp),
            Protocol::SCTP => state == State::None || state > State::Udp,
            _ => return invalid("protocol", "TCP, UDP or SCTP"),
        };
        if !of_protocol {
            return invalid("state", "one that the protocol has");
        }
    }
    if Family::of(given.client.addr) != family {
        return invalid("client", "an address of the virtual address's family");
    }
    if Family::of(given.server.addr) != family {
        return invalid("server", "an address of the virtual address's family");
    }
    Ok(())
}
