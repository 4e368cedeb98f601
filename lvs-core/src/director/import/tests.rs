//! A director that takes over: it lists and decides what the one before it would have.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use std::format;

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;
use crate::addr::{Family, Granularity, MacAddr, Prefix};
use crate::command::{
    Command, ForwardingMethod, IcmpPacing, MarkRule, Neighborhood, Persistence, PortSpec,
    ServiceSpec, TimeoutsSpec, Tunables, Tunnel,
};
use crate::engine::{Engine, EngineData};
use crate::ids::{FwMark, PortId};
use crate::io::{Frame, Verdict};
use crate::limits::Limits;
use crate::listing::{ConnectionEntry, Cursor, ServiceEntry};
use crate::snapshot::Position;
use crate::state::State;

const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PORT: PortId = PortId(0);
const PERSISTENT: u16 = 81;
const MARKED: u16 = 82;

fn addr(net: u8, host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, net, 0, host))
}

fn key(protocol: Protocol, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol, virt: Endpoint::new(addr(0, 1), port) }
}

fn mark() -> ServiceKey {
    ServiceKey::Mark { mark: FwMark(7), family: Family::V4 }
}

fn services() -> [ServiceKey; 4] {
    [key(Protocol::TCP, 80), key(Protocol::UDP, 80), key(Protocol::TCP, PERSISTENT), mark()]
}

/// A director without services.
fn bare() -> Director {
    let mut director = Director::new(Limits::small(), [5, 6]).unwrap();
    let addresses = Prefix::new(addr(1, 1), 16).into_iter().collect();
    let unpaced = IcmpPacing { enabled: false, ..IcmpPacing::default() };
    let rule = MarkRule {
        family: Family::V4,
        source: None,
        destination: None,
        protocol: None,
        source_ports: None,
        destination_ports: Some((L4Port(MARKED), L4Port(MARKED + 1))),
        port: None,
        mark: FwMark(7),
    };
    let commands = [
        Command::SetNeighborhood(Neighborhood { resolve_ahead: false, probe_virtual: None }),
        Command::SetIcmpPacing(unpaced),
        Command::SetPort(PortSpec { id: PORT, mac: DIRECTOR, mtu: 1500, addresses }),
        Command::AddLocal { addr: addr(0, 1), answer: false },
        Command::SetMarkRules(vec![rule]),
    ];
    let neighbors = (2..64).map(|host| Command::SetNeighbor {
        port: PORT,
        addr: addr(1, host),
        mac: MacAddr([2, 0, 0, 0, 1, host]),
    });
    for command in commands.into_iter().chain(neighbors) {
        director.apply(Instant::ZERO, command).unwrap();
    }
    director
}

/// With services under `scheduler`, each with three servers.
fn configured(scheduler: &str) -> Director {
    let mut director = bare();
    for key in services() {
        let mut spec = ServiceSpec::new(key);
        spec.scheduler = scheduler.into();
        if key.port() != L4Port(80) {
            let granularity = Granularity::Mask(0xffff_fffe);
            spec.persistence = Some(Persistence { timeout: Duration::from_secs(50), granularity });
        }
        director.apply(Instant::ZERO, Command::AddService(spec)).unwrap();
        for host in 2..5 {
            let command = Command::AddDestination(key, server(&key, host, 1 + u32::from(host)));
            director.apply(Instant::ZERO, command).unwrap();
        }
    }
    director
}

fn server(key: &ServiceKey, host: u8, weight: u32) -> DestinationSpec {
    let service = services().iter().position(|other| other == key).unwrap() as u8;
    let port = if host == 3 { L4Port(8080) } else { key.port() };
    let addr = Endpoint { addr: addr(1, 16 * service + host), port };
    DestinationSpec {
        weight,
        method: match host {
            3 => ForwardingMethod::Masquerade,
            4 => ForwardingMethod::Tunnel(Tunnel::IpIp),
            _ => ForwardingMethod::DirectRoute,
        },
        upper_threshold: if host == 2 { 4 } else { 0 },
        lower_threshold: if host == 2 { 2 } else { 0 },
        ..DestinationSpec::new(addr)
    }
}

/// A fresh director with the rules that another has now, and a clock that begins anew.
fn with_rules_of(old: &mut Director, now: Instant) -> Director {
    let mut new = bare();
    let timeouts = old.timeouts();
    let mut commands = vec![
        Command::SetTunables(*old.tunables()),
        Command::SetTimeouts(TimeoutsSpec {
            tcp: Some(timeouts.tcp),
            tcp_fin: Some(timeouts.tcp_fin),
            udp: Some(timeouts.udp),
        }),
    ];
    for service in old.services(now) {
        let key = service.spec.key;
        commands.push(Command::AddService(service.spec));
        let oldest_first = service.destinations.iter().rev();
        commands.extend(oldest_first.map(|d| Command::AddDestination(key, d.spec)));
    }
    for command in commands {
        new.apply(Instant::ZERO, command).unwrap();
    }
    new
}

fn export(director: &mut Director, now: Instant, max: usize) -> Vec<Record> {
    let (mut position, mut records) = (Position::default(), Vec::new());
    while director.export(now, &mut position, max, &mut records) {}
    records
}

/// Whether a server is listed or has connections.
fn is_remembered(director: &mut Director, now: Instant, service: usize, host: u8) -> bool {
    let addr = server(&services()[service], host, 0).addr;
    let listed = director.services(now);
    let mut destinations = listed.iter().flat_map(|service| &service.destinations);
    let is_listed = destinations.any(|d| d.spec.addr == addr);
    is_listed || listed_connections(director, now).iter().any(|e| e.destination.addr == addr.addr)
}

#[derive(Clone, Debug)]
enum Step {
    /// From a client to a port of the virtual address.
    Packet {
        udp: bool,
        client: u8,
        port: u16,
        flags: u8,
    },
    /// From the virtual address, as of a server that answers clients itself.
    Answer {
        udp: bool,
        client: u8,
        port: u16,
        flags: u8,
    },
    /// Of a masqueraded server.
    Masqueraded {
        udp: bool,
        client: u8,
        service: usize,
        flags: u8,
    },
    Wait(u64),
    Weight(usize, u8, u32),
    Remove(usize, u8),
    /// Deletes a service, or adds it again.
    Service(usize),
    TcpTimeout(u64),
    Expire(bool, bool),
}

fn steps(len: usize) -> impl Strategy<Value = Vec<Step>> {
    let flags = prop_oneof![4 => Just(0x02u8), 4 => Just(0x10), 1 => Just(0x11), 1 => Just(0x04)];
    let packet = (any::<bool>(), 1u8..9, 80u16..84, flags);
    let step = prop_oneof![
        10 => packet.clone().prop_map(|(udp, client, port, flags)| Step::Packet { udp, client, port, flags }),
        1 => packet.clone().prop_map(|(udp, client, port, flags)| Step::Answer { udp, client, port, flags }),
        3 => (packet, 0usize..4).prop_map(|((udp, client, _, flags), service)| {
            Step::Masqueraded { udp, client, service, flags }
        }),
        1 => (0usize..4).prop_map(Step::Service),
        2 => prop_oneof![1u64..5000, 20_000u64..200_000].prop_map(Step::Wait),
        1 => (0usize..4, 2u8..6, 0u32..4).prop_map(|(s, host, w)| Step::Weight(s, host, w)),
        1 => (0usize..4, 2u8..6).prop_map(|(s, host)| Step::Remove(s, host)),
        1 => (30u64..900).prop_map(Step::TcpTimeout),
        1 => any::<(bool, bool)>().prop_map(|(nodest, quiescent)| Step::Expire(nodest, quiescent)),
    ];
    prop::collection::vec(step, 0..len)
}

/// How long a step takes: no two packets come in one millisecond, for the order in which things end
/// that were last touched in the same one is not exported.
fn time_of(step: &Step) -> Duration {
    match step {
        Step::Wait(ms) => Duration::from_millis(*ms),
        _ => Duration::from_millis(7),
    }
}

/// What a step came to: the verdict, and the station that the frame goes to.
fn play(director: &mut Director, now: Instant, step: &Step) -> Option<(Verdict, Vec<u8>)> {
    let command = match *step {
        Step::Packet { udp, client, port, flags } => {
            let frame = frame(udp, (addr(2, client), 1000), (addr(0, 1), port), flags);
            return Some(send(director, now, &frame));
        }
        Step::Answer { udp, client, port, flags } => {
            let frame = frame(udp, (addr(0, 1), port), (addr(2, client), 1000), flags);
            return Some(send(director, now, &frame));
        }
        Step::Masqueraded { udp, client, service, flags } => {
            let Endpoint { addr: from, port } = server(&services()[service], 3, 1).addr;
            let frame = frame(udp, (from, port.0), (addr(2, client), 1000), flags);
            return Some(send(director, now, &frame));
        }
        Step::Wait(_) => {
            director.handle_timers(now, 3);
            return None;
        }
        Step::Weight(service, host, weight) => {
            let key = services()[service];
            let spec = server(&key, host, weight);
            if director.apply(now, Command::EditDestination(key, spec)).is_ok() {
                return None;
            }
            Command::AddDestination(key, spec)
        }
        Step::Remove(service, host) => {
            let key = services()[service];
            Command::DeleteDestination(key, server(&key, host, 0).addr)
        }
        Step::Service(service) => {
            let key = services()[service];
            match director.services(now).iter().any(|entry| entry.spec.key == key) {
                true => Command::DeleteService(key),
                false => Command::AddService(ServiceSpec::new(key)),
            }
        }
        Step::TcpTimeout(secs) => Command::SetTimeouts(TimeoutsSpec {
            tcp: Some(Duration::from_secs(secs)),
            ..TimeoutsSpec::default()
        }),
        Step::Expire(expire_nodest_conn, expire_quiescent_template) => {
            Command::SetTunables(Tunables {
                expire_nodest_conn,
                expire_quiescent_template,
                ..Tunables::default()
            })
        }
    };
    // A server that is not there cannot be deleted; then nothing changes.
    let _ = director.apply(now, command);
    None
}

fn frame(udp: bool, from: (IpAddr, u16), to: (IpAddr, u16), flags: u8) -> Vec<u8> {
    let (IpAddr::V4(src), IpAddr::V4(dst)) = (from.0, to.0) else { panic!("IPv4 only") };
    let ip = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], DIRECTOR.0);
    let ip = ip.ipv4(src.octets(), dst.octets(), 64);
    let mut bytes = Vec::new();
    match udp {
        true => ip.udp(from.1, to.1).write(&mut bytes, &[1; 20]).unwrap(),
        false => {
            ip.tcp(from.1, to.1, 1, 512).write(&mut bytes, &[]).unwrap();
            bytes[47] = flags;
        }
    }
    bytes
}

fn send(director: &mut Director, now: Instant, bytes: &[u8]) -> (Verdict, Vec<u8>) {
    let mut slot = vec![0; 2048];
    slot[128..128 + bytes.len()].copy_from_slice(bytes);
    let mut frames = [Frame::new(&mut slot, 128, bytes.len(), PORT)];
    director.process_burst(now, &mut frames);
    // Of a tunnel's outer header and of errors only the station: identifications go on with time.
    let whole = matches!(frames[0].verdict, Verdict::Transmit(_)) && frames[0].bytes()[23] != 4;
    let shown = if whole { frames[0].len() } else { 6 };
    (frames[0].verdict, frames[0].bytes()[..shown].to_vec())
}

fn listed_services(director: &mut Director, now: Instant) -> Vec<ServiceEntry> {
    let mut entries = director.services(now);
    entries.sort_by_key(|entry| entry.spec.key);
    entries
}

fn listed_connections(director: &mut Director, now: Instant) -> Vec<ConnectionEntry> {
    let mut entries = Vec::new();
    let mut cursor = Cursor::default();
    while director.connections(now, &mut cursor, 7, &mut entries) {}
    entries.sort_by_key(|e| (e.template, e.client, e.virt, e.protocol, e.destination, e.age));
    entries
}

proptest! {
    #[test]
    fn a_director_that_takes_over_lists_and_decides_what_the_old_one_would(
        scheduler in prop::sample::select(vec!["wlc", "lc", "sh", "dh", "mh", "sed", "nq", "fo", "ovf"]),
        before in steps(120),
        after in steps(40),
        chunk in 1usize..50,
        away in prop_oneof![Just(0u64), 1u64..100_000],
        new_clock in prop_oneof![Just(0u64), 1u64..1 << 43],
    ) {
        let mut old = configured(scheduler);
        let mut now = Instant::ZERO;
        for step in &before {
            now = now + time_of(step);
            play(&mut old, now, step);
        }
        let records = export(&mut old, now, chunk);
        let mut new = with_rules_of(&mut old, now);
        let away = Duration::from_millis(away);
        now = now + away;
        let mut new_now = Instant::from_millis(new_clock);
        let mut links = Links::default();
        for record in &records {
            let record = Record::from_bytes(&record.aged(away).to_bytes()).unwrap();
            new.import(new_now, &mut links, &record).unwrap();
        }
        let fresh = away.is_zero();
        let (there, here) = (listed_connections(&mut old, now), listed_connections(&mut new, new_now));
        if fresh {
            prop_assert_eq!(there, here);
            prop_assert_eq!(listed_services(&mut old, now), listed_services(&mut new, new_now));
            prop_assert_eq!(old.stats().total, new.stats().total);
        } else {
            // A template that went on for connections which ended on the way goes on for a minute.
            let connections = |all: &[ConnectionEntry]| -> Vec<ConnectionEntry> {
                all.iter().filter(|entry| !entry.template).cloned().collect()
            };
            prop_assert_eq!(connections(&there), connections(&here));
            prop_assert!(there.iter().all(|entry| here.contains(entry)));
        }
        for step in after.iter().filter(|_| fresh) {
            now = now + time_of(step);
            new_now = new_now + time_of(step);
            // A deleted server without connections is forgotten at once, and not after 2 minutes.
            if let Step::Weight(service, host, _) = *step
                && !is_remembered(&mut old, now, service, host)
            {
                continue;
            }
            let (there, here) = (play(&mut old, now, step), play(&mut new, new_now, step));
            prop_assert_eq!(there, here, "{:?}", step);
            prop_assert_eq!(listed_services(&mut old, now), listed_services(&mut new, new_now), "{:?}", step);
            prop_assert_eq!(listed_connections(&mut old, now), listed_connections(&mut new, new_now), "{:?}", step);
        }
    }

    #[test]
    fn records_of_any_bytes_are_refused_or_taken_and_never_break_the_director(
        records in prop::collection::vec(any_record(), 0..60),
    ) {
        let mut director = configured("wlc");
        let mut links = Links::default();
        for (record, ms) in records {
            let now = Instant::from_millis(ms);
            let _ = director.import(now, &mut links, &record);
            director.handle_timers(now, 2);
        }
        let now = Instant::from_secs(100 * 24 * 3600);
        director.handle_timers(now, usize::MAX);
        prop_assert_eq!((director.connection_count(), director.template_count()), (0, 0));
        for service in director.services(now) {
            for d in service.destinations {
                prop_assert_eq!((d.active, d.inactive, d.persistent), (0, 0, 0));
            }
        }
    }
}

fn any_record() -> impl Strategy<Value = (Record, u64)> {
    let small = (0u8..3, 0u8..4, 0u8..3, any::<bool>(), 0u8..26);
    let times = (0u64..70_000, 0u64..70_000, any::<u32>(), 0u32..4);
    (small, times, any::<[bool; 3]>(), 0u64..200_000).prop_map(
        |((kind, service, client, v6, state), (timeout, idle, n, number), bits, now)| {
            let client =
                if v6 { IpAddr::V6(core::net::Ipv6Addr::LOCALHOST) } else { addr(2, client) };
            let service = services()[usize::from(service)];
            let host = 2 + (n % 5) as u8;
            let server = ServerKey { service, addr: self::server(&service, host, 1).addr };
            let virt = Endpoint::new(addr(0, 1), 80 + (n % 3) as u16);
            let ms = Duration::from_millis;
            let record = match kind {
                0 => Record::Template(TemplateRecord {
                    number,
                    protocol: Protocol::TCP,
                    client,
                    virt,
                    server,
                    engine: EngineData::new(Engine::Sip, &[b'a'; 255][..idle as usize % 256]),
                    port: L4Port(80),
                    timeout: ms(timeout),
                    idle: ms(idle),
                    assured: bits[0],
                    spoilt: bits[1],
                    mark: FwMark(n),
                    age: ms(idle),
                    connections: n,
                    holds: number,
                }),
                1 => Record::Connection(ConnectionRecord {
                    protocol: [Protocol::TCP, Protocol::UDP, Protocol::SCTP][timeout as usize % 3],
                    client: Endpoint { addr: client, port: L4Port(1000) },
                    virt,
                    server,
                    method: match n % 4 {
                        0 => Method::DirectRoute,
                        1 => Method::Tunnel,
                        2 => Method::Bypass,
                        _ => Method::Masquerade,
                    },
                    own_port: bits[1],
                    answers: (n % 4 == 3 && timeout % 8 > 0).then_some(number),
                    state: State::from_byte(state),
                    answered: bits[2],
                    timeout: ms(timeout),
                    idle: ms(idle),
                    template: number.checked_sub(1),
                    mark: FwMark(n),
                    age: ms(idle),
                    packets: n,
                    bytes: u64::from(n) << 32,
                }),
                _ => Record::Server(ServerRecord {
                    server,
                    overloaded: bits[0],
                    upper_threshold: n,
                    last_weight: n,
                    counters: Counters::default(),
                }),
            };
            (record, now)
        },
    )
}

/// The record of a connection of client 1 to server 2, established 3 s ago.
fn connection() -> ConnectionRecord {
    let service = key(Protocol::TCP, 80);
    ConnectionRecord {
        protocol: Protocol::TCP,
        client: Endpoint::new(addr(2, 1), 1000),
        virt: Endpoint::new(addr(0, 1), 80),
        server: ServerKey { service, addr: Endpoint::new(addr(1, 4), 80) },
        method: Method::DirectRoute,
        own_port: false,
        answers: None,
        state: State::Established,
        answered: false,
        timeout: Duration::from_secs(900),
        idle: Duration::from_secs(3),
        template: None,
        mark: FwMark::NONE,
        age: Duration::from_secs(10),
        packets: 4,
        bytes: 400,
    }
}

fn import(director: &mut Director, record: ConnectionRecord) -> Result<Imported, ImportError> {
    director.import(Instant::ZERO, &mut Links::default(), &Record::Connection(record))
}

#[test]
fn a_connection_whose_server_the_rules_do_not_name_waits_for_it() {
    let mut director = configured("wlc");
    let key = key(Protocol::TCP, 80);
    let mut record = connection();
    record.server.addr = Endpoint::new(addr(1, 5), 80);
    assert_eq!(import(&mut director, record), Ok(Imported::Waiting));
    let packet = Step::Packet { udp: false, client: 1, port: 80, flags: 0x10 };
    let (verdict, _) = play(&mut director, Instant::ZERO, &packet).unwrap();
    assert_eq!(verdict, Verdict::Drop(crate::drop::DropReason::DestinationGone));
    director.apply(Instant::ZERO, Command::AddDestination(key, server(&key, 5, 1))).unwrap();
    let (verdict, station) = play(&mut director, Instant::ZERO, &packet).unwrap();
    assert_eq!((verdict, station[5]), (Verdict::Transmit(PORT), 5));
}

#[test]
fn of_two_records_of_one_flow_the_later_counts_unless_it_tells_of_an_end_elsewhere() {
    let mut director = configured("wlc");
    assert_eq!(import(&mut director, connection()), Ok(Imported::Taken));
    let older = ConnectionRecord { idle: Duration::from_secs(4), ..connection() };
    assert_eq!(import(&mut director, older), Ok(Imported::Superseded));
    let mut elsewhere = ConnectionRecord { idle: Duration::from_secs(1), ..connection() };
    elsewhere.server.addr = Endpoint::new(addr(1, 2), 80);
    let ending = ConnectionRecord { state: State::TimeWait, ..elsewhere };
    assert_eq!(import(&mut director, ending), Ok(Imported::Superseded));
    assert_eq!(import(&mut director, elsewhere), Ok(Imported::Taken));
    let entries = listed_connections(&mut director, Instant::ZERO);
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].destination, elsewhere.server.addr);
}

#[test]
fn what_ended_on_the_way_is_left_out() {
    let mut director = configured("wlc");
    let record = Record::Connection(connection()).aged(Duration::from_secs(897));
    let outcome = director.import(Instant::ZERO, &mut Links::default(), &record);
    assert_eq!(outcome, Ok(Imported::Ended));
    assert_eq!(director.connection_count(), 0);
}

#[test]
fn a_record_that_cannot_be_is_refused_with_its_field() {
    let mut director = configured("wlc");
    let v6 = Endpoint::new("2001:db8::1".parse().unwrap(), 1000);
    let cases = [
        (ConnectionRecord { client: v6, ..connection() }, "client"),
        (ConnectionRecord { protocol: Protocol::GRE, ..connection() }, "protocol"),
        (ConnectionRecord { state: State::Udp, ..connection() }, "state"),
        (ConnectionRecord { timeout: Duration::from_secs(1 << 40), ..connection() }, "timeout"),
    ];
    for (record, field) in cases {
        let error = import(&mut director, record).unwrap_err();
        assert!(format!("{error}").contains(&format!("record's {field} ")), "{error}");
    }
}

#[test]
fn a_full_table_refuses_and_names_its_limit() {
    let mut director = configured("wlc");
    let mut refused = None;
    for n in 0..=u32::from(u16::MAX) {
        let client = Endpoint::new(addr(2, (n >> 12) as u8), n as u16 & 0xfff);
        if let Err(error) = import(&mut director, ConnectionRecord { client, ..connection() }) {
            refused = Some((n, error));
            break;
        }
    }
    let limit = Limits::small().connections_max;
    assert_eq!(refused, Some((limit, ImportError::Limit("connections_max"))));
}

#[test]
fn timeouts_without_number_leave_room_for_those_that_operators_set() {
    let mut director = configured("wlc");
    let mut refused = 0;
    for n in 0..1100u16 {
        let client = Endpoint::new(addr(2, 1), 1000 + n);
        let timeout = Duration::from_millis(10_000 + u64::from(n));
        let outcome = import(&mut director, ConnectionRecord { client, timeout, ..connection() });
        refused += u16::from(outcome == Err(ImportError::Timeouts));
    }
    assert!((76..200).contains(&refused), "{refused}");
    for secs in 100..300 {
        let tcp = Some(Duration::from_secs(secs));
        let command = Command::SetTimeouts(TimeoutsSpec { tcp, ..TimeoutsSpec::default() });
        director.apply(Instant::ZERO, command).unwrap();
    }
}
