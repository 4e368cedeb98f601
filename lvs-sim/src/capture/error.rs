//! What can go wrong with a capture.

use std::io;

use thiserror::Error;

/// Why a capture could not be replayed.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The file could not be read.
    #[error("cannot read the capture: {0}")]
    Read(#[source] io::Error),
    /// The output could not be written.
    #[error("cannot write the output capture: {0}")]
    Write(#[source] io::Error),
    /// Neither pcap nor pcapng.
    #[error(
        "this is no capture: it begins with {0:02x?}; expected a pcap or pcapng file, as tcpdump -w and \
         Wireshark write them"
    )]
    UnknownFormat(Vec<u8>),
    /// The file breaks its format.
    #[error("the capture is damaged at packet {packet}: {what}")]
    Damaged {
        /// The number of the packet after the last good one, from 1.
        packet: u64,
        /// What the format's reader says.
        what: String,
    },
    /// The packets have a link layer that cannot be replayed.
    #[error(
        "packet {packet} has link type {link}, which cannot be replayed; capture on an Ethernet interface, or \
         convert to Ethernet or raw IP (LINKTYPE_ETHERNET 1, LINKTYPE_RAW 101)"
    )]
    LinkType {
        /// The number of the packet, from 1.
        packet: u64,
        /// The link type's number (tcpdump.org/linktypes.html).
        link: u32,
    },
    /// A rule was refused by the director.
    #[error("{0}")]
    Rules(String),
    /// The director could not be made.
    #[error(transparent)]
    Limits(#[from] lvs_core::limits::LimitError),
}
