//! The director's own host: what is hidden from it, who answers in its place, and what stays with it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use lvs_testnet::{Host, HttpServer, Net, PacketSocket, Process, Signal, http, require};

use crate::director::{Director, PATIENCE, page, rules, servers4, servers6, wait_for, wait_until};
use crate::wire::{is_icmp_error, is_reset, is_to, lines, record, stray_ack, ttl};

/// The web service of the VIP in both families.
fn web(net: &Net) -> String {
    let four = rules(&format!("-t {}:80 -s rr", net.vip4(0)), servers4(net));
    four + &rules(&format!("-t [{}]:80 -s rr", net.vip6(0)), servers6(net))
}

fn vips(net: &Net) -> [SocketAddr; 2] {
    [net.vip4(0), net.vip6(0)].map(|vip| SocketAddr::new(vip, 80))
}

fn web_servers(net: &Net) -> Vec<HttpServer> {
    net.servers().iter().map(|host| HttpServer::start(host, 80)).collect()
}

/// Each line with how often it occurs.
fn counted(lines: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    lines.into_iter().for_each(|line| *counts.entry(line).or_default() += 1);
    counts
}

/// Fetches pages and looks at the wire: every packet of the client reaches one server once, over one
/// hop, and nobody but the servers answers.
#[track_caller]
fn each_packet_is_forwarded_once_and_answered_by_servers_alone(net: &Net) {
    require(&["ss"]);
    let _servers = web_servers(net);
    let _director = Director::start(net, &web(net));
    let at_client = record(net.client());
    let at_servers: Vec<_> = net.servers().iter().map(record).collect();
    for target in vips(net) {
        (0..6).for_each(|_| _ = page(net, target));
    }
    // The last segments are the client's: when a server's connection is closed they have arrived.
    wait_until("every connection is closed", || {
        net.servers().iter().all(|server| !server.run(&["ss", "-Htn"]).stdout.contains(":80 "))
    });
    let client = at_client.stop();
    let servers: Vec<_> = at_servers.into_iter().flat_map(lvs_testnet::Capture::stop).collect();
    let to_vip = |line: &String| vips(net).iter().any(|vip| is_to(line, vip.ip()));
    let sent = counted(lines(&client, true).into_iter().filter(to_vip));
    let arrived = counted(lines(&servers, false).into_iter().filter(to_vip));
    assert!(sent.values().sum::<usize>() >= 12 * 5, "{sent:#?}");
    assert_eq!(sent, arrived);
    for seen in servers.iter().filter(|s| !s.outgoing && to_vip(&lvs_testnet::describe(&s.bytes))) {
        assert_eq!(ttl(&seen.bytes), 63, "{}", lvs_testnet::describe(&seen.bytes));
    }
    let from_others = |line: &&String| is_reset(line) || is_icmp_error(line);
    let received = lines(&client, false);
    assert_eq!(received.iter().find(from_others), None);
}

#[test]
fn packets_to_a_vip_of_the_host_are_forwarded_once_and_answered_by_servers_alone() {
    let net = Net::one_armed(2);
    net.give_vip_to_director(0);
    each_packet_is_forwarded_once_and_answered_by_servers_alone(&net);
}

#[test]
fn packets_to_a_vip_that_the_host_would_route_are_forwarded_once_and_answered_by_servers_alone() {
    each_packet_is_forwarded_once_and_answered_by_servers_alone(&Net::one_armed(2));
}

#[test]
fn packets_through_two_arms_are_forwarded_once_and_answered_by_servers_alone() {
    each_packet_is_forwarded_once_and_answered_by_servers_alone(&Net::two_armed(2));
}

/// Sends a segment of no connection to each VIP and returns how many resets came back. What is fetched
/// behind it shows that all answers have come.
fn resets_of_stray_segments(net: &Net) -> [usize; 2] {
    let (from, to) = (net.client().mac("eth0"), net.director().mac("eth0"));
    let socket = PacketSocket::open(net.client(), "eth0");
    let at_client = record(net.client());
    let targets = [(net.client4(0), vips(net)[0]), (net.client6(0), vips(net)[1])];
    for (client, target) in targets {
        socket.send(&stray_ack(from, to, SocketAddr::new(client, 4242), target));
        page(net, target);
    }
    let received = lines(&at_client.stop(), false);
    targets.map(|(client, target)| {
        let from = SocketAddr::new(target.ip(), target.port());
        let stray = |line: &&String| {
            let both = format!("{}:{} > {client}:4242 ", from.ip(), from.port());
            line.starts_with(&both) && is_reset(line)
        };
        received.iter().filter(stray).count()
    })
}

#[test]
fn a_segment_of_no_connection_gets_one_reset_whoever_has_the_address() {
    for host_has_it in [false, true] {
        let net = Net::one_armed(1);
        let _servers = web_servers(&net);
        if host_has_it {
            net.give_vip_to_director(0);
        }
        let _director = Director::start(&net, &web(&net));
        assert_eq!(resets_of_stray_segments(&net), [1, 1]);
    }
}

#[test]
fn a_silent_director_leaves_a_segment_of_no_connection_unanswered() {
    for host_has_it in [false, true] {
        let net = Net::one_armed(1);
        let _servers = web_servers(&net);
        if host_has_it {
            net.give_vip_to_director(0);
        }
        let _director = Director::start_with(&net, &web(&net), &["--silent"]);
        assert_eq!(resets_of_stray_segments(&net), [0, 0]);
    }
}

/// Whether the client gets an answer to a ping of one packet.
fn is_answered(net: &Net, addr: IpAddr) -> bool {
    require(&["ping"]);
    net.client().run(&["ping", "-n", "-c", "1", "-W", "1", &addr.to_string()]).status.success()
}

#[test]
fn a_vip_that_nobody_has_answers_ping_and_refuses_other_ports_unless_silent() {
    let net = Net::one_armed(1);
    let director = Director::start(&net, &web(&net));
    for vip in vips(&net) {
        wait_until("the VIP answers ping", || is_answered(&net, vip.ip()));
        let other = SocketAddr::new(vip.ip(), 81);
        let refused = net.client().enter(|| http::connect(other, None)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let refused = wait_for("port unreachable", || udp_error(net.client(), other));
        assert_eq!(refused, ErrorKind::ConnectionRefused);
    }
    director.stop();
    let _director = Director::start_with(&net, &web(&net), &["--silent"]);
    for vip in vips(&net) {
        assert!(!is_answered(&net, vip.ip()));
    }
}

/// The error that a datagram to a closed port brings back, if it does.
fn udp_error(host: &Host, target: SocketAddr) -> Option<ErrorKind> {
    let ask = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind(if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.connect(target)?;
        socket.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
        socket.send(b"?")?;
        socket.recv(&mut [0])
    };
    let error = host.enter(ask).err()?;
    (error.kind() != ErrorKind::WouldBlock).then_some(error.kind())
}

#[test]
fn a_vip_of_the_host_still_answers_ping() {
    let net = Net::one_armed(1);
    net.give_vip_to_director(0);
    let _director = Director::start_with(&net, &web(&net), &["--silent"]);
    for vip in vips(&net) {
        wait_until("the VIP answers ping", || is_answered(&net, vip.ip()));
    }
}

/// An OpenSSH server with keys made for the test.
struct Sshd {
    folder: PathBuf,
    _process: Process,
}

impl Sshd {
    fn start(host: &Host) -> Sshd {
        require(&["sshd", "ssh", "ssh-keygen"]);
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("ssh-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the target folder can be written");
        // The folder that sshd changes its root to; Debian makes it when the service starts.
        std::fs::create_dir_all("/run/sshd").expect("root can make /run/sshd");
        for key in ["host", "user"] {
            let path = folder.join(key).display().to_string();
            let _ = std::fs::remove_file(&path);
            host.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &path])
                .expect_success();
        }
        let config = format!(
            "Port 22\nHostKey {0}/host\nAuthorizedKeysFile {0}/user.pub\nStrictModes no\nUsePAM no\n\
             PermitRootLogin prohibit-password\nPidFile none\nUseDNS no\n",
            folder.display()
        );
        std::fs::write(folder.join("config"), config).expect("the target folder can be written");
        let path = folder.join("config").display().to_string();
        // It wants to be called by its full name.
        let process = host.start(&["/usr/sbin/sshd", "-D", "-e", "-f", &path]);
        process.wait_for("Server listening on :: port 22", PATIENCE);
        Sshd { folder, _process: process }
    }

    /// Runs a command as root over ssh, and returns what it printed.
    #[track_caller]
    fn run(&self, from: &Host, addr: IpAddr, command: &str) -> String {
        let key = self.folder.join("user").display().to_string();
        let target = format!("root@{addr}");
        let ssh = ["ssh", "-i", &key, "-F", "none", "-o", "BatchMode=yes", "-o"];
        let rest =
            ["StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", &target, command];
        from.run(&[&ssh[..], &rest[..]].concat()).expect_success().stdout
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn ssh_to_a_vip_of_the_host_reaches_the_host() {
    let net = Net::one_armed(1);
    let _servers = web_servers(&net);
    net.give_vip_to_director(0);
    let sshd = Sshd::start(net.director());
    let _director = Director::start(&net, &web(&net));
    for vip in vips(&net) {
        let links = sshd.run(net.client(), vip.ip(), "ip -o link show dev eth0");
        let mac = net.director().mac("eth0").map(|byte| format!("{byte:02x}")).join(":");
        assert!(links.contains(&mac), "{links}");
        assert_eq!(page(&net, vip), "server1");
    }
}

fn nft_rules(host: &Host) -> String {
    require(&["nft"]);
    host.run(&["nft", "list", "ruleset"]).expect_success().stdout
}

#[test]
fn no_rule_of_the_guard_is_left_when_the_director_ends() {
    let net = Net::one_armed(1);
    net.give_vip_to_director(0);
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let director = Director::start(&net, &web(&net));
        let rules = nft_rules(net.director());
        assert!(rules.contains("table netdev lvs-guard-") && rules.contains("80"), "{rules}");
        if signal == Signal::KILL {
            director.kill();
        } else {
            let stopped = director.stop_by(signal);
            assert!(
                stopped.output.stderr.contains("guard lvs-guard-"),
                "{}",
                stopped.output.stderr
            );
        }
        // The kernel removes the table a moment after its owner's end.
        wait_until("no rule is left", || nft_rules(net.director()).is_empty());
        let refused = net.client().enter(|| http::connect(vips(&net)[0], None)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "the host is itself again");
    }
}

#[test]
fn without_the_guard_the_host_answers_as_well_and_the_log_warns() {
    let net = Net::one_armed(1);
    let _servers = web_servers(&net);
    net.give_vip_to_director(0);
    let director = Director::start_with(&net, &web(&net), &["--no-guard"]);
    assert!(director.log().contains("WARN no guard: "), "{}", director.log());
    assert_eq!(nft_rules(net.director()), "");
    let at_client = record(net.client());
    for target in vips(&net) {
        // The reset of the host comes before the server's answer, or breaks the connection behind it.
        let _ = net.client().enter(|| http::fetch(target, "/"));
    }
    wait_until("the director forwarded as well", || director.listing().totals().connections == 2);
    let received = lines(&at_client.stop(), false);
    for target in vips(&net) {
        let from = format!("{}:80 > ", target.ip());
        let reset = |line: &String| line.starts_with(&from) && is_reset(line);
        assert!(received.iter().any(reset), "{received:#?}");
    }
}
