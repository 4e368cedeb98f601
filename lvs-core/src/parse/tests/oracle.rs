//! The parser held against etherparse.

use std::boxed::Box;
use std::vec::Vec;

use etherparse::err::Layer;
use etherparse::err::packet::SliceError;
use etherparse::{
    IpAuthHeader, Ipv6ExtensionSlice, Ipv6RawExtHeader, Ipv6RoutingExtensions, NetSlice,
    SingleVlanHeader, SlicedPacket, TransportSlice, VlanId, VlanSlice,
};
use proptest::prelude::*;

use super::*;
use crate::wire::ethernet::TAG_LEN;

/// Random but valid frames.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let link = (0usize..=2, 1u16..4095, any::<u16>());
    let payload = prop::collection::vec(any::<u8>(), 0..120);
    (link, prop_oneof![ip_v4(), ip_v6()], 0u8..5, any::<[u8; 16]>(), payload).prop_map(
        |((tags, outer, inner), ip, transport, bytes, mut payload)| {
            // The payload of every fragment but the last is a multiple of 8 bytes, and never empty.
            let header_len = match transport {
                0 => 20 + usize::from(bytes[5] % 11) * 4,
                1 | 2 => 8,
                3 => 12,
                _ => 0,
            };
            payload.resize((header_len + payload.len() + 8) / 8 * 8 - header_len, 0);
            build(tags, (outer, inner & 0xfff), ip, transport, bytes, &payload)
        },
    )
}

fn ip_v4() -> impl Strategy<Value = IpHeaders> {
    // A source and a destination that are no martians.
    let addrs = (1u8..127, any::<[u8; 3]>(), 128u8..224, any::<[u8; 3]>());
    let rest = (any::<[u8; 3]>(), 0usize..=10, any::<bool>(), fragments());
    (addrs, rest).prop_map(
        |((a, [b, c, d], e, [f, g, h]), ([ttl, tos, id], options, df, (offset, more)))| {
            let mut header =
                Ipv4Header::new(0, ttl, IpNumber(0), [a, b, c, d], [e, f, g, h]).unwrap();
            header.dscp = (tos >> 2).try_into().unwrap();
            header.ecn = (tos & 3).try_into().unwrap();
            header.identification = u16::from(id) << 7;
            header.dont_fragment = df;
            header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
            header.more_fragments = more;
            header.options = (&[1u8; 40][..options * 4]).try_into().unwrap();
            IpHeaders::Ipv4(header, Default::default())
        },
    )
}

/// Offset in units of 8 bytes and whether more follow: mostly whole packets.
fn fragments() -> impl Strategy<Value = (u16, bool)> {
    prop_oneof![3 => Just((0, false)), 1 => (prop_oneof![Just(0), 0u16..8000], any::<bool>())]
}

fn ip_v6() -> impl Strategy<Value = IpHeaders> {
    (any::<[u8; 15]>(), any::<[u8; 15]>(), any::<[u8; 4]>(), any::<[bool; 6]>(), fragments())
        .prop_map(
            |(
                src,
                dst,
                [hop_limit, class, units, id],
                [hbh, dest, routing, last, frag, auth],
                place,
            )| {
                let addr = |first: u8, rest: [u8; 15]| {
                    let mut addr = [first; 16];
                    addr[1..].copy_from_slice(&rest);
                    addr
                };
                let header = Ipv6Header {
                    traffic_class: class,
                    hop_limit,
                    source: addr(0x20, src),
                    destination: addr(0x26, dst),
                    ..Ipv6Header::default()
                };
                let raw = |units: u8| {
                    let payload = [0x11; 254];
                    let len = 6 + 8 * usize::from(units % 32);
                    Ipv6RawExtHeader::new_raw(IpNumber(0), &payload[..len]).unwrap()
                };
                let icv = [0x22; 12];
                let (offset, more) = place;
                // Nothing but payload can follow the header of a later fragment.
                let (last, auth) = (last && offset == 0, auth && offset == 0);
                let exts = Ipv6Extensions {
                    hop_by_hop_options: hbh.then(|| raw(units)),
                    destination_options: dest.then(|| raw(units / 2)),
                    routing: routing.then(|| Ipv6RoutingExtensions {
                        routing: raw(units / 3),
                        final_destination_options: last.then(|| raw(0)),
                    }),
                    fragment: (frag || offset > 0 || more).then(|| {
                        let offset = IpFragOffset::try_new(offset).unwrap();
                        Ipv6FragmentHeader::new(IpNumber(0), offset, more, u32::from(id))
                    }),
                    auth: auth.then(|| IpAuthHeader::new(IpNumber(0), 1, 2, &icv).unwrap()),
                };
                IpHeaders::Ipv6(header, exts)
            },
        )
}

fn build(
    tags: usize,
    (outer, inner): (u16, u16),
    ip: IpHeaders,
    transport: u8,
    bytes: [u8; 16],
    payload: &[u8],
) -> Vec<u8> {
    let vlan = |id| SingleVlanHeader {
        vlan_id: VlanId::try_new(id).unwrap(),
        ..SingleVlanHeader::default()
    };
    let link = PacketBuilder::ethernet2(MAC_A, MAC_B);
    let is_v4 = matches!(ip, IpHeaders::Ipv4(..));
    let builder = match tags {
        0 => link.ip(ip),
        1 => link.vlan(VlanHeader::Single(vlan(outer))).ip(ip),
        _ => {
            let double = etherparse::DoubleVlanHeader { outer: vlan(outer), inner: vlan(inner) };
            link.vlan(VlanHeader::Double(double)).ip(ip)
        }
    };
    let [a, b, c, d, flags, options, ..] = bytes;
    let (src, dst) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let mut frame = Vec::new();
    match transport {
        0 => {
            let mut tcp = TcpHeader::new(src, dst, 7, 9);
            (tcp.fin, tcp.syn, tcp.rst) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
            (tcp.psh, tcp.ack, tcp.urg) = (flags & 8 != 0, flags & 16 != 0, flags & 32 != 0);
            (tcp.ece, tcp.cwr) = (flags & 64 != 0, flags & 128 != 0);
            tcp.set_options_raw(&[1; 40][..usize::from(options % 11) * 4]).unwrap();
            builder.tcp_header(tcp).write(&mut frame, payload)
        }
        1 => builder.udp(src, dst).write(&mut frame, payload),
        2 if is_v4 => builder.icmpv4_echo_request(src, dst).write(&mut frame, payload),
        2 => builder.icmpv6_echo_request(src, dst).write(&mut frame, payload),
        3 => {
            let segment = [&bytes[..12], payload].concat();
            builder.write(&mut frame, IpNumber(132), &segment)
        }
        // ESP: nothing in it can be read.
        _ => builder.write(&mut frame, IpNumber(50), payload),
    }
    .unwrap();
    frame
}

/// Holds what both read against each other.
fn agree(frame: &[u8], ours: &Headers, theirs: &SlicedPacket<'_>) -> Result<(), TestCaseError> {
    let tags: Vec<u16> = match theirs.vlan() {
        None => Vec::new(),
        Some(VlanSlice::SingleVlan(tag)) => [tag.vlan_identifier().value()].into(),
        Some(VlanSlice::DoubleVlan(tags)) => {
            [tags.outer.vlan_identifier().value(), tags.inner.vlan_identifier().value()].into()
        }
    };
    prop_assert_eq!(&ours.tags.ids()[..ours.tags.len()], &tags[..]);
    prop_assert_eq!(usize::from(ours.l3), ethernet::HEADER_LEN + TAG_LEN * tags.len());

    let start = frame.as_ptr() as usize;
    let (payload, fragmented) = match theirs.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            prop_assert_eq!(ours.src(), IpAddr::from(header.source_addr()));
            prop_assert_eq!(ours.dst(), IpAddr::from(header.destination_addr()));
            prop_assert_eq!(ours.ip_len, u32::from(header.total_len()));
            prop_assert_eq!(ours.ttl, header.ttl());
            prop_assert_eq!(ours.tos, header.dcp().value() << 2 | header.ecn().value());
            prop_assert_eq!(ours.dont_fragment, header.dont_fragment());
            if let Some(fragment) = ours.fragment {
                let offset = u32::from(header.fragments_offset().byte_offset());
                prop_assert_eq!(fragment.offset, offset);
                prop_assert_eq!(fragment.more, header.more_fragments());
                prop_assert_eq!(fragment.id, u32::from(header.identification()));
            }
            (ip.payload(), ip.is_payload_fragmented())
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            prop_assert_eq!(ours.src(), IpAddr::from(header.source_addr()));
            prop_assert_eq!(ours.dst(), IpAddr::from(header.destination_addr()));
            prop_assert_eq!(ours.ip_len, 40 + u32::from(header.payload_length()));
            prop_assert_eq!(ours.ttl, header.hop_limit());
            prop_assert_eq!(ours.tos, header.traffic_class());
            let fragment = ip.extensions().clone().into_iter().find_map(|ext| match ext {
                Ipv6ExtensionSlice::Fragment(fragment) => Some(fragment),
                _ => None,
            });
            if let (Some(ours), Some(theirs)) = (ours.fragment, fragment) {
                prop_assert_eq!(ours.offset, u32::from(theirs.fragment_offset().byte_offset()));
                prop_assert_eq!(ours.more, theirs.more_fragments());
                prop_assert_eq!(ours.id, theirs.identification());
            }
            (ip.payload(), ip.is_payload_fragmented())
        }
        NetSlice::Arp(_) => return Err(TestCaseError::fail("ARP is not IP")),
    };
    prop_assert_eq!(ours.fragment.is_some(), fragmented);
    prop_assert_eq!(usize::from(ours.l4), payload.payload.as_ptr() as usize - start);
    prop_assert_eq!(ours.protocol.0, payload.ip_number.0);

    let ports = (ours.flow.client_port().0, ours.flow.virtual_port().0);
    match (&theirs.transport, ours.l4_header) {
        (Some(TransportSlice::Tcp(tcp)), L4::Tcp { flags, header_len }) => {
            prop_assert_eq!(ports, (tcp.source_port(), tcp.destination_port()));
            prop_assert_eq!(usize::from(header_len), tcp.header_slice().len());
            let theirs = (tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack());
            let ours = (flags.fin(), flags.syn(), flags.rst(), flags.psh(), flags.ack());
            prop_assert_eq!(ours, theirs);
        }
        (Some(TransportSlice::Udp(udp)), L4::Udp) => {
            prop_assert_eq!(ports, (udp.source_port(), udp.destination_port()));
        }
        (Some(TransportSlice::Icmpv4(icmp)), L4::Icmp { kind, code }) => {
            prop_assert_eq!((kind, code), (icmp.type_u8(), icmp.code_u8()));
        }
        (Some(TransportSlice::Icmpv6(icmp)), L4::Icmp { kind, code }) => {
            prop_assert_eq!((kind, code), (icmp.type_u8(), icmp.code_u8()));
        }
        // They leave every fragment closed; we look into the first.
        (None, _) if fragmented => {}
        (None, L4::Sctp(_) | L4::Other) => {}
        // They read ICMP of one family inside the other, and IGMP.
        (Some(_), L4::Other) => prop_assert!(matches!(ours.protocol.0, 1 | 2 | 58)),
        (theirs, ours) => return Err(TestCaseError::fail(std::format!("{ours:?} {theirs:?}"))),
    }
    Ok(())
}

/// Whether they look at something that we leave to the receiver.
fn stricter_oracle(error: &SliceError, ours: &Headers) -> bool {
    match error {
        SliceError::Len(len) => match len.layer {
            // The length field of UDP.
            Layer::UdpHeader | Layer::UdpPayload => ours.protocol == Protocol::UDP,
            // AH in IPv4, and an AH shorter than its fixed fields.
            Layer::IpAuthHeader => true,
            // ICMP of the other family, and the length of a timestamp message.
            Layer::Icmpv4 | Layer::Icmpv6 => ours.l4_header == L4::Other,
            Layer::Icmpv4Timestamp | Layer::Icmpv4TimestampReply => true,
            Layer::Igmp => true,
            _ => behind_a_later_fragment(ours),
        },
        SliceError::Ipv4Exts(_) => true,
        SliceError::Ipv6Exts(etherparse::err::ipv6_exts::HeaderError::IpAuth(_)) => true,
        _ => behind_a_later_fragment(ours),
    }
}

/// They follow extension headers into the payload of a fragment that is not the first, which is the
/// middle of something.
fn behind_a_later_fragment(ours: &Headers) -> bool {
    ours.family == Family::V6 && ours.fragment.is_some_and(|fragment| fragment.offset > 0)
}

/// Whether a frame that they accept may be dropped for this reason.
fn stricter_here(reason: DropReason, theirs: &SlicedPacket<'_>) -> bool {
    let (fragmented, no_length, protocol) = match &theirs.net {
        Some(NetSlice::Ipv4(ip)) => (ip.is_payload_fragmented(), false, ip.payload().ip_number.0),
        Some(NetSlice::Ipv6(ip)) => {
            let no_length = ip.header().payload_length() == 0;
            (ip.is_payload_fragmented(), no_length, ip.payload().ip_number.0)
        }
        _ => (false, false, 0),
    };
    match reason {
        DropReason::Ipv4Checksum
        | DropReason::MartianAddress
        | DropReason::VlanTooDeep
        | DropReason::Ipv6ExtensionChain => true,
        DropReason::FragmentMalformed => fragmented,
        DropReason::SctpTruncated => protocol == 132,
        // They leave the transport header of a first fragment closed, and take an IPv6 payload length of
        // 0 as "to the end of the frame".
        _ => no_length || fragmented,
    }
}

fn hold_against_oracle(frame: &[u8]) -> Result<(), TestCaseError> {
    let theirs = SlicedPacket::from_ethernet(frame);
    match (parse(frame), theirs) {
        (Parsed::Ip(ours), Ok(theirs)) => {
            // AH in IPv4 is a transport protocol of its own to us.
            let ah_in_v4 = ours.family == Family::V4 && ours.protocol == Protocol(51);
            let closed = behind_a_later_fragment(&ours);
            let no_length = ours.family == Family::V6 && ours.ip_len == 40;
            if ah_in_v4 || closed || no_length {
                return Ok(());
            }
            agree(frame, &ours, &theirs)
        }
        (Parsed::Ip(ours), Err(error)) => {
            prop_assert!(stricter_oracle(&error, &ours), "{:?} accepted against {:?}", ours, error);
            Ok(())
        }
        (Parsed::Malformed(reason), Ok(theirs)) => {
            prop_assert!(stricter_here(reason, &theirs), "{} against {:?}", reason, theirs);
            Ok(())
        }
        (Parsed::Other(_), Ok(theirs)) => {
            prop_assert!(!matches!(theirs.net, Some(NetSlice::Ipv4(_) | NetSlice::Ipv6(_))));
            Ok(())
        }
        // ARP is read elsewhere; both refuse the rest.
        (Parsed::Arp { .. } | Parsed::Other(_) | Parsed::Malformed(_), _) => Ok(()),
    }
}

/// What [`plain_v4`] and [`plain_v6`] take must be what the parser for everything says, as a super-frame
/// too.
fn hold_plain(frame: &[u8]) -> Result<(), TestCaseError> {
    for plain in [plain_v4(frame), plain_v6(frame)].into_iter().flatten() {
        for parsed in [parse(frame), parse_super(frame)] {
            let Parsed::Ip(headers) = parsed else {
                return Err(TestCaseError::fail(std::format!("plain, but {parsed:?}")));
            };
            prop_assert_eq!(plain.headers(frame), headers);
            let flags = match headers.l4_header {
                L4::Tcp { flags, .. } => flags,
                _ => TcpFlags(0),
            };
            prop_assert_eq!(
                (plain.flow, plain.ip_len, plain.flags),
                (headers.flow, headers.ip_len, flags)
            );
        }
    }
    Ok(())
}

#[test]
fn tcp_and_udp_in_ordinary_packets_are_plain() {
    let udp = |ip| raw(ip, Protocol::UDP, &[0x9c, 0x40, 0, 80, 0, 8, 0, 0]);
    for frame in [tcp(ipv4(), b"hello"), udp(ipv4())] {
        assert!(plain_v4(&frame).is_some() && plain_v6(&frame).is_none());
    }
    for frame in [tcp(ipv6(), b""), udp(ipv6())] {
        assert!(plain_v6(&frame).is_some() && plain_v4(&frame).is_none());
    }
}

/// What a mutation does to a frame.
#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8),
    Flip(usize, u8),
    Cut(usize),
    Grow(Box<[u8]>),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    // Headers are where it hurts: half of the changes go to the first 100 bytes.
    let place = prop_oneof![0usize..100, 0usize..400];
    let change = prop_oneof![
        (place.clone(), any::<u8>()).prop_map(|(at, value)| Change::Set(at, value)),
        (place.clone(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        place.prop_map(Change::Cut),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(|tail| Change::Grow(tail.into())),
    ];
    prop::collection::vec(change, 1..5)
}

fn apply(frame: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Set(at, value) => {
            if let Some(byte) = frame.get_mut(*at) {
                *byte = *value;
            }
        }
        Change::Flip(at, bit) => {
            if let Some(byte) = frame.get_mut(*at) {
                *byte ^= 1 << bit;
            }
        }
        Change::Cut(len) => frame.truncate(*len),
        Change::Grow(tail) => frame.extend_from_slice(tail),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn valid_frames_read_as_etherparse_reads_them(frame in frames()) {
        let theirs = SlicedPacket::from_ethernet(&frame).expect("a frame that they built");
        match parse(&frame) {
            Parsed::Ip(ours) => agree(&frame, &ours, &theirs)?,
            other => return Err(TestCaseError::fail(std::format!("{other:?}"))),
        }
    }

    #[test]
    fn mutated_frames_are_accepted_and_refused_as_by_etherparse(
        mut frame in frames(), changes in changes(), fix in any::<bool>(),
    ) {
        for change in &changes {
            apply(&mut frame, change);
        }
        // Otherwise hardly an IPv4 frame would come past its checksum.
        if fix && frame.len() >= 34 && frame[12..14] == [8, 0]
            && frame.len() >= 14 + usize::from(frame[14] & 0xf) * 4 && frame[14] & 0xf >= 5
        {
            fix_checksum(&mut frame);
        }
        hold_against_oracle(&frame)?;
        hold_plain(&frame)?;
    }

    #[test]
    fn what_is_plain_is_what_the_parser_says(
        mut frame in frames(), at in 12usize..60, value in any::<u8>(), padding in 0usize..30,
    ) {
        frame.resize(frame.len() + padding, 0xee);
        hold_plain(&frame)?;
        if let Some(byte) = frame.get_mut(at) {
            *byte = value;
            if frame[12..15] == [8, 0, 0x45] {
                fix_checksum(&mut frame);
            }
            hold_plain(&frame)?;
        }
    }

    #[test]
    fn random_bytes_never_panic(
        mut frame in prop::collection::vec(any::<u8>(), 0..300), kind in 0usize..4,
    ) {
        let ethertype = [None, Some([8, 0, 0x45]), Some([0x86, 0xdd, 0x60]), Some([0x81, 0, 0])];
        if let (Some(bytes), Some(place)) = (ethertype[kind], frame.get_mut(12..15)) {
            place.copy_from_slice(&bytes);
        }
        hold_against_oracle(&frame)?;
        hold_plain(&frame)?;
        let _ = parse_quoted(&frame, Family::V4);
        let _ = parse_quoted(&frame, Family::V6);
    }

    #[test]
    fn a_quote_has_the_flow_of_the_packet_it_quotes(frame in frames(), cut in 0usize..500) {
        let Parsed::Ip(whole) = parse(&frame) else { return Ok(()) };
        let packet = &frame[usize::from(whole.l3)..];
        let l4 = usize::from(whole.l4 - whole.l3);
        let len = (l4 + 8 + cut).min(packet.len());
        let quoted = parse_quoted(&packet[..len], whole.family);
        prop_assert_eq!(
            quoted,
            Some(Quoted { flow: whole.flow, protocol: whole.protocol, l4, fragment: whole.fragment.map(|fragment| fragment.offset) })
        );
    }
}
