//! Fragments: that a packet in pieces fares as the whole one does, and what no scenario reaches.

use std::collections::BTreeMap;

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header, UdpHeader};
use proptest::prelude::*;

use super::*;
use crate::command::{ForwardingMethod, Tunnel};
use crate::listing::ServiceEntry;
use crate::parse::{Parsed, parse};

const CLIENT_V6: &str = "2001:db8::7";
const VIP_V6: &str = "2001:db8:1::1";

/// How a world's servers are reached.
#[derive(Clone, Copy, Debug)]
enum By {
    Direct,
    Tunnel,
    Masquerade,
}

fn v6(text: &str) -> [u8; 16] {
    text.parse::<core::net::Ipv6Addr>().unwrap().octets()
}

fn udp_key(family: Family) -> ServiceKey {
    let addr = match family {
        Family::V4 => IpAddr::V4(VIP.into()),
        Family::V6 => VIP_V6.parse().unwrap(),
    };
    ServiceKey::Address { protocol: Protocol::UDP, virt: Endpoint::new(addr, 53) }
}

/// A world with a datagram service of two servers in each family.
fn world(by: By) -> World {
    let mut world = World::new(Limits::small());
    let prefix = |text: &str, bits| Prefix::new(text.parse().unwrap(), bits).unwrap();
    let addresses = vec![
        prefix("10.1.0.1", 16),
        prefix("192.0.2.1", 24),
        prefix("2001:db8:2::1", 64),
        prefix("2001:db8::1", 64),
    ];
    world.apply(Command::SetPort(PortSpec { id: PORT, mac: DIRECTOR, mtu: 1500, addresses }));
    world.apply(Command::AddLocal { addr: VIP_V6.parse().unwrap(), answer: true });
    for client in ["192.0.2.7", CLIENT_V6] {
        let addr = client.parse().unwrap();
        world.apply(Command::SetNeighbor { port: PORT, addr, mac: ROUTER });
    }
    for family in [Family::V4, Family::V6] {
        let mut spec = ServiceSpec::new(udp_key(family));
        spec.scheduler = "rr".into();
        world.apply(Command::AddService(spec));
        for host in 2..=3 {
            let addr = match family {
                Family::V4 => server(host),
                Family::V6 => std::format!("2001:db8:2::{host}").parse().unwrap(),
            };
            world.apply(Command::SetNeighbor { port: PORT, addr, mac: server_mac(host) });
            let method = match by {
                By::Direct => ForwardingMethod::DirectRoute,
                By::Tunnel => ForwardingMethod::Tunnel(Tunnel::IpIp),
                By::Masquerade => ForwardingMethod::Masquerade,
            };
            let spec = DestinationSpec { method, ..DestinationSpec::new(Endpoint::new(addr, 53)) };
            world.apply(Command::AddDestination(udp_key(family), spec));
        }
    }
    world.drain();
    world
}

/// A datagram's transport segment.
fn datagram(family: Family, payload: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..payload).map(|i| (i * 7 + i / 256) as u8).collect();
    let header = match family {
        Family::V4 => {
            UdpHeader::with_ipv4_checksum(4000, 53, &ipv4(0, false, 0), &payload).unwrap()
        }
        Family::V6 => {
            UdpHeader::with_ipv6_checksum(4000, 53, &ipv6(0, IpNumber::UDP), &payload).unwrap()
        }
    };
    [&header.to_bytes()[..], &payload].concat()
}

fn ipv4(offset: usize, more: bool, len: usize) -> Ipv4Header {
    let mut header = Ipv4Header::new(len as u16, 64, IpNumber::UDP, [192, 0, 2, 7], VIP).unwrap();
    header.identification = 0x4321;
    header.dont_fragment = false;
    header.more_fragments = more;
    header.fragment_offset = IpFragOffset::try_new((offset / 8) as u16).unwrap();
    header.header_checksum = header.calc_header_checksum();
    header
}

fn ipv6(len: usize, next_header: IpNumber) -> Ipv6Header {
    Ipv6Header {
        payload_length: len as u16,
        next_header,
        hop_limit: 64,
        source: v6(CLIENT_V6),
        destination: v6(VIP_V6),
        ..Ipv6Header::default()
    }
}

/// The frame of a part of a segment; of all of it if that is what the part is.
fn frame(family: Family, segment: &[u8], (from, to): (usize, usize)) -> Vec<u8> {
    let (part, more) = (&segment[from..to], to < segment.len());
    let is_whole = from == 0 && !more;
    let ip = match family {
        Family::V4 => ipv4(from, more, part.len()).to_bytes().to_vec(),
        Family::V6 if is_whole => ipv6(part.len(), IpNumber::UDP).to_bytes().to_vec(),
        Family::V6 => {
            let offset = IpFragOffset::try_new((from / 8) as u16).unwrap();
            let fragment = Ipv6FragmentHeader::new(IpNumber::UDP, offset, more, 0x8765_4321);
            let header = ipv6(part.len() + 8, IpNumber::IPV6_FRAGMENTATION_HEADER);
            [&header.to_bytes()[..], &fragment.to_bytes()[..]].concat()
        }
    };
    let mut bytes = [&DIRECTOR.0[..], &ROUTER.0, &[0x08, 0x00], &ip, part].concat();
    if family == Family::V6 {
        bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
    }
    bytes
}

fn fragments(family: Family, segment: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    cuts.windows(2).map(|cut| frame(family, segment, (cut[0], cut[1]))).collect()
}

/// Puts the pieces of one packet together by copying each to its place, and says where what they carry
/// begins in the whole; a frame that is no piece stays as it is.
fn glued(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = BTreeMap::new();
    for piece in pieces {
        let Parsed::Ip(headers) = parse(piece) else { panic!("{piece:02x?}") };
        let Some(info) = headers.fragment else {
            assert_eq!(pieces.len(), 1);
            let mut whole = piece[..headers.end()].to_vec();
            if piece[12] == 0x86 && piece[20] == 44 {
                // All of it in one piece with a fragment header (RFC 6946).
                whole[20] = whole[54];
                whole.drain(54..62);
                let len = (whole.len() - 54) as u16;
                whole[18..20].copy_from_slice(&len.to_be_bytes());
            }
            return whole;
        };
        let payload = usize::from(info.payload);
        parts.insert(info.offset as usize, (piece[..headers.end()].to_vec(), payload, info.more));
    }
    let (first, payload, _) = parts[&0].clone();
    let v6 = first[14] >> 4 == 6;
    let mut whole = first[..if v6 { payload - 8 } else { payload }].to_vec();
    let head = whole.len();
    let last = parts.len() - 1;
    for (i, (offset, (piece, payload, more))) in parts.into_iter().enumerate() {
        assert_eq!((offset, more), (whole.len() - head, i < last), "pieces that fit together");
        whole.extend_from_slice(&piece[payload..]);
    }
    if v6 {
        whole[20] = first[payload - 8];
        let len = (whole.len() - 54) as u16;
        whole[18..20].copy_from_slice(&len.to_be_bytes());
    } else {
        let len = (whole.len() - 14) as u16;
        whole[16..18].copy_from_slice(&len.to_be_bytes());
        whole[20..22].fill(0);
        whole[24..26].fill(0);
        let sum = crate::wire::checksum::of(&whole[14..payload]);
        whole[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    whole
}

/// What IPv4 packets the director has to send.
fn packets(world: &mut World) -> Vec<Vec<u8>> {
    world.drain().into_iter().filter(|frame| frame[12..14] == [8, 0]).collect()
}

fn services(world: &mut World) -> Vec<ServiceEntry> {
    world.director.services(world.now)
}

fn families() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The same server, the same connection, the same counters, and the same bytes arrive.
    #[test]
    fn a_datagram_in_fragments_fares_as_the_whole_one(
        family in families(),
        by in prop_oneof![Just(By::Direct), Just(By::Tunnel), Just(By::Masquerade)],
        payload in 8usize..1380,
        places in prop::collection::btree_set(1usize..170, 1..6),
        turn in 0usize..6,
        twice in any::<bool>(),
    ) {
        let segment = datagram(family, payload);
        let inner = places.into_iter().map(|place| place * 8).filter(|&place| place < segment.len());
        let cuts: Vec<usize> = [0].into_iter().chain(inner).chain([segment.len()]).collect();
        prop_assume!(cuts.len() > 2);
        let (mut whole, mut parted) = (world(by), world(by));
        let (verdict, sent) = whole.send(&frame(family, &segment, (0, segment.len())));
        prop_assert_eq!(verdict, Verdict::Transmit(PORT));
        let mut pieces = fragments(family, &segment, &cuts);
        let turn = turn % pieces.len();
        pieces.rotate_left(turn);
        if twice {
            pieces.insert(1, pieces[0].clone());
        }
        for (i, piece) in pieces.iter().enumerate() {
            prop_assert!(parted.states().is_empty());
            let (verdict, _) = parted.send(piece);
            let duplicate = twice && i == 1;
            let expected =
                if duplicate { Verdict::Drop(DropReason::FragmentDuplicate) } else { Verdict::Absorb };
            prop_assert_eq!(verdict, expected);
        }
        let left = parted.drain();
        let longest = pieces.iter().map(Vec::len).max().unwrap();
        let piece_min = if family == Family::V6 { 14 + 1280 } else { 0 };
        for piece in &left {
            prop_assert!(piece.len() <= longest.max(piece_min), "no longer than they came");
        }
        let (mut glued, mut sent) = (glued(&left), sent);
        if matches!((by, family), (By::Tunnel, Family::V4)) {
            // The outer identification is new each time.
            for bytes in [&mut glued, &mut sent] {
                bytes[18..20].fill(0);
                bytes[24..26].fill(0);
            }
        }
        prop_assert_eq!(glued, sent);
        prop_assert_eq!(services(&mut whole), services(&mut parted));
        prop_assert_eq!(parted.states(), whole.states());
        prop_assert_eq!(parted.director.stats().reassembled, 1);
    }
}

#[test]
fn a_datagram_of_64_kb_goes_through_a_slot_of_no_more_than_a_fragment() {
    for by in [By::Direct, By::Masquerade] {
        for family in [Family::V4, Family::V6] {
            let mut world = world(by);
            let segment = datagram(family, 65_000);
            let cuts: Vec<usize> =
                (0..segment.len()).step_by(1448).chain([segment.len()]).collect();
            for piece in fragments(family, &segment, &cuts) {
                let mut slot = piece.clone();
                let mut frames = [Frame::new(&mut slot, 0, piece.len(), PORT)];
                world.director.process_burst(world.now, &mut frames);
                assert_eq!(frames[0].verdict, Verdict::Absorb);
            }
            let left = world.drain();
            assert_eq!(left.len(), cuts.len() - 1);
            let whole = glued(&left);
            let Parsed::Ip(headers) = parse(&whole) else { panic!("{by:?}") };
            let bytes = &whole[usize::from(headers.l4)..];
            assert_eq!(bytes[8..], segment[8..]);
            let sum = crate::wire::checksum::transport(
                headers.src(),
                headers.dst(),
                Protocol::UDP,
                bytes,
            );
            assert_eq!(sum, 0, "the datagram's checksum is right");
        }
    }
}

#[test]
fn each_fragment_lent_ends_in_one_counter_however_its_set_ends() {
    let mut world = world(By::Direct);
    let segment = datagram(Family::V4, 400);
    let part = |from, to| frame(Family::V4, &segment, (from, to));
    // Given up because of an overlap, over in time, refused, forwarded.
    for piece in [part(0, 80), part(160, 240), part(40, 120)] {
        world.send(&piece);
    }
    world.send(&part(0, 200));
    world.advance(30_000);
    world.director.handle_timers(world.now, usize::MAX);
    let told = packets(&mut world);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0][23], &told[0][34..36]), (1, &[11, 1][..]), "time exceeded, code 1");
    assert_eq!(told[0][26..30], VIP);
    world.send(&part(0, 200));
    world.send(&part(200, 408));
    assert_eq!(world.drain().len(), 2);
    let stats = world.director.stats();
    assert_eq!(stats.dropped(DropReason::FragmentOverlap), 3);
    assert_eq!(stats.dropped(DropReason::FragmentTimeout), 1);
    assert_eq!((stats.received, stats.absorbed, stats.reassembled), (6, 2, 1));
    assert_eq!(stats.dropped_total() + stats.absorbed, stats.received);
}

#[test]
fn the_fragments_of_a_refused_datagram_count_as_refused() {
    let mut world = world(By::Direct);
    for host in 2..=3 {
        let spec =
            DestinationSpec { weight: 0, ..DestinationSpec::new(Endpoint::new(server(host), 53)) };
        world.apply(Command::EditDestination(udp_key(Family::V4), spec));
    }
    let segment = datagram(Family::V4, 400);
    let pieces = fragments(Family::V4, &segment, &[0, 200, 408]);
    assert_eq!(world.send(&pieces[0]).0, Verdict::Absorb);
    assert_eq!(world.send(&pieces[1]).0, Verdict::Absorb, "the error does not fit its slot");
    let told = world.drain();
    assert_eq!((told.len(), &told[0][34..36]), (1, &[3, 3][..]), "port unreachable");
    assert_eq!(told[0][44..46], [1, 0xac], "about the whole datagram");
}

#[test]
fn next_deadline_is_when_a_set_ends() {
    let mut world = world(By::Direct);
    let quiet = Neighborhood { resolve_ahead: false, probe_virtual: None };
    world.apply(Command::SetNeighborhood(quiet));
    let segment = datagram(Family::V6, 400);
    world.advance(500);
    world.send(&frame(Family::V6, &segment, (0, 200)));
    assert_eq!(world.director.next_deadline(), Some(Instant::from_millis(60_500)));
}

#[test]
fn a_fragment_that_comes_after_its_sets_end_begins_anew_though_no_timer_ran() {
    let mut world = world(By::Direct);
    let segment = datagram(Family::V4, 400);
    let pieces = fragments(Family::V4, &segment, &[0, 200, 408]);
    world.send(&pieces[0]);
    world.advance(30_000);
    assert_eq!(world.send(&pieces[1]).0, Verdict::Absorb);
    assert!(world.states().is_empty());
    assert_eq!(world.director.stats().dropped(DropReason::FragmentTimeout), 1);
    world.advance(29_999);
    world.send(&pieces[0]);
    assert_eq!(world.states(), ["UDP"]);
}

#[test]
fn what_is_the_hosts_after_all_is_handed_back_in_pieces() {
    let mut world = world(By::Direct);
    let mut segment = datagram(Family::V4, 400);
    segment[2..4].copy_from_slice(&99u16.to_be_bytes());
    let pieces = fragments(Family::V4, &segment, &[0, 208, 408]);
    for piece in &pieces {
        assert_eq!(world.send(piece).0, Verdict::Absorb);
    }
    let mut slot = vec![0; 4096];
    for piece in &pieces {
        let mut frame = Frame::new(&mut slot, 128, 0, PortId(3));
        assert!(world.director.poll_transmit(world.now, &mut frame));
        assert_eq!(frame.verdict, Verdict::Pass(PassReason::NoService));
        assert_eq!((frame.bytes(), frame.port()), (&piece[..], PORT));
    }
    assert!(world.drain().is_empty());
}

#[test]
fn fragments_of_one_vlan_do_not_complete_those_of_another() {
    let mut world = world(By::Direct);
    let segment = datagram(Family::V4, 400);
    let tagged = |part, vlan: u8| {
        let mut bytes = frame(Family::V4, &segment, part);
        bytes.splice(12..12, [0x81, 0, 0, vlan]);
        bytes
    };
    world.send(&tagged((0, 200), 5));
    world.send(&tagged((200, 408), 6));
    assert!(world.states().is_empty());
    world.send(&tagged((200, 408), 5));
    assert_eq!(world.states(), ["UDP"]);
    // The server's neighbour is to be found in that VLAN.
    let asked = world.drain();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0][12..18], [0x81, 0, 0, 5, 0x08, 0x06]);
}

#[test]
fn a_datagram_that_waited_in_vain_is_answered_though_no_slot_holds_it() {
    let mut world = world(By::Direct);
    for host in 2..=3 {
        let spec = DestinationSpec::new(Endpoint::new(server(host), 53));
        let addr = server(host + 7);
        world.apply(Command::DeleteDestination(udp_key(Family::V4), spec.addr));
        let spec = DestinationSpec::new(Endpoint::new(addr, 53));
        world.apply(Command::AddDestination(udp_key(Family::V4), spec));
    }
    world.drain();
    let segment = datagram(Family::V4, 9000);
    let cuts: Vec<usize> = (0..segment.len()).step_by(1480).chain([segment.len()]).collect();
    for piece in fragments(Family::V4, &segment, &cuts) {
        assert_eq!(world.send(&piece).0, Verdict::Absorb);
    }
    for _ in 0..4 {
        world.advance(1000);
        world.director.handle_timers(world.now, usize::MAX);
    }
    let told = packets(&mut world);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0][23], &told[0][34..36]), (1, &[3, 1][..]), "host unreachable");
    assert_eq!(told[0].len(), 14 + 576);
}

#[test]
fn without_services_of_its_family_a_fragment_is_the_hosts_at_once() {
    let mut world = World::with_service("rr", None);
    let segment = datagram(Family::V6, 400);
    world.apply(Command::AddLocal { addr: VIP_V6.parse().unwrap(), answer: false });
    let (verdict, _) = world.send(&frame(Family::V6, &segment, (0, 200)));
    assert_eq!(verdict, Verdict::Pass(PassReason::NoServices));
}
