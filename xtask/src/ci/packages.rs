//! Debian packages that the tests need: installed when root runs the check, named otherwise.

use std::path::Path;
use std::process::Command;

use super::Outcome;
use crate::workspace::{Workspace, output, spelled, succeed};

/// A program, the Debian package that brings it, and what needs it.
struct Program {
    name: &'static str,
    package: &'static str,
    why: &'static str,
}

const PROGRAMS: &[Program] = &[
    Program { name: "ip", package: "iproute2", why: "network namespaces of the tests on the wire" },
    Program { name: "ss", package: "iproute2", why: "tests wait until connections are closed" },
    Program { name: "setpriv", package: "util-linux", why: "tests run without a capability" },
    Program { name: "nft", package: "nftables", why: "tests look at the guard's rules" },
    Program { name: "ab", package: "apache2-utils", why: "ApacheBench loads the virtual service" },
    Program { name: "curl", package: "curl", why: "metrics are fetched as a scraper does" },
    Program { name: "ping", package: "iputils-ping", why: "a VIP of the host still answers echo" },
    Program { name: "ssh", package: "openssh-client", why: "ssh to a VIP that the host owns" },
    Program { name: "sshd", package: "openssh-server", why: "ssh to a VIP that the host owns" },
    Program { name: "keepalived", package: "keepalived", why: "a VIP moves between two directors" },
    Program { name: "c++", package: "g++", why: "libFuzzer, which the fuzz targets link, is C++" },
];

/// Where programs are; `/usr/sbin` and `/sbin` are not on every user's `PATH`.
fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(Into::into);
    std::env::split_paths(&path).chain(system).any(|directory| directory.join(program).is_file())
}

pub(super) fn run(_: &Workspace) -> Result<Outcome, String> {
    let missing: Vec<&Program> =
        PROGRAMS.iter().filter(|program| !installed(program.name)).collect();
    if missing.is_empty() {
        println!("all {} programs are here", PROGRAMS.len());
        return Ok(Outcome::Passed);
    }
    for program in &missing {
        println!("missing: {} (package {}): {}", program.name, program.package, program.why);
    }
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--no-install-recommends"]);
    install.args(package_names(&missing));
    if !Path::new("/usr/bin/apt-get").is_file() {
        return Err("this is no Debian system; install the programs above by its own means".into());
    }
    let root = output(Command::new("id").arg("-u"))?.trim() == "0";
    if !root {
        return Err(format!("run `sudo {}` first", spelled(&install)));
    }
    succeed(quiet(Command::new("apt-get").args(["update", "--quiet"])))?;
    succeed(quiet(&mut install))?;
    match missing.iter().find(|program| !installed(program.name)) {
        Some(program) => Err(format!("package {} brought no {}", program.package, program.name)),
        None => Ok(Outcome::Passed),
    }
}

/// No questions, and (by the run level of maintenance) no services started: the tests want the
/// programs only.
fn quiet(command: &mut Command) -> &mut Command {
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1")
}

fn package_names(programs: &[&Program]) -> Vec<&'static str> {
    let mut names: Vec<&str> = programs.iter().map(|program| program.package).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_brings_two_programs_is_installed_once() {
        let [a, b] =
            ["ab", "htdbm"].map(|name| Program { name, package: "apache2-utils", why: "" });
        assert_eq!(package_names(&[&a, &b]), ["apache2-utils"]);
    }

    #[test]
    fn a_program_that_every_system_has_is_found() {
        assert!(installed("sh"));
        assert!(!installed("no-such-program-on-any-system"));
    }
}
