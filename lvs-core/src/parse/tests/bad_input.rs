//! Each kind of bad frame and the reason it is dropped for.

use std::vec;
use std::vec::Vec;

use etherparse::{Ipv4Header, Ipv6Header};

use super::*;

#[track_caller]
fn dropped(frame: &[u8], reason: DropReason) {
    match parse(frame) {
        Parsed::Malformed(found) => assert_eq!(found, reason),
        other => panic!("expected {reason}, found {other:?}"),
    }
}

/// A good frame with some bytes replaced; the IPv4 header checksum follows.
fn with(mut frame: Vec<u8>, changes: &[(usize, u8)]) -> Vec<u8> {
    for &(at, value) in changes {
        frame[at] = value;
    }
    if frame[12..14] == [0x08, 0x00] {
        fix_checksum(&mut frame);
    }
    frame
}

/// An IPv6 frame whose next header is `first` and whose payload is `payload`.
fn extended(first: u8, payload: &[u8]) -> Vec<u8> {
    with(raw(ipv6(), Protocol(59), payload), &[(20, first)])
}

#[test]
fn a_frame_cut_off_anywhere_names_the_header_that_is_short() {
    let v4 = tcp(ipv4(), b"");
    let v6 = tcp(ipv6(), b"");
    for len in 0..v4.len() {
        let expected = match len {
            0..14 => DropReason::EthernetTruncated,
            14..34 => DropReason::Ipv4Truncated,
            _ => DropReason::Ipv4TotalLength,
        };
        dropped(&v4[..len], expected);
    }
    for len in 0..v6.len() {
        let expected = match len {
            0..14 => DropReason::EthernetTruncated,
            14..54 => DropReason::Ipv6Truncated,
            _ => DropReason::Ipv6PayloadLength,
        };
        dropped(&v6[..len], expected);
    }
}

#[test]
fn vlan_tags_that_are_cut_off_or_too_many_are_dropped() {
    let frame = tcp(ipv4(), b"");
    let tagged = |count: usize| {
        let mut tagged = frame[..12].to_vec();
        for _ in 0..count {
            tagged.extend([0x81, 0x00, 0x00, 0x64]);
        }
        tagged.extend(&frame[12..]);
        tagged
    };
    assert_eq!(headers(&tagged(2)).tags.len(), 2);
    dropped(&tagged(3), DropReason::VlanTooDeep);
    dropped(&tagged(200), DropReason::VlanTooDeep);
    for len in 14..20 {
        dropped(&tagged(2)[..len], DropReason::VlanTruncated);
    }
    dropped(&tagged(2)[..22], DropReason::Ipv4Truncated);
}

#[test]
fn a_version_that_contradicts_the_ethertype_is_dropped() {
    for version in [0, 5, 6, 15] {
        dropped(&with(tcp(ipv4(), b""), &[(14, version << 4 | 5)]), DropReason::Ipv4Version);
    }
    for version in [0, 4, 7, 15] {
        dropped(&with(tcp(ipv6(), b""), &[(14, version << 4)]), DropReason::Ipv6Version);
    }
}

#[test]
fn lying_ipv4_lengths_are_dropped() {
    for ihl in 0..5 {
        let mut frame = tcp(ipv4(), b"");
        frame[14] = 0x40 | ihl;
        dropped(&frame, DropReason::Ipv4HeaderLength);
    }
    // A header of 60 bytes in a packet of 40.
    dropped(&with(tcp(ipv4(), &[0; 20]), &[(14, 0x4f), (17, 40)]), DropReason::Ipv4TotalLength);
    let mut frame = tcp(ipv4(), b"");
    frame[14] = 0x4f;
    dropped(&frame, DropReason::Ipv4HeaderLength);
    // A total length of 19, and one byte more than there is.
    dropped(&with(tcp(ipv4(), b""), &[(16, 0), (17, 19)]), DropReason::Ipv4TotalLength);
    dropped(&with(tcp(ipv4(), b""), &[(16, 0), (17, 41)]), DropReason::Ipv4TotalLength);
    dropped(&with(tcp(ipv4(), b""), &[(16, 0xff), (17, 0xff)]), DropReason::Ipv4TotalLength);
}

#[test]
fn a_wrong_ipv4_checksum_is_dropped() {
    for at in [15, 18, 22, 24, 25, 26, 33] {
        let mut frame = tcp(ipv4(), b"");
        frame[at] ^= 0x40;
        dropped(&frame, DropReason::Ipv4Checksum);
    }
    // An error in the options counts as well.
    let header = Ipv4Header { options: [1, 1, 1, 0].into(), ..ipv4_header() };
    let mut frame = tcp(IpHeaders::Ipv4(header, Default::default()), b"");
    assert_eq!(headers(&frame).l4, 38);
    frame[35] = 7;
    dropped(&frame, DropReason::Ipv4Checksum);
}

#[test]
fn addresses_that_no_packet_on_a_wire_has_are_dropped() {
    let v4 = |source: [u8; 4], destination: [u8; 4]| {
        let header = Ipv4Header { source, destination, ..ipv4_header() };
        tcp(IpHeaders::Ipv4(header, Default::default()), b"")
    };
    let host = [192, 0, 2, 7];
    for bad in [[0; 4], [127, 0, 0, 1], [127, 255, 0, 1], [224, 0, 0, 1], [239, 1, 1, 1], [255; 4]]
    {
        dropped(&v4(bad, host), DropReason::MartianAddress);
    }
    for bad in [[0; 4], [127, 0, 0, 1]] {
        dropped(&v4(host, bad), DropReason::MartianAddress);
    }
    // A host asking for its address (DHCP), IGMP, and the reserved addresses that Linux lets pass.
    for (src, dst) in [
        ([0; 4], [255; 4]),
        ([0; 4], [224, 0, 0, 22]),
        ([240, 0, 0, 1], host),
        ([0, 0, 0, 1], host),
    ] {
        assert_eq!(headers(&v4(src, dst)).family, Family::V4);
    }

    let v6 = |source: &str, destination: &str| {
        let octets = |addr: &str| addr.parse::<core::net::Ipv6Addr>().unwrap().octets();
        let (source, destination) = (octets(source), octets(destination));
        let header = Ipv6Header { source, destination, ..ipv6_header() };
        tcp(IpHeaders::Ipv6(header, Default::default()), b"")
    };
    let host = "2001:db8::7";
    for (src, dst) in [("::1", host), (host, "::1"), (host, "::"), ("::", host), ("ff02::1", host)]
    {
        dropped(&v6(src, dst), DropReason::MartianAddress);
    }
    assert_eq!(headers(&v6("::", "ff02::1:ff00:7")).family, Family::V6);
}

#[test]
fn transport_headers_that_are_cut_off_are_dropped() {
    let cases = [
        (Protocol::TCP, 20, DropReason::TcpTruncated),
        (Protocol::UDP, 8, DropReason::UdpTruncated),
        (Protocol::SCTP, 12, DropReason::SctpTruncated),
    ];
    for (protocol, header_len, reason) in cases {
        for len in 0..header_len {
            dropped(&raw(ipv4(), protocol, &vec![0x50; len]), reason);
            dropped(&raw(ipv6(), protocol, &vec![0x50; len]), reason);
        }
    }
    for len in 0..8 {
        dropped(&raw(ipv4(), Protocol::ICMP, &vec![0; len]), DropReason::IcmpTruncated);
        dropped(&raw(ipv6(), Protocol::ICMPV6, &vec![0; len]), DropReason::IcmpTruncated);
    }
}

#[test]
fn a_tcp_data_offset_below_twenty_or_beyond_the_segment_is_dropped() {
    for (base, l4) in [(tcp(ipv4(), b"123"), 34), (tcp(ipv6(), b"123"), 54)] {
        for words in [0, 4, 6, 15] {
            dropped(&with(base.clone(), &[(l4 + 12, words << 4)]), DropReason::TcpHeaderLength);
        }
    }
}

#[test]
fn a_udp_length_is_left_to_the_receiver() {
    for len in [0u16, 7, 9, 1000] {
        let mut datagram = [0; 8];
        datagram[4..6].copy_from_slice(&len.to_be_bytes());
        assert_eq!(headers(&raw(ipv4(), Protocol::UDP, &datagram)).l4_header, L4::Udp);
    }
}

#[test]
fn an_extension_header_that_is_cut_off_is_dropped() {
    for kind in [0, 43, 44, 51, 60] {
        for len in 0..8 {
            dropped(&extended(kind, &vec![59; len]), DropReason::Ipv6ExtensionTruncated);
        }
    }
    // Lengths that pass the end of the packet: in units of 8 bytes, and of 4 for AH.
    for (kind, units) in [(0, 1), (43, 255), (60, 2), (51, 3)] {
        let mut header = [0; 16];
        header[..2].copy_from_slice(&[59, units]);
        let len = if kind == 51 { 16 } else { 8 };
        dropped(&extended(kind, &header[..len]), DropReason::Ipv6ExtensionTruncated);
    }
}

#[test]
fn a_chain_of_extension_headers_that_leads_nowhere_is_dropped() {
    let chain = |kind: u8, count: usize| {
        let mut payload = Vec::new();
        for i in 0..count {
            payload.extend([if i + 1 == count { 59 } else { kind }, 0, 1, 4, 0, 0, 0, 0]);
        }
        extended(kind, &payload)
    };
    for kind in [43, 60] {
        assert_eq!(headers(&chain(kind, 8)).protocol, Protocol(59));
        dropped(&chain(kind, 9), DropReason::Ipv6ExtensionChain);
        dropped(&chain(kind, 100), DropReason::Ipv6ExtensionChain);
    }
    // Hop-by-hop options that name themselves as what follows.
    dropped(&chain(0, 2), DropReason::Ipv6ExtensionChain);
    // Hop-by-hop options behind destination options.
    dropped(
        &extended(60, &[0, 0, 1, 4, 0, 0, 0, 0, 59, 0, 1, 4, 0, 0, 0, 0]),
        DropReason::Ipv6ExtensionChain,
    );
}

#[test]
fn fragments_that_cannot_be_put_together_are_dropped() {
    // No multiple of 8 although more follow; beyond 65,535 bytes.
    for ip in [ipv4_fragment as fn(u16, bool) -> _, ipv6_fragment] {
        dropped(&raw(ip(8, true), Protocol::UDP, &[0; 12]), DropReason::FragmentMalformed);
        dropped(&raw(ip(65_528, false), Protocol::UDP, &[0; 100]), DropReason::FragmentMalformed);
        assert!(headers(&raw(ip(8, false), Protocol::UDP, &[0; 13])).fragment.is_some());
    }
}

#[test]
fn a_fragment_without_any_bytes_is_dropped_in_ipv6_and_seen_in_ipv4() {
    for more in [false, true] {
        dropped(&raw(ipv6_fragment(8, more), Protocol::UDP, &[]), DropReason::FragmentMalformed);
        assert!(headers(&raw(ipv4_fragment(8, more), Protocol::UDP, &[])).fragment.is_some());
    }
}

#[test]
fn an_ipv6_first_fragment_must_hold_its_transport_header() {
    // RFC 8200 §4.5: the first fragment holds all headers.
    dropped(&raw(ipv6_fragment(0, true), Protocol::TCP, &[0; 8]), DropReason::TcpTruncated);
}

#[test]
fn an_ipv6_payload_beyond_the_frame_is_dropped() {
    dropped(&with(tcp(ipv6(), b""), &[(19, 21)]), DropReason::Ipv6PayloadLength);
    dropped(&with(tcp(ipv6(), b""), &[(18, 0xff)]), DropReason::Ipv6PayloadLength);
}
