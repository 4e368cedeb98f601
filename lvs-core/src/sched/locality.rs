//! `lblc` and `lblcr`: the server, or the set of servers, that a destination address went to before.

use alloc::boxed::Box;
use alloc::vec;
use core::net::{IpAddr, Ipv4Addr};

use super::{Candidates, Request, Schedule, SchedulerInfo, load};
use crate::command::Tunables;
use crate::ids::DestIndex;
use crate::time::{Duration, Instant};

/// Destination addresses that are remembered; one more takes the place of the least recently used.
const ENTRIES: usize = 256;
/// Servers of a set; one more takes the place of the oldest.
const SET: usize = 16;
/// How often entries that were not used for long are looked for (30 rounds of a minute).
const SWEEP: Duration = Duration::from_secs(30 * 60);

pub(super) const LBLC: SchedulerInfo = SchedulerInfo {
    name: "lblc",
    summary: "Locality-based least connection: a destination address keeps its server until that is full.",
    make: |_, _| Box::new(Locality::new(1)),
};

pub(super) const LBLCR: SchedulerInfo = SchedulerInfo {
    name: "lblcr",
    summary: "lblc with replication: a destination address keeps a set of servers that grows under load.",
    make: |_, _| Box::new(Locality::new(SET)),
};

/// A destination address moves off its server only if that has more active connections than weight and
/// some other has less than half of its own (rule S13).
#[derive(Clone, Debug)]
struct Locality {
    entries: Box<[Entry]>,
    /// When it was first asked, from which the sweeps are counted.
    begun: Option<Instant>,
    /// How long an entry lasts without use, and a set of lblcr without losing its most loaded server
    /// (`lblc_expiration`, `lblcr_expiration`).
    expiration: Duration,
    /// Servers a set may have: 1 for lblc.
    set_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    addr: IpAddr,
    used: Option<Instant>,
    changed: Instant,
    /// Newest first.
    set: [Option<DestIndex>; SET],
}

impl Locality {
    fn new(set_max: usize) -> Locality {
        let (addr, changed) = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), Instant::ZERO);
        let entry = Entry { addr, used: None, changed, set: [None; SET] };
        let entries = vec![entry; ENTRIES].into_boxed_slice();
        let expiration = Duration::from_secs(Tunables::default().lblc_expiration.into());
        Locality { entries, begun: None, expiration, set_max }
    }

    /// Forgets an entry if one of the sweeps since its last use found it too old.
    fn sweep(&mut self, addr: IpAddr, now: Instant) {
        let begun = *self.begun.get_or_insert(now);
        let sweeps = now.saturating_since(begun).as_millis() / SWEEP.as_millis();
        let last = begun + Duration::from_millis((sweeps * SWEEP.as_millis()) as u64);
        let expiration = self.expiration;
        let old = |used: Instant| last > used && last.saturating_since(used) >= expiration;
        let is_it = |entry: &&mut Entry| entry.addr == addr && entry.used.is_some_and(old);
        if sweeps > 0
            && let Some(entry) = self.entries.iter_mut().find(is_it)
        {
            entry.used = None;
        }
    }

    /// The entry of an address: its own, else a free one, else the least recently used.
    fn entry(&mut self, addr: IpAddr) -> &mut Entry {
        let own = |entry: &Entry| entry.used.is_some() && entry.addr == addr;
        let place = self.entries.iter().position(own).unwrap_or_else(|| {
            let oldest = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.used);
            let place = oldest.map_or(0, |(place, _)| place);
            self.entries[place] =
                Entry { addr, used: None, set: [None; SET], ..self.entries[place] };
            place
        });
        &mut self.entries[place]
    }
}

impl Entry {
    fn len(&self) -> usize {
        self.set.iter().flatten().count()
    }

    /// The least loaded of the set that may still be chosen. The only server of lblc is kept even when
    /// its threshold is reached: what a threshold closes is the choice of a new one (`lblc-threshold`).
    fn least(&self, candidates: &Candidates<'_>, set_max: usize) -> Option<usize> {
        let mut best: Option<usize> = None;
        for position in self.set.iter().flatten().filter_map(|&d| candidates.position_of(d)) {
            let d = candidates.at(position);
            let lighter = |b: usize| {
                let b = candidates.at(b);
                weighted(load::connections(b), d.weight())
                    > weighted(load::connections(d), b.weight())
            };
            let may_stay = d.is_eligible() || set_max == 1 && d.weight() > 0;
            if may_stay && best.is_none_or(lighter) {
                best = Some(position);
            }
        }
        best
    }

    /// Takes the most loaded server out of the set, which changes it (`lblcr-expiration`).
    fn drop_most_loaded(&mut self, candidates: &Candidates<'_>, now: Instant) {
        let mut most: Option<(usize, usize)> = None;
        for (place, index) in self.set.iter().enumerate() {
            let Some(position) = index.and_then(|index| candidates.position_of(index)) else {
                continue;
            };
            let d = candidates.at(position);
            let heavier = |(_, m): (usize, usize)| {
                let m = candidates.at(m);
                weighted(load::connections(m), d.weight())
                    < weighted(load::connections(d), m.weight())
            };
            if d.weight() > 0 && most.is_none_or(heavier) {
                most = Some((place, position));
            }
        }
        if let Some((place, _)) = most {
            self.set.copy_within(place + 1.., place);
            self.set[SET - 1] = None;
            self.changed = now;
        }
    }

    fn insert(&mut self, index: DestIndex, set_max: usize, now: Instant) {
        if self.set.contains(&Some(index)) {
            return;
        }
        self.set.copy_within(..SET - 1, 1);
        self.set[0] = Some(index);
        self.set[set_max..].fill(None);
        self.changed = now;
    }
}

impl Schedule for Locality {
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(self.clone()))
    }

    fn tune(&mut self, tunables: &Tunables) {
        let seconds = match self.set_max {
            1 => tunables.lblc_expiration,
            _ => tunables.lblcr_expiration,
        };
        self.expiration = Duration::from_secs(seconds.into());
    }

    fn pick(&mut self, candidates: &Candidates<'_>, request: &Request<'_>) -> Option<usize> {
        let (set_max, expiration) = (self.set_max, self.expiration);
        self.sweep(request.flow.virtual_addr(), request.now);
        let entry = self.entry(request.flow.virtual_addr());
        if entry.used.is_some() {
            let chosen = entry.least(candidates, set_max);
            if entry.len() > 1 && request.now.saturating_since(entry.changed) > expiration {
                entry.drop_most_loaded(candidates, request.now);
            }
            let still_good =
                |&position: &usize| !load::is_outweighed(candidates.at(position), candidates);
            if let Some(chosen) = chosen.filter(still_good) {
                entry.used = Some(request.now);
                return Some(chosen);
            }
        }
        let chosen = load::least(candidates, load::connections)?;
        entry.used = Some(request.now);
        entry.insert(candidates.index_at(chosen), set_max, request.now);
        Some(chosen)
    }
}

fn weighted(load: u64, weight: u32) -> u128 {
    u128::from(load) * u128::from(weight)
}
