//! The whole check, step by step.

mod deny;
mod freestanding;
mod fuzz;
mod package;
mod packages;
mod semver;

use std::time::{Duration, Instant};

use crate::workspace::{Workspace, succeed};
use crate::{record, tidy};

/// How a step that did not fail ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Everything was checked.
    Passed,
    /// Something needed is not on this machine; the reason says how to get it.
    Skipped(String),
}

/// One step of the check.
struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Workspace) -> Result<Outcome, String>,
}

/// The steps, in the order they run: the quick ones that fail most often come first.
const STEPS: &[Step] = &[
    Step { name: "packages", what: "Debian packages that the tests need", run: packages::run },
    Step { name: "format", what: "cargo fmt --check", run: format },
    Step { name: "tidy", what: "lengths, imports, names, documents", run: tidy_step },
    Step { name: "clippy", what: "cargo clippy, warnings denied", run: clippy },
    Step { name: "docs", what: "cargo doc, warnings denied", run: docs },
    Step { name: "test", what: "cargo test", run: test },
    Step { name: "record", what: "a dozen scenarios, by the Linux kernel", run: record::step },
    Step { name: "freestanding", what: "the core without an OS", run: freestanding::run },
    Step { name: "package", what: "each crate, built from its package", run: package::run },
    Step { name: "deny", what: "licences, sources, versions, advisories", run: deny::run },
    Step { name: "semver", what: "interfaces against the last release", run: semver::run },
    Step { name: "fuzz", what: "each fuzz target for 20 seconds", run: fuzz::run },
    Step { name: "benches", what: "each benchmark runs once", run: benches },
];

/// Prints the steps.
pub(crate) fn list() {
    for step in STEPS {
        println!("{:14} {}", step.name, step.what);
    }
}

/// Runs the steps named in `only`, or all of them if it is empty. A step that fails does not keep the
/// later ones from running.
pub(crate) fn run(workspace: &Workspace, only: &[String]) -> Result<(), String> {
    let chosen = choose(only)?;
    let mut lines = Vec::new();
    let mut failed = 0;
    let start = Instant::now();
    for step in chosen {
        println!("\n==== {}: {} ====\n", step.name, step.what);
        let start = Instant::now();
        let result = (step.run)(workspace);
        match &result {
            Ok(Outcome::Passed) => {}
            Ok(Outcome::Skipped(reason)) => println!("skipped: {reason}"),
            Err(message) => {
                failed += 1;
                eprintln!("error: {message}");
            }
        }
        lines.push(summary_line(step.name, &result, start.elapsed()));
    }
    println!("\n==== summary ====\n\nstep           seconds  result");
    for line in lines {
        println!("{line}");
    }
    println!("{:14} {:7.1}", "all", start.elapsed().as_secs_f64());
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of the steps above failed")) }
}

fn choose(only: &[String]) -> Result<Vec<&'static Step>, String> {
    for name in only {
        if !STEPS.iter().any(|step| step.name == name) {
            let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
            return Err(format!("there is no step `{name}`; the steps are {}", names.join(", ")));
        }
    }
    let wanted = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    Ok(STEPS.iter().filter(wanted).collect())
}

fn summary_line(name: &str, result: &Result<Outcome, String>, elapsed: Duration) -> String {
    let (word, detail) = match result {
        Ok(Outcome::Passed) => ("ok", ""),
        Ok(Outcome::Skipped(reason)) => ("skipped: ", reason.as_str()),
        Err(message) => ("FAILED: ", message.lines().next().unwrap_or_default()),
    };
    format!("{name:14} {:7.1}  {word}{detail}", elapsed.as_secs_f64())
}

fn passed(result: Result<(), String>) -> Result<Outcome, String> {
    result.map(|()| Outcome::Passed)
}

fn format(workspace: &Workspace) -> Result<Outcome, String> {
    passed(succeed(workspace.cargo().args(["fmt", "--all", "--check"])))
}

fn tidy_step(workspace: &Workspace) -> Result<Outcome, String> {
    passed(tidy::run(workspace))
}

fn clippy(workspace: &Workspace) -> Result<Outcome, String> {
    let mut command = workspace.cargo();
    command.args(["clippy", "--quiet", "--workspace", "--all-targets", "--all-features"]);
    passed(succeed(command.args(["--", "-D", "warnings"])))
}

fn docs(workspace: &Workspace) -> Result<Outcome, String> {
    let mut command = workspace.cargo();
    command.args(["doc", "--quiet", "--workspace", "--no-deps", "--all-features"]);
    passed(succeed(command.env("RUSTDOCFLAGS", "-D warnings")))
}

fn test(workspace: &Workspace) -> Result<Outcome, String> {
    passed(succeed(workspace.cargo().args(["test", "--workspace", "--all-features"])))
}

fn benches(workspace: &Workspace) -> Result<Outcome, String> {
    if !workspace.packages.iter().any(|package| package.name == "lvs-benches") {
        return Ok(Outcome::Skipped("there is no package lvs-benches".into()));
    }
    // As tests: built without optimization, and run once to see that they still do what they say.
    passed(succeed(workspace.cargo().args(["test", "--package", "lvs-benches", "--benches"])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_does_not_exist_is_named_with_those_that_do() {
        let error = choose(&["tidy".into(), "lint".into()]).err().unwrap();
        assert!(error.contains("`lint`") && error.contains("clippy"), "{error}");
    }

    #[test]
    fn steps_run_in_their_own_order_whatever_order_they_are_asked_in() {
        let chosen = choose(&["test".into(), "tidy".into()]).unwrap();
        assert_eq!(chosen.iter().map(|step| step.name).collect::<Vec<_>>(), ["tidy", "test"]);
    }

    #[test]
    fn the_summary_tells_why_a_step_was_skipped_or_failed() {
        let skipped = summary_line("fuzz", &Ok(Outcome::Skipped("no g++".into())), Duration::ZERO);
        assert_eq!(skipped, "fuzz               0.0  skipped: no g++");
        let failed = summary_line("test", &Err("one\ntwo".into()), Duration::from_millis(1500));
        assert_eq!(failed, "test               1.5  FAILED: one");
    }
}
