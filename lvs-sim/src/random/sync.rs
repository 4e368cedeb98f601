//! Synchronisation in random scenarios: the director's daemons, and what the master of another one sends.
//!
//! It has dice of its own, so that a scenario without it is the same as ever.

use super::dice::Dice;
use super::world::{Service, client};

/// Makes a scenario's dice differ from those of everything else.
const OWN: u64 = 0x73_79_6e_63;

/// The part of synchronisation in a scenario.
#[derive(Clone, Debug)]
pub(super) struct Synchronisation {
    dice: Dice,
    pub(super) master: bool,
    pub(super) backup: bool,
}

impl Synchronisation {
    /// One scenario in three has some.
    pub(super) fn new(seed: u64) -> Synchronisation {
        let mut dice = Dice::new(seed ^ OWN);
        let (master, backup) = match dice.below(12) {
            0 | 1 => (true, false),
            2 => (false, true),
            3 => (true, true),
            _ => (false, false),
        };
        Synchronisation { dice, master, backup }
    }

    /// Whether a daemon runs. Then the kernel has no server of another family than its service's (rule Y14).
    pub(super) fn runs(&self) -> bool {
        self.master || self.backup
    }

    /// What stands at time 0.
    pub(super) fn set_up(&mut self) -> Vec<String> {
        let dice = &mut self.dice;
        let mut lines = Vec::new();
        if self.backup {
            // Also those that no service has are there and answer.
            let servers = [2, 3, 4, 5, 6, 7, 9];
            let words = servers.map(|number| format!(" 10.1.0.{number} 2001:db8:2::{number}"));
            lines.push(format!("@server{}", words.concat()));
        }
        if self.master {
            let threshold = dice.word(&["0,1", "0,1", "1,3", "3,50", "2,0", "2,5", "0,0"]);
            lines.push(format!("sysctl net.ipv4.vs.sync_threshold={threshold}"));
            if dice.one_in(5) {
                lines.push("sysctl net.ipv4.vs.sync_version=0".to_owned());
            }
            if dice.one_in(5) {
                lines.push("sysctl net.ipv4.vs.sync_persist_mode=1".to_owned());
            }
        }
        let roles = [(self.master, "master"), (self.backup, "backup")];
        for (_, role) in roles.into_iter().filter(|(has, _)| *has) {
            lines.push(format!("ipvsadm --start-daemon {role} --mcast-interface s0 --syncid 7"));
        }
        lines
    }

    /// A message of another director's master about one of these services, at some steps.
    pub(super) fn message(&mut self, services: &[Service]) -> Option<String> {
        if !self.backup || services.is_empty() || !self.dice.one_in(4) {
            return None;
        }
        let version = if self.dice.one_in(6) { "version=0 " } else { "" };
        let entries: Vec<String> = (0..self.dice.below(3) + 1)
            .filter_map(|_| {
                let service = self.dice.pick(services).clone();
                if self.dice.one_in(4) {
                    self.template(&service)
                } else {
                    self.connection(&service)
                }
            })
            .filter(|entry| version.is_empty() || !entry.contains('['))
            .collect();
        (!entries.is_empty()).then(|| format!("sync id=7 {version}{}", entries.join(" ; ")))
    }

    fn connection(&mut self, service: &Service) -> Option<String> {
        let server = self.server(service)?;
        let dice = &mut self.dice;
        let protocol = dice.word(service.kind.protocols);
        let (client, towards) = (client(dice, service.kind.v6), dice.word(service.kind.towards));
        // Under a mark, and with every port, a server has the port of the packet.
        let port = towards.rsplit_once(':').map_or("80", |(_, port)| port);
        let server = match server.strip_suffix(":0") {
            Some(addr) => format!("{addr}:{port}"),
            None => server,
        };
        let state = match protocol {
            "tcp" => dice.word(&["1", "1", "1", "4", "5", "6", "7", "3", "11"]),
            "sctp" => dice.word(&["8", "8", "13", "9", "14"]),
            _ => dice.word(&["0", "0", "0", "1"]),
        };
        let flags = dice.word(&["0x83", "0x83", "0x183", "0x80", "0", "0x100", "0x182", "0x2083"]);
        let timeout = dice.word(&["300", "300", "900", "60", "0"]);
        let client_port = 40_000 + dice.below(3);
        Some(format!(
            "{protocol} {client}:{client_port} > {towards} > {server} flags={flags} state={state} \
             timeout={timeout}{}",
            mark(service)
        ))
    }

    fn template(&mut self, service: &Service) -> Option<String> {
        let server = self.server(service)?;
        let dice = &mut self.dice;
        let client = client(dice, service.kind.v6);
        let flags = dice.word(&["0x1183", "0x1003", "0x1100"]);
        let state = dice.word(&["0", "1"]);
        let timeout = dice.word(&["300", "900", "0"]);
        let (protocol, towards) = match service.kind.option.strip_prefix("-f ") {
            None => (dice.word(service.kind.protocols), dice.word(service.kind.towards).to_owned()),
            Some(mark) => match mark.strip_suffix(" -6") {
                Some(mark) => ("ip", format!("[0:{mark}::]:0")),
                None => ("ip", format!("0.0.0.{mark}:0")),
            },
        };
        Some(format!(
            "{protocol} {client}:0 > {towards} > {server} flags={flags} state={state} timeout={timeout}{}",
            mark(service)
        ))
    }

    /// One of the service's servers, or one that nobody knows; none of another family.
    fn server(&mut self, service: &Service) -> Option<String> {
        let dice = &mut self.dice;
        if dice.one_in(5) {
            let unknown = if service.kind.v6 { "[2001:db8:2::9]:80" } else { "10.1.0.9:80" };
            return Some(unknown.to_owned());
        }
        let server = service.server(service.number(dice));
        (server.starts_with('[') == service.kind.v6).then_some(server)
    }
}

/// The mark of a service's packets.
fn mark(service: &Service) -> String {
    match service.kind.option.strip_prefix("-f ") {
        Some(mark) => format!(" mark={}", mark.trim_end_matches(" -6")),
        None => String::new(),
    }
}
