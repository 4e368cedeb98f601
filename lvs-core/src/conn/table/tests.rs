use std::collections::{BTreeMap, BTreeSet};
use std::string::ToString;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::flow::{Endpoint, Protocol};

/// The key of the `n`th flow: IPv4 and IPv6 in turn.
fn key(n: u32) -> FlowKey {
    let client = if n.is_multiple_of(2) {
        core::net::Ipv4Addr::from_bits(0x0a00_0000 + n / 8).into()
    } else {
        core::net::Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n / 8)).into()
    };
    let virt = if n.is_multiple_of(2) { "10.9.9.9" } else { "2001:db8::99" };
    FlowKey::new(
        Protocol::TCP,
        Endpoint::new(client, 1024 + (n % 8) as u16),
        Endpoint::new(virt.parse().unwrap(), 80),
    )
}

/// The flow as a server's answers have it, as far as the tests care.
fn alias(n: u32) -> FlowKey {
    key(n).reversed()
}

fn table(capacity: u32) -> ConnTable {
    ConnTable::new(capacity, [1, 2], Region::owned(capacity)).unwrap()
}

/// A table in which all hashes are equal.
fn table_of_one_hash(capacity: u32) -> ConnTable {
    ConnTable { hash: FlowHash::constant(), ..table(capacity) }
}

fn insert(table: &mut ConnTable, n: u32) -> Result<ConnId, Full> {
    table.insert(&key(n), table.hash(&key(n)))
}

fn find(table: &ConnTable, n: u32) -> Option<ConnId> {
    let hash = table.hash(&key(n));
    let found = table.find(&key(n), hash, None);
    assert_eq!(table.find(&key(n), hash, table.candidate(hash)), found, "a hint changes nothing");
    found
}

fn find_alias(table: &ConnTable, n: u32) -> Option<ConnId> {
    table.find_alias(table.hash(&alias(n)), |_, hot| hot.key() == key(n))
}

fn walk(table: &ConnTable) -> Vec<ConnId> {
    let mut ids = Vec::new();
    while let Some(id) = table.next_live(ids.last().map_or(0, |id: &ConnId| id.0 + 1)) {
        ids.push(id);
    }
    ids
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u32),
    Remove(u32),
    Alias(u32),
    Unalias(u32),
    Packet(u32, u32, u32),
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..48u32;
    prop_oneof![
        4 => n.clone().prop_map(Op::Insert),
        2 => n.clone().prop_map(Op::Remove),
        2 => n.clone().prop_map(Op::Alias),
        1 => n.clone().prop_map(Op::Unalias),
        1 => (n, any::<u32>(), any::<u32>()).prop_map(|(n, tick, len)| Op::Packet(n, tick, len)),
    ]
}

/// What a connection should look like.
#[derive(Clone, Copy, Debug)]
struct Model {
    id: ConnId,
    aliased: bool,
    last_seen: u32,
    packets: u32,
    bytes: u64,
}

fn step(table: &mut ConnTable, model: &mut BTreeMap<u32, Model>, op: Op) {
    match op {
        Op::Insert(n) if model.contains_key(&n) => {}
        Op::Insert(n) => match insert(table, n) {
            Ok(id) => {
                assert!(model.values().all(|m| m.id != id), "{id:?} is in use");
                let new = Model { id, aliased: false, last_seen: 0, packets: 0, bytes: 0 };
                model.insert(n, new);
            }
            Err(full) => {
                assert_eq!(full.capacity, table.capacity());
                assert_eq!(model.len() as u32, table.capacity(), "full too early");
            }
        },
        Op::Remove(n) => {
            if let Some(m) = model.remove(&n) {
                if m.aliased {
                    table.remove_alias(m.id, &alias(n));
                }
                table.remove(m.id);
            }
        }
        Op::Alias(n) => {
            if let Some(m) = model.get_mut(&n).filter(|m| !m.aliased) {
                table.insert_alias(m.id, &alias(n));
                m.aliased = true;
            }
        }
        Op::Unalias(n) => {
            if let Some(m) = model.get_mut(&n).filter(|m| m.aliased) {
                table.remove_alias(m.id, &alias(n));
                m.aliased = false;
            }
        }
        Op::Packet(n, tick, len) => {
            if let Some(m) = model.get_mut(&n) {
                table.record_packet(m.id, tick, len);
                (m.last_seen, m.packets, m.bytes) = (tick, m.packets + 1, m.bytes + u64::from(len));
            }
        }
    }
}

fn check(table: &ConnTable, model: &BTreeMap<u32, Model>) {
    for n in 0..48 {
        let m = model.get(&n);
        assert_eq!(find(table, n), m.map(|m| m.id), "flow {n}");
        assert_eq!(find_alias(table, n), m.filter(|m| m.aliased).map(|m| m.id), "alias {n}");
        if let Some(m) = m {
            let hot = table.hot(m.id);
            assert_eq!(hot.key(), key(n));
            assert_eq!((hot.last_seen(), hot.packets()), (m.last_seen, m.packets));
            assert_eq!((hot.bytes(), hot.is_aliased()), (m.bytes, m.aliased));
        }
    }
    assert_eq!(table.len() as usize, model.len());
    let ids: BTreeSet<ConnId> = model.values().map(|m| m.id).collect();
    assert_eq!(walk(table), ids.into_iter().collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn the_table_does_what_a_map_does(
        capacity in 1..40u32,
        one_hash in any::<bool>(),
        ops in prop::collection::vec(op(), 1..150),
    ) {
        let mut table = if one_hash { table_of_one_hash(capacity) } else { table(capacity) };
        let mut model = BTreeMap::new();
        for op in ops {
            step(&mut table, &mut model, op);
            check(&table, &model);
        }
        for n in 0..48 {
            step(&mut table, &mut model, Op::Remove(n));
        }
        check(&table, &model);
        prop_assert!(table.index_lines().iter().all(|l| *l == Line::ZERO), "removal leaves traces");
    }

    #[test]
    fn any_capacity_is_reached_and_not_passed(capacity in 1..3000u32, one_hash in any::<bool>()) {
        let capacity = if one_hash { capacity % 200 + 1 } else { capacity };
        let mut table = if one_hash { table_of_one_hash(capacity) } else { table(capacity) };
        for n in 0..capacity {
            let id = insert(&mut table, n).unwrap();
            table.insert_alias(id, &alias(n));
        }
        prop_assert_eq!(insert(&mut table, capacity), Err(Full { capacity }));
        for n in 0..capacity {
            prop_assert!(find(&table, n).is_some() && find_alias(&table, n) == find(&table, n));
        }
    }

    #[test]
    fn each_field_is_its_own(
        words in prop::array::uniform6(any::<u32>()),
        bytes in any::<u64>(),
        n in any::<u32>(),
    ) {
        let mut table = table(3);
        let ids = [n, !n, n ^ 1].map(|n| insert(&mut table, n).unwrap());
        let [a, b, c, d, e, f] = words;
        let mut hot = table.hot_mut(ids[1]);
        hot.set_timeout_index(a as u16);
        hot.set_dest(DestIndex(b));
        hot.set_last_seen(c);
        hot.set_state(d as u8);
        hot.set_flags((d >> 8) as u8);
        hot.set_packets(e);
        hot.set_bytes(bytes);
        let template = (f != u32::MAX).then_some(TemplateId(f));
        let cold = Cold { template, mark: FwMark(a), created: b, flags: c };
        table.set_cold(ids[1], cold);

        let hot = table.hot(ids[1]);
        prop_assert_eq!((hot.key(), hot.is_live(), hot.generation()), (key(!n), true, 1));
        prop_assert_eq!((hot.timeout_index(), hot.dest()), (a as u16, DestIndex(b)));
        prop_assert_eq!((hot.last_seen(), hot.packets(), hot.bytes()), (c, e, bytes));
        prop_assert_eq!((hot.state(), hot.flags()), (d as u8, (d >> 8) as u8));
        prop_assert_eq!(table.cold(ids[1]), cold);
        for (id, n) in [(ids[0], n), (ids[2], n ^ 1)] {
            let hot = table.hot(id);
            prop_assert_eq!((hot.key(), hot.dest(), hot.bytes()), (key(n), DestIndex(0), 0));
            prop_assert_eq!(table.cold(id), Cold::default());
        }
    }
}

#[test]
fn a_full_table_probes_few_buckets() {
    let capacity = 100_000;
    let mut table = table(capacity);
    // Lines read to learn that a key is not there: on average (in hundredths) and at worst.
    let misses = |table: &ConnTable| {
        let hashes = (0..100_000).map(|n| table.hash(&key(1_000_000 + n)));
        let read = hashes.map(|hash| table.index.lines_read(table.index_lines(), hash));
        let read: Vec<usize> = read.collect();
        (read.iter().sum::<usize>() * 100 / read.len(), *read.iter().max().unwrap())
    };
    let ids: Vec<ConnId> = (0..capacity).map(|n| insert(&mut table, n).unwrap()).collect();
    let (mean, worst) = misses(&table);
    assert!(mean <= 102 && worst <= 3, "one entry each: {mean}/100 lines, at worst {worst}");

    for id in ids {
        table.insert_alias(id, &alias(id.0));
    }
    let (mean, worst) = misses(&table);
    assert!(mean <= 130 && worst <= 12, "two each: {mean}/100 lines, at worst {worst}");
}

#[test]
fn a_removed_connection_is_found_no_more_even_with_an_old_hint() {
    let mut table = table(4);
    let id = insert(&mut table, 1).unwrap();
    let hash = table.hash(&key(1));
    table.remove(id);
    assert_eq!(table.find(&key(1), hash, Some(id)), None);
    assert!(!table.is_live(id) && !table.is_live(ConnId(4)) && !table.is_live(ConnId(u32::MAX)));
}

#[test]
fn the_key_of_zeros_is_a_key_like_others() {
    let mut table = table(4);
    let hash = table.hash(&FlowKey::EMPTY);
    assert_eq!(table.find(&FlowKey::EMPTY, hash, Some(ConnId(2))), None);
    let id = table.insert(&FlowKey::EMPTY, hash).unwrap();
    assert_eq!(table.find(&FlowKey::EMPTY, hash, None), Some(id));
}

#[test]
fn the_generation_tells_connections_in_one_slot_apart() {
    let mut table = table(1);
    for generation in 1..=3 {
        let id = insert(&mut table, generation).unwrap();
        assert_eq!(table.hot(id).generation(), generation as u16);
        table.hot_mut(id).set_state(u8::MAX);
        table.hot_mut(id).set_flags(u8::MAX);
        table.remove(id);
    }
}

#[test]
fn packets_stay_at_their_highest_number() {
    let mut table = table(1);
    let id = insert(&mut table, 0).unwrap();
    table.hot_mut(id).set_packets(u32::MAX - 1);
    table.record_packet(id, 1, 1500);
    table.record_packet(id, 2, 1500);
    assert_eq!((table.hot(id).packets(), table.hot(id).bytes()), (u32::MAX, 3000));
}

#[test]
fn a_walk_in_chunks_sees_each_connection_that_stays() {
    let mut table = table(1000);
    let ids: Vec<ConnId> = (0..1000).map(|n| insert(&mut table, n).unwrap()).collect();
    ids.iter().filter(|id| id.0 % 3 != 0).for_each(|&id| table.remove(id));
    let expected: Vec<ConnId> = (0..1000).filter(|n| n % 3 == 0).map(ConnId).collect();
    assert_eq!(walk(&table), expected);
    assert_eq!(table.next_live(999), Some(ConnId(999)));
    assert_eq!((table.next_live(1000), table.next_live(u32::MAX)), (None, None));
}

#[test]
fn lent_memory_need_not_be_clean_and_tells_its_layout() {
    let lines = Region::lines_needed(10);
    let dirty = std::boxed::Box::leak(vec![Line([u64::MAX; 8]); lines + 1].into_boxed_slice());
    let mut table = ConnTable::new(10, [7, 8], Region::Lent(dirty)).unwrap();
    assert_eq!(walk(&table), []);
    assert_eq!(find(&table, 3), None);
    let id = insert(&mut table, 3).unwrap();
    assert_eq!(find(&table, 3), Some(id));
    let Region::Lent(lines) = &table.region else { unreachable!() };
    // As the drawing says: 5 index lines behind the header, then the records.
    assert_eq!(lines[0].0, [u64::from_be_bytes(*b"LVSCONN\x01"), 10 | 5 << 32, 7, 8, 1, 0, 0, 0]);
    assert_eq!(lines[6].0[..4], key(3).0[..4]);
    assert_eq!(lines[1..6].iter().filter(|l| **l != Line::ZERO).count(), 1);
    assert_eq!(lines[6 + 10 + 3].0[0], 1);
}

#[test]
fn a_table_that_cannot_be_is_refused_with_the_numbers() {
    let error = ConnTable::new(0, [0, 0], Region::owned(1)).unwrap_err();
    assert_eq!(error.to_string(), "a connection table holds 1 to 268435456 connections, not 0");
    let error = ConnTable::new(CAPACITY_MAX + 1, [0, 0], Region::owned(1)).unwrap_err();
    assert_eq!(error, TableError::Capacity { given: CAPACITY_MAX + 1 });
    let error = ConnTable::new(100, [0, 0], Region::owned(99)).unwrap_err();
    assert_eq!(
        error.to_string(),
        std::format!(
            "the region has {} lines of 64 bytes, but the table needs {}",
            Region::lines_needed(99),
            Region::lines_needed(100)
        )
    );
}

#[test]
fn a_connection_takes_about_a_hundred_bytes() {
    assert_eq!(Region::lines_needed(1_000_000) * 64 / 1_000_000, 105);
}
