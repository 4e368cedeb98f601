//! What is to be hidden.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::L4Port;

/// What to hide on which interfaces.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GuardSpec {
    /// The interfaces that the director reads from, by name.
    pub interfaces: Vec<String>,
    /// What is hidden on all of them.
    pub rules: BTreeSet<GuardRule>,
    /// The host's own addresses. What a masqueraded real server sends to one of them is no answer to a
    /// client, and reaches the host: a health check goes on to work.
    pub own: BTreeSet<IpAddr>,
}

/// One thing that the host does not get to see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GuardRule {
    /// Packets of one protocol to one port of an address: all else stays with the host, so that `ping`
    /// and ssh to the address go on to work.
    Service {
        /// TCP, UDP, SCTP, or another protocol whose header begins with two ports.
        protocol: Protocol,
        /// The virtual address.
        addr: IpAddr,
        /// The port.
        port: L4Port,
    },
    /// Every packet to an address.
    WholeAddress {
        /// The virtual address.
        addr: IpAddr,
        /// Whether the host has the address on an interface. Its IPv6 neighbour messages (ICMPv6 types
        /// 133 to 137, RFC 4861) are then left to it.
        host_owns: bool,
    },
    /// What a masqueraded real server answers, which a host with `ip_forward=1` would send on as it is; and
    /// the ICMP errors about what the server was sent. What is for [`GuardSpec::own`] is left to the host.
    Answers {
        /// TCP, UDP or SCTP.
        protocol: Protocol,
        /// The real server's address.
        addr: IpAddr,
        /// Its port; 0 is every port.
        port: L4Port,
    },
}

impl GuardRule {
    /// The rule for a virtual service by address: as narrow as the service where the host owns the
    /// address, otherwise the whole address, because the host would forward or bounce the rest.
    ///
    /// A service with port 0 takes every port, and one on TCP port 21 more than its own (rule P7), so
    /// these hide the whole address, too.
    pub fn for_service(protocol: Protocol, virt: Endpoint, host_owns: bool) -> GuardRule {
        let Endpoint { addr, port } = virt;
        let many_ports = port == L4Port::ANY || (protocol, port) == (Protocol::TCP, L4Port::FTP);
        if host_owns && !many_ports {
            GuardRule::Service { protocol, addr, port }
        } else {
            GuardRule::WholeAddress { addr, host_owns }
        }
    }

    /// The rule for an address whose packets a mark rule sends to a service.
    pub const fn for_address(addr: IpAddr, host_owns: bool) -> GuardRule {
        GuardRule::WholeAddress { addr, host_owns }
    }
}

impl GuardSpec {
    /// Nothing hidden yet on these interfaces.
    pub fn new<S: Into<String>>(interfaces: impl IntoIterator<Item = S>) -> GuardSpec {
        GuardSpec {
            interfaces: interfaces.into_iter().map(Into::into).collect(),
            ..GuardSpec::default()
        }
    }

    /// Whether the host does not get to see a packet to `addr` and `port` (0 for a protocol without
    /// ports): then nobody answers it unless the director does.
    pub fn covers(&self, protocol: Protocol, addr: IpAddr, port: L4Port) -> bool {
        self.hides_whole(addr) || self.rules.contains(&GuardRule::Service { protocol, addr, port })
    }

    /// Whether the host does not get to see a packet from `addr` and `port` to another, or an ICMP error
    /// about a packet to `addr` and `port`: then nobody forwards it unless the director does.
    pub fn hides_answers(&self, protocol: Protocol, addr: IpAddr, port: L4Port) -> bool {
        let from = |port| GuardRule::Answers { protocol, addr, port };
        self.rules.contains(&from(port)) || self.rules.contains(&from(L4Port::ANY))
    }

    /// Whether every packet to `addr` is hidden.
    pub fn hides_whole(&self, addr: IpAddr) -> bool {
        let whole = |host_owns| GuardRule::WholeAddress { addr, host_owns };
        self.rules.contains(&whole(false)) || self.rules.contains(&whole(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vip(port: u16) -> Endpoint {
        Endpoint::new("10.0.0.1".parse().unwrap(), port)
    }

    #[test]
    fn a_service_on_an_address_of_the_host_hides_only_itself() {
        let mut spec = GuardSpec::new(["eth0"]);
        spec.rules.insert(GuardRule::for_service(Protocol::TCP, vip(80), true));
        assert!(spec.covers(Protocol::TCP, vip(80).addr, L4Port(80)));
        assert!(!spec.covers(Protocol::TCP, vip(80).addr, L4Port(22)));
        assert!(!spec.covers(Protocol::UDP, vip(80).addr, L4Port(80)));
        assert!(!spec.covers(Protocol::ICMP, vip(80).addr, L4Port(0)));
        assert!(!spec.hides_whole(vip(80).addr));
    }

    #[test]
    fn an_address_that_the_host_does_not_own_is_hidden_whole() {
        let mut spec = GuardSpec::new(["eth0"]);
        spec.rules.insert(GuardRule::for_service(Protocol::TCP, vip(80), false));
        assert!(spec.covers(Protocol::ICMP, vip(80).addr, L4Port(0)));
        assert!(!spec.covers(Protocol::ICMP, "10.0.0.2".parse().unwrap(), L4Port(0)));
    }

    #[test]
    fn a_server_that_answers_from_any_port_is_hidden_on_all() {
        let mut spec = GuardSpec::new(["eth0"]);
        let (tcp, udp, addr) = (Protocol::TCP, Protocol::UDP, vip(0).addr);
        spec.rules.insert(GuardRule::Answers { protocol: tcp, addr, port: L4Port(80) });
        spec.rules.insert(GuardRule::Answers { protocol: udp, addr, port: L4Port::ANY });
        let hidden = |protocol, port| spec.hides_answers(protocol, addr, L4Port(port));
        assert!(hidden(tcp, 80) && !hidden(tcp, 22) && hidden(udp, 53));
        assert!(!spec.covers(tcp, addr, L4Port(80)));
    }

    #[test]
    fn services_that_take_many_ports_hide_the_whole_address() {
        for port in [0, 21] {
            let rule = GuardRule::for_service(Protocol::TCP, vip(port), true);
            assert_eq!(rule, GuardRule::WholeAddress { addr: vip(port).addr, host_owns: true });
        }
        let tftp = GuardRule::for_service(Protocol::UDP, vip(21), true);
        assert!(matches!(tftp, GuardRule::Service { .. }));
    }
}
