//! Headers on the wire: where their fields are, how to write them, and how to change them in place.
//!
//! One module per header, each with its field offsets named once. Nothing here decides anything:
//! [`parse`](crate::parse) reads a whole frame, [`director`](crate::director) has the policy. Offsets
//! count from the first byte of the header that the module is about.
//!
//! ```
//! use lvs_core::addr::MacAddr;
//! use lvs_core::wire::ethernet;
//!
//! let mut frame = [0; 60];
//! ethernet::set_dst(&mut frame, MacAddr([2, 0, 0, 0, 0, 1]));
//! assert_eq!(ethernet::dst(&frame).to_string(), "02:00:00:00:00:01");
//! ```

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod mss;
pub mod ndp;
pub mod sctp;
pub mod tcp;
pub mod udp;

/// The big-endian 16-bit number at `at`.
#[inline]
pub(crate) fn be16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The big-endian 32-bit number at `at`.
#[inline]
pub(crate) fn be32<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// `LEN` bytes of a packet from `at` on, if it has as many.
#[inline]
pub(crate) fn chunk<const LEN: usize>(packet: &[u8], at: usize) -> Option<&[u8; LEN]> {
    packet.get(at..)?.first_chunk()
}
