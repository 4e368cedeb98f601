//! Entries to bytes.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use lvs_core::flow::Endpoint;

use super::{
    ENTRIES_MAX, ENTRY_V0, ENTRY_V4, ENTRY_V6, Engine, Entry, Flags, HEADER_V0, HEADER_V1,
    OPTION_ENGINE_DATA, OPTION_ENGINE_NAME, OPTION_SEQUENCE, SEQUENCE, Sequence, Version,
};

/// A message in the making.
#[derive(Clone, Debug)]
pub struct Encoder {
    version: Version,
    maxlen: usize,
    bytes: Vec<u8>,
}

impl Encoder {
    /// A message without entries, of at most `maxlen` bytes. The first entry is put in whatever its size.
    pub fn new(syncid: u8, version: Version, maxlen: u16) -> Encoder {
        let header = [0, syncid, 0, 0, 0, 1, 0, 0];
        let len = if version == Version::Zero { HEADER_V0 } else { HEADER_V1 };
        let bytes = header[..len].to_vec();
        Encoder { version, maxlen: maxlen.into(), bytes }
    }

    /// How many entries it has.
    pub fn count(&self) -> u8 {
        self.bytes[self.count_at()]
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// If there is no room for it, or it cannot be said; then nothing has changed.
    pub fn push(&mut self, entry: &Entry<'_>) -> Result<(), PushError> {
        let before = self.bytes.len();
        let result = match self.version {
            Version::Zero => self.push_v0(entry),
            Version::One => self.push_v1(entry),
        };
        let full = self.bytes.len() > self.maxlen.min(usize::from(u16::MAX)) && !self.is_empty();
        let result = match result {
            Ok(()) if full || self.count() == ENTRIES_MAX => Err(PushError::Full),
            result => result,
        };
        match result {
            Ok(()) => {
                let at = self.count_at();
                self.bytes[at] += 1;
            }
            Err(_) => self.bytes.truncate(before),
        }
        result
    }

    /// The datagram so far, if it has entries; what follows is another one.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if self.is_empty() {
            return None;
        }
        let syncid = self.bytes[1];
        let next = Encoder::new(syncid, self.version, 0).bytes;
        let mut datagram = core::mem::replace(&mut self.bytes, next);
        let [high, low] = (datagram.len() as u16).to_be_bytes();
        (datagram[2], datagram[3]) = (high, low);
        Some(datagram)
    }

    /// Where the number of entries is.
    fn count_at(&self) -> usize {
        match self.version {
            Version::Zero => 0,
            Version::One => 4,
        }
    }

    fn push_v1(&mut self, entry: &Entry<'_>) -> Result<(), PushError> {
        // Every entry begins at a multiple of four bytes; the last one is not padded.
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let start = self.bytes.len();
        let ends = [entry.client, entry.virt, entry.server];
        let (kind, len) = match ends.map(|end| end.addr) {
            [IpAddr::V4(_), IpAddr::V4(_), IpAddr::V4(_)] => (0, ENTRY_V4),
            [IpAddr::V6(_), IpAddr::V6(_), IpAddr::V6(_)] => (1, ENTRY_V6),
            _ => return Err(PushError::Families),
        };
        self.bytes.extend_from_slice(&[kind, entry.protocol.0, 0, 0]);
        self.number(entry.flags.0);
        self.bytes.extend_from_slice(&entry.state.to_be_bytes());
        self.ports(ends);
        self.number(entry.mark.0);
        self.number(entry.timeout);
        ends.iter().for_each(|end| self.address(end.addr));
        debug_assert_eq!(self.bytes.len(), start + len);
        if let Some(sequence) = &entry.sequence {
            self.bytes.extend_from_slice(&[OPTION_SEQUENCE, SEQUENCE as u8]);
            self.sequence(sequence, u32::to_be_bytes);
        }
        if let Some(Engine { name, data }) = entry.engine {
            if name.len() > Engine::NAME_MAX || data.len() > Engine::DATA_MAX {
                return Err(PushError::Engine);
            }
            for (kind, value) in [(OPTION_ENGINE_DATA, data), (OPTION_ENGINE_NAME, name)] {
                if !value.is_empty() {
                    self.bytes.extend_from_slice(&[kind, value.len() as u8]);
                    self.bytes.extend_from_slice(value);
                }
            }
        }
        // At most 72 + 26 + 257 + 18 bytes: the number fits, beside a version of 0.
        let [high, low] = ((self.bytes.len() - start) as u16).to_be_bytes();
        (self.bytes[start + 2], self.bytes[start + 3]) = (high, low);
        Ok(())
    }

    fn push_v0(&mut self, entry: &Entry<'_>) -> Result<(), PushError> {
        let start = self.bytes.len();
        let ends = [entry.client, entry.virt, entry.server];
        if ends.iter().any(|end| end.addr.is_ipv6()) {
            return Err(PushError::Families);
        }
        // Without what its engine read it would be another template.
        if entry.engine.is_some() {
            return Err(PushError::Engine);
        }
        self.bytes.extend_from_slice(&[0, entry.protocol.0]);
        self.ports(ends);
        ends.iter().for_each(|end| self.address(end.addr));
        self.bytes.extend_from_slice(&(entry.flags.0 as u16).to_be_bytes());
        self.bytes.extend_from_slice(&entry.state.to_be_bytes());
        debug_assert_eq!(self.bytes.len(), start + ENTRY_V0);
        if entry.flags.any(Flags::SEQUENCE) {
            self.sequence(&entry.sequence.unwrap_or_default(), u32::to_le_bytes);
        }
        Ok(())
    }

    fn number(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    fn ports(&mut self, ends: [Endpoint; 3]) {
        ends.iter().for_each(|end| self.bytes.extend_from_slice(&end.port.0.to_be_bytes()));
    }

    fn address(&mut self, addr: IpAddr) {
        match addr {
            IpAddr::V4(addr) => self.bytes.extend_from_slice(&addr.octets()),
            IpAddr::V6(addr) => self.bytes.extend_from_slice(&addr.octets()),
        }
    }

    fn sequence(&mut self, sequence: &Sequence, bytes: fn(u32) -> [u8; 4]) {
        for shift in [sequence.incoming, sequence.outgoing] {
            for number in [shift.from, shift.delta, shift.before] {
                self.bytes.extend_from_slice(&bytes(number));
            }
        }
    }
}

/// Why an entry was not appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushError {
    /// There is no room: [`take`](Encoder::take) what is there, then try again.
    Full,
    /// Its ends are of different address families, or of one that the version does not know.
    Families,
    /// Name or data of its engine are too long, or the version has no engines.
    Engine,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PushError::Full => "the message is full; take it and begin another one",
            PushError::Families => {
                "messages carry connections of one address family only, and version 0 only IPv4"
            }
            PushError::Engine => {
                "the persistence engine's name or data is too long, or it is a message of version 0"
            }
        })
    }
}

impl core::error::Error for PushError {}
