//! Real servers behind tunnels: what reaches them, and from whom.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use lvs_testnet::{Host, Net, PacketSocket};

use crate::director::Director;

/// Sends a datagram to the VIP until the server sees an outer packet, and returns that.
#[track_caller]
fn outer_packet(client: &Host, server: &Host, target: SocketAddr, protocol: u8) -> Vec<u8> {
    let mut wire = PacketSocket::open(server, "eth0");
    for _ in 0..20 {
        client.enter(|| {
            let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0u8; 16].into() };
            let socket = UdpSocket::bind((any, 5353)).expect("the port is free");
            socket.send_to(b"what is inside?", target).expect("the VIP has a route");
        });
        let is_outer = |frame: &[u8]| match frame.get(12..14) {
            Some([8, 0]) => frame[23] == protocol,
            Some([0x86, 0xdd]) => frame[20] == protocol,
            _ => false,
        };
        if let Some(frame) = wire.receive_where(Duration::from_secs(1), is_outer) {
            return frame;
        }
    }
    panic!("no packet of protocol {protocol} reached the server");
}

#[test]
fn a_server_behind_ipip_gets_the_packet_inside_one_from_the_directors_own_address() {
    let net = Net::two_armed(1);
    let (vip, server) = (net.vip4(0), net.server4(0));
    let rules = format!("-A -u {vip}:53 -s rr\n-a -u {vip}:53 -r {server}:53 -i\n");
    let director = Director::start(&net, &rules);
    let frame = outer_packet(net.client(), &net.servers()[0], SocketAddr::new(vip, 53), 4);
    let addr = |at: usize| IpAddr::from([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    let own = net.director().ip("-4 -o addr show dev eth1");
    assert!(own.contains(&format!(" {}/", addr(26))), "{} in {own}", addr(26));
    assert_eq!((addr(30), addr(34 + 16)), (server, vip));
    assert_eq!(frame[34 + 8], 63, "one hop older inside");
    assert!(frame.ends_with(b"what is inside?"));
    director.stop();
}

#[test]
fn an_ipv6_service_reaches_a_server_over_gue_and_ipv4() {
    let net = Net::one_armed(1);
    let (vip, server) = (net.vip6(0), net.server4(0));
    let rules = format!(
        "-A -u [{vip}]:53 -s rr\n\
         -a -u [{vip}]:53 -r {server}:53 -i --tun-type gue --tun-port 6080 --tun-csum\n"
    );
    let director = Director::start(&net, &rules);
    let frame = outer_packet(net.client(), &net.servers()[0], SocketAddr::new(vip, 53), 17);
    assert_eq!(frame[36..38], 6080u16.to_be_bytes());
    assert_eq!((&frame[42..46], frame[46] >> 4), (&[0, 41, 0, 0][..], 6));
    director.stop();
}

#[test]
fn a_server_behind_a_gateway_of_the_host_is_reached_through_it() {
    let net = Net::two_armed(1);
    let (vip, gateway) = (net.vip4(0), net.server4(0));
    net.director().ip(&format!("route add 198.51.100.0/24 via {gateway}"));
    let rules = format!("-A -u {vip}:53 -s rr\n-a -u {vip}:53 -r 198.51.100.9:53 -i\n");
    let director = Director::start(&net, &rules);
    let frame = outer_packet(net.client(), &net.servers()[0], SocketAddr::new(vip, 53), 4);
    assert_eq!(frame[30..34], [198, 51, 100, 9]);
    director.stop();
}
