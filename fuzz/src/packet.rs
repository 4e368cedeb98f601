//! Frames from a small world, in which clients, services and servers meet often.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arbitrary::Arbitrary;
use etherparse::{Icmpv4Type, Icmpv6Type, IpNumber, PacketBuilder};
use lvs_core::addr::MacAddr;
use lvs_core::io::{Checksum, Offload, SegmentKind, Segments};
use lvs_core::wire::arp::ArpPacket;
use lvs_core::wire::checksum;
use lvs_core::wire::ethernet::VlanTags;
use lvs_core::wire::ndp;

/// The director's Ethernet address, on every port.
pub const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// Somebody else's.
pub const NEIGHBOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// Which family.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Ip {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One of the small world's hosts; numbers are taken modulo how many there are.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Host {
    /// A client, of two subnets.
    Client(u8),
    /// A virtual address.
    Virtual(u8),
    /// A real server.
    Server(u8),
    /// The director itself.
    Director,
}

impl Host {
    /// Its address.
    pub fn addr(self, ip: Ip) -> IpAddr {
        let (net, host) = match self {
            Host::Client(n) => (u16::from(10 + (n >> 2) % 2), u16::from(n % 4) + 1),
            Host::Virtual(n) => (20, u16::from(n % 3) + 1),
            Host::Server(n) => (1, u16::from(n % 5) + 2),
            Host::Director => (1, 1),
        };
        match ip {
            Ip::V4 => Ipv4Addr::new(10, net as u8, 0, host as u8).into(),
            Ip::V6 => Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host).into(),
        }
    }
}

/// Ports that mean something, few enough to meet.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Port(u8);

impl Port {
    /// The number.
    pub fn number(self) -> u16 {
        [80, 443, 21, 20, 0, 53, 40_000, 40_001][usize::from(self.0 % 8)]
    }
}

/// What an IP packet carries.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Payload {
    /// TCP with these flags.
    Tcp { from: Port, to: Port, flags: u8 },
    /// UDP.
    Udp { from: Port, to: Port },
    /// An ICMP error about a flow in the other direction.
    Error { kind: u8, code: u8, from: Port, to: Port },
    /// An echo request.
    Echo,
    /// Another protocol, one of a few.
    Other(u8),
}

/// A frame.
#[derive(Arbitrary, Clone, Debug)]
pub enum Packet {
    /// IP.
    Ip {
        /// The family.
        ip: Ip,
        /// The source.
        from: Host,
        /// The destination.
        to: Host,
        /// What it carries.
        payload: Payload,
        /// Bytes behind the transport header, in hundreds.
        hundreds: u8,
        /// TTL or hop limit.
        ttl: u8,
        /// How the bytes are changed afterwards.
        damage: Damage,
    },
    /// ARP.
    Arp {
        /// A request, otherwise a reply.
        request: bool,
        /// Who speaks.
        from: Host,
        /// To or about whom.
        to: Host,
    },
    /// A neighbour solicitation or advertisement.
    Ndp {
        /// A solicitation, otherwise an advertisement.
        solicit: bool,
        /// Who speaks.
        from: Host,
        /// To or about whom.
        to: Host,
    },
    /// Anything.
    Raw(Vec<u8>),
}

/// What is done to the bytes of a frame.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Damage {
    /// Nothing.
    None,
    /// One byte is changed.
    Byte { at: u8, to: u8 },
    /// The end is cut off.
    Cut(u8),
    /// A VLAN tag is put in.
    Tag(u16),
    /// Its IPv4 flags and fragment offset become these, with a right header checksum.
    Fragment(u16),
    /// It claims to be a super-frame with an unfinished checksum.
    Super { size: u16 },
    /// Only a part of it comes, as a fragment: so many units of 8 bytes from a place on, of few sets.
    Part { from: u8, units: u8, id: u8 },
}

impl Packet {
    /// The frame's bytes and offload metadata.
    pub fn build(&self) -> (Vec<u8>, Offload) {
        match self {
            Packet::Ip { ip, from, to, payload, hundreds, ttl, damage } => {
                let data = usize::from(hundreds % 24) * 100;
                let mut bytes = ip_packet(*ip, *from, *to, *payload, *ttl, data);
                let offload = damage.inflict(&mut bytes, *ip, *payload);
                (bytes, offload)
            }
            Packet::Arp { request, from, to } => (arp(*request, *from, *to), Offload::default()),
            Packet::Ndp { solicit, from, to } => {
                (neighbor_message(*solicit, *from, *to), Offload::default())
            }
            Packet::Raw(bytes) => (bytes.clone(), Offload::default()),
        }
    }
}

impl Damage {
    fn inflict(self, bytes: &mut Vec<u8>, ip: Ip, payload: Payload) -> Offload {
        let mut offload = Offload::default();
        match self {
            Damage::None => {}
            Damage::Byte { at, to } => {
                if let Some(byte) = bytes.get_mut(usize::from(at)) {
                    *byte = to;
                }
            }
            Damage::Cut(n) => bytes.truncate(bytes.len().saturating_sub(usize::from(n))),
            Damage::Tag(tag) => {
                let [a, b] = tag.to_be_bytes();
                bytes.splice(12..12, [0x81, 0, a, b]);
            }
            Damage::Fragment(field) => {
                if let (Ip::V4, Some(header)) = (ip, bytes.get_mut(14..34)) {
                    header[6..8].copy_from_slice(&field.to_be_bytes());
                    header[10..12].fill(0);
                    let sum = checksum::of(header);
                    header[10..12].copy_from_slice(&sum.to_be_bytes());
                }
            }
            Damage::Part { from, units, id } => part(bytes, ip, (from, units, id % 4)),
            Damage::Super { size } => {
                let l4: u16 = if matches!(ip, Ip::V4) { 34 } else { 54 };
                let (kind, header, offset) = match (payload, ip) {
                    (Payload::Tcp { .. }, Ip::V4) => (SegmentKind::Tcp4, 20, 16),
                    (Payload::Tcp { .. }, Ip::V6) => (SegmentKind::Tcp6, 20, 16),
                    _ => (SegmentKind::Udp, 8, 6),
                };
                let header_len = l4 + header;
                offload.checksum = Checksum::Partial { start: l4, offset };
                offload.segments = Some(Segments { kind, size, header_len, ecn: false });
            }
        }
        offload
    }
}

/// Turns a packet into a fragment of itself. Most packets are cut in three or four.
fn part(bytes: &mut Vec<u8>, ip: Ip, (from, units, id): (u8, u8, u8)) {
    let head = match ip {
        Ip::V4 => 34,
        Ip::V6 => 54,
    };
    let Some(payload) = bytes.get(head..).map(<[u8]>::to_vec) else { return };
    let third = (payload.len() / 3).next_multiple_of(8);
    let from = if from < 3 { usize::from(from) * third } else { usize::from(from) * 8 };
    let len = if units < 128 { third } else { usize::from(units) * 8 };
    let from = from.min(payload.len());
    let to = (from + len).min(payload.len());
    let more = to < payload.len();
    bytes.truncate(head);
    match ip {
        Ip::V4 => {
            let header = &mut bytes[14..34];
            header[2..4].copy_from_slice(&((20 + to - from) as u16).to_be_bytes());
            header[4..6].copy_from_slice(&[0, id]);
            let place = (from / 8) as u16 | if more { 0x2000 } else { 0 };
            header[6..8].copy_from_slice(&place.to_be_bytes());
            header[10..12].fill(0);
            let sum = checksum::of(header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Ip::V6 => {
            let next = std::mem::replace(&mut bytes[20], 44);
            bytes[18..20].copy_from_slice(&((8 + to - from) as u16).to_be_bytes());
            let place = (from as u16 & !7 | u16::from(more)).to_be_bytes();
            bytes.extend_from_slice(&[next, 0, place[0], place[1], 0, 0, 0, id]);
        }
    }
    bytes.extend_from_slice(&payload[from..to]);
}

fn ip_packet(ip: Ip, from: Host, to: Host, payload: Payload, ttl: u8, data: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(NEIGHBOR.0, DIRECTOR.0);
    let builder = match (from.addr(ip), to.addr(ip)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), ttl),
        (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), ttl),
        _ => unreachable!("both addresses were made for one family"),
    };
    let data = vec![0x5a; data];
    let mut bytes = Vec::new();
    let written = match payload {
        Payload::Tcp { from, to, flags } => {
            let mut builder = builder.tcp(from.number(), to.number(), 1, 1000);
            for (bit, name) in [1, 2, 4, 8, 16].into_iter().zip("fsrpa".chars()) {
                if flags & bit != 0 {
                    builder = match name {
                        'f' => builder.fin(),
                        's' => builder.syn(),
                        'r' => builder.rst(),
                        'p' => builder.psh(),
                        _ => builder.ack(1),
                    };
                }
            }
            builder.write(&mut bytes, &data)
        }
        Payload::Udp { from, to } => {
            builder.udp(from.number(), to.number()).write(&mut bytes, &data)
        }
        Payload::Error { kind, code, from: sport, to: dport } => {
            let about = Payload::Tcp { from: sport, to: dport, flags: 16 };
            let quoted = ip_packet(ip, to, from, about, 60, 0).split_off(14);
            let rest = [0; 4];
            match ip {
                Ip::V4 => {
                    let icmp =
                        Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: rest };
                    builder.icmpv4(icmp).write(&mut bytes, &quoted)
                }
                Ip::V6 => {
                    let icmp =
                        Icmpv6Type::Unknown { type_u8: kind, code_u8: code, bytes5to8: rest };
                    builder.icmpv6(icmp).write(&mut bytes, &quoted)
                }
            }
        }
        Payload::Echo => match ip {
            Ip::V4 => builder.icmpv4_echo_request(1, 2).write(&mut bytes, &data),
            Ip::V6 => builder.icmpv6_echo_request(1, 2).write(&mut bytes, &data),
        },
        Payload::Other(n) => {
            let protocol = [2, 4, 47, 132, 253][usize::from(n % 5)];
            builder.write(&mut bytes, IpNumber(protocol), &data)
        }
    };
    written.expect("writing to a vector does not fail, and the payload is short");
    bytes
}

fn arp(request: bool, from: Host, to: Host) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (from.addr(Ip::V4), to.addr(Ip::V4)) else {
        unreachable!("made for IPv4");
    };
    let (packet, dst) = match request {
        true => (ArpPacket::request(NEIGHBOR, from, to), MacAddr::BROADCAST),
        false => (ArpPacket::request(DIRECTOR, to, from).reply(NEIGHBOR), DIRECTOR),
    };
    let mut bytes = vec![0; 60];
    packet.emit_frame(&mut bytes, dst, &VlanTags::NONE);
    bytes
}

fn neighbor_message(solicit: bool, from: Host, to: Host) -> Vec<u8> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (from.addr(Ip::V6), to.addr(Ip::V6)) else {
        unreachable!("made for IPv6");
    };
    let mut bytes = vec![0; 14 + ndp::LEN];
    let (dst, len) = if solicit {
        let dst = ndp::solicited_node(to);
        let message = ndp::Solicit { target: to, source: from, source_mac: NEIGHBOR, dst };
        (ndp::multicast_mac(dst), message.emit(&mut bytes[14..]))
    } else {
        let message = ndp::Advert::answer(from, NEIGHBOR, to);
        (DIRECTOR, message.emit(&mut bytes[14..]))
    };
    bytes.truncate(14 + len);
    bytes[..6].copy_from_slice(&dst.0);
    bytes[6..12].copy_from_slice(&NEIGHBOR.0);
    bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
    bytes
}
