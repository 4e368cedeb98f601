//! Counters that stand still in listings while `run_estimation` is off (rule T5).
//!
//! The kernel fills what it lists only when it estimates rates. Packets are counted all the same, and shown when it is
//! switched on again.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use super::Director;
use crate::command::ServiceKey;
use crate::ids::{DestIndex, ServiceIndex};
use crate::stats::Counters;

/// What listings show meanwhile; of a service or server that is not here, zero.
#[derive(Debug)]
pub(super) struct Still {
    total: Counters,
    services: BTreeMap<u32, Counters>,
    servers: BTreeMap<u32, Counters>,
}

impl Director {
    /// What went through all services together, as listings show it.
    pub fn total(&self) -> Counters {
        self.still.as_ref().map_or(self.stats.total, |still| still.total)
    }

    /// Has listed counters stand still, or go on.
    pub(super) fn run_estimation(&mut self, on: bool) {
        if on {
            self.still = None;
        } else if self.still.is_none() {
            let services = self.services.iter().map(|(index, _)| index);
            let servers = self.dests.iter().map(|(index, _)| index);
            self.still = Some(Box::new(Still {
                total: self.stats.total,
                services: services.map(|i| (i.0, *self.services.counters(i))).collect(),
                servers: servers.map(|i| (i.0, self.dests.front(i).counters)).collect(),
            }));
        }
    }

    pub(super) fn shown_of_service(&self, index: ServiceIndex) -> Counters {
        match &self.still {
            Some(still) => still.services.get(&index.0).copied().unwrap_or_default(),
            None => *self.services.counters(index),
        }
    }

    pub(super) fn shown_of_server(&self, index: DestIndex) -> Counters {
        match &self.still {
            Some(still) => still.servers.get(&index.0).copied().unwrap_or_default(),
            None => self.dests.front(index).counters,
        }
    }

    /// A service whose counters begin.
    pub(super) fn service_counts_anew(&mut self, index: ServiceIndex) {
        if let Some(still) = &mut self.still {
            still.services.remove(&index.0);
        }
    }

    /// A server whose counters begin.
    pub(super) fn server_counts_anew(&mut self, index: DestIndex) {
        if let Some(still) = &mut self.still {
            still.servers.remove(&index.0);
        }
    }

    /// Everything listed becomes zero; what was counted since listings stood still stays.
    pub(super) fn zero_all(&mut self) {
        let services: Box<[_]> = self.services.iter().map(|(index, _)| index).collect();
        let servers: Box<[_]> = self.dests.iter().map(|(index, _)| index).collect();
        services.into_iter().for_each(|index| self.zero_service(index));
        servers.into_iter().for_each(|index| self.zero_server(index));
        self.stats.total.subtract(&self.total());
        if let Some(still) = &mut self.still {
            still.total = Counters::default();
        }
    }

    pub(super) fn zero_one(&mut self, key: &ServiceKey) -> Option<()> {
        let index = self.services.by_key(key)?;
        self.zero_service(index);
        for destination in self.services.at(index).list.clone() {
            self.zero_server(destination);
        }
        Some(())
    }

    fn zero_service(&mut self, index: ServiceIndex) {
        let shown = self.shown_of_service(index);
        self.services.counters_mut(index).subtract(&shown);
        self.service_counts_anew(index);
    }

    fn zero_server(&mut self, index: DestIndex) {
        let shown = self.shown_of_server(index);
        self.dests.front_mut(index).counters.subtract(&shown);
        self.server_counts_anew(index);
    }
}
