//! The manual: the core inside a program of yours.
//!
//! | chapter | answers |
//! | --- | --- |
//! | [`promises`] | what the core guarantees, and what it expects |
//! | [`feeding`] | frames, time, configuration: the loop around a director |
//! | [`verdicts`] | what to do with each frame afterwards, and why a packet went where it went |
//! | [`budget`] | how much memory and time it takes; what allocates, and how long a call may last |
//! | [`places`] | interrupt handlers, wasm modules, machines without a system, several cores |
//! | [`state`] | connections out of one director and into another: warm restart, fail-over |
//! | [`extending`] | a scheduler, an I/O backend |
//!
//! All code in it is compiled and run with the tests. Whole programs are in the repository's `examples/`: `embed` (an
//! event loop of its own, under 150 lines), `custom-scheduler`, `pcap-bridge` (a backend), `freestanding`
//! (no operating system).

#[doc = include_str!("manual/promises.md")]
pub mod promises {}

#[doc = include_str!("manual/feeding.md")]
pub mod feeding {}

#[doc = include_str!("manual/verdicts.md")]
pub mod verdicts {}

#[doc = include_str!("manual/budget.md")]
pub mod budget {}

#[doc = include_str!("manual/places.md")]
pub mod places {}

#[doc = include_str!("manual/state.md")]
pub mod state {}

#[doc = include_str!("manual/extending.md")]
pub mod extending {}
