//! What the director tells about itself: services, real servers, connections and counters as data.
//!
//! Turning these into ipvsadm's text, JSON or metrics is the business of the crates above.
//!
//! ```
//! use lvs_core::director::Director;
//! use lvs_core::limits::Limits;
//! use lvs_core::listing::Cursor;
//! use lvs_core::time::Instant;
//!
//! let mut director = Director::new(Limits::small(), [1, 2])?;
//! let now = Instant::ZERO;
//! for service in director.services(now) {
//!     println!("{} {}: {} servers", service.spec.key, service.spec.scheduler, service.destinations.len());
//! }
//! // Connections, a hundred at a time: bursts may come between.
//! let (mut cursor, mut entries) = (Cursor::default(), Vec::new());
//! while director.connections(now, &mut cursor, 100, &mut entries) {}
//! for entry in &entries {
//!     println!("{} {} {} {}", entry.protocol, entry.client, entry.destination, entry.state);
//! }
//! # Ok::<(), lvs_core::limits::LimitError>(())
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::addr::MacAddr;
use crate::command::{DestinationSpec, ForwardingMethod, ServiceKey, ServiceSpec};
use crate::dest::Hop;
use crate::engine::EngineData;
use crate::flow::{Endpoint, FlowKey, Protocol};
use crate::ids::{DestIndex, FwMark, PortId};
use crate::stats::Counters;
use crate::time::{Duration, Instant};

/// A virtual service with its real servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceEntry {
    /// The service as it was set.
    pub spec: ServiceSpec,
    /// What went through it.
    pub counters: Counters,
    /// Its real servers in the kernel's order: newest first (rule S1).
    pub destinations: Vec<DestinationEntry>,
}

/// A real server of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DestinationEntry {
    /// The server as it was set.
    pub spec: DestinationSpec,
    /// Connections in an active state (rule C4).
    pub active: u32,
    /// All other connections.
    pub inactive: u32,
    /// Templates.
    pub persistent: u32,
    /// Whether it is full (rule S14).
    pub overloaded: bool,
    /// What went to it.
    pub counters: Counters,
}

/// A connection or a persistence template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionEntry {
    /// The protocol; `IP` for the template of a mark service.
    pub protocol: Protocol,
    /// The client; port 0 for a template.
    pub client: Endpoint,
    /// The virtual address; the mark as an address for the template of a mark service.
    pub virt: Endpoint,
    /// The real server.
    pub destination: Endpoint,
    /// The state's name as listings print it.
    pub state: &'static str,
    /// The time left; zero when it ends at this moment.
    pub expires: Duration,
    /// Whether it is a template.
    pub template: bool,
    /// What a persistence engine read for a template; `None` where there is no engine.
    pub engine: Option<Box<EngineData>>,
    /// The mark of the packet that opened it.
    pub mark: FwMark,
    /// Packets from the client; connections made, for a template.
    pub packets: u32,
    /// Bytes from the client.
    pub bytes: u64,
    /// Since it was opened.
    pub age: Duration,
}

/// The last frame that was dropped for a reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastDrop {
    /// When.
    pub at: Instant,
    /// The port it had come in by; `None` for a packet that was kept first.
    pub port: Option<PortId>,
    /// Where it came from and went to, if that could be read.
    pub flow: Option<FlowKey>,
}

/// A connection or template with everything that is known of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionDetails {
    /// What listings show.
    pub entry: ConnectionEntry,
    /// The service it belongs to.
    pub service: ServiceKey,
    /// How its packets reach the real server; `None` if they go past all of them (rule P11).
    pub method: Option<ForwardingMethod>,
    /// Whether it counts as active (rule C4); not of a template.
    pub active: bool,
    /// How long it lasts without a packet.
    pub timeout: Duration,
    /// The template that the connection follows.
    pub template: Option<ConnectionEntry>,
    /// Connections that the template controls.
    pub holds: u32,
    /// Its real server; of one that was deleted, as it was.
    pub server: DestinationEntry,
    /// Whether the real server is one of its service still.
    pub listed: bool,
    /// Where its packets leave.
    pub hop: Hop,
}

/// Where a hop leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// The port.
    pub port: PortId,
    /// The neighbour's address: the real server's own, or a router's.
    pub addr: IpAddr,
    /// Its Ethernet address, if it is known.
    pub mac: Option<MacAddr>,
}

/// When a real server will be without connections and templates, if no packet comes any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Forecast {
    /// Connections it has.
    pub connections: u32,
    /// Templates.
    pub templates: u32,
    /// Until the last of its connections ends.
    pub connections_end: Duration,
    /// Until the last of its templates ends, unless a connection keeps it for another minute (rule R4).
    pub templates_end: Duration,
}

/// Where a listing in chunks goes on; start with the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor(pub(crate) u32);

/// Where a listing of services in chunks goes on; start with the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ServiceCursor {
    /// The next service to look at.
    pub(crate) next: u32,
    /// Where the servers of the service before it go on.
    pub(crate) within: Option<Within>,
}

impl ServiceCursor {
    /// Whether the service that was listed last has more servers, which come next.
    pub const fn is_within(&self) -> bool {
        self.within.is_some()
    }
}

/// A place in the list of a service's servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Within {
    /// Servers that were left; as new ones come at the head, these are the last ones of the list.
    pub(crate) left: u32,
    /// The server that was listed last.
    pub(crate) last: Option<DestIndex>,
}

/// The three timeouts of `--set`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeoutsEntry {
    /// TCP, established.
    pub tcp: Duration,
    /// TCP after FIN.
    pub tcp_fin: Duration,
    /// UDP.
    pub udp: Duration,
}

/// A station other than the director that answers ARP or neighbour solicitations for a virtual address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressConflict {
    /// The virtual address.
    pub addr: IpAddr,
    /// Who answered.
    pub mac: MacAddr,
    /// The port it answered on.
    pub port: PortId,
    /// How often.
    pub count: u64,
}
