//! Who answers for which address: the director for virtual addresses that no host has, real servers for
//! their own; and what happens when somebody answers wrongly, not at all, or from a new interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;

use lvs_core::wire::ndp::{self, NdpMessage};
use lvs_testnet::{HttpServer, Net, PacketSocket, TcpEcho, describe, http};

use crate::director::{
    Director, Held, PATIENCE, page, rules, servers4, servers6, wait_for, wait_until,
};
use crate::wire::{lines, record};

/// What stands for all stations of a link in an Ethernet header.
const BROADCAST: [u8; 6] = [0xff; 6];

/// The VIP's web service in both families.
fn web(net: &Net) -> String {
    let four = rules(&format!("-t {}:80 -s rr", net.vip4(0)), servers4(net));
    four + &rules(&format!("-t [{}]:80 -s rr", net.vip6(0)), servers6(net))
}

fn web_servers(net: &Net) -> Vec<HttpServer> {
    net.servers().iter().map(|host| HttpServer::start(host, 80)).collect()
}

/// What an advertisement or solicitation in an untagged frame says.
fn ndp_message(frame: &[u8]) -> Option<NdpMessage> {
    (frame.get(12..14)? == [0x86, 0xdd] && frame.get(20) == Some(&58))
        .then(|| ndp::parse(&frame[14..], 40).ok())
        .flatten()
}

fn ipv6(addr: IpAddr) -> Ipv6Addr {
    match addr {
        IpAddr::V6(addr) => addr,
        IpAddr::V4(addr) => panic!("{addr} is no IPv6 address"),
    }
}

fn ipv4(addr: IpAddr) -> Ipv4Addr {
    match addr {
        IpAddr::V4(addr) => addr,
        IpAddr::V6(addr) => panic!("{addr} is no IPv4 address"),
    }
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Waits for a frame that came in.
#[track_caller]
fn next(socket: &mut PacketSocket, what: &str, wanted: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let found = socket.receive_where(PATIENCE, wanted);
    found.unwrap_or_else(|| panic!("waited in vain: {what}"))
}

/// Waits until the link was told that the VIPs of both families are at `mac`.
#[track_caller]
fn wait_for_announcements(net: &Net, listener: &mut PacketSocket, mac: [u8; 6]) {
    let (vip4, vip6) = (net.vip4(0), ipv6(net.vip6(0)));
    let (mut told4, mut told6) = (false, false);
    next(listener, "announcements of both virtual addresses", |frame| {
        if frame[6..12] == mac {
            let arp = describe(frame) == format!("arp who-has {vip4} tell {vip4}");
            told4 |= arp && frame[..6] == BROADCAST && frame[22..28] == mac;
            told6 |= matches!(ndp_message(frame), Some(NdpMessage::Advert {
                target, mac: Some(told), solicited: false, override_: true,
            }) if target == vip6 && told.0 == mac);
        }
        told4 && told6
    });
}

#[test]
fn for_an_address_that_no_host_has_the_director_answers_and_it_announces_it_at_start() {
    let mut net = Net::one_armed(1);
    let mut listener = PacketSocket::open(net.add_peer("listener"), "eth0");
    let _servers = web_servers(&net);
    let mac = net.director().mac("eth0");
    let director = Director::start(&net, &web(&net));
    wait_for_announcements(&net, &mut listener, mac);
    for vip in [net.vip4(0), net.vip6(0)] {
        assert_eq!(page(&net, SocketAddr::new(vip, 80)), "server1");
        let neighbors = net.client().ip(&format!("neigh show {vip}"));
        assert!(neighbors.contains(&mac_text(mac)), "{vip} is not at the director: {neighbors}");
    }
    // Real network cards deliver only the groups that were joined.
    let group = mac_text(ndp::multicast_mac(ndp::solicited_node(ipv6(net.vip6(0)))).0);
    let groups = || net.director().ip("maddr show dev eth0");
    assert!(groups().contains(&group), "{group} is not joined:\n{}", groups());
    director.reload(&rules(&format!("-t {}:80 -s rr", net.vip4(0)), servers4(&net)));
    assert!(!groups().contains(&group), "{group} is still joined:\n{}", groups());
    director.stop();
}

/// Asks for an address from a station without one of its own, as a client's kernel would.
fn ask(socket: &PacketSocket, mac: [u8; 6], asker: (IpAddr, IpAddr), addr: IpAddr) {
    let (to, kind, packet) = match addr {
        IpAddr::V4(addr) => {
            let head = [0, 1, 8, 0, 6, 4, 0, 1];
            let own = ipv4(asker.0).octets();
            let packet = [&head[..], &mac, &own, &[0; 6], &addr.octets()].concat();
            (BROADCAST, 0x0806_u16, packet)
        }
        IpAddr::V6(target) => {
            let dst = ndp::solicited_node(target);
            let source_mac = lvs_core::addr::MacAddr(mac);
            let solicit = ndp::Solicit { target, source: ipv6(asker.1), source_mac, dst };
            let mut packet = vec![0; ndp::LEN];
            let len = solicit.emit(&mut packet);
            packet.truncate(len);
            (ndp::multicast_mac(dst).0, 0x86dd, packet)
        }
    };
    socket.send(&[&to[..], &mac, &kind.to_be_bytes(), &packet].concat());
}

/// The address that a frame answers for.
fn answered(frame: &[u8]) -> Option<IpAddr> {
    if frame.get(12..14)? == [8, 6] && frame.get(20..22)? == [0, 2] {
        return Some(Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(28..32)?).ok()?).into());
    }
    match ndp_message(frame) {
        Some(NdpMessage::Advert { target, solicited: true, .. }) => Some(target.into()),
        _ => None,
    }
}

#[test]
fn for_an_address_on_its_host_the_director_is_silent_and_only_the_host_answers() {
    let mut net = Net::one_armed(1);
    net.give_vip_to_director(0);
    let peer = net.add_peer("peer");
    let (mac, mut socket) = (peer.mac("eth0"), PacketSocket::open(peer, "eth0"));
    let others = rules(&format!("-t {}:80 -s rr", net.vip4(1)), servers4(&net))
        + &rules(&format!("-t [{}]:80 -s rr", net.vip6(1)), servers6(&net));
    let director = Director::start(&net, &(web(&net) + &others));
    for vip in [net.vip4(0), net.vip6(0)] {
        director.wait_for_log_from(
            0,
            &[&format!("{vip}: on this host (eth0), which answers ARP for it")],
        );
    }
    let asker = (net.client4(9), net.client6(9));
    for (on_host, elsewhere) in [(net.vip4(0), net.vip4(1)), (net.vip6(0), net.vip6(1))] {
        let mut answers = Vec::new();
        // The host answers at once. If the director answered as well, its answer would come before that
        // to the second question, which only the director answers.
        for _ in 0..2 {
            ask(&socket, mac, asker, on_host);
            ask(&socket, mac, asker, elsewhere);
            let before = answers.len();
            next(&mut socket, "answers of the host and of the director", |frame| {
                let announced = describe(frame) == format!("arp who-has {on_host} tell {on_host}");
                assert!(!announced, "the director announces an address that its host has");
                answers.extend(answered(frame));
                answers[before..].contains(&on_host) && answers[before..].contains(&elsewhere)
            });
        }
        let count = answers.iter().filter(|addr| **addr == on_host).count();
        assert_eq!(count, 2, "two questions and these answers: {answers:?}");
    }
    director.stop();
}

#[test]
fn a_real_server_that_answers_for_the_vip_is_reported_with_its_mac_and_the_cure() {
    let net = Net::one_armed(2);
    let wrong = &net.servers()[1];
    wrong.set_sysctl("net.ipv4.conf.all.arp_ignore", "0");
    let director = Director::start(&net, &web(&net));
    let report = format!(
        "{} answers ARP for the virtual address {}",
        mac_text(wrong.mac("eth0")),
        net.vip4(0)
    );
    director.wait_for_log_from(0, &[report.as_str()]);
    let log = director.wait_for_log_from(0, &["answers ARP for the virtual address"]);
    let cure = "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2";
    let lines: Vec<&str> =
        log.lines().filter(|line| line.contains("answers ARP for the virtual")).collect();
    assert!(
        matches!(lines[..], [line] if line.contains(cure) && line.contains("eth0")),
        "{lines:?}"
    );
    director.stop();
}

#[test]
fn real_servers_are_asked_for_when_they_are_added_before_any_client() {
    let net = Net::one_armed(2);
    let sockets = net.servers().iter().map(|host| PacketSocket::open(host, "eth0"));
    let mut sockets: Vec<PacketSocket> = sockets.collect();
    let first = rules(&format!("-t {}:80 -s rr", net.vip4(0)), [net.server4(0)]);
    let director = Director::start(&net, &first);
    let who_has = |addr: IpAddr| format!("arp who-has {addr} tell {}", net.director4());
    let mut too_early = false;
    next(&mut sockets[0], "the question for the first server", |frame| {
        too_early |= describe(frame) == who_has(net.server4(1));
        describe(frame) == who_has(net.server4(0))
    });
    assert!(!too_early, "asked for a server that nobody has added");
    director.reload(&web(&net));
    let mut asked = [false; 3];
    next(&mut sockets[1], "the questions for the other servers", |frame| {
        asked[0] |= describe(frame) == who_has(net.server4(1));
        if let Some(NdpMessage::Solicit { target, source, .. }) = ndp_message(frame)
            && source == ipv6(net.director6())
        {
            asked[1] |= target == net.server6(0);
            asked[2] |= target == net.server6(1);
        }
        asked == [true; 3]
    });
    assert_eq!(director.listing().totals().connections, 0);
    director.stop();
}

#[test]
fn clients_of_a_real_server_that_does_not_answer_learn_that_the_host_is_unreachable() {
    let net = Net::one_armed(0);
    let (nobody4, nobody6) = (net.server4(5), net.server6(5));
    let text = rules(&format!("-t {}:80 -s rr", net.vip4(0)), [nobody4])
        + &rules(&format!("-t [{}]:80 -s rr", net.vip6(0)), [nobody6]);
    let director = Director::start(&net, &text);
    // Both wait three seconds for the answer that does not come, so they do it at once.
    thread::scope(|scope| {
        for vip in [net.vip4(0), net.vip6(0)] {
            let (client, director) = (net.client(), &director);
            scope.spawn(move || {
                wait_until("host unreachable", || {
                    let tried = client.enter(|| http::connect(SocketAddr::new(vip, 80), None));
                    let error = tried.expect_err("nobody is there to connect to");
                    // On a machine so busy that the client loses its patience first, it tries again.
                    let told = error.kind() == io::ErrorKind::HostUnreachable;
                    assert!(told || is_timeout(&error), "{vip}: {error}\n{}", director.log());
                    told
                });
            });
        }
    });
    director.stop();
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The page, as soon as it comes.
#[track_caller]
fn wait_for_page(net: &Net, vip: IpAddr) {
    wait_for(&format!("a page from {vip}"), || {
        net.client().enter(|| http::fetch(SocketAddr::new(vip, 80), "/")).ok()
    });
}

#[test]
fn after_the_interface_was_down_and_got_another_mac_traffic_and_connections_go_on() {
    let mut net = Net::one_armed(2);
    let mut listener = PacketSocket::open(net.add_peer("listener"), "eth0");
    let _servers = web_servers(&net);
    let _echoes: Vec<TcpEcho> = net.servers().iter().map(|host| TcpEcho::start(host, 7)).collect();
    let echo = rules(&format!("-t {}:7 -s rr", net.vip4(0)), servers4(&net));
    let director = Director::start(&net, &(web(&net) + &echo));
    let mut held = Held::open(&net, SocketAddr::new(net.vip4(0), 7), None);
    net.director().ip("link set eth0 down");
    director.wait_for_log_from(0, &["port 0 is down: `ip link set dev eth0 up`"]);
    let mac = [2, 0, 0, 0, 0x77, 1];
    net.director().ip(&format!("link set eth0 address {}", mac_text(mac)));
    net.director().ip("link set eth0 up");
    director.wait_for_log_from(0, &["port 0: interface eth0 is up again"]);
    wait_for_announcements(&net, &mut listener, mac);
    wait_for_page(&net, net.vip4(0));
    held.echo("still here");
    let listing = director.listing();
    let lines = servers4(&net).map(|addr| listing.server(SocketAddr::new(addr, 7)));
    assert_eq!(lines.map(|line| line.active).sum::<u64>(), 1, "{}", listing.text);
    director.stop();
}

#[test]
fn after_the_interface_was_deleted_and_made_anew_the_director_goes_on_from_its_new_mac() {
    let mut net = Net::one_armed(2);
    let mut listener = PacketSocket::open(net.add_peer("listener"), "eth0");
    let _servers = web_servers(&net);
    let text = web(&net);
    let director = Director::start(&net, &text);
    let vips = [net.vip4(0), net.vip6(0)];
    vips.iter().for_each(|vip| drop(page(&net, SocketAddr::new(*vip, 80))));
    let old = net.director().mac("eth0");
    net.replace_director_interface(|| {
        let gone = "port 0: interface eth0 is gone";
        director.wait_for_log_from(0, &[gone]);
        // Rules that are read now are not those of a director without a link.
        director.reload(&text);
    });
    let new = net.director().mac("eth0");
    assert_ne!(old, new, "a new interface has a new address");
    wait_for_announcements(&net, &mut listener, new);
    vips.iter().for_each(|vip| wait_for_page(&net, *vip));
    let guard = net.director().run(&["nft", "list", "ruleset"]).expect_success().stdout;
    assert!(guard.contains("\"eth0\""), "the new interface is not guarded:\n{guard}");
    director.stop();
}

#[test]
fn a_real_server_that_answers_solicitations_for_the_vip_is_reported_with_its_mac_and_the_cure() {
    let net = Net::one_armed(2);
    // In IPv6 a host does not answer for what it has on `lo`, but for what it has on `eth0`.
    let wrong = &net.servers()[0];
    wrong.add_address("eth0", &format!("{}/128", net.vip6(0)));
    let director = Director::start(&net, &web(&net));
    let mac = mac_text(wrong.mac("eth0"));
    let report = format!("{mac} answers neighbour solicitations for the virtual address fd77::200");
    let log = director.wait_for_log_from(0, &[&report]);
    assert!(log.contains("ip -6 addr add fd77::200/128 dev lo"), "{log}");
}

#[test]
fn a_director_with_two_arms_answers_for_its_vip_on_both() {
    let net = Net::two_armed(1);
    let _director = Director::start(&net, &web(&net));
    for (host, source) in [(net.client(), net.client4(0)), (&net.servers()[0], net.server4(0))] {
        let mut socket = PacketSocket::open(host, "eth0");
        ask(&socket, host.mac("eth0"), (source, net.client6(0)), net.vip4(0));
        let answer = socket
            .receive_where(PATIENCE, |frame| describe(frame).starts_with("arp 10.77.1.200 is-at "));
        assert!(answer.is_some(), "{} gets no answer", host.name());
    }
}

#[test]
fn neighbors_are_asked_from_the_directors_own_address_never_from_a_vip() {
    let net = Net::one_armed(2);
    let _servers = web_servers(&net);
    net.give_vip_to_director(0);
    let at_servers: Vec<_> = net.servers().iter().map(record).collect();
    let _director = Director::start(&net, &web(&net));
    for target in [net.vip4(0), net.vip6(0)] {
        (0..2).for_each(|_| _ = page(&net, SocketAddr::new(target, 80)));
    }
    for (i, capture) in at_servers.into_iter().enumerate() {
        let received = lines(&capture.stop(), false);
        let (four, six) = (net.server4(i), net.server6(i));
        assert!(received.contains(&format!("arp who-has {four} tell 10.77.0.1")), "{received:#?}");
        let solicited =
            |line: &String| line.starts_with("fd77::1 > ") && line.contains("solicitation");
        assert!(received.iter().any(solicited), "{six}: {received:#?}");
        let from_vip = |line: &&String| {
            line.contains("who-has") && line.ends_with("tell 10.77.0.200")
                || line.starts_with("fd77::200 > ") && line.contains("solicitation")
        };
        assert_eq!(received.iter().find(from_vip), None);
    }
}
