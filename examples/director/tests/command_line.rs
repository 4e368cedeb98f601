//! What an operator reads when something is wrong, and the exit status that goes with it: 1 for a failure,
//! 2 for wrong usage. None of these needs a privilege.

use std::path::PathBuf;
use std::process::{Command, Output};

fn director(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lvs-director")).args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file that goes when the test is over.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> File {
        let name = format!("{}-{name}", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, text).unwrap();
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_expected() {
    for args in [&[][..], &["run"], &["run", "--interface", "eth0"], &["frobnicate"], &["check"]] {
        let output = director(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("Usage:"), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn a_right_file_is_said_to_be_right_and_an_empty_one_is_right() {
    let file =
        File::new("right.rules", "-A -t 10.0.0.1:80 -s wlc -p\n-a -t 10.0.0.1:80 -r 10.1.0.2\n");
    let output = director(&["check", file.path()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("right; services: 1, real servers: 1"), "{said}");

    let empty = File::new("empty.rules", "# nothing yet\n");
    assert_eq!(director(&["check", empty.path()]).status.code(), Some(0));
}

#[test]
fn every_mistake_of_a_file_is_told_with_its_place() {
    let text =
        "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r 10.1.0.2 -w many\n-A -t 10.0.0.1:80\n";
    let file = File::new("wrong.rules", text);
    for args in [&["check", file.path()][..], &["run", "--interface", "lo", "--rules", file.path()]]
    {
        let output = director(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = stderr(&output);
        assert!(said.contains("wrong.rules:2:"), "{said}");
        assert!(said.contains("illegal weight specified"), "{said}");
        assert!(said.contains("wrong.rules:3:"), "{said}");
        assert!(said.contains("2 mistakes; nothing was applied"), "{said}");
    }
}

#[test]
fn a_missing_rules_file_is_named() {
    let output = director(&["run", "--interface", "eth0", "--rules", "no-such.rules"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("cannot read the rules file no-such.rules"), "{said}");
}

#[test]
fn a_wrong_interface_is_told_beside_those_there_are() {
    let file = File::new("interface.rules", "");
    let output = director(&["run", "--interface", "no-such-if0", "--rules", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("no interface named no-such-if0; there are: lo"), "{said}");
}

#[test]
fn limits_out_of_bounds_are_told_with_their_bounds() {
    let file = File::new("limits.rules", "");
    let args = ["run", "--interface", "eth0", "--rules", file.path(), "--connections-max", "0"];
    let output = director(&args);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("connections_max is 0, but must be 1 to"), "{said}");
}

fn lvsadm(args: &[&str]) -> Output {
    let nobody = std::env::temp_dir().join(format!("lvs-nobody-{}.sock", std::process::id()));
    Command::new(env!("CARGO_BIN_EXE_lvsadm"))
        .args(args)
        .env("LVS_SOCKET", nobody)
        .output()
        .unwrap()
}

#[test]
fn lvsadm_without_a_director_says_so_and_how_to_start_one() {
    for args in
        [&[][..], &["-L", "-n"], &["-Lcn"], &["-C"], &["-A", "-t", "192.0.2.1:80"], &["about"]]
    {
        let output = lvsadm(args);
        assert_eq!(output.status.code(), Some(255), "{args:?}");
        let text = stderr(&output);
        assert!(text.starts_with("no director is running at "), "{args:?}: {text}");
        assert!(text.contains("lvs-director run --interface eth0 --control"), "{args:?}: {text}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn lvsadm_checks_a_line_before_it_needs_a_director() {
    let cases: [(&[&str], i32, &str); 8] = [
        (
            &["-A"],
            2,
            "You need to supply the 'service-address' option for the 'add-service' command",
        ),
        (&["-A", "-t", "192.0.2.1"], 2, "Zero port specified for non-persistent service"),
        (&["-a", "-t", "192.0.2.1:80"], 2, "You need to supply the 'real-server' option"),
        (&["-L", "-c", "--stats"], 2, "options conflicts in the list command"),
        (&["--frobnicate"], 255, "Try `ipvsadm -h'"),
        (&["-L", "--frobnicate"], 255, "--frobnicate: unknown option"),
        (&["-a", "-t", "192.0.2.1:80", "-r"], 255, "-r: missing argument"),
        (&["-L", "--socket"], 255, "--socket: missing argument"),
    ];
    for (args, status, wanted) in cases {
        let output = lvsadm(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn lvsadm_tells_about_itself_without_a_director() {
    for (args, wanted) in [
        (&["-h"][..], "Usage:\n  lvsadm -A service-address [options]\n"),
        (&["--help"], "lvsadm apply FILE [--dry-run]"),
        (&["-v"], "IPVS v1.2.1"),
        (&["completions", "bash"], "complete -o default -F _lvsadm lvsadm"),
        (&["man"], ".TH LVSADM 8"),
    ] {
        let output = lvsadm(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(wanted), "{args:?}: {text}");
    }
}
