//! The short way against the long one: whatever happens, packets that may take it and packets that may
//! not have the same outcome.

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use std::format;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use crate::addr::{MacAddr, Prefix};
use crate::command::{
    Command, DestinationSpec, ForwardingMethod, PortSpec, ServiceKey, ServiceSpec, SyncRoles,
    TimeoutsSpec, Tunables, Tunnel,
};
use crate::dest::Hop;
use crate::director::Director;
use crate::explain::Event;
use crate::flow::{Endpoint, Protocol};
use crate::ids::PortId;
use crate::io::{Frame, Verdict};
use crate::limits::Limits;
use crate::listing::Cursor;
use crate::time::{Duration, Instant};
use crate::wire::arp::ArpPacket;

const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);
const PORT: PortId = PortId(0);
const DIRECT: ForwardingMethod = ForwardingMethod::DirectRoute;
const MASQUERADE: ForwardingMethod = ForwardingMethod::Masquerade;

#[derive(Clone, Debug)]
enum Step {
    /// Packets in one burst.
    Burst(Vec<Packet>),
    Wait(u64),
    /// Of a server, and how new connections reach it.
    Weight(bool, u8, u32, ForwardingMethod),
    Remove(bool, u8),
    Neighbor(bool, u8, u8),
    /// A server says its address itself.
    Arp(u8, u8),
    Mtu(u32),
    TcpTimeout(u64),
    Expire(bool),
    /// Whether the one that knows the short way is a master of synchronisation, which closes it.
    Master(bool),
    Zero,
    Clear,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    v6: bool,
    udp: bool,
    client: u8,
    /// Bits as in the TCP header.
    flags: u8,
    ttl: u8,
    payload: usize,
    /// Whether it is for our MAC address.
    ours: bool,
}

fn packets() -> impl Strategy<Value = Packet> {
    // Mostly what keeps a connection as it is.
    let flags = prop_oneof![4 => Just(0x10), 2 => Just(0x02), 1 => Just(0x18), 1 => 0u8..32];
    let ttl = prop_oneof![6 => Just(64u8), 1 => 0u8..3];
    let payload = prop_oneof![3 => 0usize..40, 1 => 1100usize..1700];
    let bits = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.9));
    (bits, 0u8..3, flags, ttl, payload).prop_map(
        |((v6, udp, ours), client, flags, ttl, payload)| Packet {
            v6,
            udp,
            client,
            flags,
            ttl,
            payload,
            ours,
        },
    )
}

fn methods() -> impl Strategy<Value = ForwardingMethod> {
    prop_oneof![Just(DIRECT), Just(ForwardingMethod::Tunnel(Tunnel::IpIp)), Just(MASQUERADE)]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(packets(), 1..40).prop_map(Step::Burst),
        2 => prop_oneof![0u64..5, 1000u64..70_000, Just(901_000)].prop_map(Step::Wait),
        1 => (any::<bool>(), 2u8..5, 0u32..3, methods())
            .prop_map(|(v6, host, weight, method)| Step::Weight(v6, host, weight, method)),
        1 => (any::<bool>(), 2u8..5).prop_map(|(v6, host)| Step::Remove(v6, host)),
        1 => (any::<bool>(), 2u8..5, any::<u8>()).prop_map(|(v6, host, m)| Step::Neighbor(v6, host, m)),
        1 => (2u8..6, any::<u8>()).prop_map(|(host, mac)| Step::Arp(host, mac)),
        1 => prop_oneof![Just(1500u32), Just(1280), Just(9000), Just(100_000)].prop_map(Step::Mtu),
        1 => (1u64..900).prop_map(Step::TcpTimeout),
        1 => any::<bool>().prop_map(Step::Expire),
        1 => any::<bool>().prop_map(Step::Master),
        1 => Just(Step::Zero),
        1 => Just(Step::Clear),
    ]
}

fn addr(v6: bool, net: u8, host: u8) -> IpAddr {
    let text = match v6 {
        false => format!("10.{net}.0.{host}"),
        true => format!("2001:db8:{net}::{host}"),
    };
    text.parse().unwrap()
}

fn frame(packet: Packet) -> Vec<u8> {
    let Packet { v6, udp, client, flags, ttl, payload, ours } = packet;
    let to = if ours { DIRECTOR } else { ROUTER };
    let ethernet = PacketBuilder::ethernet2(ROUTER.0, to.0);
    let ip = match (addr(v6, 2, client + 1), addr(v6, 0, 1)) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ethernet.ipv4(src.octets(), dst.octets(), ttl),
        (IpAddr::V6(src), IpAddr::V6(dst)) => ethernet.ipv6(src.octets(), dst.octets(), ttl),
        _ => unreachable!("both are of one family"),
    };
    let (mut bytes, payload) = (Vec::new(), vec![0x55; payload]);
    match udp {
        true => ip.udp(1000, 80).write(&mut bytes, &payload).unwrap(),
        false => ip.tcp(1000, 80, 1, 512).write(&mut bytes, &payload).unwrap(),
    }
    if !udp {
        bytes[if v6 { 67 } else { 47 }] = flags;
    }
    bytes
}

fn key(v6: bool, protocol: Protocol) -> ServiceKey {
    ServiceKey::Address { protocol, virt: Endpoint::new(addr(v6, 0, 1), 80) }
}

/// A director of which all packets go the long way, or those that may the short one.
struct World {
    director: Director,
    now: Instant,
    long_way: bool,
    /// Everything that came of it.
    outcomes: Vec<(Verdict, Vec<u8>)>,
    events: Vec<(usize, Event)>,
}

impl World {
    fn new(long_way: bool) -> World {
        let director = Director::new(Limits::small(), [7, 9]).unwrap();
        let (outcomes, events) = (Vec::new(), Vec::new());
        let mut world = World { director, now: Instant::from_secs(1), long_way, outcomes, events };
        world.set_mtu(1500);
        for v6 in [false, true] {
            world.apply(Command::AddLocal { addr: addr(v6, 0, 1), answer: true });
            for host in 2..5 {
                world.set_neighbor(v6, host, host);
            }
            for protocol in [Protocol::TCP, Protocol::UDP] {
                world.apply(Command::AddService(ServiceSpec::new(key(v6, protocol))));
                // The last one's neighbour is not known.
                (2..6).for_each(|host| world.set_weight(v6, host, 1, DIRECT));
            }
        }
        world
    }

    /// What a step may ask for twice or for what is gone is refused, which is as good.
    fn apply(&mut self, command: Command) -> bool {
        self.director.apply(self.now, command).is_ok()
    }

    fn set_mtu(&mut self, mtu: u32) {
        let prefix = |v6, len| Prefix::new(addr(v6, 1, 1), len).unwrap();
        let addresses = vec![prefix(false, 16), prefix(true, 64)];
        self.apply(Command::SetPort(PortSpec { id: PORT, mac: DIRECTOR, mtu, addresses }));
    }

    fn set_neighbor(&mut self, v6: bool, host: u8, mac: u8) {
        let mac = MacAddr([2, 0, 0, 0, 1, mac]);
        self.apply(Command::SetNeighbor { port: PORT, addr: addr(v6, 1, host), mac });
    }

    fn set_weight(&mut self, v6: bool, host: u8, weight: u32, method: ForwardingMethod) {
        for protocol in [Protocol::TCP, Protocol::UDP] {
            let mut spec = DestinationSpec::new(Endpoint::new(addr(v6, 1, host), 80));
            spec.weight = weight;
            spec.method = method;
            if !self.apply(Command::EditDestination(key(v6, protocol), spec)) {
                self.apply(Command::AddDestination(key(v6, protocol), spec));
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Burst(ref packets) => {
                let frames: Vec<_> = packets.iter().map(|&packet| frame(packet)).collect();
                self.send(&frames);
            }
            Step::Arp(host, mac) => {
                let (IpAddr::V4(from), IpAddr::V4(to)) = (addr(false, 1, host), addr(false, 1, 1))
                else {
                    unreachable!("both are IPv4")
                };
                let mut bytes = vec![0; 64];
                let mac = MacAddr([2, 0, 0, 0, 2, mac]);
                let request = ArpPacket::request(mac, from, to);
                let len = request.emit_frame(&mut bytes, MacAddr::BROADCAST, &Default::default());
                bytes.truncate(len);
                self.send(&[bytes]);
            }
            Step::Wait(ms) => {
                self.now = self.now + Duration::from_millis(ms);
                self.director.handle_timers(self.now, 3);
            }
            Step::Weight(v6, host, weight, method) => self.set_weight(v6, host, weight, method),
            Step::Remove(v6, host) => {
                for protocol in [Protocol::TCP, Protocol::UDP] {
                    let addr = Endpoint::new(addr(v6, 1, host), 80);
                    self.apply(Command::DeleteDestination(key(v6, protocol), addr));
                }
            }
            Step::Neighbor(v6, host, mac) => self.set_neighbor(v6, host, mac),
            Step::Mtu(mtu) => self.set_mtu(mtu),
            Step::TcpTimeout(secs) => {
                let tcp = Some(Duration::from_secs(secs));
                self.apply(Command::SetTimeouts(TimeoutsSpec { tcp, ..TimeoutsSpec::default() }));
            }
            Step::Expire(expire_nodest_conn) => {
                let tunables = Tunables { expire_nodest_conn, ..Tunables::default() };
                self.apply(Command::SetTunables(tunables));
            }
            Step::Master(master) => {
                let roles = SyncRoles { master: master && !self.long_way, backup: false };
                self.apply(Command::SetSyncRoles(roles));
            }
            Step::Zero => {
                self.apply(Command::Zero(None));
            }
            Step::Clear => {
                self.apply(Command::Clear);
                for v6 in [false, true] {
                    for protocol in [Protocol::TCP, Protocol::UDP] {
                        self.apply(Command::AddService(ServiceSpec::new(key(v6, protocol))));
                    }
                    (2..5).for_each(|host| self.set_weight(v6, host, 1, DIRECT));
                }
            }
        }
        self.drain();
    }

    /// In one burst; on the long way one by one, as if a command came before each.
    fn send(&mut self, frames: &[Vec<u8>]) {
        let at_once = if self.long_way { 1 } else { frames.len() };
        for (n, frames) in frames.chunks(at_once).enumerate() {
            self.director.commands += u32::from(self.long_way);
            self.send_burst(n, frames);
        }
    }

    fn send_burst(&mut self, first: usize, frames: &[Vec<u8>]) {
        let mut slots: Vec<Vec<u8>> = frames.iter().map(|_| vec![0; 4096]).collect();
        let mut lent: Vec<Frame<'_>> = Vec::new();
        for (slot, bytes) in slots.iter_mut().zip(frames) {
            slot[128..128 + bytes.len()].copy_from_slice(bytes);
            lent.push(Frame::new(slot, 128, bytes.len(), PORT));
        }
        let events = &mut self.events;
        let mut explain = |n: usize, event: Event| events.push((first + n, event));
        self.director.process_burst_explained(self.now, &mut lent, &mut explain);
        self.outcomes.extend(lent.iter().map(|f| (f.verdict, f.bytes().to_vec())));
    }

    /// Takes what the director sends of its own, packets that waited among it.
    fn drain(&mut self) {
        while self.director.poll_announcement().is_some() {}
        let mut slot = vec![0; 4096];
        loop {
            let mut frame = Frame::new(&mut slot, 128, 0, PORT);
            if !self.director.poll_transmit(self.now, &mut frame) {
                return;
            }
            self.outcomes.push((frame.verdict, frame.bytes().to_vec()));
        }
    }

    /// All that can be seen of the director from outside.
    fn state(&mut self) -> std::string::String {
        let (mut entries, mut cursor) = (Vec::new(), Cursor::default());
        while self.director.connections(self.now, &mut cursor, 100, &mut entries) {}
        let services = self.director.services(self.now);
        format!("{:#?}\n{services:#?}\n{entries:#?}", self.director.stats())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_short_way_and_the_long_way_lead_to_the_same(
        steps in prop::collection::vec(steps(), 1..40),
    ) {
        let (mut short, mut long) = (World::new(false), World::new(true));
        for step in &steps {
            short.step(step);
            long.step(step);
            prop_assert_eq!(&short.outcomes, &long.outcomes, "after {:?}", step);
            prop_assert_eq!(&short.events, &long.events, "after {:?}", step);
        }
        prop_assert_eq!(short.state(), long.state());
    }
}

/// Without this the test above would hold of a director that knows no short way.
#[test]
fn a_packet_of_an_established_connection_takes_the_short_way() {
    let kinds = [(false, false), (true, false), (false, true), (true, true)];
    for ((v6, udp), method) in kinds.into_iter().flat_map(|k| [(k, DIRECT), (k, MASQUERADE)]) {
        let mut world = World::new(false);
        (2..5).for_each(|host| world.step(&Step::Weight(v6, host, 1, method)));
        world.step(&Step::Weight(v6, 5, 0, DIRECT));
        let packet = |flags| Packet { v6, udp, client: 0, flags, ttl: 9, payload: 0, ours: true };
        let opening = if udp { 1 } else { 2 };
        for flags in [0x02, 0x10].into_iter().take(opening) {
            world.step(&Step::Burst(vec![packet(flags)]));
        }
        // Whoever asked for the route now would learn that there is none.
        let all: Vec<_> = world.director.dests.iter().map(|(index, _)| index).collect();
        all.iter().for_each(|&index| world.director.dests.at_mut(index).hop = Hop::Unreachable);
        world.outcomes.clear();
        world.step(&Step::Burst(vec![packet(0x10); 100]));
        let verdicts: Vec<Verdict> = world.outcomes.iter().map(|(verdict, _)| *verdict).collect();
        assert_eq!(verdicts, [Verdict::Transmit(PORT); 100], "IPv6 {v6}, UDP {udp}");
    }
}
