//! Two directors, a master under random load and a backup that gets its datagrams: when the backup takes
//! over, the connections that it was told of go on to the same real servers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use etherparse::PacketBuilder;
use lvs_core::addr::{Granularity, MacAddr, Prefix};
use lvs_core::command::{
    Command, DestinationSpec, ForwardingMethod, Neighborhood, Persistence, PortSpec, ServiceKey,
    ServiceSpec, SyncRoles, Tunables, Tunnel,
};
use lvs_core::director::Director;
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, Verdict};
use lvs_core::limits::Limits;
use lvs_core::listing::{ConnectionEntry, Cursor};
use lvs_core::snapshot::{Announced, Announcement};
use lvs_core::time::{Duration, Instant};
use lvs_sync::message::Version;
use lvs_sync::{backup, master};
use proptest::prelude::*;

const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xfe]);
const PORT: PortId = PortId(0);
/// Ports of services: without and with persistence.
const SERVICES: [u16; 2] = [80, 81];

fn addr(v6: bool, net: u8, host: u8) -> IpAddr {
    match v6 {
        false => IpAddr::from([10, net, 0, host]),
        true => IpAddr::from([0xfd00, u16::from(net), 0, 0, 0, 0, 0, u16::from(host)]),
    }
}

/// A director with services of TCP and UDP in both families, each with a server of each method. The last
/// byte of a server's MAC address is its number.
fn director(seed: u64) -> Director {
    let mut director = Director::new(Limits::small(), [seed, 2]).unwrap();
    let prefix = |v6, len| Prefix::new(addr(v6, 1, 1), len).unwrap();
    let addresses = vec![prefix(false, 8), prefix(true, 16)];
    let mut commands = vec![
        Command::SetNeighborhood(Neighborhood { resolve_ahead: false, probe_virtual: None }),
        Command::SetPort(PortSpec { id: PORT, mac: DIRECTOR, mtu: 1500, addresses }),
    ];
    for v6 in [false, true] {
        commands.push(Command::AddLocal { addr: addr(v6, 0, 1), answer: false });
        for (protocol, port) in [Protocol::TCP, Protocol::UDP]
            .into_iter()
            .flat_map(|protocol| SERVICES.map(|port| (protocol, port)))
        {
            let key = ServiceKey::Address { protocol, virt: Endpoint::new(addr(v6, 0, 1), port) };
            let mut spec = ServiceSpec::new(key);
            spec.scheduler = "rr".into();
            let timeout = Duration::from_secs(100);
            let granularity = Granularity::single(key.family());
            spec.persistence = (port == 81).then_some(Persistence { timeout, granularity });
            commands.push(Command::AddService(spec));
            commands
                .extend((2..5).map(|host| Command::AddDestination(key, server(v6, host, port))));
        }
        commands.extend((2..5).map(|host| Command::SetNeighbor {
            port: PORT,
            addr: addr(v6, 1, host),
            mac: MacAddr([2, 0, 0, 0, 1, host]),
        }));
    }
    for command in commands {
        director.apply(Instant::ZERO, command).unwrap();
    }
    director
}

fn server(v6: bool, host: u8, port: u16) -> DestinationSpec {
    let method = match host {
        2 => ForwardingMethod::DirectRoute,
        3 => ForwardingMethod::Masquerade,
        _ => ForwardingMethod::Tunnel(Tunnel::IpIp),
    };
    DestinationSpec { method, ..DestinationSpec::new(Endpoint::new(addr(v6, 1, host), port)) }
}

/// A packet of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Packet {
    v6: bool,
    udp: bool,
    client: u8,
    port: u8,
    service: usize,
    /// As in the TCP header.
    flags: u8,
}

impl Packet {
    fn bytes(self) -> Vec<u8> {
        let Packet { v6, udp, client, port, service, flags } = self;
        let builder = PacketBuilder::ethernet2(ROUTER.0, DIRECTOR.0);
        let builder = match (addr(v6, 2, client), addr(v6, 0, 1)) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => builder.ipv4(src.octets(), dst.octets(), 64),
            (IpAddr::V6(src), IpAddr::V6(dst)) => builder.ipv6(src.octets(), dst.octets(), 64),
            _ => unreachable!("both are of one family"),
        };
        let (from, to) = (1000 + u16::from(port), SERVICES[service]);
        let mut bytes = Vec::new();
        match udp {
            true => builder.udp(from, to).write(&mut bytes, &[7; 9]).unwrap(),
            false => builder.tcp(from, to, 1, 512).write(&mut bytes, &[]).unwrap(),
        }
        if !udp {
            bytes[if v6 { 67 } else { 47 }] = flags;
        }
        bytes
    }
}

/// Sends a packet in: the verdict, and the server that it goes to.
fn send(director: &mut Director, now: Instant, packet: Packet) -> (Verdict, u8) {
    let bytes = packet.bytes();
    let mut slot = vec![0; 2048];
    slot[128..128 + bytes.len()].copy_from_slice(&bytes);
    let mut frames = [Frame::new(&mut slot, 128, bytes.len(), PORT)];
    director.process_burst(now, &mut frames);
    (frames[0].verdict, frames[0].bytes()[5])
}

fn listed(director: &mut Director, now: Instant) -> Vec<ConnectionEntry> {
    let (mut entries, mut cursor) = (Vec::new(), Cursor::default());
    while director.connections(now, &mut cursor, 100, &mut entries) {}
    entries
}

/// What names a connection or template.
type Name = (bool, Protocol, Endpoint, Endpoint);

fn name(entry: &ConnectionEntry) -> Name {
    (entry.template, entry.protocol, entry.client, entry.virt)
}

/// A master and its backup, with the datagrams between them.
struct Pair {
    old: Director,
    new: Director,
    master: master::Master,
    backup: backup::Backup,
    now: Instant,
    /// The last announcement of each that a datagram has carried, and when that came.
    told: BTreeMap<Name, (Announcement, Instant)>,
    /// Those which wait in the master.
    waiting: Vec<Announcement>,
}

impl Pair {
    fn new(settings: master::Settings) -> Pair {
        let mut old = director(1);
        let roles = SyncRoles { master: true, backup: false };
        old.apply(Instant::ZERO, Command::SetSyncRoles(roles)).unwrap();
        let sync_version = u8::from(settings.version == Version::One);
        let tunables = Tunables { sync_version, ..Tunables::default() };
        old.apply(Instant::ZERO, Command::SetTunables(tunables)).unwrap();
        Pair {
            old,
            new: director(9),
            master: master::Master::new(settings).unwrap(),
            backup: backup::Backup::new(backup::Settings { syncid: settings.syncid }),
            now: Instant::ZERO,
            told: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    fn exchange(&mut self) {
        while let Some(announcement) = self.old.poll_announcement() {
            self.master.offer(self.now, &announcement);
            self.waiting.push(announcement);
        }
        while let Some((_, datagram)) = self.master.poll(self.now) {
            let taken = self.backup.take(self.now, &mut self.new, &datagram).unwrap();
            assert_eq!(taken.complaint, None);
        }
        if self.master.next_deadline().is_none() {
            for given in self.waiting.drain(..) {
                let template = matches!(given.kind, Announced::Template { .. });
                let name = (template, given.protocol, given.client, given.virt);
                self.told.insert(name, (given, self.now));
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        // In steps, as a loop that wakes for the datagrams that are due.
        let end = self.now + time;
        while self.now < end {
            let due = self.master.next_deadline().unwrap_or(Instant::MAX);
            let timer = self.old.next_deadline().unwrap_or(Instant::MAX);
            self.now = due.min(timer).max(self.now + Duration::from_millis(1)).min(end);
            self.old.handle_timers(self.now, usize::MAX);
            self.exchange();
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Packet(Packet),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flags = prop_oneof![3 => Just(0x02u8), 9 => Just(0x10), 1 => Just(0x11), 1 => Just(0x04)];
    let packet = (any::<(bool, bool)>(), 1u8..4, 0u8..3, 0usize..2, flags).prop_map(
        |((v6, udp), client, port, service, flags)| Packet {
            v6,
            udp,
            client,
            port,
            service,
            flags,
        },
    );
    let wait = prop_oneof![4 => 1u64..3000, 1 => 10_000u64..400_000];
    let step = prop_oneof![9 => packet.prop_map(Step::Packet), 1 => wait.prop_map(Step::Wait)];
    prop::collection::vec(step, 1..300)
}

fn settings() -> impl Strategy<Value = master::Settings> {
    let version =
        prop::bool::weighted(0.8).prop_map(|one| if one { Version::One } else { Version::Zero });
    (any::<u8>(), 1u16..3000, 0u32..4, version).prop_map(|(syncid, maxlen, ports, version)| {
        master::Settings {
            syncid,
            maxlen,
            ports: 1 << ports,
            version,
            ..master::Settings::default()
        }
    })
}

proptest! {
    #[test]
    fn connections_go_on_to_the_same_servers_at_the_backup(
        settings in settings(),
        steps in steps(),
    ) {
        let mut pair = Pair::new(settings);
        for step in &steps {
            match *step {
                Step::Packet(packet) => {
                    send(&mut pair.old, pair.now, packet);
                    pair.exchange();
                    pair.wait(Duration::from_millis(3));
                }
                Step::Wait(ms) => pair.wait(Duration::from_millis(ms)),
            }
        }
        pair.wait(Duration::from_secs(2));
        let now = pair.now;
        let here: BTreeMap<Name, ConnectionEntry> =
            listed(&mut pair.new, now).iter().map(|entry| (name(entry), entry.clone())).collect();
        // The backup has what it was told of, as long as that lasts, where it was told.
        for (name, (given, at)) in &pair.told {
            let timeout = given.timeout;
            let version_0 = settings.version == Version::Zero;
            if !version_0 && *at + timeout > now + Duration::from_secs(3) {
                let entry = here.get(name);
                prop_assert!(entry.is_some(), "{:?} is not there", given);
                // A template of another server than the one that is there keeps it.
                let same = entry.is_some_and(|entry| entry.destination == given.server);
                prop_assert!(same || name.0, "{:?} is {:?}", given, entry);
            }
        }
        // Packets of what both have, at the same server, go where they went.
        let there = listed(&mut pair.old, now);
        for entry in there.iter().filter(|entry| !entry.template) {
            let Some(other) = here.get(&name(entry)) else { continue };
            if other.destination != entry.destination {
                continue;
            }
            let packet = Packet {
                v6: entry.client.addr.is_ipv6(),
                udp: entry.protocol == Protocol::UDP,
                client: match entry.client.addr {
                    IpAddr::V4(addr) => addr.octets()[3],
                    IpAddr::V6(addr) => addr.octets()[15],
                },
                port: (entry.client.port.0 - 1000) as u8,
                service: usize::from(entry.virt.port.0 == 81),
                flags: 0x10,
            };
            let (old, new) = (send(&mut pair.old, now, packet), send(&mut pair.new, now, packet));
            prop_assert_eq!(old, new, "{:?}", entry);
            prop_assert_eq!(old.0, Verdict::Transmit(PORT));
        }
        // A client whose template both have goes to the same server with a new connection.
        for entry in there.iter().filter(|entry| entry.template) {
            let Some(other) = here.get(&name(entry)) else { continue };
            if other.destination != entry.destination {
                continue;
            }
            let (v6, udp) = (entry.client.addr.is_ipv6(), entry.protocol == Protocol::UDP);
            let client = match entry.client.addr {
                IpAddr::V4(addr) => addr.octets()[3],
                IpAddr::V6(addr) => addr.octets()[15],
            };
            let packet = Packet { v6, udp, client, port: 200, service: 1, flags: 0x02 };
            let (old, new) = (send(&mut pair.old, now, packet), send(&mut pair.new, now, packet));
            prop_assert_eq!(old, new, "{:?}", entry);
        }
        let refused = pair.backup.counters().refused() + pair.backup.counters().unbound;
        prop_assert_eq!(refused, 0);
    }
}

/// Without this the property would hold of a pair that exchanges nothing.
#[test]
fn an_established_connection_is_at_the_backup_two_seconds_after_its_third_packet() {
    for (v6, service) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
        let mut pair = Pair::new(master::Settings { syncid: 7, ..master::Settings::default() });
        let packet = |flags| Packet { v6, udp: false, client: 1, port: 1, service, flags };
        let servers: Vec<u8> =
            [0x02, 0x10, 0x10].map(|flags| send(&mut pair.old, pair.now, packet(flags)).1).into();
        pair.exchange();
        pair.wait(Duration::from_millis(1999));
        let (verdict, _) = send(&mut pair.new, pair.now, packet(0x10));
        assert!(matches!(verdict, Verdict::Pass(_)), "{verdict:?} before the datagram came");
        pair.wait(Duration::from_millis(1));
        let (verdict, to) = send(&mut pair.new, pair.now, packet(0x10));
        assert_eq!((verdict, to), (Verdict::Transmit(PORT), servers[0]));
        let entries = 1 + 3 * service as u64;
        assert_eq!(pair.backup.counters().accepted(), entries, "a template with each packet");
    }
}

/// The kernel's protocol has no word for "tell me all": a sweep needs none.
#[test]
fn a_backup_that_comes_late_has_all_connections_after_a_sweep() {
    let mut pair = Pair::new(master::Settings { syncid: 7, ..master::Settings::default() });
    let packets = (0..40u8).map(|n| Packet {
        v6: n % 2 == 0,
        udp: n % 4 == 1,
        client: n,
        port: n,
        service: usize::from(n % 3 == 0),
        flags: 0x02,
    });
    let packets: Vec<Packet> = packets.collect();
    for flags in [0x02, 0x10, 0x10] {
        for packet in &packets {
            send(&mut pair.old, pair.now, Packet { flags, ..*packet });
        }
    }
    pair.exchange();
    pair.wait(Duration::from_secs(3));
    // It has lost what it was told, as by a restart.
    pair.new = director(5);
    let tunables = Tunables { sync_sweep_period: 10, ..Tunables::default() };
    pair.old.apply(pair.now, Command::SetTunables(tunables)).unwrap();
    pair.wait(Duration::from_secs(12));
    let now = pair.now;
    let (old, new) = (listed(&mut pair.old, now), listed(&mut pair.new, now));
    assert_eq!(old.len(), new.len());
    assert!(old.len() > 40, "templates too");
    for packet in packets {
        let packet = Packet { flags: 0x10, ..packet };
        assert_eq!(send(&mut pair.old, now, packet), send(&mut pair.new, now, packet));
    }
}
