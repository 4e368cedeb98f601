//! Scenario files: records on disk, explanations, and what is said about wrong files.

use std::fs;
use std::path::{Path, PathBuf};

use lvs_sim::player::PlayOptions;
use lvs_sim::{replay_file, replay_file_to};

/// A directory of this test's own.
fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

const SCENARIO: &str = "# two servers, one of them quiesced\n\
    0 ipvsadm -A -t 10.0.0.1:80 -s rr -p 20\n\
    0 ipvsadm -a -t 10.0.0.1:80 -r 10.1.0.2 -g\n\
    0 ipvsadm -a -t 10.0.0.1:80 -r 10.1.0.3 -g -w 0\n\
    0.5 tcp 192.0.2.7:40000-40001 > 10.0.0.1:80 S\n";

#[test]
fn a_record_is_written_beside_others_under_the_scenarios_name() {
    let dir = scratch("written");
    let file = dir.join("my.scenario.lvs");
    fs::write(&file, SCENARIO).unwrap();
    let target = replay_file_to(&file, &dir.join("new/records"), &PlayOptions::default()).unwrap();
    assert_eq!(target, dir.join("new/records/my.scenario.rec"));
    let record = fs::read_to_string(target).unwrap();
    assert_eq!(record, replay_file(&file, &PlayOptions::default()).unwrap());
    assert!(record.contains("# scenario my.scenario: two servers, one of them quiesced\n"));
}

#[test]
fn an_explanation_says_what_matched_and_who_was_skipped_and_why() {
    let file = scratch("explained").join("x.lvs");
    fs::write(&file, SCENARIO).unwrap();
    let options = PlayOptions { explain: true, ..PlayOptions::default() };
    let record = replay_file(&file, &options).unwrap();
    let expected = "S => dr 10.1.0.2\n    \
        s0 dr | ip4 192.0.2.7 > 10.0.0.1 ttl=63 tos=0x00 df=1 id=in len=40 | tcp 40000 > 80 S csum=ok\n    \
        ? no connection yet\n    \
        ? service TCP 10.0.0.1:80\n    \
        ? no template for 192.0.2.7 at 10.0.0.1:80\n    \
        ?   10.1.0.3:80 weight 0 active 0 inactive 0: skipped: weight 0\n    \
        ?   10.1.0.2:80 weight 1 active 0 inactive 0: chosen\n    \
        ? opened to 10.1.0.2:80\n";
    assert!(record.contains(expected), "{record}");
    assert!(record.contains("? template: this client belongs to 10.1.0.2:80, 1 connection now\n"));
}

#[test]
fn wrong_files_are_told_apart_from_missing_ones() {
    let dir = scratch("wrong");
    let wrong = dir.join("wrong.lvs");
    fs::write(&wrong, "0 ipvsadm -C\n0.5 tpc 192.0.2.7:1 > 10.0.0.1:80 S\n").unwrap();
    let error = replay_file(&wrong, &PlayOptions::default()).unwrap_err();
    assert!(error.is_usage());
    let place = format!("{}:2:5: 'tpc' is no action; expected ", wrong.display());
    assert!(error.to_string().starts_with(&place), "{error}");

    fs::write(&wrong, b"# title\n0.5 dump \xff\n").unwrap();
    let error = replay_file(&wrong, &PlayOptions::default()).unwrap_err();
    let place = format!("{}:2:10: a byte that is no text; save the file in UTF-8", wrong.display());
    assert_eq!(error.to_string(), place);

    let missing = dir.join("missing.lvs");
    let error = replay_file(&missing, &PlayOptions::default()).unwrap_err();
    assert!(!error.is_usage());
    assert!(error.to_string().starts_with(&format!("cannot read {}: ", missing.display())));
}
