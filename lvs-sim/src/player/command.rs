//! Events that are no packets: command lines, system controls, marks.

use std::fmt::Write as _;

use lvs_admin::ipvsadm::{self, Action, Columns, ListRequest, ListWhat};
use lvs_admin::listing::{self, Header, Listing};
use lvs_admin::rates::Estimators;
use lvs_core::addr::Family;
use lvs_core::command::{ApplyError, Command, MarkRule};
use lvs_core::director::Director;
use lvs_core::flow::Protocol;
use lvs_core::ids::L4Port;
use lvs_core::listing::{ConnectionEntry, Cursor};
use lvs_core::time::Instant;

use super::{Daemons, Player};
use crate::net::CLIENTS;
use crate::scenario::{Mark, MarkProtocol};

/// How many connections are read at once.
const CHUNK: usize = 4096;

/// What a command line of ipvsadm did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ran {
    /// The exit status.
    pub status: u8,
    /// What it wrote to standard output.
    pub output: String,
    /// What it wrote to standard error.
    pub errors: String,
}

/// What an [`Operator`] finds when a command line is typed.
#[derive(Debug)]
pub struct Site<'p> {
    /// The director.
    pub director: &'p mut Director,
    /// The moment.
    pub now: Instant,
    /// What goes through in a second.
    pub rates: &'p Estimators,
    /// The synchronisation daemons.
    pub daemons: &'p mut Daemons,
}

/// Who carries out the command lines of a scenario, and of its dumps, in the player's place: a program under
/// test, such as one at the other end of a socket.
pub trait Operator {
    /// Does what ipvsadm would do with these words, the program's name left out.
    fn run(&mut self, site: Site<'_>, words: &[&str]) -> Ran;
}

impl Ran {
    fn failed(status: u8, error: impl std::fmt::Display) -> Ran {
        Ran { status, output: String::new(), errors: format!("{error}\n") }
    }
}

impl Player<'_> {
    pub(super) fn ipvsadm(&mut self, time: &str, words: &[String]) {
        let ran = self.run_ipvsadm(words.get(1..).unwrap_or_default());
        let result = match ran.status {
            0 => "ok".to_owned(),
            status => format!("exit {status}"),
        };
        self.record.event(time, &words.join(" "), &result);
        for line in ran.output.lines().chain(ran.errors.lines()) {
            if !line.trim().is_empty() {
                self.record.below(&format!("! {line}"));
            }
        }
    }

    /// Does what ipvsadm would do with these words, the program's name left out.
    pub(super) fn run_ipvsadm<W: AsRef<str>>(&mut self, words: &[W]) -> Ran {
        if let Some(operator) = &mut self.operator {
            let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
            let (director, now, rates) = (&mut self.director, self.now, &self.rates);
            let daemons = &mut self.daemons;
            return operator.run(Site { director, now, rates, daemons }, &words);
        }
        let action = match ipvsadm::parse(words, &self.names) {
            Ok(action) => action,
            Err(refusal) => return Ran::failed(refusal.status(), refusal),
        };
        let mut output = String::new();
        let status = match action {
            Action::Change(command) => match self.director.apply(self.now, command) {
                Ok(()) => 0,
                Err(error) => return Ran::failed(ipvsadm::apply_status(&error), error),
            },
            Action::List(request) => match self.list(&request, &mut output) {
                Some(()) => 0,
                None => {
                    let error = ApplyError::NoSuchService;
                    return Ran::failed(ipvsadm::STATUS_NOT_LISTED, error);
                }
            },
            Action::Save { numeric } => {
                let services = self.director.services(self.now);
                written(listing::save(&mut output, &services, &self.names, numeric));
                0
            }
            Action::Help => {
                output.push_str(&ipvsadm::usage("ipvsadm"));
                0
            }
            Action::Version => {
                let _ = writeln!(output, "{}", ipvsadm::VERSION_LINE);
                0
            }
            Action::StartDaemon(spec) => {
                match self.daemons.start(self.now, &mut self.director, &spec) {
                    Ok(()) => 0,
                    Err(words) => return Ran::failed(ipvsadm::STATUS_REFUSED, words),
                }
            }
            Action::StopDaemon { role, .. } => {
                match self.daemons.stop(self.now, &mut self.director, role) {
                    Ok(()) => 0,
                    Err(words) => return Ran::failed(ipvsadm::STATUS_REFUSED, words),
                }
            }
            _ => {
                let error = "this replay has no standard input";
                return Ran::failed(ipvsadm::STATUS_REFUSED, error);
            }
        };
        Ran { status, output, errors: String::new() }
    }

    /// Writes a listing; `None` if it asks for a service that is not there.
    fn list(&mut self, request: &ListRequest, output: &mut String) -> Option<()> {
        match request.what {
            ListWhat::Services => {
                let mut services = self.director.services(self.now);
                let listing = Listing::new(Header::default(), *request, &self.names);
                if request.service.is_some() {
                    services = vec![listing::find(&services, request)?.clone()];
                }
                if request.columns == Columns::Rate {
                    let rates = |key: &_, server| self.rates.of(key, server);
                    written(listing.services_with_rates(output, &services, &rates));
                } else {
                    written(listing.services(output, &services));
                }
            }
            ListWhat::Connections => {
                let connections = self.connections();
                let listing = Listing::new(Header::default(), *request, &self.names);
                written(listing.connections_title(output));
                written(listing.connections(output, &connections));
            }
            ListWhat::Timeouts => written(listing::timeouts(output, &self.director.timeouts())),
            ListWhat::Daemons => written({
                let running = self.daemons.running();
                let specs: Vec<_> =
                    running.iter().map(|(spec, mtu, _)| spec.in_force(*mtu)).collect();
                listing::daemons(output, &specs)
            }),
        }
        Some(())
    }

    /// Every connection and template.
    pub(super) fn connections(&mut self) -> Vec<ConnectionEntry> {
        let mut entries = Vec::new();
        let mut cursor = Cursor::default();
        while self.director.connections(self.now, &mut cursor, CHUNK, &mut entries) {}
        entries
    }

    pub(super) fn sysctl(&mut self, time: &str, name: &str, value: &str) {
        let result = match self.host.sysctls.set(name, value) {
            Ok(()) => {
                let tunables = self.host.sysctls.tunables();
                self.daemons.review(&tunables);
                match self.director.apply(self.now, Command::SetTunables(tunables)) {
                    Ok(()) => "ok".to_owned(),
                    Err(error) => format!("failed: {error}"),
                }
            }
            Err(words) => format!("failed: {words}"),
        };
        self.record.event(time, &format!("sysctl {name}={value}"), &result);
    }

    /// A rule that marks packets on arrival. Of several that match the first counts, where of the
    /// director's own rules the last one does.
    pub(super) fn mark(&mut self, time: &str, mark: &Mark) {
        let family = Family::of(mark.destination.addr());
        let protocol = mark.protocol.map(|protocol| match protocol {
            MarkProtocol::Is(protocol) => protocol,
            MarkProtocol::Icmp if family == Family::V6 => Protocol::ICMPV6,
            MarkProtocol::Icmp => Protocol::ICMP,
        });
        let rule = MarkRule {
            family,
            source: None,
            destination: Some(mark.destination),
            protocol,
            source_ports: None,
            destination_ports: mark.port.map(|port| (port, port)),
            port: Some(CLIENTS),
            mark: mark.mark,
        };
        let with_ports = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
        let wrong = mark.port.is_some_and(|port| port == L4Port::ANY)
            || mark.port.is_some() && !protocol.is_some_and(|p| with_ports.contains(&p));
        if wrong {
            // What tc says, which sets the marks.
            return self.record.event(time, &mark.text, "failed: Illegal \"dst_port\"");
        }
        self.marks.insert(0, rule);
        let result = match self.director.apply(self.now, Command::SetMarkRules(self.marks.clone()))
        {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                self.marks.remove(0);
                format!("failed: {error}")
            }
        };
        self.record.event(time, &mark.text, &result);
    }
}

/// Writing to a string does not fail.
pub(super) fn written(result: std::fmt::Result) {
    debug_assert!(result.is_ok(), "a String takes every text");
}
