//! Connections, templates and counters as records, for a warm restart or a second director.
//!
//! [`Director::export`](crate::director::Director::export) writes them, in chunks between bursts if need
//! be; [`Director::import`](crate::director::Director::import) takes them one by one, into a director
//! that has the same rules, or nearly so. A record names things as an operator does, by addresses, and
//! tells times as durations: it means the same in another process, on another machine, under another
//! clock. [`Record::to_bytes`] and [`Record::from_bytes`] carry it there.
//!
//! ```
//! use lvs_core::director::Director;
//! use lvs_core::limits::Limits;
//! use lvs_core::snapshot::{Links, Position, Record, RecordBytes};
//! use lvs_core::time::{Duration, Instant};
//!
//! let mut old = Director::new(Limits::small(), [1, 2])?;
//! // … rules, traffic …
//! let (mut position, mut records) = (Position::default(), Vec::new());
//! while old.export(Instant::from_secs(90), &mut position, 1000, &mut records) {}
//! let saved: Vec<RecordBytes> = records.iter().map(Record::to_bytes).collect();
//!
//! // Another process, whose clock began anew, two seconds later; its rules are in force already.
//! let mut new = Director::new(Limits::small(), [3, 4])?;
//! let mut links = Links::default();
//! for bytes in &saved {
//!     let record = Record::from_bytes(bytes)?.aged(Duration::from_secs(2));
//!     new.import(Instant::ZERO, &mut links, &record)?;
//! }
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # What is not in it
//!
//! The rules: they are applied first. Nor what a director finds out anew: neighbours, path MTUs, packets
//! that wait. Nor the private state of schedulers, such as the place of `rr` in its list.

use alloc::collections::BTreeMap;
use core::fmt;
use core::net::IpAddr;

use crate::command::ServiceKey;
use crate::engine::EngineData;
use crate::flow::{Endpoint, FlowKey, Protocol};
use crate::ids::{DestIndex, FwMark, L4Port, TemplateId};
use crate::state::State;
use crate::stats::Counters;
use crate::time::Duration;

mod announcement;
mod bytes;
mod check;

pub use announcement::{Announced, Announcement, Heard};
pub use bytes::{DecodeError, RecordBytes};

/// The longest timeout of a connection or template: the 31 days that ipvsadm allows.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// How long a template goes on when its time is up while it controls connections (rules R4, R5).
const TEMPLATE_EXTENSION: Duration = Duration::from_secs(60);

/// A piece of a director's state.
///
/// An export tells them in this order, so that each comes after what it refers to. A program that wants
/// connections alone leaves the others out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "a record is made without asking for memory, and few are in memory at a time"
)]
pub enum Record {
    /// A persistence template.
    Template(TemplateRecord),
    /// A connection.
    Connection(ConnectionRecord),
    /// What is remembered of a real server: one of the rules, or a deleted one that has connections.
    Server(ServerRecord),
    /// What went through a virtual service.
    Service(ServiceKey, Counters),
    /// What went through all services together.
    Total(Counters),
}

impl Record {
    /// The record as it is after `time` has passed without a packet: for the time between an export and
    /// its import.
    pub fn aged(mut self, time: Duration) -> Record {
        match &mut self {
            Record::Template(template) => {
                template.idle = template.idle.saturating_add(time);
                template.age = template.age.saturating_add(time);
            }
            Record::Connection(connection) => {
                connection.idle = connection.idle.saturating_add(time);
                connection.age = connection.age.saturating_add(time);
            }
            Record::Server(_) | Record::Service(..) | Record::Total(_) => {}
        }
        self
    }
}

/// What names a real server of a service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ServerKey {
    /// Its service.
    pub service: ServiceKey,
    /// Its address and port.
    pub addr: Endpoint,
}

/// The forwarding method that a connection was made with; it keeps it whatever becomes of its server
/// (rule L5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Method {
    /// `-g`.
    DirectRoute,
    /// `-i`; which kind of tunnel is the server's setting.
    Tunnel,
    /// `-m`.
    Masquerade,
    /// To no real server but to where the client sent it (rule P11); the server is `0.0.0.0:0` or `[::]:0`.
    Bypass,
}

/// A connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionRecord {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The client's end.
    pub client: Endpoint,
    /// The virtual end.
    pub virt: Endpoint,
    /// The real server.
    pub server: ServerKey,
    /// How packets reach it.
    pub method: Method,
    /// Whether the server is reached on the virtual port, whichever its own is (rules P7, R1).
    pub own_port: bool,
    /// Which of several masqueraded connections of one client end and one server end the answers belong to:
    /// the one with the largest number, the newest. `None` for others, whose answers are not looked for.
    pub answers: Option<u32>,
    /// The state.
    pub state: State,
    /// Whether a packet of the real server was seen; until then the client's half alone moves the state.
    pub answered: bool,
    /// How long the connection lasts after its last packet; whole milliseconds, at most [`TIMEOUT_MAX`].
    pub timeout: Duration,
    /// Since its last packet.
    pub idle: Duration,
    /// The [number](TemplateRecord::number) of the template that controls it.
    pub template: Option<u32>,
    /// The mark of the packet that opened it.
    pub mark: FwMark,
    /// Since it was opened.
    pub age: Duration,
    /// Packets from the client.
    pub packets: u32,
    /// Bytes from the client.
    pub bytes: u64,
}

/// A persistence template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TemplateRecord {
    /// What connections of the same export refer to it by.
    pub number: u32,
    /// The protocol; `IP` for the template of a mark service.
    pub protocol: Protocol,
    /// The client's address, with the bits outside the granularity cleared.
    pub client: IpAddr,
    /// The virtual end; the mark as an address for the template of a mark service (rule R1).
    pub virt: Endpoint,
    /// The client's real server.
    pub server: ServerKey,
    /// What the service's persistence engine read; `None` for the template of a service without one.
    pub engine: Option<EngineData>,
    /// The server's port; 0 for port-0, FTP and mark services.
    pub port: L4Port,
    /// How long it lasts after a new connection; whole milliseconds, at most [`TIMEOUT_MAX`].
    pub timeout: Duration,
    /// Since the timeout counts.
    pub idle: Duration,
    /// Whether one of its connections got established (rule R2).
    pub assured: bool,
    /// Whether no new connection finds it (rule R8).
    pub spoilt: bool,
    /// The mark of the packet that made it.
    pub mark: FwMark,
    /// Since it was made.
    pub age: Duration,
    /// Connections that it led to the server so far.
    pub connections: u32,
    /// Connections that it controls. An import counts them anew; it only asks whether there are any, for a
    /// template whose time is up by then goes on for them.
    pub holds: u32,
}

impl TemplateRecord {
    /// Its timeout and since when it counts, with the minutes by which it went on after its end because
    /// it controls connections (rules R4, R5); `None` if it has ended.
    pub(crate) fn extended(&self) -> Option<(Duration, Duration)> {
        let Some(over) = self.idle.checked_sub(self.timeout) else {
            return Some((self.timeout, self.idle));
        };
        if self.holds == 0 {
            return None;
        }
        let minutes = TEMPLATE_EXTENSION.as_millis();
        let idle = Duration::from_millis((over.as_millis() % minutes) as u64);
        Some((TEMPLATE_EXTENSION, idle))
    }
}

/// What a director remembers of a real server beyond its connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerRecord {
    /// The server.
    pub server: ServerKey,
    /// Whether it is full: between its thresholds that depends on the past (rule S14).
    pub overloaded: bool,
    /// The upper threshold that it was full by. A deleted server that is added again stays full unless the
    /// threshold was raised.
    pub upper_threshold: u32,
    /// The last weight that was not 0 (rule S11).
    pub last_weight: u32,
    /// What went to it.
    pub counters: Counters,
}

/// Where an export in chunks goes on; start with the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position {
    pub(crate) part: u8,
    pub(crate) place: u32,
}

/// What an import keeps in mind from record to record: which template here is which of the export, and
/// where servers are. Make a new one for each export that is imported.
#[derive(Clone, Debug, Default)]
pub struct Links {
    pub(crate) templates: BTreeMap<u32, (TemplateId, FlowKey)>,
    pub(crate) servers: BTreeMap<ServerKey, DestIndex>,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Imported {
    /// It is in force.
    Taken,
    /// It is kept, but the rules do not name its real server: it waits for that to be added, as
    /// connections of a deleted server do (rule L1).
    Waiting,
    /// It has ended in the meantime.
    Ended,
    /// The director has one that takes precedence: seen later, or with another server while this one is
    /// ending.
    Superseded,
    /// It tells of a server or a service that the rules do not name.
    Unknown,
}

/// Why a record was refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ImportError {
    /// A limit is reached; the field of [`Limits`](crate::limits::Limits).
    Limit(&'static str),
    /// The connections of the director have too many different timeouts already.
    Timeouts,
    /// A field holds what it cannot; its name, and what it may hold.
    Invalid {
        /// The field.
        field: &'static str,
        /// What it may hold.
        expected: &'static str,
    },
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Limit(name) => {
                write!(f, "the limit {name} is reached; start with a larger one")
            }
            ImportError::Timeouts => f.write_str(
                "the connections have too many different timeouts; leave this one out, or import into a \
                 director without connections of its own",
            ),
            ImportError::Invalid { field, expected } => {
                write!(f, "the record's {field} cannot be used: expected {expected}")
            }
        }
    }
}

impl core::error::Error for ImportError {}
