//! What the parser makes of frames: good ones by kind, bad ones by reason, and all of them against
//! etherparse.

mod bad_input;
mod oracle;

use std::vec::Vec;

use etherparse::{IpFragOffset, Ipv4Header, Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header};
use etherparse::{IpHeaders, IpNumber, PacketBuilder, TcpHeader, VlanHeader};

use super::*;
use crate::flow::Endpoint;
use crate::wire::checksum;

pub(super) const MAC_A: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const MAC_B: [u8; 6] = [2, 0, 0, 0, 0, 2];

pub(super) fn ipv4_header() -> Ipv4Header {
    Ipv4Header::new(0, 64, IpNumber(0), [192, 0, 2, 7], [10, 0, 0, 1]).unwrap()
}

pub(super) fn ipv6_header() -> Ipv6Header {
    Ipv6Header {
        hop_limit: 64,
        source: "2001:db8::7".parse::<core::net::Ipv6Addr>().unwrap().octets(),
        destination: "2001:db8:1::1".parse::<core::net::Ipv6Addr>().unwrap().octets(),
        ..Ipv6Header::default()
    }
}

pub(super) fn ipv4() -> IpHeaders {
    IpHeaders::Ipv4(ipv4_header(), Default::default())
}

pub(super) fn ipv6() -> IpHeaders {
    IpHeaders::Ipv6(ipv6_header(), Default::default())
}

/// A frame with a TCP segment.
pub(super) fn tcp(ip: IpHeaders, payload: &[u8]) -> Vec<u8> {
    let mut tcp = TcpHeader::new(40000, 80, 1, 512);
    tcp.syn = true;
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(MAC_A, MAC_B).ip(ip).tcp_header(tcp);
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// A frame with any bytes behind the IP headers.
pub(super) fn raw(ip: IpHeaders, protocol: Protocol, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(MAC_A, MAC_B).ip(ip);
    builder.write(&mut frame, IpNumber(protocol.0), payload).unwrap();
    frame
}

/// Makes the header checksum of an untagged IPv4 frame right again.
pub(super) fn fix_checksum(frame: &mut [u8]) {
    let end = 14 + usize::from(frame[14] & 0xf) * 4;
    frame[24..26].fill(0);
    let sum = checksum::of(&frame[14..end]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

pub(super) fn headers(frame: &[u8]) -> Headers {
    match parse(frame) {
        Parsed::Ip(headers) => headers,
        other => panic!("{other:?}"),
    }
}

fn endpoint(addr: &str, port: u16) -> Endpoint {
    Endpoint::new(addr.parse().unwrap(), port)
}

#[test]
fn a_tcp_packet_gives_its_flow_offsets_and_flags() {
    let headers = headers(&tcp(ipv4(), b"hello"));
    let flow = FlowKey::new(Protocol::TCP, endpoint("192.0.2.7", 40000), endpoint("10.0.0.1", 80));
    assert_eq!(
        headers,
        Headers {
            family: Family::V4,
            tags: VlanTags::NONE,
            l3: 14,
            l4: 34,
            ip_len: 45,
            protocol: Protocol::TCP,
            ttl: 64,
            tos: 0,
            dont_fragment: true,
            fragment: None,
            l4_header: L4::Tcp { flags: TcpFlags::SYN, header_len: 20 },
            flow,
        }
    );
    assert_eq!(headers.src(), endpoint("192.0.2.7", 0).addr);
    assert_eq!(headers.dst(), endpoint("10.0.0.1", 0).addr);
    assert_eq!(headers.end(), 14 + 45);
}

#[test]
fn padding_behind_a_short_packet_does_not_count() {
    let mut frame = tcp(ipv4(), b"");
    assert_eq!(frame.len(), 54);
    frame.resize(60, 0xee);
    assert_eq!(headers(&frame).ip_len, 40);
    // A segment must fit the packet, not only the frame: this one claims options in the padding.
    frame[46] = 6 << 4;
    assert!(matches!(parse(&frame), Parsed::Malformed(DropReason::TcpHeaderLength)));
}

#[test]
fn an_icmp_packet_has_no_ports_but_type_and_code() {
    let headers = headers(&raw(ipv4(), Protocol::ICMP, &[3, 4, 0, 0, 0, 0, 5, 0x78]));
    assert_eq!(headers.l4_header, L4::Icmp { kind: 3, code: 4 });
    assert_eq!(headers.flow.client_port().0, 0);
}

#[test]
fn icmp_of_the_other_family_is_no_icmp() {
    assert_eq!(headers(&raw(ipv6(), Protocol::ICMP, &[8, 0])).l4_header, L4::Other);
    assert_eq!(headers(&raw(ipv4(), Protocol::ICMPV6, &[128])).l4_header, L4::Other);
}

#[test]
fn an_sctp_packet_gives_its_ports() {
    let mut header = [0; 12];
    header[..4].copy_from_slice(&[0x9c, 0x40, 0x00, 0x50]);
    let headers = headers(&raw(ipv6(), Protocol::SCTP, &header));
    assert!(matches!(headers.l4_header, L4::Sctp(_)));
    assert_eq!((headers.flow.client_port().0, headers.flow.virtual_port().0), (40000, 80));
}

#[test]
fn arp_is_recognised_behind_a_tag() {
    let tags = VlanTags::single(ethernet::TPID_8021Q, 100);
    let mut buf = [0; 64];
    let dst = crate::addr::MacAddr::BROADCAST;
    let at = ethernet::emit_header(&mut buf, dst, dst, &tags, ethernet::ARP);
    match parse(&buf) {
        Parsed::Arp { tags: found, l3 } => assert_eq!((found, usize::from(l3)), (tags, at)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn other_ethertypes_and_802_3_lengths_are_left_alone() {
    for ethertype in [0x0026u16, 0x88cc, 0x8847, 0x86de] {
        let mut frame = tcp(ipv4(), b"");
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        assert!(matches!(parse(&frame), Parsed::Other(PassReason::NotIp)), "{ethertype:04x}");
    }
}

fn ipv4_fragment(offset: u16, more: bool) -> IpHeaders {
    let header = Ipv4Header {
        identification: 0x4321,
        dont_fragment: false,
        more_fragments: more,
        fragment_offset: IpFragOffset::try_new(offset / 8).unwrap(),
        ..ipv4_header()
    };
    IpHeaders::Ipv4(header, Default::default())
}

fn ipv6_fragment(offset: u16, more: bool) -> IpHeaders {
    let offset = IpFragOffset::try_new(offset / 8).unwrap();
    let fragment = Ipv6FragmentHeader::new(IpNumber(0), offset, more, 0x1234_5678);
    let exts = Ipv6Extensions { fragment: Some(fragment), ..Default::default() };
    IpHeaders::Ipv6(ipv6_header(), exts)
}

#[test]
fn a_first_fragment_shows_its_ports_and_a_later_one_does_not() {
    for (ip, id, payload) in
        [(ipv4_fragment as fn(u16, bool) -> _, 0x4321, 34), (ipv6_fragment, 0x1234_5678, 62)]
    {
        let first = headers(&tcp(ip(0, true), &[0; 12]));
        assert_eq!(first.fragment, Some(FragmentInfo { offset: 0, id, payload, more: true }));
        assert!(matches!(first.l4_header, L4::Tcp { .. }));
        assert_eq!(first.flow.virtual_port().0, 80);

        let later = headers(&tcp(ip(1480, false), &[0; 5]));
        assert_eq!(later.fragment, Some(FragmentInfo { offset: 1480, id, payload, more: false }));
        assert_eq!((later.l4, later.l4_header), (payload, L4::Fragment));
        assert_eq!((later.flow.client_port().0, later.flow.virtual_port().0), (0, 0));
        assert_eq!(later.protocol, Protocol::TCP);
    }
}

#[test]
fn an_ipv4_first_fragment_may_be_too_short_for_its_transport_header() {
    let headers = headers(&raw(ipv4_fragment(0, true), Protocol::TCP, &[0; 8]));
    assert_eq!(headers.l4_header, L4::Fragment);
}

#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    let headers = headers(&tcp(ipv6_fragment(0, false), b""));
    assert_eq!(headers.fragment, None);
    assert_eq!((headers.l4, headers.flow.virtual_port().0), (62, 80));
}

#[test]
fn a_super_frame_without_a_length_reaches_to_its_end() {
    let mut v4 = tcp(ipv4(), &[7; 3000]);
    v4[16..18].fill(0);
    fix_checksum(&mut v4);
    let mut v6 = tcp(ipv6(), &[7; 3000]);
    v6[18..20].fill(0);
    for (frame, as_single) in [(v4, DropReason::Ipv4TotalLength), (v6, DropReason::TcpTruncated)] {
        match parse_super(&frame) {
            Parsed::Ip(headers) => assert_eq!(headers.end(), frame.len()),
            other => panic!("{other:?}"),
        }
        assert!(matches!(parse(&frame), Parsed::Malformed(reason) if reason == as_single));
    }
}

#[test]
fn an_error_may_answer_only_a_packet_between_two_hosts_that_is_no_error_itself() {
    let echo = [8, 0, 0, 0, 0, 0, 0, 0];
    let unreachable = [3, 3, 0, 0, 0, 0, 0, 0];
    let echo6 = [128, 0, 0, 0, 0, 0, 0, 0];
    let too_big = [2, 0, 0, 0, 0, 0, 5, 0];
    let ask = |frame: &[u8]| headers(frame).may_be_answered_with_error();
    assert!(ask(&tcp(ipv4(), b"")));
    assert!(ask(&raw(ipv4(), Protocol::ICMP, &echo)));
    assert!(!ask(&raw(ipv4(), Protocol::ICMP, &unreachable)));
    assert!(ask(&raw(ipv6(), Protocol::ICMPV6, &echo6)));
    assert!(!ask(&raw(ipv6(), Protocol::ICMPV6, &too_big)));
    assert!(ask(&tcp(ipv4_fragment(0, true), &[0; 12])));
    assert!(!ask(&tcp(ipv4_fragment(8, false), &[0; 12])));
    let group = Ipv4Header { destination: [224, 0, 0, 1], ..ipv4_header() };
    assert!(!ask(&tcp(IpHeaders::Ipv4(group, Default::default()), b"")));
}

#[test]
fn a_quoted_packet_may_end_behind_its_ports() {
    for (ip, family, l4) in [(ipv4(), Family::V4, 20), (ipv6(), Family::V6, 40)] {
        let frame = tcp(ip, b"payload");
        let whole = headers(&frame);
        let packet = &frame[14..];
        for len in l4 + 4..=packet.len() {
            let quoted = parse_quoted(&packet[..len], family).unwrap();
            assert_eq!((quoted.flow, quoted.l4), (whole.flow, l4), "{len} bytes");
        }
        for len in 0..l4 + 4 {
            assert_eq!(parse_quoted(&packet[..len], family), None, "{len} bytes");
        }
        let other = if family == Family::V4 { Family::V6 } else { Family::V4 };
        assert_eq!(parse_quoted(packet, other), None);
    }
}

#[test]
fn a_quoted_later_fragment_has_no_ports() {
    for (ip, family) in
        [(ipv4_fragment(1480, true), Family::V4), (ipv6_fragment(1480, true), Family::V6)]
    {
        let frame = tcp(ip, &[0; 12]);
        let quoted = parse_quoted(&frame[14..], family).unwrap();
        assert_eq!((quoted.fragment, quoted.flow.virtual_port().0), (Some(1480), 0));
    }
}

#[test]
fn a_tagged_frame_is_the_same_packet_further_back() {
    let plain = headers(&tcp(ipv6(), b"x"));
    let vlan = VlanHeader::Single(etherparse::SingleVlanHeader {
        vlan_id: etherparse::VlanId::try_new(100).unwrap(),
        ..Default::default()
    });
    let mut frame = Vec::new();
    let tcp = TcpHeader { syn: true, ..TcpHeader::new(40000, 80, 1, 512) };
    let builder = PacketBuilder::ethernet2(MAC_A, MAC_B).vlan(vlan).ip(ipv6()).tcp_header(tcp);
    builder.write(&mut frame, b"x").unwrap();
    let tagged = headers(&frame);
    assert_eq!(tagged.tags.ids(), [100, 0]);
    assert_eq!((tagged.l3, tagged.l4), (plain.l3 + 4, plain.l4 + 4));
    assert_eq!(tagged.flow, plain.flow);
}
