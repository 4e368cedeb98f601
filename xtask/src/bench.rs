//! Runs the benchmarks and prints criterion's figures, ours beside its peers.

mod kernel;
mod priority;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use self::priority::Priority;
use crate::record::{Failure, Kernel};
use crate::workspace::{Workspace, succeed};

/// The package of the benchmarks.
const PACKAGE: &str = "lvs-benches";
/// Benchmarks of our own code begin with this; the others in a group are peers and limits.
const OURS: &str = "lvs";
/// A benchmark of what every other line of its group and value pays and none is about: it is subtracted
/// before ratios are taken.
const OVERHEAD: &str = "refill";
/// The benchmark of packets whose connection there is.
const ESTABLISHED: &str = "established";

/// Runs the benchmarks whose name contains `filter`, unless `!run`, and prints the table.
pub(crate) fn run(workspace: &Workspace, filter: Option<&str>, run: bool) -> Result<(), String> {
    if run {
        succeed(benchmarks(workspace, filter).arg("--").args(filter))?;
    }
    let directory = workspace.target.join("criterion");
    let mut lines = Vec::new();
    collect(&directory, &mut lines)?;
    lines.retain(|line| filter.is_none_or(|filter| line.full_id.contains(filter)));
    if lines.is_empty() {
        return Err(format!("no figures in {}; run the benchmarks first", directory.display()));
    }
    print!("{}", table(lines));
    Ok(())
}

/// The command that runs benchmarks.
fn benchmarks(workspace: &Workspace, filter: Option<&str>) -> Command {
    let mut command = workspace.cargo();
    command.args(["bench", "--package", PACKAGE]);
    // A whole file of benchmarks needs no other to be built.
    let file = workspace.root.join("benches/benches").join(filter.unwrap_or("*"));
    if let Some(name) = filter.filter(|_| file.with_extension("rs").is_file()) {
        command.args(["--bench", name]);
    }
    command
}

/// Runs the benchmark `established`, has the kernel forward the same packets with IPVS and without, and
/// prints both beside each other.
pub(crate) fn against_kernel(workspace: &Workspace) -> Result<(), String> {
    let kernel = Kernel::find(workspace).map_err(skipped)?;
    let figures = kernel::measure(workspace, &kernel).map_err(|failure| match failure {
        Failure::NoBoot(_) => skipped(failure.into()),
        Failure::Broken(said) => said,
    })?;
    succeed(benchmarks(workspace, Some(ESTABLISHED)).arg("--no-run"))?;
    let first = Priority::first();
    run(workspace, Some(ESTABLISHED), true)?;
    drop(first);
    let mut ours = Vec::new();
    collect(&workspace.target.join("criterion").join(ESTABLISHED), &mut ours)?;
    print!("{}", kernel::table(&figures, &ours));
    Ok(())
}

/// Says what a measurement lacks.
fn skipped(reason: String) -> String {
    println!("skipped: {reason}");
    "nothing was measured".to_owned()
}

/// Builds a program of the benchmarks that is no benchmark of criterion.
fn build_example(workspace: &Workspace, name: &str) -> Result<(), String> {
    let mut command = workspace.cargo();
    succeed(command.args(["build", "--release", "--package", PACKAGE, "--example", name]))
}

/// The path of such a program.
fn example(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.target.join("release/examples").join(name)
}

/// `benchmark.json` of criterion.
#[derive(Deserialize)]
struct Benchmark {
    group_id: String,
    function_id: Option<String>,
    value_str: Option<String>,
    full_id: String,
    throughput: Option<BTreeMap<String, f64>>,
}

/// `estimates.json` of criterion.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// One benchmark with its figures, in nanoseconds for one element.
#[derive(Debug)]
struct Line {
    full_id: String,
    group: String,
    name: String,
    value: String,
    median: f64,
    low: f64,
    high: f64,
}

/// Finds every `new/benchmark.json` below `directory`.
fn collect(directory: &Path, lines: &mut Vec<Line>) -> Result<(), String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    for entry in entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir()) {
        let path = entry.path();
        if entry.file_name() == "new" && path.join("benchmark.json").is_file() {
            lines.push(read(&path)?);
        } else {
            collect(&path, lines)?;
        }
    }
    Ok(())
}

fn read(directory: &Path) -> Result<Line, String> {
    let benchmark: Benchmark = json(&directory.join("benchmark.json"))?;
    let Estimate { point_estimate, confidence_interval } =
        json::<Estimates>(&directory.join("estimates.json"))?.median;
    let elements = benchmark.throughput.and_then(|throughput| throughput.into_values().next());
    let elements = elements.unwrap_or(1.0).max(1.0);
    Ok(Line {
        full_id: benchmark.full_id,
        group: benchmark.group_id,
        name: benchmark.function_id.unwrap_or_default(),
        value: benchmark.value_str.unwrap_or_default(),
        median: point_estimate / elements,
        low: confidence_interval.lower_bound / elements,
        high: confidence_interval.upper_bound / elements,
    })
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{} is not understood: {e}", path.display()))
}

/// The table: by group and value, ours first; net of the group's overhead, each peer's time as a multiple
/// of ours.
fn table(mut lines: Vec<Line>) -> String {
    let rank = |line: &Line| match &line.name {
        name if name.starts_with(OVERHEAD) => 0,
        name if name.starts_with(OURS) => 1,
        _ => 2,
    };
    let number = |line: &Line| line.value.parse::<u64>().unwrap_or(0);
    lines.sort_by(|a, b| {
        let key = |line: &Line| (number(line), line.value.clone(), rank(line), line.name.clone());
        a.group.cmp(&b.group).then_with(|| key(a).cmp(&key(b)))
    });
    let mut text = String::new();
    let mut start = "";
    for line in &lines {
        if line.group != start {
            start = &line.group;
            let heads = ["ns", "95 % interval", "net", "ratio"];
            let [ns, interval, net, ratio] = heads;
            text += &format!("\n{start:46} {ns:>8} {interval:>18} {net:>8} {ratio:>6}\n");
        }
        let peers = lines.iter().filter(|l| l.group == line.group && l.value == line.value);
        let overhead = peers.clone().find(|l| rank(l) == 0).map_or(0.0, |l| l.median);
        let ours = peers.clone().find(|l| rank(l) == 1).filter(|_| rank(line) > 0);
        let net = line.median - overhead;
        let ratio = match ours {
            Some(ours) => format!("{:.2}", net / (ours.median - overhead)),
            None => "-".to_owned(),
        };
        let name = format!("{} {}", line.name, line.value);
        let interval = format!("({:.1}-{:.1})", line.low, line.high);
        text += &format!("  {name:44} {:8.1} {interval:>18} {net:8.1} {ratio:>6}\n", line.median);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn line(name: &str, value: &str, median: f64) -> Line {
        let (low, high) = (median - 1.0, median + 1.0);
        let (group, value) = ("parse".to_owned(), value.to_owned());
        Line { full_id: String::new(), group, name: name.to_owned(), value, median, low, high }
    }

    fn last_words(text: &str) -> Vec<&str> {
        text.lines().skip(2).map(|line| line.rsplit(' ').next().unwrap()).collect()
    }

    #[test]
    fn each_peer_is_shown_as_a_multiple_of_ours_for_the_same_value() {
        let text = table(vec![
            line("etherparse", "tcp", 8.0),
            line("lvs", "tcp", 4.0),
            line("lvs", "udp", 2.0),
            line("smoltcp", "udp", 3.0),
        ]);
        assert_eq!(last_words(&text), ["1.00", "2.00", "1.00", "1.50"], "{text}");
        assert!(text.lines().nth(2).unwrap().starts_with("  lvs tcp"), "{text}");
    }

    #[test]
    fn what_every_line_pays_is_subtracted_before_they_are_compared() {
        let text = table(vec![
            line("limit", "1000", 14.0),
            line("lvs burst", "1000", 18.0),
            line("refill", "1000", 10.0),
        ]);
        assert_eq!(last_words(&text), ["-", "1.00", "0.50"], "{text}");
    }
}
