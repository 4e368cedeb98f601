//! Commands: the only way the configuration changes, between bursts.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::announce::check_tunables;
use super::{Director, Link};
use crate::addr::Family;
use crate::command::{
    ApplyError, Command, DestinationSpec, ForwardingMethod, MarkRule, PortSpec, RouteSpec,
    ServiceKey, ServiceSpec, Tunables,
};
use crate::dest::{Destination, Hop, UNLISTED_CHECK};
use crate::engine::Engine;
use crate::flow::Endpoint;
use crate::ids::{ConnId, DestIndex, ServiceIndex};
use crate::sched::{Candidates, Change, SchedulerInfo};
use crate::service::Service;
use crate::stats::Counters;
use crate::time::Instant;
use crate::wire::ethernet::VlanTags;

impl Director {
    /// Carries out a command at `now`.
    ///
    /// # Errors
    /// If it is refused; then nothing has changed.
    pub fn apply(&mut self, now: Instant, command: Command) -> Result<(), ApplyError> {
        self.advance(now);
        self.settle();
        self.commands = self.commands.wrapping_add(1);
        match command {
            Command::AddService(spec) => self.add_service(spec),
            Command::EditService(spec) => self.edit_service(spec),
            Command::DeleteService(key) => self.delete_service(&key),
            Command::Clear => {
                let all: Vec<ServiceIndex> = self.services.iter().map(|(index, _)| index).collect();
                self.together(|director| {
                    all.into_iter().for_each(|index| director.remove_service(index));
                });
                Ok(())
            }
            Command::AddDestination(key, spec) => self.add_destination(key, spec),
            Command::EditDestination(key, spec) => self.edit_destination(key, spec),
            Command::DeleteDestination(key, addr) => self.delete_destination(&key, addr),
            Command::Zero(key) => self.zero(key),
            Command::SetTimeouts(spec) => {
                if !self.make_room_for_timeouts() {
                    return Err(ApplyError::Limit("of timeouts in use"));
                }
                self.lifetimes.apply(&mut self.timeouts, spec);
                Ok(())
            }
            Command::SetTunables(tunables) => self.set_tunables(tunables),
            Command::SetSyncRoles(roles) => {
                self.set_sync_roles(roles);
                Ok(())
            }
            Command::SetIcmpPacing(pacing) => {
                self.pacer.set(pacing);
                Ok(())
            }
            Command::SetNeighborhood(neighborhood) => {
                self.neighborhood = neighborhood;
                self.next_probe = neighborhood.probe_virtual.map(|_| self.now);
                Ok(())
            }
            Command::SetMarkRules(rules) => self.set_mark_rules(rules),
            Command::SetMssLimits(limits) => self.set_mss_limits(limits),
            Command::DeliverMarked(marks) => {
                self.delivered_marks = marks;
                Ok(())
            }
            Command::SetPort(spec) => self.set_port(spec),
            Command::SetRoutes(routes) => self.set_routes(routes),
            Command::AddLocal { addr, answer } => self.add_local(addr, answer),
            Command::RemoveLocal(addr) => {
                let was = self.locals.remove(addr);
                self.resolve_hops();
                if was { Ok(()) } else { Err(ApplyError::BadAddress(addr)) }
            }
            Command::SetNeighbor { port, addr, mac } => {
                self.link(port).ok_or(ApplyError::NoSuchPort(port))?;
                let neighbor = self.neighbors.find_or_add(port, &VlanTags::NONE, addr);
                let neighbor = neighbor.ok_or(ApplyError::Limit("neighbors_max"))?;
                self.neighbors.set_permanent(neighbor, mac);
                Ok(())
            }
        }
    }

    /// Makes a scheduler of the embedding program's own known under its name, so that services may be
    /// added with it. `examples/custom-scheduler` does so.
    ///
    /// ```
    /// use lvs_core::director::Director;
    /// use lvs_core::limits::Limits;
    /// use lvs_core::sched::{Candidates, Request, Schedule, SchedulerInfo};
    ///
    /// #[derive(Debug)]
    /// struct Newest;
    /// impl Schedule for Newest {
    ///     fn pick(&mut self, candidates: &Candidates<'_>, _: &Request<'_>) -> Option<usize> {
    ///         candidates.iter().find(|(_, d)| d.is_eligible()).map(|(position, _)| position)
    ///     }
    /// }
    /// let summary = "The server added last.";
    /// let info = SchedulerInfo { name: "newest", summary, make: |_, _| Box::new(Newest) };
    /// let mut director = Director::new(Limits::small(), [1, 2])?;
    /// director.register_scheduler(info)?;
    /// assert!(director.register_scheduler(info).is_err(), "a name is given once");
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ApplyError::SchedulerExists`] if there is one of that name; those of
    /// [`SCHEDULERS`](crate::sched::SCHEDULERS) are there from the start.
    pub fn register_scheduler(&mut self, info: SchedulerInfo) -> Result<(), ApplyError> {
        if self.scheduler(info.name).is_ok() {
            return Err(ApplyError::SchedulerExists(info.name));
        }
        self.schedulers.push(info);
        Ok(())
    }

    /// Every scheduler that services may be added with.
    pub fn schedulers(&self) -> &[SchedulerInfo] {
        &self.schedulers
    }

    fn set_tunables(&mut self, tunables: Tunables) -> Result<(), ApplyError> {
        check_tunables(&tunables)?;
        self.tunables = tunables;
        self.dests.follow_newer(tunables.compat != 0);
        self.services.iter_mut().for_each(|service| service.scheduler.tune(&tunables));
        self.run_estimation(tunables.run_estimation);
        self.review_defense();
        self.review_sync();
        Ok(())
    }

    fn scheduler(&self, name: &str) -> Result<SchedulerInfo, ApplyError> {
        let known = self.schedulers.iter().find(|info| info.name == name);
        known.copied().ok_or(ApplyError::NoSuchScheduler)
    }

    /// The persistence engine that a service names.
    fn engine(&self, spec: &ServiceSpec) -> Result<Option<Engine>, ApplyError> {
        let Some(name) = &spec.engine else { return Ok(None) };
        let engine = Engine::of_name(name).filter(|_| self.limits.engine_templates_max > 0);
        engine.map(Some).ok_or(ApplyError::NoSuchEngine)
    }

    fn add_service(&mut self, spec: ServiceSpec) -> Result<(), ApplyError> {
        if self.services.by_key(&spec.key).is_some() {
            return Err(ApplyError::ServiceExists);
        }
        self.catch_up();
        let info = self.scheduler(&spec.scheduler)?;
        let engine = self.engine(&spec)?;
        let mut scheduler = (info.make)(spec.flags, &Candidates::new(&[], &self.dests));
        scheduler.tune(&self.tunables);
        let service = Service { spec, list: Vec::new(), scheduler, engine };
        let index = self.services.insert(service).ok_or(ApplyError::Limit("services_max"))?;
        self.service_counts_anew(index);
        Ok(())
    }

    /// `-E` sets everything (rule L6); a scheduler that stays the same keeps its place.
    fn edit_service(&mut self, spec: ServiceSpec) -> Result<(), ApplyError> {
        let index = self.services.by_key(&spec.key).ok_or(ApplyError::NoSuchService)?;
        let info = self.scheduler(&spec.scheduler)?;
        let engine = self.engine(&spec)?;
        self.services.set_engine(index, engine);
        let service = self.services.at_mut(index);
        if service.spec.scheduler != spec.scheduler || service.spec.flags != spec.flags {
            service.scheduler =
                (info.make)(spec.flags, &Candidates::new(&service.list, &self.dests));
            service.scheduler.tune(&self.tunables);
        }
        service.spec = spec;
        Ok(())
    }

    fn delete_service(&mut self, key: &ServiceKey) -> Result<(), ApplyError> {
        let index = self.services.by_key(key).ok_or(ApplyError::NoSuchService)?;
        self.remove_service(index);
        Ok(())
    }

    fn remove_service(&mut self, index: ServiceIndex) {
        let Some(service) = self.services.remove(index) else { return };
        for destination in service.list {
            self.unlist(destination);
        }
        self.service_went(service.spec.key);
    }

    fn add_destination(
        &mut self,
        key: ServiceKey,
        mut spec: DestinationSpec,
    ) -> Result<(), ApplyError> {
        let service = self.services.by_key(&key).ok_or(ApplyError::ServiceNotDefined)?;
        check_destination(&key, &mut spec)?;
        let known = self.dests.find(&key, spec.addr);
        if known.is_some_and(|index| self.dests.at(index).is_listed()) {
            return Err(ApplyError::DestinationExists);
        }
        if !self.is_unicast(spec.addr.addr) {
            return Err(ApplyError::NotUnicast);
        }
        let index = match known {
            Some(index) => {
                self.dests.relist(index, service);
                self.dests.edit(index, spec);
                index
            }
            None => {
                let new = Destination::new(spec, key, service);
                self.dests.insert(new).ok_or(ApplyError::Limit("destinations_max"))?
            }
        };
        if self.dests.front(index).counters == Counters::default() {
            self.server_counts_anew(index);
        }
        self.resolve_hop(index);
        self.services.at_mut(service).list.insert(0, index);
        self.tell_scheduler(service, Change::Added(0));
        Ok(())
    }

    fn edit_destination(
        &mut self,
        key: ServiceKey,
        mut spec: DestinationSpec,
    ) -> Result<(), ApplyError> {
        let service = self.services.by_key(&key).ok_or(ApplyError::ServiceNotDefined)?;
        check_destination(&key, &mut spec)?;
        let position = self.listed(service, spec.addr).ok_or(ApplyError::NoSuchDestination)?;
        let index = self.services.at(service).list[position];
        self.dests.edit(index, spec);
        self.tell_scheduler(service, Change::Edited(position));
        Ok(())
    }

    fn delete_destination(&mut self, key: &ServiceKey, addr: Endpoint) -> Result<(), ApplyError> {
        let service = self.services.by_key(key).ok_or(ApplyError::ServiceNotDefined)?;
        let position = self.listed(service, addr).ok_or(ApplyError::NoSuchDestination)?;
        let index = self.services.at_mut(service).list.remove(position);
        self.unlist(index);
        self.tell_scheduler(service, Change::Removed(position));
        self.servers_went();
        Ok(())
    }

    fn zero(&mut self, key: Option<ServiceKey>) -> Result<(), ApplyError> {
        match key {
            Some(key) => self.zero_one(&key).ok_or(ApplyError::NoSuchService),
            None => {
                self.zero_all();
                Ok(())
            }
        }
    }

    fn set_mark_rules(&mut self, rules: Vec<MarkRule>) -> Result<(), ApplyError> {
        if rules.len() > self.limits.mark_rules_max as usize {
            return Err(ApplyError::Limit("mark_rules_max"));
        }
        self.marks.set(rules);
        Ok(())
    }

    fn set_port(&mut self, spec: PortSpec) -> Result<(), ApplyError> {
        let id = spec.id;
        if id.index() >= self.links.len() {
            return Err(ApplyError::Limit("ports_max"));
        }
        if spec.addresses.len() > self.locals.room() {
            return Err(ApplyError::Limit("local_addresses_max"));
        }
        self.links[id.index()] = Some(Link::new(spec.mac, spec.mtu));
        for prefix in &spec.addresses {
            self.locals.add_own(prefix.addr());
        }
        if let Some(old) = self.routes.set_port(spec) {
            old.addresses.iter().for_each(|prefix| self.locals.remove_own(prefix.addr()));
        }
        self.resolve_hops();
        let answered: Vec<IpAddr> =
            self.locals.iter().filter(|local| local.answer).map(|local| local.addr).collect();
        answered.into_iter().for_each(|addr| self.announce(addr));
        Ok(())
    }

    fn set_routes(&mut self, routes: Vec<RouteSpec>) -> Result<(), ApplyError> {
        if routes.len() > self.limits.routes_max as usize {
            return Err(ApplyError::Limit("routes_max"));
        }
        for route in &routes {
            if let Some(port) = route.port {
                self.link(port).ok_or(ApplyError::NoSuchPort(port))?;
            }
            if let Some(via) =
                route.via.filter(|via| Family::of(*via) != Family::of(route.prefix.addr()))
            {
                return Err(ApplyError::BadAddress(via));
            }
        }
        self.routes.set_routes(routes);
        self.resolve_hops();
        Ok(())
    }

    fn add_local(&mut self, addr: IpAddr, answer: bool) -> Result<(), ApplyError> {
        if addr.is_multicast() || addr.is_unspecified() {
            return Err(ApplyError::BadAddress(addr));
        }
        if !self.locals.add(addr, answer) {
            return Err(ApplyError::Limit("local_addresses_max"));
        }
        self.resolve_hops();
        if answer {
            self.announce(addr);
        }
        if self.neighborhood.probe_virtual.is_some() {
            self.next_probe = Some(self.now);
        }
        Ok(())
    }

    /// The position of a destination in its service's list.
    pub(super) fn listed(&self, service: ServiceIndex, addr: Endpoint) -> Option<usize> {
        let Service { spec, list, .. } = self.services.at(service);
        let found = self.dests.find(&spec.key, addr)?;
        list.iter().position(|&index| index == found)
    }

    pub(super) fn unlist(&mut self, index: DestIndex) {
        self.dests.unlist(index);
        self.reclaimed_in_vain = None;
        if self.next_unlisted_check.is_none() {
            self.next_unlisted_check = Some(self.now + UNLISTED_CHECK);
        }
    }

    /// Forgets timeouts that nobody has any more, if there are many; tells whether there is room for those
    /// of a command.
    fn make_room_for_timeouts(&mut self) -> bool {
        const ROOM: usize = 8;
        let most = usize::from(super::TIMEOUTS_MAX) - ROOM;
        if self.timeouts.len() >= most {
            self.forget_timeouts();
        }
        self.timeouts.len() < most
    }

    /// Forgets timeouts that nobody has any more.
    pub(super) fn forget_timeouts(&mut self) {
        let (conns, mut from) = (&self.conns, 0);
        let live = core::iter::from_fn(|| {
            let id: ConnId = conns.next_live(from)?;
            from = id.0 + 1;
            Some(conns.hot(id).timeout_index())
        });
        self.timeouts.collect(live.chain(self.lifetimes.in_use()));
    }

    /// Finds the way to every destination anew.
    fn resolve_hops(&mut self) {
        let used = self.dests.iter().filter(|(_, d)| d.is_listed() || d.is_unbound());
        let used: Vec<DestIndex> = used.map(|(index, _)| index).collect();
        used.into_iter().for_each(|index| self.resolve_hop(index));
    }

    fn resolve_hop(&mut self, index: DestIndex) {
        let addr = self.dests.at(index).addr().addr;
        let hop = self.hop_to(addr);
        self.dests.at_mut(index).hop = hop;
        if let Hop::Via { neighbor, .. } = hop
            && self.neighborhood.resolve_ahead
            && self.neighbors.want(neighbor, self.now)
        {
            self.ask(neighbor);
        }
    }

    pub(super) fn hop_to(&mut self, addr: IpAddr) -> Hop {
        if addr.is_loopback() || self.locals.find(addr).is_some() {
            return Hop::Local;
        }
        let Some((port, next)) = self.routes.towards(addr) else { return Hop::Unreachable };
        let mut found = self.neighbors.find_or_add(port, &VlanTags::NONE, next);
        if found.is_none() && self.reclaimed_in_vain != Some(self.now) {
            let in_vain = self.reclaim_neighbors();
            self.reclaimed_in_vain = in_vain.then_some(self.now);
            found = self.neighbors.find_or_add(port, &VlanTags::NONE, next);
        }
        match found {
            Some(neighbor) => Hop::Via { port, neighbor },
            None => Hop::Unreachable,
        }
    }

    /// Whether an address may be a real server's: no group, no broadcast of a port's subnet.
    fn is_unicast(&self, addr: IpAddr) -> bool {
        if addr.is_multicast() || addr.is_unspecified() {
            return false;
        }
        let v4 = match addr {
            IpAddr::V4(v4) => v4,
            // A link-local address is only good on its link, and which one that is nothing tells.
            IpAddr::V6(v6) => {
                return !v6.is_unicast_link_local() || self.locals.find(addr).is_some();
            }
        };
        let is_broadcast_of = |prefix: &crate::addr::Prefix| {
            let host_bits = u32::MAX.checked_shr(u32::from(prefix.len())).unwrap_or(0);
            prefix.len() < 31 && prefix.contains(addr) && v4.to_bits() & host_bits == host_bits
        };
        !v4.is_broadcast()
            && !self.routes.ports().iter().flat_map(|port| &port.addresses).any(is_broadcast_of)
    }
}

/// Checks what the kernel checks, and gives DR and TUN servers the port of a service that has one
/// (rule L9).
fn check_destination(key: &ServiceKey, spec: &mut DestinationSpec) -> Result<(), ApplyError> {
    if spec.lower_threshold > spec.upper_threshold {
        return Err(ApplyError::ThresholdRange);
    }
    let tunnel = matches!(spec.method, ForwardingMethod::Tunnel(_));
    if key.family() != Family::of(spec.addr.addr) && !tunnel {
        return Err(ApplyError::OtherFamily);
    }
    if let (ServiceKey::Address { virt, .. }, true) =
        (key, spec.method != ForwardingMethod::Masquerade)
    {
        spec.addr.port = virt.port;
    }
    Ok(())
}
