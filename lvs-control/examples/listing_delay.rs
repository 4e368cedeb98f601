//! How much longer does a frame wait while somebody lists a million connections?
//!
//! A loop as a director's: a burst of 32 frames of established connections, then one step of the desk. A client
//! in another thread reads listings over the socket, one after the other. Printed is how long the turns of the
//! loop take, which is how long a frame that has just missed one waits, with nobody listing and with somebody:
//! once in the processor time of the loop's thread, once by the clock on the wall, which also counts when the
//! machine had something else to do than this thread. What packets on a wire see of it is measured by
//! `examples/director/tests/wire/listing.rs`.
//!
//! ```sh
//! cargo run --release -p lvs-control --example listing_delay
//! ```

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant as Clock;

use rustix::time::{ClockId, clock_gettime};

use lvs_admin::ipvsadm::{Action, parse};
use lvs_admin::names::NumericOnly;
use lvs_control::{Alone, Client, Desk, Reply, Request};
use lvs_core::addr::{MacAddr, Prefix};
use lvs_core::command::{Command, PortSpec};
use lvs_core::director::Director;
use lvs_core::ids::PortId;
use lvs_core::io::FrameIo;
use lvs_core::io::mem::MemIo;
use lvs_core::limits::Limits;
use lvs_core::time::Instant;

/// Connections in the table.
const CONNECTIONS: u32 = 1_000_000;
/// Turns of the loop that are measured.
const TURNS: usize = 200_000;
/// Frames in a burst.
const BURST: u32 = 32;
const PORT: PortId = PortId(0);

/// A UDP datagram of a client to the service.
fn datagram(client: u32) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0];
    let mut ip = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    ip.extend_from_slice(&Ipv4Addr::from_bits(0xc000_0000 + client / 50_000).octets());
    ip.extend_from_slice(&[10, 0, 0, 1]);
    let sum: u32 = ip.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame.extend_from_slice(&ip);
    frame.extend_from_slice(&(1024 + (client % 50_000) as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 53, 0, 8, 0, 0]);
    frame
}

fn burst(io: &mut MemIo, director: &mut Director, first: u32) {
    for client in first..first + BURST {
        io.push(PORT, &datagram(client % CONNECTIONS));
    }
    let Ok(_) = io.exchange(&mut |frames| director.process_burst(Instant::ZERO, frames));
    io.sent(PORT);
}

fn director() -> Director {
    let limits = Limits { connections_max: 1 << 20, ..Limits::default() };
    let mut director = Director::new(limits, [1, 2]).expect("the limits are possible");
    let addresses = vec![Prefix::new([10, 1, 0, 1].into(), 16).expect("a length of 16")];
    let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
    let mut commands = vec![
        Command::SetPort(PortSpec { id: PORT, mac: mac(1), mtu: 1500, addresses }),
        Command::SetNeighbor { port: PORT, addr: [10, 1, 0, 2].into(), mac: mac(2) },
        Command::AddLocal { addr: [10, 0, 0, 1].into(), answer: false },
    ];
    for line in ["-A -u 10.0.0.1:53 -s rr", "-a -u 10.0.0.1:53 -r 10.1.0.2"] {
        let words: Vec<&str> = line.split(' ').collect();
        let Ok(Action::Change(command)) = parse(&words, &NumericOnly) else { panic!("{line}") };
        commands.push(command);
    }
    for command in commands {
        director.apply(Instant::ZERO, command).expect("it is right");
    }
    director
}

/// How long turns took in nanoseconds, in order: of the processor, and by the clock on the wall.
#[derive(Default)]
struct Took {
    processor: Vec<u64>,
    wall: Vec<u64>,
}

/// The processor time that this thread has used.
fn processor_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Takes turns.
fn turns(program: &mut Alone, desk: &mut Desk, io: &mut MemIo, enough: &dyn Fn() -> bool) -> Took {
    let mut took = Took::default();
    let mut client = 0u32;
    while took.wall.len() < TURNS || !enough() {
        // Frames are made before the clock starts: they come from a network.
        for next in client..client + BURST {
            io.push(PORT, &datagram(next % CONNECTIONS));
        }
        client = (client + 7 * BURST) % CONNECTIONS;
        let (wall, processor) = (Clock::now(), processor_time());
        let Ok(_) =
            io.exchange(&mut |frames| program.director.process_burst(Instant::ZERO, frames));
        desk.serve(Instant::ZERO, program);
        took.processor.push(processor_time() - processor);
        took.wall.push(u64::try_from(wall.elapsed().as_nanos()).unwrap_or(u64::MAX));
        io.sent(PORT);
    }
    took.processor.sort_unstable();
    took.wall.sort_unstable();
    took
}

fn report(what: &str, took: &[u64]) {
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!(
        "  {what:<28} p50 {:7.1} us   p99 {:7.1} us   p99.9 {:7.1} us   p99.99 {:7.1} us",
        at(0.5),
        at(0.99),
        at(0.999),
        at(0.9999)
    );
}

fn main() {
    let path = std::env::temp_dir().join(format!("lvs-delay-{}.sock", std::process::id()));
    let mut desk = Desk::open(&path, || {}).expect("the socket can be made");
    let mut program = Alone { director: director(), interfaces: Vec::new() };
    let mut io = MemIo::new(1);
    for first in (0..CONNECTIONS).step_by(BURST as usize) {
        burst(&mut io, &mut program.director, first);
    }
    println!("{} connections, bursts of {BURST} frames", program.director.connection_count());
    let quiet = turns(&mut program, &mut desk, &mut io, &|| true);
    let (stop, listings) = (AtomicBool::new(false), AtomicU64::new(0));
    let listing = std::thread::scope(|scope| {
        let lister = scope.spawn(|| {
            let mut client = Client::connect(&path).expect("the socket is there");
            while !stop.load(Ordering::SeqCst) {
                let mut count = 0;
                let take = |reply| {
                    if let Reply::Connections(entries) = reply {
                        count += entries.len();
                    }
                    Ok(())
                };
                client.for_each(Request::Connections, take).expect("it is answered");
                assert_eq!(count, CONNECTIONS as usize);
                listings.fetch_add(1, Ordering::SeqCst);
            }
        });
        let one = || listings.load(Ordering::SeqCst) > 0;
        let took = turns(&mut program, &mut desk, &mut io, &one);
        stop.store(true, Ordering::SeqCst);
        while !lister.is_finished() {
            desk.serve(Instant::ZERO, &mut program);
        }
        took
    });
    println!("processor time of the loop:");
    report("nobody lists", &quiet.processor);
    report("a million are being listed", &listing.processor);
    println!("by the clock on the wall:");
    report("nobody lists", &quiet.wall);
    report("a million are being listed", &listing.wall);
}
