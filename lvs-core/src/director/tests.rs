//! The director as a whole, frame in and verdict out. What the recorded kernel did is held against it by
//! the scenarios of `lvs-sim`; here stand what scenarios do not reach: limits, pacing, ARP, offloads.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use etherparse::PacketBuilder;

use super::*;
use crate::addr::{Granularity, Prefix};
use crate::command::{
    Command, DestinationSpec, Persistence, PortSpec, ServiceKey, ServiceSpec, TimeoutsSpec,
};
use crate::drop::{DropReason, PassReason};
use crate::flow::{Endpoint, Protocol};
use crate::io::{Frame, Verdict};
use crate::listing::Cursor;
use crate::time::Duration;
use crate::wire::arp::{ArpOp, ArpPacket};
use crate::wire::ethernet::VlanTags;

mod announce;
mod defense;
mod foretell;
mod fragments;
mod hear;
mod inspect;
mod mss;
mod nat;
mod together;
mod tunnels;

const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);
const VIP: [u8; 4] = [10, 0, 0, 1];
const PORT: PortId = PortId(0);

/// A one-armed director with a service of three real servers, and a clock.
struct World {
    director: Director,
    now: Instant,
}

fn server(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 1, 0, host))
}

fn server_mac(host: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, host])
}

fn key() -> ServiceKey {
    let virt = Endpoint { addr: IpAddr::V4(VIP.into()), port: crate::ids::L4Port(80) };
    ServiceKey::Address { protocol: Protocol::TCP, virt }
}

impl World {
    fn new(limits: Limits) -> World {
        let mut world =
            World { director: Director::new(limits, [7, 9]).unwrap(), now: Instant::ZERO };
        let prefix = |a: [u8; 4]| Prefix::new(IpAddr::V4(a.into()), 16).unwrap();
        let addresses = vec![prefix([10, 1, 0, 1]), prefix([192, 0, 2, 1])];
        world.apply(Command::SetPort(PortSpec { id: PORT, mac: DIRECTOR, mtu: 1500, addresses }));
        world.apply(Command::AddLocal { addr: IpAddr::V4(VIP.into()), answer: true });
        world
    }

    /// With a service of `scheduler` and the neighbours known.
    fn with_service(scheduler: &str, persistence: Option<Persistence>) -> World {
        let mut world = World::new(Limits::small());
        world.add_service(scheduler, persistence);
        world
    }

    fn add_service(&mut self, scheduler: &str, persistence: Option<Persistence>) {
        let mut spec = ServiceSpec::new(key());
        (spec.scheduler, spec.persistence) = (scheduler.into(), persistence);
        self.apply(Command::AddService(spec));
        for host in 2..=4 {
            let (addr, mac) = (server(host), server_mac(host));
            self.apply(Command::SetNeighbor { port: PORT, addr, mac });
            let spec = DestinationSpec::new(Endpoint::new(addr, 80));
            self.apply(Command::AddDestination(key(), spec));
        }
        self.drain();
    }

    fn apply(&mut self, command: Command) {
        self.director.apply(self.now, command).unwrap();
    }

    fn advance(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
    }

    /// Sends one frame in; the verdict and the frame afterwards.
    fn send(&mut self, bytes: &[u8]) -> (Verdict, Vec<u8>) {
        let mut slot = vec![0; 2048 + bytes.len()];
        slot[128..128 + bytes.len()].copy_from_slice(bytes);
        let mut frames = [Frame::new(&mut slot, 128, bytes.len(), PORT)];
        self.director.process_burst(self.now, &mut frames);
        (frames[0].verdict, frames[0].bytes().to_vec())
    }

    /// A TCP segment from a client; the last octet of the server it went to.
    fn tcp(&mut self, client: u8, port: u16, flags: &str) -> Option<u8> {
        let (verdict, frame) = self.send(&segment(client, port, flags, 64, 0));
        matches!(verdict, Verdict::Transmit(_)).then(|| frame[5])
    }

    /// Every frame the director has to send of its own.
    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let mut slot = vec![0; 4096];
        loop {
            let mut frame = Frame::new(&mut slot, 128, 0, PORT);
            if !self.director.poll_transmit(self.now, &mut frame) {
                return sent;
            }
            assert!(matches!(frame.verdict, Verdict::Transmit(_)));
            sent.push(frame.bytes().to_vec());
        }
    }

    fn states(&mut self) -> Vec<&'static str> {
        let mut entries = Vec::new();
        let mut cursor = Cursor::default();
        while self.director.connections(self.now, &mut cursor, 3, &mut entries) {}
        entries.iter().map(|entry| entry.state).collect()
    }
}

fn segment(client: u8, port: u16, flags: &str, ttl: u8, payload: usize) -> Vec<u8> {
    let mut builder = PacketBuilder::ethernet2(ROUTER.0, DIRECTOR.0)
        .ipv4([192, 0, 2, client], VIP, ttl)
        .tcp(port, 80, 1000, 5000);
    for flag in flags.chars() {
        builder = match flag {
            'S' => builder.syn(),
            'A' => builder.ack(1),
            'F' => builder.fin(),
            'R' => builder.rst(),
            other => panic!("no flag {other}"),
        };
    }
    let mut frame = Vec::new();
    builder.write(&mut frame, &vec![0x55; payload]).unwrap();
    frame
}

#[test]
fn direct_routing_changes_the_mac_addresses_and_the_ttl_alone() {
    let mut world = World::with_service("rr", None);
    let before = segment(7, 40_000, "S", 64, 10);
    let (verdict, after) = world.send(&before);
    assert_eq!(verdict, Verdict::Transmit(PORT));
    assert_eq!(after[..6], server_mac(4).0, "newest server first");
    assert_eq!(after[6..12], DIRECTOR.0);
    assert_eq!(after[22], 63);
    assert_eq!(crate::wire::checksum::of(&after[14..34]), 0, "the header checksum is right");
    assert_eq!(after[34..], before[34..]);
}

#[test]
fn a_packet_of_a_connection_follows_it_and_ends_on_its_own_timers() {
    let mut world = World::with_service("rr", None);
    assert_eq!(world.tcp(7, 40_000, "S"), Some(4));
    assert_eq!(world.tcp(7, 40_000, "A"), Some(4));
    assert_eq!(world.states(), ["ESTABLISHED"]);
    world.advance(899_999);
    assert_eq!(world.tcp(7, 40_000, "AF"), Some(4));
    assert_eq!(world.states(), ["FIN_WAIT"]);
    world.advance(119_999);
    assert_eq!(world.states(), ["FIN_WAIT"]);
    world.advance(1);
    assert!(world.states().is_empty(), "dead at its instant, whether or not timers ran");
    assert_eq!(world.tcp(7, 40_000, "A"), None);
}

#[test]
fn a_full_table_refuses_new_connections_and_keeps_the_old_ones() {
    let mut world = World::new(Limits { connections_max: 2, ..Limits::small() });
    world.add_service("rr", None);
    assert!(world.tcp(7, 1, "S").is_some());
    assert!(world.tcp(7, 2, "S").is_some());
    assert_eq!(world.tcp(7, 3, "S"), None);
    assert_eq!(world.director.stats().dropped(DropReason::ConnectionTableFull), 1);
    assert!(world.tcp(7, 2, "A").is_some());
    world.advance(61_000);
    assert!(world.tcp(7, 3, "S").is_some(), "the first one ended");
}

#[test]
fn a_template_that_controls_a_live_connection_goes_on_for_sixty_seconds_for_good() {
    let timeout = Duration::from_secs(3);
    let granularity = Granularity::Mask(u32::MAX);
    let mut world = World::with_service("rr", Some(Persistence { timeout, granularity }));
    let first = world.tcp(7, 40_000, "S");
    world.tcp(7, 40_000, "A");
    world.advance(10_000);
    assert_eq!(world.tcp(7, 40_001, "S"), first, "extended as of its own end at 3 s");
    assert_eq!(world.director.template_count(), 1);
    let mut entries = Vec::new();
    world.director.connections(world.now, &mut Cursor::default(), 9, &mut entries);
    let template = entries.iter().find(|entry| entry.template).unwrap();
    assert_eq!(template.expires, Duration::from_secs(60), "60 s is its timeout from then on");
    world.tcp(7, 40_000, "R");
    world.tcp(7, 40_001, "A");
    world.tcp(7, 40_001, "R");
    world.advance(60_000);
    assert!(world.states().is_empty());
}

#[test]
fn arp_for_a_virtual_address_is_answered_and_others_are_left_to_the_host() {
    let mut world = World::with_service("rr", None);
    let ask = |target: [u8; 4]| {
        let mut frame = vec![0; 60];
        let request = ArpPacket::request(ROUTER, [192, 0, 2, 254].into(), target.into());
        request.emit_frame(&mut frame, MacAddr::BROADCAST, &VlanTags::NONE);
        frame
    };
    let (verdict, reply) = world.send(&ask(VIP));
    assert_eq!(verdict, Verdict::Reply(PORT));
    let packet = ArpPacket::parse(&reply[14..]).unwrap();
    assert_eq!((packet.op, packet.sender_mac), (ArpOp::Reply, DIRECTOR));
    assert_eq!(reply[..6], ROUTER.0);
    assert_eq!(world.send(&ask([192, 0, 2, 1])).0, Verdict::Pass(PassReason::Arp));
}

#[test]
fn packets_wait_for_a_neighbor_and_leave_when_it_answers() {
    let mut world = World::with_service("rr", None);
    let addr = server(9);
    world.apply(Command::DeleteService(key()));
    world.apply(Command::AddService(ServiceSpec::new(key())));
    world.apply(Command::AddDestination(key(), DestinationSpec::new(Endpoint::new(addr, 80))));
    let asked = world.drain();
    assert_eq!(asked.len(), 1, "asked when the server was added");
    for port in 1..=4 {
        let (verdict, _) = world.send(&segment(7, port, "S", 64, 0));
        assert_eq!(verdict, Verdict::Absorb);
    }
    assert_eq!(world.director.stats().dropped(DropReason::NeighborQueueFull), 1);
    let answer = ArpPacket::parse(&asked[0][14..]).unwrap().reply(server_mac(9));
    let mut frame = vec![0; 60];
    answer.emit_frame(&mut frame, DIRECTOR, &VlanTags::NONE);
    world.send(&frame);
    let sent = world.drain();
    assert_eq!(sent.len(), 3, "the oldest of four had to go");
    assert!(sent.iter().all(|frame| frame[..6] == server_mac(9).0 && frame[22] == 63));
    assert_eq!(world.tcp(7, 9, "S"), Some(9));
}

#[test]
fn a_silent_neighbor_becomes_host_unreachable_after_three_seconds() {
    let mut world = World::with_service("rr", None);
    world.apply(Command::DeleteService(key()));
    world.apply(Command::AddService(ServiceSpec::new(key())));
    let spec = DestinationSpec::new(Endpoint::new(server(9), 80));
    world.apply(Command::AddDestination(key(), spec));
    world.send(&segment(7, 1, "S", 64, 0));
    for _ in 0..3 {
        world.advance(1000);
        world.director.handle_timers(world.now, 100);
    }
    let sent = world.drain();
    let icmp: Vec<_> = sent.iter().filter(|frame| frame[12..14] == [8, 0]).collect();
    assert_eq!(icmp.len(), 1);
    assert_eq!(icmp[0][26..30], [192, 0, 2, 1], "from the director's own address");
    assert_eq!(icmp[0][34..36], [3, 1]);
}

#[test]
fn refusals_are_port_unreachable_and_paced() {
    let mut world = World::with_service("rr", None);
    for host in 2..=4 {
        let spec =
            DestinationSpec { weight: 0, ..DestinationSpec::new(Endpoint::new(server(host), 80)) };
        world.apply(Command::EditDestination(key(), spec));
    }
    let verdicts: Vec<Verdict> =
        (1..=10).map(|port| world.send(&segment(7, port, "S", 64, 0)).0).collect();
    let replies = verdicts.iter().filter(|v| **v == Verdict::Reply(PORT)).count();
    assert_eq!(replies, 6);
    assert_eq!(world.director.stats().dropped(DropReason::NoDestination), 4);
    assert_eq!(world.director.stats().icmp_suppressed, 4);
}

#[test]
fn super_frames_are_judged_by_their_segments_and_keep_their_metadata() {
    use crate::io::{Checksum, Offload, SegmentKind, Segments};
    let mut world = World::with_service("rr", None);
    world.tcp(7, 40_000, "S");
    let bytes = segment(7, 40_000, "A", 64, 30_000);
    let offload = |size| Offload {
        checksum: Checksum::Partial { start: 34, offset: 16 },
        segments: Some(Segments { kind: SegmentKind::Tcp4, size, header_len: 54, ecn: false }),
    };
    let mut run = |size| {
        let mut slot = vec![0; 128 + bytes.len()];
        slot[128..].copy_from_slice(&bytes);
        let mut frames = [Frame::new(&mut slot, 128, bytes.len(), PORT)];
        frames[0].offload = offload(size);
        world.director.process_burst(world.now, &mut frames);
        (frames[0].verdict, frames[0].offload)
    };
    assert_eq!(run(1460), (Verdict::Transmit(PORT), offload(1460)));
    assert!(matches!(run(1461).0, Verdict::Reply(_)), "too big for the link");
}

#[test]
fn timeouts_change_for_a_connection_at_its_next_packet() {
    let mut world = World::with_service("rr", None);
    world.tcp(7, 40_000, "S");
    world.tcp(7, 40_000, "A");
    let tcp = Some(Duration::from_secs(5));
    world.apply(Command::SetTimeouts(TimeoutsSpec { tcp, ..TimeoutsSpec::default() }));
    world.advance(100_000);
    assert_eq!(world.states(), ["ESTABLISHED"]);
    world.tcp(7, 40_000, "A");
    world.advance(5000);
    assert!(world.states().is_empty());
}

#[test]
fn the_budget_of_timers_never_shows() {
    let run = |budget: usize| {
        let mut world = World::with_service("wlc", None);
        let mut picks = Vec::new();
        for i in 0..200u16 {
            picks.push(world.tcp(7, 1000 + i, "S"));
            world.advance(1500);
            world.director.handle_timers(world.now, budget);
        }
        picks
    };
    assert_eq!(run(0), run(1));
    assert_eq!(run(1), run(usize::MAX));
}

#[test]
fn time_that_goes_backwards_stands_still_and_time_that_jumps_far_ends_everything() {
    let mut world = World::with_service("rr", None);
    world.advance(50_000_000);
    world.tcp(7, 1, "S");
    let then = world.now;
    world.now = Instant::ZERO;
    assert_eq!(world.tcp(7, 1, "A"), Some(4));
    // 49.71 days: the age of the connection in 32-bit ticks wraps to a few seconds.
    world.now = then + Duration::from_millis((1 << 32) + 1000);
    assert_eq!(world.tcp(7, 1, "A"), None);
    assert!(world.states().is_empty());
}

#[test]
fn every_frame_is_counted_once() {
    let mut world = World::with_service("rr", None);
    for (i, len) in (0..300usize).enumerate() {
        let mut frame = segment(7, i as u16, "S", 1 + (i % 3) as u8, 10);
        frame.truncate(len % 70);
        world.send(&frame);
    }
    let s = *world.director.stats();
    let settled = s.transmitted + s.replied + s.absorbed + s.dropped_total() + s.passed_total();
    assert_eq!((s.received, settled), (300, 300));
    assert_eq!(s.dropped(DropReason::Undecided), 0);
}

#[test]
fn a_packet_to_be_cut_is_dropped_and_counted_when_too_much_waits_to_be_sent() {
    let mut world = World::new(Limits { outgoing_max: 1, ..Limits::small() });
    world.add_service("rr", None);
    world.drain();
    let addresses = vec![Prefix::new(IpAddr::V4([10, 1, 0, 1].into()), 8).unwrap()];
    world.apply(Command::SetPort(PortSpec { id: PORT, mac: DIRECTOR, mtu: 600, addresses }));
    let addr = IpAddr::V4([10, 0, 0, 2].into());
    world.apply(Command::AddLocal { addr, answer: true }); // The announcement takes the one place.
    let mut frame = segment(7, 1, "S", 64, 1400);
    frame[20] = 0; // It may be fragmented.
    frame[24..26].fill(0);
    let sum = crate::wire::checksum::of(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(world.send(&frame).0, Verdict::Drop(DropReason::StoreFull));
    assert_eq!(world.director.stats().absorbed, 0);
    world.drain();
    assert_eq!(world.send(&frame).0, Verdict::Absorb);
    assert_eq!(world.drain().len(), 3, "in three pieces of at most 600 bytes");
}
