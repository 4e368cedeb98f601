//! SCTP on the wire. The kernel under test may have no SCTP sockets, so the client's packets are forged.

use std::net::IpAddr;
use std::time::Duration;

use etherparse::{IpNumber, PacketBuilder};
use lvs_core::wire::sctp;
use lvs_testnet::{Net, PacketSocket};

use crate::director::{Director, wait_until};
use crate::wire::ttl;

const INIT: u8 = 1;
const ABORT: u8 = 6;
const COOKIE_ECHO: u8 = 10;

/// A packet of one chunk from port 4000 to port 9.
fn packet(chunk: u8, len: u8) -> Vec<u8> {
    let mut packet = vec![0x0f, 0xa0, 0, 9, 0, 0, 0, 7, 0, 0, 0, 0, chunk, 0, 0, len];
    packet.resize(12 + usize::from(len), 0);
    sctp::set_checksum(&mut packet);
    packet
}

fn frame(from: [u8; 6], to: [u8; 6], src: IpAddr, dst: IpAddr, packet: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (src, dst) else {
        panic!("{src}, {dst}: IPv4 is meant")
    };
    let builder = PacketBuilder::ethernet2(from, to).ipv4(src.octets(), dst.octets(), 64);
    let mut frame = Vec::new();
    builder.write(&mut frame, IpNumber::SCTP, packet).expect("a vector takes everything");
    frame
}

#[test]
fn an_association_keeps_its_server_and_its_checksum() {
    let net = Net::one_armed(2);
    let vip = net.vip4(0);
    let service = format!("--sctp-service {vip}:9");
    let mut rules = format!("-A {service} -s rr\n");
    for i in 0..2 {
        rules += &format!("-a {service} -r {} -g\n", net.server4(i));
    }
    let director = Director::start(&net, &rules);
    let client = net.client();
    let (from, to) = (client.mac("eth0"), net.director().mac("eth0"));
    let socket = PacketSocket::open(client, "eth0");
    let mut wires: Vec<_> =
        net.servers().iter().map(|server| PacketSocket::open(server, "eth0")).collect();
    let mut went = Vec::new();
    for (chunk, len, state) in
        [(INIT, 20, "INIT1"), (COOKIE_ECHO, 8, "ESTABLISHED"), (ABORT, 4, "CLOSED")]
    {
        let sent = packet(chunk, len);
        let is_it = |frame: &[u8]| frame.get(23) == Some(&132) && frame.get(46) == Some(&chunk);
        let mut arrived = None;
        wait_until("a server gets the chunk", || {
            socket.send(&frame(from, to, net.client4(0), vip, &sent));
            arrived = wires.iter_mut().enumerate().find_map(|(i, wire)| {
                wire.receive_where(Duration::from_millis(300), is_it).map(|frame| (i, frame))
            });
            arrived.is_some()
        });
        let (server, arrived) = arrived.expect("it was waited for");
        went.push(server);
        assert_eq!(arrived[34..34 + sent.len()], sent[..], "not a byte is touched, nor the CRC");
        assert_eq!(ttl(&arrived), 63);
        wait_until("the listing shows the state", || {
            let listing = director.listing();
            // A chunk that had to be sent again moves INIT1 to INIT.
            listing.connections().iter().any(|line| {
                line.starts_with("SCTP") && (line.contains(state) || line.contains(" INIT "))
            })
        });
    }
    assert_eq!(went, [went[0]; 3], "all to one server");
    director.stop();
}
