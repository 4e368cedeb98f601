//! The host's routes through gateways, for a director whose real servers are several hops away.

use std::io;
use std::net::IpAddr;

use lvs_core::addr::{Family, Prefix};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHopFlags,
};

use crate::netlink::RouteSocket;

/// A route through a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GatewayRoute {
    /// The kernel's number of the interface it leaves by.
    pub interface: u32,
    /// Where it leads.
    pub prefix: Prefix,
    /// The gateway, of the prefix' family.
    pub via: IpAddr,
    /// What it costs; the cheaper of two that lead to the same is taken.
    pub metric: u32,
}

/// The unicast routes of the main tables of both families that lead through a gateway, the cheapest first,
/// of the calling thread's network namespace. Of a route with several gateways each is one. Needs no
/// privilege.
///
/// # Errors
/// If the system gives no netlink socket or no list. Of a family that it does not have there are none.
pub fn through_gateways() -> io::Result<Vec<GatewayRoute>> {
    let mut socket = RouteSocket::open()?;
    let mut found = Vec::new();
    for family in [Family::V4, Family::V6] {
        match socket.routes(family) {
            Ok(routes) => routes.iter().for_each(|route| add(route, family, &mut found)),
            Err(error) if family == Family::V6 && is_no_family(&error) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by_key(|route: &GatewayRoute| route.metric);
    Ok(found)
}

fn is_no_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP))
}

fn add(route: &RouteMessage, family: Family, found: &mut Vec<GatewayRoute>) {
    let gone = RouteFlags::Dead | RouteFlags::Linkdown;
    if route.header.flags.intersects(gone) {
        return;
    }
    let attributes = &route.attributes;
    let to = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(addr) => ip(addr),
        _ => None,
    });
    let to = to.unwrap_or(family.unspecified());
    let Some(prefix) = Prefix::new(to, route.header.destination_prefix_length) else { return };
    let metric = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    let metric = metric.unwrap_or(0);
    let mut hop = |interface, attributes: &[RouteAttribute]| {
        let via = attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(addr) => ip(addr),
            _ => None,
        });
        if let Some(via) = via.filter(|via| Family::of(*via) == family) {
            found.push(GatewayRoute { interface, prefix, via, metric });
        }
    };
    for attribute in attributes {
        match attribute {
            RouteAttribute::Oif(interface) => hop(*interface, attributes),
            RouteAttribute::MultiPath(hops) => {
                let gone = RouteNextHopFlags::Dead | RouteNextHopFlags::Linkdown;
                for next in hops.iter().filter(|next| !next.flags.intersects(gone)) {
                    hop(next.interface_index, &next.attributes);
                }
            }
            _ => {}
        }
    }
}

fn ip(addr: &RouteAddress) -> Option<IpAddr> {
    match addr {
        RouteAddress::Inet(addr) => Some((*addr).into()),
        RouteAddress::Inet6(addr) => Some((*addr).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lvs_testnet::Host;

    use super::*;

    #[test]
    fn routes_through_gateways_are_listed_cheapest_first_and_others_are_not() {
        let host = Host::new("director");
        for (name, address) in [("eth0", "10.82.0.1/24"), ("eth1", "10.82.1.1/24")] {
            host.ip(&format!("link add {name} type veth peer name {name}-peer"));
            host.ip(&format!("link set {name}-peer up"));
            host.ip(&format!("link set {name} up"));
            host.add_address(name, address);
        }
        host.add_address("eth0", "fd82::1/64");
        host.ip("route add default via 10.82.0.254 metric 20");
        host.ip("route add 10.90.0.0/16 metric 5 nexthop via 10.82.0.2 nexthop via 10.82.1.2");
        host.ip("route add blackhole 10.91.0.0/16");
        host.ip("-6 route add fd90::/48 via fd82::2");
        let routes = host.enter(through_gateways).unwrap();
        let text: Vec<String> = routes
            .iter()
            .map(|r| format!("{}/{} via {} {}", r.prefix.addr(), r.prefix.len(), r.via, r.metric))
            .collect();
        assert_eq!(
            text,
            [
                "10.90.0.0/16 via 10.82.0.2 5",
                "10.90.0.0/16 via 10.82.1.2 5",
                "0.0.0.0/0 via 10.82.0.254 20",
                "fd90::/48 via fd82::2 1024",
            ]
        );
    }
}
