//! What must be changed for a running director to become what a rules file says, and nothing else: a
//! service or server that stays as it is keeps its connections, counters and place.

use std::collections::{HashMap, HashSet};

use lvs_core::command::{Command, DestinationSpec, MarkRule, ServiceKey, TimeoutsSpec, Tunables};
use lvs_core::director::Director;
use lvs_core::flow::Endpoint;
use lvs_core::listing::{ServiceEntry, TimeoutsEntry};
use lvs_core::time::Duration;

use crate::ipvsadm::{DaemonRole, DaemonSpec};
use crate::rules::{DesiredService, Rules};

/// The timeouts of a fresh director (rule A7): 900, 120 and 300 s.
pub const TIMEOUTS_DEFAULT: TimeoutsEntry = TimeoutsEntry {
    tcp: Duration::from_secs(900),
    tcp_fin: Duration::from_secs(120),
    udp: Duration::from_secs(300),
};

/// The state of a running director.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    /// Its services.
    pub services: &'a [ServiceEntry],
    /// Its timeouts.
    pub timeouts: TimeoutsEntry,
    /// Its switches.
    pub tunables: Tunables,
    /// Its mark rules.
    pub mark_rules: &'a [MarkRule],
    /// Its synchronisation daemons.
    pub daemons: &'a [DaemonSpec],
}

impl<'a> Running<'a> {
    /// That of a director without synchronisation daemons. `services` are all that it lists.
    pub fn of(director: &'a Director, services: &'a [ServiceEntry]) -> Running<'a> {
        Running {
            services,
            timeouts: director.timeouts(),
            tunables: *director.tunables(),
            mark_rules: director.mark_rules(),
            daemons: &[],
        }
    }
}

/// The commands that turn what runs into what `rules` says. `mark_rules` are the file's, from
/// [`Rules::mark_rules`].
///
/// A file describes everything: what it does not mention goes, a timeout or switch that it does not
/// mention takes its default. Additions and changes come first and deletions last, so that no client
/// meets a moment without a server. The order of servers is only that of their addition: servers that
/// stay are not moved.
pub fn diff(running: &Running<'_>, rules: &Rules, mark_rules: &[MarkRule]) -> Vec<Command> {
    let mut commands = Vec::new();
    if running.tunables != rules.tunables() {
        commands.push(Command::SetTunables(rules.tunables()));
    }
    commands.extend(timeouts(&running.timeouts, rules.timeouts()));
    let entries: HashMap<ServiceKey, &ServiceEntry> =
        running.services.iter().map(|entry| (entry.spec.key, entry)).collect();
    let mut deletions = Vec::new();
    for service in rules.services() {
        match entries.get(&service.spec.key) {
            None => add(service, &mut commands),
            Some(entry) => change(entry, service, &mut commands, &mut deletions),
        }
    }
    if running.mark_rules != mark_rules {
        commands.push(Command::SetMarkRules(mark_rules.to_vec()));
    }
    commands.append(&mut deletions);
    let wanted: HashSet<ServiceKey> = rules.services().iter().map(|s| s.spec.key).collect();
    let unwanted = running.services.iter().map(|entry| entry.spec.key);
    let unwanted = unwanted.filter(|key| !wanted.contains(key));
    commands.extend(unwanted.map(Command::DeleteService));
    commands
}

/// A synchronisation daemon that is not as it shall be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DaemonChange {
    /// It does not run.
    Start(DaemonSpec),
    /// It runs otherwise: as the first, and shall as the second.
    Change(DaemonSpec, DaemonSpec),
    /// It shall not run.
    Stop(DaemonSpec),
}

/// The changes that turn the daemons that run into those that are wanted, at most one for each role. As
/// with everything else that a file does not mention, a daemon that it does not start is stopped.
pub fn daemons(running: &[DaemonSpec], wanted: &[DaemonSpec]) -> Vec<DaemonChange> {
    let of = |list: &[DaemonSpec], role| {
        list.iter().find(|spec| spec.role == role).map(DaemonSpec::normalised)
    };
    let change = |role| match (of(running, role), of(wanted, role)) {
        (None, Some(spec)) => Some(DaemonChange::Start(spec)),
        (Some(before), Some(spec)) if before != spec => Some(DaemonChange::Change(before, spec)),
        (Some(before), None) => Some(DaemonChange::Stop(before)),
        _ => None,
    };
    DaemonRole::ALL.into_iter().filter_map(change).collect()
}

fn timeouts(running: &TimeoutsEntry, wanted: TimeoutsSpec) -> Option<Command> {
    let differ = |wanted: Option<Duration>, default, running| {
        let wanted = wanted.unwrap_or(default);
        (wanted != running).then_some(wanted)
    };
    let spec = TimeoutsSpec {
        tcp: differ(wanted.tcp, TIMEOUTS_DEFAULT.tcp, running.tcp),
        tcp_fin: differ(wanted.tcp_fin, TIMEOUTS_DEFAULT.tcp_fin, running.tcp_fin),
        udp: differ(wanted.udp, TIMEOUTS_DEFAULT.udp, running.udp),
    };
    (spec != TimeoutsSpec::default()).then_some(Command::SetTimeouts(spec))
}

fn add(service: &DesiredService, commands: &mut Vec<Command>) {
    let key = service.spec.key;
    commands.push(Command::AddService(service.spec.clone()));
    commands.extend(service.destinations.iter().map(|spec| Command::AddDestination(key, *spec)));
}

fn change(
    entry: &ServiceEntry,
    service: &DesiredService,
    commands: &mut Vec<Command>,
    deletions: &mut Vec<Command>,
) {
    let key = service.spec.key;
    if entry.spec != service.spec {
        commands.push(Command::EditService(service.spec.clone()));
    }
    let running: HashMap<Endpoint, DestinationSpec> =
        entry.destinations.iter().map(|entry| (entry.spec.addr, entry.spec)).collect();
    for spec in &service.destinations {
        match running.get(&spec.addr) {
            None => commands.push(Command::AddDestination(key, *spec)),
            Some(running) if running != spec => {
                commands.push(Command::EditDestination(key, *spec));
            }
            Some(_) => {}
        }
    }
    let wanted: HashSet<Endpoint> = service.destinations.iter().map(|spec| spec.addr).collect();
    let unwanted = entry.destinations.iter().map(|entry| entry.spec.addr);
    let unwanted = unwanted.filter(|addr| !wanted.contains(addr));
    deletions.extend(unwanted.map(|addr| Command::DeleteDestination(key, addr)));
}

#[cfg(test)]
pub(crate) mod tests;
