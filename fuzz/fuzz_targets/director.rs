//! Frames, commands and clock steps, in any order, on two directors side by side: one gets whole bursts
//! and the timer budgets of the program, the other one frame at a time and an unlimited budget. They must
//! agree about every verdict, every byte and every listing. Nothing panics, the counters add up, limits
//! are kept, and no packet and no timer allocates.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use lvs_core::director::Director;
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, Offload, Verdict};
use lvs_core::limits::Limits;
use lvs_core::listing::{ConnectionEntry, Cursor};
use lvs_core::time::{Duration, Instant};
use lvs_fuzz::memory::allocations;
use lvs_fuzz::packet::Packet;
use lvs_fuzz::program::{Step, preamble};

const HEADROOM: usize = 128;
const SLOT: usize = 4096;
/// More than the program can have to send at once.
const OUTGOING_MAX: usize = 10_000;

#[derive(Arbitrary, Debug)]
struct Program {
    scheduler: u8,
    persistence: Option<u16>,
    steps: Vec<Step>,
}

fuzz_target!(|program: Program| {
    let mut world = World::new();
    for command in preamble(program.scheduler, program.persistence) {
        let _ = world.left.apply(world.now, command.clone());
        let _ = world.right.apply(world.now, command);
    }
    for step in &program.steps {
        world.step(step);
        world.check();
    }
});

/// Two directors, a clock, and frames' memory.
struct World {
    left: Director,
    right: Director,
    now: Instant,
    orphans: bool,
    slots: Vec<Vec<u8>>,
}

/// What became of a frame.
type Settled = (Verdict, Vec<u8>, Offload);

impl World {
    fn new() -> World {
        let limits = Limits {
            connections_max: 24,
            templates_max: 8,
            services_max: 6,
            destinations_max: 16,
            local_addresses_max: 12,
            ports_max: 2,
            routes_max: 8,
            neighbors_max: 8,
            store_bytes: 1 << 16,
            fragment_bytes: 1 << 16,
            fragment_sets_max: 3,
            paced_clients: 4,
            outgoing_max: 8,
            ..Limits::small()
        };
        let new = || Director::new(limits, [1, 2]).expect("the limits are within their bounds");
        let (left, right) = (new(), new());
        World { left, right, now: Instant::from_secs(1), orphans: false, slots: Vec::new() }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Burst { second, packets } => self.burst(PortId((*second).into()), packets),
            Step::Operate(operation) => {
                self.orphans |= operation.may_orphan();
                let left = self.left.apply(self.now, operation.command());
                let right = self.right.apply(self.now, operation.command());
                assert_eq!(left, right, "{operation:?}");
            }
            Step::Pass { minutes, count } => {
                let unit = Duration::from_millis(if *minutes { 60_000 } else { 16 });
                self.now = self.now + unit * u32::from(*count);
            }
            Step::Timers { budget } => {
                let before = allocations();
                self.left.handle_timers(self.now, usize::from(*budget));
                self.right.handle_timers(self.now, usize::MAX);
                assert_eq!(allocations(), before, "timers allocated");
                self.drain();
            }
        }
    }

    /// One burst to the left, the same frames one by one to the right.
    fn burst(&mut self, port: PortId, packets: &[Packet]) {
        let frames: Vec<_> = packets.iter().map(Packet::build).collect();
        let frames: Vec<_> = frames.iter().filter(|(bytes, _)| bytes.len() < SLOT / 2).collect();
        if frames.is_empty() {
            return;
        }
        self.slots.resize_with(self.slots.len().max(frames.len()), || vec![0; SLOT]);
        let mut right = Vec::new();
        for (bytes, offload) in &frames {
            let mut frame = lend(&mut self.slots[0], bytes, *offload, port);
            let before = allocations();
            self.right.process_burst(self.now, std::slice::from_mut(&mut frame));
            assert_eq!(allocations(), before, "a packet allocated");
            right.push(settled(&frame));
        }
        let slots = self.slots.iter_mut().zip(&frames);
        let mut burst: Vec<Frame<'_>> =
            slots.map(|(slot, (bytes, offload))| lend(slot, bytes, *offload, port)).collect();
        let before = allocations();
        self.left.process_burst(self.now, &mut burst);
        assert_eq!(allocations(), before, "a burst allocated");
        let left: Vec<Settled> = burst.iter().map(settled).collect();
        assert_eq!(left, right, "a burst and single frames differ");
    }

    /// Both hand out what they have to send.
    fn drain(&mut self) {
        self.slots.resize_with(self.slots.len().max(1), || vec![0; SLOT]);
        for _ in 0..OUTGOING_MAX {
            let mut sent = Vec::new();
            for director in [&mut self.left, &mut self.right] {
                let mut frame = Frame::new(&mut self.slots[0], HEADROOM, 0, PortId(0));
                let before = allocations();
                let more = director.poll_transmit(self.now, &mut frame);
                assert_eq!(allocations(), before, "sending allocated");
                sent.push(more.then(|| settled(&frame)));
            }
            assert_eq!(sent[0], sent[1], "the directors send different frames");
            if sent[0].is_none() {
                return;
            }
        }
        panic!("a director never stops sending");
    }

    fn check(&mut self) {
        let stats = self.left.stats();
        let settled = stats.transmitted + stats.replied + stats.absorbed;
        assert_eq!(stats.received, settled + stats.dropped_total() + stats.passed_total());
        assert_eq!(stats, self.right.stats());
        let connections = listed(&mut self.left, self.now);
        assert_eq!(connections, listed(&mut self.right, self.now));
        let services = self.left.services(self.now);
        assert_eq!(services, self.right.services(self.now));

        let limits = *self.left.limits();
        let live = connections.iter().filter(|entry| !entry.template).count();
        let templates = connections.len() - live;
        assert!(live <= self.left.connection_count() as usize);
        assert!(self.left.connection_count() <= limits.connections_max);
        assert!(self.left.template_count() <= limits.templates_max);
        let destinations = services.iter().flat_map(|service| &service.destinations);
        let (mut counted, mut persistent) = (0, 0);
        for destination in destinations {
            counted += destination.active as usize + destination.inactive as usize;
            persistent += destination.persistent as usize;
        }
        if self.orphans {
            assert!(counted <= live && persistent <= templates);
        } else {
            assert_eq!((counted, persistent), (live, templates));
        }
    }
}

fn lend<'a>(slot: &'a mut [u8], bytes: &[u8], offload: Offload, port: PortId) -> Frame<'a> {
    slot[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(bytes);
    let mut frame = Frame::new(slot, HEADROOM, bytes.len(), port);
    frame.offload = offload;
    frame
}

fn settled(frame: &Frame<'_>) -> Settled {
    if let Verdict::Transmit(port) | Verdict::Reply(port) = frame.verdict {
        assert!(port.0 < 2, "a port that does not exist");
    }
    let bytes = match frame.verdict {
        Verdict::Transmit(_) | Verdict::Reply(_) => frame.bytes().to_vec(),
        _ => Vec::new(),
    };
    (frame.verdict, bytes, frame.offload)
}

fn listed(director: &mut Director, now: Instant) -> Vec<ConnectionEntry> {
    let (mut cursor, mut entries) = (Cursor::default(), Vec::new());
    while director.connections(now, &mut cursor, 5, &mut entries) {}
    entries
}
