//! Captures: what a rule set would have done with real traffic.
//!
//! [`replay_capture`] sends the packets of a pcap or pcapng file through a director in the capture's own
//! time and reports how the load was shared out; with a second rule set, which flows that one would send
//! elsewhere. The capture is seen as what came in at the director: packets to its virtual addresses are
//! scheduled, packets from them count as answers that crossed it.

mod error;
mod fairness;
mod lane;
mod read;
mod replay;
mod report;
mod write;

#[cfg(test)]
mod tests;

pub use error::CaptureError;
pub use fairness::jain;
pub use read::{CaptureReader, CapturedFrame};
pub use replay::{CaptureOptions, replay_capture};
pub use report::{
    Against, ClientReport, Fairness, MovedFlow, ReasonCount, Report, ServerReport, ServiceReport,
};
pub use write::CaptureWriter;
