//! The engine of a Linux Virtual Server director.
#![no_std]
// One function is excepted, `conn::prefetch`, which says why.
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod addr;
pub mod command;
pub mod conn;
pub mod drop;
pub mod flow;
pub mod ids;
pub mod io;
pub mod limits;
pub mod listing;
pub mod parse;
pub mod persist;
pub mod stats;
pub mod time;
pub mod timer;
pub mod wire;
