use alloc::vec;
use alloc::vec::Vec;

use etherparse::{IpHeaders, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;
use crate::ids::L4Port;

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A TCP packet of a client, IPv4 or IPv6.
fn packet(family: Family, payload: usize) -> Vec<u8> {
    let builder = match family {
        Family::V4 => PacketBuilder::ipv4([192, 0, 2, 7], [10, 0, 0, 1], 64),
        Family::V6 => PacketBuilder::ipv6([1; 16], [2; 16], 64),
    };
    let mut bytes = Vec::new();
    builder.tcp(40_000, 80, 1, 1).write(&mut bytes, &vec![0x5a; payload]).unwrap();
    bytes
}

fn outer(family: Family, tunnel: Tunnel) -> Outer {
    let (src, dst) = match family {
        Family::V4 => (addr("10.1.0.1"), addr("10.1.0.2")),
        Family::V6 => (addr("2001:db8:2::1"), addr("2001:db8:2::2")),
    };
    Outer { src, dst, tunnel, ttl: 63, tos: 0x12, dont_fragment: true, ident: 7, flow_hash: 9 }
}

fn wrapped(outer: &Outer, inner: Family, payload: usize) -> Vec<u8> {
    let packet = packet(inner, payload);
    let mut bytes = vec![0xee; overhead(Family::of(outer.dst), outer.tunnel)];
    bytes.extend_from_slice(&packet);
    emit(&mut bytes, outer, inner);
    bytes
}

fn any_tunnel() -> impl Strategy<Value = Tunnel> {
    let checksum = prop_oneof![
        Just(TunnelChecksum::None),
        Just(TunnelChecksum::Checksum),
        Just(TunnelChecksum::Remote)
    ];
    prop_oneof![
        Just(Tunnel::IpIp),
        (1u16.., checksum.clone())
            .prop_map(|(port, checksum)| Tunnel::Gue { port: L4Port(port), checksum }),
        checksum.prop_map(|checksum| Tunnel::Gre { checksum }),
    ]
}

fn any_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

proptest! {
    #[test]
    fn what_is_put_into_a_tunnel_is_found_inside(
        tunnel in any_tunnel(),
        families in (any_family(), any_family()),
        payload in 0usize..1500,
    ) {
        let (family, inner) = families;
        let outer = outer(family, tunnel);
        let bytes = wrapped(&outer, inner, payload);
        let at = overhead(family, tunnel);
        let through = match tunnel {
            Tunnel::IpIp => Through::IpIp,
            Tunnel::Gue { port, .. } => Through::Gue(port.0),
            Tunnel::Gre { .. } => Through::Gre,
        };
        let inside = Inside { src: outer.src, dst: outer.dst, family: inner, at, through };
        prop_assert!(through.is_of(tunnel));
        prop_assert_eq!(look_inside(&bytes), Some(inside));
        prop_assert_eq!(&bytes[at..], packet(inner, payload));
    }

    #[test]
    fn the_outer_headers_say_what_was_meant(
        tunnel in any_tunnel(),
        families in (any_family(), any_family()),
        payload in 0usize..1500,
    ) {
        let (family, inner) = families;
        let bytes = wrapped(&outer(family, tunnel), inner, payload);
        let (headers, ..) = IpHeaders::from_slice(&bytes).unwrap();
        match headers {
            IpHeaders::Ipv4(header, _) => {
                prop_assert_eq!(header.header_checksum, header.calc_header_checksum());
                prop_assert_eq!(usize::from(header.total_len), bytes.len());
                prop_assert_eq!((header.time_to_live, header.identification), (63, 7));
                prop_assert!(header.dont_fragment);
            }
            IpHeaders::Ipv6(header, _) => {
                prop_assert_eq!(usize::from(header.payload_length) + 40, bytes.len());
                prop_assert_eq!((header.hop_limit, header.traffic_class), (63, 0x12));
            }
        }
        if let Tunnel::Gue { port, checksum } = tunnel {
            let sliced = SlicedPacket::from_ip(&bytes).unwrap();
            let Some(TransportSlice::Udp(udp)) = sliced.transport else { panic!("no UDP") };
            prop_assert_eq!(udp.destination_port(), port.0);
            prop_assert!((32768..=60999).contains(&udp.source_port()));
            prop_assert_eq!(udp.checksum() != 0, checksum != TunnelChecksum::None);
            let outer = outer(family, tunnel);
            let segment = &bytes[overhead(family, Tunnel::IpIp)..];
            let sum = checksum::transport(outer.src, outer.dst, Protocol::UDP, segment);
            prop_assert!(checksum == TunnelChecksum::None || sum == 0, "{sum}");
        }
        if let Tunnel::Gre { checksum } = tunnel {
            let segment = &bytes[overhead(family, Tunnel::IpIp)..];
            let summed = checksum != TunnelChecksum::None;
            prop_assert_eq!(segment[0], if summed { 0x80 } else { 0 });
            prop_assert!(!summed || checksum::of(segment) == 0);
        }
    }

    #[test]
    fn no_bytes_make_looking_inside_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Some(inside) = look_inside(&bytes) {
            prop_assert!(inside.at < bytes.len());
        }
    }
}

#[test]
fn congestion_stays_inside_and_all_else_shows_outside() {
    for tos in 0..=255 {
        let expected = if tos & 3 == 3 { tos - 1 } else { tos };
        assert_eq!(outer_tos(tos), expected);
    }
}

#[test]
fn a_later_fragment_of_a_tunnel_is_not_looked_into() {
    let mut bytes = wrapped(&outer(Family::V4, Tunnel::IpIp), Family::V4, 100);
    bytes[7] = 1;
    assert_eq!(look_inside(&bytes), None);
}
