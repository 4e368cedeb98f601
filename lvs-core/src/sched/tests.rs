//! Every scheduler, on lists of destinations built by hand.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeSet;

use super::*;
use crate::addr::Family;
use crate::command::{DestinationSpec, ServiceKey};
use crate::flow::Endpoint;
use crate::ids::{FwMark, ServiceIndex};

/// A service's list with one scheduler; weights are given oldest first, as an operator types them.
pub(crate) struct Bench {
    pub(crate) all: Destinations,
    pub(crate) list: Vec<DestIndex>,
    pub(crate) scheduler: Box<dyn Schedule>,
    next_host: u8,
}

impl Bench {
    pub(crate) fn new(name: &str, weights: &[u32]) -> Bench {
        let all = Destinations::new(64);
        let info = by_name(name).unwrap();
        let scheduler = (info.make)(SchedulerFlags::default(), &Candidates::new(&[], &all));
        let mut bench = Bench { all, list: Vec::new(), scheduler, next_host: 2 };
        for &weight in weights {
            bench.add(weight);
        }
        bench
    }

    pub(crate) fn add(&mut self, weight: u32) -> u8 {
        let host = self.next_host;
        self.next_host += 1;
        let addr = Endpoint::new(IpAddr::V4(Ipv4Addr::new(10, 1, 0, host)), 80);
        let spec = DestinationSpec { weight, ..DestinationSpec::new(addr) };
        let key = ServiceKey::Mark { mark: FwMark(1), family: Family::V4 };
        let index = self.all.insert(Destination::new(spec, key, ServiceIndex(0))).unwrap();
        self.list.insert(0, index);
        self.tell(Change::Added(0));
        host
    }

    pub(crate) fn remove(&mut self, host: u8) {
        let at = self.position(host);
        self.list.remove(at);
        self.tell(Change::Removed(at));
    }

    pub(crate) fn weigh(&mut self, host: u8, weight: u32) {
        let at = self.position(host);
        self.all.at_mut(self.list[at]).spec.weight = weight;
        self.tell(Change::Edited(at));
    }

    pub(crate) fn load(&mut self, host: u8, active: u32, inactive: u32) {
        let at = self.position(host);
        let d = self.all.at_mut(self.list[at]);
        (d.active, d.inactive) = (active, inactive);
    }

    pub(crate) fn pick(&mut self) -> Option<u8> {
        self.pick_at(Instant::ZERO)
    }

    pub(crate) fn pick_at(&mut self, now: Instant) -> Option<u8> {
        let flow = FlowKey::EMPTY;
        let request = Request { flow: &flow, now };
        let candidates = Candidates::new(&self.list, &self.all);
        let position = self.scheduler.pick(&candidates, &request)?;
        Some(host_of(candidates.at(position)))
    }

    pub(crate) fn picks(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.pick().unwrap()).collect()
    }

    fn position(&self, host: u8) -> usize {
        self.list.iter().position(|&i| host_of(self.all.at(i)) == host).unwrap()
    }

    fn tell(&mut self, change: Change) {
        self.scheduler.changed(&Candidates::new(&self.list, &self.all), change);
    }
}

fn host_of(d: &Destination) -> u8 {
    match d.addr().addr {
        IpAddr::V4(a) => a.octets()[3],
        IpAddr::V6(_) => unreachable!("the bench has IPv4 servers only"),
    }
}

#[test]
fn names_are_unique_and_documented() {
    let names: BTreeSet<_> = SCHEDULERS.iter().map(|info| info.name).collect();
    assert_eq!(names.len(), SCHEDULERS.len());
    assert!(SCHEDULERS.iter().all(|info| info.summary.ends_with('.')));
}

#[test]
fn no_scheduler_chooses_a_quiesced_or_full_server_or_panics() {
    for info in SCHEDULERS {
        let mut bench = Bench::new(info.name, &[]);
        assert_eq!(bench.pick(), None, "{}: empty list", info.name);
        bench.add(0);
        assert_eq!(bench.pick(), None, "{}: all quiesced", info.name);
        let full = bench.add(5);
        let at = bench.list[0];
        bench.all.at_mut(at).overloaded = true;
        assert_eq!(bench.pick(), None, "{}: full", info.name);
        bench.all.at_mut(at).overloaded = false;
        assert_eq!(bench.pick(), Some(full), "{}: open again", info.name);
        let huge = bench.add(u32::MAX);
        bench.load(huge, u32::MAX, u32::MAX);
        for _ in 0..9 {
            assert!(bench.pick().is_some(), "{}: extreme numbers", info.name);
        }
    }
}

#[test]
fn rr_starts_with_the_server_added_last() {
    assert_eq!(Bench::new("rr", &[1, 1, 1]).picks(5), [4, 3, 2, 4, 3]);
}

#[test]
fn rr_goes_on_behind_a_deleted_server_and_meets_a_new_one_when_it_wraps() {
    let mut bench = Bench::new("rr", &[1, 1, 1]);
    assert_eq!(bench.picks(2), [4, 3]);
    bench.remove(3);
    assert_eq!(bench.add(1), 5);
    assert_eq!(bench.picks(4), [2, 5, 4, 2]);
}

#[test]
fn wrr_gives_each_server_one_connection_before_the_heaviest_come_first() {
    // The service was filled one server at a time, so the first round has cw = 1 (rule S3).
    let mut bench = Bench::new("wrr", &[4, 2, 1]);
    assert_eq!(bench.picks(3), [4, 3, 2]);
    let round: Vec<u8> = bench.picks(7);
    assert_eq!(round, [2, 2, 3, 2, 4, 3, 2]);
}

#[test]
fn wrr_starts_its_round_anew_after_an_edit() {
    let mut bench = Bench::new("wrr", &[3, 1]);
    bench.picks(3);
    bench.weigh(3, 0);
    assert_eq!(bench.picks(3), [2, 2, 2]);
}

#[test]
fn wlc_compares_load_by_weight_and_gives_ties_to_the_newest() {
    let mut bench = Bench::new("wlc", &[4, 2]);
    assert_eq!(bench.pick(), Some(3));
    bench.load(3, 1, 0);
    assert_eq!(bench.pick(), Some(2));
    bench.load(2, 2, 0);
    assert_eq!(bench.pick(), Some(3), "equal: 1/2 and 2/4");
    bench.load(2, 0, 256);
    bench.load(3, 0, 127);
    assert_eq!(bench.pick(), Some(3), "256 inactive weigh as much as one active");
}

#[test]
fn lblc_forgets_at_a_half_hour_what_nobody_asked_for_since_lblc_expiration() {
    for (expiration, later, expected) in
        [(600, 1200, 2), (600, 1799, 2), (600, 1800, 3), (1500, 1800, 2), (1500, 3600, 3)]
    {
        let mut bench = Bench::new("lblc", &[9]);
        bench.scheduler.tune(&Tunables { lblc_expiration: expiration, ..Tunables::default() });
        assert_eq!(bench.pick_at(Instant::ZERO), Some(2));
        assert_eq!(bench.pick_at(Instant::from_secs(500)), Some(2));
        assert_eq!(bench.add(9), 3, "which a new choice would take");
        let picked = bench.pick_at(Instant::from_secs(later));
        assert_eq!(picked, Some(expected), "{expiration} s, after {later} s");
    }
}
