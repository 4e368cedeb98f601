//! The engine of a Linux Virtual Server director: bytes, time and tables in, verdicts out.
//!
//! A [`Director`](director::Director) takes bursts of Ethernet frames and decides about each as Linux
//! IPVS does: which virtual service it belongs to, which real server its client goes to, and how it gets
//! there. The crate reads no clock, owns no socket, starts no thread, and allocates nothing for a packet:
//! all memory is fixed by [`Limits`](limits::Limits) when a director is made. It needs no operating
//! system (`no_std` with `alloc`).
//!
//! ```text
//!   FrameIo ──lends──▶ &mut [Frame]
//!                          │ parse        bytes ─▶ Headers, FlowKey
//!                          │ conn         FlowKey ─▶ connection ──hit──────────┐
//!                          │ service      mark, address, port ─▶ service       │
//!                          │ persist      masked client ─▶ template            │
//!                          │ sched        destinations ─▶ the chosen one       │
//!                          ▼ director     state, timeout, TTL, MTU, next hop ◀─┘
//!   FrameIo ◀─verdict── Pass · Drop(reason) · Transmit(port) · Reply(port) · Absorb
//! ```
//!
//! The [manual] says how to feed it, what it promises and costs, and where it runs.
//!
//! Commands ([`command`]) change the configuration between bursts; listings ([`listing`]) tell the state
//! as data. Rules named in these pages (S3, R4, …) are those of the project's conformance set, found by
//! recording a real kernel.
//!
//! | module | holds |
//! | --- | --- |
//! | [`director`] | the path of a packet; the only module that knows all others |
//! | [`io`] | the interface to whatever carries frames |
//! | [`parse`], [`wire`] | headers |
//! | [`conn`], [`persist`], [`timer`] | connections, templates, the wheel that ends them |
//! | [`sched`], [`dest`] | schedulers and the real servers they choose from |
//! | [`state`] | TCP, UDP and SCTP states and how long they last |
//! | [`engine`] | persistence engines: what else than its address a client is remembered by |
//! | [`neighbor`], [`forward`] | whom a packet is sent to on the wire; what is written around it and into it |
//! | [`explain`] | why a packet went where it went |
//! | [`snapshot`] | connections, templates and counters out and in again: warm restart, fail-over |
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `std` | the in-memory backend `io::mem` and the suite `io::conformance` that backends are held to |
#![no_std]
// One function is excepted, `prefetch::prefetch`, which says why.
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod addr;
pub mod command;
pub mod conn;
pub mod dest;
pub mod director;
pub mod drop;
pub mod engine;
pub mod explain;
pub mod flow;
pub mod forward;
mod fwmark;
pub mod ids;
pub mod io;
pub mod limits;
pub mod listing;
mod local;
mod lookup;
pub mod manual;
pub mod neighbor;
pub mod pace;
pub mod parse;
pub mod persist;
mod prefetch;
mod reassembly;
mod route;
pub mod sched;
mod service;
pub mod snapshot;
pub mod state;
pub mod stats;
mod store;
pub mod time;
pub mod timer;
pub mod wire;

/// The examples of the README are compiled with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
