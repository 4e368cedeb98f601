//! From the packets of a scenario to the frames on the wire.
//!
//! What a line leaves open has fixed values, the same as in the recordings: payload `ABC…Z` over and
//! over, sequence number 1000, acknowledgement number 2000, window 65,535, echo identifier 77, IP
//! identification 0x1234 (fragments 0x4321).

mod ip;
mod transport;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use etherparse::{EtherType, Ethernet2Header};

use crate::net::{GATEWAY_MAC, station_mac};
use crate::scenario::{Packet, Side};

/// IP identification of a packet that gives none.
pub const ID: u16 = 0x1234;
/// IP identification of a fragmented packet that gives none.
pub const FRAGMENT_ID: u16 = 0x4321;

impl Packet {
    /// The IP identification that the packet carries.
    pub fn id(&self) -> u16 {
        self.options.id.unwrap_or(if self.fragments.is_some() { FRAGMENT_ID } else { ID })
    }

    /// The Ethernet frames of the packet, in the order they come in; several for a `frag` packet.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let source = match self.side {
            Side::Clients => GATEWAY_MAC,
            Side::Servers => station_mac(self.source.addr),
        };
        let ether_type = match self.source.addr {
            IpAddr::V4(_) => EtherType::IPV4,
            IpAddr::V6(_) => EtherType::IPV6,
        };
        let header =
            Ethernet2Header { source: source.0, destination: self.side.mac().0, ether_type };
        ip::packets(self)
            .into_iter()
            .map(|packet| {
                let mut frame = header.to_bytes().to_vec();
                frame.extend_from_slice(&packet);
                frame
            })
            .collect()
    }
}
