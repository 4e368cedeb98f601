//! What is remembered of a client: the three kinds of persistence, and mark services.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use lvs_testnet::{Host, Net, TcpEcho, UdpEcho};

use crate::director::{Director, Held, PATIENCE, rules, servers4, servers6};

const PORTS: [u16; 4] = [22, 80, 443, 8080];

/// A server behind each port on each host.
fn greeters(net: &Net) -> Vec<TcpEcho> {
    let on = |host: &Host| PORTS.map(|port| TcpEcho::start(host, port));
    net.servers().iter().flat_map(on).collect()
}

/// The server that a client address gets on each of some ports, as connections that stay open.
#[track_caller]
fn servers_on(net: &Net, vip: IpAddr, source: IpAddr, ports: &[u16]) -> Vec<Held> {
    let open = |port: &u16| Held::open(net, SocketAddr::new(vip, *port), Some(source));
    ports.iter().map(open).collect()
}

fn names(held: &[Held]) -> Vec<&str> {
    held.iter().map(|held| held.server.as_str()).collect()
}

/// The tutorial's rules with the addresses of the network.
fn tutorial(net: &Net, text: &str) -> String {
    text.replace("192.168.0.1", &net.vip4(0).to_string())
        .replace("RIP1", &net.server4(0).to_string())
        .replace("RIP2", &net.server4(1).to_string())
}

#[test]
fn per_client_persistence_takes_a_client_to_one_server_on_every_port() {
    let net = Net::one_armed(2);
    let _servers = greeters(&net);
    (1..=2).for_each(|n| net.add_client_address(n));
    let text = tutorial(
        &net,
        "ipvsadm -A -t 192.168.0.1:0 -s wlc -p 600
         ipvsadm -a -t 192.168.0.1:0 -r RIP1 -w 4 -g
         ipvsadm -a -t 192.168.0.1:0 -r RIP2 -w 2 -g",
    );
    let director = Director::start(&net, &text);
    let clients: Vec<Vec<Held>> =
        (0..=2).map(|n| servers_on(&net, net.vip4(0), net.client4(n), &PORTS)).collect();
    // Newest first of two idle ones; then four connections of the first client are a load of
    // 4/2 against 0/4, and four of the second one make it 4/2 against 4/4.
    assert_eq!(names(&clients[0]), ["server2"; 4]);
    assert_eq!(names(&clients[1]), ["server1"; 4]);
    assert_eq!(names(&clients[2]), ["server1"; 4]);
    let listing = director.listing();
    let templates = listing.templates();
    assert_eq!(templates.len(), 3, "{}", listing.text);
    assert!(templates.iter().all(|line| line.contains(" 10.77.0.200:0 ")), "{templates:#?}");
}

#[test]
fn per_port_persistence_remembers_each_service_by_itself() {
    let net = Net::one_armed(2);
    let _servers = greeters(&net);
    net.add_client_address(1);
    let text = tutorial(
        &net,
        "ipvsadm -A -t 192.168.0.1:80 -s wlc -p 600
         ipvsadm -a -t 192.168.0.1:80 -r RIP1 -w 4 -g
         ipvsadm -a -t 192.168.0.1:80 -r RIP2 -w 2 -g
         ipvsadm -A -t 192.168.0.1:22 -s wlc -p 600
         ipvsadm -a -t 192.168.0.1:22 -r RIP1 -g
         ipvsadm -a -t 192.168.0.1:22 -r RIP2 -g",
    );
    let director = Director::start(&net, &text);
    let (vip, one, other) = (net.vip4(0), net.client4(0), net.client4(1));
    let web = servers_on(&net, vip, one, &[80, 80, 80]);
    // Another client takes the first place of ssh, so that this one gets the other server there.
    let others = servers_on(&net, vip, other, &[22]);
    let ssh = servers_on(&net, vip, one, &[22, 22, 22]);
    let again = servers_on(&net, vip, one, &[80, 22]);
    assert_eq!(names(&web), ["server2"; 3]);
    assert_eq!(names(&others), ["server2"]);
    assert_eq!(names(&ssh), ["server1"; 3]);
    assert_eq!(names(&again), ["server2", "server1"]);
    assert_eq!(director.listing().templates().len(), 3);
}

#[test]
fn ports_under_one_mark_reach_one_server() {
    let net = Net::one_armed(2);
    let _servers = greeters(&net);
    (1..=2).for_each(|n| net.add_client_address(n));
    let text = tutorial(
        &net,
        "iptables -t mangle -A PREROUTING -d 192.168.0.1 -p tcp --dport 80  -j MARK --set-mark 10
         iptables -t mangle -A PREROUTING -d 192.168.0.1 -p tcp --dport 443 -j MARK --set-mark 10
         ipvsadm -A -f 10 -s wlc -p
         ipvsadm -a -f 10 -r RIP1 -g -w 4
         ipvsadm -a -f 10 -r RIP2 -g -w 2",
    );
    let director = Director::start(&net, &text);
    let clients: Vec<Vec<Held>> =
        (0..=2).map(|n| servers_on(&net, net.vip4(0), net.client4(n), &[80, 443, 80])).collect();
    assert_eq!(names(&clients[0]), ["server2"; 3]);
    assert_eq!(names(&clients[1]), ["server1"; 3]);
    assert_eq!(names(&clients[2]), ["server1"; 3]);
    let listing = director.listing();
    assert!(listing.text.contains("FWM  10 wlc persistent"), "{}", listing.text);
    assert_eq!(listing.templates().len(), 3, "{}", listing.text);
    assert!(listing.templates().iter().all(|line| line.starts_with("IP ")), "{}", listing.text);
}

#[test]
fn a_mark_without_an_address_serves_the_addresses_given_by_vip() {
    let net = Net::one_armed(2);
    net.give_vip_to_servers(1);
    let _servers = greeters(&net);
    let text = format!(
        "iptables -t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 10\n\
         ip6tables -t mangle -A PREROUTING -p tcp --dport 80 -j MARK --set-mark 10\n{}{}",
        rules("-f 10 -s rr", servers4(&net)),
        rules("-f 10 -6 -s rr", servers6(&net))
    );
    let addresses = [net.vip4(0), net.vip4(1), net.vip6(0), net.vip6(1)];
    let options = addresses.map(|addr| addr.to_string());
    let options: Vec<&str> = options.iter().flat_map(|addr| ["--vip", addr]).collect();
    let _director = Director::start_with(&net, &text, &options);
    for (one, other) in [(addresses[0], addresses[1]), (addresses[2], addresses[3])] {
        // One service: the turn goes on from one address to the other.
        let held = [one, other].map(|vip| Held::open(&net, SocketAddr::new(vip, 80), None));
        assert_eq!(names(&held), ["server2", "server1"]);
    }
}

#[test]
fn datagrams_of_a_client_port_go_to_one_server_and_other_ports_to_others() {
    let net = Net::one_armed(3);
    let vips = [net.vip4(0), net.vip6(0)].map(|vip| SocketAddr::new(vip, 53));
    let _servers: Vec<UdpEcho> =
        net.servers().iter().flat_map(|host| vips.map(|vip| UdpEcho::start(host, vip))).collect();
    let text = rules(&format!("-u {} -s rr", vips[0]), servers4(&net))
        + &rules(&format!("-u {} -s rr", vips[1]), servers6(&net));
    let director = Director::start(&net, &text);
    for vip in vips {
        let ask = || {
            let socket = UdpSocket::bind(if vip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
            socket.set_read_timeout(Some(PATIENCE))?;
            let mut answers = Vec::new();
            for word in ["one", "two"] {
                socket.send_to(word.as_bytes(), vip)?;
                let mut buffer = [0; 64];
                let (n, from) = socket.recv_from(&mut buffer)?;
                assert_eq!(from, vip, "the answer comes from the VIP");
                answers.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
            }
            std::io::Result::Ok(answers)
        };
        let answers: Vec<_> = (0..3).map(|_| net.client().enter(ask).unwrap()).collect();
        assert_eq!(
            answers,
            [
                ["server3:one", "server3:two"],
                ["server2:one", "server2:two"],
                ["server1:one", "server1:two"]
            ]
        );
    }
    let listing = director.listing();
    assert_eq!(listing.connections().iter().filter(|line| line.starts_with("UDP")).count(), 6);
    assert_eq!(listing.totals().packets_in, 12);
}
