use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{Icmpv4Slice, Icmpv6Slice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;
use crate::addr::Family;
use crate::ids::L4Port;

const ETHERNET: usize = 14;

#[derive(Clone, Debug)]
struct Spec {
    src: Endpoint,
    dst: Endpoint,
    udp: bool,
    payload: Vec<u8>,
}

fn addrs(v6: bool) -> BoxedStrategy<IpAddr> {
    match v6 {
        false => any::<u32>().prop_map(|a| Ipv4Addr::from_bits(a).into()).boxed(),
        true => any::<u128>().prop_map(|a| Ipv6Addr::from_bits(a).into()).boxed(),
    }
}

fn ends(v6: bool) -> impl Strategy<Value = Endpoint> {
    (addrs(v6), any::<u16>()).prop_map(|(addr, port)| Endpoint { addr, port: L4Port(port) })
}

fn specs() -> impl Strategy<Value = (Spec, Endpoint)> {
    (any::<bool>(), any::<bool>()).prop_flat_map(|(v6, udp)| {
        let payload = prop::collection::vec(any::<u8>(), 0..80);
        (ends(v6), ends(v6), ends(v6), payload)
            .prop_map(move |(src, dst, to, payload)| (Spec { src, dst, udp, payload }, to))
    })
}

fn build(spec: &Spec) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let ip = match (spec.src.addr, spec.dst.addr) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ethernet.ipv4(src.octets(), dst.octets(), 64),
        (IpAddr::V6(src), IpAddr::V6(dst)) => ethernet.ipv6(src.octets(), dst.octets(), 64),
        _ => unreachable!("both are of one family"),
    };
    let mut bytes = Vec::new();
    match spec.udp {
        true => {
            ip.udp(spec.src.port.0, spec.dst.port.0).write(&mut bytes, &spec.payload).unwrap();
        }
        false => {
            let tcp = ip.tcp(spec.src.port.0, spec.dst.port.0, 7, 512);
            tcp.write(&mut bytes, &spec.payload).unwrap();
        }
    }
    bytes
}

fn transport(spec: &Spec) -> Transport {
    let at = if spec.src.addr.is_ipv4() { 20 } else { 40 };
    let protocol = if spec.udp { Protocol::UDP } else { Protocol::TCP };
    Transport { protocol, at, unfinished: false }
}

fn checksum_at(spec: &Spec) -> usize {
    ETHERNET + transport(spec).at + if spec.udp { 6 } else { 16 }
}

fn with(spec: &Spec, end: End, to: Endpoint) -> Spec {
    match end {
        End::Source => Spec { src: to, ..spec.clone() },
        End::Destination => Spec { dst: to, ..spec.clone() },
    }
}

proptest! {
    #[test]
    fn a_translated_packet_is_as_if_it_had_been_sent_so(
        (spec, to) in specs(), source in any::<bool>(),
    ) {
        let end = if source { End::Source } else { End::Destination };
        let mut bytes = build(&spec);
        translate(&mut bytes[ETHERNET..], transport(&spec), end, to);
        prop_assert_eq!(&bytes, &build(&with(&spec, end, to)));
    }

    #[test]
    fn there_and_back_is_the_same_packet((spec, to) in specs(), wrong in any::<u16>()) {
        let mut bytes = build(&spec);
        // A wrong checksum too; 0 is none in UDP, and 0xffff another form of it.
        let at = checksum_at(&spec);
        let sum = u16::from_be_bytes([bytes[at], bytes[at + 1]]) ^ wrong;
        prop_assume!(sum != 0 && sum != 0xffff);
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        let before = bytes.clone();
        translate(&mut bytes[ETHERNET..], transport(&spec), End::Destination, to);
        translate(&mut bytes[ETHERNET..], transport(&spec), End::Destination, spec.dst);
        prop_assert_eq!(bytes, before);
    }

    #[test]
    fn an_unfinished_checksum_follows_the_addresses_alone((spec, to) in specs()) {
        let mut bytes = build(&spec);
        let (at, place) = (checksum_at(&spec), Transport { unfinished: true, ..transport(&spec) });
        let sum = |spec: &Spec| {
            let len = (spec.payload.len() + if spec.udp { 8 } else { 20 }) as u32;
            Sum::pseudo_header(spec.src.addr, spec.dst.addr, place.protocol, len).fold()
        };
        bytes[at..at + 2].copy_from_slice(&sum(&spec).to_be_bytes());
        translate(&mut bytes[ETHERNET..], place, End::Source, to);
        prop_assert_eq!(
            u16::from_be_bytes([bytes[at], bytes[at + 1]]),
            sum(&with(&spec, End::Source, to))
        );
    }

    #[test]
    fn a_translated_error_quotes_what_its_receiver_sent(
        (spec, to) in specs(), router in any::<(u32, u128)>(), cut in 0usize..40,
    ) {
        // A router tells the sender of the quoted packet, whose receiver is translated.
        let quoted = &build(&spec)[ETHERNET..];
        let quoted = &quoted[..(transport(&spec).at + 8 + cut).min(quoted.len())];
        let router: IpAddr = match spec.src.addr {
            IpAddr::V4(_) => Ipv4Addr::from_bits(router.0).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(router.1).into(),
        };
        let kind = icmp::IcmpError::PortUnreachable;
        let error = icmp::ErrorSpec { src: router, dst: spec.src.addr, kind, ident: 3 };
        let mut bytes = vec![0; 1500];
        let len = icmp::emit_error(&mut bytes, &error, quoted);
        bytes.truncate(len);
        let family = Family::of(spec.src.addr);
        let icmp_at = icmp::error_header_len(family) - icmp::HEADER_LEN;
        let quote = Quote { icmp_at, transport_at: transport(&spec).at, unfinished: false };
        translate_error(&mut bytes, quote, End::Source, to);

        let whole = SlicedPacket::from_ip(&bytes).unwrap();
        let payload = match whole.transport.unwrap() {
            TransportSlice::Icmpv4(icmp) => {
                prop_assert!(is_right_v4(&icmp));
                icmp.payload().to_vec()
            }
            TransportSlice::Icmpv6(icmp) => {
                let (IpAddr::V6(src), IpAddr::V6(dst)) = (to.addr, spec.src.addr) else {
                    unreachable!("an error of IPv6")
                };
                prop_assert!(is_right_v6(&icmp, src, dst));
                icmp.payload().to_vec()
            }
            other => panic!("{other:?}"),
        };
        let mut sent = build(&with(&spec, End::Destination, to)).split_off(ETHERNET);
        sent.truncate(payload.len());
        // The quoted transport checksum stays as it was.
        let at = checksum_at(&spec) - ETHERNET;
        for at in (at..at + 2).filter(|at| *at < payload.len()) {
            sent[at] = quoted[at];
        }
        prop_assert_eq!(payload, sent);
    }

    #[test]
    fn no_bytes_are_too_few(
        mut bytes in prop::collection::vec(any::<u8>(), 0..100), (_, to) in specs(),
        at in 0usize..90, source in any::<bool>(), udp in any::<bool>(), version in 0u8..3,
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = [0x45, 0x60, *first][usize::from(version)];
        }
        let end = if source { End::Source } else { End::Destination };
        let protocol = if udp { Protocol::UDP } else { Protocol::TCP };
        translate(&mut bytes, Transport { protocol, at, unfinished: false }, end, to);
        let quote = Quote { icmp_at: at, transport_at: at / 2 * 2, unfinished: false };
        translate_error(&mut bytes, quote, end, to);
    }
}

fn is_right_v4(icmp: &Icmpv4Slice<'_>) -> bool {
    checksum::of(icmp.slice()) == 0
}

fn is_right_v6(icmp: &Icmpv6Slice<'_>, src: Ipv6Addr, dst: Ipv6Addr) -> bool {
    icmp.is_checksum_valid(src.octets(), dst.octets())
}

#[test]
fn a_udp_checksum_of_0_stays_0_and_none_becomes_0() {
    let end = |text: &str, port| Endpoint::new(text.parse().unwrap(), port);
    let (src, dst) = (end("192.0.2.7", 5000), end("10.0.0.1", 53));
    let spec = Spec { src, dst, udp: true, payload: vec![1, 2, 3] };
    let mut bytes = build(&spec);
    let at = checksum_at(&spec);
    bytes[at..at + 2].fill(0);
    translate(&mut bytes[ETHERNET..], transport(&spec), End::Destination, end("10.1.0.2", 5353));
    assert_eq!(bytes[at..at + 2], [0, 0]);

    let forms = (0..=u16::MAX).map(|port| {
        let mut bytes = build(&spec);
        translate(&mut bytes[ETHERNET..], transport(&spec), End::Source, end("192.0.2.7", port));
        u16::from_be_bytes([bytes[at], bytes[at + 1]])
    });
    let forms: Vec<_> = forms.collect();
    assert!(!forms.contains(&0) && forms.contains(&0xffff));
}
