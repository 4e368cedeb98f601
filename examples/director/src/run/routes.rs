//! The host's routes through gateways: real servers behind tunnels need not be on a link of the director's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lvs_core::addr::Prefix;
use lvs_core::command::RouteSpec;
use lvs_core::ids::PortId;

/// A route is in use (`RTF_UP`).
const UP: u32 = 1;
/// It leads to a gateway (`RTF_GATEWAY`).
const GATEWAY: u32 = 2;

/// The routes of the main table that lead through a gateway out of one of the interfaces `names`, the
/// cheapest first; of them those that lead to one of `servers`, and default routes. A host without
/// `/proc` has none.
pub(super) fn through_gateways(names: &[String], servers: &[IpAddr]) -> Vec<RouteSpec> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (v4, v6) = (read("/proc/net/route"), read("/proc/net/ipv6_route"));
    let lines = v4.lines().skip(1).filter_map(line_v4).chain(v6.lines().filter_map(line_v6));
    let mut routes: Vec<(u32, RouteSpec)> = lines
        .filter_map(|line| {
            let port = names.iter().position(|name| name == line.interface)?;
            let port = Some(PortId(port as u16));
            Some((line.metric, RouteSpec { prefix: line.prefix, port, via: Some(line.via) }))
        })
        .filter(|(_, route)| {
            route.prefix.is_empty() || servers.iter().any(|addr| route.prefix.contains(*addr))
        })
        .collect();
    routes.sort_by_key(|(metric, _)| *metric);
    routes.into_iter().map(|(_, route)| route).collect()
}

/// A route through a gateway.
struct Line<'a> {
    interface: &'a str,
    prefix: Prefix,
    via: IpAddr,
    metric: u32,
}

/// A line of `/proc/net/route`: numbers of the machine's own byte order, in hexadecimal.
fn line_v4(line: &str) -> Option<Line<'_>> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [interface, destination, gateway, flags, _, _, metric, mask, ..] = fields[..] else {
        return None;
    };
    let addr = |text| Some(Ipv4Addr::from(u32::from_str_radix(text, 16).ok()?.to_ne_bytes()));
    if u32::from_str_radix(flags, 16).ok()? & (UP | GATEWAY) != UP | GATEWAY {
        return None;
    }
    let len = addr(mask)?.to_bits().leading_ones() as u8;
    let prefix = Prefix::new(addr(destination)?.into(), len)?;
    Some(Line { interface, prefix, via: addr(gateway)?.into(), metric: metric.parse().ok()? })
}

/// A line of `/proc/net/ipv6_route`: everything in hexadecimal.
fn line_v6(line: &str) -> Option<Line<'_>> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [destination, len, _, _, gateway, metric, _, _, flags, interface] = fields[..] else {
        return None;
    };
    let addr = |text| Some(Ipv6Addr::from(u128::from_str_radix(text, 16).ok()?));
    if u32::from_str_radix(flags, 16).ok()? & (UP | GATEWAY) != UP | GATEWAY {
        return None;
    }
    let len = u8::from_str_radix(len, 16).ok()?;
    let prefix = Prefix::new(addr(destination)?.into(), len)?;
    let metric = u32::from_str_radix(metric, 16).ok()?;
    Some(Line { interface, prefix, via: addr(gateway)?.into(), metric })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routes_through_gateways_are_read() {
        let be = |a: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(a));
        let (net, gateway) = (be([10, 9, 0, 0]), be([192, 0, 2, 1]));
        let text =
            format!("eth0\t{net}\t{gateway}\t0003\t0\t0\t7\t{}\t0\t0\t0", be([255, 255, 0, 0]));
        let line = line_v4(&text).unwrap();
        assert_eq!((line.interface, line.metric), ("eth0", 7));
        assert_eq!(line.prefix, Prefix::new("10.9.0.0".parse().unwrap(), 16).unwrap());
        assert_eq!(line.via, IpAddr::from([192, 0, 2, 1]));
        assert!(line_v4(&text.replace("0003", "0001")).is_none());
        let text = "20010db8000900000000000000000000 30 00000000000000000000000000000000 00 \
                    fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth1";
        let line = line_v6(text).unwrap();
        assert_eq!((line.interface, line.metric, line.prefix.len()), ("eth1", 1024, 48));
        assert_eq!(line.via, "fe80::1".parse::<IpAddr>().unwrap());
    }
}
