//! What a master tells its backups of a connection or template.

use super::Method;
use crate::engine::EngineData;
use crate::flow::{Endpoint, Protocol};
use crate::ids::FwMark;
use crate::state::State;
use crate::time::Duration;

/// A connection or template as a master of connection synchronisation tells it and a backup takes it:
/// [`Director::poll_announcement`](crate::director::Director::poll_announcement) gives it,
/// [`Director::take_announcement`](crate::director::Director::take_announcement) takes it.
///
/// It names less than a [`ConnectionRecord`](super::ConnectionRecord): no service, which a backup finds by
/// itself, and no template that controls the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// TCP, UDP or SCTP; `IP` for the template of a mark service.
    pub protocol: Protocol,
    /// The client's end; of a template the masked address, with port 0.
    pub client: Endpoint,
    /// The virtual end; the mark as an address for the template of a mark service (rule R1).
    pub virt: Endpoint,
    /// Where packets are sent, with the port that they have there; for a template the port is 0 where it is
    /// no port's.
    pub server: Endpoint,
    /// How packets reach it. A backup that knows the server goes by the server's own setting.
    pub method: Method,
    /// Whether it is a connection or a template, and in which state.
    pub kind: Announced,
    /// Whether a packet of the real server was seen.
    pub answered: bool,
    /// Whether it counts as inactive (rule C4); templates do.
    pub inactive: bool,
    /// Whether whoever announces it has it from a master itself.
    pub relayed: bool,
    /// What the service's persistence engine read, of a template; connections have none.
    pub engine: Option<EngineData>,
    /// The mark of the first packet.
    pub mark: FwMark,
    /// How long it lasts after its last packet; zero asks for the default of its state.
    pub timeout: Duration,
}

/// What is announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announced {
    /// A connection.
    Connection(State),
    /// A persistence template.
    Template {
        /// Whether one of its connections got established (rule R2).
        assured: bool,
    },
}

/// What became of an announcement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// It is new here.
    Taken,
    /// It is new here, but no service has its server: it goes on by what was announced, and is bound to
    /// the server by a later announcement, once there is one.
    Unbound,
    /// It was here and is brought up to date.
    Updated,
    /// It was here unbound and has its server now.
    Bound,
    /// Another server's was here and gave way.
    Replaced,
    /// Another server's is here and stays: what was announced is the late end of one before it.
    Superseded,
}
