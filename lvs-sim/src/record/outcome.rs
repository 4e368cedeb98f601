//! What a frame the director sent means: the words of a result.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lvs_core::addr::MacAddr;
use lvs_core::flow::Endpoint;

use super::decode::{Decoded, decode};
use crate::net::{Network, OWN};
use crate::scenario::{Packet, Side};

/// A frame the director sent, as a record shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Its share of the result, such as `dr 10.1.0.2`.
    pub result: String,
    /// The line below the event, without indentation.
    pub detail: String,
}

impl Outcome {
    fn new(result: String, detail: String) -> Option<Outcome> {
        Some(Outcome { result, detail })
    }
}

const ETHERNET: usize = 14;

/// Says what a frame is that the director sent on `side`. `cause` is the packet it was sent because of.
/// `None` for a frame that records leave out: neither IP nor ARP, MLD, router solicitations.
pub fn describe(
    network: &Network,
    side: Side,
    frame: &[u8],
    cause: Option<&Packet>,
) -> Option<Outcome> {
    let interface = side.interface();
    let packet = frame.get(ETHERNET..)?;
    match (frame[12], frame[13]) {
        (0x08, 0x06) => {
            let target: [u8; 4] = packet.get(24..28)?.try_into().ok()?;
            let result = format!("arp who-has {}", Ipv4Addr::from(target));
            let detail = format!("{interface} {result}");
            return Outcome::new(result, detail);
        }
        (0x08, 0x00) => {}
        (0x86, 0xdd) if is_noise(packet) => return None,
        (0x86, 0xdd) => {}
        _ => return None,
    }
    let id = cause.map(Packet::id);
    let Some(decoded) = decode(packet, network, id) else {
        return Outcome::new("malformed".into(), format!("{interface} malformed"));
    };
    if decoded.icmp.as_deref() == Some("neighbour-solicit") {
        let target: [u8; 16] = packet.get(48..64)?.try_into().ok()?;
        let result = format!("nd who-has {}", Ipv6Addr::from(target));
        let detail = format!("{interface} {result}");
        return Outcome::new(result, detail);
    }
    let kind = match side {
        Side::Servers => servers_side(network, frame, &decoded, cause),
        Side::Clients => clients_side(&decoded, cause),
    };
    let fragment = if decoded.offset > 0 || decoded.more { " frag" } else { "" };
    let word = kind.split(' ').next().unwrap_or_default();
    let detail = format!("{interface} {word} | {}", decoded.text);
    Outcome::new(format!("{kind}{fragment}"), detail)
}

/// Multicast listener reports (behind a hop-by-hop header) and router messages.
fn is_noise(packet: &[u8]) -> bool {
    match packet.get(6) {
        Some(0) => true,
        Some(58) => matches!(packet.get(40), Some(133 | 134 | 143)),
        _ => false,
    }
}

fn servers_side(
    network: &Network,
    frame: &[u8],
    packet: &Decoded,
    cause: Option<&Packet>,
) -> String {
    let to = packet.destination;
    let own = OWN.contains(&packet.source);
    if let (true, Some(icmp), false) = (own, &packet.icmp, packet.tunnel) {
        return format!("icmp {icmp} to {to}");
    }
    let mut octets = [0; 6];
    octets.copy_from_slice(&frame[..6]);
    let mac = MacAddr(octets);
    let mut kind = match network.server_of(mac) {
        None => format!("server-side {mac}"),
        Some(server) if packet.tunnel || own && packet.offset > 0 => format!("tun {server}"),
        Some(server) => {
            let caused_to = cause.map(|cause| cause.destination.addr);
            let rewritten = to == server && caused_to != Some(server)
                || packet.offset > 0 && caused_to.is_some_and(|addr| addr != to);
            match (rewritten, packet.ports) {
                (true, Some((_, port))) => format!("nat {}", Endpoint::new(server, port)),
                (true, None) => format!("nat {server}"),
                (false, _) => format!("dr {server}"),
            }
        }
    };
    if let Some(icmp) = &packet.icmp {
        kind.push_str(" icmp ");
        kind.push_str(icmp);
    }
    kind
}

fn clients_side(packet: &Decoded, cause: Option<&Packet>) -> String {
    let from_clients = cause.is_some_and(|cause| cause.side == Side::Clients);
    if let Some(icmp) = &packet.icmp {
        return format!("icmp {icmp} to {}", packet.destination);
    }
    if packet.flags.contains('R') && from_clients {
        return "rst".to_owned();
    }
    if from_clients {
        return format!("client-side {}", packet.destination);
    }
    let end = |addr: IpAddr, port: u16| Endpoint::new(addr, port);
    match packet.ports {
        None => format!("client {}", packet.destination),
        Some((from, to)) => {
            format!("client {} > {}", end(packet.source, from), end(packet.destination, to))
        }
    }
}
