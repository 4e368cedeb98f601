//! Batching, as whoever sends the datagrams sees it.

use alloc::vec;
use core::net::IpAddr;

use lvs_core::engine::{self, EngineData};
use lvs_core::flow::Protocol;
use lvs_core::ids::FwMark;
use lvs_core::snapshot::{Announced, Method};
use lvs_core::state::State;

use super::*;
use crate::message::{Flags, Message};

fn end(text: &str, port: u16) -> Endpoint {
    Endpoint::new(text.parse::<IpAddr>().unwrap(), port)
}

fn announcement(port: u16) -> Announcement {
    Announcement {
        protocol: Protocol::TCP,
        client: end("192.0.2.7", port),
        virt: end("192.0.2.80", 80),
        server: end("10.1.0.2", 80),
        method: Method::DirectRoute,
        kind: Announced::Connection(State::Established),
        answered: false,
        inactive: false,
        relayed: false,
        engine: None,
        mark: FwMark(3),
        timeout: Duration::from_secs(900),
    }
}

fn master(settings: Settings) -> Master {
    Master::new(settings).unwrap()
}

/// The client's ports in the datagrams that are ready, by the offset of the port they go to.
fn sent(master: &mut Master, now: Instant) -> Vec<(u8, Vec<u16>)> {
    core::iter::from_fn(|| master.poll(now))
        .map(|(port, datagram)| {
            let message = Message::decode(&datagram).unwrap();
            (port, message.entries().map(|entry| entry.unwrap().client.port.0).collect())
        })
        .collect()
}

#[test]
fn entries_wait_two_seconds_for_others_and_no_longer() {
    let mut master = master(Settings::default());
    let start = Instant::from_secs(5);
    assert_eq!(master.next_deadline(), None);
    master.offer(start, &announcement(1));
    master.offer(start + Duration::from_millis(1999), &announcement(2));
    assert_eq!(sent(&mut master, start + Duration::from_millis(1999)), []);
    assert_eq!(master.next_deadline(), Some(start + WAIT), "since the first");
    assert_eq!(sent(&mut master, start + WAIT), [(0, vec![1, 2])]);
    assert_eq!(master.next_deadline(), None);
    let counters = *master.counters();
    assert_eq!((counters.offered, counters.entries, counters.messages), (2, 2, 1));
    assert_eq!(counters.bytes, 8 + 2 * 36);
}

#[test]
fn a_full_datagram_does_not_wait() {
    let mut master = master(Settings { maxlen: 8 + 3 * 36, ..Settings::default() });
    (1..=4).for_each(|port| master.offer(Instant::ZERO, &announcement(port)));
    assert_eq!(sent(&mut master, Instant::ZERO), [(0, vec![1, 2, 3])]);
    master.flush();
    assert_eq!(master.next_deadline(), Some(Instant::ZERO));
    assert_eq!(sent(&mut master, Instant::ZERO), [(0, vec![4])]);
}

#[test]
fn a_connection_keeps_its_port_and_all_ports_are_used() {
    let mut master = master(Settings { ports: 8, ..Settings::default() });
    for port in (0..200).chain(0..200) {
        master.offer(Instant::ZERO, &announcement(port));
    }
    master.flush();
    let mut homes = alloc::collections::BTreeMap::new();
    let mut used = alloc::collections::BTreeSet::new();
    for (port, clients) in sent(&mut master, Instant::ZERO) {
        used.insert(port);
        for client in clients {
            assert_eq!(*homes.entry(client).or_insert(port), port, "client {client}");
        }
    }
    assert_eq!((homes.len(), used.len()), (200, 8));
}

#[test]
fn what_finds_the_queue_full_is_lost_and_counted() {
    let settings = Settings { maxlen: 44, queue_max: 3, ..Settings::default() };
    let mut master = master(settings);
    (1..=9).for_each(|port| master.offer(Instant::ZERO, &announcement(port)));
    let sent = sent(&mut master, Instant::from_secs(9));
    // Of nine messages of one entry three waited and one was being filled.
    assert_eq!(sent, [(0, vec![1]), (0, vec![2]), (0, vec![3]), (0, vec![9])]);
    let counters = master.counters();
    assert_eq!((counters.lost_messages, counters.lost_entries, counters.entries), (5, 5, 4));
}

#[test]
fn version_0_leaves_out_what_it_cannot_say() {
    let mut master = master(Settings { version: Version::Zero, ..Settings::default() });
    let v6 = Announcement {
        client: end("2001:db8::7", 9),
        virt: end("2001:db8::80", 80),
        server: end("2001:db8::2", 80),
        ..announcement(1)
    };
    master.offer(Instant::ZERO, &v6);
    master.offer(Instant::ZERO, &announcement(1));
    assert_eq!(sent(&mut master, Instant::from_secs(2)), [(0, vec![1])]);
    assert_eq!(master.counters().unsayable, 1);
}

#[test]
fn other_settings_lose_nothing_that_waits() {
    let mut master = master(Settings { ports: 4, ..Settings::default() });
    (0..50).for_each(|port| master.offer(Instant::ZERO, &announcement(port)));
    master.set(Settings { syncid: 9, version: Version::Zero, ..Settings::default() }).unwrap();
    master.offer(Instant::ZERO, &announcement(50));
    let mut all: Vec<u16> = Vec::new();
    for (port, clients) in sent(&mut master, Instant::from_secs(2)) {
        assert_eq!(port, 0);
        all.extend(clients);
    }
    all.sort_unstable();
    assert_eq!(all, (0..=50).collect::<Vec<_>>());
    assert_eq!(master.counters().offered, 51);
    assert_eq!(
        master.set(Settings { ports: 3, ..Settings::default() }),
        Err(SettingsError::Ports(3))
    );
    assert_eq!(master.settings().syncid, 9);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    for ports in [0, 3, 128] {
        let settings = Settings { ports, ..Settings::default() };
        assert_eq!(Master::new(settings).unwrap_err(), SettingsError::Ports(ports));
    }
    let settings = Settings { maxlen: 0, ..Settings::default() };
    assert_eq!(Master::new(settings).unwrap_err(), SettingsError::MaxLen);
}

#[test]
fn an_entry_says_what_was_announced() {
    let template = Announcement {
        kind: Announced::Template { assured: true },
        inactive: true,
        relayed: true,
        client: end("192.0.2.0", 0),
        ..announcement(0)
    };
    let masqueraded = Announcement {
        method: Method::Masquerade,
        answered: true,
        kind: Announced::Connection(State::CloseWait),
        inactive: true,
        ..announcement(1)
    };
    let sctp = Announcement {
        protocol: Protocol::SCTP,
        method: Method::Tunnel,
        kind: Announced::Connection(State::SctpShutdownReceived),
        ..announcement(1)
    };
    let call = EngineData::new(engine::Engine::Sip, b"7f3a@192.0.2.7");
    let read = Announcement { engine: call, ..template };
    let bypass = Announcement { method: Method::Bypass, ..announcement(1) };
    let expected = [
        (template, 0x11a3, 1),
        (read, 0x11a3, 1),
        (masqueraded, 0x100, 7),
        (sctp, 0x82, 10),
        (bypass, 0x84, 1),
    ];
    for (announcement, flags, state) in expected {
        let entry = Entry::of(&announcement);
        assert_eq!((entry.flags, entry.state), (Flags(flags), state), "{announcement:?}");
        assert_eq!((entry.mark.0, entry.timeout), (3, 900));
        assert_eq!(entry.announcement(Version::One), Ok(announcement));
    }
}
