//! What a master of synchronisation announces, rule by rule; the rules are those of the recorded kernel
//! (Y1 to Y14).

use super::*;
use crate::addr::Family;
use crate::command::{
    ApplyError, ForwardingMethod, MarkRule, MssLimit, Neighborhood, SyncRoles, Tunables, Tunnel,
};
use crate::ids::FwMark;
use crate::snapshot::{Announced, Announcement, Method};
use crate::state::State;

const MASTER: SyncRoles = SyncRoles { master: true, backup: false };

fn set(world: &mut World, change: impl Fn(&mut Tunables)) {
    let mut tunables = *world.director.tunables();
    change(&mut tunables);
    world.apply(Command::SetTunables(tunables));
}

fn persistence(secs: u64) -> Option<Persistence> {
    let granularity = Granularity::Mask(u32::MAX);
    Some(Persistence { timeout: Duration::from_secs(secs), granularity })
}

/// A master with a service of three servers.
fn master(persistence: Option<Persistence>) -> World {
    let mut world = World::with_service("rr", persistence);
    world.apply(Command::SetSyncRoles(MASTER));
    world
}

/// With a UDP service of one server besides.
fn with_udp(mut world: World, one_packet: bool, persistence: Option<Persistence>) -> World {
    let key = udp_key();
    let mut spec = ServiceSpec::new(key);
    (spec.one_packet, spec.persistence) = (one_packet, persistence);
    world.apply(Command::AddService(spec));
    let server = DestinationSpec::new(Endpoint::new(server(2), 53));
    world.apply(Command::AddDestination(key, server));
    world
}

fn udp_key() -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::UDP, virt: Endpoint::new(VIP.into(), 53) }
}

fn datagram(client: u8, port: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(ROUTER.0, DIRECTOR.0);
    let builder = builder.ipv4([192, 0, 2, client], VIP, 64).udp(port, 53);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[1; 9]).unwrap();
    frame
}

/// What was announced since the last time: `c` and the state of a connection, `t` and the seconds of a
/// template.
fn told(world: &mut World) -> Vec<std::string::String> {
    announcements(world)
        .iter()
        .map(|a| match a.kind {
            Announced::Connection(state) => std::format!("c {}", state.name()),
            Announced::Template { assured } => {
                std::format!("t {}{}", a.timeout.as_secs(), if assured { " assured" } else { "" })
            }
        })
        .collect()
}

fn announcements(world: &mut World) -> Vec<Announcement> {
    core::iter::from_fn(|| world.director.poll_announcement()).collect()
}

/// Segments of one connection; which of them were announced, by number from 1.
fn announced_of(world: &mut World, flags: &[&str]) -> Vec<usize> {
    let mut all = Vec::new();
    for (n, flags) in flags.iter().enumerate() {
        world.tcp(7, 40_000, flags);
        all.extend(told(world).iter().map(|_| n + 1));
        world.advance(5);
    }
    all
}

#[test]
fn an_established_connection_is_announced_at_its_third_packet_and_every_fifty_after_it() {
    let mut world = master(None);
    let flags: Vec<&str> = core::iter::once("S").chain(core::iter::repeat_n("A", 109)).collect();
    assert_eq!(announced_of(&mut world, &flags), [3, 53, 103]);
}

#[test]
fn an_announcement_tells_all_that_a_backup_needs() {
    let mut world = master(None);
    for flags in ["S", "A", "A"] {
        world.tcp(7, 40_000, flags);
    }
    let expected = Announcement {
        protocol: Protocol::TCP,
        client: Endpoint::new([192, 0, 2, 7].into(), 40_000),
        virt: Endpoint::new(VIP.into(), 80),
        server: Endpoint::new(server(4), 80),
        method: Method::DirectRoute,
        kind: Announced::Connection(State::Established),
        answered: false,
        inactive: false,
        relayed: false,
        engine: None,
        mark: FwMark::NONE,
        timeout: Duration::from_secs(900),
    };
    assert_eq!(announcements(&mut world), [expected]);
}

#[test]
fn half_open_connections_are_not_announced_and_states_that_end_are_at_once() {
    let mut world = master(None);
    assert_eq!(announced_of(&mut world, &["S", "S", "S", "S"]), [0; 0]);
    let mut world = master(None);
    assert_eq!(announced_of(&mut world, &["S", "A", "AF", "A", "A", "A"]), [3], "told once");
    let mut world = master(None);
    assert_eq!(announced_of(&mut world, &["S", "A", "R"]), [3]);
}

#[test]
fn a_datagram_connection_is_announced_by_its_packets_alone() {
    let mut world = with_udp(master(None), false, None);
    let mut at = Vec::new();
    for n in 1..=60 {
        world.send(&datagram(7, 1000));
        at.extend(announcements(&mut world).iter().map(|a| (n, a.kind, a.inactive)));
    }
    let kind = Announced::Connection(State::Udp);
    assert_eq!(at, [(3, kind, true), (53, kind, true)]);
}

#[test]
fn a_template_is_announced_with_every_packet_of_its_connections() {
    let mut world = master(persistence(300));
    world.tcp(7, 40_000, "S");
    assert_eq!(told(&mut world), ["t 300"]);
    world.tcp(7, 40_000, "A");
    assert_eq!(told(&mut world), ["t 300 assured"]);
    world.tcp(7, 40_000, "A");
    assert_eq!(told(&mut world), ["c ESTABLISHED", "t 300 assured"]);
    world.tcp(7, 40_001, "S");
    let template = announcements(&mut world)[0];
    assert_eq!(template.client, Endpoint::new([192, 0, 2, 7].into(), 0));
    assert_eq!((template.server, template.inactive), (Endpoint::new(server(4), 80), true));
}

#[test]
fn sync_persist_mode_announces_templates_alone() {
    let mut world = master(persistence(300));
    set(&mut world, |tunables| tunables.sync_persist_mode = true);
    for flags in ["S", "A", "A", "AF"] {
        world.tcp(7, 40_000, flags);
    }
    assert!(told(&mut world).iter().all(|told| told.starts_with('t')));
}

#[test]
fn a_template_that_is_kept_for_its_connections_is_announced_at_that_moment() {
    let mut world = master(persistence(2));
    world.tcp(7, 40_000, "S");
    told(&mut world);
    world.advance(2000);
    world.director.handle_timers(world.now, usize::MAX);
    assert_eq!(told(&mut world), ["t 60"]);
}

#[test]
fn one_packet_connections_are_not_announced_but_their_templates() {
    let mut world = with_udp(master(None), true, None);
    (0..4).for_each(|port| drop(world.send(&datagram(7, port))));
    assert_eq!(told(&mut world).len(), 0);
    let mut world = with_udp(master(None), true, persistence(100));
    (0..4).for_each(|port| drop(world.send(&datagram(7, port))));
    assert_eq!(told(&mut world), ["t 100"; 4]);
}

#[test]
fn a_threshold_without_a_period_announces_once_templates_too() {
    let once = |tunables: &mut Tunables| (tunables.sync_threshold, tunables.sync_period) = (4, 0);
    let mut world = master(None);
    set(&mut world, once);
    let flags: Vec<&str> = core::iter::once("S").chain(core::iter::repeat_n("A", 60)).collect();
    assert_eq!(announced_of(&mut world, &flags), [4]);
    let mut world = master(persistence(300));
    set(&mut world, once);
    for flags in ["S", "A", "A", "A", "A", "A"] {
        world.tcp(7, 40_000, flags);
    }
    assert_eq!(told(&mut world), ["c ESTABLISHED", "t 300 assured"], "at its fourth visit");
    let mut world = master(None);
    set(&mut world, |tunables| (tunables.sync_threshold, tunables.sync_period) = (0, 0));
    assert_eq!(announced_of(&mut world, &["S", "A", "A", "A", "AF"]), [5], "only what ends");
    let mut world = master(None);
    set(&mut world, |tunables| (tunables.sync_threshold, tunables.sync_period) = (0, 1));
    assert_eq!(announced_of(&mut world, &["S", "A", "A", "A"]), [2, 3, 4], "each packet");
}

#[test]
fn a_refresh_period_waits_until_the_end_has_moved_so_far() {
    let mut world = master(None);
    set(&mut world, |tunables| {
        (tunables.sync_period, tunables.sync_refresh_period) = (0, 20);
    });
    world.tcp(7, 40_000, "S");
    world.tcp(7, 40_000, "A");
    assert_eq!(told(&mut world), ["c ESTABLISHED"], "there was no announcement before it");
    world.advance(19_999);
    world.tcp(7, 40_000, "A");
    assert_eq!(told(&mut world).len(), 0);
    world.advance(1);
    world.tcp(7, 40_000, "A");
    assert_eq!(told(&mut world), ["c ESTABLISHED"]);
    world.advance(5);
    world.tcp(7, 40_000, "AF");
    assert_eq!(told(&mut world), ["c FIN_WAIT"], "what ends does not wait");
}

#[test]
fn a_refresh_period_asks_for_no_more_than_half_the_timeout() {
    let mut world = with_udp(master(None), false, None);
    set(&mut world, |tunables| {
        (tunables.sync_period, tunables.sync_refresh_period) = (0, 1000);
    });
    world.send(&datagram(7, 1000));
    assert_eq!(told(&mut world).len(), 1);
    world.advance(149_999);
    world.send(&datagram(7, 1000));
    assert_eq!(told(&mut world).len(), 0);
    world.advance(1);
    world.send(&datagram(7, 1000));
    assert_eq!(told(&mut world).len(), 1, "half of 300 s");
}

#[test]
fn retries_announce_again_an_eighth_of_the_refresh_period_apart() {
    let mut world = master(None);
    set(&mut world, |tunables| {
        (tunables.sync_period, tunables.sync_refresh_period, tunables.sync_retries) = (0, 80, 2);
    });
    world.tcp(7, 40_000, "S");
    world.tcp(7, 40_000, "A");
    let mut seconds = Vec::new();
    for second in 1..=60 {
        told(&mut world);
        world.advance(1000);
        world.tcp(7, 40_000, "A");
        seconds.extend(told(&mut world).iter().map(|_| second));
    }
    assert_eq!(seconds, [10, 20], "each ten seconds after the one before");
}

#[test]
fn icmp_errors_to_a_directly_routed_server_count_as_packets() {
    let mut world = master(None);
    world.tcp(7, 40_000, "S");
    world.tcp(7, 40_000, "A");
    // From the router: about an answer of the virtual address.
    let mut quoted = Vec::new();
    let answer = PacketBuilder::ipv4(VIP, [192, 0, 2, 7], 64).tcp(80, 40_000, 1, 1).ack(1);
    answer.write(&mut quoted, &[]).unwrap();
    let mut error = Vec::new();
    let icmp = etherparse::Icmpv4Type::DestinationUnreachable(
        etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1400 },
    );
    let builder = PacketBuilder::ethernet2(ROUTER.0, DIRECTOR.0);
    builder.ipv4([192, 0, 2, 254], VIP, 64).icmpv4(icmp).write(&mut error, &quoted).unwrap();
    assert!(matches!(world.send(&error).0, Verdict::Transmit(_)));
    world.tcp(7, 40_000, "A");
    assert_eq!(told(&mut world).len(), 0, "it was the fourth");
}

#[test]
fn version_0_announces_a_template_only_with_its_connection() {
    let mut world = master(persistence(300));
    set(&mut world, |tunables| tunables.sync_version = 0);
    world.tcp(7, 40_000, "S");
    world.tcp(7, 40_000, "A");
    assert_eq!(told(&mut world).len(), 0);
    world.tcp(7, 40_000, "A");
    assert_eq!(told(&mut world), ["c ESTABLISHED", "t 300 assured"]);
    let mut world = with_udp(master(None), true, persistence(100));
    set(&mut world, |tunables| tunables.sync_version = 0);
    world.send(&datagram(7, 1));
    assert_eq!(told(&mut world).len(), 0, "nor with a connection of one packet");
}

#[test]
fn a_master_that_stops_announces_nothing_and_one_that_starts_again_all_as_at_first() {
    let mut world = master(None);
    for flags in ["S", "A", "A"] {
        world.tcp(7, 40_000, flags);
    }
    world.apply(Command::SetSyncRoles(SyncRoles::default()));
    assert_eq!(told(&mut world).len(), 0, "what waited is forgotten");
    for _ in 0..30 {
        world.tcp(7, 40_000, "A");
    }
    world.apply(Command::SetSyncRoles(MASTER));
    let packets = announced_of(&mut world, &["A"; 40]);
    assert_eq!(packets, [20], "packets were counted all along: the 53rd");
}

#[test]
fn timeouts_that_change_while_a_master_runs_leave_the_long_way_open_alone() {
    let mut world = master(None);
    let tcp = Some(Duration::from_secs(500));
    world.apply(Command::SetTimeouts(TimeoutsSpec { tcp, ..TimeoutsSpec::default() }));
    let flags: Vec<&str> = core::iter::once("S").chain(core::iter::repeat_n("A", 59)).collect();
    assert_eq!(announced_of(&mut world, &flags), [3, 53]);
}

#[test]
fn announcements_that_nobody_takes_are_bounded_and_counted() {
    let mut world = with_udp(master(None), false, persistence(100));
    for port in 0..5000 {
        world.send(&datagram(7, port % 100));
    }
    assert_eq!(announcements(&mut world).len(), 4096);
    assert!(world.director.announcements_lost() > 900);
}

#[test]
fn a_connection_to_a_server_of_the_other_family_is_not_announced() {
    let mut world = World::with_service("rr", None);
    let v6: IpAddr = "2001:db8:2::2".parse().unwrap();
    world.apply(Command::SetSyncRoles(MASTER));
    for host in 2..=4 {
        world.apply(Command::DeleteDestination(key(), Endpoint::new(server(host), 80)));
    }
    let method = ForwardingMethod::Tunnel(Tunnel::IpIp);
    let spec = DestinationSpec { method, ..DestinationSpec::new(Endpoint::new(v6, 80)) };
    world.apply(Command::AddDestination(key(), spec));
    for flags in ["S", "A", "A", "AF"] {
        world.tcp(7, 40_000, flags);
    }
    assert_eq!(world.director.connection_count(), 1);
    assert_eq!(told(&mut world).len(), 0);
}

#[test]
fn the_template_of_a_mark_has_the_mark_as_its_virtual_address() {
    let mut world = World::new(Limits::small());
    world.apply(Command::SetSyncRoles(MASTER));
    world.apply(Command::SetNeighborhood(Neighborhood {
        resolve_ahead: false,
        probe_virtual: None,
    }));
    let rule = MarkRule {
        family: Family::V4,
        source: None,
        destination: None,
        protocol: None,
        source_ports: None,
        destination_ports: None,
        port: None,
        mark: FwMark(5),
    };
    world.apply(Command::SetMarkRules(vec![rule]));
    let key = ServiceKey::Mark { mark: FwMark(5), family: Family::V4 };
    let mut spec = ServiceSpec::new(key);
    spec.persistence = persistence(60);
    world.apply(Command::AddService(spec));
    let method = ForwardingMethod::Masquerade;
    let server = DestinationSpec { method, ..DestinationSpec::new(Endpoint::new(server(5), 0)) };
    world.apply(Command::AddDestination(key, server));
    world.tcp(7, 40_000, "S");
    let [template] = announcements(&mut world)[..] else { panic!("one template") };
    assert_eq!((template.protocol, template.mark), (Protocol::IP, FwMark(5)));
    assert_eq!(template.virt, Endpoint::new([0, 0, 0, 5].into(), 0));
    assert_eq!(template.server, Endpoint::new([10, 1, 0, 5].into(), 0));
    assert_eq!((template.method, template.answered), (Method::Masquerade, true));
}

#[test]
fn switches_that_the_kernel_refuses_are_refused() {
    let mut world = master(None);
    let mut refused = |change: fn(&mut Tunables)| {
        let mut tunables = Tunables::default();
        change(&mut tunables);
        let error = world.director.apply(world.now, Command::SetTunables(tunables));
        matches!(error, Err(ApplyError::SyncTunable(..)))
    };
    assert!(refused(|t| t.sync_threshold = 50));
    assert!(refused(|t| t.sync_ports = 3));
    assert!(refused(|t| t.sync_ports = 0));
    assert!(refused(|t| t.sync_ports = 128));
    assert!(refused(|t| t.sync_version = 2));
    assert!(refused(|t| t.sync_retries = 4));
    assert!(!refused(|t| (t.sync_threshold, t.sync_period) = (50, 0)));
}

#[test]
fn a_backup_with_backup_only_leaves_clients_to_its_host_until_it_is_none() {
    let mut world = World::with_service("rr", None);
    for flags in ["S", "A"] {
        world.tcp(7, 40_000, flags);
    }
    set(&mut world, |tunables| tunables.backup_only = true);
    assert!(world.tcp(7, 40_000, "A").is_some(), "it is no backup yet");
    for master in [false, true] {
        world.apply(Command::SetSyncRoles(SyncRoles { master, backup: true }));
        for flags in ["A", "S"] {
            let (verdict, _) = world.send(&segment(7, 40_000, flags, 64, 0));
            assert_eq!(verdict, Verdict::Pass(PassReason::BackupOnly));
        }
    }
    world.apply(Command::SetSyncRoles(MASTER));
    assert!(world.tcp(7, 40_000, "A").is_some());
    // A limit of segment sizes is set to show that other commands leave it so.
    world.apply(Command::SetMssLimits(vec![MssLimit { service: key(), mss: 1400 }]));
    assert!(world.tcp(7, 40_000, "A").is_some());
}

#[test]
fn a_sweep_tells_of_all_that_is_there_once_in_its_period_and_evenly() {
    let mut world = World::with_service("rr", persistence(10_000));
    for port in 0..100 {
        world.tcp(port as u8, 40_000 + port, "S");
        world.tcp(port as u8, 40_000 + port, "A");
    }
    world.tcp(200, 50_000, "S");
    world.apply(Command::SetSyncRoles(MASTER));
    assert_eq!(told(&mut world).len(), 0, "without the switch nothing is swept");
    set(&mut world, |tunables| tunables.sync_sweep_period = 20);
    for _ in 0..3 {
        let (mut connections, mut templates, mut most) = (0, 0, 0);
        for _ in 0..200 {
            assert!(
                world.director.next_deadline().unwrap() <= world.now + Duration::from_millis(100)
            );
            world.director.handle_timers(world.now, usize::MAX);
            let swept = announcements(&mut world);
            most = most.max(swept.len());
            for announcement in swept {
                match announcement.kind {
                    Announced::Connection(State::Established) => connections += 1,
                    Announced::Connection(other) => panic!("{other:?}"),
                    Announced::Template { .. } => templates += 1,
                }
            }
            world.advance(100);
        }
        // The first places have all of them here: a 200th of 5,120 places is a share.
        assert_eq!((connections, templates), (100, 101));
        assert!(most <= 26, "{most} at once");
    }
    // A caller that was away makes no burst of what it missed.
    world.advance(5_000);
    world.director.handle_timers(world.now, usize::MAX);
    world.director.handle_timers(world.now, usize::MAX);
    assert!(announcements(&mut world).len() <= 26);
}

#[test]
fn what_another_master_announced_is_left_to_it_until_a_packet_comes() {
    let mut first = World::with_service("rr", None);
    first.apply(Command::SetSyncRoles(MASTER));
    for flags in ["S", "A", "A"] {
        first.tcp(7, 40_000, flags);
    }
    let given = announcements(&mut first)[0];
    let mut world = World::with_service("rr", None);
    let both = SyncRoles { master: true, backup: true };
    world.director.take_announcement(world.now, &given).unwrap();
    world.apply(Command::SetSyncRoles(both));
    set(&mut world, |tunables| tunables.sync_sweep_period = 1);
    let sweep = |world: &mut World| {
        let mut swept = 0;
        for _ in 0..10 {
            world.director.handle_timers(world.now, usize::MAX);
            swept += announcements(world).len();
            world.advance(100);
        }
        swept
    };
    assert_eq!(sweep(&mut world), 0, "taken before it was a master");
    world.director.take_announcement(world.now, &given).unwrap();
    assert_eq!(sweep(&mut world), 0, "and after");
    world.tcp(7, 40_000, "A");
    assert_eq!(sweep(&mut world), 1, "it has taken over");
    world.director.take_announcement(world.now, &given).unwrap();
    assert_eq!(sweep(&mut world), 0, "the other one has it back");
}
