//! What becomes of datagrams, as the counters tell it.

use alloc::vec::Vec;
use core::net::IpAddr;

use lvs_core::command::{Command, DestinationSpec, ServiceKey, ServiceSpec};
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::limits::Limits;

use super::*;
use crate::message::{Encoder, Engine, Entry, Flags, Version};

const NOW: Instant = Instant::from_secs(7);

fn end(text: &str, port: u16) -> Endpoint {
    Endpoint::new(text.parse::<IpAddr>().unwrap(), port)
}

/// A director with one service and the server 10.1.0.2 in it.
fn director() -> Director {
    let mut director = Director::new(Limits::small(), [1, 2]).unwrap();
    let key = ServiceKey::Address { protocol: Protocol::TCP, virt: end("192.0.2.80", 80) };
    director.apply(NOW, Command::AddService(ServiceSpec::new(key))).unwrap();
    let server = DestinationSpec::new(end("10.1.0.2", 80));
    director.apply(NOW, Command::AddDestination(key, server)).unwrap();
    director
}

fn entry(port: u16) -> Entry<'static> {
    let ends = [end("192.0.2.7", port), end("192.0.2.80", 80), end("10.1.0.2", 80)];
    let entry = Entry::new(Protocol::TCP, ends[0], ends[1], ends[2]);
    Entry { flags: Flags(0x83), state: 1, timeout: 900, ..entry }
}

fn datagram(syncid: u8, version: Version, entries: &[Entry<'_>]) -> Vec<u8> {
    let mut encoder = Encoder::new(syncid, version, u16::MAX);
    entries.iter().for_each(|entry| encoder.push(entry).unwrap());
    encoder.take().unwrap()
}

/// What the counters say after these entries, beside that one message came.
fn counted(version: Version, entries: &[Entry<'_>]) -> Counters {
    let (mut director, mut backup) = (director(), Backup::new(Settings { syncid: 7 }));
    backup.take(NOW, &mut director, &datagram(7, version, entries)).unwrap();
    let counters = *backup.counters();
    assert_eq!(counters.messages, 1);
    Counters { messages: 0, ..counters }
}

#[test]
fn a_backup_hears_its_own_group_and_with_0_all() {
    let (mut director, mut backup) = (director(), Backup::new(Settings { syncid: 7 }));
    let taken = backup.take(NOW, &mut director, &datagram(7, Version::One, &[entry(1)])).unwrap();
    assert_eq!((taken.entries, taken.accepted, taken.complaint), (1, 1, None));
    assert_eq!(backup.last_heard(), Some(NOW));
    let other = backup.take(NOW, &mut director, &datagram(8, Version::One, &[entry(2)]));
    assert_eq!(other, Err(Refused::SyncId { theirs: 8, ours: 7 }));
    let zero = backup.take(NOW, &mut director, &datagram(0, Version::One, &[entry(2)]));
    assert!(zero.is_err(), "0 is no word for all when it is sent");
    assert_eq!(backup.counters().syncid_refused, 2);
    let mut open = Backup::new(Settings::default());
    for syncid in [0, 7, 255] {
        let entries = [entry(100 + u16::from(syncid))];
        assert!(open.take(NOW, &mut director, &datagram(syncid, Version::One, &entries)).is_ok());
    }
    assert_eq!(director.connection_count(), 4);
}

#[test]
fn what_is_no_message_is_counted_and_nothing_else() {
    let (mut director, mut backup) = (director(), Backup::new(Settings::default()));
    for bytes in [&[][..], &[0], &[0; 4], &[0xff; 20]] {
        let refused = backup.take(NOW, &mut director, bytes);
        assert!(matches!(refused, Err(Refused::Malformed(_))), "{bytes:?}");
    }
    assert_eq!(*backup.counters(), Counters { malformed_refused: 4, ..Counters::default() });
    assert_eq!((backup.last_heard(), director.connection_count()), (None, 0));
}

#[test]
fn every_outcome_has_its_counter() {
    let none = Counters::default();
    let one = |entry: Entry<'_>| counted(Version::One, &[entry]);
    assert_eq!(one(entry(1)), Counters { taken: 1, ..none });
    let elsewhere = Entry { server: end("10.1.0.9", 80), ..entry(1) };
    assert_eq!(one(elsewhere), Counters { unbound: 1, ..none });
    let ends = Entry { flags: Flags(0x183), ..elsewhere };
    let pair = counted(Version::One, &[entry(1), entry(1)]);
    assert_eq!(pair, Counters { taken: 1, updated: 1, ..none });
    let pair = counted(Version::One, &[entry(1), elsewhere]);
    assert_eq!(pair, Counters { taken: 1, replaced: 1, ..none });
    let pair = counted(Version::One, &[entry(1), ends]);
    assert_eq!(pair, Counters { taken: 1, superseded: 1, ..none });
    assert_eq!(one(Entry { protocol: Protocol(50), ..entry(1) }), Counters { protocol: 1, ..none });
    assert_eq!(one(Entry { protocol: Protocol::IP, ..entry(1) }), Counters { protocol: 1, ..none });
    assert_eq!(one(Entry { state: 11, ..entry(1) }), Counters { state: 1, ..none });
    let udp = Entry { protocol: Protocol::UDP, ..entry(1) };
    assert_eq!(one(udp), Counters { state: 1, ..none }, "it has the state 0 alone");
    let template = Entry { flags: Flags(0x1083), state: 2, ..entry(0) };
    assert_eq!(one(template), Counters { state: 1, ..none });
    let unknown_port = Entry { flags: Flags(0x883), ..entry(0) };
    assert_eq!(one(unknown_port), Counters { kind: 1, ..none });
    let engine = |name| Some(Engine { name, data: b"call" });
    let template = Entry { flags: Flags(0x1083), engine: engine(b"sap"), ..entry(0) };
    assert_eq!(one(template), Counters { engine: 1, ..none });
    let other = Entry { engine: engine(b""), ..template };
    assert_eq!(one(other), Counters { engine: 1, ..none }, "data without a name");
    let ours = Entry { engine: engine(b"sip"), ..template };
    let plain = Entry { engine: None, ..template };
    let both = counted(Version::One, &[ours, plain, ours]);
    assert_eq!(both, Counters { taken: 2, updated: 1, ..none }, "they are two templates");
    let named = Some(Engine { name: b"sip", data: b"" });
    assert_eq!(one(Entry { engine: named, ..entry(1) }), Counters { taken: 1, ..none });
}

#[test]
fn the_one_packet_flag_loses_an_entry_of_version_0_alone() {
    let flagged = Entry { flags: Flags(0x2083), ..entry(1) };
    let none = Counters::default();
    assert_eq!(counted(Version::One, &[flagged]), Counters { taken: 1, ..none });
    assert_eq!(counted(Version::Zero, &[flagged]), Counters { kind: 1, ..none });
}

#[test]
fn a_lost_entry_leaves_the_others_and_a_wrong_one_takes_them_with_it() {
    let (mut director, mut backup) = (director(), Backup::new(Settings::default()));
    let wrong = Entry { state: 99, ..entry(2) };
    let bytes = datagram(0, Version::One, &[entry(1), wrong, entry(3)]);
    let taken = backup.take(NOW, &mut director, &bytes).unwrap();
    assert_eq!((taken.entries, taken.accepted), (3, 2));
    assert_eq!(taken.complaint, Some(Complaint::Refusal(Refusal::State(99))));
    let mut bytes = datagram(0, Version::One, &[entry(4), entry(5), entry(6)]);
    bytes[8 + 36] = 2;
    let taken = backup.take(NOW, &mut director, &bytes).unwrap();
    assert_eq!(taken.complaint, Some(Complaint::Entry(EntryError::Kind(2))));
    let counters = *backup.counters();
    assert_eq!((counters.taken, counters.malformed, counters.lost), (3, 1, 1));
    assert_eq!((counters.accepted(), counters.refused()), (3, 3));
    assert_eq!(director.connection_count(), 3);
}

#[test]
fn a_message_of_255_entries_is_taken_whole() {
    let entries: Vec<_> = (0..255).map(entry).collect();
    assert_eq!(counted(Version::One, &entries).taken, 255);
}

#[test]
fn every_entry_of_any_message_is_counted_once() {
    use proptest::prelude::*;
    let bytes = (proptest::collection::vec(any::<u8>(), 0..200), 0u8..6, any::<bool>());
    proptest!(|((body, count, version_1) in bytes)| {
        let mut datagram = alloc::vec![0, 0, 0, 0, count, 1, 0, 0];
        if !version_1 {
            datagram[0] = count;
            datagram.truncate(4);
        }
        datagram.extend_from_slice(&body);
        // Likely types, sizes and protocols, for any bytes seldom have them.
        let body = datagram.get_mut(8..).filter(|_| version_1);
        if let Some([kind, protocol, high, low, ..]) = body {
            (*kind, *protocol, *high, *low) = (*kind & 1, 6, 0, if *kind & 1 == 1 { 72 } else { 36 });
        }
        let [high, low] = (datagram.len() as u16).to_be_bytes();
        (datagram[2], datagram[3]) = (high, low);
        let (mut director, mut backup) = (director(), Backup::new(Settings::default()));
        let taken = backup.take(NOW, &mut director, &datagram).unwrap();
        let counters = *backup.counters();
        let all = counters.accepted() + counters.superseded + counters.refused();
        prop_assert_eq!(all, u64::from(taken.entries));
        director.handle_timers(NOW, usize::MAX);
    });
}
