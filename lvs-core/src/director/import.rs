//! Records of another director taken over: see [`crate::snapshot`].
//!
//! What a record meets here is decided as the kernel's backup decides about a message of its master: an
//! entry of the same flow with the same server is brought up to date, one with another server gives way to
//! an active one, and one whose server is not known waits for it.

use super::lifetimes::ticks;
use super::{Director, TIMEOUTS_MAX, flags, timers};
use crate::command::{DestinationSpec, ServiceKey};
use crate::conn::Cold;
use crate::dest::{Destination, UNLISTED_CHECK};
use crate::engine::EngineData;
use crate::flow::{Endpoint, FlowKey, Protocol};
use crate::ids::{ConnId, DestIndex, L4Port, TemplateId};
use crate::sched::Change;
use crate::snapshot::{
    ConnectionRecord, ImportError, Imported, Links, Method, Record, ServerKey, ServerRecord,
    TemplateRecord,
};
use crate::stats::Counters;
use crate::time::{Duration, Instant};

/// Numbers of timeouts that imported connections leave to what `--set` will bring.
const TIMEOUTS_KEPT: usize = 64;

impl Director {
    /// Takes over a [record](crate::snapshot) that another director exported, as of `now`; apply the rules
    /// first, and take the records in the order of the export. `links` is the same for all of them.
    ///
    /// It may allocate, as [`apply`](Director::apply) may, and packets may be processed between records. A
    /// record that is imported a second time brings the first up to date; counters are set, not added. The
    /// [module documentation](crate::snapshot) has an example.
    ///
    /// # Errors
    /// If the record cannot be, or a table is full; then nothing has changed.
    pub fn import(
        &mut self,
        now: Instant,
        links: &mut Links,
        record: &Record,
    ) -> Result<Imported, ImportError> {
        self.advance(now);
        self.settle();
        match record {
            Record::Template(template) => self.import_template(links, template),
            Record::Connection(connection) => self.import_connection(links, connection),
            Record::Server(server) => Ok(self.import_server(links, server)),
            Record::Service(key, counters) => Ok(self.import_service(key, *counters)),
            Record::Total(counters) => {
                self.stats.total = *counters;
                Ok(Imported::Taken)
            }
        }
    }

    fn import_connection(
        &mut self,
        links: &mut Links,
        given: &ConnectionRecord,
    ) -> Result<Imported, ImportError> {
        given.check()?;
        if given.idle >= given.timeout {
            return Ok(Imported::Ended);
        }
        let flow = FlowKey::new(given.protocol, given.client, given.virt);
        let hash = self.conns.hash(&flow);
        let old = self.find_live(&flow, hash, None);
        if let Some(old) = old
            && self.takes_precedence(old, given)
        {
            return Ok(Imported::Superseded);
        }
        if old.is_none() && self.conns.len() == self.conns.capacity() {
            return Err(ImportError::Limit("connections_max"));
        }
        let timeout = self.imported_timeout(ticks(given.timeout))?;
        let server = self.server_of(links, &given.server)?;
        if let Some(old) = old {
            self.end_connection(old);
        }
        let full = |_| ImportError::Limit("connections_max");
        let id = self.conns.insert(&flow, hash).map_err(full)?;
        self.write_connection(id, given, server, timeout, self.linked(links, given.template));
        let left = given.timeout.saturating_sub(given.idle);
        self.wheel.file(timers::connection_timer(id), self.after(left));
        Ok(if self.is_bypass(id) { Imported::Taken } else { self.taken_by(server) })
    }

    /// Whether a connection here stays as it is against a record of the same flow.
    fn takes_precedence(&self, here: ConnId, given: &ConnectionRecord) -> bool {
        let record = self.conns.hot(here);
        if self.tick().wrapping_sub(record.last_seen()) < ticks(given.idle) {
            return true;
        }
        let same = self.dests.is(record.dest(), given.server.service, given.server.addr);
        // Otherwise it is the late end of one that was replaced.
        !same && given.protocol != Protocol::UDP && !given.state.is_active()
    }

    fn write_connection(
        &mut self,
        id: ConnId,
        given: &ConnectionRecord,
        server: DestIndex,
        timeout: u16,
        template: Option<TemplateId>,
    ) {
        let active = given.state.is_active();
        let method = match given.method {
            Method::DirectRoute => 0,
            Method::Tunnel => flags::TUNNEL,
            Method::Masquerade => flags::MASQUERADE,
            Method::Bypass => flags::BYPASS,
        };
        let own_port = if given.own_port { flags::OWN_PORT } else { 0 };
        let one_way = if given.answered { 0 } else { flags::NO_OUTPUT };
        let inactive = if active { 0 } else { flags::INACTIVE };
        let (seen, created) = (self.tick_before(given.idle), self.tick_before(given.age));
        let mut record = self.conns.hot_mut(id);
        record.set_dest(server);
        record.set_last_seen(seen);
        record.set_timeout_index(timeout);
        record.set_state(given.state as u8);
        record.set_flags(method | one_way | inactive | own_port);
        record.set_packets(given.packets);
        record.set_bytes(given.bytes);
        self.conns.set_cold(id, Cold { template, mark: given.mark, created, flags: 0 });
        if let Some(rank) = given.answers {
            self.expect_answers(id);
            self.conns.set_cold_flags(id, rank);
        }
        self.dests.at_mut(server).connection_begins();
        if active {
            self.dests.at_mut(server).connection_moves(true);
        }
        if let Some(template) = template {
            self.templates.hold(template);
        }
    }

    fn import_template(
        &mut self,
        links: &mut Links,
        given: &TemplateRecord,
    ) -> Result<Imported, ImportError> {
        given.check()?;
        let Some((timeout, idle)) = given.extended() else { return Ok(Imported::Ended) };
        let client = Endpoint { addr: given.client, port: L4Port::ANY };
        let key = FlowKey::new(given.protocol, client, given.virt);
        let read = given.engine.as_ref().map(EngineData::as_key);
        let here = if given.spoilt { None } else { self.templates.find(&key, read) };
        if here.is_none() && !self.templates.has_room(false) {
            return Err(ImportError::Limit("templates_max"));
        }
        if here.is_none() && !self.templates.has_room(read.is_some()) {
            return Err(ImportError::Limit("engine_templates_max"));
        }
        let server = self.server_of(links, &given.server)?;
        if let Some(here) = here {
            let template = self.templates.template(here);
            let same = template.dest == server;
            let earlier = self.tick().wrapping_sub(template.last_used) < ticks(idle);
            if same {
                links.templates.insert(given.number, (here, key));
            }
            match (same, earlier) {
                (_, true) => return Ok(Imported::Superseded),
                (true, false) => {
                    self.write_template(here, given, server, timeout, idle);
                    return Ok(self.taken_by(server));
                }
                (false, false) if template.holds() == 0 => self.end_template(here),
                (false, false) => self.templates.spoil(here),
            }
        }
        let inserted = match given.spoilt {
            false => self.templates.insert(&key, read),
            true => self.templates.insert_spoilt(&key, read),
        };
        let id = inserted.map_err(|_| ImportError::Limit("templates_max"))?;
        self.write_template(id, given, server, timeout, idle);
        self.dests.at_mut(server).template_begins();
        links.templates.insert(given.number, (id, key));
        Ok(self.taken_by(server))
    }

    fn write_template(
        &mut self,
        id: TemplateId,
        given: &TemplateRecord,
        server: DestIndex,
        timeout: Duration,
        idle: Duration,
    ) {
        let (used, created) = (self.tick_before(idle), self.tick_before(given.age));
        let template = self.templates.template_mut(id);
        (template.dest, template.dest_port) = (server, given.port);
        (template.timeout, template.last_used) = (ticks(timeout), used);
        (template.assured, template.created) = (given.assured, created);
        (template.mark, template.connections) = (given.mark, given.connections);
        // One that was used again ends behind connections that end in the same millisecond, for the wheel
        // comes to its old end first and files it anew then.
        let left = timeout.saturating_sub(idle);
        let look = if idle == given.age { left } else { left / 2 };
        self.wheel.file(self.template_timer(id), self.after(look));
    }

    fn import_server(&mut self, links: &mut Links, given: &ServerRecord) -> Imported {
        let Some(index) = self.known_server(links, &given.server) else {
            return Imported::Unknown;
        };
        self.dests.front_mut(index).counters = given.counters;
        let destination = self.dests.at_mut(index);
        if !destination.is_listed() {
            destination.spec.upper_threshold = given.upper_threshold;
        }
        let weight_changed = destination.recall(given.overloaded, given.last_weight);
        let service = self.dests.front(index).service();
        if weight_changed
            && let Some(service) = service
            && let Some(position) = self.listed(service, given.server.addr)
        {
            self.tell_scheduler(service, Change::Edited(position));
        }
        self.taken_by(index)
    }

    fn import_service(&mut self, key: &ServiceKey, counters: Counters) -> Imported {
        let Some(index) = self.services.by_key(key) else { return Imported::Unknown };
        *self.services.counters_mut(index) = counters;
        Imported::Taken
    }

    /// The destination of a record: listed, else waiting to be listed.
    fn server_of(
        &mut self,
        links: &mut Links,
        server: &ServerKey,
    ) -> Result<DestIndex, ImportError> {
        if let Some(index) = self.known_server(links, server) {
            return Ok(index);
        }
        let spec = DestinationSpec { weight: 0, ..DestinationSpec::new(server.addr) };
        let waiting = Destination::unlisted(spec, server.service);
        let index = self.dests.insert(waiting).ok_or(ImportError::Limit("destinations_max"))?;
        self.next_unlisted_check.get_or_insert(self.now + UNLISTED_CHECK);
        links.servers.insert(*server, index);
        Ok(index)
    }

    fn known_server(&self, links: &mut Links, server: &ServerKey) -> Option<DestIndex> {
        let known = links.servers.get(server).copied();
        // Commands and timers between records may have given its place to another.
        if let Some(index) =
            known.filter(|&index| self.dests.is(index, server.service, server.addr))
        {
            return Some(index);
        }
        let service = self.services.by_key(&server.service);
        let listed = service.and_then(|service| {
            let position = self.listed(service, server.addr)?;
            Some(self.services.at(service).list[position])
        });
        let index = listed.or_else(|| self.dests.find_unlisted(&server.service, server.addr))?;
        links.servers.insert(*server, index);
        Some(index)
    }

    /// The template here that a number of the export stands for, as long as it is that one.
    fn linked(&self, links: &Links, number: Option<u32>) -> Option<TemplateId> {
        let &(id, key) = links.templates.get(&number?)?;
        (self.templates.is_live(id) && self.templates.template(id).key() == key).then_some(id)
    }

    fn taken_by(&self, server: DestIndex) -> Imported {
        if self.dests.at(server).is_listed() { Imported::Taken } else { Imported::Waiting }
    }

    /// The number of a connection's timeout. Some numbers are left to timeouts that operators set.
    pub(super) fn imported_timeout(&mut self, ticks: u32) -> Result<u16, ImportError> {
        if let Some(index) = self.timeouts.index_of(ticks) {
            return Ok(index);
        }
        let most = usize::from(TIMEOUTS_MAX) - TIMEOUTS_KEPT;
        if self.timeouts.len() >= most && self.may_purge() {
            self.forget_timeouts();
        }
        if self.timeouts.len() >= most {
            return Err(ImportError::Timeouts);
        }
        self.timeouts.intern(ticks).map_err(|_| ImportError::Timeouts)
    }

    /// Whether what nobody needs any more may be looked for in a whole table: once a second, however
    /// often what is taken over would find no room.
    pub(super) fn may_purge(&mut self) -> bool {
        let due = self.now >= self.next_purge;
        if due {
            self.next_purge = self.now + Duration::from_secs(1);
        }
        due
    }

    fn tick_before(&self, time: Duration) -> u32 {
        self.tick().wrapping_sub(time.as_millis() as u32)
    }

    /// A moment so far ahead, as the wheel keeps time.
    pub(super) fn after(&self, time: Duration) -> u64 {
        self.now.as_millis().saturating_add(u64::from(ticks(time)))
    }
}

#[cfg(test)]
mod tests;
