//! One connection or template with everything that is known of it, and what a real server has left.

use std::net::IpAddr;

use lvs_core::command::ForwardingMethod;
use lvs_core::dest::Hop;
use lvs_core::director::Director;
use lvs_core::ids::PortId;
use lvs_core::listing::{self, ConnectionDetails};
use serde::{Deserialize, Serialize};

use super::connection::milliseconds;
use super::{Connection, ServiceName};

/// A connection or template with everything that is known of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Details {
    /// What listings show.
    pub connection: Connection,
    /// The service it belongs to.
    pub service: ServiceName,
    /// `direct_route`, `tunnel`, `masquerade`, or `bypass` past all real servers.
    pub method: String,
    /// Whether it counts as active; not of a template.
    pub active: bool,
    /// How long it lasts without a packet.
    pub timeout_ms: u64,
    /// The template that a connection follows.
    pub template: Option<Connection>,
    /// Connections that the template controls.
    pub template_connections: u32,
    /// The real server's weight.
    pub weight: u32,
    /// Its connections.
    pub server_active: u32,
    /// Likewise.
    pub server_inactive: u32,
    /// Whether the service has the server still.
    pub server_listed: bool,
    /// Where its packets leave: an interface, or `host`; null if no route leads there.
    pub interface: Option<String>,
    /// The neighbour they leave to.
    pub next_hop: Option<IpAddr>,
    /// Its Ethernet address.
    pub mac: Option<String>,
}

impl Details {
    /// What a director knows; `interface` tells the names of its ports.
    pub fn new(
        details: &ConnectionDetails,
        director: &Director,
        interface: &dyn Fn(PortId) -> Option<String>,
    ) -> Details {
        let method = match details.method {
            None => "bypass",
            Some(ForwardingMethod::DirectRoute) => "direct_route",
            Some(ForwardingMethod::Tunnel(_)) => "tunnel",
            Some(ForwardingMethod::Masquerade) => "masquerade",
        };
        let next = director.next_hop(details.hop);
        let local = details.hop == Hop::Local;
        Details {
            connection: (&details.entry).into(),
            service: details.service.into(),
            method: method.to_owned(),
            active: details.active,
            timeout_ms: milliseconds(details.timeout),
            template: details.template.as_ref().map(Connection::from),
            template_connections: details.holds,
            weight: details.server.spec.weight,
            server_active: details.server.active,
            server_inactive: details.server.inactive,
            server_listed: details.listed,
            interface: next
                .and_then(|next| interface(next.port))
                .or_else(|| local.then(|| "host".to_owned())),
            next_hop: next.map(|next| next.addr),
            mac: next.and_then(|next| next.mac).map(|mac| mac.to_string()),
        }
    }
}

/// When a real server will be without connections and templates, if no packet comes any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Forecast {
    /// Connections it has.
    pub connections: u32,
    /// Templates.
    pub templates: u32,
    /// Until the last of its connections ends.
    pub connections_end_ms: u64,
    /// Until the last of its templates ends, unless a connection keeps it for another minute.
    pub templates_end_ms: u64,
}

impl From<listing::Forecast> for Forecast {
    fn from(forecast: listing::Forecast) -> Forecast {
        Forecast {
            connections: forecast.connections,
            templates: forecast.templates,
            connections_end_ms: milliseconds(forecast.connections_end),
            templates_end_ms: milliseconds(forecast.templates_end),
        }
    }
}
