//! The core inside somebody else's event loop: its own buffers, its own clock, its own way to send.
//!
//! ```sh
//! cargo run -p embed
//! ```
//!
//! The "interface" is a UDP socket on which each datagram is an Ethernet frame, as QEMU's `-netdev dgram`
//! has it. At its other end a thread plays two real servers that answer ARP, and eighteen clients that
//! connect. The program prints which server the director gave each connection to: 12 and 6, by weight.
//! Nothing here but the verdict's meaning is lvs's: replace `receive` and `send` by what you have.

mod world;

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use lvs_core::addr::Prefix;
use lvs_core::command::{Command, DestinationSpec, PortSpec, ServiceKey, ServiceSpec};
use lvs_core::director::Director;
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, HEADROOM_DEFAULT, Verdict, until};
use lvs_core::limits::Limits;
use lvs_core::time::Instant;

const PORT: PortId = PortId(0);
/// Frames that the loop takes at a time, and bytes for each: headroom, frame, and room behind it.
const BURST: usize = 32;
const SLOT: usize = HEADROOM_DEFAULT + 1514 + 64;
/// Connections and templates whose end is dealt with in one turn of the loop.
const TIMER_BUDGET: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let (wire, far_end) = world::wire()?;
    let mut director = Director::new(Limits::small(), [random(), random()])?;
    for command in configuration() {
        director.apply(Instant::ZERO, command)?;
    }
    let start = std::time::Instant::now();
    let clock = || Instant::from_nanos(start.elapsed().as_nanos() as u64);
    let mut slots = [[0; SLOT]; BURST];
    let world = std::thread::spawn(move || world::play(&far_end));
    while !world.is_finished() {
        let patience = until(clock(), director.next_deadline());
        let (count, lengths) = receive(&wire, &mut slots, patience)?;
        let now = clock();

        // The slots become frames for as long as the director looks at them.
        let mut received = slots.iter_mut().zip(lengths);
        let mut frames: [Frame<'_>; BURST] = std::array::from_fn(|_| match received.next() {
            Some((slot, len)) => Frame::new(slot, HEADROOM_DEFAULT, len, PORT),
            None => Frame::new(&mut [], 0, 0, PORT),
        });
        let burst = &mut frames[..count];
        director.process_burst(now, burst);
        burst.iter().try_for_each(|frame| send(&wire, frame))?;

        // What is due by now, and what the director sends of its own accord, in a slot of ours.
        director.handle_timers(now, TIMER_BUDGET);
        loop {
            let mut frame = Frame::new(&mut slots[0], HEADROOM_DEFAULT, 0, PORT);
            if !director.poll_transmit(now, &mut frame) {
                break;
            }
            send(&wire, &frame)?;
        }
    }
    world.join().map_err(|_| "the clients failed")??;
    for service in director.services(clock()) {
        println!("{}  {}", service.spec.key, service.spec.scheduler);
        for server in service.destinations {
            let (addr, weight) = (server.spec.addr, server.spec.weight);
            println!("  -> {addr}  weight {weight}  active {}", server.active);
        }
    }
    Ok(())
}

/// What an operator would type, as data.
fn configuration() -> Vec<Command> {
    let addr = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let key = ServiceKey::Address { protocol: Protocol::TCP, virt: Endpoint::new(addr(80), 80) };
    let server = |last, weight| DestinationSpec {
        weight,
        ..DestinationSpec::new(Endpoint::new(addr(last), 80))
    };
    let addresses = Prefix::new(addr(1), 24).into_iter().collect();
    vec![
        Command::SetPort(PortSpec { id: PORT, mac: world::DIRECTOR, mtu: 1500, addresses }),
        Command::AddLocal { addr: addr(80), answer: true },
        Command::AddService(ServiceSpec::new(key)),
        Command::AddDestination(key, server(2, 4)),
        Command::AddDestination(key, server(3, 2)),
    ]
}

/// Waits for frames, then takes all that are there; tells how many, and the length of each.
fn receive(
    wire: &UdpSocket,
    slots: &mut [[u8; SLOT]; BURST],
    patience: Option<Duration>,
) -> std::io::Result<(usize, [usize; BURST])> {
    let longest = Duration::from_millis(100);
    let patience = patience.unwrap_or(longest).clamp(Duration::from_micros(1), longest);
    wire.set_read_timeout(Some(patience))?;
    let (mut count, mut lengths) = (0, [0; BURST]);
    while let Some(slot) = slots.get_mut(count) {
        match wire.recv(&mut slot[HEADROOM_DEFAULT..]) {
            Ok(len) => lengths[count] = len,
            Err(e) if matches!(e.kind(), WouldBlock | TimedOut | Interrupted) => break,
            Err(e) => return Err(e),
        }
        count += 1;
        wire.set_nonblocking(true)?;
    }
    wire.set_nonblocking(false)?;
    Ok((count, lengths))
}

/// Carries out a verdict. Dropped frames are counted by the director; those it absorbed come back by
/// `poll_transmit`; those it passes are for the program's own stack, which this one has not.
fn send(wire: &UdpSocket, frame: &Frame<'_>) -> std::io::Result<()> {
    match frame.verdict {
        Verdict::Transmit(_) | Verdict::Reply(_) => wire.send(frame.bytes()).map(drop),
        Verdict::Pass(_) | Verdict::Drop(_) | Verdict::Absorb => Ok(()),
    }
}

/// The seed of the hash tables, which clients must not know.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
