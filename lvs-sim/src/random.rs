//! Random scenarios: what nobody thought of writing down, for the kernel and for lvs alike.
//!
//! A seed gives a scenario: a few services with schedulers, persistence, marks and thresholds, then
//! packets of a handful of clients between edits, deletions and switches. It asks only for what the
//! director can do ([`missing`](crate::needs::missing)); [`METHODS`] grows with it.
//!
//! The kernel's timers fire late, up to an eighth of the timeout (rule T1), and how late depends on the
//! phase of a clock. So no event stands between an entry's timeout and timeout · 1.125 + 0.2 s, with some
//! room for an event that is played late itself: [`is_steady`] plays the scenario and looks.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration as Span;

use crate::player::lifetimes;
use crate::scenario::Scenario;

/// The forwarding methods that are used.
pub const METHODS: &[&str] = &["-g"];

/// The schedulers that are used, flags included.
pub const SCHEDULERS: &[&str] = &[
    "rr",
    "wrr",
    "lc",
    "wlc",
    "sed",
    "nq",
    "fo",
    "ovf",
    "lblc",
    "lblcr",
    "dh",
    "sh",
    "sh -b sh-fallback",
    "sh -b sh-port",
    "sh -b sh-fallback,sh-port",
    "mh",
    "mh -b mh-fallback",
    "mh -b mh-port",
];

/// How much earlier than written an entry may end, and how much later an event may be played.
const ROOM: f64 = 0.6;
/// How long the statistics need to be whole (rule T3), in tenths of a second.
const STATISTICS: u32 = 26;

/// A scenario made of a seed, in a form that can be shortened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RandomScenario {
    seed: u64,
    /// Lines with their times in tenths of a second.
    lines: Vec<(u32, String)>,
}

impl RandomScenario {
    /// The scenario of a seed.
    ///
    /// ```
    /// use lvs_sim::random::{RandomScenario, is_steady};
    /// let scenario = RandomScenario::new(1);
    /// assert_eq!(scenario.text(), RandomScenario::new(1).text());
    /// assert!(is_steady(&scenario.parse()));
    /// ```
    pub fn new(seed: u64) -> RandomScenario {
        let mut made = RandomScenario { seed, lines: Vec::new() };
        let mut dice = Dice(seed ^ 0x6c76_735f_7261_6e64);
        let services = made.services(&mut dice);
        let mut at = 3;
        for _ in 0..dice.below(16) + 8 {
            let (pause, line) = step(&mut dice, &services);
            at = made.push_steadily(at + pause, line);
        }
        at = made.push_steadily(at + STATISTICS, "dump stats".to_owned());
        for what in ["conns", "persist", "proc"] {
            at = made.push_steadily(at + 3, format!("dump {what}"));
        }
        made
    }

    /// A name for files: `random-SEED`.
    pub fn name(&self) -> String {
        format!("random-{}", self.seed)
    }

    /// How many lines it has.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether it has no line left.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The scenario's text.
    pub fn text(&self) -> String {
        let mut text = format!("# random scenario of seed {}\n", self.seed);
        for (at, line) in &self.lines {
            let time = if *at == 0 { "0".to_owned() } else { format!("{}.{}", at / 10, at % 10) };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{time} {line}");
        }
        text
    }

    /// The scenario, parsed.
    ///
    /// # Panics
    /// Never: what is generated is in the language.
    pub fn parse(&self) -> Scenario {
        Scenario::parse(&format!("{}.lvs", self.name()), &self.text())
            .unwrap_or_else(|error| panic!("a generated scenario has a mistake: {error}"))
    }

    /// The scenario without some of its lines, if it is steady then.
    pub fn without(&self, lines: std::ops::Range<usize>) -> Option<RandomScenario> {
        let mut shorter = self.clone();
        shorter.lines.drain(lines.start..lines.end.min(self.lines.len()));
        (!shorter.is_empty() && is_steady(&shorter.parse())).then_some(shorter)
    }

    /// Adds a line at a time or, if a timer is due about then, as soon after it as is steady.
    fn push_steadily(&mut self, at: u32, line: String) -> u32 {
        self.lines.push((at, line));
        let last = self.lines.len() - 1;
        for later in (0..200).map(|step| at + step * 3) {
            self.lines[last].0 = later;
            if is_steady(&self.parse()) {
                return later;
            }
        }
        self.lines.pop();
        at
    }

    /// Writes the set-up and returns the services' options, as in `-t 10.0.0.1:80`.
    fn services(&mut self, dice: &mut Dice) -> Vec<Service> {
        let mut lines = Vec::new();
        if dice.one_in(2) {
            lines
                .push(format!("ipvsadm --set {}", dice.word(&["20 5 4", "900 120 300", "15 3 3"])));
        }
        for _ in 0..dice.below(3) {
            lines.push(switch(dice));
        }
        let mut services = Vec::new();
        for _ in 0..dice.below(2) + 1 {
            let service = dice.pick(SERVICES).clone();
            if services.contains(&service) {
                continue;
            }
            if let Some(mark) = service.mark {
                lines.extend(mark.iter().map(|&line| line.to_owned()));
            }
            lines.push(format!(
                "ipvsadm -A {} {}",
                service.option,
                service_options(dice, &service)
            ));
            for number in 2..4 + dice.below(3) {
                lines.push(destination(dice, &service, "-a", number));
            }
            services.push(service);
        }
        self.lines = lines.into_iter().map(|line| (0, line)).collect();
        services
    }
}

/// Whether no event stands where the kernel's own answer varies.
pub fn is_steady(scenario: &Scenario) -> bool {
    let Ok(events) = lifetimes(scenario) else { return false };
    let mut known: HashMap<_, (f64, f64)> = HashMap::new();
    let mut critical: Vec<(f64, f64)> = Vec::new();
    for (at, entries) in events {
        let now = Span::from_nanos(at.as_nanos()).as_secs_f64();
        if now > 0.0 && critical.iter().any(|&(from, to)| (from..=to).contains(&now)) {
            return false;
        }
        for (entry, left) in entries {
            let end = now + left;
            let (known_end, _) = *known.entry(entry).or_insert((end, left));
            if (known_end - end).abs() > 0.01 {
                known.insert(entry, (end, left));
            }
        }
        // An entry that was restarted ends later; only the last end of each counts.
        critical = known
            .values()
            .map(|&(end, timeout)| (end - ROOM, end + timeout / 8.0 + 0.2 + ROOM))
            .collect();
    }
    true
}

/// A kind of service.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Service {
    option: &'static str,
    v6: bool,
    udp: bool,
    /// The lines that set its mark.
    mark: Option<&'static [&'static str]>,
    /// Virtual address and port of its packets.
    towards: &'static [&'static str],
}

const SERVICES: &[Service] = &[
    Service {
        option: "-t 10.0.0.1:80",
        v6: false,
        udp: false,
        mark: None,
        towards: &["10.0.0.1:80"],
    },
    Service {
        option: "-t 10.0.0.2:443",
        v6: false,
        udp: false,
        mark: None,
        towards: &["10.0.0.2:443"],
    },
    Service {
        option: "-u 10.0.0.1:53",
        v6: false,
        udp: true,
        mark: None,
        towards: &["10.0.0.1:53"],
    },
    Service {
        option: "-t [2001:db8:1::1]:80",
        v6: true,
        udp: false,
        mark: None,
        towards: &["[2001:db8:1::1]:80"],
    },
    Service {
        option: "-u [2001:db8:1::1]:53",
        v6: true,
        udp: true,
        mark: None,
        towards: &["[2001:db8:1::1]:53"],
    },
    Service {
        option: "-f 5",
        v6: false,
        udp: false,
        mark: Some(&["mark tcp 10.0.0.5:80 5", "mark tcp 10.0.0.6:81 5"]),
        towards: &["10.0.0.5:80", "10.0.0.6:81"],
    },
    // Port 0 of a persistent service.
    Service {
        option: "-t 10.0.0.7:0",
        v6: false,
        udp: false,
        mark: None,
        towards: &["10.0.0.7:80", "10.0.0.7:8080"],
    },
];

fn service_options(dice: &mut Dice, service: &Service) -> String {
    let mut text = format!("-s {}", dice.word(SCHEDULERS));
    if service.option.ends_with(":0") || dice.one_in(3) {
        // No template ends within a scenario but those of 3 and 5 seconds, whose timers are exact.
        text += dice.word(&[" -p 3", " -p 5", " -p 300", " -p"]);
        if dice.one_in(3) {
            text += if service.v6 {
                " -M 64"
            } else {
                dice.word(&[" -M 255.255.255.0", " -M 0.0.0.0"])
            };
        }
    } else if service.udp && dice.one_in(3) {
        text += " -o";
    }
    text
}

fn destination(dice: &mut Dice, service: &Service, verb: &str, number: u32) -> String {
    let port = service.option.rsplit_once(':').map_or("0", |(_, port)| port);
    let server = if service.v6 {
        format!("[2001:db8:2::{number}]:{port}")
    } else {
        format!("10.1.0.{number}")
    };
    let mut text = format!("ipvsadm {verb} {} -r {server}", service.option);
    if verb != "-d" {
        text += &format!(
            " {} -w {}",
            dice.word(METHODS),
            dice.word(&["1", "1", "1", "2", "3", "5", "0"])
        );
        if dice.one_in(6) {
            text += dice.word(&[" -x 2", " -x 4 -y 2", " -x 3 -y 1"]);
        }
    }
    text
}

fn switch(dice: &mut Dice) -> String {
    let setting = dice.word(&[
        "conn_reuse_mode=0",
        "conn_reuse_mode=1",
        "conn_reuse_mode=3",
        "expire_nodest_conn=1",
        "expire_nodest_conn=0",
        "expire_quiescent_template=1",
        "expire_quiescent_template=0",
        "sloppy_tcp=1",
    ]);
    format!("sysctl net.ipv4.vs.{setting}")
}

/// A line after the set-up, and the tenths of a second before it.
fn step(dice: &mut Dice, services: &[Service]) -> (u32, String) {
    let service = dice.pick(services).clone();
    let number = dice.below(5) + 2;
    match dice.below(20) {
        0 | 1 => (5, destination(dice, &service, "-e", number)),
        2 => (5, destination(dice, &service, "-d", number)),
        3 => (5, destination(dice, &service, "-a", number)),
        4 => {
            let options = service_options(dice, &service);
            (5, format!("ipvsadm -E {} {options}", service.option))
        }
        5 => (3, switch(dice)),
        6 | 7 => {
            (5, format!("dump {}", dice.word(&["conns", "services", "persist", "thresholds"])))
        }
        _ => {
            let pause = *dice.pick(&[1, 1, 1, 2, 5, 20, 45]);
            (pause, packet(dice, &service))
        }
    }
}

fn packet(dice: &mut Dice, service: &Service) -> String {
    let protocol = if service.udp { "udp" } else { "tcp" };
    let client = dice.word(&["7", "8", "9"]);
    let client =
        if service.v6 { format!("[2001:db8:9::{client}]") } else { format!("192.0.2.{client}") };
    let port = 40_000 + dice.below(3);
    let ports = match dice.below(3) {
        0 => format!("{port}-{}", port + 1 + dice.below(5)),
        _ => port.to_string(),
    };
    let rest = match service.udp {
        true => "len=4",
        false => dice.word(&["S", "S", "S", "A", "A", "FA", "R", "PA len=10", "SA", "."]),
    };
    format!("{protocol} {client}:{ports} > {} {rest}", dice.word(service.towards))
}

/// Numbers from a seed (SplitMix64, by Sebastiano Vigna, in the public domain).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u32) -> u32 {
        (self.next() % u64::from(bound)) as u32
    }

    fn one_in(&mut self, bound: u32) -> bool {
        self.below(bound) == 0
    }

    fn word(&mut self, from: &[&'static str]) -> &'static str {
        self.pick::<&str>(from)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[(self.next() % from.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::missing;

    #[test]
    fn a_scenario_asks_only_for_what_the_director_can_do() {
        for seed in 0..100 {
            let scenario = RandomScenario::new(seed).parse();
            assert!(missing(&scenario).is_empty(), "{seed}: {:?}", missing(&scenario));
            assert!(is_steady(&scenario), "{seed}");
        }
    }

    #[test]
    fn an_event_at_the_end_of_an_entry_is_not_steady() {
        let text = |at: &str| {
            format!(
                "0 ipvsadm -A -u 10.0.0.1:53 -s rr\n0 ipvsadm -a -u 10.0.0.1:53 -r 10.1.0.2 -g\n\
                 0 ipvsadm --set 0 0 4\n1 udp 192.0.2.7:1 > 10.0.0.1:53\n{at} dump conns\n"
            )
        };
        let steady = |at| is_steady(&Scenario::parse("x.lvs", &text(at)).unwrap());
        assert!(steady("4.2") && !steady("4.6") && !steady("5.6") && steady("6.4"));
    }
}
