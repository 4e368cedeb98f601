//! What a test needs of the machine it runs on.

use std::path::Path;

/// Programs and the Debian packages they come from.
const PACKAGES: &[(&str, &str)] = &[
    ("ab", "apache2-utils"),
    ("arping", "iputils-arping"),
    ("bridge", "iproute2"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("ping", "iputils-ping"),
    ("setpriv", "util-linux"),
    ("ss", "iproute2"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server"),
    ("tc", "iproute2"),
];

/// Makes sure that programs are installed.
///
/// # Panics
/// If one is missing; the message has the command that installs all that are missing. A test never
/// passes because it could not run.
#[track_caller]
pub fn require(programs: &[&str]) {
    let missing: Vec<&str> = programs.iter().copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return;
    }
    let mut packages: Vec<&str> = missing.iter().map(|name| package_of(name)).collect();
    packages.sort_unstable();
    packages.dedup();
    panic!(
        "this test needs {}, which {} not installed: apt-get install -y {}",
        missing.join(", "),
        if missing.len() == 1 { "is" } else { "are" },
        packages.join(" ")
    );
}

/// The Debian package that has a program; its own name where the table has none.
fn package_of(program: &str) -> &str {
    PACKAGES.iter().find(|(name, _)| *name == program).map_or(program, |(_, package)| package)
}

/// Whether a program is found on the path or in the folders of the super user.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path).chain(usual).any(|folder| is_file(&folder.join(program)))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "apt-get install -y apache2-utils-of-nowhere")]
    fn a_missing_program_fails_with_the_command_that_installs_it() {
        require(&["sh", "apache2-utils-of-nowhere"]);
    }

    #[test]
    fn the_package_of_a_known_program_is_named() {
        assert_eq!(package_of("ab"), "apache2-utils");
        assert_eq!(package_of("something-else"), "something-else");
    }
}
