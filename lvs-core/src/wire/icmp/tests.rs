//! Errors as the kernel's records show them, and echo replies, read back by etherparse.

use std::vec;
use std::vec::Vec;

use etherparse::{
    Icmpv4Type, Icmpv6Type, IpNumber, Ipv4Header, NetHeaders, PacketBuilder, PacketHeaders,
    TransportHeader, icmpv4, icmpv6,
};
use proptest::prelude::*;

use super::*;

const CLIENT: [u8; 4] = [192, 0, 2, 7];
const VIRTUAL: [u8; 4] = [10, 0, 0, 1];
const CLIENT6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
const VIRTUAL6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn spec(family: Family, kind: IcmpError) -> ErrorSpec {
    match family {
        Family::V4 => ErrorSpec { src: VIRTUAL.into(), dst: CLIENT.into(), kind, ident: 0x77 },
        Family::V6 => ErrorSpec { src: VIRTUAL6.into(), dst: CLIENT6.into(), kind, ident: 0 },
    }
}

/// A TCP packet of the client with that many bytes of payload.
fn packet(family: Family, payload: usize) -> Vec<u8> {
    let builder = match family {
        Family::V4 => PacketBuilder::ipv4(CLIENT, VIRTUAL, 64),
        Family::V6 => PacketBuilder::ipv6(CLIENT6, VIRTUAL6, 64),
    };
    let mut bytes = Vec::new();
    builder.tcp(40000, 80, 1, 512).write(&mut bytes, &vec![7; payload]).unwrap();
    bytes
}

/// Writes an error about a packet into a large buffer; checks the IP header and the checksum.
fn error(family: Family, kind: IcmpError, quoted: &[u8]) -> (Vec<u8>, TransportHeader) {
    let mut buf = vec![0xaa; 1600];
    let len = emit_error(&mut buf, &spec(family, kind), quoted);
    assert!(buf[len..].iter().all(|&byte| byte == 0xaa), "wrote past its end");
    buf.truncate(len);
    let (transport, quote) = read(&buf, len);
    assert_eq!(quote, quoted[..quote.len()]);
    (buf, transport)
}

fn read(bytes: &[u8], len: usize) -> (TransportHeader, Vec<u8>) {
    let read = PacketHeaders::from_ip_slice(bytes).unwrap();
    let transport = read.transport.unwrap();
    let quote = read.payload.slice().to_vec();
    match (read.net.unwrap(), &transport) {
        (NetHeaders::Ipv4(ip, _), TransportHeader::Icmpv4(icmp)) => {
            assert_eq!((ip.source, ip.destination), (VIRTUAL, CLIENT));
            assert_eq!((ip.time_to_live, ip.dont_fragment), (64, false));
            assert_eq!(ip.identification, 0x77);
            assert_eq!(usize::from(ip.total_len), len);
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            assert_eq!(icmp.checksum, icmp.icmp_type.calc_checksum(&quote));
        }
        (NetHeaders::Ipv6(ip, _), TransportHeader::Icmpv6(icmp)) => {
            assert_eq!((ip.source, ip.destination), (VIRTUAL6, CLIENT6));
            assert_eq!(ip.hop_limit, 64);
            assert_eq!(usize::from(ip.payload_length) + 40, len);
            let sum = icmp.icmp_type.calc_checksum(ip.source, ip.destination, &quote).unwrap();
            assert_eq!(icmp.checksum, sum);
        }
        other => panic!("{other:?}"),
    }
    (transport, quote)
}

#[test]
fn ipv4_errors_have_the_types_and_codes_of_linux() {
    use icmpv4::DestUnreachableHeader as Unreachable;
    let cases = [
        (
            IcmpError::TimeExceeded,
            Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit),
        ),
        (IcmpError::PortUnreachable, Icmpv4Type::DestinationUnreachable(Unreachable::Port)),
        (IcmpError::HostUnreachable, Icmpv4Type::DestinationUnreachable(Unreachable::Host)),
        (IcmpError::ProtocolUnreachable, Icmpv4Type::DestinationUnreachable(Unreachable::Protocol)),
        (
            IcmpError::TooBig { mtu: 1400 },
            Icmpv4Type::DestinationUnreachable(Unreachable::FragmentationNeeded {
                next_hop_mtu: 1400,
            }),
        ),
    ];
    for (kind, expected) in cases {
        let (bytes, transport) = error(Family::V4, kind, &packet(Family::V4, 0));
        assert_eq!(transport.icmpv4().unwrap().icmp_type, expected);
        // Scenario no-servers: tos=0xc0, len=68 about a TCP packet without payload.
        assert_eq!((bytes[1], bytes.len()), (0xc0, 68));
    }
}

#[test]
fn ipv6_errors_have_the_types_and_codes_of_linux() {
    use icmpv6::DestUnreachableCode as Unreachable;
    let cases = [
        (
            IcmpError::TimeExceeded,
            Icmpv6Type::TimeExceeded(icmpv6::TimeExceededCode::HopLimitExceeded),
        ),
        (IcmpError::PortUnreachable, Icmpv6Type::DestinationUnreachable(Unreachable::Port)),
        (IcmpError::HostUnreachable, Icmpv6Type::DestinationUnreachable(Unreachable::Address)),
        (IcmpError::TooBig { mtu: 1400 }, Icmpv6Type::PacketTooBig { mtu: 1400 }),
        (
            IcmpError::ProtocolUnreachable,
            Icmpv6Type::ParameterProblem(icmpv6::ParameterProblemHeader {
                code: icmpv6::ParameterProblemCode::UnrecognizedNextHeader,
                pointer: 6,
            }),
        ),
    ];
    for (kind, expected) in cases {
        let (bytes, transport) = error(Family::V6, kind, &packet(Family::V6, 0));
        assert_eq!(transport.icmpv6().unwrap().icmp_type, expected);
        // Scenario v6-dr: len=108 about a TCP packet without payload.
        assert_eq!(bytes.len(), 108);
    }
}

#[test]
fn an_unrecognized_next_header_is_pointed_at_behind_extension_headers() {
    let mut quoted = packet(Family::V6, 0);
    // Destination options, 8 bytes, then protocol 132.
    quoted[6] = 60;
    quoted[40..48].copy_from_slice(&[132, 0, 1, 4, 0, 0, 0, 0]);
    let (_, transport) = error(Family::V6, IcmpError::ProtocolUnreachable, &quoted);
    let Icmpv6Type::ParameterProblem(problem) = transport.icmpv6().unwrap().icmp_type else {
        panic!("no parameter problem");
    };
    assert_eq!(problem.pointer, 40);
}

#[test]
fn a_long_packet_is_quoted_as_far_as_the_error_may_grow() {
    // Scenarios dr-toobig (len=576) and v6-dr (len=1280).
    for (family, expected) in [(Family::V4, 576), (Family::V6, 1280)] {
        let (bytes, _) = error(family, IcmpError::TooBig { mtu: 1400 }, &packet(family, 1361));
        assert_eq!(bytes.len(), expected);
    }
}

#[test]
fn an_mtu_beyond_sixteen_bits_is_told_as_the_largest_in_ipv4() {
    let too_big = IcmpError::TooBig { mtu: 100_000 };
    let (_, transport) = error(Family::V4, too_big, &packet(Family::V4, 0));
    let expected = icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 0xffff };
    let found = transport.icmpv4().unwrap().icmp_type;
    assert_eq!(found, Icmpv4Type::DestinationUnreachable(expected));
    let (_, transport) = error(Family::V6, too_big, &packet(Family::V6, 0));
    assert_eq!(transport.icmpv6().unwrap().icmp_type, Icmpv6Type::PacketTooBig { mtu: 100_000 });
}

#[test]
fn an_error_in_a_small_buffer_quotes_less_or_is_not_written() {
    for family in [Family::V4, Family::V6] {
        let quoted = packet(family, 100);
        let least = error_header_len(family);
        for room in 0..least + 60 {
            let mut buf = vec![0xaa; room];
            let len = emit_error(&mut buf, &spec(family, IcmpError::TimeExceeded), &quoted);
            if room < least {
                assert_eq!((len, buf), (0, vec![0xaa; room]));
            } else {
                assert_eq!(len, room);
                read(&buf, len);
            }
        }
    }
}

#[test]
fn an_error_around_a_packet_in_place_is_the_same_as_a_copied_one() {
    for family in [Family::V4, Family::V6] {
        let quoted = packet(family, 2000);
        let (copied, _) = error(family, IcmpError::PortUnreachable, &quoted);
        let mut buf = vec![0; error_header_len(family)];
        buf.extend(&quoted);
        let spec = spec(family, IcmpError::PortUnreachable);
        let len = wrap_error(&mut buf, &spec, quoted.len());
        assert_eq!(buf[..len], copied);
    }
}

#[test]
fn an_error_between_families_is_not_written() {
    let mixed = ErrorSpec { src: VIRTUAL6.into(), ..spec(Family::V4, IcmpError::TimeExceeded) };
    assert_eq!(emit_error(&mut [0; 1600], &mixed, &packet(Family::V4, 0)), 0);
}

#[test]
fn errors_are_told_from_queries() {
    for kind in [3, 4, 5, 11, 12] {
        assert!(is_error(Family::V4, kind), "{kind}");
    }
    for kind in [0, 8, 9, 10, 13, 14, 17] {
        assert!(!is_error(Family::V4, kind), "{kind}");
    }
    assert!(is_error(Family::V6, 1) && is_error(Family::V6, 127));
    assert!(!is_error(Family::V6, 128) && !is_error(Family::V6, 135));
}

fn echo_request(family: Family, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match family {
        Family::V4 => PacketBuilder::ipv4(CLIENT, VIRTUAL, 3)
            .icmpv4_echo_request(0x1234, 7)
            .write(&mut bytes, payload),
        Family::V6 => PacketBuilder::ipv6(CLIENT6, VIRTUAL6, 3)
            .icmpv6_echo_request(0x1234, 7)
            .write(&mut bytes, payload),
    }
    .unwrap();
    bytes
}

#[test]
fn an_echo_request_becomes_its_reply_in_place() {
    let echo = etherparse::IcmpEchoHeader { id: 0x1234, seq: 7 };
    for (family, l4) in [(Family::V4, 20), (Family::V6, 40)] {
        let mut bytes = echo_request(family, b"ping");
        let len = echo_reply(&mut bytes, l4, 0x77).unwrap();
        assert_eq!(len, l4 + 12);
        let (transport, payload) = read(&bytes, len);
        assert_eq!(payload, b"ping");
        match transport {
            TransportHeader::Icmpv4(icmp) => {
                assert_eq!(icmp.icmp_type, Icmpv4Type::EchoReply(echo));
            }
            TransportHeader::Icmpv6(icmp) => {
                assert_eq!(icmp.icmp_type, Icmpv6Type::EchoReply(echo));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_echo_reply_has_no_ip_options() {
    let mut header = Ipv4Header::new(0, 3, IpNumber(0), CLIENT, VIRTUAL).unwrap();
    header.options = [1, 1, 1, 0].into();
    let mut bytes = Vec::new();
    PacketBuilder::ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
        .icmpv4_echo_request(1, 2)
        .write(&mut bytes, b"ping")
        .unwrap();
    assert_eq!(echo_reply(&mut bytes, 24, 0x77), Some(32));
    assert_eq!(read(&bytes[..32], 32).1, b"ping");
}

#[test]
fn only_a_right_echo_request_to_one_host_is_answered() {
    for (family, l4) in [(Family::V4, 20), (Family::V6, 40)] {
        let good = echo_request(family, b"ping");
        // Another type, another code, a wrong checksum.
        for (at, bits) in [(l4, 1), (l4 + 1, 1), (l4 + 2, 1), (l4 + 9, 1)] {
            let mut bad = good.clone();
            bad[at] ^= bits;
            let before = bad.clone();
            assert_eq!(echo_reply(&mut bad, l4, 0), None);
            assert_eq!(bad, before, "untouched");
        }
        for len in 0..good.len() {
            assert_eq!(echo_reply(&mut good[..len].to_vec(), l4, 0), None, "{len} bytes");
        }
    }
    let mut to_group = echo_request(Family::V4, b"");
    to_group[16..20].copy_from_slice(&[224, 0, 0, 1]);
    assert_eq!(echo_reply(&mut to_group, 20, 0), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        first in prop_oneof![Just(0x45u8), Just(0x60), any::<u8>()],
        l4 in 0usize..64,
    ) {
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        let mut buf = [0; 128];
        for kind in [IcmpError::ProtocolUnreachable, IcmpError::TooBig { mtu: 0 }] {
            emit_error(&mut buf, &spec(Family::V4, kind), &bytes);
            emit_error(&mut buf, &spec(Family::V6, kind), &bytes);
        }
        let _ = crate::wire::tcp::emit_reset(&mut buf, &bytes, l4);
        let _ = echo_reply(&mut bytes, l4, 0);
    }
}

#[test]
fn an_error_has_the_type_of_service_of_its_packet_with_a_precedence_of_its_own() {
    for (tos, answered) in [(0x00, 0xc0), (0xff, 0xde), (0x03, 0xc2), (0xe1, 0xc0), (0x10, 0xd0)] {
        let mut quoted = packet(Family::V4, 0);
        quoted[ipv4::field::TOS] = tos;
        let (bytes, _) = error(Family::V4, IcmpError::PortUnreachable, &quoted);
        assert_eq!(bytes[ipv4::field::TOS], answered, "{tos:#04x}");
    }
}
