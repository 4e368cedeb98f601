//! One connection, one real server, one next hop: everything that is known of it.

use super::Director;
use super::forward::Method;
use super::list::Remembered;
use crate::command::ServiceKey;
use crate::dest::Hop;
use crate::flow::{Endpoint, FlowKey};
use crate::ids::{ConnId, DestIndex, TemplateId};
use crate::listing::{ConnectionDetails, Cursor, Forecast, NextHop};
use crate::time::{Duration, Instant};

impl Director {
    /// The connection with a key as of `now`, with everything that is known of it; otherwise the template
    /// with that key. A template's key is what listings show of it; of several that differ in what a
    /// persistence engine read it is any.
    pub fn connection(&mut self, now: Instant, key: &FlowKey) -> Option<ConnectionDetails> {
        self.advance(now);
        self.settle();
        if let Some(id) = self.find_live(key, self.conns.hash(key), None) {
            return Some(self.connection_details(id));
        }
        let template = self.templates.find(key, None).or_else(|| self.templates.find_read(key));
        template.map(|id| self.template_details(id))
    }

    fn connection_details(&self, id: ConnId) -> ConnectionDetails {
        let (record, way) = (self.conns.hot(id), self.way_of(id));
        let template = self.conns.template(id);
        ConnectionDetails {
            entry: self.connection_entry(id),
            active: record.flags() & super::flags::INACTIVE == 0,
            timeout: ticks(self.timeouts.ticks(record.timeout_index())),
            template: template.map(|id| self.template_entry(id)),
            holds: template.map_or(0, |id| self.templates.template(id).holds()),
            ..self.details_of_server(way.destination, way.method, self.connection_entry(id))
        }
    }

    fn template_details(&self, id: TemplateId) -> ConnectionDetails {
        let template = self.templates.template(id);
        let method = Method::of(self.dests.at(template.dest).method());
        ConnectionDetails {
            timeout: ticks(template.timeout),
            holds: template.holds(),
            ..self.details_of_server(template.dest, method, self.template_entry(id))
        }
    }

    fn details_of_server(
        &self,
        index: DestIndex,
        method: Method,
        entry: crate::listing::ConnectionEntry,
    ) -> ConnectionDetails {
        use crate::command::ForwardingMethod::{DirectRoute, Masquerade, Tunnel};
        let destination = self.dests.at(index);
        // Of a tunnel its kind is the destination's, as long as that is one.
        let method = match (method, destination.method()) {
            (Method::Bypass, _) => None,
            (Method::Direct, _) => Some(DirectRoute),
            (Method::Masquerade, _) => Some(Masquerade),
            (Method::Tunnel, Tunnel(kind)) => Some(Tunnel(kind)),
            (Method::Tunnel, _) => Some(Tunnel(crate::command::Tunnel::IpIp)),
        };
        let flow = FlowKey::new(entry.protocol, entry.client, entry.virt);
        ConnectionDetails {
            entry,
            service: self.server_key_for(index, flow).service,
            method,
            active: false,
            timeout: Duration::ZERO,
            template: None,
            holds: 0,
            server: self.destination_entry(index),
            listed: destination.is_listed(),
            hop: destination.hop,
        }
    }

    /// Where a hop leads; `None` if it leads nowhere or is the director's own host.
    pub fn next_hop(&self, hop: Hop) -> Option<NextHop> {
        let Hop::Via { port, neighbor } = hop else { return None };
        let neighbor = self.neighbors.at(neighbor);
        Some(NextHop { port, addr: neighbor.addr, mac: neighbor.mac() })
    }

    /// Counts what keeps a real server of a service at work, as of `now`: looks at `max` more entries of the tables
    /// and adds those of the server to `forecast`. Returns whether there may be more; `cursor` then says
    /// where to go on. Connections and templates come and go between two calls.
    pub fn forecast(
        &mut self,
        now: Instant,
        (service, server): (&ServiceKey, Endpoint),
        cursor: &mut Cursor,
        max: usize,
        forecast: &mut Forecast,
    ) -> bool {
        self.advance(now);
        self.settle();
        let is_it = |index: DestIndex| {
            let d = self.dests.at(index);
            d.addr() == server && d.service_key == *service
        };
        for _ in 0..max {
            match self.walk(cursor) {
                Some(Remembered::Connection(id)) if is_it(self.conns.dest(id)) => {
                    forecast.connections += 1;
                    let left = self.connection_entry(id).expires;
                    forecast.connections_end = forecast.connections_end.max(left);
                }
                Some(Remembered::Template(id)) if is_it(self.templates.template(id).dest) => {
                    forecast.templates += 1;
                    let left = self.template_entry(id).expires;
                    forecast.templates_end = forecast.templates_end.max(left);
                }
                Some(_) => {}
                None => return false,
            }
        }
        true
    }
}

fn ticks(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}
