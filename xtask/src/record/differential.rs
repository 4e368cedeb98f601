//! `cargo xtask differential`: random scenarios through the kernel and through lvs.

mod shorten;

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use lvs_sim::compare::{Difference, Tolerances, compare};
use lvs_sim::player::{PlayOptions, play};
use lvs_sim::random::RandomScenario;

use shorten::Found;

use super::{Failure, Kernel, is_late};
use crate::workspace::Workspace;

/// Scenarios of one boot.
const BATCH: usize = 60;
/// How many scenarios are played in one boot, and how much of a guest's processor they may use: first all
/// of them, then again, fewer at a time, those that differ and were late.
const ATTEMPTS: [(usize, f64); 4] = [(BATCH, 0.5), (16, 0.3), (6, 0.2), (3, 0.1)];
/// The load when scenarios are shortened.
const SHORTEN: f64 = 0.4;
/// Of so many scenarios one may stay unproven.
const PROVEN: usize = 50;

/// Plays each seed through both and prints the first difference of each, with the shortest scenario that
/// shows it if differences are to be shortened.
pub(crate) fn run(workspace: &Workspace, seeds: &Range<u64>, shorten: bool) -> Result<(), String> {
    let skipped = |reason: String| {
        println!("skipped: {reason}");
        "no seed was played".to_owned()
    };
    let kernel = Kernel::find(workspace).map_err(skipped)?;
    let arena = Arena { kernel, directory: workspace.target.join("uml/random") };
    let mut total = Total::default();
    let seeds: Vec<u64> = seeds.clone().collect();
    for batch in seeds.chunks(BATCH) {
        let scenarios: Vec<_> = batch.iter().map(|&seed| RandomScenario::new(seed)).collect();
        total.add(&arena, scenarios, shorten).map_err(|failure| match failure {
            Failure::NoBoot(_) => skipped(failure.into()),
            Failure::Broken(said) => said,
        })?;
        println!("{}", total.line());
    }
    total.verdict()
}

/// Prints the scenarios of seeds.
pub(crate) fn show(seeds: &Range<u64>) {
    for seed in seeds.clone() {
        println!("{}", RandomScenario::new(seed).text());
    }
}

/// What became of the scenarios so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Total {
    seeds: usize,
    different: usize,
    unproven: usize,
}

impl Total {
    /// Plays a batch.
    fn add(
        &mut self,
        arena: &Arena,
        scenarios: Vec<RandomScenario>,
        shorten: bool,
    ) -> Result<(), Failure> {
        self.seeds += scenarios.len();
        let mut different = Vec::new();
        let mut left = scenarios;
        for (size, load) in ATTEMPTS {
            let mut late = Vec::new();
            for part in left.chunks(size) {
                for (scenario, result) in part.iter().zip(arena.play(part, load)?) {
                    match result {
                        Compared::Same => {}
                        Compared::Late => late.push(scenario.clone()),
                        Compared::Different(difference) => {
                            println!("{}: {difference}", scenario.name());
                            different.push(Found::new(scenario.clone(), difference));
                        }
                    }
                }
            }
            left = late;
        }
        self.unproven += left.len();
        self.different += different.len();
        for scenario in &left {
            println!("{}: unproven, its events were late each time", scenario.name());
        }
        if shorten {
            shorten::shorten(arena, &mut different)?;
            for found in &different {
                println!("\nshortened: {found}");
            }
        }
        Ok(())
    }

    fn line(&self) -> String {
        let Total { seeds, different, unproven } = self;
        format!("{seeds} seeds, {different} differ from the kernel, {unproven} unproven")
    }

    fn verdict(&self) -> Result<(), String> {
        if self.different > 0 {
            Err(format!("{} seeds differ from the kernel", self.different))
        } else if self.unproven * PROVEN > self.seeds {
            Err(format!(
                "{} of {} seeds prove nothing, because the kernel could not play them in time; run them \
                 again when the machine is less busy",
                self.unproven, self.seeds
            ))
        } else {
            Ok(())
        }
    }
}

/// What the comparison of a scenario said.
#[derive(Debug)]
enum Compared {
    Same,
    /// The machine was too busy to keep the kernel's timeline, so that a difference proves nothing.
    Late,
    Different(Difference),
}

/// Where scenarios are played.
#[derive(Debug)]
struct Arena {
    kernel: Kernel,
    directory: PathBuf,
}

impl Arena {
    /// Plays scenarios through both, in one boot.
    fn play(&self, scenarios: &[RandomScenario], load: f64) -> Result<Vec<Compared>, Failure> {
        let broken =
            |e: std::io::Error| Failure::Broken(format!("{}: {e}", self.directory.display()));
        fs::create_dir_all(&self.directory).map_err(broken)?;
        let mut files: Vec<PathBuf> = Vec::new();
        for (number, scenario) in scenarios.iter().enumerate() {
            let path = self.directory.join(format!("{}-{number}.lvs", scenario.name()));
            fs::write(&path, scenario.text()).map_err(broken)?;
            files.push(path);
        }
        self.kernel.record_at_load(&files, &self.directory, load)?;
        let mut results = Vec::new();
        for (scenario, path) in scenarios.iter().zip(&files) {
            let kernels = fs::read_to_string(path.with_extension("rec")).map_err(broken)?;
            let ours = play(&scenario.parse(), &PlayOptions::default())
                .map_err(|error| Failure::Broken(format!("{}: {error}", scenario.name())))?;
            results.push(judge(&kernels, ours.as_str()));
        }
        Ok(results)
    }
}

fn judge(kernels: &str, ours: &str) -> Compared {
    match compare(kernels, ours, Tolerances::default()).into_iter().next() {
        None => Compared::Same,
        Some(_) if is_late(kernels) => Compared::Late,
        Some(difference) => Compared::Different(difference),
    }
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

    #[test]
    fn a_difference_of_a_late_record_proves_nothing_and_an_equal_one_is_equal() {
        let (a, b) = ("1 tcp x => drop\n", "1 tcp x => rst\n");
        assert!(matches!(judge(a, b), Compared::Different(_)));
        let late = format!("# late 0.40\n{a}");
        assert!(matches!(judge(&late, b), Compared::Late));
        assert!(matches!(judge(&late, a), Compared::Same));
    }

    #[test]
    fn seeds_that_differ_fail_and_so_do_too_many_that_are_unproven() {
        let verdict = |seeds, different, unproven| Total { seeds, different, unproven }.verdict();
        assert_eq!(verdict(500, 0, 0), Ok(()));
        assert_eq!(verdict(500, 0, 10), Ok(()));
        assert!(verdict(500, 0, 11).unwrap_err().contains("11 of 500 seeds prove nothing"));
        assert!(verdict(500, 1, 0).unwrap_err().contains("1 seeds differ"));
    }
}
