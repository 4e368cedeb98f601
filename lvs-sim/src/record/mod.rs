//! Records: what a director did with a scenario, as text that compares with the kernel's.
//!
//! The format is described in `conformance/README.md`. [`describe`] turns a frame the director sent into
//! the line below an event and its share of the result; [`Record`] puts the lines together.

mod decode;
mod outcome;
pub(crate) mod sync;
mod writer;

#[cfg(test)]
mod tests;

pub use outcome::{Outcome, describe};
pub use writer::Record;

/// CRC-32c of an SCTP packet whose checksum field is zero, in the order it stands on the wire
/// (RFC 9260 appendix A).
pub(crate) fn sctp_crc(packet: &[u8]) -> [u8; 4] {
    crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(packet).to_le_bytes()
}
