//! From bytes to the header fields of a record.
//!
//! Packets are read as leniently as a quote in an ICMP error demands: a transport header may be cut off
//! after the ports.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::checksum::Sum16BitWords;
use lvs_core::flow::Protocol;

use crate::net::{Network, OWN};
use crate::scenario::{SCTP_CHUNKS, TCP_FLAGS};

/// What the classification of a packet needs to know.
#[derive(Clone, Debug)]
pub(super) struct Decoded {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) ports: Option<(u16, u16)>,
    /// TCP flags or the SCTP chunk.
    pub(super) flags: String,
    /// The name of an ICMP message.
    pub(super) icmp: Option<String>,
    pub(super) tunnel: bool,
    /// Offset of a fragment, in bytes.
    pub(super) offset: usize,
    pub(super) more: bool,
    /// The packet as the record shows it.
    pub(super) text: String,
}

/// How a packet is looked at.
#[derive(Clone, Copy)]
struct View<'a> {
    network: &'a Network,
    /// IP identification of the packet that caused this one.
    id: Option<u16>,
    /// Within an ICMP error, possibly cut off.
    quoted: bool,
    /// Within a fragment, so checksums cannot be told.
    part: bool,
}

/// The fields of an IP header that both families share.
struct Layer<'a> {
    v6: bool,
    protocol: Protocol,
    body: &'a [u8],
}

/// Reads an IP packet; `None` if it is cut off within its IP header.
pub(super) fn decode(packet: &[u8], network: &Network, id: Option<u16>) -> Option<Decoded> {
    ip(packet, View { network, id, quoted: false, part: false })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn ip(raw: &[u8], view: View<'_>) -> Option<Decoded> {
    let (mut decoded, layer) = match raw.first()? >> 4 {
        4 => ipv4(raw, view)?,
        _ => ipv6(raw, view)?,
    };
    if decoded.offset > 0 || decoded.more {
        let more = if decoded.more { "+" } else { "" };
        let _ = write!(decoded.text, " frag={}{more}", decoded.offset);
    }
    if decoded.offset > 0 {
        let (protocol, len) = (layer.protocol.0, layer.body.len());
        let _ = write!(decoded.text, " | fragment of proto {protocol}, {len} bytes");
        return Some(decoded);
    }
    let view = View { part: view.part || decoded.more, ..view };
    transport(&mut decoded, &layer, view)?;
    Some(decoded)
}

fn ipv4<'a>(raw: &'a [u8], view: View<'_>) -> Option<(Decoded, Layer<'a>)> {
    let header_len = usize::from(raw.first()? & 15) * 4;
    let total = usize::from(u16_at(raw, 2)?);
    let (id, flags) = (u16_at(raw, 4)?, u16_at(raw, 6)?);
    let source = Ipv4Addr::from_bits(u32_at(raw, 12)?);
    let destination = Ipv4Addr::from_bits(u32_at(raw, 16)?);
    let (tos, ttl, protocol) = (raw[1], raw[8], Protocol(raw[9]));
    let end = if view.quoted { raw.len() } else { total.min(raw.len()) };
    let body = raw.get(header_len..end).unwrap_or(&[]);
    let id_text = match id {
        0 => "0",
        id if Some(id) == view.id => "in",
        _ => "new",
    };
    let df = u8::from(flags & 0x4000 != 0);
    let mut text = format!(
        "ip4 {source} > {destination} ttl={ttl} tos=0x{tos:02x} df={df} id={id_text} len={total}"
    );
    let header = &raw[..header_len.min(raw.len())];
    if Sum16BitWords::new().add_slice(header).ones_complement() != 0 {
        text.push_str(" ipcsum=BAD");
    }
    if !view.quoted && !view.part && raw.len() < total {
        text.push_str(" TRUNCATED");
    }
    let mut decoded = Decoded::new(source.into(), destination.into(), text);
    decoded.offset = usize::from(flags & 0x1fff) * 8;
    decoded.more = flags & 0x2000 != 0;
    Some((decoded, Layer { v6: false, protocol, body }))
}

fn ipv6<'a>(raw: &'a [u8], view: View<'_>) -> Option<(Decoded, Layer<'a>)> {
    let first = u32_at(raw, 0)?;
    let payload = usize::from(u16_at(raw, 4)?);
    let (mut protocol, hop_limit) = (Protocol(*raw.get(6)?), *raw.get(7)?);
    let addr = |at: usize| -> Option<Ipv6Addr> {
        let octets: [u8; 16] = raw.get(at..at + 16)?.try_into().ok()?;
        Some(octets.into())
    };
    let (source, destination) = (addr(8)?, addr(24)?);
    let end = if view.quoted { raw.len() } else { (40 + payload).min(raw.len()) };
    let mut body = raw.get(40..end).unwrap_or(&[]);
    let (tc, total) = (first >> 20 & 255, payload + 40);
    let text = format!("ip6 {source} > {destination} hlim={hop_limit} tc=0x{tc:02x} len={total}");
    let mut decoded = Decoded::new(source.into(), destination.into(), text);
    if protocol.0 == 44 {
        let place = u16_at(body, 2)?;
        protocol = Protocol(*body.first()?);
        decoded.offset = usize::from(place & 0xfff8);
        decoded.more = place & 1 == 1;
        body = body.get(8..)?;
    }
    Some((decoded, Layer { v6: true, protocol, body }))
}

impl Decoded {
    fn new(source: IpAddr, destination: IpAddr, text: String) -> Decoded {
        Decoded {
            source,
            destination,
            ports: None,
            flags: String::new(),
            icmp: None,
            tunnel: false,
            offset: 0,
            more: false,
            text,
        }
    }

    /// Whether the sum over pseudo header and `body` is right.
    fn sum_is_right(&self, protocol: Protocol, body: &[u8]) -> bool {
        let sum = match (self.source, self.destination) {
            (IpAddr::V4(a), IpAddr::V4(b)) => Sum16BitWords::new()
                .add_4bytes(a.octets())
                .add_4bytes(b.octets())
                .add_2bytes((body.len() as u16).to_be_bytes()),
            (IpAddr::V6(a), IpAddr::V6(b)) => Sum16BitWords::new()
                .add_16bytes(a.octets())
                .add_16bytes(b.octets())
                .add_4bytes((body.len() as u32).to_be_bytes()),
            _ => return false,
        };
        sum.add_2bytes([0, protocol.0]).add_slice(body).ones_complement() == 0
    }

    /// Takes over what is told about the packet in a tunnel.
    fn carry(&mut self, inner: &Decoded) {
        self.tunnel = true;
        self.text.push_str(" | ");
        self.text.push_str(&inner.text);
    }
}

fn ok(right: bool) -> &'static str {
    if right { "ok" } else { "BAD" }
}

/// `None` if something within a tunnel or quote is cut off where no quote may be.
fn transport(decoded: &mut Decoded, layer: &Layer<'_>, view: View<'_>) -> Option<()> {
    let (body, protocol) = (layer.body, layer.protocol);
    let whole = !view.part && !view.quoted;
    match protocol {
        Protocol::TCP if body.len() >= 8 => tcp(decoded, body, whole)?,
        Protocol::UDP if body.len() >= 8 => udp(decoded, body, whole, view)?,
        Protocol(4 | 41) if body.len() >= 20 => {
            decoded.text.push_str(" | ipip");
            decoded.carry(&ip(body, view)?);
        }
        Protocol(47) if body.len() >= 4 => gre(decoded, body, view)?,
        Protocol::SCTP if body.len() >= 13 => sctp(decoded, body, whole)?,
        Protocol::ICMP | Protocol::ICMPV6 if body.len() >= 8 => {
            icmp(decoded, layer, whole, view)?;
        }
        _ => {
            let _ = write!(decoded.text, " | proto {}, {} bytes", protocol.0, body.len());
        }
    }
    Some(())
}

/// Records write SYN before FIN, otherwise as the bits go.
const FLAG_ORDER: [usize; 8] = [1, 0, 2, 3, 4, 5, 6, 7];

fn tcp(decoded: &mut Decoded, body: &[u8], whole: bool) -> Option<()> {
    let (from, to) = (u16_at(body, 0)?, u16_at(body, 2)?);
    decoded.ports = Some((from, to));
    decoded.flags = match body.get(13) {
        None => "?".to_owned(),
        Some(0) => ".".to_owned(),
        Some(flags) => {
            let set = |bit: &usize| flags >> bit & 1 == 1;
            FLAG_ORDER.into_iter().filter(set).map(|bit| char::from(TCP_FLAGS[bit])).collect()
        }
    };
    let _ = write!(decoded.text, " | tcp {from} > {to} {}", decoded.flags);
    if whole {
        let right = decoded.sum_is_right(Protocol::TCP, body);
        let _ = write!(decoded.text, " csum={}", ok(right));
    }
    Some(())
}

fn udp(decoded: &mut Decoded, body: &[u8], whole: bool, view: View<'_>) -> Option<()> {
    let (from, to) = (u16_at(body, 0)?, u16_at(body, 2)?);
    decoded.ports = Some((from, to));
    let checksum = match u16_at(body, 6)? {
        0 => "none",
        _ => ok(decoded.sum_is_right(Protocol::UDP, body)),
    };
    let is_gue = view.network.is_gue_port(to)
        && !view.quoted
        && body.len() > 12
        && body[8] >> 6 <= 1
        && OWN.contains(&decoded.source);
    if is_gue {
        let gue = &body[8..];
        let (control, len) = (gue[0] >> 5 & 1, usize::from(gue[0] & 31) * 4);
        let (carried, flags) = (gue[1], u16_at(gue, 2)?);
        let checksum = if whole { checksum } else { "frag" };
        let _ = write!(
            decoded.text,
            " | udp sport=var > {to} csum={checksum} | gue ctl={control} hlen={len} proto={carried} \
             flags=0x{flags:04x}"
        );
        if len > 0 {
            decoded.text.push_str(" opt=");
            for byte in gue.get(4..4 + len)? {
                let _ = write!(decoded.text, "{byte:02x}");
            }
        }
        decoded.carry(&ip(gue.get(4 + len..)?, view)?);
        return Some(());
    }
    let _ = write!(decoded.text, " | udp {from} > {to}");
    if whole {
        let _ = write!(decoded.text, " csum={checksum}");
    }
    Some(())
}

fn gre(decoded: &mut Decoded, body: &[u8], view: View<'_>) -> Option<()> {
    let (flags, carried) = (u16_at(body, 0)?, u16_at(body, 2)?);
    let _ = write!(decoded.text, " | gre flags=0x{flags:04x} proto=0x{carried:04x}");
    let mut header = 4;
    if flags & 0x8000 != 0 {
        header = 8;
        let checksum = match view.part {
            true => "frag",
            false => ok(Sum16BitWords::new().add_slice(body).ones_complement() == 0),
        };
        let _ = write!(decoded.text, " csum={checksum}");
    }
    decoded.carry(&ip(body.get(header..)?, view)?);
    Some(())
}

fn sctp(decoded: &mut Decoded, body: &[u8], whole: bool) -> Option<()> {
    let (from, to) = (u16_at(body, 0)?, u16_at(body, 2)?);
    let chunk = *body.get(12)?;
    decoded.flags = SCTP_CHUNKS
        .iter()
        .find(|(_, number)| *number == chunk)
        .map_or_else(|| chunk.to_string(), |(name, _)| (*name).to_owned());
    decoded.ports = Some((from, to));
    let _ = write!(decoded.text, " | sctp {from} > {to} {}", decoded.flags);
    if whole {
        let zeroed = [&body[..8], &[0; 4], &body[12..]].concat();
        let _ = write!(decoded.text, " crc={}", ok(super::sctp_crc(&zeroed) == body[8..12]));
    }
    Some(())
}

fn icmp(decoded: &mut Decoded, layer: &Layer<'_>, whole: bool, view: View<'_>) -> Option<()> {
    let body = layer.body;
    let (ty, code) = (*body.first()?, *body.get(1)?);
    let name = icmp_name(layer.v6, ty, code);
    let _ = write!(decoded.text, " | icmp {name}");
    if name == "frag-needed" || name == "too-big" {
        let _ = write!(decoded.text, " mtu={}", u32_at(body, 4)?);
    }
    decoded.icmp = Some(name);
    if whole {
        let right = if layer.v6 {
            decoded.sum_is_right(layer.protocol, body)
        } else {
            Sum16BitWords::new().add_slice(body).ones_complement() == 0
        };
        let _ = write!(decoded.text, " csum={}", ok(right));
    }
    let is_error = if layer.v6 { ty < 128 } else { matches!(ty, 3 | 4 | 5 | 11 | 12) };
    if is_error {
        let quoted = body.get(8..).and_then(|quote| ip(quote, View { quoted: true, ..view }));
        let text = quoted.as_ref().map_or("short", |quoted| quoted.text.as_str());
        let _ = write!(decoded.text, " quoting {{ {text} }}");
    }
    Some(())
}

/// The name of an ICMP message in records.
fn icmp_name(v6: bool, ty: u8, code: u8) -> String {
    let name = match (v6, ty, code) {
        (false, 0, _) | (true, 129, _) => "echo-reply",
        (false, 3, 0) => "net-unreach",
        (false, 3, 1) => "host-unreach",
        (false, 3, 2) => "proto-unreach",
        (false, 3, 3) | (true, 1, 4) => "port-unreach",
        (false, 3, 4) => "frag-needed",
        (false, 3, 5) => "source-route",
        (false, 3, 9) => "net-prohibited",
        (false, 3, 10) => "host-prohibited",
        (false, 3, 13) | (true, 1, 1) => "admin-prohibited",
        (false, 4, _) => "source-quench",
        (false, 5, _) => "redirect",
        (false, 8, _) | (true, 128, _) => "echo",
        (false, 11, _) | (true, 3, _) => "time-exceeded",
        (false, 12, _) | (true, 4, _) => "param-problem",
        (true, 1, 0) => "no-route",
        (true, 1, 3) => "addr-unreach",
        (true, 2, _) => "too-big",
        (true, 135, _) => "neighbour-solicit",
        (true, 136, _) => "neighbour-advert",
        (false, 3, code) | (true, 1, code) => return format!("unreach-{code}"),
        (false, ty, code) => return format!("icmp-{ty}-{code}"),
        (true, ty, code) => return format!("icmp6-{ty}-{code}"),
    };
    name.to_owned()
}
