//! Random scenarios: what nobody thought of writing down, for the kernel and for lvs alike.
//!
//! A seed gives a scenario: a few services with schedulers, persistence, marks and thresholds, then
//! packets of clients, servers and routers between edits, deletions and switches. What the director
//! cannot do is left out: each line is held against [`missing`](crate::needs::missing), so
//! that the scenarios grow with the director.
//!
//! No event stands where the kernel's own answer varies: [`is_steady`] plays the scenario and looks, and
//! an event that would stand there comes as soon after it as is steady.

mod calls;
mod command;
mod dice;
mod maker;
mod packet;
mod steady;
mod sync;
mod world;

use std::fmt::Write;

use crate::scenario::Scenario;
pub use steady::is_steady;

/// A scenario made of a seed, in a form that can be shortened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RandomScenario {
    seed: u64,
    lines: Vec<Line>,
}

/// A line of a scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    /// Tenths of a second; a directive has no time.
    at: u32,
    text: String,
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
        maker::make(seed)
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
        for Line { at, text: line } in &self.lines {
            let time = if *at == 0 { "0".to_owned() } else { format!("{}.{}", at / 10, at % 10) };
            // Writing to a string does not fail.
            let _ = match line.starts_with('@') {
                true => writeln!(text, "{line}"),
                false => writeln!(text, "{time} {line}"),
            };
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

    /// The scenario without the lines at some places, if it is steady then.
    pub fn without(&self, leave_out: impl Fn(usize) -> bool) -> Option<RandomScenario> {
        let kept = self.lines.iter().enumerate().filter(|(at, _)| !leave_out(*at));
        let lines = kept.map(|(_, line)| line.clone()).collect();
        let shorter = RandomScenario { seed: self.seed, lines };
        (!shorter.is_empty() && is_steady(&shorter.parse())).then_some(shorter)
    }

    /// The scenario up to the event that a record shows as `TIME ACTION…`.
    pub fn up_to(&self, event: &str) -> Option<RandomScenario> {
        let time = event.split(' ').next()?.parse::<f64>().ok()?;
        let last = self.lines.iter().rposition(|line| f64::from(line.at) / 10.0 <= time + 0.01)?;
        self.without(|at| at > last)
    }

    /// The scenario with one packet instead of a range of packets in each line that has one, if there is
    /// such a line and it is steady then.
    pub fn without_ranges(&self) -> Option<RandomScenario> {
        let mut simpler = self.clone();
        for line in &mut simpler.lines {
            let words: Vec<_> = line.text.split(' ').map(first_of_range).collect();
            line.text = words.join(" ");
        }
        (simpler != *self && is_steady(&simpler.parse())).then_some(simpler)
    }
}

/// `ADDRESS:FIRST-LAST` without `-LAST`.
fn first_of_range(word: &str) -> &str {
    match word.rsplit_once(':').and_then(|(_, ports)| ports.split_once('-')) {
        Some((first, last)) if [first, last].iter().all(|port| port.parse::<u16>().is_ok()) => {
            &word[..word.len() - last.len() - 1]
        }
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::missing;

    #[test]
    fn scenarios_are_steady_have_every_kind_of_line_and_nothing_that_is_missing() {
        let mut text = String::new();
        for seed in 0..12 {
            let scenario = RandomScenario::new(seed);
            text += &scenario.text();
            let scenario = scenario.parse();
            assert!(missing(&scenario).is_empty(), "{seed}: {:?}", missing(&scenario));
            assert!(is_steady(&scenario), "{seed}");
        }
        let words = [
            " -A ",
            " -E ",
            " -D ",
            " -a ",
            " -e ",
            " -d ",
            " --set ",
            " -x ",
            " -p ",
            " -M ",
            " -f ",
            " -i",
            " -m",
            "gue",
            "gre",
            "frag ",
            " reply ",
            " quoting ",
            " csum=0",
            " ttl=1",
            "sysctl",
            "mark",
            "udp [",
            "tcp [",
            "sctp ",
            "dump stats",
            " --start-daemon master ",
            " --start-daemon backup ",
            "sync id=7 ",
            "dump sync",
        ];
        for word in words {
            assert!(text.contains(word), "{word}");
        }
    }

    #[test]
    fn a_scenario_is_shortened_by_lines_by_time_and_by_ranges() {
        let line = |at, text: &str| Line { at, text: text.to_owned() };
        let scenario = RandomScenario {
            seed: 7,
            lines: vec![
                line(0, "ipvsadm -A -t 10.0.0.1:80 -s rr"),
                line(10, "tcp 192.0.2.7:40000-40004 > 10.0.0.1:80 S"),
                line(12, "dump conns"),
            ],
        };
        let text = |scenario: Option<RandomScenario>| scenario.unwrap().text();
        let head = "# random scenario of seed 7\n";
        assert_eq!(text(scenario.without(|at| at != 2)), format!("{head}1.2 dump conns\n"));
        assert_eq!(scenario.up_to("1.0 tcp 192.0.2.7:40003 > 10.0.0.1:80 S").unwrap().len(), 2);
        assert!(text(scenario.without_ranges()).contains(" 192.0.2.7:40000 > "));
        assert_eq!(scenario.without(|_| true), None);
    }
}
