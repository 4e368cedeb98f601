//! TCP, UDP, SCTP and ICMP of a scenario's packets.

use std::net::IpAddr;

use etherparse::checksum::Sum16BitWords;
use etherparse::{IpNumber, TcpHeader, UdpHeader};

use super::ip;
use crate::scenario::{Body, IcmpKind, Packet, PacketOptions, Quoted};

/// What is added to a TCP checksum, by exclusive or, to make it wrong.
const WRONG_CHECKSUM: u16 = 0x5555;
/// The identifier and the sequence number of an echo message.
const ECHO: [u8; 4] = [0, 77, 0, 1];
/// The most bytes of a packet that an ICMP error quotes: 576 bytes in all for IPv4 (RFC 1812 §4.3.2.3),
/// 1,280 for IPv6 (RFC 4443 §2.4).
const QUOTE_MAX: [usize; 2] = [548, 1232];

/// The transport segment of a packet, with its protocol.
pub(super) fn segment(packet: &Packet) -> (IpNumber, Vec<u8>) {
    let options = packet.options;
    match &packet.body {
        Body::Tcp { flags } => (IpNumber::TCP, tcp(packet, *flags)),
        Body::Udp => (IpNumber::UDP, udp(packet)),
        Body::Sctp { chunk } => (IpNumber::SCTP, sctp(packet, *chunk)),
        Body::Icmp { kind, quoted } => icmp(packet, *kind, quoted.as_deref(), options),
    }
}

/// What is written out, or `ABC…Z` over and over.
fn payload(packet: &Packet) -> Vec<u8> {
    let letters = || (b'A'..=b'Z').cycle().take(packet.options.len).collect();
    packet.data.clone().unwrap_or_else(letters)
}

fn tcp(packet: &Packet, flags: u8) -> Vec<u8> {
    let options = packet.options;
    let has = |bit: u8| flags >> bit & 1 == 1;
    let mut header = TcpHeader::new(
        packet.source.port.0,
        packet.destination.port.0,
        options.seq.unwrap_or(1000),
        u16::MAX,
    );
    header.acknowledgment_number = options.ack.unwrap_or(if has(4) { 2000 } else { 0 });
    header.fin = has(0);
    header.syn = has(1);
    header.rst = has(2);
    header.psh = has(3);
    header.ack = has(4);
    header.urg = has(5);
    header.ece = has(6);
    header.cwr = has(7);
    let payload = payload(packet);
    let checksum = match (packet.source.addr, packet.destination.addr) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            header.calc_checksum_ipv4_raw(a.octets(), b.octets(), &payload)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            header.calc_checksum_ipv6_raw(a.octets(), b.octets(), &payload)
        }
        // The parser refuses packets whose ends are of different families.
        _ => Ok(0),
    };
    // The payload is far below the length at which the computation refuses.
    header.checksum = checksum.unwrap_or(0) ^ if options.bad_checksum { WRONG_CHECKSUM } else { 0 };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(&payload);
    bytes
}

fn udp(packet: &Packet) -> Vec<u8> {
    let payload = payload(packet);
    let (from, to) = (packet.source.port.0, packet.destination.port.0);
    let header = match (packet.source.addr, packet.destination.addr) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            UdpHeader::with_ipv4_checksum(from, to, &ipv4(a, b), &payload)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            UdpHeader::with_ipv6_checksum(from, to, &ipv6(a, b), &payload)
        }
        // The parser refuses packets whose ends are of different families.
        _ => UdpHeader::without_ipv4_checksum(from, to, payload.len()),
    };
    // The payload is far below the length at which the computation refuses.
    let Ok(header) = header else { return Vec::new() };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend_from_slice(&payload);
    bytes
}

/// A header that carries the addresses for the pseudo header.
fn ipv4(a: std::net::Ipv4Addr, b: std::net::Ipv4Addr) -> etherparse::Ipv4Header {
    etherparse::Ipv4Header {
        source: a.octets(),
        destination: b.octets(),
        ..etherparse::Ipv4Header::default()
    }
}

/// A header that carries the addresses for the pseudo header.
fn ipv6(a: std::net::Ipv6Addr, b: std::net::Ipv6Addr) -> etherparse::Ipv6Header {
    etherparse::Ipv6Header {
        source: a.octets(),
        destination: b.octets(),
        ..etherparse::Ipv6Header::default()
    }
}

/// A common header and one chunk (RFC 9260 §3), with the values of the recordings.
fn sctp(packet: &Packet, chunk: u8) -> Vec<u8> {
    let payload = payload(packet);
    let or = |default: &[u8]| if payload.is_empty() { default.to_vec() } else { payload.clone() };
    let body = match chunk {
        // INIT, INIT ACK: tag 7, window 65535, one stream each way, first number 1.
        1 | 2 => vec![0, 0, 0, 7, 0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1],
        // DATA: number 1, stream 0, sequence 0, protocol 0.
        0 => [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], or(b"data").as_slice()].concat(),
        // SACK of number 1.
        3 => vec![0, 0, 0, 1, 0, 0, 0xff, 0xff, 0, 0, 0, 0],
        // SHUTDOWN up to number 1.
        7 => vec![0, 0, 0, 1],
        10 => or(b"cook"),
        _ => payload,
    };
    let verification_tag: u32 = if chunk == 1 { 0 } else { 9 };
    let chunk_flags = if chunk == 0 { 3 } else { 0 };
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&packet.source.port.0.to_be_bytes());
    bytes.extend_from_slice(&packet.destination.port.0.to_be_bytes());
    bytes.extend_from_slice(&verification_tag.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[chunk, chunk_flags]);
    bytes.extend_from_slice(&((4 + body.len()) as u16).to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let crc = crate::record::sctp_crc(&bytes);
    bytes[8..12].copy_from_slice(&crc);
    bytes
}

/// Type and code of an ICMP message.
fn icmp_type(kind: IcmpKind, v6: bool, options: PacketOptions) -> (u8, u8) {
    let ty = match (kind, v6) {
        (IcmpKind::Unreach, false) | (IcmpKind::TooBig, false) => 3,
        (IcmpKind::Unreach, true) => 1,
        (IcmpKind::Ttl, false) => 11,
        (IcmpKind::Ttl, true) => 3,
        (IcmpKind::Quench, false) => 4,
        (IcmpKind::Redirect, false) => 5,
        (IcmpKind::Param, false) => 12,
        (IcmpKind::Param, true) => 4,
        (IcmpKind::Echo, false) => 8,
        (IcmpKind::Echo, true) => 128,
        (IcmpKind::EchoReply, false) => 0,
        (IcmpKind::EchoReply, true) => 129,
        // Quench and redirect do not exist for IPv6; the recordings send "packet too big".
        (IcmpKind::TooBig | IcmpKind::Quench | IcmpKind::Redirect, true) => 2,
    };
    let code = match kind {
        IcmpKind::Unreach if options.mtu.is_some() || v6 => 4,
        IcmpKind::Unreach => 3,
        IcmpKind::TooBig if !v6 => 4,
        _ => 0,
    };
    (ty, options.code.unwrap_or(code))
}

fn icmp(
    packet: &Packet,
    kind: IcmpKind,
    quoted: Option<&Quoted>,
    options: PacketOptions,
) -> (IpNumber, Vec<u8>) {
    let v6 = packet.source.addr.is_ipv6();
    let (ty, code) = icmp_type(kind, v6, options);
    let mut bytes = vec![ty, code, 0, 0];
    if matches!(kind, IcmpKind::Echo | IcmpKind::EchoReply) {
        bytes.extend_from_slice(&ECHO);
        bytes.extend_from_slice(&payload(packet));
    } else {
        bytes.extend_from_slice(&options.mtu.unwrap_or(0).to_be_bytes());
        if let Some(quoted) = quoted {
            let mut quote = ip::quoted(quoted);
            quote.truncate(QUOTE_MAX[usize::from(v6)]);
            bytes.extend_from_slice(&quote);
        }
    }
    let sum = match (packet.source.addr, packet.destination.addr) {
        (IpAddr::V6(a), IpAddr::V6(b)) => Sum16BitWords::new()
            .add_16bytes(a.octets())
            .add_16bytes(b.octets())
            .add_4bytes((bytes.len() as u32).to_be_bytes())
            .add_2bytes([0, IpNumber::IPV6_ICMP.0]),
        _ => Sum16BitWords::new(),
    };
    // The sum is kept in the byte order of memory, so its bytes are those of the wire.
    let checksum = sum.add_slice(&bytes).ones_complement().to_ne_bytes();
    bytes[2..4].copy_from_slice(&checksum);
    (if v6 { IpNumber::IPV6_ICMP } else { IpNumber::ICMP }, bytes)
}
