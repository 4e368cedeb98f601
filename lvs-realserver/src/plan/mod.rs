//! What a host has and lacks to be a real server: a function of the two, without any effect.

mod address;
mod arp;
mod reverse_path;
mod tunnel;

use lvs_core::addr::Family;

use crate::change::Change;
use crate::host::{Host, Interface};
use crate::spec::{Method, Opener, Spec};
use crate::sysctl::Sysctl;

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What there is, and what follows from it if it is wrong; part of a sentence without a full stop.
    pub what: String,
    /// How it stands.
    pub standing: Standing,
}

/// How a thing stands.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Standing {
    /// As it must be.
    Right,
    /// Wrong, and what changes it.
    Wrong(Change),
    /// The decapsulator is not running.
    Idle,
    /// Wrong, and not for a program to decide; with what somebody can do.
    Blocked(String),
    /// Perhaps wrong, which only somebody who knows the network can say; with what to do then.
    Advice(String),
}

/// Everything that was looked at, in the order in which changes are to be made.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Plan {
    /// The changes, in their order: settings before addresses, so that no address is there before ARP
    /// is silent about it.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.findings.iter().filter_map(|finding| match &finding.standing {
            Standing::Wrong(change) => Some(change),
            _ => None,
        })
    }

    /// Whether nothing is wrong.
    pub fn is_right(&self) -> bool {
        let fine = |standing: &Standing| matches!(standing, Standing::Right | Standing::Advice(_));
        self.findings.iter().all(|finding| fine(&finding.standing))
    }

    /// Whether something is wrong that no change of ours puts right.
    pub fn is_blocked(&self) -> bool {
        self.findings.iter().any(|finding| matches!(finding.standing, Standing::Blocked(_)))
    }

    fn add(&mut self, standing: Standing, what: impl Into<String>) {
        self.findings.push(Finding { what: what.into(), standing });
    }

    fn right(&mut self, what: impl Into<String>) {
        self.add(Standing::Right, what);
    }

    /// A setting that is to become `to`.
    fn set(&mut self, host: &Host, name: Sysctl, to: i64, what: impl Into<String>) {
        let from = host.sysctls.get(&name).copied().unwrap_or(0);
        self.add(Standing::Wrong(Change::Sysctl { name, from, to }), what);
    }
}

/// Compares a host with what it is to be.
pub fn plan(spec: &Spec, host: &Host) -> Plan {
    let mut plan = Plan::default();
    for name in spec.interfaces().iter().filter(|name| host.interface(name).is_none()) {
        let names: Vec<&str> = host.interfaces.iter().map(|i| i.name.as_str()).collect();
        let remedy = format!("--interface takes one of: {}", names.join(", "));
        plan.add(Standing::Blocked(remedy), format!("there is no interface {name}"));
    }
    if plan.is_blocked() {
        return plan;
    }
    if spec.has(Family::V4) {
        arp::look(spec, host, &mut plan);
        reverse_path::look(spec, host, &mut plan);
    }
    tunnel::look(spec, host, &mut plan);
    for &addr in spec.virtuals() {
        address::look(addr, host, &mut plan);
    }
    plan
}

/// The commands that make an ordinary host a real server, for people who want to type them; tunnels are
/// the kernel's then. "Ordinary" is a host without any of it, whose filter by reverse path is strict.
pub fn commands(spec: &Spec) -> Vec<Change> {
    let names = match spec.interfaces() {
        [] => &["eth0".to_owned()][..],
        names => names,
    };
    let mut host = Host::default();
    for name in names {
        host.interfaces.push(Interface {
            name: name.clone(),
            has_arp: true,
            is_up: true,
            has_default_route: spec.interfaces().is_empty(),
            ..Interface::default()
        });
    }
    for scope in names.iter().map(String::as_str).chain(["all", "default"]) {
        for (name, value) in [("arp_ignore", 0), ("arp_announce", 0), ("rp_filter", 1)] {
            host.sysctls.insert(Sysctl::new(Family::V4, scope, name), value);
        }
    }
    host.sysctls.insert(Sysctl::new(Family::V6, "lo", "disable_ipv6"), 0);
    let method = match spec.method() {
        Method::DirectRoute => Method::DirectRoute,
        Method::Tunnel { kinds, .. } => {
            Method::Tunnel { kinds: kinds.clone(), opener: Opener::Kernel }
        }
    };
    plan(&spec.clone().with_method(method), &host).changes().cloned().collect()
}

/// The interfaces that answer ARP and that the plan is about.
fn arp_interfaces<'h>(spec: &Spec, host: &'h Host) -> Vec<&'h Interface> {
    let names = spec.interfaces();
    let meant = |interface: &&Interface| {
        !interface.is_loopback
            && interface.has_arp
            && (names.is_empty() || names.contains(&interface.name))
    };
    host.interfaces.iter().filter(meant).collect()
}

#[cfg(test)]
mod tests;
