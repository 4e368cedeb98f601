//! The director's state as records: see [`crate::snapshot`].

use alloc::vec::Vec;
use core::net::IpAddr;

use super::{Director, flags, forward};
use crate::addr::Family;
use crate::command::ServiceKey;
use crate::engine::EngineData;
use crate::flow::{FlowKey, Protocol};
use crate::ids::{ConnId, DestIndex, FwMark, TemplateId};
use crate::snapshot::{
    ConnectionRecord, Method, Position, Record, ServerKey, ServerRecord, TemplateRecord,
};
use crate::state::State;
use crate::time::{Duration, Instant};

/// The parts of an export, in their order.
const TEMPLATES: u8 = 0;
const CONNECTIONS: u8 = 1;
const SERVERS: u8 = 2;
const SERVICES: u8 = 3;
const TOTAL: u8 = 4;
const DONE: u8 = 5;

impl Director {
    /// Tells the state as of `now` as [records](crate::snapshot): at most `max` more of them are appended
    /// to `records`. Returns whether there may be more; `position` then says where to go on.
    ///
    /// Between the chunks bursts may be processed. Then what opens behind the position is not told; an
    /// export that must be whole is read with nothing in between, or read again. It allocates only what
    /// `records` needs to grow. The [module documentation](crate::snapshot) has an example.
    pub fn export(
        &mut self,
        now: Instant,
        position: &mut Position,
        max: usize,
        records: &mut Vec<Record>,
    ) -> bool {
        self.advance(now);
        self.settle();
        for _ in 0..max {
            loop {
                if position.part == DONE {
                    return false;
                }
                if let Some((record, place)) = self.next_record(position) {
                    records.push(record);
                    position.place = place + 1;
                    break;
                }
                *position = Position { part: position.part + 1, place: 0 };
            }
        }
        position.part != DONE
    }

    /// The first record of a part at a place or behind, with its place.
    fn next_record(&self, position: &Position) -> Option<(Record, u32)> {
        let from = position.place;
        match position.part {
            TEMPLATES => {
                let id = self.templates.next_live(from)?;
                Some((Record::Template(self.template_record(id)), id.0))
            }
            CONNECTIONS if from < self.limits.connections_max => {
                let id = self.conns.next_live(from)?;
                Some((Record::Connection(self.connection_record(id)), id.0))
            }
            SERVERS => {
                let index = self.dests.next_from(from)?;
                Some((Record::Server(self.server_record(index)), index.0))
            }
            SERVICES => {
                let (index, service) = self.services.iter().find(|(index, _)| index.0 >= from)?;
                let counters = *self.services.counters(index);
                Some((Record::Service(service.spec.key, counters), index.0))
            }
            TOTAL if from == 0 => Some((Record::Total(self.stats.total), 0)),
            _ => None,
        }
    }

    fn server_key(&self, index: DestIndex) -> ServerKey {
        let destination = self.dests.at(index);
        ServerKey { service: destination.service_key, addr: destination.addr() }
    }

    /// The same of the server of a flow. An unbound one is of the service that the flow names, for whoever
    /// imports it asks for one.
    pub(super) fn server_key_for(&self, index: DestIndex, flow: FlowKey) -> ServerKey {
        let key = self.server_key(index);
        if !self.dests.at(index).is_unbound() {
            return key;
        }
        let service = match (flow.protocol(), flow.virtual_addr()) {
            (Protocol::IP, IpAddr::V4(mark)) => mark_service(mark.to_bits(), Family::V4),
            (Protocol::IP, IpAddr::V6(mark)) => {
                mark_service((mark.to_bits() >> 96) as u32, Family::V6)
            }
            (protocol, _) => ServiceKey::Address { protocol, virt: flow.virt() },
        };
        ServerKey { service, ..key }
    }

    fn server_record(&self, index: DestIndex) -> ServerRecord {
        let destination = self.dests.at(index);
        ServerRecord {
            server: self.server_key(index),
            overloaded: destination.overloaded(),
            upper_threshold: destination.spec.upper_threshold,
            last_weight: destination.last_weight(),
            counters: self.dests.counters_if_added_again(index),
        }
    }

    fn template_record(&self, id: TemplateId) -> TemplateRecord {
        let template = self.templates.template(id);
        let key = template.key();
        TemplateRecord {
            number: id.0,
            protocol: key.protocol(),
            client: key.client_addr(),
            virt: key.virt(),
            server: self.server_key_for(template.dest, key),
            engine: self.templates.read_of(id).map(EngineData::from),
            port: template.dest_port,
            timeout: Duration::from_millis(u64::from(template.timeout)),
            idle: self.since(template.last_used),
            assured: template.assured,
            spoilt: template.is_spoilt(),
            mark: template.mark,
            age: self.since(template.created),
            connections: template.connections,
            holds: template.holds(),
        }
    }

    fn connection_record(&self, id: ConnId) -> ConnectionRecord {
        let (record, cold) = (self.conns.hot(id), self.conns.cold(id));
        let key = record.key();
        ConnectionRecord {
            protocol: key.protocol(),
            client: key.client(),
            virt: key.virt(),
            server: self.server_key_for(record.dest(), key),
            method: match self.way_of(id).method {
                forward::Method::Direct => Method::DirectRoute,
                forward::Method::Tunnel => Method::Tunnel,
                forward::Method::Masquerade => Method::Masquerade,
                forward::Method::Bypass => Method::Bypass,
            },
            own_port: record.flags() & flags::OWN_PORT != 0,
            answers: record.is_aliased().then_some(cold.flags),
            state: State::from_byte(record.state()),
            answered: record.flags() & flags::NO_OUTPUT == 0,
            timeout: Duration::from_millis(u64::from(self.timeouts.ticks(record.timeout_index()))),
            idle: self.since(record.last_seen()),
            template: cold.template.map(|template| template.0),
            mark: cold.mark,
            age: self.since(cold.created),
            packets: record.packets(),
            bytes: record.bytes(),
        }
    }

    /// How long ago a tick was.
    fn since(&self, tick: u32) -> Duration {
        Duration::from_millis(u64::from(self.tick().wrapping_sub(tick)))
    }
}

fn mark_service(mark: u32, family: Family) -> ServiceKey {
    ServiceKey::Mark { mark: FwMark(mark), family }
}
