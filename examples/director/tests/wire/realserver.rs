//! `lvs-director realserver`: what it finds, changes and takes back on a host.

use std::net::SocketAddr;

use lvs_testnet::{Host, HttpServer, Net, Output, Signal, require};

use crate::director::{Director, PATIENCE, PROGRAM, page, rules, servers4, wait_until};
use crate::far::RealServer;

const VIP: &str = "192.0.2.80";
const IGNORE: &str = "net.ipv4.conf.all.arp_ignore";
const ANNOUNCE: &str = "net.ipv4.conf.all.arp_announce";

/// A host with one interface, as it is after an installation.
fn host() -> Host {
    let host = Host::new("server");
    host.ip("link add eth0 type veth peer name peer");
    host.ip("link set eth0 up");
    host.add_address("eth0", "10.81.0.2/24");
    host
}

fn real_server(host: &Host, options: &[&str]) -> Output {
    host.start(&[&[PROGRAM, "realserver"], options].concat()).finish(PATIENCE)
}

fn settings(host: &Host) -> [String; 2] {
    [IGNORE, ANNOUNCE].map(|name| host.sysctl(name))
}

fn has_vip(host: &Host) -> bool {
    host.ip("-o addr show dev lo").contains(&format!("{VIP}/32"))
}

#[test]
fn a_check_names_what_is_wrong_with_its_command_and_changes_nothing() {
    let host = host();
    for options in [&["--vip", VIP][..], &["--vip", VIP, "--check"]] {
        let output = real_server(&host, options);
        assert_eq!(output.status.code(), Some(1));
        for wanted in [
            "wrong     net.ipv4.conf.all.arp_ignore is 0: ",
            "sysctl -w net.ipv4.conf.all.arp_ignore=1",
            "sysctl -w net.ipv4.conf.all.arp_announce=2",
            "ip address add 192.0.2.80/32 dev lo",
        ] {
            assert!(output.stdout.contains(wanted), "no {wanted:?} in:\n{}", output.stdout);
        }
        assert!(output.stderr.contains("realserver --vip 192.0.2.80 --apply"), "{}", output.stderr);
    }
    assert_eq!((settings(&host), has_vip(&host)), (["0", "0"].map(str::to_owned), false));
}

#[test]
fn what_was_changed_is_taken_back_by_every_signal_that_asks_for_the_end() {
    let host = host();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let server = RealServer::start(&host, &["--vip", VIP]);
        assert_eq!((settings(&host), has_vip(&host)), (["1", "2"].map(str::to_owned), true));
        assert_eq!(real_server(&host, &["--vip", VIP, "--check"]).status.code(), Some(0));
        server.signal(signal);
        wait_until("the address is gone", || !has_vip(&host));
        wait_until("the settings are back", || settings(&host) == ["0", "0"]);
    }
}

#[test]
fn what_is_right_already_is_left_and_not_taken_back() {
    let host = host();
    host.set_sysctl(IGNORE, "1");
    host.add_address("lo", &format!("{VIP}/32"));
    let server = RealServer::start(&host, &["--vip", VIP]);
    let printed = server.stop();
    assert!(printed.contains("changed   sysctl -w net.ipv4.conf.all.arp_announce=2"), "{printed}");
    assert_eq!(printed.matches("changed ").count(), 1, "{printed}");
    assert_eq!((settings(&host), has_vip(&host)), (["1", "0"].map(str::to_owned), true));
}

#[test]
fn a_second_one_finds_all_right_and_takes_over_when_the_first_ends() {
    let host = host();
    let first = RealServer::start(&host, &["--vip", VIP]);
    let second = RealServer::start(&host, &["--vip", VIP]);
    assert!(!second.printed().contains("changed   "), "{}", second.printed());
    first.stop();
    wait_until("the second one puts it right again", || has_vip(&host));
    wait_until("the settings, too", || settings(&host) == ["1", "2"]);
    second.stop();
    assert_eq!((settings(&host), has_vip(&host)), (["0", "0"].map(str::to_owned), false));
}

#[test]
fn what_somebody_changed_meanwhile_is_not_taken_back_over_it() {
    let host = host();
    let server = RealServer::start(&host, &["--vip", VIP]);
    host.set_sysctl(IGNORE, "2");
    let printed = server.stop();
    assert!(printed.contains("somebody changed it meanwhile"), "{printed}");
    assert_eq!(settings(&host), ["2", "0"]);
}

#[test]
fn a_kill_leaves_address_and_settings_but_no_device() {
    let host = host();
    RealServer::start(&host, &["--vip", VIP, "--tun", "ipip"]).kill();
    assert_eq!((settings(&host), has_vip(&host)), (["1", "2"].map(str::to_owned), true));
    wait_until("the device is gone", || !host.ip("-o link show").contains("lvs-decap"));
}

#[test]
fn an_address_on_a_network_card_is_left_to_a_person_and_nothing_is_changed() {
    let host = host();
    host.add_address("eth0", &format!("{VIP}/24"));
    let output = real_server(&host, &["--vip", VIP, "--apply"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.contains("person    192.0.2.80 is on eth0"), "{}", output.stdout);
    assert!(output.stdout.contains("ip address del 192.0.2.80/24 dev eth0"), "{}", output.stdout);
    assert!(output.stderr.contains("nothing was changed"), "{}", output.stderr);
    assert_eq!(settings(&host), ["0", "0"]);
}

#[test]
fn an_ipv6_address_where_ipv6_is_off_and_an_interface_that_is_none_are_told() {
    let host = host();
    host.set_sysctl("net.ipv6.conf.lo.disable_ipv6", "1");
    let output = real_server(&host, &["--vip", "2001:db8::80", "--apply"]);
    assert!(output.stdout.contains("IPv6 is switched off here"), "{}", output.stdout);
    let output = real_server(&host, &["--vip", VIP, "--interface", "eth7"]);
    assert!(output.stdout.contains("there is no interface eth7"), "{}", output.stdout);
    assert!(output.stdout.contains("one of: lo, peer, eth0"), "{}", output.stdout);
}

#[test]
fn a_second_decapsulator_is_refused_and_leaves_the_first_alone() {
    let host = host();
    let first = RealServer::start(&host, &["--vip", VIP, "--tun", "gre"]);
    let output = real_server(&host, &["--vip", VIP, "--tun", "gre", "--apply"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.contains("a device lvs-decap already"), "{}", output.stderr);
    let output = real_server(&host, &["--vip", VIP, "--tun", "ipip", "--apply"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.contains("does not open IPIP"), "{}", output.stdout);
    assert!(has_vip(&host));
    let check = |tun| real_server(&host, &["--vip", VIP, "--tun", tun]).expect_success().stdout;
    assert!(check("gre").contains("runs (lvs-decap) and opens GRE"), "{}", check("gre"));
    let output = real_server(&host, &["--vip", VIP, "--tun", "gue"]);
    assert!(output.stdout.contains("does not open GUE"), "{}", output.stdout);
    first.stop();
    assert!(!has_vip(&host));
}

#[test]
fn without_capabilities_the_message_names_the_one_that_lacks_and_what_was_done_is_back() {
    require(&["setpriv"]);
    let host = host();
    for (without, options, wanted) in [
        ("-net_admin", &["--vip", VIP][..], "CAP_NET_ADMIN"),
        ("-net_admin", &["--vip", VIP, "--tun", "ipip"], "CAP_NET_ADMIN"),
        ("-net_raw", &["--vip", VIP, "--tun", "ipip"], "CAP_NET_RAW"),
    ] {
        let limits = ["setpriv", "--bounding-set", without, "--inh-caps", without];
        let command = [&limits[..], &[PROGRAM, "realserver", "--apply"], options].concat();
        let output = host.start(&command).finish(PATIENCE);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stderr.contains(wanted), "{}", output.stderr);
        assert_eq!((settings(&host), has_vip(&host)), (["0", "0"].map(str::to_owned), false));
    }
}

#[test]
fn the_commands_that_are_printed_do_what_apply_does() {
    let host = host();
    let output = real_server(&host, &["--vip", VIP, "--print"]).expect_success();
    // sysctl(8) need not be installed.
    for line in output.stdout.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match line.strip_prefix("sysctl -w ").and_then(|rest| rest.split_once('=')) {
            Some((name, value)) => host.set_sysctl(name, value),
            None => _ = host.ip(line.strip_prefix("ip ").expect("a command of iproute2")),
        }
    }
    real_server(&host, &["--vip", VIP, "--check"]).expect_success();
}

#[test]
fn a_host_made_a_real_server_serves_by_direct_routing_and_answers_no_arp() {
    require(&["arping"]);
    let net = Net::one_armed(1);
    let (server, vip) = (&net.servers()[0], net.vip4(0));
    server.ip(&format!("addr del {vip}/32 dev lo"));
    server.set_sysctl(IGNORE, "0");
    server.set_sysctl(ANNOUNCE, "0");
    let made = RealServer::start(server, &["--vip", &vip.to_string()]);
    // Nobody else has the address yet.
    let vip_text = vip.to_string();
    let asked = net.client().run(&["arping", "-c", "2", "-w", "2", "-I", "eth0", &vip_text]);
    assert!(asked.stdout.contains("Received 0 response"), "{}", asked.stdout);
    let _http = HttpServer::start(server, 80);
    let target = SocketAddr::new(vip, 80);
    let director = Director::start(&net, &rules(&format!("-t {target}"), servers4(&net)));
    assert_eq!(page(&net, target), "server1");
    assert!(!director.log().contains("answers ARP for the virtual"), "{}", director.log());
    director.stop();
    made.stop();
}
