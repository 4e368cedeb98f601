//! Bytes to entries, with the kernel's reach of each fault.

use core::fmt;
use core::iter::FusedIterator;
use core::net::IpAddr;

use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::FwMark;

use super::{
    ENTRY_V0, ENTRY_V4, ENTRY_V6, Engine, Entry, Flags, OPTION_ENGINE_DATA, OPTION_ENGINE_NAME,
    OPTION_SEQUENCE, OPTION_SKIPPABLE, SEQUENCE, Sequence, Shift, Version,
};

/// A datagram whose header is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    syncid: u8,
    version: Version,
    count: u8,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads the header of a datagram.
    ///
    /// # Errors
    /// If there is no header, or its size is not the datagram's.
    pub fn decode(datagram: &'a [u8]) -> Result<Message<'a>, MessageError> {
        let &[first, syncid, high, low, ref rest @ ..] = datagram else {
            return Err(MessageError::Short { len: datagram.len() });
        };
        let told = u16::from_be_bytes([high, low]);
        if usize::from(told) != datagram.len() {
            return Err(MessageError::Size { told, len: datagram.len() });
        }
        // What is no message of version 1 is one of version 0, as the kernel takes it.
        Ok(match (first, rest) {
            (0, &[count, 1, 0, 0, ref body @ ..]) => {
                Message { syncid, version: Version::One, count, body }
            }
            (count, body) => Message { syncid, version: Version::Zero, count, body },
        })
    }

    /// The group that the sender belongs to.
    pub fn syncid(&self) -> u8 {
        self.syncid
    }

    /// The version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// How many entries the header tells.
    pub fn count(&self) -> u8 {
        self.count
    }

    /// The entries in their order. After an error that reaches [the rest of the
    /// datagram](Reach::Datagram) there is none any more.
    pub fn entries(&self) -> Entries<'a> {
        Entries { version: self.version, left: self.count, lost: 0, rest: self.body }
    }
}

/// The entries of a [`Message`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    version: Version,
    left: u8,
    lost: u8,
    rest: &'a [u8],
}

impl Entries<'_> {
    /// How many entries the header tells behind the error that ended the datagram; 0 as long as there was
    /// none.
    pub fn lost(&self) -> u8 {
        self.lost
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let entry = match self.version {
            Version::Zero => entry_v0(&mut self.rest),
            Version::One => entry_v1(&mut self.rest),
        };
        if entry.is_err_and(|error| error.reach() == Reach::Datagram) {
            self.lost = core::mem::take(&mut self.left);
        }
        Some(entry)
    }
}

impl FusedIterator for Entries<'_> {}

/// Reads an entry of version 1 off the front; what follows begins at the next multiple of four bytes.
fn entry_v1<'a>(rest: &mut &'a [u8]) -> Result<Entry<'a>, EntryError> {
    let all = *rest;
    if all.len() < ENTRY_V4 {
        return Err(EntryError::CutOff);
    }
    let word = u16_at(all, 2);
    let (version, size) = ((word >> 12) as u8, usize::from(word & 0xfff));
    if size > all.len() {
        return Err(EntryError::CutOff);
    }
    if version != 0 {
        return Err(EntryError::Version(version));
    }
    // Of the type only bit 0 is known. The kernel asks for no other one to be clear where it is set.
    let (v6, fixed) = match all[0] {
        0 => (false, ENTRY_V4),
        kind if kind & 1 != 0 => (true, ENTRY_V6),
        kind => return Err(EntryError::Kind(kind)),
    };
    let Some((fixed, options)) = all[..size].split_at_checked(fixed) else {
        return Err(EntryError::Size(size as u16));
    };
    *rest = all.get(size.next_multiple_of(4)..).unwrap_or_default();
    let addr = |n: usize| match v6 {
        false => v4_at(fixed, 24 + 4 * n),
        true => v6_at(fixed, 24 + 16 * n),
    };
    let end = |n: usize, port: usize| Endpoint::new(addr(n), u16_at(fixed, port));
    let (client, virt, server) = (end(0, 10), end(1, 12), end(2, 14));
    let mut entry = Entry {
        flags: Flags(u32_at(fixed, 4)),
        state: u16_at(fixed, 8),
        mark: FwMark(u32_at(fixed, 16)),
        timeout: u32_at(fixed, 20),
        ..Entry::new(Protocol(fixed[1]), client, virt, server)
    };
    read_options(&mut entry, options)?;
    Ok(entry)
}

/// Reads the options of an entry, up to the first that is wrong.
fn read_options<'a>(entry: &mut Entry<'a>, mut options: &'a [u8]) -> Result<(), EntryError> {
    let (mut data, mut name) = (None, None);
    while !options.is_empty() {
        let &[kind, len, ref rest @ ..] = options else { return Err(EntryError::OptionCutOff) };
        let Some((value, behind)) = rest.split_at_checked(len.into()).filter(|_| len > 0) else {
            return Err(EntryError::OptionCutOff);
        };
        options = behind;
        let wrong_len = || EntryError::OptionLength { kind, len };
        // The bit says what to do with an unknown one; a known one is known with it too.
        let twice = match kind & !OPTION_SKIPPABLE {
            OPTION_SEQUENCE => {
                let bytes: &[u8; SEQUENCE] = value.try_into().map_err(|_| wrong_len())?;
                entry.sequence.replace(sequence(bytes, u32::from_be_bytes)).is_some()
            }
            OPTION_ENGINE_DATA => data.replace(value).is_some(),
            OPTION_ENGINE_NAME if value.len() > Engine::NAME_MAX => return Err(wrong_len()),
            OPTION_ENGINE_NAME => name.replace(value).is_some(),
            _ if kind & OPTION_SKIPPABLE != 0 => false,
            _ => return Err(EntryError::UnknownOption(kind)),
        };
        if twice {
            return Err(EntryError::OptionTwice(kind));
        }
    }
    if data.is_some() || name.is_some() {
        let (name, data) = (name.unwrap_or_default(), data.unwrap_or_default());
        entry.engine = Some(Engine { name, data });
    }
    Ok(())
}

/// Reads an entry of version 0 off the front.
fn entry_v0<'a>(rest: &mut &'a [u8]) -> Result<Entry<'a>, EntryError> {
    let Some((fixed, behind)) = rest.split_at_checked(ENTRY_V0) else {
        return Err(EntryError::CutOff);
    };
    *rest = behind;
    let end = |addr: usize, port: usize| Endpoint::new(v4_at(fixed, addr), u16_at(fixed, port));
    let mut entry = Entry {
        flags: Flags(u16_at(fixed, 20).into()),
        state: u16_at(fixed, 22),
        ..Entry::new(Protocol(fixed[1]), end(8, 2), end(12, 4), end(16, 6))
    };
    if entry.flags.any(Flags::SEQUENCE) {
        let Some((bytes, behind)) = rest.split_first_chunk::<SEQUENCE>() else {
            return Err(EntryError::CutOff);
        };
        *rest = behind;
        // In the order of the sender's processor, which nothing tells; nearly all are little-endian.
        entry.sequence = Some(sequence(bytes, u32::from_le_bytes));
    }
    Ok(entry)
}

fn sequence(bytes: &[u8; SEQUENCE], number: fn([u8; 4]) -> u32) -> Sequence {
    let at = |i: usize| number([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
    let shift = |i: usize| Shift { from: at(i), delta: at(i + 4), before: at(i + 8) };
    Sequence { incoming: shift(0), outgoing: shift(12) }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn v4_at(bytes: &[u8], at: usize) -> IpAddr {
    IpAddr::V4(u32_at(bytes, at).into())
}

fn v6_at(bytes: &[u8], at: usize) -> IpAddr {
    let word = |n: usize| u128::from(u32_at(bytes, at + 4 * n));
    IpAddr::V6((word(0) << 96 | word(1) << 64 | word(2) << 32 | word(3)).into())
}

/// Why a datagram is no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageError {
    /// Too short for a header.
    Short {
        /// Its length in bytes.
        len: usize,
    },
    /// The size in the header is not the datagram's.
    Size {
        /// What the header tells.
        told: u16,
        /// The datagram's length in bytes.
        len: usize,
    },
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageError::Short { len } => write!(f, "{len} bytes are too short for a message"),
            MessageError::Size { told, len } => {
                write!(f, "the message says that it has {told} bytes, but {len} came")
            }
        }
    }
}

impl core::error::Error for MessageError {}

/// How much a wrong entry makes useless.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Only itself.
    Entry,
    /// Itself and all behind it in the datagram, whose beginnings are in doubt.
    Datagram,
}

/// Why an entry cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EntryError {
    /// It goes beyond the end of the datagram.
    CutOff,
    /// Its version is not 0.
    Version(u8),
    /// Its type is of no address family.
    Kind(u8),
    /// Its size, in bytes, is too small for its addresses.
    Size(u16),
    /// An option goes beyond the end of the entry, or has no length.
    OptionCutOff,
    /// An option of a length, in bytes, that it cannot have.
    OptionLength {
        /// Its type.
        kind: u8,
        /// Its length.
        len: u8,
    },
    /// An option of this type was there before.
    OptionTwice(u8),
    /// An option of this type is not known and must not be skipped.
    UnknownOption(u8),
}

impl EntryError {
    /// What is lost with the entry.
    pub const fn reach(self) -> Reach {
        match self {
            EntryError::UnknownOption(_) => Reach::Entry,
            _ => Reach::Datagram,
        }
    }
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryError::CutOff => f.write_str("an entry goes beyond the end of the datagram"),
            EntryError::Version(version) => write!(f, "an entry of the unknown version {version}"),
            EntryError::Kind(kind) => write!(f, "an entry of the unknown type {kind}"),
            EntryError::Size(size) => write!(f, "an entry of {size} bytes is too small"),
            EntryError::OptionCutOff => f.write_str("an option goes beyond the end of its entry"),
            EntryError::OptionLength { kind, len } => {
                write!(f, "an option of type {kind} cannot have {len} bytes")
            }
            EntryError::OptionTwice(kind) => write!(f, "two options of type {kind} in an entry"),
            EntryError::UnknownOption(kind) => write!(f, "an option of the unknown type {kind}"),
        }
    }
}

impl core::error::Error for EntryError {}
