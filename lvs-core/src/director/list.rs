//! Listings: the director's state as data, as of a given moment.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Director;
use crate::command::{ServiceKey, ServiceSpec};
use crate::engine::EngineData;
use crate::flow::{Endpoint, Protocol};
use crate::ids::{ConnId, DestIndex, ServiceIndex, TemplateId};
use crate::listing::{
    AddressConflict, ConnectionEntry, Cursor, DestinationEntry, ServiceCursor, ServiceEntry,
    TimeoutsEntry, Within,
};
use crate::persist::SPOILT_PORT;
use crate::state::State;
use crate::time::{Duration, Instant};

/// What the tables hold, as a listing walks over them.
pub(super) enum Remembered {
    Connection(ConnId),
    Template(TemplateId),
}

impl Director {
    /// All services with their real servers, as of `now`.
    pub fn services(&mut self, now: Instant) -> Vec<ServiceEntry> {
        let mut entries = Vec::new();
        let cursor = &mut ServiceCursor::default();
        while self.services_from(now, cursor, usize::MAX, &mut entries) {}
        entries
    }

    /// Lists services as of `now`, in chunks: at most `max` more lines, services and their servers, are
    /// appended to `entries`. Returns whether there may be more; `cursor` then says where to go on.
    ///
    /// A service with many servers may be cut. It goes on in the last of `entries`, or, if that is another, in
    /// a new one. What is changed in between is seen in what is listed after it.
    pub fn services_from(
        &mut self,
        now: Instant,
        cursor: &mut ServiceCursor,
        max: usize,
        entries: &mut Vec<ServiceEntry>,
    ) -> bool {
        self.advance(now);
        self.settle();
        let mut lines = 0;
        while lines < max {
            if cursor.within.is_some() {
                lines += self.list_servers(cursor, max - lines, entries);
                continue;
            }
            let Some(index) = self.services.next(cursor.next) else {
                cursor.next = u32::MAX;
                return false;
            };
            self.begin_service(index, cursor, entries);
            lines += 1;
        }
        true
    }

    /// Lists one service as of `now`, in chunks as [`services_from`](Director::services_from) does. Returns
    /// whether its servers go on; `None` if there is no such service (any more).
    pub fn service_from(
        &mut self,
        now: Instant,
        key: &ServiceKey,
        cursor: &mut ServiceCursor,
        max: usize,
        entries: &mut Vec<ServiceEntry>,
    ) -> Option<bool> {
        self.advance(now);
        self.settle();
        let index = self.services.by_key(key)?;
        if cursor.within.is_none() || cursor.next != index.0 + 1 {
            self.begin_service(index, cursor, entries);
        }
        self.list_servers(cursor, max, entries);
        Some(cursor.is_within())
    }

    /// One service with its real servers, as of `now`.
    pub fn service(&mut self, now: Instant, key: &ServiceKey) -> Option<ServiceEntry> {
        let (mut cursor, mut entries) = (ServiceCursor::default(), Vec::new());
        self.service_from(now, key, &mut cursor, usize::MAX, &mut entries)?;
        entries.pop()
    }

    /// One service as it was set.
    pub fn service_spec(&self, key: &ServiceKey) -> Option<&ServiceSpec> {
        self.services.by_key(key).map(|index| &self.services.at(index).spec)
    }

    /// One real server of a service, as of `now`.
    pub fn destination(
        &mut self,
        now: Instant,
        key: &ServiceKey,
        addr: Endpoint,
    ) -> Option<DestinationEntry> {
        self.advance(now);
        self.settle();
        let index = self.dests.find(key, addr)?;
        self.dests.at(index).is_listed().then(|| self.destination_entry(index))
    }

    /// A number that changes with every command, those included that were refused: what was read from the
    /// director at one number is its configuration as long as it has that number. It goes round.
    pub fn version(&self) -> u32 {
        self.commands
    }

    /// Lists a service without its servers.
    fn begin_service(
        &self,
        index: ServiceIndex,
        cursor: &mut ServiceCursor,
        entries: &mut Vec<ServiceEntry>,
    ) {
        let servers = self.services.at(index).list.len();
        entries.push(self.service_head(index, servers));
        cursor.next = index.0 + 1;
        let left = servers as u32;
        cursor.within = (left > 0).then_some(Within { left, last: None });
    }

    fn service_head(&self, index: ServiceIndex, room: usize) -> ServiceEntry {
        ServiceEntry {
            spec: self.services.at(index).spec.clone(),
            counters: self.shown_of_service(index),
            destinations: Vec::with_capacity(room),
        }
    }

    /// Lists more servers of the service that the cursor is within; returns how many.
    fn list_servers(
        &self,
        cursor: &mut ServiceCursor,
        max: usize,
        entries: &mut Vec<ServiceEntry>,
    ) -> usize {
        let Some(within) = cursor.within.take() else { return 0 };
        let index = ServiceIndex(cursor.next - 1);
        let Some(service) = self.services.in_place(index) else { return 0 };
        let list = &service.list;
        let after_last = within.last.and_then(|last| list.iter().position(|&i| i == last));
        let from = after_last.map_or(list.len().saturating_sub(within.left as usize), |at| at + 1);
        let rest = &list[from..];
        let some = &rest[..rest.len().min(max)];
        if some.is_empty() {
            return 0;
        }
        if entries.last().is_none_or(|last| last.spec.key != service.spec.key) {
            entries.push(self.service_head(index, some.len()));
        }
        if let Some(entry) = entries.last_mut() {
            entry.destinations.extend(some.iter().map(|&index| self.destination_entry(index)));
        }
        let left = (rest.len() - some.len()) as u32;
        cursor.within = (left > 0).then(|| Within { left, last: some.last().copied() });
        some.len()
    }

    pub(super) fn destination_entry(&self, index: DestIndex) -> DestinationEntry {
        let d = self.dests.at(index);
        DestinationEntry {
            spec: d.spec,
            active: d.active,
            inactive: d.inactive,
            persistent: d.persistent,
            overloaded: d.overloaded,
            counters: self.shown_of_server(index),
        }
    }

    /// Lists connections, then templates, as of `now`: at most `max` more of them are appended to
    /// `entries`. Returns whether there may be more; `cursor` then says where to go on, so that a long
    /// listing can be read in chunks between bursts.
    pub fn connections(
        &mut self,
        now: Instant,
        cursor: &mut Cursor,
        max: usize,
        entries: &mut Vec<ConnectionEntry>,
    ) -> bool {
        self.advance(now);
        self.settle();
        for _ in 0..max {
            match self.walk(cursor) {
                Some(Remembered::Connection(id)) => entries.push(self.connection_entry(id)),
                Some(Remembered::Template(id)) => entries.push(self.template_entry(id)),
                None => return false,
            }
        }
        true
    }

    /// The next connection or, behind them, template at a cursor, which goes on; `None` at the end, where it
    /// stays.
    pub(super) fn walk(&self, cursor: &mut Cursor) -> Option<Remembered> {
        let connections_max = self.limits.connections_max;
        if cursor.0 < connections_max
            && let Some(id) = self.conns.next_live(cursor.0)
        {
            cursor.0 = id.0 + 1;
            return Some(Remembered::Connection(id));
        }
        let found = self.templates.next_live(cursor.0.saturating_sub(connections_max));
        cursor.0 = found.map_or(u32::MAX, |id| connections_max + id.0 + 1);
        found.map(Remembered::Template)
    }

    /// The three timeouts of `--set`.
    pub fn timeouts(&self) -> TimeoutsEntry {
        self.lifetimes.entry()
    }

    /// The switches in force.
    pub fn tunables(&self) -> &crate::command::Tunables {
        &self.tunables
    }

    /// The mark rules, in order.
    pub fn mark_rules(&self) -> &[crate::command::MarkRule] {
        self.marks.rules()
    }

    /// Who else answers for virtual addresses.
    pub fn conflicts(&self) -> &[AddressConflict] {
        &self.conflicts
    }

    /// How many connections there are, those included that ended but were not yet cleared away.
    pub fn connection_count(&self) -> u32 {
        self.conns.len()
    }

    /// How many templates there are, those included that ended but were not yet cleared away.
    pub fn template_count(&self) -> u32 {
        self.templates.len()
    }

    pub(super) fn connection_entry(&self, id: ConnId) -> ConnectionEntry {
        let (record, cold) = (self.conns.hot(id), self.conns.cold(id));
        let key = record.key();
        let destination = self.server_end(&self.way_of(id), key.virtual_port());
        let timeout = self.timeouts.ticks(record.timeout_index());
        ConnectionEntry {
            protocol: key.protocol(),
            client: key.client(),
            virt: key.virt(),
            destination,
            state: match (key.protocol(), State::from_byte(record.state())) {
                // UDP has only one state, even before a packet of its own (rule I5).
                (Protocol::UDP, _) => State::Udp.name(),
                (_, state) => state.name(),
            },
            expires: self.time_left(record.last_seen(), timeout),
            template: false,
            engine: None,
            mark: cold.mark,
            packets: record.packets(),
            bytes: record.bytes(),
            age: self.age(cold.created),
        }
    }

    pub(super) fn template_entry(&self, id: TemplateId) -> ConnectionEntry {
        let template = self.templates.template(id);
        let key = template.key();
        let addr = self.dests.at(template.dest).addr().addr;
        let mut virt = key.virt();
        let mut destination = Endpoint { addr, port: template.dest_port };
        if template.is_spoilt() {
            (virt.port, destination.port) = (SPOILT_PORT, SPOILT_PORT);
        }
        ConnectionEntry {
            protocol: key.protocol(),
            client: key.client(),
            virt,
            destination,
            state: if template.assured { "ASSURED" } else { "NONE" },
            expires: self.time_left(template.last_used, template.timeout),
            template: true,
            engine: self.templates.read_of(id).map(|read| Box::new(EngineData::from(read))),
            mark: template.mark,
            packets: template.connections,
            bytes: 0,
            age: self.age(template.created),
        }
    }

    fn age(&self, created: u32) -> Duration {
        Duration::from_millis(u64::from(self.tick().wrapping_sub(created)))
    }
}
