//! Changes of the published interfaces against the last release, by cargo-semver-checks.

use std::process::Command;

use super::Outcome;
use crate::workspace::{Workspace, output, succeed};

pub(super) fn run(workspace: &Workspace) -> Result<Outcome, String> {
    let mut tags = Command::new("git");
    tags.current_dir(&workspace.root).args(["tag", "--list", "v*", "--sort=-version:refname"]);
    let Some(release) = output(&mut tags)?.lines().next().map(str::to_owned) else {
        return Ok(Outcome::Skipped("there is no release (tag v…) to compare with yet".into()));
    };
    let version = workspace.cargo().args(["semver-checks", "--version"]).output();
    if !version.is_ok_and(|output| output.status.success()) {
        let how = "`cargo install cargo-semver-checks --locked` installs what this needs";
        return Ok(Outcome::Skipped(how.into()));
    }
    let mut command = workspace.cargo();
    command.args(["semver-checks", "--workspace", "--baseline-rev", &release]);
    succeed(&mut command)?;
    println!("no change that {release} did not allow for");
    Ok(Outcome::Passed)
}
