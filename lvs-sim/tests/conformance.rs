//! Every shipped scenario, replayed and held against the kernel's record.
//!
//! Where lvs does something else on purpose, `conformance/DEVIATIONS.md` says so and holds the differences.
//!
//! A line for each, then the totals. Arguments that are no options select scenarios by a part of their
//! name: `cargo test -p lvs-sim --test conformance -- persist`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lvs_sim::compare::{Tolerances, compare};
use lvs_sim::needs::missing;
use lvs_sim::player::{PlayOptions, play};
use lvs_sim::scenario::Scenario;

/// Bursts that are tried; the record must be the same for each.
const BURSTS: [u16; 3] = [1, 7, 32];

/// What became of a scenario.
enum Result {
    /// It matches.
    Matches,
    /// It differs in what the list of deviations says, and nothing else.
    Deviates,
    /// It differs, but needs what is not there yet.
    NotYet(Vec<String>),
    /// It differs.
    Differs(Vec<String>),
}

fn main() -> ExitCode {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance");
    let files = scenarios(&dir.join("scenarios"));
    let text = read(&dir.join("DEVIATIONS.md"));
    let deviations = deviations(&text);
    let mut counts = [0; 4];
    for file in files.iter().filter(|(name, _)| is_wanted(name, &wanted)) {
        let (name, path) = file;
        let record = dir.join("recorded").join(format!("{name}.rec"));
        let deviation = deviations.get(name.as_str()).map_or("", String::as_str);
        let (place, line) = match check(name, path, &record, deviation) {
            Result::Matches => (0, "matches".to_owned()),
            Result::Deviates => (3, "deviates, as DEVIATIONS.md says".to_owned()),
            Result::NotYet(needs) => (1, format!("not yet: {}", needs.join(", "))),
            Result::Differs(differences) => (2, format!("DIFFERS\n{}", differences.join("\n"))),
        };
        counts[place] += 1;
        println!("{name:28} {line}");
    }
    let [matching, not_yet, differing, deviating] = counts;
    let total: i32 = counts.iter().sum();
    println!(
        "\n{matching} of {total} scenarios match the kernel's record, {deviating} deviate on purpose, \
         {not_yet} not yet, {differing} differ"
    );
    if total == 0 {
        println!("no scenario's name contains {}", wanted.join(" or "));
    }
    if differing > 0 || total == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn is_wanted(name: &str, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()))
}

/// The scenarios with their names, `long/` before the name of those that wait long. Those of `loose`
/// depend on the phase of a kernel clock and are not compared.
fn scenarios(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for (prefix, dir) in [("", dir.to_owned()), ("long/", dir.join("long"))] {
        let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        for entry in entries {
            let path = entry.unwrap_or_else(|e| panic!("{}: {e}", dir.display())).path();
            if path.extension().is_some_and(|extension| extension == "lvs") {
                let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                found.push((format!("{prefix}{}", stem.unwrap_or_default()), path));
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The differences of each scenario in the list of deviations: the block below its heading.
fn deviations(text: &str) -> BTreeMap<&str, String> {
    let sections = text.split("\n## ").skip(1).map(|section| {
        let (name, rest) = section.split_once('\n').unwrap_or((section, ""));
        let block = rest.split_once("```diff\n").and_then(|(_, rest)| rest.split_once("```"));
        let (block, _) = block.unwrap_or_else(|| panic!("DEVIATIONS.md: {name} has no diff block"));
        (name.trim(), block.trim().to_owned())
    });
    sections.collect()
}

fn check(name: &str, scenario: &Path, record: &Path, deviation: &str) -> Result {
    let text = read(scenario);
    let recorded = read(record);
    let scenario = Scenario::parse(&scenario.to_string_lossy(), &text)
        .unwrap_or_else(|error| panic!("{error}"));
    let seconds = if name.starts_with("long/") { 6 } else { 1 };
    let tolerances = Tolerances { seconds, ..Tolerances::default() };
    let mut differences = Vec::new();
    let mut records: Vec<String> = Vec::new();
    for burst in BURSTS {
        let options = PlayOptions { burst, ..PlayOptions::default() };
        let ours = play(&scenario, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
        records.push(ours.into_string());
    }
    let found = compare(&recorded, &records[0], tolerances);
    differences.extend(found.iter().map(|difference| format!("    {difference}")));
    for (burst, ours) in BURSTS.iter().zip(&records).skip(1) {
        let strict = Tolerances { seconds: 0, ..Tolerances::default() };
        for difference in compare(&records[0], ours, strict) {
            differences.push(format!("    in bursts of {burst} instead of 1: {difference}"));
        }
    }
    let lines: Vec<_> =
        differences.iter().flat_map(|difference| difference.lines()).map(str::trim).collect();
    match (lines.join("\n") == deviation, missing(&scenario)) {
        (true, _) if differences.is_empty() => Result::Matches,
        (true, _) => Result::Deviates,
        (false, needs) if !needs.is_empty() => Result::NotYet(needs),
        (false, _) => Result::Differs(differences),
    }
}
