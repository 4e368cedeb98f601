//! The operator's shell: a line as typed, and what it prints.

use lvs_admin::ipvsadm::{self, Action, ListRequest, ListWhat};
use lvs_admin::listing::{self, Header, Listing};
use lvs_admin::names::NumericOnly;
use lvs_admin::rules::{Rules, Supported};
use lvs_admin::words;
use lvs_core::command::{Command, MarkRule};
use lvs_core::director::Director;
use lvs_core::listing::{ConnectionEntry, Cursor};
use lvs_core::time::Instant;

use super::DemoError;

/// How many connections are read at once.
const CHUNK: usize = 1024;

/// Carries out a line of ipvsadm or iptables. Returns what it prints.
pub(super) fn run(line: &str, now: Instant, director: &mut Director) -> Result<String, DemoError> {
    let refused = |message: String| DemoError::Command { line: line.to_owned(), message };
    let words = match words::lines(line).next() {
        Some(Ok(words)) => words,
        Some(Err(error)) => return Err(refused(error.kind.to_string())),
        None => return Ok(String::new()),
    };
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    if texts.first() != Some(&"ipvsadm") {
        let marks = add_marks(line, director).map_err(refused)?;
        let done = director.apply(now, Command::SetMarkRules(marks));
        return done.map(|()| String::new()).map_err(|error| refused(error.to_string()));
    }
    match ipvsadm::parse(&texts[1..], &NumericOnly).map_err(|error| refused(error.to_string()))? {
        Action::Change(command) => {
            let done = director.apply(now, command);
            done.map(|()| String::new()).map_err(|error| refused(error.to_string()))
        }
        Action::List(request) => {
            list(&request, now, director).map_err(|error| refused(error.to_string()))
        }
        _ => Err(refused("the demo only changes and lists".to_owned())),
    }
}

/// The mark rules there are, and those of an iptables line.
fn add_marks(line: &str, director: &Director) -> Result<Vec<MarkRule>, String> {
    let rules = Rules::parse("typed", line, &NumericOnly, &Supported::THIS_VERSION);
    let rules = rules.map_err(|errors| errors.to_string())?;
    let new = rules.mark_rules(|_| None).map_err(|error| error.to_string())?;
    Ok(director.mark_rules().iter().copied().chain(new).collect())
}

fn list(
    request: &ListRequest,
    now: Instant,
    director: &mut Director,
) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let listing = Listing::new(Header::default(), *request, &NumericOnly);
    match request.what {
        ListWhat::Services => listing.services(&mut text, &director.services(now))?,
        ListWhat::Connections => {
            listing.connections_title(&mut text)?;
            listing.connections(&mut text, &connections(now, director))?;
        }
        ListWhat::Timeouts => listing::timeouts(&mut text, &director.timeouts())?,
        ListWhat::Daemons => listing::daemons(&mut text, &[])?,
    }
    Ok(text)
}

/// Every connection and template.
pub(super) fn connections(now: Instant, director: &mut Director) -> Vec<ConnectionEntry> {
    let (mut cursor, mut entries) = (Cursor::default(), Vec::new());
    while director.connections(now, &mut cursor, CHUNK, &mut entries) {}
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_wrong_is_refused_with_its_text_and_the_reason() {
        let mut director = Director::new(lvs_core::limits::Limits::small(), [1, 2]).unwrap();
        for (line, reason) in [
            ("ipvsadm -A -t 192.0.2.1", "Zero port specified"),
            ("ipvsadm -a -t 192.0.2.1:80 -r 10.0.0.1", "Service not defined"),
            ("ipvsadm -S", "only changes and lists"),
            ("iptables -t nat -A POSTROUTING", "typed:1"),
            ("ipvsadm 'x", "never closed"),
        ] {
            let error = run(line, Instant::ZERO, &mut director).unwrap_err().to_string();
            assert!(error.contains(line) && error.contains(reason), "{error}");
        }
    }
}
