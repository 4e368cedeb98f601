//! How a scenario is made of a seed: line by line, each played before the next is thought of.

use lvs_core::listing::ConnectionEntry;

use super::calls::Calls;
use super::command::{change, switch, timeouts, zero};
use super::dice::Dice;
use super::steady::entries_if_steady;
use super::sync::Synchronisation;
use super::world::{KINDS, Kind, Service};
use super::{Line, RandomScenario, packet};
use crate::needs::missing;
use crate::scenario::Scenario;

/// How often another line is tried for one that the director cannot do or that finds no steady time.
const ATTEMPTS: usize = 8;
/// How much later than wished a line may stand, in tenths of a second.
const WAIT_MAX: u32 = 400;

/// How long a master may keep an entry for others to join it, in tenths of a second, with room.
const UNSENT_MAX: u32 = 40;

/// The scenario of a seed.
pub(super) fn make(seed: u64) -> RandomScenario {
    let scenario = RandomScenario { seed, lines: Vec::new() };
    let dice = Dice::new(seed);
    let (sync, services, entries) = (Synchronisation::new(seed), Vec::new(), Vec::new());
    // With synchronisation or with calls.
    let calls = Calls::new(seed);
    let calls = if sync.master || sync.backup { calls.none() } else { calls };
    let mut maker = Maker { dice, sync, calls, scenario, at: 0, services, entries };
    maker.set_up();
    maker.at = 3;
    for _ in 0..maker.dice.below(24) + 10 {
        maker.step();
    }
    for what in ["stats", "conns", "persist", "proc"] {
        maker.push(3, format!("dump {what}"));
    }
    if maker.calls.there {
        maker.push(3, "dump engines".to_owned());
    }
    if maker.sync.master {
        maker.push(UNSENT_MAX, "dump sync".to_owned());
    }
    maker.scenario
}

/// Makes a scenario.
struct Maker {
    dice: Dice,
    sync: Synchronisation,
    calls: Calls,
    scenario: RandomScenario,
    /// The time of the last line.
    at: u32,
    services: Vec<Service>,
    /// The connections after the last line.
    entries: Vec<ConnectionEntry>,
}

impl Maker {
    /// What stands at time 0.
    fn set_up(&mut self) {
        let dice = &mut self.dice;
        let mut lines: Vec<String> = Vec::new();
        if dice.one_in(6) {
            let mtu = dice.word(&["@mtu server 1400", "@mtu server 1400", "@mtu client 1400"]);
            lines.push(mtu.to_owned());
        }
        if dice.one_in(12) {
            lines.push(
                dice.word(&["@unreachable 10.1.0.3", "@unreachable 2001:db8:2::3"]).to_owned(),
            );
        }
        if dice.one_in(2) {
            lines.push(timeouts(dice));
        }
        if dice.one_in(4) {
            for interface in ["all", "s0"] {
                lines.push(format!("sysctl net.ipv4.conf.{interface}.accept_local=1"));
            }
        }
        for _ in 0..dice.below(3) {
            lines.push(switch(dice));
        }
        self.push_all(lines);
        let lines = self.sync.set_up();
        self.push_all(lines);
        let mut kinds: Vec<&'static Kind> = Vec::new();
        for _ in 0..self.dice.below(3) + 1 {
            let kind = self.dice.pick(KINDS);
            if kinds.iter().all(|other| other.option != kind.option) {
                kinds.push(kind);
            }
        }
        let called = self.calls.kinds();
        if !called.is_empty() {
            self.push(0, "@engine sip".to_owned());
            kinds.extend(called);
        }
        let setup = kinds.iter().flat_map(|kind| kind.setup.iter().map(|&line| line.to_owned()));
        self.push_all(setup.collect::<Vec<_>>());
        kinds.into_iter().for_each(|kind| self.add_service(kind));
        if self.services.is_empty() {
            let mut service = Service::new(&mut self.dice, &KINDS[0]);
            if self.sync.runs() {
                service.stay_in_family();
            }
            let lines = service.lines(&mut self.dice);
            self.push_all(lines);
            self.services.push(service);
        }
    }

    /// A service with some servers.
    fn add_service(&mut self, kind: &'static Kind) {
        let mut service = Service::new(&mut self.dice, kind);
        if self.sync.runs() {
            service.stay_in_family();
        }
        let first = service.line(&mut self.dice, "-A");
        if !self.push(0, first) {
            return;
        }
        for number in 2..4 + self.dice.below(4) {
            // A method that is missing is drawn again.
            for _ in 0..ATTEMPTS {
                let line = service.server_line(&mut self.dice, "-a", number);
                if self.push(0, line) {
                    break;
                }
                service.reach_otherwise(&mut self.dice, number);
            }
        }
        self.services.push(service);
    }

    fn push_all(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            self.push(0, line);
        }
    }

    /// What happens next, a tenth of a second later or more.
    fn step(&mut self) {
        if let Some(message) = self.sync.message(&self.services) {
            // A thread of the kernel reads it.
            self.push(2, message);
            self.at += 1;
        }
        if let Some(message) = self.calls.message(&self.services) {
            self.push(1, message);
        }
        for _ in 0..ATTEMPTS {
            let Some((pause, lines)) = self.propose() else { continue };
            let mut pushed = false;
            for (number, line) in lines.into_iter().enumerate() {
                pushed |= self.push(if number == 0 { pause } else { 3 }, line);
            }
            if pushed {
                return;
            }
        }
    }

    /// Lines, and the tenths of a second before the first of them.
    fn propose(&mut self) -> Option<(u32, Vec<String>)> {
        let dice = &mut self.dice;
        let service = dice.pick(&self.services).clone();
        let of_entry = if self.entries.is_empty() { None } else { Some(dice.pick(&self.entries)) };
        let line = match (dice.below(100), of_entry) {
            (0..2, _) => zero(dice, &service),
            (2..18, _) => return Some((3, change(dice, &service))),
            (18..25, _) => format!("dump {}", dice.word(DUMPS)),
            (25..31, Some(entry)) => packet::icmp(dice, entry)?,
            (31..41, Some(entry)) => packet::of_server(dice, entry)?,
            (41..43, _) => packet::echo(dice, &service),
            _ => packet::of_client(dice, &service),
        };
        let pause = match line.starts_with("dump") || line.starts_with("ipvsadm") {
            true => 3,
            false if dice.one_in(40) => 300 + dice.below(400),
            false => *dice.pick(&[0, 0, 1, 1, 1, 2, 5, 20, 45]),
        };
        Some((pause, vec![line]))
    }

    /// Adds a line so much later than the last one, or, if the kernel's answer varies about then, as soon
    /// after it as is steady. Says whether it was added: not, if the director cannot do what it asks for.
    fn push(&mut self, pause: u32, text: String) -> bool {
        let alone = if text.starts_with('@') { text.clone() } else { format!("0 {text}") };
        if !Scenario::parse("", &alone).is_ok_and(|scenario| missing(&scenario).is_empty()) {
            return false;
        }
        let wished = self.at + pause;
        self.scenario.lines.push(Line { at: wished, text });
        let last = self.scenario.lines.len() - 1;
        for at in (wished..=wished + WAIT_MAX).step_by(if wished == 0 { 1000 } else { 4 }) {
            self.scenario.lines[last].at = at;
            if let Some(entries) = entries_if_steady(&self.scenario.parse()) {
                self.at = at;
                self.entries = entries.into_iter().filter(|entry| !entry.template).collect();
                return true;
            }
        }
        self.scenario.lines.pop();
        false
    }
}

const DUMPS: &[&str] = &[
    "conns",
    "conns",
    "conns",
    "services",
    "persist",
    "thresholds",
    "stats",
    "save",
    "rates",
    "tuninfo",
    "proc",
];
