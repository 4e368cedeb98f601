//! Who gets the connections.

use std::net::{IpAddr, SocketAddr};

use lvs_testnet::{HttpServer, Net, TcpEcho};

use crate::director::{
    Director, Held, Listing, load, page_from, rules, servers4, servers6, wait_until,
};

const REQUESTS: u32 = 10_000;

fn web_servers(net: &Net) -> Vec<HttpServer> {
    net.servers().iter().map(|host| HttpServer::start(host, 80)).collect()
}

/// The VIP's web service in both families.
fn both_services(net: &Net, flags: &str) -> String {
    let four = rules(&format!("-t {}:80 {flags}", net.vip4(0)), servers4(net));
    four + &rules(&format!("-t [{}]:80 {flags}", net.vip6(0)), servers6(net))
}

/// Loads the VIP in both families, and looks at the shares of three equal servers.
///
/// wlc evens out `256 × active + inactive`. While requests are under way a slow server has more active
/// connections and gets fewer new ones, so the shares are near one another, not the same.
#[track_caller]
fn loaded_servers_share_evenly(net: &Net) {
    let servers = web_servers(net);
    let director = Director::start(net, &both_services(net, "-s wlc"));
    for (vip, client) in [(net.vip4(0), net.client4(0)), (net.vip6(0), net.client6(0))] {
        load(net, REQUESTS, SocketAddr::new(vip, 80), None);
        let shares: Vec<u64> = servers.iter().map(|s| s.connections_from(client)).collect();
        assert!(shares.iter().all(|share| (2_500..4_200).contains(share)), "{shares:?}");
    }
    let lines = servers4(net).chain(servers6(net)).map(|addr| SocketAddr::new(addr, 80));
    let lines: Vec<SocketAddr> = lines.collect();
    wait_until("no connection is active any more", || {
        let listing = director.listing();
        lines.iter().all(|line| listing.server(*line).active == 0)
    });
    let totals = director.stop().totals;
    let accepted = servers.iter().map(HttpServer::connections).sum::<u64>();
    // A client that takes a port again within two minutes goes on with the connection of before.
    assert!((accepted / 2..=accepted).contains(&totals.connections), "{totals:?}, {accepted}");
}

#[test]
fn apache_bench_through_one_arm_fails_no_request_and_equal_servers_share_evenly() {
    loaded_servers_share_evenly(&Net::one_armed(3));
}

#[test]
fn apache_bench_through_two_arms_fails_no_request_and_equal_servers_share_evenly() {
    loaded_servers_share_evenly(&Net::two_armed(3));
}

#[test]
fn a_persistent_service_sends_all_requests_of_a_client_to_one_server() {
    let net = Net::one_armed(3);
    let servers = web_servers(&net);
    let director = Director::start(&net, &both_services(&net, "-s wlc -p"));
    for vip in [net.vip4(0), net.vip6(0)] {
        let before: Vec<u64> = servers.iter().map(HttpServer::requests).collect();
        load(&net, REQUESTS, SocketAddr::new(vip, 80), None);
        let grown = servers.iter().zip(before).map(|(server, before)| server.requests() - before);
        let shares: Vec<u64> = grown.filter(|share| *share > 0).collect();
        assert_eq!(shares.len(), 1, "{shares:?}");
    }
    let listing = director.listing();
    let templates = listing.templates();
    assert_eq!(templates.len(), 2, "{}", templates.join("\n"));
    assert!(templates[0].contains(&format!("{}:0", net.client4(0))), "{}", templates[0]);
}

/// Loads the VIP of both families from two addresses of one network, and returns how many servers
/// answered each pair. Round robin gives the second address another server, unless it takes both for one
/// client.
fn servers_of_neighbors(net: &Net, text: &str) -> ([usize; 2], Listing) {
    let servers = web_servers(net);
    let director = Director::start(net, text);
    let count = |vip, clients: [IpAddr; 2]| {
        for client in clients {
            load(net, 200, SocketAddr::new(vip, 80), Some(client));
        }
        let serves = |server: &&HttpServer| clients.iter().any(|c| server.connections_from(*c) > 0);
        servers.iter().filter(serves).count()
    };
    let four = count(net.vip4(0), [net.client4(0), net.client4(1)]);
    let six = count(net.vip6(0), [net.client6(0), net.client6(1)]);
    ([four, six], director.listing())
}

#[test]
fn clients_of_one_network_stay_together_with_a_mask_and_go_apart_without() {
    let net = Net::one_armed(3);
    net.add_client_address(1);
    let (counts, listing) = servers_of_neighbors(&net, &both_services(&net, "-s rr -p"));
    assert_eq!(counts, [2, 2]);
    assert_eq!(listing.templates().len(), 4, "{}", listing.text);
    let four = rules(&format!("-t {}:80 -s rr -p -M 255.255.255.0", net.vip4(0)), servers4(&net));
    let six = rules(&format!("-t [{}]:80 -s rr -p -M 64", net.vip6(0)), servers6(&net));
    let (counts, listing) = servers_of_neighbors(&net, &(four + &six));
    assert_eq!(counts, [1, 1]);
    let templates = listing.templates();
    assert_eq!(templates.len(), 2, "{}", templates.join("\n"));
    assert!(templates[0].contains(" 10.77.0.0:0 "), "{}", templates[0]);
    assert!(templates[1].contains(" [fd77::]:0 "), "{}", templates[1]);
}

#[test]
fn connections_that_stay_open_are_shared_exactly_by_weight() {
    let net = Net::one_armed(2);
    let servers: Vec<TcpEcho> = net.servers().iter().map(|host| TcpEcho::start(host, 80)).collect();
    let target = SocketAddr::new(net.vip4(0), 80);
    let text = format!(
        "ipvsadm -A -t {target} -s wlc\n\
         ipvsadm -a -t {target} -r {} -w 4 -g\n\
         ipvsadm -a -t {target} -r {} -w 2 -g\n",
        net.server4(0),
        net.server4(1)
    );
    let director = Director::start(&net, &text);
    let held: Vec<Held> = (0..12).map(|_| Held::open(&net, target, None)).collect();
    assert_eq!(servers.iter().map(TcpEcho::open).collect::<Vec<_>>(), [8, 4]);
    let listing = director.listing();
    let lines = [0, 1].map(|i| listing.server(SocketAddr::new(net.server4(i), 80)));
    assert_eq!(lines.map(|line| (line.weight, line.active, line.inactive)), [(4, 8, 0), (2, 4, 0)]);
    drop(held);
    wait_until("all connections are inactive", || {
        let listing = director.listing();
        let lines = [0, 1].map(|i| listing.server(SocketAddr::new(net.server4(i), 80)));
        lines.map(|line| (line.active, line.inactive)) == [(0, 8), (0, 4)]
    });
}

#[test]
fn round_robin_takes_the_servers_in_turn_newest_first() {
    let net = Net::one_armed(3);
    let _servers = web_servers(&net);
    let _director = Director::start(&net, &both_services(&net, "-s rr"));
    for vip in [net.vip4(0), net.vip6(0)] {
        let answers: Vec<String> =
            (0..6).map(|_| page_from(&net, SocketAddr::new(vip, 80), None)).collect();
        assert_eq!(answers, ["server3", "server2", "server1", "server3", "server2", "server1"]);
    }
}
