//! How much memory a director takes, before there is one.

use core::fmt;

use super::fragments::Workbench;
use super::outgoing::OutgoingQueue;
use crate::conn::{Line, Region};
use crate::dest::Destinations;
use crate::limits::Limits;
use crate::local::LocalAddresses;
use crate::neighbor::Neighbors;
use crate::persist::TemplateTable;
use crate::reassembly::Reassembly;
use crate::service::Services;
use crate::store::Store;
use crate::timer::TimerWheel;

/// Bytes that the tables of a [`Director`](super::Director) take, all of them from its making on.
///
/// Besides them a few kilobytes belong to no table, and configuration takes what it needs when it is
/// applied: lists of servers, routes, mark rules, and the state of schedulers (33 KB for each service
/// under `mh`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// The connection table: [`Region::lines_needed`] lines of 64 bytes.
    pub connections: u64,
    /// Persistence templates.
    pub templates: u64,
    /// The timers of both.
    pub timers: u64,
    /// Real servers.
    pub servers: u64,
    /// Packets that wait: for a neighbour, or for the rest of their fragments.
    pub packets: u64,
    /// Services, addresses, neighbours and what else there is.
    pub others: u64,
}

impl Memory {
    /// All of it.
    pub const fn total(&self) -> u64 {
        self.connections + self.templates + self.timers + self.servers + self.packets + self.others
    }
}

impl fmt::Display for Memory {
    /// In megabytes (1,000,000 bytes), rounded up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes.div_ceil(1_000_000);
        write!(
            f,
            "{} MB: connections {}, templates {}, timers {}, servers {}, packets {}, others {}",
            mb(self.total()),
            mb(self.connections),
            mb(self.templates),
            mb(self.timers),
            mb(self.servers),
            mb(self.packets),
            mb(self.others)
        )
    }
}

impl Limits {
    /// How much memory a director with these limits takes.
    ///
    /// ```
    /// use lvs_core::limits::Limits;
    /// let memory = Limits::default().memory();
    /// let per_connection = memory.connections / u64::from(Limits::default().connections_max);
    /// assert_eq!(per_connection, 105);
    /// ```
    pub fn memory(&self) -> Memory {
        let tables = Services::memory(self.services_max)
            + LocalAddresses::memory(self.local_addresses_max)
            + Neighbors::memory(self.neighbors_max)
            + OutgoingQueue::memory(self.outgoing_max)
            + Workbench::MEMORY;
        let packets = Store::memory(self.store_bytes)
            + Reassembly::memory(self.fragment_bytes, self.fragment_sets_max);
        let connections = Region::lines_needed(self.connections_max) * size_of::<Line>();
        let timers = self.connections_max.saturating_add(self.templates_max);
        Memory {
            connections: connections as u64,
            templates: TemplateTable::memory(self.templates_max, self.engine_templates_max) as u64,
            timers: TimerWheel::memory(timers) as u64,
            servers: Destinations::memory(self.destinations_max) as u64,
            packets: packets as u64,
            others: tables as u64,
        }
    }
}
