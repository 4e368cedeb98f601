//! What would be published: each crate packed, and built from nothing but the packages.
//!
//! `cargo package` can build what it packs, but keeps what it unpacked of crates that need each other under
//! their version, and a second run with the same version sees the first one's source. So the packages
//! are unpacked here, and become a workspace in which each takes the others' packages.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Outcome;
use crate::workspace::{Package, Workspace, output, succeed};

pub(super) fn run(workspace: &Workspace) -> Result<Outcome, String> {
    let published: Vec<&Package> =
        workspace.packages.iter().filter(|package| package.is_published()).collect();
    for package in &published {
        let mut list = workspace.cargo();
        list.args(["package", "--quiet", "--list", "--allow-dirty", "--package", &package.name]);
        complete(&package.name, &output(&mut list)?)?;
    }
    let directory = unpacked(workspace, &published)?;
    let mut build = workspace.cargo();
    build.current_dir(&directory).env("CARGO_TARGET_DIR", &workspace.target);
    succeed(build.args(["check", "--quiet", "--workspace", "--all-features"]))?;
    let names: Vec<&str> = published.iter().map(|package| package.name.as_str()).collect();
    println!("packed, and built from their packages: {}", names.join(", "));
    Ok(Outcome::Passed)
}

/// What every package holds besides its source.
const FILES: &[&str] = &["README.md", "LICENSE-MIT", "LICENSE-APACHE"];

fn complete(name: &str, listing: &str) -> Result<(), String> {
    let is_listed = |file: &&&str| listing.lines().any(|line| line == **file);
    let missing: Vec<&str> = FILES.iter().filter(|file| !is_listed(file)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the package of {name} lacks {}; see `include` in its manifest",
        missing.join(", ")
    ))
}

/// Packs the crates and makes a workspace of the packages; tells its directory.
fn unpacked(workspace: &Workspace, published: &[&Package]) -> Result<PathBuf, String> {
    let directory = workspace.target.join("unpacked");
    if directory.exists() {
        std::fs::remove_dir_all(&directory).map_err(|e| failed(&directory, &e))?;
    }
    std::fs::create_dir_all(&directory).map_err(|e| failed(&directory, &e))?;
    let mut pack = workspace.cargo();
    pack.args(["package", "--quiet", "--allow-dirty", "--no-verify", "--exclude-lockfile"]);
    published.iter().for_each(|package| {
        pack.args(["--package", &package.name]);
    });
    succeed(&mut pack)?;
    for package in published {
        let file = workspace.target.join(format!("package/{}.crate", package.full_name()));
        // Packed files are all of one old date, by which cargo would take what it built before for fresh.
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--gzip", "--touch", "--file"]).arg(file);
        succeed(tar.current_dir(&directory))?;
    }
    let manifest = directory.join("Cargo.toml");
    std::fs::write(&manifest, workspace_of(published)).map_err(|e| failed(&manifest, &e))?;
    // The versions that everything else is tested with, and so what is compiled already.
    let lock = directory.join("Cargo.lock");
    std::fs::copy(workspace.root.join("Cargo.lock"), &lock).map_err(|e| failed(&lock, &e))?;
    Ok(directory)
}

fn workspace_of(published: &[&Package]) -> String {
    let mut members = String::new();
    let mut patches = String::new();
    for package in published {
        let path = package.full_name();
        let _ = write!(members, "{path:?}, ");
        let _ = writeln!(patches, "{} = {{ path = {path:?} }}", package.name);
    }
    format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n[patch.crates-io]\n{patches}\n\
         [profile.dev]\ndebug = \"line-tables-only\"\n"
    )
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_its_licence_is_told_so() {
        assert!(complete("a", "Cargo.toml\nLICENSE-APACHE\nLICENSE-MIT\nREADME.md\n").is_ok());
        let error = complete("a", "Cargo.toml\nREADME.md\nsrc/LICENSE-MIT\n").unwrap_err();
        assert!(error.contains("of a lacks LICENSE-MIT, LICENSE-APACHE"), "{error}");
    }
}
