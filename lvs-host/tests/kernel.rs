//! The stand-in against the real thing: the same packets go to the stack of a Linux host, and both must
//! say the same, byte for byte.

use std::fmt::Write as _;
use std::time::Duration;

use etherparse::{
    IpFragOffset, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, TcpHeader, UdpHeader,
};
use lvs_core::addr::MacAddr;
use lvs_core::command::IcmpPacing;
use lvs_core::drop::PassReason;
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, Verdict};
use lvs_core::pace::Pacer;
use lvs_core::parse::{Parsed, parse};
use lvs_core::time::Instant;
use lvs_core::wire::checksum;
use lvs_host::StandIn;
use lvs_testnet::{Net, PacketSocket, describe};

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const CLIENT4: [u8; 4] = [10, 77, 0, 150];
const CLIENT6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x50];
const VIP4: [u8; 4] = [10, 77, 0, 200];
const VIP6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0];

/// A host with the VIPs and nothing that listens, and a peer that sends and sees whole frames.
struct Kernel {
    _net: Net,
    wire: PacketSocket,
    mac: [u8; 6],
    marker: u16,
}

impl Kernel {
    fn new() -> Kernel {
        let mut net = Net::one_armed(0);
        net.give_vip_to_director(0);
        let host = net.director();
        for (name, value) in [
            ("net.ipv4.icmp_ratemask", "0"),
            ("net.ipv6.icmp.ratemask", ""),
            ("net.ipv6.icmp.ratelimit", "0"),
            ("net.ipv6.auto_flowlabels", "0"),
        ] {
            host.set_sysctl(name, value);
        }
        host.ip("neigh add 10.77.0.150 lladdr 02:00:00:00:00:07 dev eth0");
        host.ip("-6 neigh add fd77::150 lladdr 02:00:00:00:00:07 dev eth0");
        let mac = host.mac("eth0");
        let wire = PacketSocket::open(net.add_peer("peer"), "eth0");
        Kernel { _net: net, wire, mac, marker: 0 }
    }

    /// What the host answers to a frame: a marker is sent behind it, and comes back after any answer.
    fn answer(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        self.marker += 1;
        let marker = self.marker.to_be_bytes();
        let mut echo = Vec::new();
        PacketBuilder::ethernet2(CLIENT_MAC, self.mac)
            .ipv4(CLIENT4, VIP4, 64)
            .icmpv4_echo_request(0xbeef, self.marker)
            .write(&mut echo, &[])
            .unwrap();
        self.wire.send(frame);
        self.wire.send(&echo);
        let mut answers = Vec::new();
        loop {
            let to_us = |bytes: &[u8]| bytes.starts_with(&CLIENT_MAC);
            let seen = self.wire.receive_where(Duration::from_secs(5), to_us);
            let seen = seen.expect("the host answers the marker");
            let is_marker = seen.get(34..42).is_some_and(|icmp| {
                icmp[0] == 0 && icmp[4..6] == [0xbe, 0xef] && icmp[6..8] == marker
            });
            if is_marker {
                assert!(answers.len() <= 1, "{} answers", answers.len());
                return answers.pop();
            }
            answers.push(seen);
        }
    }
}

/// What the stand-in answers.
fn our_answer(frame: &[u8], mac: [u8; 6]) -> Option<Vec<u8>> {
    let Parsed::Ip(headers) = parse(frame) else { return None };
    let pacing = IcmpPacing { enabled: false, ..IcmpPacing::default() };
    let mut stand_in = StandIn::new(Pacer::new(1, pacing));
    let mut slot = vec![0; 128 + frame.len()];
    slot[128..].copy_from_slice(frame);
    let mut slot = Frame::new(&mut slot, 128, frame.len(), PortId(3));
    slot.verdict = Verdict::Pass(PassReason::NoService);
    let answer = stand_in.answer(Instant::from_secs(1), &mut slot, &headers, MacAddr(mac));
    match answer {
        Some(_) => {
            assert_eq!(slot.verdict, Verdict::Reply(PortId(3)));
            Some(slot.bytes().to_vec())
        }
        None => {
            assert_eq!(slot.verdict, Verdict::Pass(PassReason::NoService));
            assert_eq!(slot.bytes(), frame, "an unanswered frame stays as it is");
            None
        }
    }
}

/// Sets the identification of an IPv4 packet without DF to 0: each host has a count of its own.
fn without_ident(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] == [8, 0] && frame[20] & 0x40 == 0 {
        frame[18..20].fill(0);
        frame[24..26].fill(0);
        let sum = checksum::of(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// Finishes the checksum of an IPv6 reset, which the kernel leaves to the network card (default offloads).
fn with_finished_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] == [0x86, 0xdd] && frame[20] == 6 {
        frame[70..72].fill(0);
        let protocol = lvs_core::flow::Protocol::TCP;
        let sum = checksum::transport(VIP6.into(), CLIENT6.into(), protocol, &frame[54..]);
        frame[70..72].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

fn hex(frame: &Option<Vec<u8>>) -> String {
    let Some(frame) = frame else { return "silence".to_owned() };
    let mut text = describe(frame);
    for (i, byte) in frame.iter().enumerate() {
        let _ = write!(text, "{}{byte:02x}", if i % 16 == 0 { "\n    " } else { " " });
    }
    text
}

/// A packet to the VIP: IP header, then transport header and payload with the right checksum.
#[derive(Clone)]
struct Packet {
    v6: bool,
    protocol: u8,
    tos: u8,
    /// IPv6 extension headers, or IPv4 options, between the fixed header and the segment.
    between: Vec<u8>,
    segment: Vec<u8>,
    fragment: u16,
    df: bool,
}

impl Packet {
    fn new(v6: bool, protocol: u8, segment: Vec<u8>) -> Packet {
        Packet { v6, protocol, tos: 0, between: Vec::new(), segment, fragment: 0, df: true }
    }

    fn frame(&self, mac: [u8; 6]) -> Vec<u8> {
        let mut frame = [mac, CLIENT_MAC].concat();
        if self.v6 {
            let header = Ipv6Header {
                traffic_class: self.tos,
                payload_length: (self.between.len() + self.segment.len()) as u16,
                // A destination options header is the only thing that stands between.
                next_header: IpNumber(if self.between.is_empty() { self.protocol } else { 60 }),
                hop_limit: 61,
                source: CLIENT6,
                destination: VIP6,
                ..Ipv6Header::default()
            };
            frame.extend([0x86, 0xdd]);
            frame.extend(header.to_bytes());
            frame.extend(&self.between);
        } else {
            let mut header = Ipv4Header::new(
                self.segment.len() as u16,
                61,
                IpNumber(self.protocol),
                CLIENT4,
                VIP4,
            )
            .unwrap();
            header.options = self.between[..].try_into().unwrap();
            header.total_len = (header.header_len() + self.segment.len()) as u16;
            header.identification = 0x1234;
            header.dont_fragment = self.df;
            header.fragment_offset = IpFragOffset::try_new(self.fragment).unwrap();
            frame.extend([8, 0]);
            header.write(&mut frame).unwrap();
        }
        frame.extend(&self.segment);
        frame
    }
}

/// Puts the checksum of a segment in place.
fn summed(v6: bool, protocol: u8, at: usize, mut segment: Vec<u8>) -> Vec<u8> {
    segment[at..at + 2].fill(0);
    let protocol = lvs_core::flow::Protocol(protocol);
    let sum = if v6 {
        checksum::transport(CLIENT6.into(), VIP6.into(), protocol, &segment)
    } else {
        checksum::transport(CLIENT4.into(), VIP4.into(), protocol, &segment)
    };
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn tcp(v6: bool, flags: &str, payload: &[u8]) -> Packet {
    let mut header = TcpHeader::new(40000, 81, 0x0102_0304, 512);
    header.acknowledgment_number = 0x0a0b_0c0d;
    header.syn = flags.contains('S');
    header.ack = flags.contains('A');
    header.fin = flags.contains('F');
    header.rst = flags.contains('R');
    header.psh = flags.contains('P');
    header.urg = flags.contains('U');
    let segment = [header.to_bytes().to_vec(), payload.to_vec()].concat();
    Packet::new(v6, 6, summed(v6, 6, 16, segment))
}

fn udp(v6: bool, len: usize) -> Packet {
    let header =
        UdpHeader { source_port: 40000, destination_port: 81, length: 8 + len as u16, checksum: 0 };
    let segment = [header.to_bytes().to_vec(), vec![0x5a; len]].concat();
    Packet::new(v6, 17, summed(v6, 17, 6, segment))
}

fn icmp(v6: bool, kind: u8, len: usize) -> Packet {
    let mut segment = vec![kind, 0, 0, 0, 0x12, 0x34, 0, 9];
    segment.extend((0..len).map(|i| i as u8));
    if v6 {
        return Packet::new(v6, 58, summed(v6, 58, 2, segment));
    }
    let sum = checksum::of(&segment);
    segment[2..4].copy_from_slice(&sum.to_be_bytes());
    Packet::new(v6, 1, segment)
}

fn spoilt(mut packet: Packet, at: usize) -> Packet {
    packet.segment[at] ^= 0x55;
    packet
}

/// A destination options header with padding (RFC 8200 §4.6), or two IPv4 "no operation"s and an end of
/// options, in front of a packet.
fn with_options(mut packet: Packet) -> Packet {
    packet.between =
        if packet.v6 { vec![packet.protocol, 0, 1, 4, 0, 0, 0, 0] } else { vec![1, 1, 1, 0] };
    packet
}

fn with_tos(mut packet: Packet, tos: u8) -> Packet {
    packet.tos = tos;
    packet
}

fn cases(v6: bool) -> Vec<(String, Packet)> {
    let mut cases = Vec::new();
    for flags in ["S", "A", "PA", "FA", "F", "R", "SR", "RA", "SA", "SF", ".", "U", "P"] {
        for payload in [&b""[..], b"payload", b"even"] {
            let what = format!("tcp {flags} with {} bytes", payload.len());
            cases.push((what, tcp(v6, flags, payload)));
        }
    }
    cases.push(("tcp with a wrong checksum".into(), spoilt(tcp(v6, "S", b""), 16)));
    cases.push(("tcp behind options".into(), with_options(tcp(v6, "S", b""))));
    for len in [0, 1, 5, 512, 520, 521, 1184, 1185, 1400] {
        cases.push((format!("udp with {len} bytes"), udp(v6, len)));
    }
    cases.push(("udp with a wrong checksum".into(), spoilt(udp(v6, 5), 6)));
    let mut none = udp(v6, 5);
    none.segment[6..8].fill(0);
    cases.push(("udp without a checksum".into(), none));
    let mut short = udp(v6, 5);
    short.segment.extend([9; 20]);
    cases.push(("udp shorter than its packet".into(), short));
    let mut long = udp(v6, 5);
    long.segment[5] += 1;
    let long = Packet { segment: summed(v6, 17, 6, long.segment), ..long };
    cases.push(("udp longer than its packet".into(), long));
    let mut tiny = udp(v6, 5);
    tiny.segment[4..6].copy_from_slice(&7u16.to_be_bytes());
    cases.push(("udp shorter than its header".into(), tiny));
    cases.push(("udp behind options".into(), with_options(udp(v6, 5))));
    let (request, reply) = if v6 { (128, 129) } else { (8, 0) };
    for len in [0, 1, 8, 56, 1400] {
        cases.push((format!("echo with {len} bytes"), icmp(v6, request, len)));
    }
    cases.push(("echo with a wrong checksum".into(), spoilt(icmp(v6, request, 8), 3)));
    cases.push(("an echo reply".into(), icmp(v6, reply, 8)));
    let errors: &[u8] = if v6 { &[1, 2, 3, 4] } else { &[3, 4, 5, 11, 12] };
    for kind in errors {
        cases.push((format!("icmp error {kind}"), icmp(v6, *kind, 48)));
    }
    cases.push((
        "sctp init".into(),
        Packet::new(v6, 132, vec![0x9c, 0x40, 0, 81, 0, 0, 0, 0, 1, 2, 3, 4, 1, 0, 0, 4]),
    ));
    cases.push(("a protocol for experiments".into(), Packet::new(v6, 253, vec![7; 30])));
    if v6 {
        cases.push(("no next header".into(), Packet::new(v6, 59, vec![7; 30])));
        let sctp = Packet::new(v6, 132, vec![1; 16]);
        cases.push(("sctp behind options".into(), with_options(sctp)));
    } else {
        cases.push(("igmp".into(), Packet::new(v6, 2, vec![0x16; 8])));
        let middle = Packet { fragment: 3, df: false, ..tcp(v6, "S", b"1234") };
        cases.push(("a later fragment".into(), middle));
        cases
            .push(("tcp that may be fragmented".into(), Packet { df: false, ..tcp(v6, "S", b"") }));
    }
    for tos in [0x10, 0xb8, 0x03, 0xff] {
        cases.push((format!("tcp with tos {tos:#x}"), with_tos(tcp(v6, "S", b""), tos)));
        cases.push((format!("udp with tos {tos:#x}"), with_tos(udp(v6, 5), tos)));
        cases.push((format!("echo with tos {tos:#x}"), with_tos(icmp(v6, request, 8), tos)));
    }
    cases
}

fn compare(v6: bool) {
    let mut kernel = Kernel::new();
    let mut differences = String::new();
    let (mut answered, mut silent) = (0, 0);
    for (what, packet) in cases(v6) {
        let frame = packet.frame(kernel.mac);
        let theirs = kernel.answer(&frame).map(without_ident).map(with_finished_checksum);
        let ours = our_answer(&frame, kernel.mac).map(without_ident);
        *(if theirs.is_some() { &mut answered } else { &mut silent }) += 1;
        if ours != theirs {
            let _ = writeln!(
                differences,
                "{what}:\n  the kernel: {}\n  we: {}",
                hex(&theirs),
                hex(&ours)
            );
        }
    }
    assert!(differences.is_empty(), "{differences}");
    assert!(answered > 40 && silent > 15, "{answered} answered, {silent} not");
}

#[test]
fn ipv4_answers_are_those_of_the_kernel() {
    compare(false);
}

#[test]
fn ipv6_answers_are_those_of_the_kernel() {
    compare(true);
}
