//! Each fuzz target for a short while, so that a target that no longer builds or fails at once is seen
//! with the change that broke it. Long runs are `cargo fuzz run TARGET`.

use std::process::Command;

use super::Outcome;
use crate::workspace::{Workspace, output, succeed};

/// Seconds for each target.
const SECONDS: u32 = 20;

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
        println!("\n-- {name}, {SECONDS} s --\n");
        let found = target.join("found").join(&name);
        let crashes = directory.join("artifacts").join(&name);
        for made in [&found, &crashes] {
            std::fs::create_dir_all(made)
                .map_err(|e| format!("cannot create {}: {e}", made.display()))?;
        }
        let mut fuzz = Command::new(target.join(&host).join("release").join(&name));
        fuzz.arg(format!("-max_total_time={SECONDS}"));
        fuzz.args(["-verbosity=1", "-print_final_stats=1", "-rss_limit_mb=4096"]);
        fuzz.arg(format!("-artifact_prefix={}/", crashes.display()));
        // What a run finds goes to the first directory; the seeds are only read.
        fuzz.arg(&found).arg(directory.join("corpus").join(&name));
        succeed(&mut fuzz).map_err(|e| {
            format!("{e}; repeat it with `cargo fuzz run {name} FILE`, the file is named above")
        })?;
    }
    Ok(Outcome::Passed)
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
