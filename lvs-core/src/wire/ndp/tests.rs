//! Neighbour messages written, read back, and refused where RFC 4861 §7.1 says so.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const OURS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
const THEIRS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0x1234, 0x5678);
const MALFORMED: Result<NdpMessage, DropReason> = Err(DropReason::NdpMalformed);

fn solicit(source: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
    let mut buf = vec![0; LEN];
    let len = Solicit { target: THEIRS, source, source_mac: MAC, dst }.emit(&mut buf);
    buf.truncate(len);
    buf
}

fn advert(advert: Advert) -> Vec<u8> {
    let mut buf = vec![0; LEN];
    assert_eq!(advert.emit(&mut buf), LEN);
    buf
}

/// Makes the ICMPv6 checksum right again, and the payload length.
fn fixed(mut packet: Vec<u8>) -> Vec<u8> {
    let len = (packet.len() - 40) as u16;
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    packet[42..44].fill(0);
    let header: [u8; 40] = packet[..40].try_into().unwrap();
    let (src, dst) = (ipv6::src(&header).into(), ipv6::dst(&header).into());
    let sum = checksum::transport(src, dst, Protocol::ICMPV6, &packet[40..]);
    packet[42..44].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn solicited_node_addresses_and_their_macs_follow_from_the_address() {
    let group = solicited_node(THEIRS);
    assert_eq!(group, "ff02::1:ff34:5678".parse::<Ipv6Addr>().unwrap());
    assert_eq!(multicast_mac(group), MacAddr([0x33, 0x33, 0xff, 0x34, 0x56, 0x78]));
    assert_eq!(multicast_mac(ALL_NODES), MacAddr([0x33, 0x33, 0, 0, 0, 1]));
}

#[test]
fn a_solicitation_reads_back_as_written() {
    let packet = solicit(OURS, solicited_node(THEIRS));
    assert_eq!(packet.len(), LEN);
    let expected = NdpMessage::Solicit { target: THEIRS, source: OURS, source_mac: Some(MAC) };
    assert_eq!(parse(&packet, 40), Ok(expected));
}

#[test]
fn a_solicitation_without_source_leaves_out_the_mac() {
    let packet = solicit(Ipv6Addr::UNSPECIFIED, solicited_node(THEIRS));
    assert_eq!(packet.len(), LEN - 8);
    let source = Ipv6Addr::UNSPECIFIED;
    let expected = NdpMessage::Solicit { target: THEIRS, source, source_mac: None };
    assert_eq!(parse(&packet, 40), Ok(expected));
}

#[test]
fn an_answer_and_an_announcement_read_back_as_written() {
    let answer = Advert::answer(OURS, MAC, THEIRS);
    let announcement = Advert::unsolicited(OURS, MAC);
    assert_eq!(Advert::answer(OURS, MAC, Ipv6Addr::UNSPECIFIED), announcement);
    for (written, solicited) in [(answer, true), (announcement, false)] {
        let expected =
            NdpMessage::Advert { target: OURS, mac: Some(MAC), solicited, override_: true };
        assert_eq!(parse(&advert(written), 40), Ok(expected));
    }
}

#[test]
fn etherparse_finds_the_checksum_right() {
    for packet in [solicit(OURS, solicited_node(THEIRS)), advert(Advert::answer(OURS, MAC, THEIRS))]
    {
        let read = etherparse::SlicedPacket::from_ip(&packet).unwrap();
        let Some(etherparse::TransportSlice::Icmpv6(icmp)) = read.transport else {
            panic!("{read:?}");
        };
        let Some(etherparse::NetSlice::Ipv6(ip)) = read.net else { panic!("{:?}", read.net) };
        assert_eq!(ip.header().hop_limit(), 255);
        assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
    }
}

#[test]
fn what_rfc_4861_says_to_discard_is_malformed() {
    let solicitation = || solicit(OURS, solicited_node(THEIRS));
    let changed = |mut packet: Vec<u8>, at: usize, value: u8| {
        packet[at] = value;
        packet
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("hop limit", fixed(changed(solicitation(), 7, 254))),
        ("code", fixed(changed(solicitation(), 41, 1))),
        ("checksum", changed(solicitation(), 71, 0xee)),
        ("multicast target", fixed(changed(solicitation(), 48, 0xff))),
        ("option of length 0", fixed(changed(solicitation(), 65, 0))),
        ("option beyond the end", fixed(changed(solicitation(), 65, 2))),
        ("group address", fixed(changed(solicitation(), 66, 3))),
        ("cut off", fixed(solicitation()[..60].to_vec())),
        ("unspecified source, destination not solicited-node", {
            solicit(Ipv6Addr::UNSPECIFIED, ALL_NODES)
        }),
        ("unspecified source with its address", {
            let mut packet = solicitation();
            packet[8..24].fill(0);
            fixed(packet)
        }),
        ("solicited advertisement to a group", {
            let mut solicited = Advert::unsolicited(OURS, MAC);
            solicited.solicited = true;
            advert(solicited)
        }),
    ];
    for (name, packet) in cases {
        assert_eq!(parse(&packet, 40), MALFORMED, "{name}");
    }
}

#[test]
fn an_advertisement_without_a_mac_is_read() {
    let packet = fixed(advert(Advert::answer(OURS, MAC, THEIRS))[..64].to_vec());
    let expected = NdpMessage::Advert { target: OURS, mac: None, solicited: true, override_: true };
    assert_eq!(parse(&packet, 40), Ok(expected));
}

#[test]
fn options_that_are_not_known_are_skipped() {
    let mut packet = solicit(OURS, solicited_node(THEIRS));
    packet.extend([14, 1, 1, 2, 3, 4, 5, 6]);
    let expected = NdpMessage::Solicit { target: THEIRS, source: OURS, source_mac: Some(MAC) };
    assert_eq!(parse(&fixed(packet), 40), Ok(expected));
}

#[test]
fn other_icmpv6_is_left_to_others() {
    for kind in [1, 128, 133, 134, 137, 143] {
        let mut packet = solicit(OURS, ALL_NODES);
        packet[40] = kind;
        assert_eq!(parse(&packet, 40), Ok(NdpMessage::Other), "{kind}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..150),
        kind in 133u8..138,
        l4 in 0usize..64,
    ) {
        let _ = parse(&bytes, l4);
        // Most never come past the checksum: so make it right.
        let mut packet = solicit(OURS, ALL_NODES)[..40].to_vec();
        packet.extend([kind, 0, 0, 0]);
        packet.extend(&bytes);
        let _ = parse(&fixed(packet), 40);
    }
}
