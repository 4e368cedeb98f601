//! Ports as the outside world sees them, and the small table of routes to real servers.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::addr::Family;
use crate::command::{PortSpec, RouteSpec};
use crate::ids::PortId;

/// Ports and routes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    ports: Vec<PortSpec>,
    set: Vec<RouteSpec>,
}

impl Routes {
    pub(crate) fn port(&self, id: PortId) -> Option<&PortSpec> {
        self.ports.iter().find(|port| port.id == id)
    }

    pub(crate) fn ports(&self) -> &[PortSpec] {
        &self.ports
    }

    /// Adds a port or replaces it; returns what it was.
    pub(crate) fn set_port(&mut self, port: PortSpec) -> Option<PortSpec> {
        match self.ports.iter_mut().find(|p| p.id == port.id) {
            Some(place) => Some(core::mem::replace(place, port)),
            None => {
                self.ports.push(port);
                self.ports.sort_by_key(|p| p.id);
                None
            }
        }
    }

    pub(crate) fn set_routes(&mut self, routes: Vec<RouteSpec>) {
        self.set = routes;
    }

    /// The port towards `addr` and the address of the next hop: the longest matching prefix among the
    /// ports' subnets and the routes; between equals a port's own subnet wins.
    pub(crate) fn towards(&self, addr: IpAddr) -> Option<(PortId, IpAddr)> {
        let own = self.ports.iter().flat_map(|port| {
            port.addresses.iter().map(move |prefix| (*prefix, Some(port.id), None::<IpAddr>))
        });
        let set = self.set.iter().map(|route| (route.prefix, route.port, route.via));
        let mut best: Option<(u8, Option<PortId>, Option<IpAddr>)> = None;
        for (prefix, port, via) in own.chain(set) {
            // An interface's own /32 leads nowhere but to itself, which is local.
            if prefix.contains(addr) && best.is_none_or(|(len, ..)| prefix.len() > len) {
                best = Some((prefix.len(), port, via));
            }
        }
        let (_, port, via) = best?;
        Some((port?, via.unwrap_or(addr)))
    }

    /// Whether an address is one of the ports' own.
    pub(crate) fn is_own(&self, addr: IpAddr) -> bool {
        self.ports.iter().flat_map(|port| &port.addresses).any(|prefix| prefix.addr() == addr)
    }

    /// The director's own address on a port for talking to `peer`: one in the peer's subnet, else the
    /// first of the family.
    pub(crate) fn own_address(&self, port: PortId, peer: IpAddr) -> Option<IpAddr> {
        let port = self.port(port)?;
        let of_family =
            || port.addresses.iter().filter(|p| Family::of(p.addr()) == Family::of(peer));
        of_family().find(|p| p.contains(peer)).or_else(|| of_family().next()).map(|p| p.addr())
    }
}
