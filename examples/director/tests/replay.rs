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

/// A SYN to the VIP as it came to the director, and as it went on to the real server.
fn capture_on_a_director(director: [u8; 6]) -> Vec<u8> {
    let (client, server) = ([2, 0, 0, 0, 0, 7], [2, 0, 0, 0, 0, 8]);
    let mut capture = Vec::new();
    let mut writer = lvs_sim::capture::CaptureWriter::new(&mut capture).unwrap();
    for (time, [from, to]) in [(1_000, [client, director]), (2_000, [director, server])] {
        let syn = etherparse::PacketBuilder::ethernet2(from, to)
            .ipv4([10, 0, 0, 7], [10, 0, 0, 200], 64)
            .tcp(40_000, 80, 1, 1_000)
            .syn();
        let mut frame = Vec::new();
        syn.write(&mut frame, &[]).unwrap();
        writer.write(time, &frame).unwrap();
    }
    writer.finish().unwrap();
    capture
}

#[test]
fn a_capture_made_on_the_director_is_replayed_as_it_came_in() {
    let dir = std::env::temp_dir().join(format!("lvs-station-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (pcap, rules) = (dir.join("in.pcap"), dir.join("shop.rules"));
    std::fs::write(&pcap, capture_on_a_director([2, 0, 0, 0, 0, 0x99])).unwrap();
    std::fs::write(&rules, "-A -t 10.0.0.200:80 -s rr\n-a -t 10.0.0.200:80 -r 10.0.0.11 -g\n")
        .unwrap();
    let replay = |station: &[&str]| {
        let files = ["--pcap", pcap.to_str().unwrap(), "--rules", rules.to_str().unwrap()];
        director(&[&["replay", "--json"], &files[..], station].concat())
    };
    let (twice, once) = (replay(&[]), replay(&["--station", "02:00:00:00:00:99"]));
    let nobody = replay(&["--station", "02:00:00:00:00:98"]);
    let group = replay(&["--station", "01:00:5e:00:00:01"]);
    std::fs::remove_dir_all(&dir).unwrap();
    let forwarded = |out: &Output| {
        let shown = text(&out.stdout);
        let line = shown.lines().find(|line| line.contains("\"forwarded\":")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{shown}\n{}", text(&out.stderr))).trim().to_owned()
    };
    assert_eq!(forwarded(&twice), "\"forwarded\": 2,");
    assert_eq!(forwarded(&once), "\"forwarded\": 1,");
    assert!(text(&nobody.stderr).contains("no frame of "), "{}", text(&nobody.stderr));
    assert_eq!(group.status.code(), Some(2));
}
