//! What a director has counted as a whole.

use std::collections::BTreeMap;

use lvs_core::director::Director;
use lvs_core::drop::{DropReason, PassReason};
use serde::{Deserialize, Serialize};

use super::{Counters, Rates};

/// Everything that a director counts beside its services.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Frames handed to the director.
    pub received: u64,
    /// Frames sent on to real servers or clients.
    pub transmitted: u64,
    /// Frames answered to where they came from.
    pub replied: u64,
    /// Frames kept for later, among them fragments.
    pub absorbed: u64,
    /// Packets put together from fragments.
    pub reassembled: u64,
    /// Frames of the director's own, and those that were kept, when they were sent.
    pub originated: u64,
    /// ICMP errors that pacing held back.
    pub icmp_suppressed: u64,
    /// Frames dropped, by reason. Every reason is here, also those that never came up.
    pub dropped: BTreeMap<String, u64>,
    /// Frames left to the host, by reason, likewise.
    pub passed: BTreeMap<String, u64>,
    /// Over all services, since the start or since they were zeroed.
    pub counters: Counters,
    /// The same in a second.
    pub rates: Rates,
    /// Connections there are.
    pub connections: u32,
    /// Connections there is room for.
    pub connections_max: u32,
    /// Persistence templates there are.
    pub templates: u32,
    /// Persistence templates there is room for.
    pub templates_max: u32,
}

impl Totals {
    /// What a director has counted.
    pub fn of(director: &Director, rates: Rates) -> Totals {
        let (stats, limits) = (director.stats(), director.limits());
        let named = |(name, count): (&'static str, u64)| (name.to_owned(), count);
        let dropped = DropReason::ALL.iter().map(|&r| named((r.name(), stats.dropped(r))));
        let passed = PassReason::ALL.iter().map(|&r| named((r.name(), stats.passed(r))));
        Totals {
            received: stats.received,
            transmitted: stats.transmitted,
            replied: stats.replied,
            absorbed: stats.absorbed,
            reassembled: stats.reassembled,
            originated: stats.originated,
            icmp_suppressed: stats.icmp_suppressed,
            dropped: dropped.collect(),
            passed: passed.collect(),
            counters: director.total().into(),
            rates,
            connections: director.connection_count(),
            connections_max: limits.connections_max,
            templates: director.template_count(),
            templates_max: limits.templates_max,
        }
    }
}
