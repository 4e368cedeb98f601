//! The datagrams: read by [`Message`], written by an [`Encoder`].
//!
//! Version 1 is the kernel's since 2.6.39; version 0 is what older ones speak, IPv4 only, and what
//! `sync_version=0` makes a master send. Its first byte tells them apart: an older receiver takes a message
//! of version 1 for one without connections.
//!
//! ```
//! use core::net::Ipv4Addr;
//! use lvs_core::flow::{Endpoint, Protocol};
//! use lvs_sync::message::{Encoder, Entry, Flags, Message, Version};
//!
//! let end = |host, port| Endpoint::new(Ipv4Addr::new(192, 0, 2, host).into(), port);
//! let mut entry = Entry::new(Protocol::TCP, end(7, 40_000), end(80, 80), end(2, 80));
//! (entry.flags, entry.state, entry.timeout) = (Flags(0x83), 1, 900);
//! let mut encoder = Encoder::new(7, Version::One, 1472);
//! encoder.push(&entry)?;
//! let datagram = encoder.take().expect("it has an entry");
//! assert_eq!(datagram.len(), 8 + 36);
//!
//! let message = Message::decode(&datagram)?;
//! assert_eq!(message.syncid(), 7);
//! let entries: Result<Vec<_>, _> = message.entries().collect();
//! assert_eq!(entries?, [entry]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::FwMark;

mod decode;
mod encode;

pub use decode::{Entries, EntryError, Message, MessageError, Reach};
pub use encode::{Encoder, PushError};

/// Bytes of a header of version 1.
const HEADER_V1: usize = 8;
/// Bytes of a header of version 0.
const HEADER_V0: usize = 4;
/// Bytes of an entry of version 1 in IPv4, without options.
const ENTRY_V4: usize = 36;
/// The same in IPv6.
const ENTRY_V6: usize = 72;
/// Bytes of an entry of version 0, without sequence data.
const ENTRY_V0: usize = 24;
/// Bytes of sequence data.
const SEQUENCE: usize = 24;
/// The most entries of a message: their number is one byte.
const ENTRIES_MAX: u8 = 255;

/// Option: sequence data.
const OPTION_SEQUENCE: u8 = 1;
/// Option: what the persistence engine keeps.
const OPTION_ENGINE_DATA: u8 = 2;
/// Option: the persistence engine's name.
const OPTION_ENGINE_NAME: u8 = 3;
/// The bit of an option's type that lets a receiver which does not know it go on behind it.
const OPTION_SKIPPABLE: u8 = 0x40;

/// Which of the two protocols.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// IPv4 only, without timeouts and marks; `sync_version=0`.
    Zero,
    /// The present one.
    #[default]
    One,
}

/// A connection's flags as messages carry them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// The forwarding method, in three bits.
    pub const METHOD: u32 = 0x7;
    /// [`METHOD`](Self::METHOD): masquerading.
    pub const MASQUERADE: u32 = 0;
    /// [`METHOD`](Self::METHOD): to the director's own host.
    pub const LOCAL: u32 = 1;
    /// [`METHOD`](Self::METHOD): through a tunnel.
    pub const TUNNEL: u32 = 2;
    /// [`METHOD`](Self::METHOD): direct routing.
    pub const DIRECT: u32 = 3;
    /// [`METHOD`](Self::METHOD): past the real servers (rule P11).
    pub const BYPASS: u32 = 4;
    /// Whoever announces the connection has it from a master itself.
    pub const RELAYED: u32 = 0x20;
    /// No packet of the real server has been seen.
    pub const NO_OUTPUT: u32 = 0x80;
    /// The connection counts as inactive (rule C4).
    pub const INACTIVE: u32 = 0x100;
    /// There is sequence data: that of the server's side and of the client's.
    pub const SEQUENCE: u32 = 0x600;
    /// The client's port is not known yet, as of an FTP data connection.
    pub const NO_CLIENT_PORT: u32 = 0x800;
    /// A persistence template.
    pub const TEMPLATE: u32 = 0x1000;
    /// A connection of one packet (`-o`).
    pub const ONE_PACKET: u32 = 0x2000;

    /// Whether any of these bits is set.
    pub const fn any(self, bits: u32) -> bool {
        self.0 & bits != 0
    }
}

/// One connection or template of a message, as its bytes say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// The protocol; 0 for the template of a mark service.
    pub protocol: Protocol,
    /// The client's end.
    pub client: Endpoint,
    /// The virtual end; the mark as an address for the template of a mark service.
    pub virt: Endpoint,
    /// The real server's end.
    pub server: Endpoint,
    /// What is known of the connection.
    pub flags: Flags,
    /// The state's number, of the protocol; of a template whether it is assured.
    pub state: u16,
    /// The mark of the first packet.
    pub mark: FwMark,
    /// How long the connection lasts after its last packet, in seconds; 0 asks for the state's default.
    /// Version 0 has none.
    pub timeout: u32,
    /// What masquerading changes in sequence numbers.
    pub sequence: Option<Sequence>,
    /// The persistence engine of a template.
    pub engine: Option<Engine<'a>>,
}

impl<'a> Entry<'a> {
    /// An entry whose other fields are zero. All three ends are of one address family.
    pub const fn new(
        protocol: Protocol,
        client: Endpoint,
        virt: Endpoint,
        server: Endpoint,
    ) -> Entry<'a> {
        Entry {
            protocol,
            client,
            virt,
            server,
            flags: Flags(0),
            state: 0,
            mark: FwMark::NONE,
            timeout: 0,
            sequence: None,
            engine: None,
        }
    }
}

/// What masquerading changes in the sequence numbers of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shift {
    /// The sequence number from which on numbers are shifted.
    pub from: u32,
    /// By how much, from there on.
    pub delta: u32,
    /// By how much before.
    pub before: u32,
}

/// Sequence data: of packets from the client and of those to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sequence {
    /// From the client.
    pub incoming: Shift,
    /// To the client.
    pub outgoing: Shift,
}

/// What a persistence engine says of a template.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Engine<'a> {
    /// The engine's name, at most [`Engine::NAME_MAX`] bytes; empty if none was given.
    pub name: &'a [u8],
    /// What it keeps, at most 255 bytes.
    pub data: &'a [u8],
}

impl Engine<'_> {
    /// The longest name.
    pub const NAME_MAX: usize = 16;
    /// The most data.
    pub const DATA_MAX: usize = 255;
}

#[cfg(test)]
mod tests;
