//! The text of a record.

use std::fmt::Write as _;

use super::Outcome;
use crate::scenario::Scenario;

/// A record in the making: events in the order they happened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    text: String,
}

impl Record {
    /// A record with its head lines; `subject` says what was recorded, such as `kernel 6.1.176`.
    pub fn new(scenario: &Scenario, subject: &str) -> Record {
        let Scenario { name, title, .. } = scenario;
        Record {
            text: format!("# lvs-oracle record v1\n# scenario {name}: {title}\n# {subject}\n"),
        }
    }

    /// An event and its result.
    pub fn event(&mut self, time: &str, action: &str, result: &str) {
        let _ = writeln!(self.text, "{time} {action} => {result}");
    }

    /// A dump's head line.
    pub fn dump(&mut self, time: &str, what: &str) {
        let _ = writeln!(self.text, "{time} dump {what}");
    }

    /// A line below the last event.
    pub fn below(&mut self, line: &str) {
        let _ = writeln!(self.text, "    {}", line.trim_end());
    }

    /// Lines of a listing below a dump, each with `tag` and a bar in front.
    pub fn listing<'a>(&mut self, tag: &str, lines: impl IntoIterator<Item = &'a str>) {
        for line in lines {
            let _ = writeln!(self.text, "    {tag}| {}", line.trim_end());
        }
    }

    /// Frames that were sent without a packet that caused them, before the event at `time`.
    pub fn async_outcomes(&mut self, time: &str, outcomes: &[Outcome]) {
        if outcomes.is_empty() {
            return;
        }
        let _ = writeln!(self.text, "{time} async => {}", join(outcomes));
        for outcome in outcomes {
            self.below(&outcome.detail);
        }
    }

    /// A packet and what the director did because of it. `first` stands in front of the results, such as
    /// `local`; `otherwise` is the result if there is none.
    pub fn packet(
        &mut self,
        time: &str,
        action: &str,
        first: Option<&str>,
        outcomes: &[Outcome],
        otherwise: &str,
    ) {
        let result = match (first, outcomes) {
            (None, []) => otherwise.to_owned(),
            (Some(first), []) => first.to_owned(),
            (None, outcomes) => join(outcomes),
            (Some(first), outcomes) => format!("{first} + {}", join(outcomes)),
        };
        self.event(time, action, &result);
        for outcome in outcomes {
            self.below(&outcome.detail);
        }
    }

    /// The text so far.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.text
    }
}

fn join(outcomes: &[Outcome]) -> String {
    let results: Vec<_> = outcomes.iter().map(|outcome| outcome.result.as_str()).collect();
    results.join(" + ")
}
