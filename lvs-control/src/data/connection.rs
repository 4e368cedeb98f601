//! Connections and templates.

use std::net::SocketAddr;

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

impl From<&ConnectionEntry> for Connection {
    fn from(entry: &ConnectionEntry) -> Connection {
        Connection {
            protocol: entry.protocol,
            state: entry.state.to_owned(),
            client: socket_addr(entry.client),
            virt: socket_addr(entry.virt),
            server: socket_addr(entry.destination),
            template: entry.template,
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
