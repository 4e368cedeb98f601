//! Each fuzz target for a short while, so that a target that no longer builds or fails at once is seen
//! with the change that broke it. Long runs are `cargo fuzz run TARGET`.

use std::path::Path;
use std::process::Command;

use super::Outcome;
use crate::workspace::{Workspace, output, succeed};

/// Seconds for each target.
const SECONDS: u32 = 20;

/// How much of what a failed run said is shown: its message and the file.
const LINES_OF_A_FAILURE: usize = 40;

/// What `cargo fuzz` gives the compiler for coverage, without a sanitizer: these are options of stable
/// compilers, so that neither cargo-fuzz nor a nightly toolchain is needed here. (Nearly all of the
/// fuzzed code forbids `unsafe`; the address sanitizer would only make it slower.)
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 -Cdebug-assertions";

pub(super) fn run(workspace: &Workspace) -> Result<Outcome, String> {
    let directory = workspace.root.join("fuzz");
    let manifest = directory.join("Cargo.toml");
    if !manifest.is_file() {
        return Ok(Outcome::Skipped("there is no directory fuzz".into()));
    }
    let target = workspace.target.join("fuzz");
    let host = host()?;
    let mut build = workspace.cargo();
    build.args(["build", "--quiet", "--release", "--bins", "--target", &host, "--manifest-path"]);
    build.arg(&manifest).env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", COVERAGE);
    succeed(&mut build)?;
    for name in targets(workspace)? {
        let corpus = directory.join("corpus").join(&name);
        let crashes = directory.join("artifacts").join(&name);
        create_directories(&[&corpus, &crashes])?;
        plant(&directory.join("seeds").join(&name), &corpus)?;
        let mut fuzz = Command::new(target.join(&host).join("release").join(&name));
        fuzz.arg(format!("-max_total_time={SECONDS}"));
        fuzz.args(["-timeout=10", "-print_final_stats=1", "-rss_limit_mb=4096"]);
        fuzz.arg(format!("-artifact_prefix={}/", crashes.display())).arg(&corpus);
        report(&name, &mut fuzz)?;
    }
    Ok(Outcome::Passed)
}

/// Runs a target and prints how far it came, or, if it failed, what it said last.
fn report(name: &str, fuzz: &mut Command) -> Result<(), String> {
    let output =
        fuzz.env("RUST_BACKTRACE", "0").output().map_err(|e| format!("cannot run {name}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        let done = said.lines().find(|line| line.starts_with("Done ")).unwrap_or("no runs");
        let cover = said
            .lines()
            .rfind(|line| line.contains(" cov: "))
            .and_then(|line| line.split_whitespace().skip_while(|word| *word != "cov:").nth(1));
        println!("{name}: {done}, {} places of the code reached", cover.unwrap_or("no"));
        return Ok(());
    }
    let last = said.lines().rev().take(LINES_OF_A_FAILURE).collect::<Vec<_>>();
    for line in last.iter().rev() {
        eprintln!("{line}");
    }
    Err(format!("{name} failed; repeat it with `cargo fuzz run {name} FILE`, the file is above"))
}

fn create_directories(paths: &[&Path]) -> Result<(), String> {
    for path in paths {
        std::fs::create_dir_all(path)
            .map_err(|e| format!("cannot create {}: {e}", path.display()))?;
    }
    Ok(())
}

/// Copies the seeds, which are committed, to the corpus, which is not and where a run leaves what it finds. A
/// seed whose name ends with `.hex` is hexadecimal text with comments.
fn plant(seeds: &Path, corpus: &Path) -> Result<(), String> {
    let Ok(entries) = std::fs::read_dir(seeds) else { return Ok(()) };
    for seed in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let failed = |e: &dyn std::fmt::Display| format!("seed {}: {e}", seed.display());
        let mut bytes = std::fs::read(&seed).map_err(|e| failed(&e))?;
        if seed.extension().is_some_and(|extension| extension == "hex") {
            let text = String::from_utf8(bytes).map_err(|e| failed(&e))?;
            bytes = from_hex(&text).map_err(|e| failed(&e))?;
        }
        let name = seed.file_stem().unwrap_or_default();
        std::fs::write(corpus.join(name), bytes).map_err(|e| failed(&e))?;
    }
    Ok(())
}

/// The bytes that a text of hexadecimal digits stands for; `#` begins a comment, white space is free.
fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let digits: Vec<char> = line.chars().take_while(|&c| c != '#').collect();
        let digits: Vec<char> = digits.into_iter().filter(|c| !c.is_whitespace()).collect();
        for pair in digits.chunks(2) {
            let pair: String = pair.iter().collect();
            let byte = u8::from_str_radix(&pair, 16).ok().filter(|_| pair.len() == 2);
            bytes.push(byte.ok_or_else(|| format!("line {number}: `{pair}` is no byte"))?);
        }
    }
    Ok(bytes)
}

/// The host's target triple. It is named in the build so that the coverage options do not reach build
/// scripts and macros.
fn host() -> Result<String, String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let line = version.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

/// The fuzz targets, by the names of their files.
fn targets(workspace: &Workspace) -> Result<Vec<String>, String> {
    let target = |file: &String| {
        let name = file.strip_prefix("fuzz/fuzz_targets/")?.strip_suffix(".rs")?;
        (!name.contains('/')).then(|| name.to_owned())
    };
    let targets: Vec<String> = workspace.files()?.iter().filter_map(target).collect();
    if targets.is_empty() { Err("fuzz/fuzz_targets has no target".into()) } else { Ok(targets) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_written_as_hexadecimal_text_with_comments() {
        let text = "# Ethernet\n0200 00 # three bytes\n\n  fF0a\n";
        assert_eq!(from_hex(text).unwrap(), [2, 0, 0, 0xff, 10]);
        assert_eq!(from_hex("00\n0g").unwrap_err(), "line 2: `0g` is no byte");
        assert_eq!(from_hex("00 1").unwrap_err(), "line 1: `1` is no byte");
    }
}
