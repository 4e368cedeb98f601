//! What a backup of synchronisation makes of announcements, rule by rule; the rules are those of the
//! recorded kernel (Z1 to Z14).

use super::*;
use crate::addr::Family;
use crate::command::{ForwardingMethod, SyncRoles, Tunables};
use crate::ids::FwMark;
use crate::listing::ConnectionEntry;
use crate::snapshot::{Announced, Announcement, Heard, ImportError, Method, Position, Record};
use crate::state::State;

fn client(port: u16) -> Endpoint {
    Endpoint::new([192, 0, 2, 7].into(), port)
}

/// An established connection to port 80 of a server.
fn connection(port: u16, host: u8) -> Announcement {
    Announcement {
        protocol: Protocol::TCP,
        client: client(port),
        virt: Endpoint::new(VIP.into(), 80),
        server: Endpoint::new(server(host), 80),
        method: Method::DirectRoute,
        kind: Announced::Connection(State::Established),
        answered: false,
        inactive: false,
        relayed: false,
        engine: None,
        mark: FwMark::NONE,
        timeout: Duration::from_secs(900),
    }
}

fn ending(port: u16, host: u8) -> Announcement {
    let kind = Announced::Connection(State::FinWait);
    let timeout = Duration::from_secs(120);
    Announcement { kind, timeout, inactive: true, ..connection(port, host) }
}

fn template(host: u8) -> Announcement {
    let kind = Announced::Template { assured: false };
    let timeout = Duration::from_secs(300);
    Announcement { client: client(0), kind, timeout, ..connection(0, host) }
}

impl World {
    fn hear(&mut self, announcement: Announcement) -> Heard {
        self.director.take_announcement(self.now, &announcement).unwrap()
    }

    fn entries(&mut self) -> Vec<ConnectionEntry> {
        let (mut entries, mut cursor) = (Vec::new(), Cursor::default());
        while self.director.connections(self.now, &mut cursor, 9, &mut entries) {}
        entries
    }

    /// Active, inactive and persistent connections of a server of the first service.
    fn load(&mut self, host: u8) -> (u32, u32, u32) {
        let services = self.director.services(self.now);
        let mut servers = services.iter().flat_map(|service| &service.destinations);
        let found = servers.find(|entry| entry.spec.addr.addr == server(host)).unwrap();
        (found.active, found.inactive, found.persistent)
    }

    fn edit(&mut self, host: u8, change: impl Fn(&mut DestinationSpec)) {
        let mut spec = DestinationSpec::new(Endpoint::new(server(host), 80));
        change(&mut spec);
        self.apply(Command::EditDestination(key(), spec));
    }
}

#[test]
fn a_connection_of_a_known_server_counts_there_and_goes_on() {
    let mut world = World::with_service("rr", None);
    assert_eq!(world.hear(connection(40_000, 2)), Heard::Taken);
    assert_eq!(world.hear(ending(40_001, 2)), Heard::Taken);
    assert_eq!(world.load(2), (1, 1, 0));
    assert_eq!(world.tcp(7, 40_000, "A"), Some(2));
    assert_eq!(world.states(), ["ESTABLISHED", "FIN_WAIT"]);
    assert_eq!(world.entries()[0].expires, Duration::from_secs(900));
    let opened: u64 =
        world.director.services(world.now).iter().map(|s| s.counters.connections).sum();
    assert_eq!(opened, 0, "it was opened elsewhere");
}

#[test]
fn the_flag_and_not_the_state_says_whether_it_counts_as_active() {
    let mut world = World::with_service("rr", None);
    let quiet = Announcement { inactive: true, ..connection(40_000, 2) };
    assert_eq!(world.hear(quiet), Heard::Taken);
    assert_eq!(world.load(2), (0, 1, 0));
    assert_eq!(world.hear(connection(40_000, 2)), Heard::Updated);
    assert_eq!(world.load(2), (1, 0, 0));
    assert_eq!(world.hear(ending(40_000, 2)), Heard::Updated);
    assert_eq!((world.load(2), world.states()), ((0, 1, 0), vec!["FIN_WAIT"]));
    world.advance(120_000);
    assert_eq!((world.states().len(), world.load(2)), (0, (0, 0, 0)));
}

#[test]
fn each_announcement_starts_the_whole_timeout() {
    let mut world = World::with_service("rr", None);
    world.hear(connection(40_000, 2));
    world.advance(800_000);
    let shorter = Announcement { timeout: Duration::from_secs(50), ..connection(40_000, 2) };
    world.hear(shorter);
    world.advance(49_999);
    assert_eq!(world.states(), ["ESTABLISHED"]);
    world.advance(1);
    assert!(world.states().is_empty());
}

#[test]
fn no_timeout_is_the_states_own_and_a_templates_three_minutes() {
    let mut world = World::with_service("rr", None);
    let tcp = Some(Duration::from_secs(77));
    world.apply(Command::SetTimeouts(TimeoutsSpec { tcp, ..TimeoutsSpec::default() }));
    world.hear(Announcement { timeout: Duration::ZERO, ..connection(40_000, 2) });
    world.hear(Announcement { timeout: Duration::ZERO, ..template(2) });
    let expires: Vec<u64> = world.entries().iter().map(|entry| entry.expires.as_secs()).collect();
    assert_eq!(expires, [77, 180]);
}

#[test]
fn another_server_replaces_while_active_and_is_ignored_when_it_ends() {
    let mut world = World::with_service("rr", None);
    world.hear(connection(40_000, 2));
    assert_eq!(world.hear(ending(40_000, 3)), Heard::Superseded);
    assert_eq!(world.tcp(7, 40_000, "A"), Some(2));
    assert_eq!(world.hear(connection(40_000, 3)), Heard::Replaced);
    assert_eq!((world.load(2), world.load(3)), ((0, 0, 0), (1, 0, 0)));
    assert_eq!(world.tcp(7, 40_000, "A"), Some(3));
    // One that this director opened itself is no other.
    let own = world.tcp(7, 41_000, "S").unwrap();
    let other = if own == 2 { 3 } else { 2 };
    assert_eq!(world.hear(connection(41_000, other)), Heard::Replaced);
    assert_eq!(world.tcp(7, 41_000, "A"), Some(other));
}

#[test]
fn a_template_leads_new_connections_and_keeps_its_server() {
    let mut world = World::with_service("rr", None);
    let granularity = Granularity::Mask(u32::MAX);
    let mut spec = ServiceSpec::new(key());
    spec.scheduler = "rr".into();
    let timeout = Duration::from_secs(100);
    spec.persistence = Some(Persistence { timeout, granularity });
    world.apply(Command::EditService(spec));
    assert_eq!(world.hear(template(3)), Heard::Taken);
    let other = Announcement { timeout: Duration::from_secs(200), ..template(4) };
    assert_eq!(world.hear(other), Heard::Updated, "whichever server is announced");
    let entry = &world.entries()[0];
    assert_eq!((entry.destination.addr, entry.expires.as_secs()), (server(3), 200));
    assert_eq!((world.load(3).2, world.load(4).2), (1, 0));
    assert!((1..9).all(|port| world.tcp(7, port, "S") == Some(3)));
}

#[test]
fn connections_do_not_hold_their_template() {
    let mut world = World::with_service("rr", None);
    world.hear(template(3));
    world.hear(connection(40_000, 3));
    world.advance(300_000);
    assert_eq!((world.entries().len(), world.load(3)), (1, (1, 0, 0)));
}

#[test]
fn without_its_server_a_connection_goes_where_it_was_announced_to_go() {
    let mut world = World::with_service("rr", None);
    let addr = server(9);
    world.apply(Command::SetNeighbor { port: PORT, addr, mac: server_mac(9) });
    assert_eq!(world.hear(connection(40_000, 9)), Heard::Unbound);
    assert_eq!(world.tcp(7, 40_000, "A"), Some(9));
    assert_eq!(world.entries()[0].destination, Endpoint::new(addr, 80));
    let flow =
        crate::flow::FlowKey::new(Protocol::TCP, client(40_000), Endpoint::new(VIP.into(), 80));
    let details = world.director.connection(world.now, &flow).unwrap();
    assert_eq!((details.service, details.listed), (key(), false));
    // Nobody's number has it, whatever becomes of services and servers.
    assert!((2..=4).all(|host| world.load(host) == (0, 0, 0)));
    world.apply(Command::SetTunables(Tunables { expire_nodest_conn: true, ..Tunables::default() }));
    world.apply(Command::DeleteDestination(key(), Endpoint::new(server(2), 80)));
    assert_eq!(world.tcp(7, 40_000, "A"), Some(9));
}

#[test]
fn an_unbound_connection_is_bound_by_the_announcement_after_its_server_came() {
    let mut world = World::with_service("rr", None);
    let addr = server(9);
    world.apply(Command::SetNeighbor { port: PORT, addr, mac: server_mac(9) });
    world.hear(connection(40_000, 9));
    let method = ForwardingMethod::Masquerade;
    let spec = DestinationSpec { method, ..DestinationSpec::new(Endpoint::new(addr, 80)) };
    world.apply(Command::AddDestination(key(), spec));
    assert_eq!(world.load(9), (0, 0, 0));
    let (_, frame) = world.send(&segment(7, 40_000, "A", 64, 0));
    assert_eq!(frame[30..34], VIP, "by direct routing still");
    assert_eq!(world.hear(connection(40_000, 9)), Heard::Bound);
    assert_eq!(world.load(9), (1, 0, 0));
    let (_, frame) = world.send(&segment(7, 40_000, "A", 64, 0));
    assert_eq!(frame[30..34], [10, 1, 0, 9], "by the method of its server");
}

#[test]
fn the_servers_own_method_counts_and_not_the_announced_one() {
    let mut world = World::with_service("rr", None);
    world.edit(2, |spec| spec.method = ForwardingMethod::Masquerade);
    world.hear(connection(40_000, 2));
    let (_, frame) = world.send(&segment(7, 40_000, "A", 64, 0));
    assert_eq!(frame[30..34], [10, 1, 0, 2]);
    // Its answers are found too.
    let addr = IpAddr::V4([192, 0, 2, 7].into());
    world.apply(Command::SetNeighbor { port: PORT, addr, mac: ROUTER });
    let mut answer = Vec::new();
    let builder = PacketBuilder::ethernet2(server_mac(2).0, DIRECTOR.0);
    let builder = builder.ipv4([10, 1, 0, 2], [192, 0, 2, 7], 64).tcp(80, 40_000, 1, 1).ack(1);
    builder.write(&mut answer, &[]).unwrap();
    let (verdict, frame) = world.send(&answer);
    assert_eq!((verdict, &frame[26..30]), (Verdict::Transmit(PORT), &VIP[..]));
}

#[test]
fn a_tunnel_to_a_server_that_nobody_has_drops_its_packets() {
    let mut world = World::with_service("rr", None);
    world.hear(Announcement { method: Method::Tunnel, ..connection(40_000, 9) });
    let (verdict, _) = world.send(&segment(7, 40_000, "A", 64, 0));
    assert_eq!(verdict, Verdict::Drop(DropReason::UnboundTunnel));
}

#[test]
fn announced_connections_fill_a_server() {
    let mut world = World::with_service("rr", None);
    for host in 2..=4 {
        world.edit(host, |spec| spec.upper_threshold = 2);
        for port in [40_000, 40_010] {
            world.hear(connection(port + u16::from(host), host));
        }
    }
    assert_eq!(world.tcp(8, 1, "S"), None);
}

#[test]
fn a_connection_of_a_deleted_server_stays_lost_until_it_comes_back() {
    let mut world = World::with_service("rr", None);
    world.hear(connection(40_000, 2));
    let addr = Endpoint::new(server(2), 80);
    world.apply(Command::DeleteDestination(key(), addr));
    world.hear(connection(40_000, 2));
    let (verdict, _) = world.send(&segment(7, 40_000, "A", 64, 0));
    assert_eq!(verdict, Verdict::Drop(DropReason::DestinationGone));
    world.apply(Command::AddDestination(key(), DestinationSpec::new(addr)));
    assert_eq!(world.tcp(7, 40_000, "A"), Some(2));
    assert_eq!(world.load(2), (1, 0, 0));
}

#[test]
fn of_a_mark_service_the_server_without_a_port_is_asked_for_first() {
    let mut world = World::new(Limits::small());
    let key = ServiceKey::Mark { mark: FwMark(5), family: Family::V4 };
    world.apply(Command::AddService(ServiceSpec::new(key)));
    for port in [0, 80] {
        let spec = DestinationSpec::new(Endpoint::new(server(2), port));
        world.apply(Command::AddDestination(key, spec));
    }
    let marked = Announcement { mark: FwMark(5), ..connection(40_000, 2) };
    assert_eq!(world.hear(marked), Heard::Taken);
    let masqueraded = Announcement { method: Method::Masquerade, ..marked };
    assert_eq!(world.hear(Announcement { client: client(40_001), ..masqueraded }), Heard::Taken);
    let services = world.director.services(world.now);
    let active: Vec<_> =
        services[0].destinations.iter().map(|d| (d.spec.addr.port.0, d.active)).collect();
    assert_eq!(active, [(80, 1), (0, 1)]);
    assert_eq!(world.entries()[0].destination.port.0, 80, "the virtual port");
}

#[test]
fn what_was_taken_is_announced_in_turn_no_sooner_than_at_the_next_period() {
    let mut world = World::with_service("rr", None);
    world.apply(Command::SetSyncRoles(SyncRoles { master: true, backup: true }));
    world.hear(connection(40_000, 2));
    world.hear(ending(40_001, 2));
    for n in 1..=50 {
        world.tcp(7, 40_000, "A");
        let told: Vec<_> = core::iter::from_fn(|| world.director.poll_announcement()).collect();
        assert_eq!(told.len(), usize::from(n == 50));
        assert!(told.iter().all(|announcement| announcement.relayed));
    }
    world.tcp(7, 40_001, "A");
    assert_eq!(world.director.poll_announcement(), None, "the backup knows that it ends");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut world = World::with_service("rr", None);
    let v6 = Endpoint::new("2001:db8::1".parse().unwrap(), 80);
    let given = connection(40_000, 2);
    let wrong = [
        Announcement { protocol: Protocol::ICMP, ..given },
        Announcement { kind: Announced::Connection(State::Udp), ..given },
        Announcement { kind: Announced::Connection(State::SctpInit), ..given },
        Announcement { client: v6, ..given },
        Announcement { server: v6, ..given },
    ];
    for announcement in wrong {
        let refused = world.director.take_announcement(world.now, &announcement);
        assert!(matches!(refused, Err(ImportError::Invalid { .. })), "{announcement:?}");
    }
    assert_eq!(world.director.connection_count(), 0);
}

#[test]
fn full_tables_refuse_and_servers_that_nobody_has_leave_room_for_others() {
    let limits = Limits { connections_max: 100, destinations_max: 20, ..Limits::small() };
    let mut world = World::new(limits);
    world.add_service("rr", None);
    let taken = |world: &mut World, n: u8| {
        let announcement = connection(u16::from(n), 100 + n);
        world.director.take_announcement(world.now, &announcement)
    };
    assert!((0..10).all(|n| taken(&mut world, n) == Ok(Heard::Unbound)));
    assert_eq!(taken(&mut world, 10), Err(ImportError::Limit("destinations_max")));
    for host in 10..17 {
        let spec = DestinationSpec::new(Endpoint::new(server(host), 80));
        world.apply(Command::AddDestination(key(), spec));
    }
    assert_eq!(taken(&mut world, 3), Ok(Heard::Updated));
    for port in 1000..1090 {
        assert_eq!(world.hear(connection(port, 2)), Heard::Taken);
    }
    let refused = world.director.take_announcement(world.now, &connection(2000, 2));
    assert_eq!(refused, Err(ImportError::Limit("connections_max")));
    // All end, and then there is room again.
    world.advance(900_000);
    assert_eq!(world.entries().len(), 0);
    assert!((50..60).all(|n| taken(&mut world, n) == Ok(Heard::Unbound)));
}

#[test]
fn an_unbound_connection_is_exported_as_one_whose_server_is_awaited() {
    let mut world = World::with_service("rr", None);
    world.hear(connection(40_000, 9));
    world.hear(template(9));
    let (mut position, mut records) = (Position::default(), Vec::new());
    while world.director.export(world.now, &mut position, 9, &mut records) {}
    let mut next = World::with_service("rr", None);
    let mut links = crate::snapshot::Links::default();
    for record in records.iter().filter(|record| !matches!(record, Record::Total(_))) {
        next.director.import(next.now, &mut links, record).unwrap();
    }
    assert_eq!(next.entries().len(), 2);
    next.apply(Command::AddDestination(key(), DestinationSpec::new(Endpoint::new(server(9), 80))));
    assert_eq!(next.load(9), (1, 0, 1));
}

#[test]
fn a_template_of_an_engine_leads_its_call_and_no_other() {
    let granularity = Granularity::Mask(u32::MAX);
    let timeout = Duration::from_secs(100);
    let key = ServiceKey::Address { protocol: Protocol::UDP, virt: Endpoint::new(VIP.into(), 53) };
    let world = || {
        let mut world = World::with_service("rr", None);
        let mut spec = ServiceSpec::new(key);
        spec.scheduler = "rr".into();
        spec.persistence = Some(Persistence { timeout, granularity });
        spec.engine = Some("sip".into());
        world.apply(Command::AddService(spec));
        for host in 2..=4 {
            let spec = DestinationSpec::new(Endpoint::new(server(host), 53));
            world.apply(Command::AddDestination(key, spec));
        }
        world
    };
    let call = |world: &mut World, port: u16, id: &str| {
        let message = std::format!("INVITE sip:b@example.org SIP/2.0\r\nCall-ID: {id}\r\n\r\n");
        let builder = PacketBuilder::ethernet2(ROUTER.0, DIRECTOR.0);
        let builder = builder.ipv4([192, 0, 2, 7], VIP, 64).udp(port, 53);
        let mut frame = Vec::new();
        builder.write(&mut frame, message.as_bytes()).unwrap();
        world.send(&frame).1[5]
    };
    let (mut old, mut new) = (world(), world());
    old.apply(Command::SetSyncRoles(SyncRoles { master: true, backup: false }));
    let servers = ["a", "b", "c"].map(|id| call(&mut old, 1000, id));
    assert_eq!(servers, [servers[0]; 3], "one connection");
    let first = old.director.poll_announcement().unwrap();
    assert_eq!(first.engine.as_ref().map(|read| read.data()), Some(&b"a"[..]));
    assert_eq!(new.hear(first), Heard::Taken);
    assert!((0..5).all(|port| call(&mut new, 2000 + port, "a") == servers[0]));
    let others: Vec<u8> =
        (0..3).map(|port| call(&mut new, 3000 + port, ["x", "y", "z"][port as usize])).collect();
    assert!(others.iter().any(|&host| host != servers[0]), "{others:?}");
}
