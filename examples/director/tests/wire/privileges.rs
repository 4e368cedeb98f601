//! What the director says when it may not do its work.

use std::process::Command;

use lvs_testnet::{Net, Output, require};

use crate::director::{Director, PATIENCE, PROGRAM, RulesFile, rules, servers4};

/// Runs the director on its host with options and without some capabilities, until it gives up.
fn run_without(net: &Net, capabilities: &str, options: &[&str]) -> Output {
    require(&["setpriv"]);
    let file = RulesFile::new(&rules(&format!("-t {}:80", net.vip4(0)), servers4(net)));
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", capabilities, "--inh-caps", capabilities]);
    command.args([PROGRAM, "run", "--rules", file.path(), "--interface", "eth0"]).args(options);
    net.director().start_command(command).finish(PATIENCE)
}

#[test]
fn without_the_capability_for_packet_sockets_the_message_says_how_to_get_it() {
    let output = run_without(&Net::one_armed(1), "-net_raw,-net_admin", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.contains("CAP_NET_RAW is missing"), "{}", output.stderr);
    assert!(output.stderr.contains("setcap cap_net_raw,cap_net_admin+ep"), "{}", output.stderr);
}

#[test]
fn without_the_capability_for_the_guard_the_message_names_the_way_without() {
    let output = run_without(&Net::one_armed(1), "-net_admin", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.contains("CAP_NET_ADMIN"), "{}", output.stderr);
    assert!(output.stderr.contains("--no-guard"), "{}", output.stderr);
}

#[test]
fn the_loopback_and_an_interface_named_twice_are_refused() {
    let net = Net::one_armed(1);
    let output = run_without(&net, "-sys_admin", &["--interface", "lo"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.contains("lo is not an Ethernet interface"), "{}", output.stderr);
    let output = run_without(&net, "-sys_admin", &["--interface", "eth0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.contains("interface eth0 was named twice"), "{}", output.stderr);
}

#[test]
fn the_start_tells_everything_that_was_taken_over() {
    let net = Net::one_armed(2);
    net.give_vip_to_director(0);
    let text = rules(&format!("-t {}:80", net.vip4(0)), servers4(&net))
        + &rules(&format!("-t {}:0 -p", net.vip4(1)), servers4(&net));
    let director = Director::start(&net, &text);
    let log = director.log();
    let mac = net.director().mac("eth0").map(|byte| format!("{byte:02x}")).join(":");
    for wanted in [
        format!("INFO eth0: MAC {mac}, MTU 1500, 10.77.0.1/24"),
        "INFO 10.77.0.200: on this host (eth0), which answers ARP for it".to_owned(),
        "INFO 10.77.0.201: on no interface of this host; the director answers ARP for it"
            .to_owned(),
        "hides from this host TCP 10.77.0.200:80, everything to 10.77.0.201".to_owned(),
        "INFO room for 1048576 connections".to_owned(),
        "services: 2, real servers: 4, mark rules: 0".to_owned(),
        "INFO forwarding on eth0".to_owned(),
    ] {
        assert!(log.contains(&wanted), "no {wanted:?} in:\n{log}");
    }
    let log = director.stop().output.stderr;
    assert!(log.contains("stopped; 0 connections were open"), "{log}");
}
