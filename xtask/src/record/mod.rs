//! `cargo xtask record`: what the Linux kernel does with scenarios, written down.

pub(crate) mod differential;
mod kernel;

use std::fs;
use std::path::{Path, PathBuf};

use lvs_sim::compare::{Tolerances, compare};
use lvs_sim::scenario::Scenario;

use crate::ci::Outcome;
use crate::workspace::Workspace;
pub(crate) use kernel::{Boot, Failure, Kernel};

/// What the check records anew: short ones, of every kind.
const SAMPLE: &[&str] = &[
    "active-inactive",
    "all-weight0",
    "dr-headers",
    "fo-basic",
    "fwmark-basic",
    "mh-basic",
    "ops-udp",
    "persist-default",
    "quiesce-live",
    "rr-order",
    "sh-basic",
    "sync-backup-tcp",
    "sync-master-mark",
    "v6-dr",
];

/// Attempts to record a scenario whose events were late.
const ATTEMPTS: usize = 3;

/// Records scenarios (files, or names of the shipped ones; all of them if none is named) and writes them to `out`, or,
/// without `out`, over the shipped records. With `compare_only` nothing is written over: the new records are held
/// against the shipped ones.
pub(crate) fn run(
    workspace: &Workspace,
    names: &[String],
    out: Option<&Path>,
    compare_only: bool,
) -> Result<(), String> {
    let kernel = Kernel::find(workspace)?;
    record(workspace, &kernel, names, out, compare_only).map_err(String::from)
}

fn record(
    workspace: &Workspace,
    kernel: &Kernel,
    names: &[String],
    out: Option<&Path>,
    compare_only: bool,
) -> Result<(), Failure> {
    let scenarios = choose(workspace, names).map_err(Failure::Broken)?;
    let shipped = workspace.root.join("conformance/recorded");
    let fresh = workspace.target.join("uml/records");
    let made = record_in_time(kernel, &paths(&scenarios), &fresh)?;
    let mut differing = 0;
    for (name, path) in &scenarios {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = made.iter().find(|(made, _)| *made == stem).map_or("", |(_, text)| text);
        let target = match out {
            Some(out) => Some(out.join(format!("{stem}.rec"))),
            None if compare_only => None,
            None => Some(shipped.join(format!("{name}.rec"))),
        };
        if compare_only {
            differing += usize::from(!agrees(&shipped, name, text).map_err(Failure::Broken)?);
        }
        if let Some(target) = target {
            let failed = |e: std::io::Error| Failure::Broken(format!("{}: {e}", target.display()));
            target.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
            fs::write(&target, text).map_err(failed)?;
        }
    }
    println!("{} scenarios recorded", scenarios.len());
    if differing == 0 {
        Ok(())
    } else {
        Err(Failure::Broken(format!("{differing} records differ from the shipped ones")))
    }
}

/// The step of the check.
pub(crate) fn step(workspace: &Workspace) -> Result<Outcome, String> {
    let kernel = match Kernel::find(workspace) {
        Ok(kernel) => kernel,
        Err(reason) => return Ok(Outcome::Skipped(reason)),
    };
    let names: Vec<String> = SAMPLE.iter().map(|&name| name.into()).collect();
    match record(workspace, &kernel, &names, None, true) {
        Ok(()) => Ok(Outcome::Passed),
        Err(failure @ Failure::NoBoot(_)) => Ok(Outcome::Skipped(failure.into())),
        Err(failure) => Err(failure.into()),
    }
}

/// Records scenarios, those with late events again. Returns the records with their names; one that is
/// late at every attempt keeps its line `# late`.
pub(crate) fn record_in_time(
    kernel: &Kernel,
    scenarios: &[PathBuf],
    out: &Path,
) -> Result<Vec<(String, String)>, Failure> {
    let mut left = scenarios.to_vec();
    let mut made = Vec::new();
    for attempt in 1..=ATTEMPTS {
        kernel.record(&left, out)?;
        let mut late = Vec::new();
        for path in left {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let record = out.join(format!("{name}.rec"));
            let text = fs::read_to_string(&record)
                .map_err(|e| Failure::Broken(format!("{}: {e}", record.display())))?;
            if attempt < ATTEMPTS && is_late(&text) {
                late.push(path);
            } else {
                made.push((name, text));
            }
        }
        if late.is_empty() {
            break;
        }
        println!("{} scenarios had late events: the machine is busy; once more", late.len());
        left = late;
    }
    Ok(made)
}

/// Whether an event of a record was played later than the timeline says.
pub(crate) fn is_late(record: &str) -> bool {
    record.lines().take_while(|line| line.starts_with('#')).any(|line| line.starts_with("# late"))
}

/// Holds a new record against the shipped one and prints where they differ.
fn agrees(shipped: &Path, name: &str, text: &str) -> Result<bool, String> {
    let path = shipped.join(format!("{name}.rec"));
    let old = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let seconds = if name.starts_with("long/") { 6 } else { 1 };
    let found = compare(&old, text, Tolerances { seconds, ..Tolerances::default() });
    for difference in &found {
        println!("{name}: {difference}");
    }
    Ok(found.is_empty())
}

fn paths(scenarios: &[(String, PathBuf)]) -> Vec<PathBuf> {
    scenarios.iter().map(|(_, path)| path.clone()).collect()
}

/// The scenarios with their names, `long/` and `loose/` before those of these folders. Each is parsed,
/// so that a mistake is told before a kernel boots.
fn choose(workspace: &Workspace, names: &[String]) -> Result<Vec<(String, PathBuf)>, String> {
    let directory = workspace.root.join("conformance/scenarios");
    let mut shipped = Vec::new();
    for folder in ["", "long/", "loose/"] {
        let folder_path = directory.join(folder);
        let entries =
            fs::read_dir(&folder_path).map_err(|e| format!("{}: {e}", folder_path.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "lvs") {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                shipped.push((format!("{folder}{stem}"), path.clone()));
            }
        }
    }
    shipped.sort();
    let mut chosen = Vec::new();
    for name in names {
        match shipped.iter().find(|(shipped, _)| shipped == name) {
            Some(found) => chosen.push(found.clone()),
            None if Path::new(name).is_file() => {
                let path = fs::canonicalize(name).map_err(|e| format!("{name}: {e}"))?;
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                chosen.push((stem, path));
            }
            None => return Err(format!("`{name}` is neither a shipped scenario nor a file")),
        }
    }
    let chosen = if names.is_empty() { shipped } else { chosen };
    for (name, path) in &chosen {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Scenario::parse(name, &text).map_err(|e| e.to_string())?;
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checks_sample_is_shipped() {
        let workspace = Workspace::find().unwrap();
        let names: Vec<String> = SAMPLE.iter().map(|&name| name.into()).collect();
        assert_eq!(choose(&workspace, &names).unwrap().len(), SAMPLE.len());
    }

    #[test]
    fn a_scenario_that_does_not_exist_is_named() {
        let workspace = Workspace::find().unwrap();
        let error = choose(&workspace, &["no-such".into()]).unwrap_err();
        assert!(error.contains("`no-such`"), "{error}");
    }

    #[test]
    fn only_the_head_of_a_record_tells_of_late_events() {
        assert!(is_late("# scenario x\n# late 0.40\n0 tcp\n"));
        assert!(!is_late("# scenario x\n0 tcp\n# late 0.40\n"));
    }
}
