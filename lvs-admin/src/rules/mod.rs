//! The rules file: the lines that an operator already has, read as a whole.
//!
//! ```text
//! # two web servers behind one address
//! ipvsadm -A -t 192.0.2.1:80 -s wlc -p 600
//! ipvsadm -a -t 192.0.2.1:80 -r 10.1.0.2 -g -w 4
//! -a -t 192.0.2.1:80 -r 10.1.0.3 -g -w 2                  # the word ipvsadm may be left out
//! iptables -t mangle -A PREROUTING -d 192.0.2.2 -p tcp --dport 443 -j MARK --set-mark 10
//! --set 900 30 300
//! sysctl -w net.ipv4.vs.expire_nodest_conn=1
//! --start-daemon master --mcast-interface eth0 --syncid 5
//! ```
//!
//! A file is right or wrong as a whole: [`Rules::parse`] finds every mistake in it, the ones that only
//! lines together make included, and nothing of a wrong file is applied.

mod amendment;
mod error;
mod iptables;
mod line;
mod model;
mod supported;
mod sysctl;

use std::net::IpAddr;

use lvs_core::addr::Family;
use lvs_core::command::{Command, MarkRule, ServiceKey, TimeoutsSpec, Tunables};
use lvs_core::ids::{FwMark, PortId};

pub use amendment::Amendment;
pub use error::{RuleError, RuleErrors};
pub use iptables::{MarkChange, MarkLine};
pub use line::RuleLine;
pub use model::DesiredService;
pub use supported::Supported;
pub use sysctl::{Setting, TUNABLES, TunableInfo, WITHOUT_MEANING};

use crate::ipvsadm::DaemonSpec;
use crate::names::Names;
use crate::words::{self, Place};
use error::{Mistake, Source};
use model::Model;

/// Something and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located<T> {
    /// Where its line begins.
    pub place: Place,
    /// What it is.
    pub value: T,
}

/// A rules file without mistakes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    source: Source,
    lines: Vec<Located<RuleLine>>,
    services: Vec<DesiredService>,
    timeouts: TimeoutsSpec,
    tunables: Tunables,
    daemons: Vec<DaemonSpec>,
}

impl Rules {
    /// Reads the text of a file that messages shall call `file`. An empty text is a valid one.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(
        file: &str,
        text: &str,
        names: &dyn Names,
        supported: &Supported,
    ) -> Result<Rules, RuleErrors> {
        let source = Source { file: file.to_owned(), text: text.to_owned() };
        let mut rules = Rules { source, ..Rules::default() };
        let mut model = Model::default();
        let mut errors: Vec<Mistake> = Vec::new();
        for words in words::lines(text) {
            let words = match words {
                Ok(words) => words,
                Err(error) => {
                    let help = error.kind.help().to_owned();
                    errors.push((error.place, error.kind.to_string(), help));
                    continue;
                }
            };
            let Some(place) = words.first().map(|word| word.place) else { continue };
            match line::parse(&words, names, supported, &mut model) {
                Ok(line) => rules.take(place, line),
                Err(fault) => {
                    let place = words.get(fault.word).map_or(place, |word| word.place);
                    errors.push((place, fault.message, fault.help));
                }
            }
        }
        if !errors.is_empty() {
            return Err(RuleErrors::new(&rules.source, errors));
        }
        (rules.services, rules.timeouts, rules.daemons) = model.finish();
        Ok(rules)
    }

    /// Reads the bytes of a file, which must be UTF-8.
    ///
    /// # Errors
    /// As for [`Rules::parse`], or the first byte that is no text.
    pub fn parse_bytes(
        file: &str,
        bytes: &[u8],
        names: &dyn Names,
        supported: &Supported,
    ) -> Result<Rules, RuleErrors> {
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => return Rules::parse(file, text, names, supported),
            Err(error) => error,
        };
        let text = String::from_utf8_lossy(bytes).into_owned();
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let last = before.rsplit('\n').next().unwrap_or_default();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let place = Place {
            line: number(before.matches('\n').count() + 1),
            column: number(last.chars().count() + 1),
        };
        let source = Source { file: file.to_owned(), text };
        let message = "a byte that is no UTF-8 text".to_owned();
        let help = "save the file as plain text in UTF-8".to_owned();
        Err(RuleErrors::new(&source, vec![(place, message, help)]))
    }

    fn take(&mut self, place: Place, line: RuleLine) {
        if let RuleLine::Settings(settings) = &line {
            for setting in settings {
                (setting.tunable.set)(&mut self.tunables, setting.value);
            }
        }
        self.lines.push(Located { place, value: line });
    }

    /// The lines, in order.
    pub fn lines(&self) -> &[Located<RuleLine>] {
        &self.lines
    }

    /// The services that the whole file makes, in the order of their lines.
    pub fn services(&self) -> &[DesiredService] {
        &self.services
    }

    /// The timeouts that `--set` lines give; `None` where no line gives one.
    pub fn timeouts(&self) -> TimeoutsSpec {
        self.timeouts
    }

    /// The switches: the kernel's defaults, and what `sysctl` lines change.
    pub fn tunables(&self) -> Tunables {
        self.tunables
    }

    /// The synchronisation daemons that the file starts, the master first.
    pub fn daemons(&self) -> &[DaemonSpec] {
        &self.daemons
    }

    /// The lines that set marks, in order.
    pub fn mark_lines(&self) -> impl Iterator<Item = (Place, &MarkLine)> {
        self.lines.iter().filter_map(|line| match &line.value {
            RuleLine::Mark(mark) => Some((line.place, mark)),
            _ => None,
        })
    }

    /// The mark rules, in order, with `-i` interfaces resolved to the director's ports.
    ///
    /// # Errors
    /// The first `-i` that `port` does not know.
    pub fn mark_rules(
        &self,
        mut port: impl FnMut(&str) -> Option<PortId>,
    ) -> Result<Vec<MarkRule>, RuleError> {
        let mut rules = Vec::new();
        for (place, line) in self.mark_lines() {
            let port = match &line.interface {
                None => None,
                Some(name) => Some(port(name).ok_or_else(|| {
                    let message = format!("the director has no interface {name}");
                    let help = "give it with --interface, or leave -i out".to_owned();
                    self.source.error(place, message, help)
                })?),
            };
            rules.extend(line.rules.iter().map(|rule| MarkRule { port, ..*rule }));
        }
        Ok(rules)
    }

    /// The commands that make a new director what the file says, in the order of its lines; marks are
    /// set last, all together.
    ///
    /// # Errors
    /// As for [`Rules::mark_rules`].
    pub fn commands(
        &self,
        port: impl FnMut(&str) -> Option<PortId>,
    ) -> Result<Vec<Command>, RuleError> {
        let marks = self.mark_rules(port)?;
        let mut commands = Vec::new();
        if self.tunables != Tunables::default() {
            commands.push(Command::SetTunables(self.tunables));
        }
        commands.extend(self.lines.iter().filter_map(|line| match &line.value {
            RuleLine::Command(command) => Some(command.clone()),
            _ => None,
        }));
        if !marks.is_empty() {
            commands.push(Command::SetMarkRules(marks));
        }
        Ok(commands)
    }

    /// The virtual addresses, each once: those of services, and the single addresses (`-d`) of lines
    /// that set the mark of a service. Interfaces do not matter.
    pub fn virtual_addresses(&self) -> Vec<IpAddr> {
        let mut addrs = Vec::new();
        for service in &self.services {
            if let ServiceKey::Address { virt, .. } = service.spec.key {
                addrs.push(virt.addr);
            }
        }
        let rules = self.mark_lines().flat_map(|(_, line)| &line.rules);
        let single = rules.filter_map(|rule| rule.destination.filter(|d| d.is_host()));
        addrs.extend(single.map(|destination| destination.addr()));
        let mut seen = std::collections::HashSet::new();
        addrs.retain(|addr| seen.insert(*addr));
        addrs
    }

    /// The marks, each once, of lines without a single address to answer ARP for: those with a prefix
    /// or without `-d`. The caller asks for addresses (`--vip`) if there are any.
    pub fn prefix_marks(&self) -> Vec<(FwMark, Family)> {
        let mut marks = Vec::new();
        for rule in self.mark_lines().flat_map(|(_, line)| &line.rules) {
            let single = rule.destination.is_some_and(|destination| destination.is_host());
            let mark = (rule.mark, rule.family);
            if !single && rule.mark != FwMark::NONE && !marks.contains(&mark) {
                marks.push(mark);
            }
        }
        marks
    }

    /// What is no mistake, but hardly meant: a mark that no line sets or no service takes, a service
    /// without real servers.
    pub fn warnings(&self) -> Vec<RuleError> {
        let mut warnings = Vec::new();
        let mut warn = |line: u32, message: String, help: &str| {
            let place = Place { line, column: 1 };
            warnings.push(self.source.error(place, message, help.to_owned()));
        };
        let rules: Vec<_> = self
            .mark_lines()
            .flat_map(|(place, line)| line.rules.iter().map(move |rule| (place, rule)))
            .collect();
        for service in &self.services {
            let key = service.spec.key;
            if service.destinations.is_empty() {
                let help = "clients are refused until -a adds one";
                warn(service.line, format!("{key} has no real server"), help);
            }
            if let ServiceKey::Mark { mark, family } = key
                && !rules.iter().any(|(_, rule)| rule.mark == mark && rule.family == family)
            {
                let help = "without iptables … --set-mark nothing comes to the service";
                warn(service.line, format!("no line sets the mark of {key}"), help);
            }
        }
        let mut said = Vec::new();
        for (place, rule) in rules {
            let key = ServiceKey::Mark { mark: rule.mark, family: rule.family };
            let taken = self.services.iter().any(|service| service.spec.key == key);
            if !taken && rule.mark != FwMark::NONE && !said.contains(&key) {
                said.push(key);
                let help = "the packets are scheduled by their address, if a service has it";
                warn(place.line, format!("no service takes the mark of {key}"), help);
            }
        }
        warnings.sort_by_key(|warning| warning.line);
        warnings
    }
}

#[cfg(test)]
mod tests;
