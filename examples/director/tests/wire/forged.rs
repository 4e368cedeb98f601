//! What reaches a real server's decapsulator from others than the director, or in other forms.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use etherparse::PacketBuilder;
use lvs_core::flow::Protocol;
use lvs_core::wire::checksum::{self, Sum};
use lvs_testnet::{PacketSocket, Signal, describe};

use crate::director::wait_until;
use crate::far::{Far, RealServer};

const GUE_PORT: u16 = 6080;
const IPIP: u8 = 4;
const GRE: u8 = 47;

fn v4(addr: IpAddr) -> Ipv4Addr {
    match addr {
        IpAddr::V4(addr) => addr,
        IpAddr::V6(addr) => panic!("{addr} is no IPv4 address"),
    }
}

/// A datagram of a client's to port 53.
fn datagram(dst: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4([198, 51, 100, 7], dst.octets(), 63).udp(5353, 53);
    builder.write(&mut packet, payload).expect("a vector takes everything");
    packet
}

/// An IPv4 packet of any protocol.
fn wrap(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(src.octets(), dst.octets(), 60);
    builder.write(&mut packet, protocol.into(), payload).expect("a vector takes everything");
    packet
}

fn gue(src: Ipv4Addr, dst: Ipv4Addr, header: [u8; 4], inner: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(src.octets(), dst.octets(), 60).udp(40_000, GUE_PORT);
    let payload = [&header[..], inner].concat();
    builder.write(&mut packet, &payload).expect("a vector takes everything");
    packet
}

/// A real server of the VIP behind every kind of tunnel, and a program there that takes datagrams.
struct Attacked {
    far: Far,
    server: RealServer,
    wire: PacketSocket,
    to: [u8; 6],
    program: UdpSocket,
}

impl Attacked {
    fn new() -> Attacked {
        let far = Far::new(1);
        let director = far.director_towards(far.vip4()).to_string();
        let mut made = far.make_real_servers(&["--tun", "ipip,gue,gre", "--director", &director]);
        let (wire, to) = far.last_hop(0);
        let address = SocketAddr::new([0; 4].into(), 53);
        let program = far.servers[0].enter(|| UdpSocket::bind(address)).expect("the port is free");
        program.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout is set");
        Attacked { far, server: made.remove(0), wire, to, program }
    }

    fn send(&self, packet: &[u8]) {
        let frame = [&self.to[..], &[2, 0, 0, 0, 0, 9], &[8, 0], packet].concat();
        self.wire.send(&frame);
    }

    /// What was opened and dropped so far.
    fn counts(&self) -> String {
        let start = self.server.printed().len();
        self.server.signal(Signal::USR1);
        let mut printed = String::new();
        wait_until("the counts are printed", || {
            printed = self.server.printed().split_off(start);
            printed.contains("opened ") && printed.ends_with('\n')
        });
        printed
    }
}

#[test]
fn what_is_forged_nested_or_garbage_is_dropped_with_its_reason_and_answered_by_nobody() {
    let attacked = Attacked::new();
    let far = &attacked.far;
    let (vip, server) = (v4(far.vip4()), v4(far.server4(0)));
    let director = v4(far.director_towards(far.vip4()));
    let stranger = Ipv4Addr::new(203, 0, 113, 9);
    let inner = datagram(vip, b"forged");
    let elsewhere = datagram(Ipv4Addr::new(10, 80, 1, 201), b"not ours");
    let to_server = |protocol, payload: &[u8]| wrap(director, server, protocol, payload);
    for (packet, reason) in [
        (wrap(stranger, server, IPIP, &inner), "not from a director"),
        (to_server(IPIP, &elsewhere), "not for a virtual address inside"),
        (to_server(IPIP, &wrap(stranger, vip, IPIP, &inner)), "a tunnel inside the tunnel"),
        (to_server(IPIP, &gue(stranger, vip, [0, 4, 0, 0], &inner)), "a tunnel inside the tunnel"),
        (to_server(IPIP, &[0xff; 40]), "malformed packet inside"),
        (to_server(IPIP, &inner[..30]), "malformed packet inside"),
        (wrap(director, vip, IPIP, &inner), "tunnelled to the virtual address itself"),
        (to_server(GRE, &[&[0x40, 0, 8, 0][..], &inner].concat()), "GRE with routing"),
        (
            to_server(GRE, &[&[0x80, 0, 8, 0, 1, 1, 0, 0][..], &inner].concat()),
            "GRE checksum wrong",
        ),
        (gue(director, server, [0x20, 4, 0, 0], &inner), "GUE control message"),
        (to_server(IPIP, &datagram_from(vip, vip)), "from a virtual address inside"),
    ] {
        let before = count(&attacked.counts(), reason);
        attacked.send(&packet);
        wait_until(reason, || count(&attacked.counts(), reason) == before + 1);
    }
    assert!(attacked.counts().starts_with("opened 0 packets"), "{}", attacked.counts());
    // Every kind of tunnel opens what is right.
    for packet in [
        to_server(IPIP, &inner),
        to_server(GRE, &[&[0, 0, 8, 0][..], &inner].concat()),
        gue(director, server, [0, 4, 0, 0], &inner),
    ] {
        attacked.send(&packet);
        let mut buffer = [0; 64];
        let (len, from) = attacked.program.recv_from(&mut buffer).expect("it is let in");
        assert_eq!((&buffer[..len], from.port()), (&b"forged"[..], 5353));
    }
    // Neither "protocol unreachable" nor anything else went to the director.
    let mut wire = attacked.wire;
    while let Some(seen) = wire.receive(Duration::from_millis(10)) {
        let line = describe(&seen.bytes);
        assert!(seen.outgoing || !line.contains("icmp "), "{line}");
    }
    let printed = attacked.server.stop();
    assert!(printed.contains("opened 3 packets"), "{printed}");
}

#[test]
fn an_outer_packet_in_fragments_is_put_together_before_it_is_opened() {
    let attacked = Attacked::new();
    let far = &attacked.far;
    let (vip, server) = (v4(far.vip4()), v4(far.server4(0)));
    let whole =
        wrap(v4(far.director_towards(far.vip4())), server, IPIP, &datagram(vip, &[7; 2000]));
    let (header, payload) = whole.split_at(20);
    let (first, second) = payload.split_at(1024);
    for (part, place) in [(second, 1024 / 8), (first, 0x2000)] {
        let mut packet = [header, part].concat();
        let len = packet.len() as u16;
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        packet[4..6].copy_from_slice(&[0x12, 0x34]);
        packet[6..8].copy_from_slice(&u16::to_be_bytes(place));
        packet[10..12].fill(0);
        let sum = checksum::of(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        attacked.send(&packet);
    }
    let mut buffer = [0; 4096];
    let (len, _) = attacked.program.recv_from(&mut buffer).expect("it is let in");
    assert_eq!(buffer[..len], [7; 2000]);
}

#[test]
fn a_checksum_that_the_sender_left_to_the_receiver_is_finished() {
    let attacked = Attacked::new();
    let far = &attacked.far;
    let (vip, server) = (v4(far.vip4()), v4(far.server4(0)));
    let mut inner = datagram(vip, b"finish me");
    // What an unfinished checksum holds: the sum of the pseudo-header.
    let (src, len) = (Ipv4Addr::new(198, 51, 100, 7).into(), inner.len() as u32 - 20);
    let sum = Sum::pseudo_header(src, vip.into(), Protocol::UDP, len).fold();
    inner[26..28].copy_from_slice(&sum.to_be_bytes());
    let options = [0x80, 0, 0, 0, 0, 20, 0, 26, 0, 0, 0, 0];
    let director = v4(far.director_towards(far.vip4()));
    attacked.send(&gue(director, server, [3, 4, 0, 1], &[&options[..], &inner].concat()));
    let mut buffer = [0; 64];
    let (len, _) = attacked.program.recv_from(&mut buffer).expect("it is let in");
    assert_eq!(&buffer[..len], b"finish me");
}

fn datagram_from(src: Ipv4Addr, dst: Ipv4Addr) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(src.octets(), dst.octets(), 63).udp(5353, 53);
    builder.write(&mut packet, b"me").expect("a vector takes everything");
    packet
}

/// How many packets were dropped for a reason.
fn count(printed: &str, reason: &str) -> u64 {
    let line = printed.lines().find(|line| line.starts_with("dropped ") && line.contains(reason));
    let number = line.and_then(|line| line.split([' ', ':']).nth(1)?.parse().ok());
    number.unwrap_or(0)
}
