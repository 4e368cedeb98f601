//! The core without an operating system: own entry point, own allocator, own panic handler, no library.
//!
//! `cargo xtask ci` links this, looks for foreign symbols, and runs it. Its exit status says how it went:
//!
//! | status | meaning |
//! | --- | --- |
//! | 0 | as it should be |
//! | 1 | something panicked |
//! | 2 | the allocator was asked for memory after the start |
//! | 3 | a command was refused |
//! | 4 | a frame got another verdict than expected |
#![no_std]
#![no_main]

extern crate alloc;

#[cfg(target_os = "linux")]
mod bytes;
mod memory;
mod system;

use alloc::vec;
use core::net::{IpAddr, Ipv4Addr};

use lvs_core::addr::{MacAddr, Prefix};
use lvs_core::command::{ApplyError, Command, DestinationSpec, PortSpec, ServiceKey, ServiceSpec};
use lvs_core::director::Director;
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, Verdict};
use lvs_core::limits::Limits;
use lvs_core::time::{Duration, Instant};

const PORT: PortId = PortId(0);
const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SERVER: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
const HEADROOM: usize = 128;

/// A SYN from 10.0.0.9 to port 80 of 10.0.0.80, for the director's MAC address.
const SYN: [u8; 54] = [
    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0, // Ethernet
    0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x26, 0x78, 10, 0, 0, 9, 10, 0, 0, 80, // IPv4
    0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0, // TCP
];

/// What the entry point calls.
fn start() -> ! {
    let Ok(mut director) = Director::new(Limits::small(), [1, 2]) else { system::exit(3) };
    if configure(&mut director).is_err() {
        system::exit(3);
    }
    memory::refuse_from_now_on();
    let mut slot = [0; 256];
    let mut now = Instant::ZERO;
    // Frames that the director wants to send of its own.
    let mut frame = Frame::new(&mut slot, HEADROOM, 0, PORT);
    while director.poll_transmit(now, &mut frame) {}
    // One burst: a client's first packet goes to the real server.
    slot[HEADROOM..HEADROOM + SYN.len()].copy_from_slice(&SYN);
    let mut burst = [Frame::new(&mut slot, HEADROOM, SYN.len(), PORT)];
    director.process_burst(now, &mut burst);
    let [frame] = &burst;
    let forwarded = frame.verdict == Verdict::Transmit(PORT) && frame.bytes()[..6] == SERVER.0;
    // An hour later nothing of it is left.
    now = now + Duration::from_secs(3600);
    director.handle_timers(now, usize::MAX);
    let forgotten = director.connection_count() == 0;
    system::exit(if forwarded && forgotten { 0 } else { 4 })
}

/// One port, one service, one real server whose MAC address is known.
fn configure(director: &mut Director) -> Result<(), ApplyError> {
    let addr = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let addresses = Prefix::new(addr(1), 24).into_iter().collect();
    let virt = Endpoint::new(addr(80), 80);
    let key = ServiceKey::Address { protocol: Protocol::TCP, virt };
    let commands = vec![
        Command::SetPort(PortSpec { id: PORT, mac: DIRECTOR, mtu: 1500, addresses }),
        Command::AddLocal { addr: addr(80), answer: false },
        Command::SetNeighbor { port: PORT, addr: addr(3), mac: SERVER },
        Command::AddService(ServiceSpec::new(key)),
        Command::AddDestination(key, DestinationSpec::new(Endpoint::new(addr(3), 80))),
    ];
    commands.into_iter().try_for_each(|command| director.apply(Instant::ZERO, command))
}
