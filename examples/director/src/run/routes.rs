//! Routes to real servers that are on no link of the director's: its own, and the host's through gateways.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use lvs_core::addr::{Family, Prefix};
use lvs_core::command::{PortSpec, RouteSpec};
use lvs_core::ids::PortId;
use lvs_io_afpacket::Interface;
use lvs_realserver::routes;

use super::configuration::Configuration;

/// A route of `--route`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OwnRoute {
    prefix: Prefix,
    via: Option<IpAddr>,
    /// The interface, if it is named.
    interface: Option<String>,
}

/// What is wrong with a route.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum RouteError {
    #[error(
        "{0:?}: a route is `PREFIX via GATEWAY [dev NAME]` or `PREFIX dev NAME`, as in \"10.80.0.0/16 via 10.0.0.254\""
    )]
    Form(String),
    #[error("{0:?} is no network: give ADDRESS/LENGTH, an address, or `default` with a gateway")]
    Prefix(String),
    #[error("{0:?} is no address of a gateway")]
    Gateway(String),
    #[error("a route to {0} cannot go through {1}: they are of different families")]
    Families(IpAddr, IpAddr),
    #[error("--route {route}: {name} is no interface of this director's; it has {names}")]
    Interface { route: OwnRoute, name: String, names: String },
    #[error(
        "--route {0}: the gateway is in no network of this director's interfaces; name the interface: \
         `dev NAME`"
    )]
    Unreachable(OwnRoute),
}

impl FromStr for OwnRoute {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<OwnRoute, RouteError> {
        let form = || RouteError::Form(text.to_owned());
        let words: Vec<&str> = text.split_whitespace().collect();
        let (to, via, interface) = match words[..] {
            [to, "via", via] => (to, Some(via), None),
            [to, "via", via, "dev", name] => (to, Some(via), Some(name)),
            [to, "dev", name] => (to, None, Some(name)),
            _ => return Err(form()),
        };
        let gateway = |text: &str| text.parse().map_err(|_| RouteError::Gateway(text.to_owned()));
        let via: Option<IpAddr> = via.map(gateway).transpose()?;
        let prefix = match (to, via) {
            ("default", Some(via)) => Prefix::new(Family::of(via).unspecified(), 0),
            _ => prefix(to),
        };
        let prefix = prefix.ok_or_else(|| RouteError::Prefix(to.to_owned()))?;
        match via {
            Some(via) if Family::of(via) != Family::of(prefix.addr()) => {
                Err(RouteError::Families(prefix.addr(), via))
            }
            _ => Ok(OwnRoute { prefix, via, interface: interface.map(str::to_owned) }),
        }
    }
}

impl fmt::Display for OwnRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}/{}", self.prefix.addr(), self.prefix.len())?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(name) = &self.interface {
            write!(f, " dev {name}")?;
        }
        f.write_str("\"")
    }
}

fn prefix(text: &str) -> Option<Prefix> {
    match text.split_once('/') {
        Some((addr, len)) => Prefix::new(addr.parse().ok()?, len.parse().ok()?),
        None => Some(Prefix::host(text.parse().ok()?)),
    }
}

/// Whether every route has an interface, at the start. Later one may be without addresses for a while.
pub(super) fn check(
    routes: &[OwnRoute],
    names: &[String],
    ports: &[PortSpec],
) -> Result<(), RouteError> {
    for (route, found) in routes.iter().zip(of_ports(routes, names, ports)) {
        match &route.interface {
            Some(name) if !names.contains(name) => {
                let (name, names) = (name.clone(), names.join(", "));
                return Err(RouteError::Interface { route: route.clone(), name, names });
            }
            None if found.is_none() => return Err(RouteError::Unreachable(route.clone())),
            _ => {}
        }
    }
    Ok(())
}

/// The routes of `--route` as the ports are now; `None` for one whose gateway is in no network at present.
pub(super) fn of_ports(
    routes: &[OwnRoute],
    names: &[String],
    ports: &[PortSpec],
) -> Vec<Option<RouteSpec>> {
    let port = |route: &OwnRoute| match (&route.interface, route.via) {
        (Some(name), _) => names.iter().position(|n| n == name).map(|i| PortId(i as u16)),
        (None, Some(via)) => {
            let near = |port: &&PortSpec| port.addresses.iter().any(|p| p.contains(via));
            ports.iter().find(near).map(|port| port.id)
        }
        (None, None) => None,
    };
    routes
        .iter()
        .map(|route| {
            port(route).map(|id| RouteSpec { prefix: route.prefix, port: Some(id), via: route.via })
        })
        .collect()
}

/// The most routes for answers of masqueraded servers: each packet of theirs looks at all.
const FOR_ANSWERS_MAX: usize = 256;

/// The host's routes that lead through a gateway out of one of the interfaces `names`, the cheapest first;
/// of them those that lead to a real server, and default routes. Answers of masqueraded servers go
/// everywhere, so all are taken for them unless there are too many. A host that tells none has none.
pub(super) fn through_gateways(
    interfaces: &[Interface],
    names: &[String],
    configuration: &Configuration,
) -> Vec<RouteSpec> {
    let port = |index: u32| {
        let name = &interfaces.iter().find(|interface| interface.index == index)?.name;
        names.iter().position(|n| n == name).map(|i| PortId(i as u16))
    };
    let found = routes::through_gateways().unwrap_or_else(|error| {
        tracing::warn!("the host's routes cannot be read: {error}");
        Vec::new()
    });
    let of_ports = found.iter().filter_map(|route| {
        let port = Some(port(route.interface)?);
        Some(RouteSpec { prefix: route.prefix, port, via: Some(route.via) })
    });
    let mut routes: Vec<RouteSpec> = of_ports.collect();
    if configuration.answers.is_empty() || routes.len() > FOR_ANSWERS_MAX {
        let servers = &configuration.servers;
        let to_server = |prefix: &Prefix| servers.iter().any(|addr| prefix.contains(*addr));
        routes.retain(|route| route.prefix.is_empty() || to_server(&route.prefix));
    }
    routes
}

/// Whether the host forwards IPv4 and IPv6 packets between its interfaces.
pub(super) fn forwarding() -> [bool; 2] {
    ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"]
        .map(|path| std::fs::read_to_string(path).is_ok_and(|value| value.trim_end() != "0"))
}

#[cfg(test)]
mod tests {
    use lvs_core::addr::MacAddr;

    use super::*;

    fn route(text: &str) -> OwnRoute {
        text.parse().unwrap()
    }

    fn refused(text: &str) -> RouteError {
        text.parse::<OwnRoute>().unwrap_err()
    }

    fn ports() -> Vec<PortSpec> {
        let network = |text: &str| Prefix::new(text.parse().unwrap(), 24).unwrap();
        let port = |id, network| PortSpec {
            id: PortId(id),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            addresses: vec![network],
        };
        vec![port(0, network("10.0.0.1")), port(1, network("10.0.1.1"))]
    }

    #[test]
    fn a_route_is_read_in_the_words_of_ip_and_shown_so() {
        for text in ["10.80.0.0/16 via 10.0.1.254", "10.80.0.0/16 via 10.0.1.254 dev eth1"] {
            assert_eq!(route(text).to_string(), format!("\"{text}\""));
        }
        assert_eq!(route("default via fd00::1").prefix.len(), 0);
        assert_eq!(route("10.9.9.9 dev eth0").prefix.len(), 32);
        assert!(matches!(refused("10.0.0.0/8"), RouteError::Form(_)));
        assert!(matches!(refused("default dev eth0"), RouteError::Prefix(_)));
        assert!(matches!(refused("10.0.0.0/33 via 10.0.0.1"), RouteError::Prefix(_)));
        assert!(matches!(refused("10.0.0.0/8 via gw"), RouteError::Gateway(_)));
        assert!(matches!(refused("10.0.0.0/8 via fd00::1"), RouteError::Families(..)));
    }

    #[test]
    fn a_route_leaves_by_the_interface_it_names_or_the_one_in_whose_network_the_gateway_is() {
        let names = ["eth0".to_owned(), "eth1".to_owned()];
        let routes = [
            route("10.80.0.0/16 via 10.0.1.254"),
            route("10.81.0.0/16 via 192.0.2.1 dev eth0"),
            route("10.82.0.0/16 via 192.0.2.1"),
        ];
        let found: Vec<_> = of_ports(&routes, &names, &ports())
            .into_iter()
            .map(|route| route.and_then(|route| route.port))
            .collect();
        assert_eq!(found, [Some(PortId(1)), Some(PortId(0)), None]);
    }

    #[test]
    fn a_route_without_an_interface_is_refused_at_the_start() {
        let names = ["eth0".to_owned()];
        let check = |text| check(&[route(text)], &names, &ports()[..1]);
        assert_eq!(check("10.80.0.0/16 via 10.0.0.254"), Ok(()));
        let text = check("10.80.0.0/16 via 10.0.1.254").unwrap_err().to_string();
        assert!(text.contains("dev NAME"), "{text}");
        let text = check("10.80.0.0/16 dev eth7").unwrap_err().to_string();
        assert!(text.contains("eth7 is no interface") && text.contains("it has eth0"), "{text}");
    }
}
