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

use core::net::{IpAddr, Ipv4Addr};

use lvs_core::drop::DropReason;
use lvs_core::flow::{Endpoint, FlowKey, Protocol};
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, Verdict};
use lvs_core::limits::Limits;

/// What the entry point calls.
fn start() -> ! {
    if Limits::small().check().is_err() {
        system::exit(3);
    }
    memory::refuse_from_now_on();
    let end = |last, port| Endpoint::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), port);
    let key = FlowKey::new(Protocol::TCP, end(1, 1024), end(2, 80));
    let mut slot = [0u8; 128];
    let frame = Frame::new(&mut slot, 64, 60, PortId(0));
    let undecided = frame.verdict == Verdict::Drop(DropReason::Undecided);
    system::exit(if undecided && key.reversed().reversed() == key { 0 } else { 4 });
}
