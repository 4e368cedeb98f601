//! No packet allocates: a counting allocator watches a director through every kind of frame.
//!
//! These tests are alone in their binary; each thread counts for itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::IpAddr;

use etherparse::PacketBuilder;
use lvs_core::addr::{Granularity, MacAddr, Prefix};
use lvs_core::command::{
    Command, DestinationSpec, ForwardingMethod, Persistence, PortSpec, ServiceKey, ServiceSpec,
    SyncRoles, Tunnel,
};
use lvs_core::director::Director;
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, Verdict};
use lvs_core::limits::Limits;
use lvs_core::time::{Duration, Instant};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system allocator unchanged; counting allocates nothing, as the
// thread-local is const-initialised and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES.set(BYTES.get() + layout.size() as u64);
        // SAFETY: the caller's obligations are those of `System.alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SILENT: &str = "10.1.0.9";

fn director(schedulers: &[&str]) -> (Director, Vec<u16>) {
    let mut director = Director::new(Limits::small(), [1, 2]).unwrap();
    let mut apply = |command| director.apply(Instant::ZERO, command).unwrap();
    let addr = |text: &str| text.parse::<IpAddr>().unwrap();
    let addresses = vec![
        Prefix::new(addr("10.1.0.1"), 16).unwrap(),
        Prefix::new(addr("2001:db8:2::1"), 64).unwrap(),
    ];
    apply(Command::SetPort(PortSpec { id: PortId(0), mac: DIRECTOR, mtu: 1500, addresses }));
    let (mut ports, mut port) = (Vec::new(), 1000);
    for vip in ["10.0.0.1", "2001:db8:1::1"] {
        apply(Command::AddLocal { addr: addr(vip), answer: true });
        for scheduler in schedulers {
            for persistent in [false, true] {
                let key = ServiceKey::Address {
                    protocol: Protocol::TCP,
                    virt: Endpoint::new(addr(vip), port),
                };
                let mut spec = ServiceSpec::new(key);
                spec.scheduler = (*scheduler).into();
                let granularity = Granularity::single(key.family());
                let timeout = Duration::from_secs(30);
                spec.persistence = persistent.then_some(Persistence { timeout, granularity });
                apply(Command::AddService(spec));
                let servers = if vip.contains(':') {
                    ["2001:db8:2::2", "2001:db8:2::3"]
                } else {
                    ["10.1.0.2", SILENT]
                };
                for (host, server) in servers.iter().enumerate() {
                    let (addr, mac) = (addr(server), MacAddr([2, 0, 0, 0, 1, host as u8]));
                    if *server != SILENT {
                        apply(Command::SetNeighbor { port: PortId(0), addr, mac });
                    }
                    let mut spec = DestinationSpec::new(Endpoint::new(addr, port));
                    if host == 1 {
                        spec.method = ForwardingMethod::Tunnel(Tunnel::IpIp);
                    } else if port % 2 == 1 {
                        spec.method = ForwardingMethod::Masquerade;
                    }
                    apply(Command::AddDestination(key, spec));
                }
                ports.push(port);
                port += 1;
            }
        }
    }
    (director, ports)
}

/// Frames of all kinds: opening, established, ending, too big, of no service, cut off, IPv6, ICMP.
fn frames(ports: &[u16]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (i, &port) in ports.iter().enumerate() {
        for (client, payload) in [(1u16, 0usize), (2, 100), (3, 1461)] {
            for (ttl, syn) in [(64, true), (64, false), (1, false)] {
                let eth = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], DIRECTOR.0);
                let ip = if i < ports.len() / 2 {
                    eth.ipv4([192, 0, 2, 7], [10, 0, 0, 1], ttl)
                } else {
                    let from = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap();
                    let to = "2001:db8:1::1".parse::<std::net::Ipv6Addr>().unwrap();
                    eth.ipv6(from.octets(), to.octets(), ttl)
                };
                let mut tcp = ip.tcp(client, port, 1, 1000);
                tcp = if syn { tcp.syn() } else { tcp.ack(1) };
                let mut frame = Vec::new();
                tcp.write(&mut frame, &vec![7; payload]).unwrap();
                frames.push(frame[..frame.len() / 2].to_vec());
                frames.push(frame);
            }
            if i < ports.len() / 2 {
                let mut answer = Vec::new();
                PacketBuilder::ethernet2([2, 0, 0, 0, 1, 0], DIRECTOR.0)
                    .ipv4([10, 1, 0, 2], [192, 0, 2, 7], 64)
                    .tcp(port, client, 1, 1000)
                    .ack(1)
                    .write(&mut answer, &vec![7; payload])
                    .unwrap();
                frames.push(answer);
            }
        }
    }
    let mut echo = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], DIRECTOR.0)
        .ipv4([192, 0, 2, 7], [10, 0, 0, 1], 64)
        .icmpv4_echo_request(1, 1)
        .write(&mut echo, &[0; 56])
        .unwrap();
    frames.push(echo);
    frames.extend(fragments(ports[0]));
    frames
}

/// A segment in three fragments, each of them twice; one whose set stays incomplete.
fn fragments(port: u16) -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], DIRECTOR.0)
        .ipv4([192, 0, 2, 7], [10, 0, 0, 1], 64)
        .tcp(9, port, 1, 1000)
        .syn()
        .write(&mut whole, &[7; 3000])
        .unwrap();
    let part = |id: u8, from: usize, to: usize| {
        let more = if to < whole.len() - 34 { 0x20 } else { 0 };
        let mut frame = [&whole[..34], &whole[34 + from..34 + to]].concat();
        let (len, place) = ((20 + to - from) as u16, (from / 8) as u16);
        frame[16..18].copy_from_slice(&len.to_be_bytes());
        frame[18..20].copy_from_slice(&[0, id]);
        frame[20..22].copy_from_slice(&place.to_be_bytes());
        frame[20] |= more;
        frame[24..26].fill(0);
        let sum = lvs_core::wire::checksum::of(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    };
    let (a, b, c) = (part(1, 0, 1480), part(1, 1480, 2960), part(1, 2960, 3020));
    vec![c.clone(), c, a.clone(), a, b.clone(), b, part(2, 0, 1480)]
}

#[test]
fn no_packet_and_no_timer_allocates() {
    for master in [false, true] {
        nothing_allocates(master);
    }
}

/// `master` is whether the director announces its connections.
fn nothing_allocates(master: bool) {
    let names: Vec<&str> = lvs_core::sched::SCHEDULERS.iter().map(|info| info.name).collect();
    let (mut director, ports) = director(&names);
    let roles = SyncRoles { master, backup: false };
    director.apply(Instant::ZERO, Command::SetSyncRoles(roles)).unwrap();
    let mut announced = 0;
    let input = frames(&ports);
    let mut slots: Vec<Vec<u8>> = vec![vec![0; 4096]; 32];
    let mut out = vec![0; 4096];
    let mut verdicts = [0u32; 5];
    let before = ALLOCATIONS.get();
    for round in 0..200u64 {
        let now = Instant::from_millis(1 + round * 997);
        for burst in input.chunks(32) {
            let mut lent = slots.iter_mut().zip(burst);
            let mut frames: [Frame<'_>; 32] = std::array::from_fn(|_| match lent.next() {
                Some((slot, bytes)) => {
                    slot[128..128 + bytes.len()].copy_from_slice(bytes);
                    Frame::new(slot, 128, bytes.len(), PortId(0))
                }
                None => Frame::new(&mut [], 0, 0, PortId(0)),
            });
            director.process_burst(now, &mut frames[..burst.len()]);
            for frame in &frames[..burst.len()] {
                verdicts[match frame.verdict {
                    Verdict::Transmit(_) => 0,
                    Verdict::Reply(_) => 1,
                    Verdict::Absorb => 2,
                    Verdict::Drop(_) => 3,
                    Verdict::Pass(_) => 4,
                }] += 1;
            }
        }
        director.handle_timers(now, 1 << 20);
        while director.poll_announcement().is_some() {
            announced += 1;
        }
        loop {
            let mut frame = Frame::new(&mut out, 128, 0, PortId(0));
            if !director.poll_transmit(now, &mut frame) {
                break;
            }
        }
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(verdicts.iter().all(|&n| n > 0), "every kind of verdict was met: {verdicts:?}");
    assert_eq!(announced > 0, master, "{announced} announcements");
}

#[test]
fn a_director_takes_the_memory_that_its_limits_foretell() {
    let default = Limits { connections_max: 1 << 14, templates_max: 1 << 12, ..Limits::default() };
    let many_servers = Limits { destinations_max: 1 << 18, ..Limits::small() };
    for limits in [Limits::small(), default, many_servers] {
        let before = BYTES.get();
        let director = Director::new(limits, [1, 2]).unwrap();
        let taken = BYTES.get() - before;
        let foretold = limits.memory();
        assert!(
            taken >= foretold.total() && taken - foretold.total() < 100_000,
            "{taken} bytes, foretold {foretold:?} for {:?}",
            director.limits()
        );
    }
}
