//! Several commands, all of them or none.

use lvs_admin::rules::{Amendment, MarkChange, MarkLine};
use lvs_core::addr::Family;
use lvs_core::command::{ApplyError, Command, ForwardingMethod, MarkRule};
use lvs_core::director::Director;
use lvs_core::ids::PortId;
use lvs_core::listing::ServiceEntry;
use lvs_core::time::Instant;

use crate::protocol::Refusal;

/// Which command of several was refused, and why. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Stopped {
    /// The number of the command, from 0.
    pub index: usize,
    /// The command.
    pub command: Box<Command>,
    /// What the director says.
    pub error: ApplyError,
}

/// Carries out all commands at one instant, or takes back those that were carried out before one is
/// refused. No packet comes between, so none sees what was taken back.
///
/// # Errors
/// The first refusal.
pub fn apply_all(
    director: &mut Director,
    now: Instant,
    commands: &[Command],
) -> Result<(), Stopped> {
    director.together(|director| {
        // What takes all back, to be carried out from its end.
        let mut undo = Vec::with_capacity(commands.len());
        for (index, command) in commands.iter().enumerate() {
            let before = undo.len();
            undo.extend(inverse(director, now, command).into_iter().rev());
            if let Err(error) = director.apply(now, command.clone()) {
                undo.truncate(before);
                take_back(director, now, undo);
                return Err(Stopped { index, command: Box::new(command.clone()), error });
            }
        }
        Ok(())
    })
}

/// Carries out what takes commands back, the last one's first.
fn take_back(director: &mut Director, now: Instant, undo: Vec<Command>) {
    for command in undo.into_iter().rev() {
        if let Err(error) = director.apply(now, command.clone()) {
            tracing::error!("{command:?} takes back a change and is refused: {error}");
        }
    }
}

/// The commands that take a command back, as the director is now. Counters that were zeroed stay so.
pub fn inverse(director: &mut Director, now: Instant, command: &Command) -> Vec<Command> {
    match command {
        Command::AddService(spec) => vec![Command::DeleteService(spec.key)],
        Command::EditService(spec) => {
            let before = director.service_spec(&spec.key).cloned();
            before.map(Command::EditService).into_iter().collect()
        }
        Command::DeleteService(key) => {
            director.service(now, key).into_iter().flat_map(remake).collect()
        }
        Command::Clear => director.services(now).into_iter().flat_map(remake).collect(),
        Command::AddDestination(key, spec) => {
            let mut addr = spec.addr;
            if spec.method != ForwardingMethod::Masquerade {
                addr.port = key.port();
            }
            vec![Command::DeleteDestination(*key, addr)]
        }
        Command::EditDestination(key, spec) => {
            let before = director.destination(now, key, spec.addr);
            before.map(|entry| Command::EditDestination(*key, entry.spec)).into_iter().collect()
        }
        Command::DeleteDestination(key, addr) => {
            let before = director.destination(now, key, *addr);
            before.map(|entry| Command::AddDestination(*key, entry.spec)).into_iter().collect()
        }
        Command::SetTimeouts(_) => {
            let now = director.timeouts();
            let spec = lvs_core::command::TimeoutsSpec {
                tcp: Some(now.tcp),
                tcp_fin: Some(now.tcp_fin),
                udp: Some(now.udp),
            };
            vec![Command::SetTimeouts(spec)]
        }
        Command::SetTunables(_) => vec![Command::SetTunables(*director.tunables())],
        Command::SetMarkRules(_) => vec![Command::SetMarkRules(director.mark_rules().to_vec())],
        _ => Vec::new(),
    }
}

/// The commands that change mark rules and switches as an operator typed it. A mark rule that is there
/// already is not added again. `port` knows the ports by the names of their interfaces.
///
/// # Errors
/// The first interface that `port` does not know, or rule that is not there.
pub fn amendment(
    director: &Director,
    amendment: &Amendment,
    port: impl Fn(&str) -> Option<PortId>,
) -> Result<Vec<Command>, Refusal> {
    let mut rules = director.mark_rules().to_vec();
    for change in &amendment.marks {
        change_marks(&mut rules, change, &port)?;
    }
    let mut tunables = *director.tunables();
    let settings = &amendment.settings;
    settings.iter().for_each(|setting| (setting.tunable.set)(&mut tunables, setting.value));
    let mut commands = Vec::new();
    if tunables != *director.tunables() {
        commands.push(Command::SetTunables(tunables));
    }
    if rules != director.mark_rules() {
        commands.push(Command::SetMarkRules(rules));
    }
    Ok(commands)
}

fn change_marks(
    rules: &mut Vec<MarkRule>,
    change: &MarkChange,
    port: &impl Fn(&str) -> Option<PortId>,
) -> Result<(), Refusal> {
    let numbered = |rules: &[MarkRule], family: Family, number: usize| {
        let places = rules.iter().enumerate().filter(|(_, rule)| rule.family == family);
        places.map(|(at, _)| at).nth(number.saturating_sub(1))
    };
    match change {
        MarkChange::Append(line) => {
            let new = resolved(line, port)?;
            let new = new.into_iter().filter(|rule| !rules.contains(rule)).collect::<Vec<_>>();
            rules.extend(new);
        }
        MarkChange::Insert(number, line) => {
            let new = resolved(line, port)?;
            let at = match new.first() {
                Some(first) => numbered(rules, first.family, *number),
                None => None,
            };
            let of_family = |rule: &MarkRule| new.iter().any(|new| new.family == rule.family);
            if at.is_none() && *number > 1 + rules.iter().filter(|rule| of_family(rule)).count() {
                return Err(no_such_rule(format!(
                    "there is no rule {number} to insert in front of"
                )));
            }
            let at = at.unwrap_or(rules.len());
            rules.splice(at..at, new);
        }
        MarkChange::Delete(line) => {
            for rule in resolved(line, port)? {
                let at = rules.iter().position(|other| *other == rule);
                let at = at.ok_or_else(|| no_such_rule("there is no such rule".to_owned()))?;
                rules.remove(at);
            }
        }
        MarkChange::DeleteNumber(family, number) => {
            let at = numbered(rules, *family, *number);
            let at = at.ok_or_else(|| no_such_rule(format!("there is no rule {number}")))?;
            rules.remove(at);
        }
        MarkChange::Flush(family) => rules.retain(|rule| rule.family != *family),
    }
    Ok(())
}

fn no_such_rule(message: String) -> Refusal {
    let message = format!("{message}; iptables -t mangle -L shows those that there are");
    Refusal { status: lvs_admin::ipvsadm::STATUS_CHECK, message }
}

/// The rules of a line with the director's port.
fn resolved(
    line: &MarkLine,
    port: &impl Fn(&str) -> Option<PortId>,
) -> Result<Vec<MarkRule>, Refusal> {
    let port = match &line.interface {
        None => None,
        Some(name) => Some(port(name).ok_or_else(|| {
            let message =
                format!("the director has no interface {name}; leave -i out, or name one");
            Refusal { status: lvs_admin::ipvsadm::STATUS_CHECK, message }
        })?),
    };
    Ok(line.rules.iter().map(|rule| MarkRule { port, ..*rule }).collect())
}

/// The commands that make a service again, its servers in the same order (rule S1).
fn remake(entry: ServiceEntry) -> Vec<Command> {
    let key = entry.spec.key;
    let servers = entry.destinations.into_iter().rev();
    let servers = servers.map(move |d| Command::AddDestination(key, d.spec));
    std::iter::once(Command::AddService(entry.spec)).chain(servers).collect()
}

#[cfg(test)]
mod tests {
    use lvs_admin::ipvsadm::{Action, parse};
    use lvs_admin::names::NumericOnly;
    use lvs_core::limits::Limits;

    use super::*;

    fn commands(lines: &[&str]) -> Vec<Command> {
        let command = |line: &&str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            match parse(&words, &NumericOnly) {
                Ok(Action::Change(command)) => command,
                other => panic!("{line}: {other:?}"),
            }
        };
        lines.iter().map(command).collect()
    }

    #[test]
    fn of_refused_commands_nothing_stays() {
        let mut director = Director::new(Limits::small(), [1, 2]).unwrap();
        let there = [
            "-A -t 10.0.0.1:80 -s rr -p",
            "-a -t 10.0.0.1:80 -r 10.1.0.2 -w 3",
            "-a -t 10.0.0.1:80 -r 10.1.0.3",
            "-A -f 7 -s sh",
        ];
        apply_all(&mut director, Instant::ZERO, &commands(&there)).unwrap();
        let state = |director: &mut Director| {
            (director.services(Instant::ZERO), director.timeouts(), *director.tunables())
        };
        let before = state(&mut director);
        let mut wrong = commands(&[
            "--set 10 20 30",
            "-E -t 10.0.0.1:80 -s wlc",
            "-e -t 10.0.0.1:80 -r 10.1.0.2 -w 0",
            "-a -t 10.0.0.1:80 -r 10.1.0.4",
            "-A -t 10.0.0.2:80",
            "-a -t 10.0.0.2:80 -r 10.1.0.2",
            "-d -t 10.0.0.1:80 -r 10.1.0.3:80",
            "-D -f 7",
            "-A -t 10.0.0.1:80",
        ]);
        wrong.insert(
            0,
            Command::SetTunables(lvs_core::command::Tunables {
                sloppy_tcp: true,
                ..Default::default()
            }),
        );
        let stopped = apply_all(&mut director, Instant::ZERO, &wrong).unwrap_err();
        assert_eq!((stopped.index, stopped.error), (9, ApplyError::ServiceExists));
        let mut after = state(&mut director);
        // The server that was taken back is the newest now.
        after.0[0].destinations.sort_by_key(|d| std::cmp::Reverse(d.spec.addr));
        assert_eq!(after, before);
    }
}
