//! What the rules in force say about addresses: as much as the host has to follow.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use lvs_admin::rules::Rules;
use lvs_core::addr::Family;
use lvs_core::command::{MarkRule, ServiceKey};
use lvs_core::director::Director;
use lvs_core::ids::FwMark;
use lvs_core::time::Instant;
use lvs_guard::GuardRule;

use super::masquerade::answers;

/// Services, real servers and mark rules, from a rules file or from what the director was told since.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Configuration {
    pub(super) services: Vec<ServiceKey>,
    /// The real servers' addresses, each once for each service.
    pub(super) servers: Vec<IpAddr>,
    pub(super) marks: Vec<MarkRule>,
    /// Where masqueraded servers answer from.
    pub(super) answers: BTreeSet<GuardRule>,
}

impl Configuration {
    /// What a rules file says.
    pub(super) fn of_rules(rules: &Rules, marks: &[MarkRule]) -> Configuration {
        let servers = rules.services().iter().flat_map(|service| &service.destinations);
        let answers = rules.services().iter().flat_map(|service| {
            service.destinations.iter().flat_map(|server| answers(&service.spec, server))
        });
        Configuration {
            answers: answers.collect(),
            services: rules.services().iter().map(|service| service.spec.key).collect(),
            servers: servers.map(|spec| spec.addr.addr).collect(),
            marks: marks.to_vec(),
        }
    }

    /// What a director was told.
    pub(super) fn of_director(director: &mut Director, now: Instant) -> Configuration {
        let services = director.services(now);
        let servers = services.iter().flat_map(|service| &service.destinations);
        let answers = services.iter().flat_map(|service| {
            service.destinations.iter().flat_map(|server| answers(&service.spec, &server.spec))
        });
        Configuration {
            answers: answers.collect(),
            servers: servers.map(|server| server.spec.addr.addr).collect(),
            services: services.iter().map(|service| service.spec.key).collect(),
            marks: director.mark_rules().to_vec(),
        }
    }

    /// The virtual addresses, each once: those of services, and the single addresses (`-d`) of rules that
    /// set a mark.
    pub(super) fn virtual_addresses(&self) -> Vec<IpAddr> {
        let of_services = self.services.iter().filter_map(|key| match key {
            ServiceKey::Address { virt, .. } => Some(virt.addr),
            ServiceKey::Mark { .. } => None,
        });
        let mut seen = HashSet::new();
        of_services.chain(self.marked_addresses()).filter(|addr| seen.insert(*addr)).collect()
    }

    /// The single addresses of rules that set a mark.
    pub(super) fn marked_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let single = self.marks.iter().filter_map(|rule| rule.destination.filter(|d| d.is_host()));
        single.map(|prefix| prefix.addr())
    }

    /// The marks, each once, of rules without a single address to answer ARP for.
    pub(super) fn prefix_marks(&self) -> Vec<(FwMark, Family)> {
        let mut marks = Vec::new();
        for rule in &self.marks {
            let single = rule.destination.is_some_and(|destination| destination.is_host());
            let mark = (rule.mark, rule.family);
            if !single && rule.mark != FwMark::NONE && !marks.contains(&mark) {
                marks.push(mark);
            }
        }
        marks
    }
}
