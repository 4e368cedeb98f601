//! What is found on hosts of all sorts.

use std::net::IpAddr;

use lvs_core::addr::Prefix;

use super::*;
use crate::spec::TunnelKind;

const VIP: &str = "192.0.2.80";

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn prefix(text: &str) -> Prefix {
    let (addr, len) = text.split_once('/').unwrap();
    Prefix::new(addr.parse().unwrap(), len.parse().unwrap()).unwrap()
}

fn direct() -> Spec {
    Spec::new([addr(VIP)], Method::DirectRoute).unwrap()
}

fn tunnelled(vips: &[&str], kind: TunnelKind, opener: Opener) -> Spec {
    let vips = vips.iter().map(|vip| addr(vip));
    Spec::new(vips, Method::Tunnel { kinds: vec![kind], opener }).unwrap()
}

/// A host with `lo` and `eth0` as the kernel makes them.
fn host() -> Host {
    let lo = Interface {
        name: "lo".into(),
        is_loopback: true,
        is_up: true,
        addresses: vec![prefix("127.0.0.1/8")],
        ..Interface::default()
    };
    let mut host = Host { interfaces: vec![lo], ..Host::default() };
    for scope in ["all", "default"] {
        set(&mut host, scope, [0, 0, 0]);
    }
    host.sysctls.insert(Sysctl::new(Family::V6, "lo", "disable_ipv6"), 0);
    add(&mut host, "eth0", true);
    host
}

fn add(host: &mut Host, name: &str, has_default_route: bool) {
    host.interfaces.push(Interface {
        name: name.into(),
        has_arp: true,
        is_up: true,
        has_default_route,
        ..Interface::default()
    });
    set(host, name, [0, 0, 0]);
}

/// `arp_ignore`, `arp_announce`, `rp_filter` of a scope.
fn set(host: &mut Host, scope: &str, values: [i64; 3]) {
    for (name, value) in ["arp_ignore", "arp_announce", "rp_filter"].into_iter().zip(values) {
        host.sysctls.insert(Sysctl::new(Family::V4, scope, name), value);
    }
}

fn give(host: &mut Host, name: &str, address: &str) {
    let interface = host.interfaces.iter_mut().find(|i| i.name == name).unwrap();
    interface.addresses.push(prefix(address));
}

fn changes(spec: &Spec, host: &Host) -> Vec<String> {
    let plan = plan(spec, host);
    assert!(!plan.is_blocked(), "{plan:#?}");
    plan.changes().map(Change::command).collect()
}

/// The remedies of what blocks, or is advised.
fn remedies(spec: &Spec, host: &Host) -> Vec<String> {
    let plan = plan(spec, host);
    let remedy = |finding: Finding| match finding.standing {
        Standing::Blocked(remedy) | Standing::Advice(remedy) => Some(remedy),
        _ => None,
    };
    plan.findings.into_iter().filter_map(remedy).collect()
}

#[test]
fn an_untouched_host_needs_what_every_guide_says_settings_first() {
    assert_eq!(
        changes(&direct(), &host()),
        [
            "sysctl -w net.ipv4.conf.all.arp_ignore=1",
            "sysctl -w net.ipv4.conf.all.arp_announce=2",
            "ip address add 192.0.2.80/32 dev lo",
        ]
    );
}

#[test]
fn a_host_that_is_right_needs_nothing() {
    let mut host = host();
    set(&mut host, "all", [1, 2, 0]);
    give(&mut host, "lo", "192.0.2.80/32");
    assert!(plan(&direct(), &host).is_right());
    assert_eq!(changes(&direct(), &host), [""; 0]);
}

#[test]
fn settings_of_each_interface_do_as_well_as_those_of_all() {
    let mut host = host();
    set(&mut host, "eth0", [2, 2, 0]);
    assert_eq!(changes(&direct(), &host), ["ip address add 192.0.2.80/32 dev lo"]);
    // One that is added without them breaks it.
    add(&mut host, "eth1", false);
    assert!(changes(&direct(), &host)[0].contains("all.arp_ignore=1"));
}

#[test]
fn a_value_above_the_good_ones_wins_by_the_rule_of_the_larger_and_is_put_right_where_it_is() {
    let mut host = host();
    set(&mut host, "all", [1, 2, 0]);
    set(&mut host, "eth0", [3, 0, 0]);
    give(&mut host, "lo", "192.0.2.80/32");
    assert_eq!(changes(&direct(), &host), ["sysctl -w net.ipv4.conf.eth0.arp_ignore=1"]);
    set(&mut host, "all", [3, 2, 0]);
    set(&mut host, "eth0", [0, 0, 0]);
    assert_eq!(changes(&direct(), &host), ["sysctl -w net.ipv4.conf.all.arp_ignore=1"]);
}

#[test]
fn only_the_named_interfaces_are_changed() {
    let mut host = host();
    add(&mut host, "eth1", false);
    set(&mut host, "eth1", [0, 0, 1]);
    let spec = direct().on_interfaces(["eth1".to_owned()]);
    assert_eq!(
        changes(&spec, &host),
        [
            "sysctl -w net.ipv4.conf.eth1.arp_ignore=1",
            "sysctl -w net.ipv4.conf.eth1.arp_announce=2",
            "sysctl -w net.ipv4.conf.eth1.rp_filter=2",
            "ip address add 192.0.2.80/32 dev lo",
        ]
    );
}

#[test]
fn an_interface_that_does_not_exist_is_told_with_those_that_do() {
    let spec = direct().on_interfaces(["eth7".to_owned()]);
    assert_eq!(remedies(&spec, &host()), ["--interface takes one of: lo, eth0"]);
}

#[test]
fn a_strict_filter_beside_the_default_route_is_advised_about_when_no_interface_is_named() {
    let mut host = host();
    add(&mut host, "eth1", false);
    set(&mut host, "all", [1, 2, 1]);
    assert_eq!(
        remedies(&direct(), &host),
        ["if the director is on eth1, name it: --interface eth1"]
    );
    // 2 is loose, and the larger one counts.
    set(&mut host, "eth1", [0, 0, 2]);
    assert_eq!(remedies(&direct(), &host), [""; 0]);
}

#[test]
fn a_virtual_address_on_an_interface_that_answers_arp_is_for_a_person_to_move() {
    let mut host = host();
    give(&mut host, "eth0", "192.0.2.80/24");
    assert_eq!(remedies(&direct(), &host), ["ip address del 192.0.2.80/24 dev eth0"]);
    // On one without ARP, such as a dummy, it is as good as on lo.
    host.interfaces[1].has_arp = false;
    host.interfaces[1].addresses = vec![prefix("192.0.2.80/32")];
    assert_eq!(remedies(&direct(), &host), [""; 0]);
}

#[test]
fn a_virtual_address_on_lo_with_its_network_is_refused() {
    let mut host = host();
    give(&mut host, "lo", "192.0.2.80/24");
    assert_eq!(remedies(&direct(), &host), ["ip address del 192.0.2.80/24 dev lo"]);
}

#[test]
fn without_ipv6_an_ipv6_address_is_refused_with_the_setting() {
    let spec = Spec::new([addr("2001:db8::80")], Method::DirectRoute).unwrap();
    let mut host = host();
    assert_eq!(changes(&spec, &host), ["ip -6 address add 2001:db8::80/128 dev lo nodad"]);
    let name = Sysctl::new(Family::V6, "lo", "disable_ipv6");
    host.sysctls.insert(name.clone(), 1);
    assert!(remedies(&spec, &host)[0].contains("disable_ipv6=0"));
    host.sysctls.remove(&name);
    assert!(remedies(&spec, &host)[0].contains("CONFIG_IPV6"));
}

#[test]
fn a_tunnel_needs_a_decapsulator_that_runs() {
    let spec = tunnelled(&[VIP], TunnelKind::IpIp, Opener::Own);
    let mut host = host();
    let idle = |host: &Host| {
        plan(&spec, host).findings.iter().any(|finding| finding.standing == Standing::Idle)
    };
    assert!(idle(&host));
    add(&mut host, crate::spec::DEVICE, false);
    let device = host.interfaces.last_mut().unwrap();
    device.has_arp = false;
    assert!(!idle(&host));
    assert_eq!(remedies(&spec, &host), ["stop it, and start it with every --vip and --tun"]);
    host.raw_protocols = vec![4];
    assert_eq!(remedies(&spec, &host), [""; 0]);
}

#[test]
fn a_kernel_that_opens_tunnels_itself_stands_in_the_way_of_our_own_decapsulator() {
    let mut host = host();
    add(&mut host, "tunl0", false);
    let spec = tunnelled(&[VIP], TunnelKind::IpIp, Opener::Own);
    assert!(remedies(&spec, &host)[0].contains("--kernel"));
    // GRE is another module's.
    let spec = tunnelled(&[VIP], TunnelKind::Gre, Opener::Own);
    assert_eq!(remedies(&spec, &host), [""; 0]);
}

#[test]
fn the_kernels_devices_are_loaded_loosened_and_brought_up() {
    let mut host = host();
    set(&mut host, "all", [1, 2, 1]);
    let gue = TunnelKind::Gue { port: 6080 };
    assert_eq!(
        changes(&tunnelled(&[VIP, "2001:db8::80"], gue, Opener::Kernel), &host),
        [
            "modprobe ipip",
            "sysctl -w net.ipv4.conf.tunl0.rp_filter=2",
            "ip address add 192.0.2.80/32 dev tunl0",
            "ip link set tunl0 up",
            "modprobe sit",
            "ip link set sit0 up",
            "modprobe fou",
            "ip fou add port 6080 gue",
            "ip address add 192.0.2.80/32 dev lo",
            "ip -6 address add 2001:db8::80/128 dev lo nodad",
        ]
    );
}

#[test]
fn the_commands_to_type_are_those_of_an_ordinary_host() {
    let commands = |spec| commands(&spec).iter().map(Change::command).collect::<Vec<_>>();
    assert_eq!(
        commands(direct()),
        [
            "sysctl -w net.ipv4.conf.all.arp_ignore=1",
            "sysctl -w net.ipv4.conf.all.arp_announce=2",
            "ip address add 192.0.2.80/32 dev lo",
        ]
    );
    assert_eq!(
        commands(tunnelled(&[VIP], TunnelKind::Gre, Opener::Own))[2..],
        [
            "modprobe ip_gre",
            "sysctl -w net.ipv4.conf.gre0.rp_filter=2",
            "ip address add 192.0.2.80/32 dev gre0",
            "ip link set gre0 up",
            "ip address add 192.0.2.80/32 dev lo",
        ]
    );
}

#[test]
fn a_loose_filter_drops_all_from_a_tunnels_device_without_an_address() {
    let mut host = host();
    set(&mut host, "all", [1, 2, 2]);
    add(&mut host, "tunl0", false);
    host.interfaces.last_mut().unwrap().has_arp = false;
    give(&mut host, "lo", "192.0.2.80/32");
    let spec = tunnelled(&[VIP], TunnelKind::IpIp, Opener::Kernel);
    assert_eq!(changes(&spec, &host), ["ip address add 192.0.2.80/32 dev tunl0"]);
    give(&mut host, "tunl0", "10.9.9.1/32");
    assert!(plan(&spec, &host).is_right());
    host.interfaces.last_mut().unwrap().addresses.clear();
    set(&mut host, "all", [1, 2, 0]);
    assert!(plan(&spec, &host).is_right(), "without a filter it needs none");
}
