//! What needs the kernel or namespaces, where it may not have them, or need not.

use std::process::{Command, Output};

/// Runs a task without root. If we are root, it runs in a user namespace in which nobody is; `None`, and a
/// line that says so, if there are no such namespaces here.
fn without_root(arguments: &[&str]) -> Option<Output> {
    let program = env!("CARGO_BIN_EXE_xtask");
    let id = Command::new("id").arg("-u").output().expect("coreutils has `id`");
    let mut command = match id.stdout.trim_ascii() {
        b"0" => {
            let made = Command::new("unshare").args(["--user", "true"]).status();
            if !made.as_ref().is_ok_and(|status| status.success()) {
                println!(
                    "skipped: `unshare --user` (util-linux) makes no user namespace: {made:?}"
                );
                return None;
            }
            let mut command = Command::new("unshare");
            command.arg("--user").arg(program);
            command
        }
        _ => Command::new(program),
    };
    let output = command.args(arguments).output();
    Some(output.expect("the program of this package runs"))
}

#[test]
fn scenarios_without_root_are_said_to_be_skipped_and_that_fails() {
    let Some(output) = without_root(&["differential", "--seeds", "1..2"]) else { return };
    let (said, failed) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("skipped: root is needed"), "{said}{failed}");
    assert!(failed.contains("no seed was played"), "{said}{failed}");
    assert!(!output.status.success());
}

#[test]
fn scenarios_are_shown_without_root() {
    let Some(output) = without_root(&["differential", "--seeds", "7..8", "--show"]) else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    let titles = said.lines().filter(|line| line.starts_with("# random scenario of seed"));
    assert_eq!(titles.count(), 2, "{said}");
    assert!(output.status.success());
}

#[test]
fn measurements_without_root_are_said_to_be_skipped_and_that_fails() {
    for what in ["--kernel", "--wire"] {
        let Some(output) = without_root(&["bench", what]) else { return };
        let (said, failed) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("skipped: root is needed"), "{said}{failed}");
        assert!(failed.contains("nothing was measured"), "{said}{failed}");
        assert!(!output.status.success());
    }
}
