//! What a director takes over: its ports, its virtual addresses and what the host must not see of them.

use std::net::IpAddr;

use lvs_core::addr::{Family, Prefix};
use lvs_core::command::{Command, PortSpec, RouteSpec, ServiceKey};
use lvs_core::flow::Protocol;
use lvs_core::ids::{L4Port, PortId};
use lvs_guard::{GuardRule, GuardSpec};
use lvs_io_afpacket::Interface;

use super::configuration::Configuration;

/// A virtual address and who has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Virtual {
    pub(super) addr: IpAddr,
    /// The host's interface that has it, such as `lo` or `eth0`.
    pub(super) on_host: Option<String>,
    /// Whether the director answers ARP for it.
    pub(super) answer: bool,
}

/// Everything that follows from the rules and the host's interfaces.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Takeover {
    pub(super) ports: Vec<PortSpec>,
    pub(super) routes: Vec<RouteSpec>,
    pub(super) virtuals: Vec<Virtual>,
    pub(super) guard: GuardSpec,
    /// Whether the host forwards IPv4 and IPv6 packets: the director then does so in its place with what
    /// the guard hides and no connection wants.
    pub(super) forwards: [bool; 2],
    /// Addresses of the director itself, which no host answers for; at the far end of TAP devices.
    pub(super) own: Vec<IpAddr>,
}

impl Takeover {
    /// `interfaces` are all of the host's; `names` those that the director uses, in the order of its
    /// ports; `extra` the addresses of `--vip`.
    pub(super) fn plan(
        configuration: &Configuration,
        interfaces: &[Interface],
        names: &[String],
        extra: &[IpAddr],
    ) -> Takeover {
        let mut addrs = configuration.virtual_addresses();
        let further: Vec<_> = extra.iter().filter(|addr| !addrs.contains(addr)).copied().collect();
        addrs.extend(further);
        let virtuals: Vec<Virtual> = addrs
            .iter()
            .map(|&addr| {
                let on_host = owner(interfaces, addr);
                Virtual { addr, answer: on_host.is_none(), on_host }
            })
            .collect();
        let mut guard = guard(configuration, names, extra, &virtuals);
        let own = interfaces.iter().flat_map(|i| &i.addresses).map(Prefix::addr);
        guard.own = own.filter(|addr| !addrs.contains(addr)).collect();
        let mut takeover = Takeover { guard, ..Takeover::default() };
        for (id, name) in names.iter().enumerate() {
            let Some(interface) = interfaces.iter().find(|i| i.name == *name) else { continue };
            takeover.add_port(PortId(id as u16), interface, &addrs);
        }
        takeover.virtuals = virtuals;
        takeover
    }

    /// Adds routes: those of the director's own go before the host's.
    pub(super) fn with_routes(mut self, routes: impl IntoIterator<Item = RouteSpec>) -> Takeover {
        self.routes.extend(routes);
        self
    }

    fn add_port(&mut self, id: PortId, interface: &Interface, virtuals: &[IpAddr]) {
        // Neighbours are asked from the interface's own addresses, never from a virtual one, but a
        // virtual address's subnet is on the link all the same.
        let own = |prefix: &&Prefix| !virtuals.contains(&prefix.addr());
        self.ports.push(PortSpec {
            id,
            mac: interface.mac.unwrap_or_default(),
            mtu: interface.mtu,
            addresses: interface.addresses.iter().filter(own).copied().collect(),
        });
        self.routes.extend(
            interface
                .addresses
                .iter()
                .filter(|prefix| !prefix.is_host())
                .map(|&prefix| RouteSpec { prefix, port: Some(id), via: None }),
        );
    }

    /// What stays from before:
    ///
    /// * An address that the host had once is not answered for when it leaves: whoever moved it, such as
    ///   keepalived, gave it to another director.
    /// * An interface that is gone keeps its place until it is back.
    pub(super) fn carry_over(&mut self, before: &Takeover) {
        for virt in &mut self.virtuals {
            let before = before.virtuals.iter().find(|v| v.addr == virt.addr);
            if before.is_some_and(|before| !before.answer) {
                virt.answer = false;
            }
        }
        for gone in &before.ports {
            if self.ports.iter().all(|port| port.id != gone.id) {
                self.ports.push(gone.clone());
                self.guard.own.extend(gone.addresses.iter().map(Prefix::addr));
                let of_port = |route: &&RouteSpec| route.port == Some(gone.id);
                self.routes.extend(before.routes.iter().filter(of_port));
            }
        }
        self.ports.sort_by_key(|port| port.id);
    }

    /// Whether an address is the director's own or a virtual one.
    pub(super) fn is_local(&self, addr: IpAddr) -> bool {
        self.own.contains(&addr) || self.virtuals.iter().any(|virt| virt.addr == addr)
    }

    /// Whether the host does not see a packet to this address, protocol and port, which is then to be
    /// answered in its place.
    pub(super) fn hides(&self, protocol: Protocol, addr: IpAddr, port: L4Port) -> bool {
        let nobody_there = !self.own.is_empty() && self.is_local(addr);
        nobody_there || self.guard.covers(protocol, addr, port)
    }

    /// The commands that tell a director about ports and virtual addresses.
    pub(super) fn commands(&self) -> Vec<Command> {
        let ports = self.ports.iter().cloned().map(Command::SetPort);
        let routes = std::iter::once(Command::SetRoutes(self.routes.clone()));
        let own = self.own.iter().map(|&addr| Command::AddLocal { addr, answer: true });
        let locals =
            self.virtuals.iter().map(|v| Command::AddLocal { addr: v.addr, answer: v.answer });
        ports.chain(routes).chain(own).chain(locals).collect()
    }
}

/// The interface of the host that has an address.
pub(super) fn owner(interfaces: &[Interface], addr: IpAddr) -> Option<String> {
    let has = |i: &&Interface| i.addresses.iter().any(|prefix| prefix.addr() == addr);
    interfaces.iter().find(has).map(|i| i.name.clone())
}

fn guard(
    configuration: &Configuration,
    names: &[String],
    extra: &[IpAddr],
    virtuals: &[Virtual],
) -> GuardSpec {
    let on_host = |addr: IpAddr| virtuals.iter().any(|v| v.addr == addr && v.on_host.is_some());
    let mut guard = GuardSpec::new(names.iter().cloned());
    for key in &configuration.services {
        if let ServiceKey::Address { protocol, virt } = *key {
            guard.rules.insert(GuardRule::for_service(protocol, virt, on_host(virt.addr)));
        }
    }
    guard.rules.extend(configuration.answers.iter().copied());
    for addr in configuration.marked_addresses().chain(extra.iter().copied()) {
        guard.rules.insert(GuardRule::for_address(addr, on_host(addr)));
    }
    guard
}

/// The real servers that are this host itself.
pub(super) fn local_servers(
    configuration: &Configuration,
    interfaces: &[Interface],
) -> Vec<IpAddr> {
    let addrs = configuration.servers.iter().copied();
    addrs.filter(|&addr| addr.is_loopback() || owner(interfaces, addr).is_some()).collect()
}

/// The marks that no single address leads to and that `--vip` gives none for.
pub(super) fn marks_without_address(configuration: &Configuration, extra: &[IpAddr]) -> Vec<u32> {
    let named = |family| extra.iter().any(|addr| Family::of(*addr) == family);
    configuration
        .prefix_marks()
        .into_iter()
        .filter(|(_, family)| !named(*family))
        .map(|(mark, _)| mark.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use lvs_admin::names::NumericOnly;
    use lvs_admin::rules::{Rules, Supported};
    use lvs_core::addr::MacAddr;

    use super::*;

    fn interface(name: &str, addresses: &[&str]) -> Interface {
        let prefix = |text: &&str| {
            let (addr, len) = text.split_once('/').unwrap();
            Prefix::new(addr.parse().unwrap(), len.parse().unwrap()).unwrap()
        };
        Interface {
            name: name.to_owned(),
            index: 2,
            mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
            addresses: addresses.iter().map(prefix).collect(),
            mtu: 1500,
            is_up: true,
        }
    }

    fn plan(rules: &str, interfaces: &[Interface], extra: &[&str]) -> Takeover {
        let rules = Rules::parse("test", rules, &NumericOnly, &Supported::THIS_VERSION).unwrap();
        let extra: Vec<IpAddr> = extra.iter().map(|addr| addr.parse().unwrap()).collect();
        let configuration = Configuration::of_rules(&rules, &[]);
        Takeover::plan(&configuration, interfaces, &["eth0".to_owned()], &extra)
    }

    #[test]
    fn an_address_of_the_host_is_guarded_narrowly_and_left_to_its_arp() {
        let host =
            [interface("lo", &["127.0.0.1/8", "10.0.0.9/32"]), interface("eth0", &["10.0.0.1/24"])];
        let takeover = plan("-A -t 10.0.0.9:80\n", &host, &[]);
        assert_eq!(takeover.virtuals[0].on_host.as_deref(), Some("lo"));
        assert!(!takeover.virtuals[0].answer);
        let vip = takeover.virtuals[0].addr;
        assert!(takeover.guard.covers(Protocol::TCP, vip, L4Port(80)));
        assert!(!takeover.guard.covers(Protocol::TCP, vip, L4Port(22)));
    }

    #[test]
    fn an_address_that_nobody_has_is_answered_for_and_guarded_whole() {
        let takeover =
            plan("-A -t 10.0.0.9:80\n", &[interface("eth0", &["10.0.0.1/24"])], &["10.0.0.8"]);
        assert!(takeover.virtuals.iter().all(|v| v.answer));
        assert!(takeover.guard.hides_whole(takeover.virtuals[0].addr));
        assert!(takeover.guard.hides_whole("10.0.0.8".parse().unwrap()));
    }

    #[test]
    fn answers_of_masqueraded_servers_are_hidden_but_for_those_to_the_host() {
        let text = "-A -t 10.0.0.9:80\n-a -t 10.0.0.9:80 -r 10.1.0.2:8080 -m\n\
                    -a -t 10.0.0.9:80 -r 10.1.0.3 -g\n\
                    -A -u 10.0.0.9:0 -p\n-a -u 10.0.0.9:0 -r 10.1.0.4:53 -m\n";
        let takeover = plan(text, &[interface("eth0", &["10.0.0.1/24", "10.0.0.9/32"])], &[]);
        let hidden = |protocol, addr: [u8; 4], port| {
            takeover.guard.hides_answers(protocol, addr.into(), L4Port(port))
        };
        assert!(hidden(Protocol::TCP, [10, 1, 0, 2], 8080));
        assert!(!hidden(Protocol::TCP, [10, 1, 0, 2], 80));
        assert!(!hidden(Protocol::TCP, [10, 1, 0, 3], 80));
        assert!(hidden(Protocol::UDP, [10, 1, 0, 4], 7));
        assert_eq!(takeover.guard.own.iter().collect::<Vec<_>>(), [&IpAddr::from([10, 0, 0, 1])]);
    }

    #[test]
    fn an_interface_that_is_gone_keeps_its_place_until_it_is_back() {
        let before = plan("-A -t 10.0.0.9:80\n", &[interface("eth0", &["10.0.0.1/24"])], &[]);
        let mut gone = plan("-A -t 10.0.0.9:80\n", &[], &[]);
        gone.carry_over(&before);
        assert_eq!(gone, before);
        let mut back = plan("-A -t 10.0.0.9:80\n", &[interface("eth0", &["10.0.0.2/24"])], &[]);
        back.carry_over(&gone);
        assert_eq!(back.ports[0].addresses[0].addr(), IpAddr::from([10, 0, 0, 2]));
        assert_eq!((back.ports.len(), back.routes.len()), (1, 1));
    }

    #[test]
    fn an_address_that_left_the_host_is_not_answered_for() {
        let rules = "-A -t 10.0.0.9:80\n";
        let here = plan(rules, &[interface("eth0", &["10.0.0.1/24", "10.0.0.9/32"])], &[]);
        let mut left = plan(rules, &[interface("eth0", &["10.0.0.1/24"])], &[]);
        assert!(left.virtuals[0].answer);
        left.carry_over(&here);
        assert!(!left.virtuals[0].answer);
    }

    #[test]
    fn a_virtual_address_is_no_source_for_arp_but_its_subnet_is_on_the_link() {
        let takeover = plan("-A -t 10.0.0.9:80\n", &[interface("eth0", &["10.0.0.9/24"])], &[]);
        assert!(takeover.ports[0].addresses.is_empty());
        assert_eq!(takeover.routes.len(), 1);
    }
}
