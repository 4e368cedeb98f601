//! Captures: what a rule set would have done with real traffic.

mod error;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use error::CaptureError;
pub use read::{CaptureReader, CapturedFrame};
pub use write::CaptureWriter;
