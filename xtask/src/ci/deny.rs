//! What we depend on: licences, sources, versions and known advisories, by cargo-deny and `deny.toml`.

use std::path::PathBuf;
use std::process::Command;

use super::Outcome;
use crate::workspace::{Workspace, succeed};

/// The version that is installed where there is none.
const VERSION: &str = "0.20.2";
/// What cargo-deny says when it cannot reach the database of advisories.
const UNREACHABLE: &str = "failed to fetch advisory database";

pub(super) fn run(workspace: &Workspace) -> Result<Outcome, String> {
    let deny = match installed(workspace) {
        Some(program) => program,
        None => match install(workspace) {
            Ok(program) => program,
            Err(error) => {
                let reason = format!("{error}; `cargo install cargo-deny --locked` installs it");
                return Ok(Outcome::Skipped(reason));
            }
        },
    };
    let check = |what: &[&str]| {
        let mut command = Command::new(&deny);
        command.current_dir(&workspace.root).arg("check").args(what);
        command
    };
    succeed(&mut check(&["bans", "licenses", "sources"]))?;
    let advisories =
        check(&["advisories"]).output().map_err(|e| format!("cannot run cargo-deny: {e}"))?;
    let said = String::from_utf8_lossy(&advisories.stderr);
    match advisories.status.success() {
        true => Ok(Outcome::Passed),
        false if said.contains(UNREACHABLE) => Ok(Outcome::Skipped(
            "bans, licences and sources are right; advisories need github.com".into(),
        )),
        false => Err(format!("cargo deny check advisories failed: {said}")),
    }
}

/// On the path, or where an earlier check left it.
fn installed(workspace: &Workspace) -> Option<PathBuf> {
    let places = [PathBuf::from("cargo-deny"), tools(workspace).join("bin/cargo-deny")];
    places.into_iter().find(|program| {
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    })
}

/// Builds it, without optimization, which takes a minute or two once.
fn install(workspace: &Workspace) -> Result<PathBuf, String> {
    println!("installing cargo-deny {VERSION} under {}", workspace.relative(&tools(workspace)));
    let mut command = workspace.cargo();
    command.args(["install", "--quiet", "cargo-deny", "--locked", "--debug", "--version", VERSION]);
    command.arg("--root").arg(tools(workspace));
    command.env("CARGO_TARGET_DIR", tools(workspace).join("target"));
    succeed(&mut command)?;
    Ok(tools(workspace).join("bin/cargo-deny"))
}

fn tools(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}
