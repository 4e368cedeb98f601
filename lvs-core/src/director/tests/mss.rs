//! Limits of segment sizes.

use etherparse::TcpOptionElement::{MaximumSegmentSize, WindowScale};

use super::*;
use crate::command::{ForwardingMethod, MssLimit, Tunnel};
use crate::wire::checksum;

const LIMIT: u16 = 1360;

/// A segment with a port of the client's, that says 1460 if it is a SYN.
fn from_client(port: u16, is_syn: bool) -> Vec<u8> {
    let mut builder = PacketBuilder::ethernet2(ROUTER.0, DIRECTOR.0)
        .ipv4([192, 0, 2, 7], VIP, 64)
        .tcp(port, 80, 1, 1000)
        .options(&[WindowScale(7), MaximumSegmentSize(1460)])
        .unwrap();
    builder = if is_syn { builder.syn() } else { builder.ack(1) };
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).unwrap();
    frame
}

/// What the TCP segment at the end of a frame says, whose checksum must be right.
fn mss_of(frame: &[u8], at: usize) -> u16 {
    let addr = |at: usize| IpAddr::from([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    let (src, dst) = (addr(at - 8), addr(at - 4));
    assert_eq!(checksum::transport(src, dst, Protocol::TCP, &frame[at..]), 0);
    let option = frame[at + 20..].windows(2).position(|two| two == [2, 4]).unwrap();
    u16::from_be_bytes([frame[at + 22 + option], frame[at + 23 + option]])
}

fn limited(world: &mut World) {
    world.apply(Command::SetMssLimits(vec![MssLimit { service: key(), mss: LIMIT }]));
}

#[test]
fn a_syn_of_a_limited_service_says_less_and_others_what_they_said() {
    let mut world = World::with_service("rr", None);
    assert_eq!(mss_of(&world.send(&from_client(1, true)).1, 34), 1460);
    limited(&mut world);
    assert_eq!(mss_of(&world.send(&from_client(2, true)).1, 34), LIMIT);
    // Sent again by the client, it is the same.
    assert_eq!(mss_of(&world.send(&from_client(2, true)).1, 34), LIMIT);
    // What is no SYN tells nothing.
    assert_eq!(mss_of(&world.send(&from_client(2, false)).1, 34), 1460);
    world.apply(Command::SetMssLimits(Vec::new()));
    assert_eq!(mss_of(&world.send(&from_client(3, true)).1, 34), 1460);
}

#[test]
fn a_limit_is_of_one_service() {
    let mut world = World::with_service("rr", None);
    let virt = Endpoint::new(IpAddr::V4(VIP.into()), 443);
    let other = ServiceKey::Address { protocol: Protocol::TCP, virt };
    world.apply(Command::SetMssLimits(vec![MssLimit { service: other, mss: LIMIT }]));
    assert_eq!(mss_of(&world.send(&from_client(1, true)).1, 34), 1460);
}

#[test]
fn a_syn_is_changed_inside_its_tunnel() {
    let mut world = World::new(Limits::small());
    world.apply(Command::AddService(ServiceSpec::new(key())));
    let addr = server(2);
    world.apply(Command::SetNeighbor { port: PORT, addr, mac: server_mac(2) });
    let method = ForwardingMethod::Tunnel(Tunnel::IpIp);
    let spec = DestinationSpec { method, ..DestinationSpec::new(Endpoint::new(addr, 80)) };
    world.apply(Command::AddDestination(key(), spec));
    world.drain();
    limited(&mut world);
    let (verdict, frame) = world.send(&from_client(1, true));
    assert_eq!(verdict, Verdict::Transmit(PORT));
    assert_eq!(mss_of(&frame, 54), LIMIT);
}

#[test]
fn both_ends_of_a_masqueraded_connection_are_limited() {
    let mut world = World::new(Limits::small());
    world.apply(Command::AddService(ServiceSpec::new(key())));
    let (addr, client) = (server(2), IpAddr::from([192, 0, 2, 7]));
    world.apply(Command::SetNeighbor { port: PORT, addr, mac: server_mac(2) });
    world.apply(Command::SetNeighbor { port: PORT, addr: client, mac: ROUTER });
    let method = ForwardingMethod::Masquerade;
    let spec = DestinationSpec { method, ..DestinationSpec::new(Endpoint::new(addr, 80)) };
    world.apply(Command::AddDestination(key(), spec));
    world.drain();
    limited(&mut world);
    assert_eq!(mss_of(&world.send(&from_client(4242, true)).1, 34), LIMIT);
    let mut answer = Vec::new();
    PacketBuilder::ethernet2(server_mac(2).0, DIRECTOR.0)
        .ipv4([10, 1, 0, 2], [192, 0, 2, 7], 64)
        .tcp(80, 4242, 1, 1000)
        .options(&[MaximumSegmentSize(1460)])
        .unwrap()
        .syn()
        .ack(2)
        .write(&mut answer, &[])
        .unwrap();
    let (verdict, frame) = world.send(&answer);
    assert!(matches!(verdict, Verdict::Transmit(_)), "{verdict:?}");
    assert_eq!(mss_of(&frame, 34), LIMIT);
}

#[test]
fn a_limit_below_what_any_tcp_takes_is_refused() {
    let mut world = World::with_service("rr", None);
    limited(&mut world);
    let limits = vec![MssLimit { service: key(), mss: 87 }];
    let error = world.director.apply(world.now, Command::SetMssLimits(limits)).unwrap_err();
    assert!(alloc::string::ToString::to_string(&error).contains("at least 88"));
    assert_eq!(world.director.mss_limits().len(), 1, "the old limits stay");
}
