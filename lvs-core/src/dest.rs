//! Destinations: the real servers of each service, with their load.
//!
//! A destination outlives its place in a service: when it is deleted while connections or templates
//! still refer to it, it waits unlisted, and adding the same server again brings it back with its
//! counts (rules L1, L4, R9).
//!
//! Schedulers see them, as in [the manual's example](crate::manual::extending).

use alloc::vec;
use alloc::vec::Vec;

use crate::addr::Family;
use crate::command::{DestinationSpec, ForwardingMethod, ServiceKey};
use crate::flow::{Endpoint, Protocol};
use crate::ids::{DestIndex, FwMark, L4Port, ServiceIndex};
use crate::neighbor::NeighborIndex;
use crate::stats::Counters;
use crate::time::{Duration, Instant};

mod front;
mod masqueraded;
mod places;

pub(crate) use front::{Front, Trail};
use masqueraded::Masqueraded;
use places::Places;

/// How often unlisted destinations are looked at, as in the kernel (`IPVS.md` in the field's words: the
/// trash is checked each 60 s).
pub(crate) const UNLISTED_CHECK: Duration = Duration::from_secs(60);
/// How long an unlisted destination stays after its last connection, so that its counters may revive.
const UNLISTED_IDLE: Duration = Duration::from_secs(120);

/// Where packets to a destination go next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// No route leads there.
    Unreachable,
    /// The address is the director's own (rule F12).
    Local,
    /// Out of a port, to a neighbour.
    Via {
        /// The port.
        port: crate::ids::PortId,
        /// The neighbour on untagged links; where VLAN tags are kept it is looked up anew.
        neighbor: NeighborIndex,
    },
}

/// The least MTU that a report of an IPv4 path is believed (`min_pmtu`, 552 bytes).
const PATH_MTU_MIN_V4: u32 = 552;
/// The same for IPv6 (RFC 8201 §4).
const PATH_MTU_MIN_V6: u32 = 1280;
/// How long a reported path MTU is believed (`mtu_expires`, 10 minutes).
const PATH_MTU_LIFE: Duration = Duration::from_secs(600);

/// The MTU of the path to a real server, as routers on it reported (rule F5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PathMtu {
    mtu: u32,
    until: Instant,
    /// Whether a packet has been sent since the first report. The kernel's cached route knows the new
    /// MTU only from then on, and errors to clients speak of the route's.
    used: bool,
}

/// One real server of one virtual service.
#[derive(Clone, Debug)]
pub struct Destination {
    pub(crate) spec: DestinationSpec,
    pub(crate) service_key: ServiceKey,
    service: Option<ServiceIndex>,
    pub(crate) hop: Hop,
    /// What is known of the path beyond the first link; only tunnels look at it.
    pub(crate) path: Option<PathMtu>,
    pub(crate) active: u32,
    pub(crate) inactive: u32,
    pub(crate) persistent: u32,
    pub(crate) overloaded: bool,
    last_weight: u32,
    idle_since: Option<Instant>,
    /// Its service was deleted. A service added again is another one, for which it counts from zero.
    orphaned: bool,
    /// Whether the later of the kernel's rules count (`Tunables::compat`).
    newer: bool,
    /// It stands for a server of no service, to which a master's connections go.
    unbound: bool,
}

impl Destination {
    /// A listed destination without connections.
    pub(crate) fn new(
        spec: DestinationSpec,
        service_key: ServiceKey,
        service: ServiceIndex,
    ) -> Destination {
        Destination {
            spec,
            service_key,
            service: Some(service),
            hop: Hop::Unreachable,
            path: None,
            active: 0,
            inactive: 0,
            persistent: 0,
            overloaded: false,
            last_weight: spec.weight,
            idle_since: None,
            orphaned: false,
            newer: false,
            unbound: false,
        }
    }

    /// One that stands in no service's list, though connections refer to it.
    pub(crate) fn unlisted(spec: DestinationSpec, service_key: ServiceKey) -> Destination {
        Destination { service: None, ..Destination::new(spec, service_key, ServiceIndex(0)) }
    }

    /// One that no service has or had, for connections that a master of synchronisation announced.
    pub(crate) fn unbound(spec: DestinationSpec) -> Destination {
        // No service of the rules has mark 0.
        let family = Family::of(spec.addr.addr);
        let none = ServiceKey::Mark { mark: FwMark::NONE, family };
        Destination { unbound: true, ..Destination::unlisted(spec, none) }
    }

    /// Whether it is [`unbound`](Self::unbound).
    pub(crate) fn is_unbound(&self) -> bool {
        self.unbound
    }

    /// Address and port.
    pub fn addr(&self) -> Endpoint {
        self.spec.addr
    }

    /// Whether its service is one of IPv6; its own address may be of the other family.
    pub(crate) fn serves_v6(&self) -> bool {
        self.service_key.family() == Family::V6
    }

    /// The end that packets are masqueraded to: with the virtual port if the connection keeps its own.
    #[inline]
    pub(crate) fn server_end(&self, own_port: bool, virtual_port: L4Port) -> Endpoint {
        let Endpoint { addr, port } = self.spec.addr;
        Endpoint { addr, port: if own_port { virtual_port } else { port } }
    }

    /// The weight; 0 is quiesced.
    pub fn weight(&self) -> u32 {
        self.spec.weight
    }

    /// The last weight that was not 0; 0 if there was none (rule S11).
    pub fn last_weight(&self) -> u32 {
        self.last_weight
    }

    /// Connections in an active state (rule C4).
    pub fn active(&self) -> u32 {
        self.active
    }

    /// All other connections.
    pub fn inactive(&self) -> u32 {
        self.inactive
    }

    /// Whether it is full (rule S14) and takes no scheduled connection.
    pub fn overloaded(&self) -> bool {
        self.overloaded
    }

    /// The forwarding method that new connections get.
    pub fn method(&self) -> ForwardingMethod {
        self.spec.method
    }

    /// Whether a scheduler may choose it at all: neither quiesced nor full.
    pub fn is_eligible(&self) -> bool {
        self.spec.weight > 0 && !self.overloaded
    }

    /// The MTU for the next packet of a tunnel to here.
    #[inline]
    pub(crate) fn path_mtu(&mut self, link: u32, now: Instant) -> u32 {
        match &mut self.path {
            None => link,
            Some(path) if path.until <= now => {
                self.path = None;
                link
            }
            Some(path) => {
                path.used = true;
                path.mtu.min(link)
            }
        }
    }

    /// Notes what a router on the way here reported, and returns the MTU that a client is told of: the
    /// one that packets have seen so far (rule F5). A report never raises the MTU.
    pub(crate) fn note_path_mtu(&mut self, mtu: u32, link: u32, now: Instant) -> u32 {
        let least = if self.spec.addr.addr.is_ipv4() { PATH_MTU_MIN_V4 } else { PATH_MTU_MIN_V6 };
        let known = self.path.filter(|path| path.until > now);
        let before = known.map_or(link, |path| path.mtu.min(link));
        let mtu = mtu.max(least);
        if mtu < before {
            let used = known.is_some_and(|path| path.used);
            self.path = Some(PathMtu { mtu, until: now + PATH_MTU_LIFE, used });
        }
        match self.path {
            Some(path) if path.used => path.mtu.min(link),
            _ => link,
        }
    }

    /// Remembers what depends on the past: whether it is full, and its last weight that was not 0. Returns
    /// whether that weight is another now.
    pub(crate) fn recall(&mut self, overloaded: bool, last_weight: u32) -> bool {
        self.overloaded = overloaded && self.spec.upper_threshold != 0;
        let before = self.last_weight;
        if self.spec.weight == 0 {
            self.last_weight = last_weight;
        }
        self.last_weight != before
    }

    /// Whether it stands in a service's list.
    pub(crate) fn is_listed(&self) -> bool {
        self.service.is_some()
    }

    /// Connections and templates that refer to it.
    fn references(&self) -> u64 {
        u64::from(self.active) + u64::from(self.inactive) + u64::from(self.persistent)
    }

    /// A connection begins; every one begins inactive, its first packet may make it active.
    pub(crate) fn connection_begins(&mut self) {
        self.inactive += 1;
        self.mark_if_full();
    }

    /// A template begins.
    pub(crate) fn template_begins(&mut self) {
        self.persistent += 1;
        self.mark_if_full();
    }

    /// A connection ends.
    pub(crate) fn connection_ends(&mut self, active: bool) {
        let count = if active { &mut self.active } else { &mut self.inactive };
        debug_assert!(*count > 0, "a connection that ends was counted");
        *count = count.saturating_sub(1);
        self.open_if_emptied();
    }

    /// A template ends.
    pub(crate) fn template_ends(&mut self) {
        debug_assert!(self.persistent > 0, "a template that ends was counted");
        self.persistent = self.persistent.saturating_sub(1);
        self.open_if_emptied();
    }

    /// A connection's state moves between active and inactive.
    pub(crate) fn connection_moves(&mut self, to_active: bool) {
        if to_active {
            self.inactive = self.inactive.saturating_sub(1);
            self.active += 1;
        } else {
            self.active = self.active.saturating_sub(1);
            self.inactive += 1;
        }
    }

    /// Takes over weight, method and thresholds. A raised or absent upper threshold opens a full server
    /// at once; a lowered one is only looked at with the next connection (rule S14).
    pub(crate) fn edit(&mut self, spec: DestinationSpec) {
        if spec.upper_threshold == 0 || spec.upper_threshold > self.spec.upper_threshold {
            self.overloaded = false;
        }
        if spec.weight > 0 {
            self.last_weight = spec.weight;
        }
        self.spec = spec;
        if self.newer {
            self.open_if_emptied();
            self.mark_if_full();
        }
    }

    /// The load that lc, wlc and their relatives compare: an active connection weighs 256 inactive ones
    /// (rule S4), 257 by the later rules.
    pub(crate) fn load(&self) -> u64 {
        let active = u64::from(self.active);
        let once_more = if self.newer { active } else { 0 };
        (active << 8) + u64::from(self.inactive) + once_more
    }

    fn connections(&self) -> u64 {
        u64::from(self.active) + u64::from(self.inactive)
    }

    fn mark_if_full(&mut self) {
        let upper = u64::from(self.spec.upper_threshold);
        if upper != 0 && self.connections() >= upper {
            self.overloaded = true;
        }
    }

    fn open_if_emptied(&mut self) {
        let (upper, lower) =
            (u64::from(self.spec.upper_threshold), u64::from(self.spec.lower_threshold));
        let connections = self.connections();
        let open = if lower != 0 {
            connections < lower
        } else {
            upper == 0 || connections * 4 < upper * 3
        };
        if open {
            self.overloaded = false;
        }
    }
}

/// All destinations, listed and unlisted, at fixed places.
#[derive(Debug)]
pub struct Destinations {
    slots: Vec<Option<Destination>>,
    fronts: Vec<Front>,
    free: Vec<u32>,
    /// Places that have ever been in use are those before this one.
    used: usize,
    places: Places,
    masqueraded: Masqueraded,
    newer: bool,
}

impl Destinations {
    pub(crate) fn new(capacity: u32) -> Destinations {
        let free = (0..capacity).rev().collect();
        let slots = (0..capacity).map(|_| None).collect();
        let (fronts, masqueraded) =
            (vec![Front::EMPTY; capacity as usize], Masqueraded::new(capacity));
        Destinations {
            slots,
            fronts,
            free,
            used: 0,
            places: Places::new(capacity),
            masqueraded,
            newer: false,
        }
    }

    /// Bytes that a table of this capacity takes.
    pub(crate) fn memory(capacity: u32) -> usize {
        let each = size_of::<Option<Destination>>() + size_of::<Front>() + size_of::<u32>();
        capacity as usize * each + Masqueraded::memory(capacity) + Places::memory(capacity)
    }

    /// Puts a destination in a free place; `None` if there is none.
    pub(crate) fn insert(&mut self, destination: Destination) -> Option<DestIndex> {
        if self.free.is_empty() {
            self.reclaim_idle();
        }
        let index = self.free.pop()?;
        self.used = self.used.max(index as usize + 1);
        self.places.add(&destination.service_key, destination.addr(), index);
        self.fronts[index as usize] = Front::EMPTY;
        self.fronts[index as usize].set_service(destination.service);
        self.masqueraded.add(&destination, DestIndex(index), None);
        self.slots[index as usize] = Some(Destination { newer: self.newer, ..destination });
        Some(DestIndex(index))
    }

    /// Chooses between the earlier and the later of the kernel's rules.
    pub(crate) fn follow_newer(&mut self, newer: bool) {
        self.newer = newer;
        self.iter_mut().for_each(|(_, d)| d.newer = newer);
    }

    /// The destination at a place that is in use.
    pub(crate) fn at(&self, index: DestIndex) -> &Destination {
        self.slots[index.index()].as_ref().expect("INVARIANT: an index in use names a destination")
    }

    /// Whether a place holds the destination of that service with that address.
    pub(crate) fn is(&self, index: DestIndex, key: ServiceKey, addr: Endpoint) -> bool {
        let at = self.slots.get(index.index()).and_then(|slot| slot.as_ref());
        at.is_some_and(|d| d.service_key == key && d.spec.addr == addr)
    }

    /// Whether a place holds the unbound destination with that address.
    pub(crate) fn is_unbound_to(&self, index: DestIndex, addr: Endpoint) -> bool {
        let at = self.slots.get(index.index()).and_then(|slot| slot.as_ref());
        at.is_some_and(|d| d.unbound && d.spec.addr == addr)
    }

    /// The first place at `from` or behind whose destination is of a service and is listed or has connections or templates.
    pub(crate) fn next_from(&self, from: u32) -> Option<DestIndex> {
        let slots = self.slots[..self.used].iter().enumerate().skip(from as usize);
        let mut in_use = slots.filter_map(|(i, slot)| Some((i, slot.as_ref()?)));
        let found = in_use.find(|(_, d)| !d.unbound && (d.is_listed() || d.references() > 0));
        found.map(|(i, _)| DestIndex(i as u32))
    }

    /// The destination at a place that is in use.
    pub(crate) fn at_mut(&mut self, index: DestIndex) -> &mut Destination {
        self.slots[index.index()].as_mut().expect("INVARIANT: an index in use names a destination")
    }

    /// What packets need of the destination at a place.
    #[inline]
    pub(crate) fn front(&self, index: DestIndex) -> &Front {
        &self.fronts[index.index()]
    }

    /// What packets need of the destination at a place.
    #[inline]
    pub(crate) fn front_mut(&mut self, index: DestIndex) -> &mut Front {
        &mut self.fronts[index.index()]
    }

    /// All places in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DestIndex, &Destination)> {
        self.slots[..self.used]
            .iter()
            .enumerate()
            .filter_map(|(i, slot)| slot.as_ref().map(|d| (DestIndex(i as u32), d)))
    }

    /// All places in use.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (DestIndex, &mut Destination)> {
        self.slots[..self.used]
            .iter_mut()
            .enumerate()
            .filter_map(|(i, slot)| slot.as_mut().map(|d| (DestIndex(i as u32), d)))
    }

    /// The destination of the service `key` with that address, listed or not.
    pub(crate) fn find(&self, key: &ServiceKey, addr: Endpoint) -> Option<DestIndex> {
        let mut candidates = self.places.of(key, addr).map(DestIndex);
        candidates.find(|&index| self.is(index, *key, addr))
    }

    /// The unlisted destination that adding `addr` to the service `key` brings back.
    pub(crate) fn find_unlisted(&self, key: &ServiceKey, addr: Endpoint) -> Option<DestIndex> {
        self.find(key, addr).filter(|&index| !self.at(index).is_listed())
    }

    /// Takes a destination out of its service.
    pub(crate) fn unlist(&mut self, index: DestIndex) {
        if let Some(destination) = &self.slots[index.index()] {
            self.masqueraded.remove(destination, index);
        }
        let destination = self.at_mut(index);
        destination.service = None;
        destination.idle_since = None;
        self.front_mut(index).set_service(None);
    }

    /// Tells the destinations of services, those too that were unlisted before, that these were deleted.
    /// `keys` are in order.
    pub(crate) fn orphan(&mut self, keys: &[ServiceKey]) {
        let unlisted = self.iter_mut().filter(|(_, d)| !d.orphaned && !d.is_listed());
        let theirs = unlisted.filter(|(_, d)| keys.binary_search(&d.service_key).is_ok());
        theirs.for_each(|(_, d)| d.orphaned = true);
    }

    /// Puts an unlisted destination back into its service, with the connection counts it had, and, unless
    /// the service is a new one, with its counters (rule L4). Its last weight is forgotten (rule S11).
    pub(crate) fn relist(&mut self, index: DestIndex, service: ServiceIndex) {
        let destination = self.at_mut(index);
        destination.service = Some(service);
        destination.last_weight = 0;
        let orphaned = core::mem::take(&mut destination.orphaned);
        let front = self.front_mut(index);
        front.set_service(Some(service));
        if orphaned {
            front.counters = Front::EMPTY.counters;
        }
        if let Some(destination) = &self.slots[index.index()] {
            self.masqueraded.add(destination, index, None);
        }
    }

    /// Takes over what a command says about a destination.
    pub(crate) fn edit(&mut self, index: DestIndex, spec: DestinationSpec) {
        if let Some(destination) = &mut self.slots[index.index()] {
            let since = self.masqueraded.remove(destination, index);
            destination.edit(spec);
            self.masqueraded.add(destination, index, since);
        }
    }

    /// Whether packets of this protocol from `end` are those of a listed, masqueraded destination.
    pub(crate) fn masquerades_to(&self, end: Endpoint, protocol: Protocol) -> bool {
        self.masqueraded.contains(end, protocol)
    }

    /// Of the listed, masqueraded destinations that packets of this protocol from `end` are those of, the one
    /// that was masqueraded last.
    pub(crate) fn newest_masqueraded(
        &self,
        end: Endpoint,
        protocol: Protocol,
    ) -> Option<DestIndex> {
        self.masqueraded.newest(end, protocol)
    }

    /// What a destination counted; for one that is not listed, what it would go on from (rule L1).
    pub(crate) fn counters_if_added_again(&self, index: DestIndex) -> Counters {
        if self.at(index).orphaned { Front::EMPTY.counters } else { self.front(index).counters }
    }

    /// The regular look at unlisted destinations: one without connections is noted at one look and
    /// freed at the first look 120 s later. Returns whether any is left.
    pub(crate) fn check_unlisted(&mut self, now: Instant) -> bool {
        let mut left = false;
        for index in 0..self.used {
            let Some(d) = &mut self.slots[index] else { continue };
            if d.is_listed() {
                continue;
            }
            left = true;
            if d.references() > 0 {
                d.idle_since = None;
                continue;
            }
            match d.idle_since {
                None => d.idle_since = Some(now),
                Some(since) if now.saturating_since(since) >= UNLISTED_IDLE => {
                    self.release(index);
                }
                Some(_) => {}
            }
        }
        left
    }

    /// Forgets unbound destinations that nothing refers to.
    pub(crate) fn forget_idle_unbound(&mut self) {
        self.reclaim(|d| d.unbound && d.references() == 0);
    }

    fn reclaim_idle(&mut self) {
        self.reclaim(|d| !d.is_listed() && d.references() == 0);
    }

    fn reclaim(&mut self, idle: impl Fn(&Destination) -> bool) {
        for index in 0..self.used {
            if self.slots[index].as_ref().is_some_and(&idle) {
                self.release(index);
            }
        }
    }

    /// Makes a place free again.
    fn release(&mut self, index: usize) {
        if let Some(d) = self.slots[index].take() {
            self.places.remove(&d.service_key, d.spec.addr, index as u32);
            self.free.push(index as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::ids::FwMark;

    fn destination(upper: u32, lower: u32) -> Destination {
        let addr = Endpoint::new(IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2)), 80);
        let mut spec = DestinationSpec::new(addr);
        spec.upper_threshold = upper;
        spec.lower_threshold = lower;
        let key = ServiceKey::Mark { mark: FwMark(1), family: Family::V4 };
        Destination::new(spec, key, ServiceIndex(0))
    }

    #[test]
    fn full_at_the_upper_threshold_and_open_below_the_lower_one() {
        let mut d = destination(3, 2);
        for _ in 0..3 {
            d.connection_begins();
        }
        assert!(d.overloaded());
        d.connection_ends(false);
        assert!(d.overloaded(), "2 is not below 2");
        d.connection_ends(false);
        assert!(!d.overloaded());
    }

    #[test]
    fn without_a_lower_threshold_open_below_three_quarters() {
        let mut d = destination(4, 0);
        for _ in 0..4 {
            d.connection_begins();
        }
        d.connection_ends(false);
        assert!(d.overloaded(), "3 is not below 3");
        d.connection_ends(false);
        assert!(!d.overloaded());
    }

    #[test]
    fn lowering_the_threshold_waits_for_the_next_connection() {
        let mut d = destination(4, 0);
        d.connection_begins();
        d.connection_begins();
        d.edit(DestinationSpec { upper_threshold: 1, ..d.spec });
        assert!(!d.overloaded());
        d.connection_begins();
        assert!(d.overloaded());
        d.edit(DestinationSpec { upper_threshold: 9, ..d.spec });
        assert!(!d.overloaded());
    }

    #[test]
    fn counters_revive_in_the_same_service_and_begin_anew_in_another() {
        let mut all = Destinations::new(1);
        let index = all.insert(destination(0, 0)).unwrap();
        let key = all.at(index).service_key;
        all.front_mut(index).counters.packets_in = 3;
        all.unlist(index);
        all.relist(index, ServiceIndex(0));
        assert_eq!(all.front(index).counters.packets_in, 3);
        all.unlist(index);
        all.orphan(&[key]);
        all.relist(index, ServiceIndex(0));
        assert_eq!(all.front(index).counters.packets_in, 0);
    }

    #[test]
    fn by_the_later_rules_an_edit_opens_and_closes_at_once_and_active_connections_weigh_more() {
        let mut all = Destinations::new(1);
        all.follow_newer(true);
        let index = all.insert(destination(4, 0)).unwrap();
        let d = all.at_mut(index);
        d.connection_begins();
        d.connection_begins();
        d.connection_moves(true);
        assert_eq!(d.load(), 256 + 1 + 1);
        d.edit(DestinationSpec { upper_threshold: 2, ..d.spec });
        assert!(d.overloaded());
        d.edit(DestinationSpec { upper_threshold: 2, lower_threshold: 2, ..d.spec });
        assert!(d.overloaded(), "2 is not below 2");
        d.edit(DestinationSpec { upper_threshold: 3, ..d.spec });
        assert!(!d.overloaded());
        all.follow_newer(false);
        assert_eq!(all.at(index).load(), 256 + 1);
    }

    #[test]
    fn an_unlisted_destination_is_freed_two_looks_after_its_last_connection() {
        let mut all = Destinations::new(1);
        let index = all.insert(destination(0, 0)).unwrap();
        all.at_mut(index).connection_begins();
        all.unlist(index);
        assert!(all.check_unlisted(Instant::from_secs(60)));
        all.at_mut(index).connection_ends(false);
        assert!(all.check_unlisted(Instant::from_secs(120)));
        assert!(all.check_unlisted(Instant::from_secs(180)));
        all.check_unlisted(Instant::from_secs(240));
        assert_eq!(all.iter().count(), 0);
    }
}
