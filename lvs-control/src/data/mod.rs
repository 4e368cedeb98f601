//! Listings and changes as JSON: the fields that requests and replies are made of.
//!
//! Numbers have their unit at the end of their name: `_s` seconds, `_ms` milliseconds. Protocols are
//! `tcp`, `udp`, `sctp`, `ip` (the template of a mark), or their number. Addresses with a port are text:
//! `192.0.2.1:80`, `[2001:db8::1]:80`.

mod change;
mod connection;
mod daemon;
mod details;
mod drops;
mod plan;
mod service;
mod step;
mod text;
mod totals;

use std::collections::BTreeMap;

use lvs_core::listing::TimeoutsEntry;
use serde::{Deserialize, Serialize};

pub use change::Change;
pub use connection::{Connection, EngineRead};
pub use daemon::{Daemon, DaemonCounters, DaemonSpec, Role};
pub use details::{Details, Forecast};
pub use drops::{Dropped, LastDropped};
pub use plan::{Affected, Plan, Step, StepKind};
pub use service::{
    Checksum, Counters, IpFamily, Method, Rates, Server, ServerSpec, Service, ServiceName,
    ServiceSpec, Tunnel, TunnelKind,
};

pub use step::{Flow, PacketStep, Traced, TracedPacket};
pub use totals::Totals;

/// Why data cannot be what it claims to be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct DataError(pub(crate) String);

/// Who answers at a socket.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct About {
    /// The director's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since it started.
    pub uptime_ms: u64,
    /// Its interfaces, in the order of its ports.
    pub interfaces: Vec<String>,
    /// The synchronisation daemons that run.
    #[serde(default)]
    pub daemons: Vec<Role>,
    /// The rules file that SIGHUP applies, if there is one.
    pub rules: Option<String>,
    /// Connections there is room for.
    pub connections_max: u32,
    /// Templates there is room for.
    pub templates_max: u32,
}

/// What `--set`, sysctl and iptables set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The timeouts of `--set`.
    pub timeouts: Timeouts,
    /// The switches, by their names below `net.ipv4.vs`.
    pub sysctls: BTreeMap<String, u32>,
    /// The mark rules in order, as lines of iptables and ip6tables.
    pub marks: Vec<String>,
}

/// The timeouts of `--set`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Timeouts {
    /// TCP, established.
    pub tcp_s: u64,
    /// TCP after FIN.
    pub tcp_fin_s: u64,
    /// UDP.
    pub udp_s: u64,
}

impl From<TimeoutsEntry> for Timeouts {
    fn from(entry: TimeoutsEntry) -> Timeouts {
        let [tcp_s, tcp_fin_s, udp_s] =
            [entry.tcp, entry.tcp_fin, entry.udp].map(|timeout| timeout.as_secs());
        Timeouts { tcp_s, tcp_fin_s, udp_s }
    }
}

impl From<Timeouts> for TimeoutsEntry {
    fn from(data: Timeouts) -> TimeoutsEntry {
        let [tcp, tcp_fin, udp] =
            [data.tcp_s, data.tcp_fin_s, data.udp_s].map(lvs_core::time::Duration::from_secs);
        TimeoutsEntry { tcp, tcp_fin, udp }
    }
}

#[cfg(test)]
mod tests;
