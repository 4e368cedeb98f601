//! Masquerading where scenarios do not reach: random packets there and back, what offloads leave
//! unfinished, many connections that look alike to their server, neighbours that are silent.

use alloc::format;

use etherparse::{SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;
use crate::command::ForwardingMethod;
use crate::io::{Checksum, Offload, SegmentKind, Segments};
use crate::wire::checksum::Sum;

const CLIENTS: PortId = PortId(0);
const SERVERS: PortId = PortId(1);
const OWN_MAC: [MacAddr; 2] = [DIRECTOR, MacAddr([2, 0, 0, 0, 0, 2])];
const SERVER_PORT: u16 = 8080;

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn vip(v6: bool) -> IpAddr {
    addr(if v6 { "2001:db8:1::1" } else { "10.0.0.1" })
}

fn real(v6: bool) -> IpAddr {
    addr(if v6 { "2001:db8:2::2" } else { "10.1.0.2" })
}

fn client(v6: bool) -> IpAddr {
    addr(if v6 { "2001:db8::7" } else { "192.0.2.7" })
}

/// A two-armed director with a TCP and a UDP service in each family, masqueraded to one server.
struct TwoArms {
    director: Director,
    now: Instant,
}

impl TwoArms {
    fn new() -> TwoArms {
        let director = Director::new(Limits::small(), [7, 9]).unwrap();
        let mut arms = TwoArms { director, now: Instant::ZERO };
        let quiet = crate::command::Neighborhood { resolve_ahead: false, probe_virtual: None };
        arms.apply(Command::SetNeighborhood(quiet));
        let prefix = |text, len| Prefix::new(addr(text), len).unwrap();
        let own = [
            vec![prefix("192.0.2.1", 24), prefix("2001:db8::1", 64)],
            vec![prefix("10.1.0.1", 16), prefix("2001:db8:2::1", 64)],
        ];
        for ((id, mac), addresses) in [CLIENTS, SERVERS].into_iter().zip(OWN_MAC).zip(own) {
            arms.apply(Command::SetPort(PortSpec { id, mac, mtu: 1500, addresses }));
        }
        for v6 in [false, true] {
            let (near, far) = (client(v6), real(v6));
            arms.apply(Command::SetNeighbor { port: CLIENTS, addr: near, mac: ROUTER });
            arms.apply(Command::SetNeighbor { port: SERVERS, addr: far, mac: server_mac(2) });
            for protocol in [Protocol::TCP, Protocol::UDP] {
                arms.add(ServiceKey::Address { protocol, virt: Endpoint::new(vip(v6), 80) }, far);
            }
        }
        arms
    }

    fn add(&mut self, key: ServiceKey, server: IpAddr) {
        if let ServiceKey::Address { virt, .. } = key {
            self.apply(Command::AddLocal { addr: virt.addr, answer: false });
        }
        self.apply(Command::AddService(ServiceSpec::new(key)));
        let spec = DestinationSpec::new(Endpoint::new(server, SERVER_PORT));
        let method = ForwardingMethod::Masquerade;
        self.apply(Command::AddDestination(key, DestinationSpec { method, ..spec }));
    }

    fn apply(&mut self, command: Command) {
        self.director.apply(self.now, command).unwrap();
    }

    fn send(&mut self, port: PortId, bytes: &[u8], offload: Offload) -> (Verdict, Vec<u8>) {
        let mut slot = vec![0; 256 + bytes.len()];
        slot[128..128 + bytes.len()].copy_from_slice(bytes);
        let mut frame = Frame::new(&mut slot, 128, bytes.len(), port);
        frame.offload = offload;
        self.director.process_burst(self.now, core::slice::from_mut(&mut frame));
        (frame.verdict, frame.bytes().to_vec())
    }

    fn drain(&mut self) -> Vec<Vec<u8>> {
        let (mut sent, mut slot) = (Vec::new(), vec![0; 4096]);
        loop {
            let mut frame = Frame::new(&mut slot, 128, 0, CLIENTS);
            if !self.director.poll_transmit(self.now, &mut frame) {
                return sent;
            }
            sent.push(frame.bytes().to_vec());
        }
    }
}

/// One packet between two ends.
#[derive(Clone, Debug)]
struct Packet {
    src: Endpoint,
    dst: Endpoint,
    udp: bool,
    ttl: u8,
    payload: Vec<u8>,
}

impl Packet {
    fn frame(&self, mac: MacAddr) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(ROUTER.0, mac.0);
        let ip = match (self.src.addr, self.dst.addr) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                ethernet.ipv4(src.octets(), dst.octets(), self.ttl)
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                ethernet.ipv6(src.octets(), dst.octets(), self.ttl)
            }
            _ => unreachable!("both are of one family"),
        };
        let mut bytes = Vec::new();
        match self.udp {
            true => {
                let udp = ip.udp(self.src.port.0, self.dst.port.0);
                udp.write(&mut bytes, &self.payload).unwrap();
            }
            false => {
                let tcp = ip.tcp(self.src.port.0, self.dst.port.0, 5, 1000).syn();
                tcp.write(&mut bytes, &self.payload).unwrap();
            }
        }
        bytes
    }

    fn l4(&self) -> usize {
        14 + if self.src.addr.is_ipv4() { 20 } else { 40 }
    }
}

fn request(v6: bool, udp: bool, port: u16, payload: Vec<u8>) -> Packet {
    let (src, dst) = (Endpoint::new(client(v6), port), Endpoint::new(vip(v6), 80));
    Packet { src, dst, udp, ttl: 64, payload }
}

/// What the server answers to a frame it got, and the same as the client must see it.
fn answer(request: &Packet, ttl: u8, payload: Vec<u8>) -> (Packet, Packet) {
    let server = Endpoint::new(real(request.src.addr.is_ipv6()), SERVER_PORT);
    let sent = Packet { src: server, dst: request.src, ttl, payload, ..request.clone() };
    let seen = Packet { src: request.dst, ttl: ttl - 1, ..sent.clone() };
    (sent, seen)
}

fn assert_right_checksums(frame: &[u8]) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let transport = packet.transport.unwrap();
    let (src, dst, protocol) = match packet.net.as_ref().unwrap() {
        etherparse::NetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            (header.source_addr().into(), header.destination_addr().into(), header.protocol())
        }
        etherparse::NetSlice::Ipv6(ip) => {
            let header = ip.header();
            (header.source_addr().into(), header.destination_addr().into(), header.next_header())
        }
        other => panic!("{other:?}"),
    };
    let segment = match &transport {
        TransportSlice::Tcp(tcp) => tcp.slice(),
        TransportSlice::Udp(udp) => udp.slice(),
        other => panic!("{other:?}"),
    };
    let sum = crate::wire::checksum::transport(src, dst, Protocol(protocol.0), segment);
    assert_eq!(sum, 0, "{src} > {dst}");
}

proptest! {
    #[test]
    fn there_and_back_the_client_sees_what_the_server_sent_to_it(
        v6 in any::<bool>(), udp in any::<bool>(), port in 21u16.., ttl in 2u8..,
        payloads in prop::array::uniform2(prop::collection::vec(any::<u8>(), 0..200)),
    ) {
        let mut arms = TwoArms::new();
        let [there, back] = payloads;
        let asked = request(v6, udp, port, there);
        let (verdict, frame) = arms.send(CLIENTS, &asked.frame(OWN_MAC[0]), Offload::default());
        prop_assert_eq!(verdict, Verdict::Transmit(SERVERS));
        assert_right_checksums(&frame);
        let server = Endpoint::new(real(v6), SERVER_PORT);
        let expected = Packet { dst: server, ttl: 63, ..asked.clone() };
        prop_assert_eq!(&frame[12..], &expected.frame(server_mac(2))[12..]);
        prop_assert_eq!(&frame[..12], &[server_mac(2).0, OWN_MAC[1].0].concat()[..]);

        let (sent, seen) = answer(&asked, ttl, back);
        let (verdict, frame) = arms.send(SERVERS, &sent.frame(OWN_MAC[1]), Offload::default());
        prop_assert_eq!(verdict, Verdict::Transmit(CLIENTS));
        assert_right_checksums(&frame);
        prop_assert_eq!(&frame[12..], &seen.frame(ROUTER)[12..]);
        prop_assert_eq!(&frame[..12], &[ROUTER.0, OWN_MAC[0].0].concat()[..]);
    }
}

#[test]
fn an_unfinished_checksum_stays_unfinished_and_a_super_frame_whole() {
    for v6 in [false, true] {
        let mut arms = TwoArms::new();
        let asked = request(v6, false, 40_000, vec![7; 3000]);
        let l4 = asked.l4();
        let sum = |packet: &Packet| {
            let len = (packet.payload.len() + 20) as u32;
            Sum::pseudo_header(packet.src.addr, packet.dst.addr, Protocol::TCP, len).fold()
        };
        let offload = Offload {
            checksum: Checksum::Partial { start: l4 as u16, offset: 16 },
            segments: Some(Segments {
                kind: if v6 { SegmentKind::Tcp6 } else { SegmentKind::Tcp4 },
                size: 1400,
                header_len: l4 as u16 + 20,
                ecn: false,
            }),
        };
        let mut frame = asked.frame(OWN_MAC[0]);
        frame[l4 + 16..l4 + 18].copy_from_slice(&sum(&asked).to_be_bytes());
        let (verdict, frame) = arms.send(CLIENTS, &frame, offload);
        assert_eq!(verdict, Verdict::Transmit(SERVERS));
        let to = Packet { dst: Endpoint::new(real(v6), SERVER_PORT), ..asked.clone() };
        assert_eq!(frame[l4 + 16..l4 + 18], sum(&to).to_be_bytes());
        assert_eq!(frame[l4 + 2..l4 + 4], SERVER_PORT.to_be_bytes());

        let (sent, seen) = answer(&asked, 64, vec![8; 3000]);
        let mut frame = sent.frame(OWN_MAC[1]);
        frame[l4 + 16..l4 + 18].copy_from_slice(&sum(&sent).to_be_bytes());
        let (verdict, frame) = arms.send(SERVERS, &frame, offload);
        assert_eq!(verdict, Verdict::Transmit(CLIENTS));
        assert_eq!(frame[l4 + 16..l4 + 18], sum(&seen).to_be_bytes());
    }
}

#[test]
fn connections_that_look_alike_to_their_server_are_answered_newest_first() {
    let mut arms = TwoArms::new();
    let vips: Vec<IpAddr> = (2..22).map(|host| addr(&format!("10.0.0.{host}"))).collect();
    for &vip in &vips {
        let virt = Endpoint::new(vip, 80);
        arms.add(ServiceKey::Address { protocol: Protocol::UDP, virt }, real(false));
    }
    let asked = request(false, true, 5000, vec![1]);
    for &vip in &vips {
        let to = Packet { dst: Endpoint::new(vip, 80), ..asked.clone() };
        let (verdict, _) = arms.send(CLIENTS, &to.frame(OWN_MAC[0]), Offload::default());
        assert_eq!(verdict, Verdict::Transmit(SERVERS));
        arms.now = arms.now + Duration::from_secs(1);
    }
    // Only the newest ones are known by their answers; each of them is found when those after it end.
    let (sent, _) = answer(&asked, 64, vec![2]);
    let mut sources = Vec::new();
    for newest in (12..20).rev() {
        let (verdict, frame) = arms.send(SERVERS, &sent.frame(OWN_MAC[1]), Offload::default());
        assert_eq!(verdict, Verdict::Transmit(CLIENTS), "{newest}");
        sources.push(frame[29]);
        let key =
            ServiceKey::Address { protocol: Protocol::UDP, virt: Endpoint::new(vips[newest], 80) };
        let expire_nodest_conn = true;
        let tunables = crate::command::Tunables { expire_nodest_conn, ..Default::default() };
        arms.apply(Command::SetTunables(tunables));
        arms.apply(Command::DeleteService(key));
    }
    assert_eq!(sources, (14..22).rev().collect::<Vec<u8>>());
    let (verdict, _) = arms.send(SERVERS, &sent.frame(OWN_MAC[1]), Offload::default());
    assert_eq!(verdict, Verdict::Pass(PassReason::NotLocal));
}

#[test]
fn an_answer_waits_for_the_clients_address_and_its_sender_is_told_in_vain() {
    let mut arms = TwoArms::new();
    let asked =
        Packet { src: Endpoint::new(addr("192.0.2.8"), 5000), ..request(false, true, 1, vec![]) };
    arms.send(CLIENTS, &asked.frame(OWN_MAC[0]), Offload::default());
    let (sent, _) = answer(&asked, 64, vec![2; 30]);
    let (verdict, _) = arms.send(SERVERS, &sent.frame(OWN_MAC[1]), Offload::default());
    assert_eq!(verdict, Verdict::Absorb);
    assert_eq!(arms.drain().len(), 1, "a request for the client's address");
    for second in 1..=3u64 {
        arms.now = Instant::from_secs(second);
        arms.director.handle_timers(arms.now, 99);
        let sent = arms.drain();
        assert_eq!(sent.len(), 1, "two more requests, then the error");
        if second < 3 {
            assert_eq!(sent[0][12..14], [8, 6]);
        } else {
            let text = &sent[0][14..];
            assert_eq!((&text[12..16], &text[16..20]), (&[10, 1, 0, 1][..], &[10, 1, 0, 2][..]));
            assert_eq!(text[20..22], [3, 1], "host unreachable");
            assert_eq!(text[28 + 12..28 + 16], [10, 1, 0, 2], "quoting what the server sent");
        }
    }
}

#[test]
fn a_clients_address_is_confirmed_while_answers_go_there_and_then_forgotten() {
    let mut arms = TwoArms::new();
    let near = addr("192.0.2.8");
    let asked = Packet { src: Endpoint::new(near, 5000), ..request(false, true, 1, vec![]) };
    arms.send(CLIENTS, &asked.frame(OWN_MAC[0]), Offload::default());
    let (sent, seen) = answer(&asked, 64, vec![2; 30]);
    let sent = sent.frame(OWN_MAC[1]);
    arms.send(SERVERS, &sent, Offload::default());
    assert_eq!(arms.drain().len(), 1, "a request");
    let said = |arms: &mut TwoArms| {
        let mut bytes = vec![0; 60];
        let reply = ArpPacket {
            op: ArpOp::Reply,
            sender_mac: ROUTER,
            sender_ip: "192.0.2.8".parse().unwrap(),
            target_mac: OWN_MAC[0],
            target_ip: "192.0.2.1".parse().unwrap(),
        };
        reply.emit_frame(&mut bytes, OWN_MAC[0], &VlanTags::NONE);
        arms.send(CLIENTS, &bytes, Offload::default());
    };
    said(&mut arms);
    let waited = arms.drain();
    assert_eq!((waited.len(), &waited[0][12..]), (1, &seen.frame(ROUTER)[12..]));
    let mut asked_again = Vec::new();
    for second in [31, 62] {
        arms.now = Instant::from_secs(second);
        arms.director.handle_timers(arms.now, 99);
        asked_again.push(arms.drain().len());
        said(&mut arms);
    }
    assert_eq!(asked_again, [1, 0]);
    let (verdict, _) = arms.send(SERVERS, &sent, Offload::default());
    assert_eq!(verdict, Verdict::Absorb, "it was forgotten");
}
