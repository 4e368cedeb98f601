//! Virtual time for lvs: scenarios and captures replayed through the real director.
//!
//! A [scenario] is a timeline of `ipvsadm` commands, packets and dumps. The [player] sends it through a
//! [`Director`](lvs_core::director::Director) over an in-memory backend, with virtual time between the
//! events, and writes a [record](mod@record) of what the director did. The same scenarios were played to
//! the Linux kernel; [`compare`](compare::compare) holds two records against each other, with the
//! tolerances that two recordings of the kernel need, and [`needs`] says what a scenario asks for that is
//! not there yet.
//!
//! A [capture] of real traffic goes the same way: what would these rules have done with it, how evenly,
//! and what would other rules have done?
//!
//! Where there is neither scenario nor capture, [peers] make the traffic: clients and real servers with
//! TCP stacks of their own, on one segment with a director.
//!
//! ```
//! use lvs_sim::player::{PlayOptions, play};
//! use lvs_sim::scenario::Scenario;
//!
//! let scenario = Scenario::parse("refused.lvs", "# no server\n\
//!     0 ipvsadm -A -t 10.0.0.1:80 -s rr\n\
//!     1 tcp 192.0.2.7:40000 > 10.0.0.1:80 S\n").unwrap();
//! let record = play(&scenario, &PlayOptions::default()).unwrap();
//! assert!(record.as_str().contains("S => icmp port-unreach to 192.0.2.7\n"));
//! ```
#![forbid(unsafe_code)]

pub mod capture;
pub mod compare;
pub mod explain;
mod host;
pub mod needs;
pub mod net;
pub mod packet;
pub mod peers;
pub mod player;
pub mod random;
pub mod record;
mod replay;
pub mod scenario;

pub use replay::{ReplayError, replay_file, replay_file_to};

/// The examples of the README are compiled with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
