//! Requests and replies.
//!
//! Each is a line of JSON that ends with a newline. A client sends a line such as
//!
//! ```json
//! {"version":1,"request":{"services":{"only":null}}}
//! ```
//!
//! and reads lines until one is [`Reply::Done`] or [`Reply::Refused`]:
//!
//! ```json
//! {"services":[{"service":{"protocol":"tcp","address":"192.0.2.1","port":80},"scheduler":"wlc", …}]}
//! "done"
//! ```
//!
//! Then it may send the next request. A long listing comes in many lines, each with a part of it. Fields may
//! be added in the same version; a client passes over those that it does not know.

use serde::{Deserialize, Serialize};

use std::net::SocketAddr;

use crate::data::{
    About, Change, Connection, Daemon, DaemonSpec, Details, Dropped, EngineRead, Flow, Forecast,
    PacketStep, Plan, Role, Service, ServiceName, Settings, Totals, Traced,
};
use crate::desk::TraceFilter;

/// The version of this protocol.
pub const VERSION: u32 = 1;
/// The longest request, in bytes with its newline. A rules file of 100,000 lines fits.
pub const REQUEST_MAX: usize = 16 << 20;
/// The longest line of a reply, in bytes with its newline. Replies are cut into parts that are far shorter.
pub const REPLY_MAX: usize = 64 << 20;
/// The most changes in one request.
pub const CHANGES_MAX: usize = 1024;

/// A request with the version of the protocol it is written in.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// [`VERSION`].
    pub version: u32,
    /// The request.
    pub request: Request,
}

/// What a client asks for.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// Who is there: answered by [`Reply::About`].
    About,
    /// Changes, each carried out or refused by itself, in order: answered by [`Reply::Outcomes`].
    Change {
        /// At most [`CHANGES_MAX`].
        #[serde(deserialize_with = "bounded")]
        changes: Vec<Change>,
    },
    /// Services with their real servers, in parts: [`Reply::Services`]. Refused if `only` is not there.
    Services {
        /// Only this one.
        only: Option<ServiceName>,
    },
    /// Connections, then templates, in parts: [`Reply::Connections`].
    Connections,
    /// Timeouts, switches and mark rules: answered by [`Reply::Settings`].
    Settings,
    /// What is counted beside services, drops by reason among it: answered by [`Reply::Totals`].
    Totals,
    /// What would become of a packet of a client's now: answered by [`Reply::Explanation`]. Nothing changes.
    Explain {
        /// The packet.
        flow: Flow,
        /// The bits of its TCP flags, as in the header; absent for the first packet of a connection.
        tcp_flags: Option<u8>,
        /// What a persistence engine would read in it; absent for nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        read: Option<EngineRead>,
        /// The interface it comes in by; absent for the first there is.
        interface: Option<String>,
    },
    /// Packets as they are decided about: [`Reply::Traced`] again and again, until so many were told or the
    /// client leaves.
    Trace {
        /// Which.
        filter: TraceFilter,
        /// How many; absent without end.
        packets: Option<u64>,
    },
    /// Drops by reason, with the last of each: answered by [`Reply::Drops`].
    Drops,
    /// One connection or template: answered by [`Reply::Details`]. Refused if there is none.
    Connection {
        /// As listings show it; a template's client has port 0.
        flow: Flow,
    },
    /// What keeps a real server at work, and until when: answered by [`Reply::Forecast`].
    Forecast {
        /// The service.
        service: ServiceName,
        /// The real server.
        server: SocketAddr,
    },
    /// `--start-daemon`.
    StartDaemon {
        /// Which, and how.
        daemon: DaemonSpec,
    },
    /// `--stop-daemon`.
    StopDaemon {
        /// Which.
        role: Role,
    },
    /// The synchronisation daemons that run: answered by [`Reply::Daemons`].
    Daemons,
    /// Lines of `iptables … -j MARK` and of sysctl, beside what is there.
    Amend {
        /// The lines.
        text: String,
    },
    /// A whole rules file in the place of what is there, or nothing of it: answered by [`Reply::Plan`].
    Apply {
        /// What messages shall call the file.
        file: String,
        /// Its text.
        text: String,
        /// Only tell what would be done.
        dry_run: bool,
    },
}

/// Changes, no more of which are kept than may be.
fn bounded<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Change>, D::Error> {
    struct Changes;
    impl<'de> serde::de::Visitor<'de> for Changes {
        type Value = Vec<Change>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a list of at most {CHANGES_MAX} changes")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut list: A,
        ) -> Result<Self::Value, A::Error> {
            let mut changes = Vec::new();
            while let Some(change) = list.next_element()? {
                if changes.len() == CHANGES_MAX {
                    let message = format!("at most {CHANGES_MAX} changes go in one request");
                    return Err(serde::de::Error::custom(message));
                }
                changes.push(change);
            }
            Ok(changes)
        }
    }
    deserializer.deserialize_seq(Changes)
}

/// A part of an answer. Every answer ends with [`Done`](Reply::Done) or [`Refused`](Reply::Refused).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reply {
    /// Who is there.
    About(About),
    /// Some services.
    Services(Vec<Service>),
    /// Some connections and templates.
    Connections(Vec<Connection>),
    /// Timeouts, switches, mark rules.
    Settings(Settings),
    /// What is counted beside services.
    Totals(Box<Totals>),
    /// What would become of a packet.
    Explanation(Vec<PacketStep>),
    /// Packets that were decided about.
    Traced(Traced),
    /// What was dropped.
    Drops(Vec<Dropped>),
    /// One connection or template.
    Details(Box<Details>),
    /// What is left of a real server's work.
    Forecast(Forecast),
    /// The synchronisation daemons that run, the master first.
    Daemons(Vec<Daemon>),
    /// What became of each change; `null` for one that was carried out.
    Outcomes(Vec<Option<Refusal>>),
    /// What a rules file changes.
    Plan(Plan),
    /// That was all.
    Done,
    /// Nothing was done.
    Refused(Refusal),
}

impl Reply {
    /// Whether nothing follows.
    pub const fn is_last(&self) -> bool {
        matches!(self, Reply::Done | Reply::Refused(_))
    }
}

/// Why a request, or one change of it, was refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The exit status that ipvsadm would have: 255, 2 or 1 (rule A1).
    pub status: u8,
    /// What is wrong, in the kernel's and ipvsadm's words where they have some.
    pub message: String,
}

impl Refusal {
    /// A refusal with the status of what a director refuses.
    pub fn new(message: impl Into<String>) -> Refusal {
        Refusal { status: lvs_admin::ipvsadm::STATUS_REFUSED, message: message.into() }
    }
}

impl From<lvs_core::command::ApplyError> for Refusal {
    fn from(error: lvs_core::command::ApplyError) -> Refusal {
        let status = lvs_admin::ipvsadm::apply_status(&error);
        Refusal { status, message: error.to_string() }
    }
}
