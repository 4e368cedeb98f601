//! What is let in, and why the rest is not.

use std::net::SocketAddr;

use etherparse::PacketBuilder;
use lvs_core::command::{Tunnel, TunnelChecksum};
use lvs_core::forward::tunnel;
use lvs_core::ids::L4Port;
use lvs_core::wire::checksum::Sum;
use proptest::prelude::*;

use super::*;

const VIP4: &str = "192.0.2.80";
const VIP6: &str = "2001:db8::80";
const CLIENT4: &str = "198.51.100.7";
const CLIENT6: &str = "2001:db8:1::7";

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn policy() -> Policy {
    Policy {
        directors: vec![Prefix::host(addr("10.0.0.1")), Prefix::host(addr("fd00::1"))],
        virtuals: vec![addr(VIP4), addr(VIP6)],
        gue_port: Some(6080),
    }
}

fn outer(carrier: Carrier) -> Outer {
    Outer { src: addr("10.0.0.1"), dst: addr("10.1.0.11"), tos: 0, carrier }
}

/// A TCP segment of a client's.
fn segment(client: &str, virt: &str) -> Vec<u8> {
    packet(client, virt, b"hello")
}

fn packet(client: &str, virt: &str, payload: &[u8]) -> Vec<u8> {
    let (src, dst) = (SocketAddr::new(addr(client), 4242), SocketAddr::new(addr(virt), 80));
    let builder = match (src.ip(), dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => PacketBuilder::ipv4(src.octets(), dst.octets(), 63),
        (IpAddr::V6(src), IpAddr::V6(dst)) => PacketBuilder::ipv6(src.octets(), dst.octets(), 63),
        _ => unreachable!(),
    };
    let mut bytes = Vec::new();
    builder.tcp(src.port(), dst.port(), 1, 1000).write(&mut bytes, payload).unwrap();
    bytes
}

/// Opens a payload and returns the packet inside.
fn try_open(outer: &Outer, payload: &[u8]) -> Result<(Vec<u8>, Inside), Refusal> {
    let mut buffer = vec![0xaa; HEADROOM];
    buffer.extend(payload);
    let range = HEADROOM..buffer.len();
    let inside = open(&policy(), outer, &mut buffer, range)?;
    Ok((buffer[inside.at.clone()].to_vec(), inside))
}

fn refusal(outer: &Outer, payload: &[u8]) -> Refusal {
    try_open(outer, payload).expect_err("it must not be let in")
}

/// What the director's own code wraps, from its outer header on.
fn wrap(inner: &[u8], src: &str, dst: &str, kind: Tunnel) -> Vec<u8> {
    let family = if inner[0] >> 4 == 4 { Family::V4 } else { Family::V6 };
    let (src, dst) = (addr(src), addr(dst));
    let mut bytes = vec![0; tunnel::overhead(Family::of(dst), kind)];
    bytes.extend(inner);
    let spec = tunnel::Outer {
        src,
        dst,
        tunnel: kind,
        ttl: 63,
        tos: 0,
        dont_fragment: true,
        ident: 0,
        flow_hash: 7,
    };
    tunnel::emit(&mut bytes, &spec, family);
    bytes
}

#[test]
fn whatever_the_director_wraps_comes_out_as_it_was_in_every_pair_of_families() {
    let port = L4Port(6080);
    let kinds = [
        (Tunnel::IpIp, None, 0),
        (Tunnel::Gre { checksum: TunnelChecksum::None }, Some(Carrier::Gre), 0),
        (Tunnel::Gre { checksum: TunnelChecksum::Checksum }, Some(Carrier::Gre), 0),
        (Tunnel::Gue { port, checksum: TunnelChecksum::None }, Some(Carrier::Gue), 8),
        (Tunnel::Gue { port, checksum: TunnelChecksum::Checksum }, Some(Carrier::Gue), 8),
    ];
    for inner in [segment(CLIENT4, VIP4), segment(CLIENT6, VIP6)] {
        for (src, dst, ip_len) in [("10.0.0.1", "10.1.0.11", 20), ("fd00::1", "fd00:1::11", 40)] {
            for (kind, carrier, taken_off) in kinds {
                let bare = if inner[0] >> 4 == 4 { Carrier::Ipv4 } else { Carrier::Ipv6 };
                let carrier = carrier.unwrap_or(bare);
                let outer = Outer { src: addr(src), dst: addr(dst), tos: 0, carrier };
                let bytes = wrap(&inner, src, dst, kind);
                let (opened, inside) = try_open(&outer, &bytes[ip_len + taken_off..]).unwrap();
                assert_eq!(opened, inner, "{kind:?}");
                assert_eq!(inside.unfinished, None);
            }
        }
    }
}

#[test]
fn only_directors_may_send_unless_none_is_named() {
    let stranger = Outer { src: addr("10.0.0.2"), ..outer(Carrier::Ipv4) };
    let bytes = segment(CLIENT4, VIP4);
    assert_eq!(refusal(&stranger, &bytes), Refusal::OuterSource);
    let anybody = Policy { directors: vec![], ..policy() };
    let mut buffer = [&[0; HEADROOM][..], &bytes].concat();
    let range = HEADROOM..buffer.len();
    assert!(open(&anybody, &stranger, &mut buffer, range).is_ok());
}

#[test]
fn a_packet_tunnelled_to_the_virtual_address_is_dropped() {
    let outer = Outer { dst: addr(VIP4), ..outer(Carrier::Ipv4) };
    assert_eq!(refusal(&outer, &segment(CLIENT4, VIP4)), Refusal::OuterToVirtual);
}

#[test]
fn what_is_inside_must_be_from_a_client_to_a_virtual_address() {
    let out = outer(Carrier::Ipv4);
    assert_eq!(refusal(&out, &segment(CLIENT4, "192.0.2.81")), Refusal::NotVirtual);
    assert_eq!(refusal(&out, &segment(VIP4, VIP4)), Refusal::InnerSource);
    assert_eq!(refusal(&out, &segment("127.0.0.1", VIP4)), Refusal::Malformed);
    assert_eq!(refusal(&out, &segment("224.0.0.1", VIP4)), Refusal::Malformed);
    // IPv6 in what says IPv4.
    assert_eq!(refusal(&out, &segment(CLIENT6, VIP6)), Refusal::Malformed);
}

#[test]
fn a_tunnel_inside_the_tunnel_is_dropped_whatever_its_kind() {
    let port = L4Port(6080);
    let checksum = TunnelChecksum::None;
    for kind in [Tunnel::IpIp, Tunnel::Gre { checksum }, Tunnel::Gue { port, checksum }] {
        for inner in [segment(CLIENT4, VIP4), segment(CLIENT6, VIP6)] {
            let nested = wrap(&inner, CLIENT4, VIP4, kind);
            assert_eq!(refusal(&outer(Carrier::Ipv4), &nested), Refusal::Nested, "{kind:?}");
            let nested = wrap(&inner, CLIENT6, VIP6, kind);
            assert_eq!(refusal(&outer(Carrier::Ipv6), &nested), Refusal::Nested, "{kind:?}");
        }
    }
}

#[test]
fn padding_behind_the_packet_is_cut_off() {
    let bytes = segment(CLIENT4, VIP4);
    let padded = [&bytes[..], &[0; 6]].concat();
    assert_eq!(try_open(&outer(Carrier::Ipv4), &padded).unwrap().0, bytes);
}

#[test]
fn gre_with_key_and_sequence_number_is_stepped_over_and_other_forms_are_dropped() {
    let out = outer(Carrier::Gre);
    let inner = segment(CLIENT4, VIP4);
    let gre = |flags: u16, kind: u16, more: &[u8]| {
        [&flags.to_be_bytes()[..], &kind.to_be_bytes(), more, &inner].concat()
    };
    assert_eq!(try_open(&out, &gre(0x3000, 0x0800, &[0; 8])).unwrap().0, inner);
    assert_eq!(refusal(&out, &gre(0x4000, 0x0800, &[])), Refusal::GreForm);
    assert_eq!(refusal(&out, &gre(0x0001, 0x880b, &[])), Refusal::GreForm);
    assert_eq!(refusal(&out, &gre(0, 0x6558, &[])), Refusal::NotIp);
    assert_eq!(refusal(&out, &gre(0x8000, 0x0800, &[1, 2, 0, 0])), Refusal::GreChecksum);
    assert_eq!(refusal(&out, &[0xb0, 0, 8, 0, 0, 0]), Refusal::Truncated);
    assert_eq!(refusal(&out, &[0, 0]), Refusal::Truncated);
}

#[test]
fn gue_without_a_header_is_taken_and_unknown_forms_are_dropped() {
    let out = outer(Carrier::Gue);
    let inner = segment(CLIENT6, VIP6);
    assert_eq!(try_open(&out, &inner).unwrap().0, inner);
    let gue = |header: &[u8]| [header, &inner].concat();
    assert_eq!(try_open(&out, &gue(&[0, 41, 0, 0])).unwrap().0, inner);
    // Options that say nothing: one word of private flags, all of them zero.
    assert_eq!(try_open(&out, &gue(&[1, 41, 0, 1, 0, 0, 0, 0])).unwrap().0, inner);
    assert_eq!(refusal(&out, &gue(&[0x20, 41, 0, 0])), Refusal::GueForm);
    assert_eq!(refusal(&out, &gue(&[0x80, 41, 0, 0])), Refusal::GueForm);
    assert_eq!(refusal(&out, &gue(&[1, 41, 0x80, 0, 0, 0, 0, 0])), Refusal::GueForm);
    assert_eq!(refusal(&out, &gue(&[0, 59, 0, 0])), Refusal::NotIp);
    assert_eq!(refusal(&out, &[0x1f, 41, 0, 0, 1, 2]), Refusal::Truncated);
    assert_eq!(refusal(&out, &[]), Refusal::Truncated);
}

#[test]
fn a_remote_checksum_of_gue_is_left_to_the_host_to_finish() {
    let out = outer(Carrier::Gue);
    let inner = segment(CLIENT4, VIP4);
    let gue = |start: u16, at: u16| {
        let header = [3, 4, 0, 1, 0x80, 0, 0, 0];
        [&header[..], &start.to_be_bytes(), &at.to_be_bytes(), &[0; 4], &inner].concat()
    };
    let inside = try_open(&out, &gue(20, 36)).unwrap().1;
    let expected = Unfinished { start: 20, offset: 16, headers: 40, is_tcp: true };
    assert_eq!(inside.unfinished, Some(expected));
    // Of any other place a checksum would be written into the middle of something.
    for (start, at) in [(0, 10), (20, 37), (20, 19), (24, 36), (60_000, 60_016)] {
        assert_eq!(refusal(&out, &gue(start, at)), Refusal::GueForm);
    }
}

#[test]
fn segments_that_the_kernel_merged_are_told_by_their_unfinished_checksum() {
    for (client, virt, carrier, ip_len) in
        [(CLIENT4, VIP4, Carrier::Ipv4, 20), (CLIENT6, VIP6, Carrier::Ipv6, 40)]
    {
        let mut bytes = packet(client, virt, &[7; 4000]);
        let len = (bytes.len() - ip_len) as u32;
        let pseudo = Sum::pseudo_header(addr(client), addr(virt), Protocol::TCP, len).fold();
        bytes[ip_len + 16..ip_len + 18].copy_from_slice(&pseudo.to_be_bytes());
        let inside = try_open(&outer(carrier), &bytes).unwrap().1;
        let start = ip_len as u16;
        let expected = Unfinished { start, offset: 16, headers: start + 20, is_tcp: true };
        assert_eq!(inside.unfinished, Some(expected));
    }
}

#[test]
fn congestion_on_the_way_is_noted_inside_or_told_by_dropping() {
    let congested = |carrier| Outer { tos: 3, ..outer(carrier) };
    let mut bytes = segment(CLIENT4, VIP4);
    assert_eq!(refusal(&congested(Carrier::Ipv4), &bytes), Refusal::Congested);
    bytes[1] = 2;
    bytes[10..12].fill(0);
    let sum = lvs_core::wire::checksum::of(&bytes[..20]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    let opened = try_open(&congested(Carrier::Ipv4), &bytes).unwrap().0;
    assert_eq!((opened[1], lvs_core::wire::checksum::of(&opened[..20])), (3, 0));
    let mut bytes = segment(CLIENT6, VIP6);
    bytes[1] |= 1 << 4;
    let opened = try_open(&congested(Carrier::Ipv6), &bytes).unwrap().0;
    assert_eq!(opened[1] >> 4, 3);
}

#[test]
fn each_reason_has_a_counter_of_its_own_and_a_text() {
    for (place, reason) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(reason.index(), place);
        assert!(!reason.to_string().is_empty());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_opened_or_refused_and_what_is_opened_is_whole(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        carrier in prop_oneof![
            Just(Carrier::Ipv4), Just(Carrier::Ipv6), Just(Carrier::Gre), Just(Carrier::Gue)
        ],
        tos in any::<u8>(),
    ) {
        if let Ok((opened, inside)) = try_open(&Outer { tos, ..outer(carrier) }, &payload) {
            prop_assert!(!opened.is_empty() && opened.len() <= payload.len());
            prop_assert_eq!(inside.family == Family::V4, opened[0] >> 4 == 4);
        }
    }

    #[test]
    fn a_right_packet_with_a_few_wrong_bytes_never_leads_elsewhere(
        places in proptest::collection::vec((0usize..80, any::<u8>()), 0..6),
        kind in 0usize..3,
    ) {
        let port = L4Port(6080);
        let checksum = TunnelChecksum::None;
        let (tunnel, carrier, from) = [
            (Tunnel::IpIp, Carrier::Ipv4, 20),
            (Tunnel::Gre { checksum }, Carrier::Gre, 20),
            (Tunnel::Gue { port, checksum }, Carrier::Gue, 28),
        ][kind];
        let mut bytes = wrap(&segment(CLIENT4, VIP4), "10.0.0.1", "10.1.0.11", tunnel);
        bytes.drain(..from);
        for (place, value) in places {
            let len = bytes.len();
            bytes[place % len] = value;
        }
        if let Ok((opened, inside)) = try_open(&outer(carrier), &bytes) {
            let dst = match inside.family {
                Family::V4 => IpAddr::from([opened[16], opened[17], opened[18], opened[19]]),
                Family::V6 => IpAddr::from(<[u8; 16]>::try_from(&opened[24..40]).unwrap()),
            };
            prop_assert!(policy().virtuals.contains(&dst));
            if let Some(unfinished) = inside.unfinished {
                let place = usize::from(unfinished.start) + usize::from(unfinished.offset);
                prop_assert!(place + 2 <= opened.len());
            }
        }
    }
}
