//! `lvs-director replay`, as a user types it.

use std::path::Path;
use std::process::{Command, Output};

use lvs_sim::compare::{Tolerances, compare};

fn director(args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Command::new(env!("CARGO_BIN_EXE_lvs-director")).args(args).current_dir(root).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_scenario_is_replayed_to_the_kernels_record() {
    let out = director(&["replay", "conformance/scenarios/rr-order.lvs"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let record = include_str!("../../../conformance/recorded/rr-order.rec");
    let differences = compare(record, &text(&out.stdout), Tolerances::default());
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn an_explanation_stands_under_each_packet() {
    let out = director(&["replay", "--explain", "conformance/scenarios/persist-expiry.lvs"]);
    let shown = text(&out.stdout);
    assert!(shown.contains("? no template for"), "{shown}");
    assert!(shown.contains(": chosen"), "{shown}");
}

#[test]
fn records_are_written_to_a_directory() {
    let dir = std::env::temp_dir().join(format!("lvs-replay-{}", std::process::id()));
    let to = dir.to_str().unwrap();
    let scenarios = ["conformance/scenarios/rr-order.lvs", "conformance/scenarios/wlc-weights.lvs"];
    let out = director(&["replay", "-o", to, scenarios[0], scenarios[1]]);
    let written: Vec<String> = text(&out.stdout).lines().map(str::to_owned).collect();
    let there = written.iter().all(|path| Path::new(path).is_file());
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(out.status.success() && there && written.len() == 2, "{written:?}");
}

#[test]
fn mistakes_say_where_and_exit_with_their_status() {
    let missing = director(&["replay", "no-such-file.lvs"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("cannot read no-such-file.lvs"));

    let path = std::env::temp_dir().join(format!("lvs-bad-{}.lvs", std::process::id()));
    std::fs::write(&path, "# a title\n1 tcp x\n").unwrap();
    let wrong = director(&["replay", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains(":2:7: 'x' is not an address"), "{}", text(&wrong.stderr));

    let both = director(&["replay", "a.lvs", "--pcap", "b.pcap", "--rules", "c"]);
    assert_eq!(both.status.code(), Some(2));
}
