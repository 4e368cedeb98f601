//! The harness itself, without a director: what it promises to the tests that stand on it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use etherparse::PacketBuilder;
use lvs_testnet::{
    Ab, Capture, HttpServer, Net, PacketSocket, Signal, TcpEcho, UdpEcho, describe,
    digest_of_pattern, http,
};

const SECOND: Duration = Duration::from_secs(1);

fn at(addr: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(addr, port)
}

#[test]
fn a_page_comes_straight_from_a_real_server_in_both_families() {
    let net = Net::one_armed(2);
    let server = HttpServer::start(&net.servers()[1], 80);
    for addr in [net.server4(1), net.server6(1)] {
        let page = net.client().enter(|| http::fetch(at(addr, 80), "/")).unwrap();
        assert_eq!((page.status, page.body.as_str()), (200, "server2\n"));
    }
    assert_eq!(server.connections(), 2);
    assert_eq!(server.connections_from(net.client4(0)), 1);
    assert_eq!(server.connections_from(net.client6(0)), 1);
}

#[test]
fn apache_bench_gets_every_page_and_the_server_counts_them() {
    let net = Net::one_armed(1);
    let server = HttpServer::start(&net.servers()[0], 80);
    net.add_client_address(1);
    let url = format!("http://{}/", net.server4(0));
    let report = Ab::new(10_000, 50, &url).from(net.client4(1)).run(net.client());
    assert_eq!((report.complete, report.failed, report.non_2xx), (10_000, 0, 0), "{}", report.text);
    // ApacheBench begins a few requests more than it reports, at most one for each slot.
    assert!((10_000..10_050).contains(&server.requests()), "{}", server.requests());
    assert_eq!(server.connections_from(net.client4(1)), server.requests());
    let url = format!("http://[{}]/", net.server6(0));
    let report = Ab::new(100, 10, &url).run(net.client());
    assert_eq!((report.complete, report.failed), (100, 0), "{}", report.text);
}

#[test]
fn large_bodies_arrive_whole_and_as_super_frames() {
    const LEN: u64 = 30_000_000;
    let net = Net::one_armed(1);
    let _server = HttpServer::start(&net.servers()[0], 80);
    let target = at(net.server4(0), 80);
    let large = Capture::start_where(net.client(), "eth0", |seen| seen.len > 1514);
    let (len, digest) = net.client().enter(|| http::download(target, LEN)).unwrap();
    assert_eq!((len, digest), (LEN, digest_of_pattern(LEN)));
    let digest = net.client().enter(|| http::upload(target, LEN)).unwrap();
    assert_eq!(digest, digest_of_pattern(LEN));
    let frames = large.stop();
    assert!(frames.iter().any(|seen| seen.outgoing), "offloads are not at their defaults");
    assert!(frames.iter().any(|seen| !seen.outgoing), "offloads are not at their defaults");
}

#[test]
fn a_vip_on_the_real_servers_is_served_but_nobody_answers_for_it() {
    let net = Net::one_armed(1);
    let client = net.client();
    let _server = HttpServer::start(&net.servers()[0], 80);
    let capture = Capture::start(client, "eth0");
    for vip in [net.vip4(0), net.vip6(0)] {
        // A datagram makes the client ask for the address.
        client.enter(|| {
            let any = if vip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            UdpSocket::bind(any).unwrap().send_to(b"?", (vip, 9)).unwrap();
        });
    }
    std::thread::sleep(SECOND / 2);
    let lines = capture.stop_and_describe();
    let asked = |line: &&String| line.contains("who-has 10.77.0.200") || line.contains("solicit");
    let answered = |line: &&String| line.contains("is-at") || line.contains("advertisement");
    assert!(lines.iter().filter(asked).count() >= 2, "{lines:#?}");
    assert_eq!(lines.iter().find(answered), None, "{lines:#?}");
    // What a director does in direct routing: the VIP's packets go to the server's MAC.
    let mac = net.servers()[0].mac("eth0").map(|byte| format!("{byte:02x}")).join(":");
    for vip in [net.vip4(0), net.vip6(0)] {
        client.ip(&format!("neigh replace {vip} lladdr {mac} dev eth0"));
        let page = client.enter(|| http::fetch(at(vip, 80), "/")).unwrap();
        assert_eq!(page.body, "server1\n");
    }
}

#[test]
fn in_the_two_armed_net_servers_answer_through_the_router() {
    let net = Net::two_armed(2);
    let _server = HttpServer::start(&net.servers()[1], 80);
    let passing = Capture::start(net.director(), "eth1");
    for addr in [net.server4(1), net.server6(1)] {
        let page = net.client().enter(|| http::fetch(at(addr, 80), "/")).unwrap();
        assert_eq!(page.body, "server2\n");
    }
    let lines = passing.stop_and_describe();
    assert!(!lines.iter().any(|line| line.contains("tcp")), "{lines:#?}");
    // The director reaches both sides.
    let page = net.director().enter(|| http::fetch(at(net.server4(1), 80), "/")).unwrap();
    assert_eq!(page.status, 200);
    net.director().run(&["ip", "route", "get", &net.client4(0).to_string()]).expect_success();
}

#[test]
fn a_capture_shows_what_the_kernel_answers_on_a_closed_port() {
    let net = Net::one_armed(1);
    let capture = Capture::start(net.client(), "eth0");
    let target = at(net.server4(0), 81);
    let refused = net.client().enter(|| http::connect(target, None)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let lines = capture.stop_and_describe();
    let syn = lines.iter().any(|line| line.starts_with("> ") && line.ends_with(":81 tcp S len=0"));
    let reset = lines.iter().any(|line| line.starts_with("< ") && line.ends_with("tcp AR len=0"));
    assert!(syn && reset, "{lines:#?}");
}

#[test]
fn tagged_frames_are_sent_and_seen_with_their_tags() {
    let mut net = Net::one_armed(0);
    let target = net.director().mac("eth0");
    let mut receiver = PacketSocket::open(net.director(), "eth0");
    let peer = net.add_peer("peer");
    let builder = PacketBuilder::ethernet2(peer.mac("eth0"), target)
        .double_vlan(5.try_into().unwrap(), 7.try_into().unwrap())
        .ipv4([192, 0, 2, 7], [10, 77, 0, 200], 64)
        .udp(40000, 53);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"tagged").unwrap();
    PacketSocket::open(peer, "eth0").send(&frame);
    let seen = receiver.receive_where(SECOND, |bytes| describe(bytes).contains("vlan"));
    assert_eq!(
        seen.as_deref().map(describe).as_deref(),
        Some("vlan 5 vlan 7 192.0.2.7:40000 > 10.77.0.200:53 udp len=6")
    );
    assert_eq!(seen, Some(frame));
}

#[test]
fn echo_servers_answer_under_their_hosts_names() {
    let net = Net::one_armed(1);
    let server = &net.servers()[0];
    let tcp = TcpEcho::start(server, 7);
    let mut stream = net.client().enter(|| http::connect(at(net.server4(0), 7), None)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut answer = [0; 13];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"server1\nhello");
    assert_eq!((tcp.connections(), tcp.open()), (1, 1));
    drop(tcp);
    assert_eq!(stream.read(&mut answer).unwrap(), 0, "the server's end closes its connections");

    let udp = UdpEcho::start(server, at(net.server6(0), 7));
    let answer = net.client().enter(|| {
        let socket = UdpSocket::bind("[::]:0").unwrap();
        socket.set_read_timeout(Some(SECOND)).unwrap();
        socket.send_to(b"hello", (net.server6(0), 7)).unwrap();
        let mut buffer = [0; 64];
        let (n, _) = socket.recv_from(&mut buffer).unwrap();
        buffer[..n].to_vec()
    });
    assert_eq!((answer.as_slice(), udp.datagrams()), (&b"server1:hello"[..], 1));
}

#[test]
fn a_program_is_killed_with_its_handle_and_with_its_host() {
    let net = Net::one_armed(0);
    let sleeper = net.client().start(&["sh", "-c", "echo ready; exec sleep 600"]);
    sleeper.wait_for("ready", SECOND * 5);
    let pid = sleeper.pid();
    drop(sleeper);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());

    let mut orphan = net.client().start(&["sleep", "600"]);
    drop(net);
    let ended = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !orphan.is_running()
    });
    assert!(ended, "the program outlived its host");
}

#[test]
fn a_program_gets_signals_and_its_output_is_kept() {
    let net = Net::one_armed(0);
    let script = "trap 'echo caught >&2; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let program = net.client().start(&["sh", "-c", script]);
    program.wait_for("ready", SECOND * 5);
    program.signal(Signal::TERM);
    let output = program.finish(SECOND * 5);
    assert_eq!((output.status.code(), output.stderr.as_str()), (Some(3), "caught\n"));
}

#[test]
#[should_panic(expected = "it printed:\nonly this")]
fn waiting_for_what_is_never_printed_fails_with_what_was() {
    let net = Net::one_armed(0);
    net.client().start(&["echo", "only this"]).wait_for("something else", SECOND * 5);
}

#[test]
fn a_sysctl_is_that_of_the_host() {
    let net = Net::one_armed(1);
    assert_eq!(net.director().sysctl("net.ipv4.ip_forward"), "1");
    assert_eq!(net.client().sysctl("net.ipv4.ip_forward"), "0");
    assert_eq!(net.servers()[0].sysctl("net.ipv4.conf.all.arp_ignore"), "1");
}
