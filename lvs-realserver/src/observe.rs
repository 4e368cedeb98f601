//! Reads the host that the program runs on.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use lvs_core::addr::Family;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::RouteAttribute;

use crate::error::Error;
use crate::host::{Host, Interface};
use crate::netlink::RouteSocket;
use crate::spec::{Opener, Spec, TunnelKind};
use crate::sysctl::Sysctl;

/// Where the kernel shows its module fou, loaded or built in.
const FOU: &str = "/sys/module/fou";

/// The settings that a plan asks about.
const SETTINGS: [(Family, &str); 4] = [
    (Family::V4, "arp_ignore"),
    (Family::V4, "arp_announce"),
    (Family::V4, "rp_filter"),
    (Family::V6, "disable_ipv6"),
];

impl Host {
    /// Reads the network namespace of the calling thread, as far as `spec` needs it. Needs no privilege.
    ///
    /// # Errors
    /// If the system does not give a netlink socket or the lists of interfaces, addresses and routes.
    pub fn observe(spec: &Spec) -> Result<Host, Error> {
        let failed = |what: &'static str| move |source| Error::system(what, source);
        let mut socket = RouteSocket::open().map_err(failed("opening a netlink socket"))?;
        let links = socket.links().map_err(failed("listing interfaces"))?;
        let addresses = socket.addresses().map_err(failed("listing addresses"))?;
        let routes = socket.routes(Family::V4).map_err(failed("listing routes"))?;
        let default_routes: BTreeSet<u32> = routes
            .iter()
            .filter(|route| route.header.destination_prefix_length == 0)
            .flat_map(|route| route.attributes.iter().flat_map(outgoing_interfaces))
            .collect();
        let mut host = Host::default();
        for link in &links {
            let Some(mut interface) = interface(link) else { continue };
            let own = addresses.iter().filter(|(index, _)| *index == interface.index);
            interface.addresses = own.map(|(_, prefix)| *prefix).collect();
            interface.has_default_route = default_routes.contains(&interface.index);
            host.interfaces.push(interface);
        }
        let scopes = host.interfaces.iter().map(|interface| interface.name.as_str());
        for scope in scopes.chain(["all", "default"]) {
            for (family, name) in SETTINGS {
                let name = Sysctl::new(family, scope, name);
                if let Some(value) = name.read() {
                    host.sysctls.insert(name, value);
                }
            }
        }
        if spec.opener().is_some() {
            // The "port" of a raw socket is its protocol.
            let raw = sockets("/proc/net/raw");
            host.raw_protocols = raw.into_iter().filter_map(|port| port.try_into().ok()).collect();
            host.udp_ports = sockets("/proc/net/udp");
        }
        let is_gue = |kind: &TunnelKind| matches!(kind, TunnelKind::Gue { .. });
        if spec.opener() == Some(Opener::Kernel) && spec.kinds().iter().any(is_gue) {
            host.fou_ports = fou_ports();
            host.has_fou = Path::new(FOU).is_dir();
        }
        Ok(host)
    }
}

fn interface(link: &LinkMessage) -> Option<Interface> {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let mtu = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    let flags = link.header.flags;
    Some(Interface {
        name,
        index: link.header.index,
        addresses: Vec::new(),
        is_loopback: flags.contains(LinkFlags::Loopback),
        has_arp: !flags.contains(LinkFlags::Noarp),
        is_up: flags.contains(LinkFlags::Up),
        mtu: mtu.unwrap_or(0),
        has_default_route: false,
    })
}

/// The interfaces that a route leaves by.
fn outgoing_interfaces(attribute: &RouteAttribute) -> Vec<u32> {
    match attribute {
        RouteAttribute::Oif(index) => vec![*index],
        RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
        _ => Vec::new(),
    }
}

/// The local ports of a list of sockets; none where there is no such list.
fn sockets(path: &str) -> Vec<u16> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(local_port).collect()
}

/// The port of the second word, which is like `00000000:17C0`.
fn local_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

/// The ports of `ip fou show`, whose lines are like `port 6080 gue`; none where there is no fou.
fn fou_ports() -> Vec<u16> {
    let Ok(output) = Command::new("ip").args(["fou", "show"]).output() else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).lines().filter_map(gue_port).collect()
}

fn gue_port(line: &str) -> Option<u16> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "port")?;
    let is_gue = words.contains(&"gue");
    words.get(at + 1).filter(|_| is_gue)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sockets_port_is_read_in_hexadecimal() {
        let line = "  375: 00000000:17C0 00000000:0000 07 00000000:00000000 00:00000000 00000000";
        assert_eq!(local_port(line), Some(6080));
        assert_eq!(local_port("   sl  local_address rem_address   st tx_queue"), None);
    }

    #[test]
    fn only_ports_of_gue_are_read_from_the_list_of_fou() {
        assert_eq!(gue_port("port 6080 gue"), Some(6080));
        assert_eq!(gue_port("port 5555 ipproto 4"), None);
        assert_eq!(gue_port(""), None);
    }
}
