//! Listings: ipvsadm's, byte for byte (blanks at the ends of lines included), and the text files of the
//! kernel that other programs read.
//!
//! ```
//! use lvs_admin::{ipvsadm::{self, Action}, listing::{Header, Listing}, names::NumericOnly};
//!
//! let Ok(Action::List(request)) = ipvsadm::parse(&["-Ln"], &NumericOnly) else { panic!() };
//! let mut text = String::new();
//! Listing::new(Header::default(), request, &NumericOnly).services(&mut text, &[]).unwrap();
//! assert!(text.starts_with("IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port"));
//! ```

mod connections;
pub mod proc_fs;
mod rules_file;
mod rules_text;
mod services;
mod sort;
mod stats;
mod text;

use std::fmt::{self, Write};

use lvs_core::command::ServiceKey;
use lvs_core::flow::Endpoint;
use lvs_core::listing::{ConnectionEntry, ServiceEntry, TimeoutsEntry};

pub use rules_file::{destination_options, lost_by_save, mark_lines, rules_file, service_options};

use crate::ipvsadm::{Columns, DaemonRole, DaemonSpec, ListRequest};
use crate::names::{Names, NumericOnly};

/// What the first line of a full listing says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The version of the kernel's interface.
    pub version: (u8, u8, u8),
    /// The size of the connection table.
    pub table_size: u32,
}

impl Default for Header {
    /// What a Linux kernel says by default: version 1.2.1 and a table of 4096.
    fn default() -> Self {
        Header { version: (1, 2, 1), table_size: 4096 }
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.version;
        let size = self.table_size;
        write!(f, "IP Virtual Server version {major}.{minor}.{patch} (size={size})")
    }
}

/// What goes through a service or to a server in a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// Connections opened.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets from real servers.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes from real servers.
    pub bytes_out: u64,
}

/// Who knows the rates: of a service, or of one of its servers.
pub type RatesOf<'a> = &'a dyn Fn(&ServiceKey, Option<Endpoint>) -> Rates;

/// A listing to be written, as `-L` asked for it.
#[derive(Clone, Copy)]
pub struct Listing<'a> {
    header: Header,
    request: ListRequest,
    names: &'a dyn Names,
}

impl fmt::Debug for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("request", &self.request).finish_non_exhaustive()
    }
}

impl<'a> Listing<'a> {
    /// A listing. `names` are left aside if the request says `-n`.
    pub fn new(header: Header, request: ListRequest, names: &'a dyn Names) -> Listing<'a> {
        let names = if request.numeric { &NumericOnly } else { names };
        Listing { header, request, names }
    }

    /// Services and their servers, in the columns that the request asks for. If the request names a
    /// service, `entries` are that one alone; use [`find`], and say "No such service" without one.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn services(&self, out: &mut dyn Write, entries: &[ServiceEntry]) -> fmt::Result {
        self.services_with_rates(out, entries, &|_, _| Rates::default())
    }

    /// Like [`Listing::services`], with rates for `--rate`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn services_with_rates(
        &self,
        out: &mut dyn Write,
        entries: &[ServiceEntry],
        rates: RatesOf<'_>,
    ) -> fmt::Result {
        if self.request.service.is_none() {
            writeln!(out, "{}", self.header)?;
        }
        let services = match self.request.unsorted {
            true => sort::unsorted(entries),
            false => sort::sorted(entries),
        };
        match self.request.columns {
            Columns::Plain => services::plain(out, &services, self.names),
            Columns::TunnelInfo => services::tunnel_info(out, &services, self.names),
            Columns::Stats => stats::stats(out, &services, self.names, self.request.exact),
            Columns::Rate => stats::rates(out, &services, self.names, self.request.exact, rates),
            Columns::Thresholds => services::thresholds(out, &services, self.names),
            Columns::PersistentConn => services::persistent(out, &services, self.names),
        }
    }

    /// The two title lines of `-Lc`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn connections_title(&self, out: &mut dyn Write) -> fmt::Result {
        connections::title(out, self.request.engine_columns)
    }

    /// Lines of `-Lc`, in the order given. A long table may be written in parts.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn connections(&self, out: &mut dyn Write, entries: &[ConnectionEntry]) -> fmt::Result {
        let engine_columns = self.request.engine_columns;
        entries
            .iter()
            .try_for_each(|entry| connections::line(out, entry, self.names, engine_columns))
    }
}

/// The service that a request names.
pub fn find<'e>(entries: &'e [ServiceEntry], request: &ListRequest) -> Option<&'e ServiceEntry> {
    entries.iter().find(|entry| Some(entry.spec.key) == request.service)
}

/// `-L --timeout`.
///
/// # Errors
/// Those of `out`.
pub fn timeouts(out: &mut dyn Write, entry: &TimeoutsEntry) -> fmt::Result {
    let [tcp, fin, udp] = [entry.tcp, entry.tcp_fin, entry.udp].map(|timeout| timeout.as_secs());
    writeln!(out, "Timeout (tcp tcpfin udp): {tcp} {fin} {udp}")
}

/// `-L --daemon`: the synchronisation daemons that run, of which the master comes first.
///
/// # Errors
/// Those of `out`.
pub fn daemons(out: &mut dyn Write, running: &[DaemonSpec]) -> fmt::Result {
    for (role, word) in [(DaemonRole::Master, "master"), (DaemonRole::Backup, "backup")] {
        for daemon in running.iter().filter(|daemon| daemon.role == role) {
            let id = daemon.sync_id.unwrap_or(0);
            write!(out, "{word} sync daemon (mcast={}, syncid={id}", daemon.interface)?;
            if let Some(max_len) = daemon.max_len {
                write!(out, ", maxlen={max_len}")?;
            }
            if let Some(group) = daemon.group {
                write!(out, ", group={group}")?;
            }
            if let Some(port) = daemon.port {
                write!(out, ", port={port}")?;
            }
            if let Some(ttl) = daemon.ttl {
                write!(out, ", ttl={ttl}")?;
            }
            writeln!(out, ")")?;
        }
    }
    Ok(())
}

/// `-S`: the commands that make what there is. Thresholds, timeouts and marks are not among them, as
/// with ipvsadm (rule A3); [`rules_file`] writes those too. `numeric` is `-n`.
///
/// # Errors
/// Those of `out`.
pub fn save(
    out: &mut dyn Write,
    entries: &[ServiceEntry],
    names: &dyn Names,
    numeric: bool,
) -> fmt::Result {
    let names = if numeric { &NumericOnly } else { names };
    rules_text::save(out, &sort::sorted(entries), names)
}

#[cfg(test)]
mod tests;
