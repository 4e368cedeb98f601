//! The virtual address: on the host, where no neighbour sees it.

use std::net::IpAddr;

use lvs_core::addr::{Family, Prefix};

use super::{Plan, Standing};
use crate::change::Change;
use crate::host::{Host, Interface};
use crate::spec;

/// Where the address goes.
const DEVICE: &str = "lo";

pub(super) fn look(addr: IpAddr, host: &Host, plan: &mut Plan) {
    let mut kept = None;
    // The decapsulator has it besides, as long as it runs.
    for owner in host.owners(addr).filter(|owner| owner.name != spec::DEVICE) {
        let Some(prefix) = owner.addresses.iter().find(|prefix| prefix.addr() == addr) else {
            continue;
        };
        match objection(owner, *prefix) {
            Some(what) => {
                let change = Change::Address { device: owner.name.clone(), prefix: *prefix };
                let remedy = change.undo().unwrap_or_default();
                plan.add(Standing::Blocked(remedy), what);
                return;
            }
            None => kept = kept.or(Some(&owner.name)),
        }
    }
    if let Some(device) = kept {
        plan.right(format!("{addr} is on {device}"));
    } else if let Some((what, remedy)) = no_family(addr, host) {
        plan.add(Standing::Blocked(remedy.into()), what);
    } else {
        let change = Change::Address { device: DEVICE.into(), prefix: Prefix::host(addr) };
        let what = format!("{addr} is on no interface: the host does not take its packets");
        plan.add(Standing::Wrong(change), what);
    }
}

/// What speaks against an address where it is.
fn objection(owner: &Interface, prefix: Prefix) -> Option<String> {
    let (addr, name) = (prefix.addr(), &owner.name);
    if !owner.is_loopback && owner.has_arp {
        let asked = if addr.is_ipv4() { "ARP" } else { "neighbour solicitations" };
        return Some(format!(
            "{addr} is on {name}, which answers {asked} for it: clients pass the director by"
        ));
    }
    if !prefix.is_host() {
        return Some(format!(
            "{addr} is on {name} with the prefix length {}: the host takes the whole network for itself",
            prefix.len()
        ));
    }
    None
}

/// Why a host takes no address of this family.
fn no_family(addr: IpAddr, host: &Host) -> Option<(String, &'static str)> {
    if Family::of(addr) == Family::V4 || host.interfaces.is_empty() {
        return None;
    }
    let disabled = |scope| host.sysctl(Family::V6, scope, "disable_ipv6");
    match disabled(DEVICE) {
        Some(0) => None,
        Some(_) => Some((
            format!(
                "IPv6 is switched off here (net.ipv6.conf.lo.disable_ipv6), so {addr} cannot be added"
            ),
            "sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.lo.disable_ipv6=0",
        )),
        None => Some((
            format!("this kernel has no IPv6, so {addr} cannot be added"),
            "`modprobe ipv6`; or boot without ipv6.disable=1, with a kernel that has CONFIG_IPV6",
        )),
    }
}
