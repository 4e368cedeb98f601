//! What a scenario needs that the director cannot do yet.
//!
//! It is told from the scenario alone, and from what the director says it can do, so that the list
//! shrinks by itself as the director grows.

use std::collections::BTreeSet;

use lvs_admin::ipvsadm::{self, Action as Line};
use lvs_admin::names::NumericOnly;
use lvs_admin::rules::Supported;
use lvs_core::command::{Command, ServiceSpec};
use lvs_core::sched::SCHEDULERS;

use crate::host::sysctl;
use crate::scenario::{Action, Scenario};

/// What the scenario needs and is missing, in words; empty if everything is there.
///
/// ```
/// use lvs_sim::needs::missing;
/// use lvs_sim::scenario::Scenario;
/// let scenario = Scenario::parse("x.lvs", "0 ipvsadm -R\n").unwrap();
/// assert_eq!(missing(&scenario), ["standard input (-R)"]);
/// ```
pub fn missing(scenario: &Scenario) -> Vec<String> {
    let mut found = BTreeSet::new();
    for event in &scenario.events {
        match &event.action {
            Action::Ipvsadm(words) => found.extend(command_needs(words)),
            Action::Sysctl { name, value } => {
                found.extend(sysctl::lacking(name, value).map(|name| format!("sysctl {name}")));
            }
            Action::Packet(_) | Action::Mark(_) | Action::Dump(_) | Action::Sync(_) => {}
        }
    }
    found.into_iter().collect()
}

fn command_needs(words: &[String]) -> Vec<String> {
    let words = words.get(1..).unwrap_or_default();
    let mut found = Vec::new();
    match ipvsadm::parse(words, &NumericOnly) {
        Ok(Line::Change(Command::AddService(spec) | Command::EditService(spec))) => {
            found.extend(service_needs(&spec));
        }
        Ok(Line::Restore) => found.push("standard input (-R)".to_owned()),
        _ => {}
    }
    found
}

fn service_needs(spec: &ServiceSpec) -> Vec<String> {
    let mut found = Vec::new();
    let name = &*spec.scheduler;
    let built = SCHEDULERS.iter().any(|info| info.name == name);
    // A name that is none of the kernel's is refused, and that can be done.
    if !built && Supported::EVERYTHING.schedulers.contains(&name) {
        found.push(format!("scheduler {name}"));
    }
    found
}
