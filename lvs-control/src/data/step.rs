//! The way of a packet, step by step.

use std::net::{IpAddr, SocketAddr};

use lvs_core::dest::Hop;
use lvs_core::director::Director;
use lvs_core::explain::{Eligibility, Event, Rescheduled};
use lvs_core::flow::{FlowKey, Protocol};
use lvs_core::ids::PortId;
use lvs_core::listing::NextHop;
use serde::{Deserialize, Serialize};

use super::ServiceName;
use super::connection::milliseconds;
use super::text::{protocol, socket_addr};

/// Where a packet came from and goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flow {
    /// Its protocol.
    #[serde(with = "protocol")]
    pub protocol: Protocol,
    /// Where it came from; port 0 where it has none.
    pub client: SocketAddr,
    /// Where it was sent.
    #[serde(rename = "virtual")]
    pub virt: SocketAddr,
}

impl From<&FlowKey> for Flow {
    fn from(key: &FlowKey) -> Flow {
        let (client, virt) = (socket_addr(key.client()), socket_addr(key.virt()));
        Flow { protocol: key.protocol(), client, virt }
    }
}

/// One step on the way of a packet. A later version may have more of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PacketStep {
    /// It is a fragment and waits for the others of its packet.
    FragmentHeld {
        /// Where it belongs, in bytes.
        offset: u32,
        /// Bytes of the packet that are there now.
        held: u32,
    },
    /// It was the last fragment of its packet, of which the next steps tell.
    Reassembled {
        /// How many there were.
        fragments: u32,
        /// Length of the packet in bytes.
        bytes: u32,
    },
    /// What the packet is.
    Flow(Flow),
    /// It belongs to a connection.
    ConnectionFound {
        /// The connection's real server.
        server: SocketAddr,
        /// Its state before.
        state: String,
    },
    /// It belongs to none.
    ConnectionMissing,
    /// It does, but is scheduled anew.
    Rescheduled {
        /// Why: `reused`, `quiesced`, `deleted`.
        why: String,
    },
    /// A rule marks it.
    Marked {
        /// The mark.
        mark: u32,
    },
    /// Its service.
    Service {
        /// What names it.
        service: ServiceName,
    },
    /// No service matches.
    NoService,
    /// It may not open a connection.
    MayNotOpen,
    /// A template tells the real server.
    TemplateHit {
        /// The server.
        server: SocketAddr,
        /// Connections that the template controls.
        connections: u32,
    },
    /// There is no template.
    TemplateMissing(Flow),
    /// There is one, but it may not be used any more.
    TemplateSpoilt {
        /// Its server.
        server: SocketAddr,
    },
    /// A real server of the service.
    Candidate {
        /// The server.
        server: SocketAddr,
        /// Its weight.
        weight: u32,
        /// Active connections.
        active: u32,
        /// The others.
        inactive: u32,
        /// `chosen`, `eligible`, `quiesced` or `overloaded`.
        verdict: String,
    },
    /// The scheduler finds none.
    NoDestination,
    /// It goes past the real servers, to where it was sent.
    Bypassed,
    /// Which server the scheduler would choose cannot be told.
    Unforeseeable,
    /// A connection is opened.
    Opened {
        /// To this server.
        server: SocketAddr,
    },
    /// The connection's state.
    State {
        /// Before.
        from: String,
        /// After.
        to: String,
        /// How long it lasts then.
        timeout_ms: u64,
    },
    /// One end is rewritten.
    Translated {
        /// From.
        from: SocketAddr,
        /// To.
        to: SocketAddr,
    },
    /// It leaves.
    Forwarded {
        /// By this interface.
        interface: String,
        /// To this neighbour.
        next_hop: IpAddr,
        /// Whose Ethernet address is this; null while it is not known.
        mac: Option<String>,
    },
    /// Its real server is the director's own host.
    ToHost,
    /// No route leads to its real server.
    Unreachable,
    /// It waits for its neighbour's Ethernet address.
    WaitsForNeighbor {
        /// On this interface.
        interface: String,
    },
    /// It is dropped.
    Dropped {
        /// Why, as `lvsadm drops` lists it.
        reason: String,
    },
    /// It is left to the host.
    Passed {
        /// Why.
        reason: String,
    },
    /// A step that this version has no words for.
    #[serde(other)]
    Other,
}

impl PacketStep {
    /// A step of a director's; `interface` tells the names of its ports.
    pub fn new(
        event: &Event,
        director: &Director,
        interface: &dyn Fn(PortId) -> Option<String>,
    ) -> PacketStep {
        let next = match *event {
            Event::Forward(hop) => director.next_hop(hop),
            _ => None,
        };
        PacketStep::leading(event, next, interface)
    }

    /// The same with what [`Director::next_hop`] said of where it leaves.
    pub fn leading(
        event: &Event,
        next: Option<NextHop>,
        interface: &dyn Fn(PortId) -> Option<String>,
    ) -> PacketStep {
        let name = |port: PortId| interface(port).unwrap_or_else(|| format!("port {}", port.0));
        match *event {
            Event::Forward(hop) => match (hop, next) {
                (_, Some(next)) => PacketStep::Forwarded {
                    interface: name(next.port),
                    next_hop: next.addr,
                    mac: next.mac.map(|mac| mac.to_string()),
                },
                (Hop::Local, _) => PacketStep::ToHost,
                _ => PacketStep::Unreachable,
            },
            Event::WaitsForNeighbor(port) => PacketStep::WaitsForNeighbor { interface: name(port) },
            ref event => PacketStep::from(event),
        }
    }
}

/// All but where it leaves, which only the director knows.
impl From<&Event> for PacketStep {
    fn from(event: &Event) -> PacketStep {
        match *event {
            Event::FragmentHeld { offset, held } => PacketStep::FragmentHeld { offset, held },
            Event::Reassembled { fragments, len } => {
                PacketStep::Reassembled { fragments, bytes: len }
            }
            Event::Flow(ref key) => PacketStep::Flow(key.into()),
            Event::ConnectionFound { destination, state } => PacketStep::ConnectionFound {
                server: socket_addr(destination),
                state: state.name().to_owned(),
            },
            Event::ConnectionMissing => PacketStep::ConnectionMissing,
            Event::Rescheduled(why) => PacketStep::Rescheduled { why: rescheduled(why).to_owned() },
            Event::Marked(mark) => PacketStep::Marked { mark: mark.0 },
            Event::Service(key) => PacketStep::Service { service: key.into() },
            Event::NoService => PacketStep::NoService,
            Event::MayNotOpen => PacketStep::MayNotOpen,
            Event::TemplateHit { destination, holds } => {
                PacketStep::TemplateHit { server: socket_addr(destination), connections: holds }
            }
            Event::TemplateMissing { ref key } => PacketStep::TemplateMissing(key.into()),
            Event::TemplateSpoilt { destination } => {
                PacketStep::TemplateSpoilt { server: socket_addr(destination) }
            }
            Event::Candidate { destination, weight, active, inactive, eligibility } => {
                let verdict = eligible(eligibility).to_owned();
                let server = socket_addr(destination);
                PacketStep::Candidate { server, weight, active, inactive, verdict }
            }
            Event::NoDestination => PacketStep::NoDestination,
            Event::Bypassed => PacketStep::Bypassed,
            Event::Unforeseeable => PacketStep::Unforeseeable,
            Event::Opened { destination } => {
                PacketStep::Opened { server: socket_addr(destination) }
            }
            Event::State { from, to, timeout } => {
                let [from, to] = [from, to].map(|state| state.name().to_owned());
                PacketStep::State { from, to, timeout_ms: milliseconds(timeout) }
            }
            Event::Translated { from, to } => {
                PacketStep::Translated { from: socket_addr(from), to: socket_addr(to) }
            }
            Event::Dropped(reason) => PacketStep::Dropped { reason: reason.name().to_owned() },
            Event::Passed(reason) => PacketStep::Passed { reason: reason.name().to_owned() },
            _ => PacketStep::Other,
        }
    }
}

fn rescheduled(why: Rescheduled) -> &'static str {
    match why {
        Rescheduled::Reused => "reused",
        Rescheduled::Quiesced => "quiesced",
        Rescheduled::Deleted => "deleted",
    }
}

fn eligible(eligibility: Eligibility) -> &'static str {
    match eligibility {
        Eligibility::Chosen => "chosen",
        Eligibility::Eligible => "eligible",
        Eligibility::Quiesced => "quiesced",
        Eligibility::Overloaded => "overloaded",
    }
}

/// Packets as they were decided about.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Traced {
    /// In order; none, from time to time, as a sign of life.
    pub packets: Vec<TracedPacket>,
    /// Packets besides that were asked for and not told, because they came too fast.
    pub lost: u64,
}

/// One packet as it was decided about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TracedPacket {
    /// When, since the director's start.
    pub at_ms: u64,
    /// Where it came in.
    pub interface: String,
    /// Its way.
    pub steps: Vec<PacketStep>,
}
