//! Persistence engines: what a datagram says that its client is remembered by, besides its address.
//!
//! A template of a service with an engine (`--pe`) stands for a client *and* for what the engine read in
//! the client's first datagram, such as the Call-ID of a SIP message. So one client's calls are spread over
//! the real servers, and each call keeps its own (rules E1 to E5).
//!
//! ```
//! use lvs_core::engine::Engine;
//! use lvs_core::flow::Protocol;
//!
//! let message = b"INVITE sip:bob@example.org SIP/2.0\r\nCall-ID: 7f3a@192.0.2.7\r\n\r\n";
//! let key = Engine::Sip.read(Protocol::UDP, message).expect("it has a Call-ID");
//! assert_eq!(key.data(), b"7f3a@192.0.2.7");
//! assert_eq!(Engine::Sip.read(Protocol::TCP, message), None, "only datagrams are read");
//! assert_eq!(Engine::of_name("sip"), Some(Engine::Sip));
//! ```

use core::fmt::{self, Write as _};

use crate::flow::Protocol;

mod sip;

/// The most bytes that an engine remembers (rule E2).
pub const DATA_MAX: usize = 255;

/// A persistence engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Engine {
    /// `sip`: the Call-ID of a SIP message over UDP (RFC 3261 §20.8).
    Sip,
}

impl Engine {
    /// Every engine.
    pub const ALL: &[Engine] = &[Engine::Sip];

    /// Its name, as `--pe` takes it and listings show it.
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Sip => "sip",
        }
    }

    /// The engine of a name.
    pub fn of_name(name: &str) -> Option<Engine> {
        Engine::ALL.iter().copied().find(|engine| engine.name() == name)
    }

    /// What the engine reads in the payload of a packet; `None` if there is nothing, and then the
    /// packet opens no connection (rule E2).
    pub fn read(self, protocol: Protocol, payload: &[u8]) -> Option<EngineKey<'_>> {
        let data = match self {
            Engine::Sip if protocol == Protocol::UDP => sip::call_id(payload)?,
            Engine::Sip => return None,
        };
        EngineKey::new(self, data)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What an engine read, where it stands in the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EngineKey<'p> {
    engine: Engine,
    data: &'p [u8],
}

impl<'p> EngineKey<'p> {
    /// `None` unless the data is 1 to [`DATA_MAX`] bytes.
    pub fn new(engine: Engine, data: &'p [u8]) -> Option<EngineKey<'p>> {
        (1..=DATA_MAX).contains(&data.len()).then_some(EngineKey { engine, data })
    }

    /// The engine.
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// What it read; 1 to [`DATA_MAX`] bytes.
    pub const fn data(&self) -> &'p [u8] {
        self.data
    }
}

/// What an engine read, as a value of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EngineData {
    engine: Engine,
    len: u8,
    /// Zeros behind `len`.
    bytes: [u8; DATA_MAX],
}

impl EngineData {
    /// `None` unless the data is 1 to [`DATA_MAX`] bytes.
    pub fn new(engine: Engine, data: &[u8]) -> Option<EngineData> {
        EngineKey::new(engine, data).map(EngineData::from)
    }

    /// The engine.
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// What it read; 1 to [`DATA_MAX`] bytes.
    pub fn data(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The data as text of ISO 8859-1, for which the kernel takes it: one character a byte.
    pub fn text(&self) -> impl fmt::Display {
        Latin1(self.data())
    }

    /// What [`text`](EngineData::text) shows so; `None` if that is nothing an engine reads.
    pub fn of_text(engine: Engine, text: &str) -> Option<EngineData> {
        let mut bytes = [0; DATA_MAX];
        let mut len = 0;
        for c in text.chars() {
            *bytes.get_mut(len)? = u8::try_from(c).ok()?;
            len += 1;
        }
        EngineData::new(engine, &bytes[..len])
    }

    /// The same, borrowed.
    pub fn as_key(&self) -> EngineKey<'_> {
        EngineKey { engine: self.engine, data: self.data() }
    }
}

impl From<EngineKey<'_>> for EngineData {
    fn from(key: EngineKey<'_>) -> EngineData {
        let mut bytes = [0; DATA_MAX];
        bytes[..key.data.len()].copy_from_slice(key.data);
        EngineData { engine: key.engine, len: key.data.len() as u8, bytes }
    }
}

impl fmt::Debug for EngineData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.engine, self.data().escape_ascii())
    }
}

/// Text of ISO 8859-1.
struct Latin1<'t>(&'t [u8]);

impl fmt::Display for Latin1<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| f.write_char(char::from(byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn data_is_text_of_one_character_a_byte_and_back() {
        let bytes: [u8; DATA_MAX] = core::array::from_fn(|at| at as u8 + 1);
        let read = EngineData::new(Engine::Sip, &bytes).unwrap();
        assert_eq!(EngineData::of_text(Engine::Sip, &read.text().to_string()), Some(read));
        assert_eq!(read.text().to_string().chars().count(), DATA_MAX);
        assert_eq!(EngineData::of_text(Engine::Sip, ""), None);
        assert_eq!(EngineData::of_text(Engine::Sip, "n\u{142}"), None);
    }

    #[test]
    fn an_engine_is_known_by_its_exact_name() {
        assert!(Engine::ALL.iter().all(|&engine| Engine::of_name(engine.name()) == Some(engine)));
        assert_eq!(Engine::of_name("SIP"), None);
    }
}
