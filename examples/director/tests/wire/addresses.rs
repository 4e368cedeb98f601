//! Addresses of the director's host that come and go, under connections that stay open.

use std::net::SocketAddr;

use lvs_testnet::{Net, TcpEcho};

use crate::director::{Director, Held, rules, servers4, wait_until_unreachable};

fn greeters(net: &Net) -> Vec<TcpEcho> {
    net.servers().iter().map(|host| TcpEcho::start(host, 80)).collect()
}

fn vip(net: &Net) -> SocketAddr {
    SocketAddr::new(net.vip4(0), 80)
}

fn service(net: &Net) -> String {
    rules(&format!("-t {} -s rr", vip(net)), servers4(net))
}

/// Both real servers serve new connections.
#[track_caller]
fn serves(net: &Net) {
    let mut names = [(); 2].map(|()| Held::open(net, vip(net), None).server);
    names.sort();
    assert_eq!(names, ["server1", "server2"]);
}

#[test]
fn the_director_follows_the_addresses_of_its_host() {
    let net = Net::one_armed(2);
    let _servers = greeters(&net);
    net.director().ip("addr flush dev eth0 scope global");
    let director = Director::start(&net, &service(&net));
    let start = director.log().len();
    // Without an address in their network, the real servers are out of reach.
    wait_until_unreachable(&net, vip(&net));
    net.director().add_address("eth0", &format!("{}/24", net.director4()));
    director.wait_for_log_from(start, &["INFO eth0: MAC "]);
    serves(&net);
}

#[test]
fn a_vip_may_come_to_the_host_and_leave_it() {
    let net = Net::one_armed(2);
    let _servers = greeters(&net);
    let director = Director::start(&net, &service(&net));
    let mut held = Held::open(&net, vip(&net), None);
    net.give_vip_to_director(0);
    director.wait_for_log_from(0, &["INFO 10.77.0.200 came to this host (eth0)"]);
    held.echo("still here");
    serves(&net);
    // The guard is as narrow as the service now: the rest is the host's.
    let guard = net.director().run(&["nft", "list", "ruleset"]).expect_success().stdout;
    assert!(guard.contains("80"), "{guard}");
    net.director().ip(&format!("addr del {}/32 dev eth0", net.vip4(0)));
    director.wait_for_log_from(0, &["WARN 10.77.0.200 left this host (eth0)"]);
    held.echo("the client still knows the way");
}
