//! What commands would do, told before it is done.

use std::collections::HashMap;
use std::fmt;

use lvs_admin::diff::{DaemonChange, Running};
use lvs_admin::listing::{destination_options, service_options};
use lvs_admin::rules::TUNABLES;
use lvs_core::command::{Command, DestinationSpec, ServiceKey, Tunables};
use lvs_core::flow::Endpoint;
use lvs_core::listing::{DestinationEntry, ServiceEntry, TimeoutsEntry};

use crate::data::{Affected, Plan, Step, StepKind};

/// Puts the commands that bring a running director to what a rules file says in an operator's words, and
/// says what becomes of live connections and templates.
///
/// Of a server that goes, connections have nowhere to go (rules L1, L2), and clients with a template
/// get another one with their next connection (rule R9). Of one that gets weight 0 templates move only under
/// `expire_quiescent_template` (rules R7, R8).
pub fn plan(running: &Running<'_>, commands: &[Command]) -> Plan {
    let services = running.services.iter().map(|entry| (entry.spec.key, entry)).collect();
    let tunables = commands.iter().find_map(|command| match command {
        Command::SetTunables(tunables) => Some(*tunables),
        _ => None,
    });
    let before = Before { running, services, tunables: tunables.unwrap_or(running.tunables) };
    let steps = commands.iter().flat_map(|command| before.steps(command)).collect();
    Plan { steps, ..Plan::default() }
}

struct Before<'r> {
    running: &'r Running<'r>,
    services: HashMap<ServiceKey, &'r ServiceEntry>,
    /// The switches in force when servers go.
    tunables: Tunables,
}

impl Before<'_> {
    fn steps(&self, command: &Command) -> Vec<Step> {
        let step = match command {
            Command::AddService(spec) => {
                step(StepKind::AddService, spec.key.to_string(), service_options(spec))
            }
            Command::EditService(spec) => {
                let before = self.services.get(&spec.key).map(|entry| service_options(&entry.spec));
                let detail = from_to(before, service_options(spec));
                step(StepKind::ChangeService, spec.key.to_string(), detail)
            }
            Command::DeleteService(key) => return self.service_goes(key),
            Command::AddDestination(key, spec) => {
                step(StepKind::AddServer, of(spec.addr, key), destination_options(spec))
            }
            Command::EditDestination(key, spec) => self.server_changes(key, spec),
            Command::DeleteDestination(key, addr) => {
                let affected = self.server(key, *addr).map(|entry| self.goes(entry));
                Step {
                    affected: affected.unwrap_or_default(),
                    ..step(StepKind::RemoveServer, of(*addr, key), String::new())
                }
            }
            Command::SetTimeouts(spec) => {
                let now = self.running.timeouts;
                let then = TimeoutsEntry {
                    tcp: spec.tcp.unwrap_or(now.tcp),
                    tcp_fin: spec.tcp_fin.unwrap_or(now.tcp_fin),
                    udp: spec.udp.unwrap_or(now.udp),
                };
                let detail = from_to(Some(timeouts(&now)), timeouts(&then));
                step(StepKind::Timeouts, "tcp tcpfin udp".to_owned(), detail)
            }
            Command::SetTunables(then) => {
                let changed = TUNABLES.iter().filter_map(|info| {
                    let (now, then) = ((info.get)(&self.running.tunables), (info.get)(then));
                    let detail = from_to(Some(now.to_string()), then.to_string());
                    let subject = format!("net.ipv4.vs.{}", info.name);
                    (now != then).then(|| step(StepKind::Sysctls, subject, detail))
                });
                return changed.collect();
            }
            Command::SetMarkRules(then) => {
                let detail = from_to(
                    Some(self.running.mark_rules.len().to_string()),
                    then.len().to_string(),
                );
                step(StepKind::Marks, "number of rules".to_owned(), detail)
            }
            _ => return Vec::new(),
        };
        vec![step]
    }

    /// A service goes with its servers.
    fn service_goes(&self, key: &ServiceKey) -> Vec<Step> {
        let entry = self.services.get(key);
        let servers = entry.map(|entry| &entry.destinations[..]).unwrap_or_default();
        let affected =
            servers.iter().map(|entry| self.goes(entry)).fold(Affected::default(), |sum, one| {
                Affected {
                    connections_end: sum.connections_end + one.connections_end,
                    templates_end: sum.templates_end + one.templates_end,
                    templates_move: sum.templates_move + one.templates_move,
                }
            });
        // Without the service nobody schedules their clients anew.
        let templates_end = affected.templates_end + affected.templates_move;
        let affected = Affected { templates_end, templates_move: 0, ..affected };
        let detail = match servers.len() {
            0 => String::new(),
            1 => "with 1 server".to_owned(),
            n => format!("with {n} servers"),
        };
        vec![Step { affected, ..step(StepKind::RemoveService, key.to_string(), detail) }]
    }

    fn server_changes(&self, key: &ServiceKey, spec: &DestinationSpec) -> Step {
        let before = self.server(key, spec.addr);
        let detail = from_to(
            before.map(|entry| destination_options(&entry.spec)),
            destination_options(spec),
        );
        let quiesced = spec.weight == 0 && self.tunables.expire_quiescent_template;
        let templates_move = before
            .filter(|entry| quiesced && entry.spec.weight > 0)
            .map_or(0, |entry| entry.persistent);
        let affected = Affected { templates_move, ..Affected::default() };
        Step { affected, ..step(StepKind::ChangeServer, of(spec.addr, key), detail) }
    }

    /// What becomes of a server's connections and templates when it is deleted.
    fn goes(&self, entry: &DestinationEntry) -> Affected {
        Affected {
            connections_end: entry.active.saturating_add(entry.inactive),
            templates_end: 0,
            templates_move: entry.persistent,
        }
    }

    fn server(&self, key: &ServiceKey, addr: Endpoint) -> Option<&DestinationEntry> {
        self.services.get(key)?.destinations.iter().find(|entry| entry.spec.addr == addr)
    }
}

/// What is done to synchronisation daemons, in an operator's words.
pub fn daemon_steps(changes: &[DaemonChange]) -> Vec<Step> {
    let steps = changes.iter().map(|change| match change {
        DaemonChange::Start(spec) => {
            step(StepKind::StartDaemon, spec.role.to_string(), spec.options())
        }
        DaemonChange::Change(before, spec) => {
            let detail = from_to(Some(before.options()), spec.options());
            step(StepKind::ChangeDaemon, spec.role.to_string(), detail)
        }
        DaemonChange::Stop(spec) => {
            step(StepKind::StopDaemon, spec.role.to_string(), String::new())
        }
    });
    steps.collect()
}

fn step(kind: StepKind, subject: String, detail: String) -> Step {
    Step { kind, subject, detail, affected: Affected::default() }
}

fn of(addr: Endpoint, key: &ServiceKey) -> String {
    format!("{addr} of {key}")
}

fn from_to(before: Option<String>, after: String) -> String {
    match before {
        Some(before) => format!("{before} → {after}"),
        None => after,
    }
}

fn timeouts(entry: &TimeoutsEntry) -> String {
    let [tcp, fin, udp] = [entry.tcp, entry.tcp_fin, entry.udp].map(|t| t.as_secs());
    format!("{tcp} {fin} {udp}")
}

impl fmt::Display for Plan {
    /// A line for each step, `+` for what comes, `-` for what goes, `~` for what changes; then what it is
    /// in sum.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        let verb = if self.applied { "applied" } else { "would be made" };
        match self.steps.len() {
            0 => writeln!(f, "no change"),
            1 => writeln!(f, "1 change {verb}"),
            n => writeln!(f, "{n} changes {verb}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, noun) = match self.kind {
            StepKind::AddService => ('+', "service"),
            StepKind::ChangeService => ('~', "service"),
            StepKind::RemoveService => ('-', "service"),
            StepKind::AddServer => ('+', "server"),
            StepKind::ChangeServer => ('~', "server"),
            StepKind::RemoveServer => ('-', "server"),
            StepKind::Timeouts => ('~', "timeouts"),
            StepKind::Sysctls => ('~', "sysctl"),
            StepKind::Marks => ('~', "marks"),
            StepKind::StartDaemon => ('+', "daemon"),
            StepKind::ChangeDaemon => ('~', "daemon"),
            StepKind::StopDaemon => ('-', "daemon"),
        };
        write!(f, "{sign} {noun:<8} {}", self.subject)?;
        if !self.detail.is_empty() {
            write!(f, "  {}", self.detail)?;
        }
        let affected = self.affected;
        let counts = [
            (affected.connections_end, "connection", "ends", "end"),
            (affected.templates_end, "template", "ends", "end"),
            (affected.templates_move, "template", "moves", "move"),
        ];
        let told: Vec<String> = counts
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, noun, one, many)| match count {
                1 => format!("1 {noun} {one}"),
                n => format!("{n} {noun}s {many}"),
            })
            .collect();
        if told.is_empty() { Ok(()) } else { write!(f, "  ({})", told.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use lvs_admin::diff::diff;
    use lvs_admin::names::NumericOnly;
    use lvs_admin::rules::{Rules, Supported};
    use lvs_core::director::Director;
    use lvs_core::limits::Limits;
    use lvs_core::time::Instant;

    use super::*;

    fn rules(text: &str) -> Rules {
        Rules::parse("shop.rules", text, &NumericOnly, &Supported::THIS_VERSION)
            .unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn a_plan_tells_every_kind_of_step() {
        let mut director = Director::new(Limits::small(), [1, 2]).unwrap();
        let before = rules(
            "-A -t 192.0.2.80:80 -s rr\n-a -t 192.0.2.80:80 -r 192.0.2.11\n\
             -a -t 192.0.2.80:80 -r 192.0.2.12\n-a -t 192.0.2.80:80 -r 192.0.2.13 -w 2\n\
             -A -u 192.0.2.80:53\n-a -u 192.0.2.80:53 -r 192.0.2.11\n\
             iptables -t mangle -A PREROUTING -d 192.0.2.81 -j MARK --set-mark 1\n",
        );
        for command in before.commands(|_| None).unwrap() {
            director.apply(Instant::ZERO, command).unwrap();
        }
        let mut services = director.services(Instant::ZERO);
        for server in services.iter_mut().flat_map(|service| &mut service.destinations) {
            (server.active, server.inactive, server.persistent) = (1200, 34, 1);
        }
        let after = rules(
            "-A -t 192.0.2.80:80 -s wlc -p 600 -M 255.255.255.0\n\
             -a -t 192.0.2.80:80 -r 192.0.2.11 -w 0\n-a -t 192.0.2.80:80 -r 192.0.2.12\n\
             -a -t 192.0.2.80:80 -r 192.0.2.14 -i -x 100\n-A -f 10 -s sh -b sh-port\n\
             --set 900 30 300\nsysctl -w net.ipv4.vs.expire_quiescent_template=1\n",
        );
        let running = Running::of(&director, &services);
        let plan = plan(&running, &diff(&running, &after, &[]));
        insta::assert_snapshot!(plan);
    }
}
