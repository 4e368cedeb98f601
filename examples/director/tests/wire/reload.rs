//! Changed rules: SIGHUP under traffic.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lvs_testnet::{HttpServer, Net, PacketSocket, TcpEcho, describe};

use crate::director::{Director, Held, PATIENCE, load, page, rules, servers4, wait_until};

fn greeters(net: &Net) -> Vec<TcpEcho> {
    net.servers().iter().map(|host| TcpEcho::start(host, 80)).collect()
}

fn vip(net: &Net) -> SocketAddr {
    SocketAddr::new(net.vip4(0), 80)
}

/// The VIP's service with a weight for each real server.
fn weighted(net: &Net, service: &str, weights: &[u32]) -> String {
    let target = vip(net);
    let lines = weights
        .iter()
        .enumerate()
        .map(|(i, weight)| format!("-a -t {target} -r {} -g -w {weight}\n", net.server4(i)));
    format!("-A -t {target} {service}\n{}", lines.collect::<String>())
}

#[test]
fn a_server_taken_to_weight_0_keeps_its_connections_and_gets_no_new_ones() {
    let net = Net::one_armed(2);
    let servers = greeters(&net);
    let director = Director::start(&net, &weighted(&net, "-s rr", &[1, 1]));
    let mut held: Vec<Held> = (0..4).map(|_| Held::open(&net, vip(&net), None)).collect();
    assert_eq!(servers.iter().map(TcpEcho::open).collect::<Vec<_>>(), [2, 2]);
    let log = director.reload(&weighted(&net, "-s rr", &[0, 1]));
    assert!(log.contains("applied: 1 change\n"), "{log}");
    let new: Vec<Held> = (0..6).map(|_| Held::open(&net, vip(&net), None)).collect();
    assert!(new.iter().all(|held| held.server == "server2"));
    held.iter_mut().for_each(|held| held.echo("still here"));
    assert_eq!(servers.iter().map(TcpEcho::open).collect::<Vec<_>>(), [2, 8]);
    let listing = director.listing();
    let quiesced = listing.server(SocketAddr::new(net.server4(0), 80));
    assert_eq!((quiesced.weight, quiesced.active), (0, 2));
    let log = director.reload(&weighted(&net, "-s rr", &[1, 1]));
    assert!(log.contains("applied: 1 change\n"), "{log}");
    let back: Vec<Held> = (0..2).map(|_| Held::open(&net, vip(&net), None)).collect();
    assert!(back.iter().any(|held| held.server == "server1"));
}

#[test]
fn an_identical_file_changes_nothing() {
    let net = Net::one_armed(2);
    let _servers = greeters(&net);
    let text = weighted(&net, "-s rr -p 600", &[1, 2]);
    let director = Director::start(&net, &text);
    let mut held = Held::open(&net, vip(&net), None);
    let before = director.listing();
    let log = director.reload(&text);
    assert!(log.contains("applied: 0 changes\n"), "{log}");
    let log = director.reload(&format!("# The same in other words.\n\n{text}"));
    assert!(log.contains("applied: 0 changes\n"), "{log}");
    held.echo("still here");
    let after = director.listing();
    assert_eq!(after.templates().len(), before.templates().len());
    assert_eq!(after.totals().connections, 1);
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_is_told() {
    let net = Net::one_armed(2);
    let _servers = greeters(&net);
    let director = Director::start(&net, &weighted(&net, "-s rr", &[1, 1]));
    let mut held = Held::open(&net, vip(&net), None);
    let before = director.listing();
    let log = director.reload(&(weighted(&net, "-s rr", &[0, 0]) + "-A -t 10.0.0.1:80 -s best\n"));
    assert!(log.contains("ERROR") && log.contains(".rules:4:"), "{log}");
    assert!(log.contains("'best'") && log.contains("going on with the old rules"), "{log}");
    held.echo("still here");
    let new: Vec<Held> = (0..2).map(|_| Held::open(&net, vip(&net), None)).collect();
    assert!(new.iter().any(|held| held.server == "server1"));
    let services = |text: &str| text.split("\n\n").next().map(|s| s.lines().count());
    assert_eq!(services(&director.listing().text), services(&before.text));
}

/// Sends an ARP request for an address, and whether the director answers it. A request for what it
/// certainly answers follows, so that silence is certain.
fn answers_arp(net: &Net, addr: IpAddr) -> bool {
    let mut socket = PacketSocket::open(net.client(), "eth0");
    let mac = net.client().mac("eth0");
    for target in [addr, net.vip4(0)] {
        socket.send(&crate::wire::arp_request(mac, net.client4(0), target));
    }
    let answer = |addr: IpAddr| format!("arp {addr} is-at ");
    let mut answered = false;
    let last = socket.receive_where(PATIENCE, |frame| {
        let line = describe(frame);
        answered |= line.starts_with(&answer(addr));
        line.starts_with(&answer(net.vip4(0)))
    });
    assert!(last.is_some(), "the director does not answer for {}", net.vip4(0));
    answered
}

#[test]
fn a_vip_can_be_added_and_removed() {
    let net = Net::one_armed(2);
    net.give_vip_to_servers(1);
    let _servers = greeters(&net);
    let one = rules(&format!("-t {} -s rr", vip(&net)), servers4(&net));
    let second = SocketAddr::new(net.vip4(1), 80);
    let two = one.clone() + &rules(&format!("-t {second} -s rr"), servers4(&net));
    let director = Director::start(&net, &one);
    assert!(!answers_arp(&net, second.ip()));
    let mut held = Held::open(&net, vip(&net), None);

    let mut announced = PacketSocket::open(net.client(), "eth0");
    let log = director.reload(&two);
    assert!(log.contains("applied: 3 changes\n"), "{log}");
    assert!(log.contains("INFO 10.77.0.201: on no interface of this host"), "{log}");
    let gratuitous = announced.receive_where(PATIENCE, |frame| {
        describe(frame).starts_with("arp who-has 10.77.0.201 tell 10.77.0.201")
    });
    assert!(gratuitous.is_some(), "the new address is announced");
    assert!(answers_arp(&net, second.ip()));
    let guard = |net: &Net| net.director().run(&["nft", "list", "ruleset"]).stdout;
    assert!(guard(&net).contains("10.77.0.201"), "{}", guard(&net));
    let mut second_held = Held::open(&net, second, None);
    second_held.echo("served");

    let log = director.reload(&one);
    assert!(log.contains("applied: 1 change\n"), "{log}");
    assert!(log.contains("INFO 10.77.0.201: given up"), "{log}");
    assert!(!answers_arp(&net, second.ip()));
    assert!(!guard(&net).contains("10.77.0.201"), "{}", guard(&net));
    held.echo("still here");
}

#[test]
fn changes_under_load_fail_no_request() {
    const CHANGES: usize = 8;
    let net = Net::one_armed(4);
    let servers: Vec<HttpServer> =
        net.servers().iter().map(|host| HttpServer::start(host, 80)).collect();
    // Servers come, are weighted anew and quiesced; a service comes and goes; the scheduler changes.
    let other = rules(&format!("-t {}:81 -s wrr", net.vip4(0)), servers4(&net));
    let variants = [
        weighted(&net, "-s wlc", &[1, 1, 1]),
        weighted(&net, "-s wlc", &[1, 0, 5]) + &other,
        weighted(&net, "-s rr", &[1, 1, 1, 1]),
        weighted(&net, "-s wrr", &[0, 3, 1, 2]) + &other,
        weighted(&net, "-s wlc", &[2, 1, 1, 0]),
    ];
    let director = Director::start(&net, &variants[0]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let loading = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                load(&net, 2_000, vip(&net), None);
            }
        });
        for change in 1..=CHANGES {
            // Between two changes, traffic flows.
            let before = director.listing().totals().packets_in;
            wait_until("the load goes on", || {
                loading.is_finished() || director.listing().totals().packets_in > before + 500
            });
            // All but the first keep four servers: a deleted server's connections would end.
            let variant = if change == 1 { 1 } else { 2 + change % 3 };
            let log = director.reload(&variants[variant]);
            assert!(log.contains(" applied: ") && !log.contains(" applied: 0 "), "{log}");
        }
        done.store(true, Ordering::SeqCst);
    });
    assert!(servers[3].requests() > 0, "the server that was added serves");
    assert_eq!(page(&net, vip(&net)).len(), "server1".len());
    let stopped = director.stop();
    assert!(!stopped.output.stdout.contains("dropped:"), "{}", stopped.output.stdout);
}
