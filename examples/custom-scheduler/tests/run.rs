//! The example as a user runs it.

use std::process::Command;

#[test]
fn the_users_scheduler_keeps_networks_together_and_moves_nobody_without_need() {
    let out = Command::new(env!("CARGO_BIN_EXE_custom-scheduler")).output().unwrap();
    let shown = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{shown}{}", String::from_utf8_lossy(&out.stderr));
    let (subnet, sh) = shown.split_once("-s sh").unwrap();
    assert!(subnet.contains("256 of 256 networks have one server"), "{shown}");
    assert!(subnet.contains("without 10.0.0.3, 0 clients of other servers move"), "{shown}");
    assert!(!sh.contains("256 of 256"), "{shown}");
    // Shares by weight, 1 to 4 of 10, within what 256 networks allow.
    for weight in 1..=4 {
        let line = subnet.lines().find(|line| line.contains(&format!("weight {weight}"))).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let share: i32 = words[words.len() - 4].parse().unwrap();
        assert!((share - weight * 102).abs() < 80, "{line}");
    }
}
