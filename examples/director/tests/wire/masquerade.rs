//! Masquerading over real sockets: the servers' way back is the director.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use lvs_testnet::{HttpServer, Net, UdpEcho, digest_of_pattern, http};

use crate::director::{Director, load, page, wait_for};
use crate::wire::{is_icmp_error, is_reset, lines, record};

const REQUESTS: u32 = 10_000;
const LARGE: u64 = 300_000_000;
const MEDIUM: u64 = 50_000_000;
/// The servers' port, which no client knows.
const PORT: u16 = 8080;

/// A network of two arms whose servers know nothing of virtual addresses, and whose default gateway is the
/// director.
fn network(servers: usize) -> Net {
    let net = Net::two_armed(servers);
    let arm = net.director().ip("-o addr show dev eth1");
    let gateway = |family: &str| -> IpAddr {
        let words = arm.split_whitespace().skip_while(|word| *word != family);
        let global = words.filter_map(|word| word.split('/').next()?.parse::<IpAddr>().ok());
        let mut global = global.filter(|addr| !addr.to_string().starts_with("fe80"));
        global.next().unwrap_or_else(|| panic!("no {family} address in {arm}"))
    };
    for server in net.servers() {
        server.ip(&format!("route replace default via {}", gateway("inet")));
        server.ip(&format!("-6 route replace default via {}", gateway("inet6")));
        server.ip(&format!("addr del {}/32 dev lo", net.vip4(0)));
        server.ip(&format!("addr del {}/128 dev lo", net.vip6(0)));
    }
    net
}

fn web_servers(net: &Net) -> Vec<HttpServer> {
    net.servers().iter().map(|host| HttpServer::start(host, PORT)).collect()
}

fn targets(net: &Net) -> [SocketAddr; 2] {
    [net.vip4(0), net.vip6(0)].map(|vip| SocketAddr::new(vip, 80))
}

/// A web service in both families, masqueraded to all servers.
fn web(net: &Net) -> String {
    let mut text = String::new();
    for target in targets(net) {
        text += &format!("-A -t {target} -s rr\n");
        for i in 0..net.servers().len() {
            let server = if target.is_ipv4() { net.server4(i) } else { net.server6(i) };
            text += &format!("-a -t {target} -r {} -m\n", SocketAddr::new(server, PORT));
        }
    }
    text
}

#[test]
fn ten_thousand_requests_are_answered_by_servers_that_know_no_virtual_address() {
    let net = network(3);
    let servers = web_servers(&net);
    let director = Director::start(&net, &web(&net));
    for (target, client) in targets(&net).into_iter().zip([net.client4(0), net.client6(0)]) {
        load(&net, REQUESTS, target, None);
        let shares: Vec<u64> = servers.iter().map(|s| s.connections_from(client)).collect();
        assert!(shares.iter().all(|share| (3_200..3_500).contains(share)), "{shares:?}");
    }
    let listing = director.listing();
    let masqueraded = format!("  -> {} ", SocketAddr::new(net.server4(0), PORT));
    let line = listing.text.lines().find(|line| line.starts_with(&masqueraded)).unwrap();
    assert!(line.contains(" Masq "), "{line}");
    director.stop();
}

/// An upload and a download of `len` bytes; the director sees both, as super-frames.
#[track_caller]
fn both_ways(net: &Net, target: SocketAddr, len: u64) {
    let _servers = web_servers(net);
    let director = Director::start(net, &web(net));
    let expected = digest_of_pattern(len);
    let digest = net.client().enter(|| http::upload(target, len));
    assert_eq!(digest.unwrap(), expected, "the upload");
    let (got, digest) = net.client().enter(|| http::download(target, len)).unwrap();
    assert_eq!((got, digest), (len, expected), "the download");
    let stopped = director.stop();
    let mean = stopped.totals.bytes_in / stopped.totals.packets_in;
    assert!(stopped.totals.bytes_in > len && mean > 1500, "{:?}", stopped.totals);
    assert!(!stopped.output.stdout.contains("dropped:"), "{}", stopped.output.stdout);
}

#[test]
fn a_masqueraded_upload_and_download_of_300_megabytes_arrive_whole() {
    let net = network(1);
    both_ways(&net, targets(&net)[0], LARGE);
}

#[test]
fn large_transfers_are_masqueraded_in_ipv6_too() {
    let net = network(1);
    both_ways(&net, targets(&net)[1], MEDIUM);
}

#[test]
fn datagrams_and_their_answers_are_masqueraded() {
    let net = network(1);
    let server = SocketAddr::new(net.server4(0), 5353);
    let _echo = UdpEcho::start(&net.servers()[0], server);
    let target = SocketAddr::new(net.vip4(0), 53);
    let text = format!("-A -u {target} -s rr\n-a -u {target} -r {server} -m\n");
    let _director = Director::start(&net, &text);
    let answer = net.client().enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Connected: an answer from anybody else would not be received.
        socket.connect(target).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut buffer = [0; 64];
        wait_for("the answer", || {
            socket.send(b"who?").unwrap();
            let n = socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..n]).into_owned())
        })
    });
    assert_eq!(answer, "server1:who?");
}

#[test]
fn the_host_neither_answers_nor_forwards_what_is_masqueraded() {
    let net = network(1);
    net.give_vip_to_director(0);
    let _servers = web_servers(&net);
    let director = Director::start(&net, &web(&net));
    let (at_client, at_server) = (record(net.client()), record(&net.servers()[0]));
    for target in targets(&net) {
        for _ in 0..5 {
            assert_eq!(page(&net, target), "server1");
        }
    }
    let (client, server) = (at_client.stop(), at_server.stop());
    // Behind the captures: from then on the host forwards what it gets.
    director.stop();
    let servers_own = [net.server4(0), net.server6(0)];
    for line in lines(&client, false) {
        let from_server = servers_own.iter().any(|addr| line.contains(&format!("{addr}:{PORT} >")));
        assert!(!from_server && !is_icmp_error(&line), "{line}");
    }
    let handshakes = |lines: Vec<String>, flags: &str| {
        lines.iter().filter(|line| line.contains(&format!(" tcp {flags} "))).count()
    };
    assert_eq!(handshakes(lines(&server, false), "S"), 10, "each SYN once");
    assert_eq!(lines(&server, false).iter().find(|line| is_reset(line)), None);
    assert_eq!(lines(&client, false).iter().find(|line| is_reset(line)), None);
}

#[test]
fn a_health_check_of_the_host_and_direct_access_to_a_server_go_on_to_work() {
    let net = network(1);
    let _servers = web_servers(&net);
    // Clients that know the server's own address reach it through the director's host.
    net.client().ip(&format!("route add {}/32 via {}", net.server4(0), net.director4()));
    net.client().ip(&format!("-6 route add {}/128 via {}", net.server6(0), net.director6()));
    let director = Director::start(&net, &web(&net));
    for server in [net.server4(0), net.server6(0)] {
        let target = SocketAddr::new(server, PORT);
        let check = net.director().enter(|| http::fetch(target, "/")).unwrap();
        assert_eq!(check.body.trim_end(), "server1");
        assert_eq!(page(&net, target), "server1", "directly");
    }
    for target in targets(&net) {
        assert_eq!(page(&net, target), "server1", "through the VIP");
    }
    director.stop();
}
