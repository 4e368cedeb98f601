//! `cargo xtask differential`: random scenarios through the kernel and through lvs.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lvs_sim::compare::{Difference, Tolerances, compare};
use lvs_sim::player::{PlayOptions, play};
use lvs_sim::random::RandomScenario;

use super::{Failure, Kernel, is_late};
use crate::workspace::Workspace;

/// Scenarios of one boot.
const BATCH: usize = 40;
/// The most boots to shorten one scenario.
const ROUNDS: usize = 12;

/// Plays each seed through both and prints the first difference of each, with the shortest scenario that
/// shows it.
pub(crate) fn run(workspace: &Workspace, seeds: &Range<u64>) -> Result<(), String> {
    let kernel = Kernel::find(workspace)?;
    let directory = workspace.target.join("uml/random");
    let all: Vec<RandomScenario> = seeds.clone().map(RandomScenario::new).collect();
    let (mut different, mut late) = (0, 0);
    for batch in all.chunks(BATCH) {
        for (scenario, result) in batch.iter().zip(play_both(&kernel, &directory, batch)?) {
            match result {
                Compared::Same => {}
                Compared::Late => late += 1,
                Compared::Different(_) => {
                    different += 1;
                    let (short, difference) = shorten(&kernel, &directory, scenario)?;
                    println!("{}: {difference}\n\n{}", scenario.name(), short.text());
                }
            }
        }
        println!("up to {}", batch.last().map(RandomScenario::name).unwrap_or_default());
    }
    println!("{} seeds, {different} differ, {late} could not be played in time", all.len());
    if different == 0 { Ok(()) } else { Err(format!("{different} seeds differ from the kernel")) }
}

/// What the comparison of a scenario said.
enum Compared {
    Same,
    /// The machine was too busy to keep the kernel's timeline, so that a difference proves nothing.
    Late,
    Different(Difference),
}

fn play_both(
    kernel: &Kernel,
    directory: &Path,
    scenarios: &[RandomScenario],
) -> Result<Vec<Compared>, Failure> {
    let broken = |e: std::io::Error| Failure::Broken(format!("{}: {e}", directory.display()));
    fs::create_dir_all(directory).map_err(broken)?;
    let mut files: Vec<PathBuf> = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        let path = directory.join(format!("{}-{number}.lvs", scenario.name()));
        fs::write(&path, scenario.text()).map_err(broken)?;
        files.push(path);
    }
    kernel.record(&files, directory)?;
    let mut results = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        let name = format!("{}-{number}", scenario.name());
        let kernels = fs::read_to_string(directory.join(format!("{name}.rec"))).map_err(broken)?;
        let ours = play(&scenario.parse(), &PlayOptions::default())
            .map_err(|error| Failure::Broken(format!("{name}: {error}")))?;
        let first = compare(&kernels, ours.as_str(), Tolerances::default()).into_iter().next();
        results.push(match first {
            None => Compared::Same,
            Some(_) if is_late(&kernels) => Compared::Late,
            Some(difference) => Compared::Different(difference),
        });
    }
    Ok(results)
}

/// Takes lines out as long as the scenario shows a difference; the parts that are tried become smaller,
/// and those of one size share a boot.
fn shorten(
    kernel: &Kernel,
    directory: &Path,
    scenario: &RandomScenario,
) -> Result<(RandomScenario, String), Failure> {
    let mut short = scenario.clone();
    let mut shown = "a difference that did not come again".to_owned();
    let mut size = short.len().div_ceil(2);
    for _ in 0..ROUNDS {
        let starts = (0..short.len()).step_by(size);
        let mut tries: Vec<_> = starts.filter_map(|at| short.without(at..at + size)).collect();
        tries.push(short.clone());
        let results = play_both(kernel, directory, &tries)?;
        let found = tries.into_iter().zip(results).find_map(|(scenario, result)| match result {
            Compared::Different(difference) => Some((scenario, difference.to_string())),
            _ => None,
        });
        let Some((shorter, difference)) = found else { break };
        let smaller = shorter.len() < short.len();
        (short, shown) = (shorter, difference);
        match (smaller, size) {
            (true, _) => size = size.min(short.len().div_ceil(2)),
            (false, 1) => break,
            (false, _) => size = size.div_ceil(2),
        }
    }
    Ok((short, shown))
}

/// Reads `A..B`: seeds from A up to and with B.
///
/// # Errors
/// If it is no range of numbers.
pub(crate) fn seeds(text: &str) -> Result<Range<u64>, String> {
    let numbers = text.split_once("..").and_then(|(from, to)| {
        Some((from.parse::<u64>().ok()?, to.parse::<u64>().ok()?.checked_add(1)?))
    });
    match numbers {
        Some((from, to)) if from < to => Ok(from..to),
        _ => Err(format!("`{text}` is no range of seeds; write FIRST..LAST, as in 1..500")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_seeds_has_both_its_ends() {
        assert_eq!(seeds("1..500"), Ok(1..501));
        assert!(seeds("5..1").is_err() && seeds("7").is_err());
    }
}
