//! A network of TCP peers in virtual time: clients and real servers with TCP stacks of their own, one
//! Ethernet segment, and a director on it.
//!
//! Where a [scenario](crate::scenario) says which packets come, here they come about by themselves: a
//! client resolves the virtual address by ARP, shakes hands, and its stack retransmits what is lost. The
//! stacks are smoltcp's; the director gets its frames through the in-memory backend.
//!
//! ```text
//!   client ─┐              ┌─ real server, with the VIP on an address it does not answer ARP for
//!   client ─┼─── wire ─────┤
//!  director ┘              └─ real server
//! ```
//!
//! ```
//! use lvs_core::command::{Command, DestinationSpec, ServiceKey, ServiceSpec};
//! use lvs_core::flow::{Endpoint, Protocol};
//! use lvs_core::time::Duration;
//! use lvs_sim::peers::{Answer, Lan, LanSpec, Service};
//!
//! struct Upper;
//! impl Service for Upper {
//!     fn answer(&mut self, _client: std::net::SocketAddrV4, received: &[u8]) -> Answer {
//!         Answer { consumed: received.len(), reply: received.to_ascii_uppercase() }
//!     }
//! }
//!
//! let vip = "192.168.0.1".parse().unwrap();
//! let mut lan = Lan::new(&LanSpec::new("192.168.0.254".parse().unwrap(), 16, vip)).unwrap();
//! let key = ServiceKey::Address { protocol: Protocol::TCP, virt: Endpoint::new(vip.into(), 7) };
//! lan.apply(Command::AddService(ServiceSpec::new(key))).unwrap();
//! let server = "192.168.1.2".parse().unwrap();
//! let destination = DestinationSpec::new(Endpoint::new(std::net::IpAddr::V4(server), 7));
//! lan.apply(Command::AddDestination(key, destination)).unwrap();
//!
//! let server = lan.add_station(server, &[vip]);
//! lan.listen(server, 7, Box::new(Upper)).unwrap();
//! let client = lan.add_station("192.168.7.9".parse().unwrap(), &[]);
//! let stream = lan.connect(client, 40_000, std::net::SocketAddrV4::new(vip, 7)).unwrap();
//! lan.run_for(Duration::from_secs(1));
//! lan.send(stream, b"hello").unwrap();
//! lan.run_for(Duration::from_secs(1));
//! assert_eq!(lan.receive(stream), b"HELLO");
//! ```

mod lan;
mod queue;
mod station;
mod wire;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddrV4};

use lvs_core::command::ApplyError;
use lvs_core::limits::{LimitError, Limits};
use lvs_core::time::Duration;

pub use lan::Lan;

/// What a station offers at one of its ports.
pub trait Service {
    /// What it says as soon as a client has connected; nothing, unless the protocol lets the server
    /// speak first.
    fn greet(&mut self, _client: SocketAddrV4) -> Vec<u8> {
        Vec::new()
    }

    /// What it makes of everything a client sent and it did not yet consume. Called again whenever more
    /// has come.
    fn answer(&mut self, client: SocketAddrV4, received: &[u8]) -> Answer;
}

/// What a [`Service`] made of what it received.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// How many bytes of it are dealt with and will not be shown again.
    pub consumed: usize,
    /// What to send to the client.
    pub reply: Vec<u8>,
}

/// The measures of a [`Lan`].
#[derive(Clone, Debug)]
pub struct LanSpec {
    /// The director's own address.
    pub director: Ipv4Addr,
    /// The number of network bits of all addresses of the segment.
    pub prefix_len: u8,
    /// The virtual addresses: the director answers ARP for them.
    pub virtuals: Vec<Ipv4Addr>,
    /// How long a frame is under way; at least a microsecond.
    pub latency: Duration,
    /// The director's capacities.
    pub limits: Limits,
    /// What the stacks' sequence numbers and the director's tables are made from.
    pub seed: u64,
}

impl LanSpec {
    /// A segment with one virtual address, a tenth of a millisecond from station to station, small
    /// tables.
    pub fn new(director: Ipv4Addr, prefix_len: u8, virt: Ipv4Addr) -> LanSpec {
        LanSpec {
            director,
            prefix_len,
            virtuals: vec![virt],
            latency: Duration::from_micros(100),
            limits: Limits::small(),
            seed: 0,
        }
    }
}

/// A station of a [`Lan`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StationId(usize);

/// A TCP connection as its client holds it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stream {
    station: StationId,
    handle: smoltcp::iface::SocketHandle,
}

/// How far a [`Stream`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamState {
    /// The handshake is under way.
    Opening,
    /// Both sides may send.
    Open,
    /// One side or both have said that they will send no more.
    Closing,
    /// It is over, by FIN or by RST, or never came to be.
    Closed,
}

/// Why a segment cannot be made, or a director on it refuses a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LanError {
    /// The director's capacities are wrong.
    #[error("limits: {0}")]
    Limits(#[from] LimitError),
    /// The director refuses its own addresses.
    #[error("the director's addresses were refused: {0}")]
    Addresses(#[from] ApplyError),
    /// A prefix length beyond 32.
    #[error("a prefix of {0} bits; an IPv4 address has 32")]
    PrefixLength(u8),
}

/// Why a stream or a service cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Port 0, or an address that nothing can be sent to.
    #[error("{0} is no address that a client can connect to or a server can listen at")]
    Unaddressable(SocketAddrV4),
    /// The stream is not open for sending.
    #[error("the connection cannot take anything to be sent")]
    NotOpen,
    /// More than the stack's buffer takes before the peer has received.
    #[error("only {taken} of {given} bytes fit the send buffer")]
    Full {
        /// How many bytes were taken.
        taken: usize,
        /// How many were given.
        given: usize,
    },
}
