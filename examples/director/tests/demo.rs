//! `lvs-director demo`, as a stranger types it.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lvs-director"));
    command.arg("demo").args(args).env_remove("CLICOLOR_FORCE").env_remove("NO_COLOR");
    command
}

fn text(out: &Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout.clone()).unwrap()
}

#[test]
fn the_story_is_told_as_it_stands_here() {
    insta::assert_snapshot!(text(&demo(&["--seed", "1"]).output().unwrap()));
}

#[test]
fn a_seed_gives_the_same_bytes_each_time_and_one_is_the_default() {
    let once = demo(&[]).output().unwrap();
    let again = demo(&["--seed", "1"]).output().unwrap();
    assert_eq!(text(&once), text(&again));
}

#[test]
fn every_seed_tells_the_truth_with_other_clients() {
    let first = text(&demo(&["--seed", "1"]).output().unwrap());
    for seed in ["0", "2", "3", "4", "5", "6", "7", "18446744073709551615"] {
        let told = text(&demo(&["--seed", seed]).output().unwrap());
        assert_ne!(first, told, "seed {seed}");
        assert!(!told.contains('✗'), "seed {seed}:\n{told}");
        assert_eq!(first.lines().count(), told.lines().count(), "seed {seed}");
    }
}

#[test]
fn it_fits_a_terminal_of_eighty_columns_and_plain_text_has_no_escapes() {
    for line in text(&demo(&["--seed", "9"]).output().unwrap()).lines() {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(!line.contains('\x1b'), "{line}");
    }
}

#[test]
fn colours_change_nothing_but_the_colour() {
    let plain = text(&demo(&[]).output().unwrap());
    let coloured = text(&demo(&[]).env("CLICOLOR_FORCE", "1").output().unwrap());
    assert!(coloured.contains("\x1b["), "no colour although it is forced");
    let mut stripped = String::new();
    for piece in coloured.split('\x1b') {
        stripped.push_str(match piece.strip_prefix('[') {
            Some(style) => style.split_once('m').map_or("", |(_, rest)| rest),
            None => piece,
        });
    }
    assert_eq!(plain, stripped);
    let refused = demo(&[]).env("NO_COLOR", "1").output().unwrap();
    assert_eq!(plain, text(&refused));
}

#[test]
fn it_is_over_in_less_than_five_seconds() {
    let begin = Instant::now();
    text(&demo(&[]).output().unwrap());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[test]
fn a_reader_who_leaves_early_is_no_error() {
    let mut child = demo(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
}

#[test]
fn the_readme_shows_the_first_screen() {
    let told = text(&demo(&[]).output().unwrap());
    let screen = told.split("── 2.").next().unwrap_or_default();
    let screen: Vec<&str> = screen.trim_end().lines().map(str::trim_end).collect();
    let readme = include_str!("../../../README.md");
    assert!(readme.contains(&screen.join("\n")), "README.md must show:\n{}", screen.join("\n"));
}

/// Half a minute of real time; needs root, `ip`, `bridge` (iproute2) and `unshare` (util-linux).
#[test]
fn the_story_is_as_true_in_network_namespaces() {
    let out = demo(&["--netns"]).output().unwrap();
    let told = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{told}\n{}", String::from_utf8_lossy(&out.stderr));
    assert!(told.contains("facts were checked") && !told.contains('✗'), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
}

#[test]
fn who_may_not_make_namespaces_is_told_what_to_do() {
    // Where the program was built, nobody may not be allowed to look.
    let copy = std::env::temp_dir().join(format!("lvs-director-demo-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_lvs-director"), &copy).unwrap();
    let mut command = Command::new(&copy);
    command.args(["demo", "--netns"]).current_dir("/");
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        command.uid(65534);
    }
    let out = command.output();
    std::fs::remove_file(&copy).unwrap();
    let out = out.unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!((out.status.code(), out.stdout.len()), (Some(1), 0), "{said}");
    assert!(said.contains("run it as root") && said.contains("--map-root-user"), "{said}");
}

#[test]
fn pauses_end_with_the_input() {
    let plain = text(&demo(&[]).output().unwrap());
    let paused = demo(&["--pause"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(plain, text(&paused));
    assert!(String::from_utf8_lossy(&paused.stderr).contains("Enter"));
}
