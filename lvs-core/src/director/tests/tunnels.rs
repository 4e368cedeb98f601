//! Tunnels where scenarios do not reach: pieces over IPv6, paths that change, neighbours that are silent.

use super::*;
use crate::command::{ForwardingMethod, Tunnel, TunnelChecksum};

const ALLOWED: usize = 1500;

/// A world whose servers are reached through IPIP tunnels; without a listed one but `addr`.
fn world(addr: IpAddr) -> World {
    let mut world = World::new(Limits::small());
    let prefix = Prefix::new("2001:db8:2::1".parse().unwrap(), 64).unwrap();
    let v4 = |a: [u8; 4]| Prefix::new(IpAddr::V4(a.into()), 16).unwrap();
    let addresses = vec![v4([10, 1, 0, 1]), v4([192, 0, 2, 1]), prefix];
    world.apply(Command::SetPort(PortSpec { id: PORT, mac: DIRECTOR, mtu: 1500, addresses }));
    world.apply(Command::AddService(ServiceSpec::new(key())));
    let method = ForwardingMethod::Tunnel(Tunnel::IpIp);
    let spec = DestinationSpec { method, ..DestinationSpec::new(Endpoint::new(addr, 80)) };
    world.apply(Command::AddDestination(key(), spec));
    world
}

fn known(addr: IpAddr) -> World {
    let mut world = world(addr);
    world.apply(Command::SetNeighbor { port: PORT, addr, mac: server_mac(2) });
    world.drain();
    world
}

/// A segment without DF.
fn may_be_cut(payload: usize) -> Vec<u8> {
    let mut frame = segment(7, 1, "S", 64, payload);
    frame[20] = 0;
    frame[24..26].fill(0);
    let sum = crate::wire::checksum::of(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// A router's "fragmentation needed" about a frame that the director sent.
fn frag_needed(about: &[u8], mtu: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(ROUTER.0, DIRECTOR.0)
        .ipv4([10, 1, 0, 99], [10, 1, 0, 1], 64)
        .icmpv4_raw(3, 4, [0, 0, (mtu >> 8) as u8, mtu as u8])
        .write(&mut frame, &about[14..])
        .unwrap();
    frame
}

fn mtu_told(frame: &[u8]) -> u16 {
    assert_eq!((frame[23], &frame[34..36]), (1, &[3, 4][..]), "fragmentation needed");
    u16::from_be_bytes([frame[40], frame[41]])
}

#[test]
fn a_packet_too_big_for_a_tunnel_over_ipv6_leaves_in_pieces_that_fit_together() {
    let mut world = known("2001:db8:2::2".parse().unwrap());
    let frame = may_be_cut(1440);
    let (verdict, _) = world.send(&frame);
    assert_eq!(verdict, Verdict::Absorb);
    let pieces = world.drain();
    assert_eq!(pieces.len(), 2);
    let mut whole = Vec::new();
    let mut idents = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        assert!(piece.len() <= 14 + ALLOWED);
        assert_eq!(piece[..6], server_mac(2).0);
        assert_eq!((piece[20], piece[54]), (44, 4), "IPv6, a fragment header, then IPv4");
        let place = u16::from_be_bytes([piece[56], piece[57]]);
        assert_eq!((usize::from(place & !7), place & 1 == 1), (whole.len(), i == 0));
        assert_eq!(usize::from(u16::from_be_bytes([piece[18], piece[19]])), piece.len() - 54);
        idents.push(piece[58..62].to_vec());
        whole.extend_from_slice(&piece[62..]);
    }
    assert_eq!(idents[0], idents[1]);
    assert_eq!(whole[20..], frame[34..], "behind the header, whose TTL went down");
}

#[test]
fn the_mtu_of_a_path_is_learnt_and_forgotten_after_ten_minutes() {
    let mut world = known(server(2));
    let client = IpAddr::V4([192, 0, 2, 7].into());
    world.apply(Command::SetNeighbor { port: PORT, addr: client, mac: ROUTER });
    let long = segment(7, 1, "S", 64, 1400);
    let (_, sent) = world.send(&long);
    // The client is told of the MTU that packets have seen so far.
    let (verdict, told) = world.send(&frag_needed(&sent, 1300));
    assert_eq!((verdict, mtu_told(&told)), (Verdict::Transmit(PORT), 1480));
    assert_eq!((&told[..6], &told[26..30]), (&ROUTER.0[..], &VIP[..]));
    assert_eq!(mtu_told(&world.send(&long).1), 1280);
    assert_eq!(mtu_told(&world.send(&frag_needed(&sent, 1200)).1), 1180);
    assert_eq!(mtu_told(&world.send(&frag_needed(&sent, 1400)).1), 1180, "never raised");
    assert_eq!(world.send(&may_be_cut(1400)).0, Verdict::Absorb);
    assert!(world.drain().iter().all(|piece| piece.len() <= 14 + 1200));
    world.advance(600_001);
    assert_eq!(world.send(&long).0, Verdict::Transmit(PORT));
}

#[test]
fn nobody_lowers_the_mtu_of_a_path_without_knowing_a_connection() {
    let mut world = known(server(2));
    let (_, sent) = world.send(&segment(7, 1, "S", 64, 1400));
    let mut other = sent.clone();
    other[14 + 20 + 21] ^= 1; // Another client port inside.
    assert_eq!(world.send(&frag_needed(&other, 600)).0, Verdict::Pass(PassReason::Icmp));
    let mut wrong = frag_needed(&sent, 600);
    wrong[36] ^= 1;
    assert_eq!(world.send(&wrong).0, Verdict::Drop(DropReason::IcmpChecksum));
    assert_eq!(world.send(&segment(7, 1, "A", 64, 1400)).0, Verdict::Transmit(PORT));
}

#[test]
fn a_client_learns_from_the_virtual_address_that_the_server_of_a_tunnel_is_silent() {
    let mut world = world(server(2));
    assert_eq!(world.send(&segment(7, 1, "S", 64, 0)).0, Verdict::Absorb);
    for _ in 0..3 {
        world.advance(1000);
        world.director.handle_timers(world.now, 100);
    }
    let sent = world.drain();
    let icmp: Vec<_> = sent.iter().filter(|frame| frame[12..14] == [8, 0]).collect();
    assert_eq!(icmp.len(), 1);
    assert_eq!((&icmp[0][26..30], &icmp[0][30..34]), (&VIP[..], &[192, 0, 2, 7][..]));
    assert_eq!((&icmp[0][..6], &icmp[0][34..36]), (&ROUTER.0[..], &[3, 1][..]));
    assert_eq!(icmp[0][42 + 12..42 + 16], [192, 0, 2, 7], "the packet inside is quoted");
}

#[test]
fn a_packet_waits_inside_its_tunnel_for_the_neighbor() {
    let mut world = world(server(2));
    assert_eq!(world.send(&may_be_cut(1460)).0, Verdict::Absorb);
    world.drain();
    let answer = ArpPacket::request(server_mac(2), [10, 1, 0, 2].into(), [10, 1, 0, 1].into());
    let mut frame = vec![0; 60];
    answer.emit_frame(&mut frame, DIRECTOR, &VlanTags::NONE);
    world.send(&frame);
    let sent = world.drain();
    assert_eq!(sent.len(), 2, "in two pieces of the outer packet");
    assert!(sent.iter().all(|piece| piece[..6] == server_mac(2).0 && piece[23] == 4));
}

/// A super-frame with an unfinished checksum, as a local TCP sends it.
fn send_super(world: &mut World, bytes: &[u8], size: u16) -> Verdict {
    use crate::io::{Checksum, Offload, SegmentKind, Segments};
    let mut slot = vec![0; 128 + bytes.len()];
    slot[128..].copy_from_slice(bytes);
    let mut frames = [Frame::new(&mut slot, 128, bytes.len(), PORT)];
    let kind = SegmentKind::Tcp4;
    frames[0].offload = Offload {
        checksum: Checksum::Partial { start: 34, offset: 16 },
        segments: Some(Segments { kind, size, header_len: 54, ecn: false }),
    };
    world.director.process_burst(world.now, &mut frames);
    frames[0].verdict
}

#[test]
fn a_super_frame_leaves_through_a_tunnel_as_the_segments_it_stands_for() {
    for tunnel in [
        Tunnel::IpIp,
        Tunnel::Gue { port: crate::ids::L4Port(6080), checksum: TunnelChecksum::Checksum },
        Tunnel::Gre { checksum: TunnelChecksum::Checksum },
    ] {
        for addr in [server(2), "2001:db8:2::2".parse().unwrap()] {
            let [mut one, mut other] = [known(addr), known(addr)];
            for world in [&mut one, &mut other] {
                let method = ForwardingMethod::Tunnel(tunnel);
                let spec =
                    DestinationSpec { method, ..DestinationSpec::new(Endpoint::new(addr, 80)) };
                world.apply(Command::EditDestination(key(), spec));
                world.send(&segment(7, 1, "S", 64, 0));
                world.drain();
            }
            let whole = segment(7, 1, "A", 64, 30_000);
            assert_eq!(send_super(&mut one, &whole, 1000), Verdict::Absorb);
            let left = one.drain();
            assert_eq!(left.len(), 30);
            let mut payload = Vec::new();
            for (number, frame) in left.iter().enumerate() {
                let inside = crate::forward::tunnel::look_inside(&frame[14..]).unwrap();
                let inner = &frame[14 + inside.at..];
                let (mut ip, rest) = etherparse::Ipv4Header::from_slice(inner).unwrap();
                assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                let (tcp, data) = etherparse::TcpHeader::from_slice(rest).unwrap();
                assert_eq!(tcp.checksum, tcp.calc_checksum_ipv4(&ip, data).unwrap());
                assert_eq!(tcp.sequence_number, 1000 + 1000 * number as u32);
                payload.extend_from_slice(data);
                // The same segment alone gets the same outer headers.
                ip.time_to_live = 64;
                ip.header_checksum = ip.calc_header_checksum();
                let alone = [&whole[..14], &ip.to_bytes(), rest].concat();
                let (verdict, alone) = other.send(&alone);
                assert_eq!((verdict, &alone), (Verdict::Transmit(PORT), frame), "{tunnel:?}");
            }
            assert_eq!(payload, whole[54..]);
        }
    }
}

#[test]
fn segments_too_long_for_a_tunnel_are_told_to_their_sender() {
    let mut world = known(server(2));
    world.send(&segment(7, 1, "S", 64, 0));
    let verdict = send_super(&mut world, &may_be_cut(30_000), 1460);
    assert_eq!(verdict, Verdict::Drop(DropReason::TooBig), "without DF nobody is told");
    let whole = segment(7, 1, "A", 64, 30_000);
    assert_eq!(send_super(&mut world, &whole, 1460), Verdict::Reply(PORT));
    assert_eq!(send_super(&mut world, &whole, 1440), Verdict::Absorb);
}

#[test]
fn a_super_frame_waits_for_the_tunnels_neighbor() {
    let mut world = world(server(2));
    world.drain();
    assert_eq!(send_super(&mut world, &segment(7, 1, "S", 64, 5000), 1000), Verdict::Absorb);
    assert!(world.drain().is_empty(), "the request is on its way already");
    let answer = ArpPacket::request(server_mac(2), [10, 1, 0, 2].into(), [10, 1, 0, 1].into());
    let mut frame = vec![0; 42];
    answer.emit_frame(&mut frame, MacAddr::BROADCAST, &VlanTags::NONE);
    world.send(&frame);
    assert_eq!(world.drain().len(), 5);
}

#[test]
fn a_super_frame_that_has_no_segments_is_dropped_with_a_reason_of_its_own() {
    let mut world = known(server(2));
    let verdict = send_super(&mut world, &segment(7, 1, "S", 64, 3000), 0);
    assert_eq!(verdict, Verdict::Drop(DropReason::TunnelSuperFrame));
}

#[test]
fn a_checksum_left_to_the_hardware_is_finished_before_a_tunnel_hides_it() {
    use crate::io::{Checksum, Offload};
    use crate::wire::checksum::{Sum, transport};
    let mut world = known(server(2));
    let mut bytes = segment(7, 1, "S", 64, 99);
    let (client, virt) = (IpAddr::V4([192, 0, 2, 7].into()), IpAddr::V4(VIP.into()));
    let len = (bytes.len() - 34) as u32;
    let sum = Sum::pseudo_header(client, virt, Protocol::TCP, len).fold();
    bytes[50..52].copy_from_slice(&sum.to_be_bytes());
    let mut slot = vec![0; 128 + bytes.len()];
    slot[128..].copy_from_slice(&bytes);
    let mut frames = [Frame::new(&mut slot, 128, bytes.len(), PORT)];
    let checksum = Checksum::Partial { start: 34, offset: 16 };
    frames[0].offload = Offload { checksum, segments: None };
    world.director.process_burst(world.now, &mut frames);
    assert_eq!(frames[0].verdict, Verdict::Transmit(PORT));
    assert_eq!(frames[0].offload, Offload::default());
    assert_eq!(transport(client, virt, Protocol::TCP, &frames[0].bytes()[54..]), 0);
}

#[test]
fn schedule_icmp_opens_a_connection_that_ends_after_three_seconds() {
    let mut world = known(server(2));
    world
        .director
        .apply(
            world.now,
            Command::SetTunables(Tunables { schedule_icmp: true, ..Tunables::default() }),
        )
        .unwrap();
    let mut quoted = Vec::new();
    PacketBuilder::ipv4(VIP, [192, 0, 2, 7], 64).tcp(80, 1, 1, 1).write(&mut quoted, &[]).unwrap();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(ROUTER.0, DIRECTOR.0)
        .ipv4([192, 0, 2, 99], VIP, 64)
        .icmpv4_raw(3, 1, [0; 4])
        .write(&mut frame, &quoted)
        .unwrap();
    assert_eq!(world.send(&frame).0, Verdict::Transmit(PORT));
    assert_eq!(world.states(), ["NONE"]);
    world.advance(3001);
    assert!(world.states().is_empty());
}
