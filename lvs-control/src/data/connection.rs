//! Connections and templates.

use std::net::SocketAddr;

use lvs_core::engine::{Engine, EngineData};
use lvs_core::flow::Protocol;
use lvs_core::ids::FwMark;
use lvs_core::listing::ConnectionEntry;
use lvs_core::state::State;
use lvs_core::time::Duration;
use serde::{Deserialize, Serialize};

use super::DataError;
use super::text::{endpoint, protocol, socket_addr};

/// A connection, or a persistence template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Connection {
    /// Its protocol; `ip` for the template of a mark.
    #[serde(with = "protocol")]
    pub protocol: Protocol,
    /// Its state, as listings print it.
    pub state: String,
    /// The client; port 0 for a template.
    pub client: SocketAddr,
    /// The virtual address; the mark written as an address for the template of a mark.
    #[serde(rename = "virtual")]
    pub virt: SocketAddr,
    /// The real server.
    pub server: SocketAddr,
    /// Whether it is a template.
    pub template: bool,
    /// What a persistence engine read for the template; absent where there is no engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineRead>,
    /// The time left.
    pub expires_ms: u64,
    /// Since it was opened.
    pub age_ms: u64,
    /// The mark of the packet that opened it; 0 is none.
    pub mark: u32,
    /// Packets from the client; connections made, for a template.
    pub packets: u32,
    /// Bytes from the client.
    pub bytes: u64,
}

/// What a persistence engine read in a client's first datagram.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EngineRead {
    /// The engine's name.
    pub name: String,
    /// What it read, such as a Call-ID: 1 to 255 characters of ISO 8859-1.
    pub data: String,
}

impl From<&EngineData> for EngineRead {
    fn from(read: &EngineData) -> EngineRead {
        EngineRead { name: read.engine().name().to_owned(), data: read.text().to_string() }
    }
}

impl TryFrom<&EngineRead> for EngineData {
    type Error = DataError;

    fn try_from(read: &EngineRead) -> Result<EngineData, DataError> {
        let engine = Engine::of_name(&read.name)
            .ok_or_else(|| DataError(format!("{:?} is no persistence engine", read.name)))?;
        EngineData::of_text(engine, &read.data).ok_or_else(|| {
            DataError(format!(
                "{:?} is nothing that {engine} reads: 1 to 255 characters of ISO 8859-1",
                read.data
            ))
        })
    }
}

impl From<&ConnectionEntry> for Connection {
    fn from(entry: &ConnectionEntry) -> Connection {
        Connection {
            protocol: entry.protocol,
            state: entry.state.to_owned(),
            client: socket_addr(entry.client),
            virt: socket_addr(entry.virt),
            server: socket_addr(entry.destination),
            template: entry.template,
            engine: entry.engine.as_deref().map(EngineRead::from),
            expires_ms: milliseconds(entry.expires),
            age_ms: milliseconds(entry.age),
            mark: entry.mark.0,
            packets: entry.packets,
            bytes: entry.bytes,
        }
    }
}

impl TryFrom<&Connection> for ConnectionEntry {
    type Error = DataError;

    fn try_from(data: &Connection) -> Result<ConnectionEntry, DataError> {
        let state = state_name(&data.state)
            .ok_or_else(|| DataError(format!("{:?} is no state of a connection", data.state)))?;
        Ok(ConnectionEntry {
            protocol: data.protocol,
            client: endpoint(data.client),
            virt: endpoint(data.virt),
            destination: endpoint(data.server),
            state,
            expires: Duration::from_millis(data.expires_ms),
            template: data.template,
            engine: data.engine.as_ref().map(EngineData::try_from).transpose()?.map(Box::new),
            mark: FwMark(data.mark),
            packets: data.packets,
            bytes: data.bytes,
            age: Duration::from_millis(data.age_ms),
        })
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The name of a state, that of a template that holds connections included.
fn state_name(text: &str) -> Option<&'static str> {
    let states = (0..State::COUNT).filter_map(|byte| u8::try_from(byte).ok());
    let mut names = states.map(|byte| State::from_byte(byte).name()).chain(["ASSURED"]);
    names.find(|name| *name == text)
}
