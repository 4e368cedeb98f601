use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::flow::{Endpoint, Protocol};

fn key(n: u32) -> FlowKey {
    FlowKey::new(
        Protocol::TCP,
        Endpoint::new(Ipv4Addr::from_bits(0x0a00_0000 + n).into(), 0),
        Endpoint::new("10.9.9.9".parse().unwrap(), 80),
    )
}

fn walk(table: &TemplateTable) -> Vec<TemplateId> {
    let mut ids = Vec::new();
    while let Some(id) = table.next_live(ids.last().map_or(0, |id: &TemplateId| id.0 + 1)) {
        ids.push(id);
    }
    ids
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u32),
    Remove(usize),
    Spoil(usize),
    Hold(usize),
    Release(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..30u32).prop_map(Op::Insert),
        2 => any::<usize>().prop_map(Op::Remove),
        1 => any::<usize>().prop_map(Op::Spoil),
        2 => any::<usize>().prop_map(Op::Hold),
        2 => any::<usize>().prop_map(Op::Release),
    ]
}

/// What a template should look like: its key, whether it is spoilt, what it holds.
type Model = BTreeMap<TemplateId, (u32, bool, u32)>;

fn step(table: &mut TemplateTable, model: &mut Model, op: Op) {
    let nth = |model: &Model, n: usize| model.keys().nth(n % model.len().max(1)).copied();
    match op {
        Op::Insert(n) if model.values().any(|&(key, spoilt, _)| key == n && !spoilt) => {}
        Op::Insert(n) => match table.insert(&key(n), None) {
            Ok(id) => assert_eq!(model.insert(id, (n, false, 0)), None, "{id:?} is in use"),
            Err(_) => assert_eq!(model.len() as u32, table.capacity(), "full too early"),
        },
        Op::Remove(n) => {
            if let Some(id) = nth(model, n).filter(|id| model[id].2 == 0) {
                table.remove(id);
                model.remove(&id);
            }
        }
        Op::Spoil(n) => {
            if let Some(id) = nth(model, n) {
                table.spoil(id);
                model.get_mut(&id).unwrap().1 = true;
            }
        }
        Op::Hold(n) => {
            if let Some(id) = nth(model, n) {
                table.hold(id);
                model.get_mut(&id).unwrap().2 += 1;
            }
        }
        Op::Release(n) => {
            if let Some(id) = nth(model, n).filter(|id| model[id].2 > 0) {
                table.release(id);
                model.get_mut(&id).unwrap().2 -= 1;
            }
        }
    }
}

proptest! {
    #[test]
    fn the_table_does_what_a_map_does(
        capacity in 1..25u32,
        one_hash in any::<bool>(),
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let mut table = TemplateTable::new(capacity, 8, [1, 2]);
        if one_hash {
            table.hash = FlowHash::constant();
        }
        let mut model = Model::new();
        for op in ops {
            step(&mut table, &mut model, op);
            for n in 0..30 {
                let found = model.iter().find(|(_, (key, spoilt, _))| *key == n && !spoilt);
                prop_assert_eq!(table.find(&key(n), None), found.map(|(&id, _)| id));
            }
            for (&id, &(n, spoilt, holds)) in &model {
                let template = table.template(id);
                prop_assert_eq!((template.is_spoilt(), template.holds()), (spoilt, holds));
                prop_assert_eq!(template.key().client(), key(n).client());
            }
            prop_assert_eq!(walk(&table), model.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(table.len() as usize, model.len());
        }
    }
}

#[test]
fn marks_of_one_number_but_two_families_have_templates_of_their_own() {
    let mut table = TemplateTable::new(4, 8, [1, 2]);
    let mut made = Vec::new();
    for family in [Family::V4, Family::V6] {
        let client = Endpoint { addr: family.unspecified(), port: L4Port::ANY };
        let virt = Endpoint { addr: mark_address(FwMark(1), family), port: L4Port::ANY };
        let key = FlowKey::new(Protocol::IP, client, virt);
        assert_eq!(table.find(&key, None), None, "{key:?}");
        made.push((key, table.insert(&key, None).unwrap()));
    }
    for (key, id) in made {
        assert_eq!(table.find(&key, None), Some(id));
    }
}

#[test]
fn a_mark_is_written_as_the_kernel_lists_it() {
    use std::string::ToString;
    assert_eq!(mark_address(FwMark(1), Family::V4).to_string(), "0.0.0.1");
    assert_eq!(mark_address(FwMark(0x0102_0304), Family::V4).to_string(), "1.2.3.4");
    assert_eq!(mark_address(FwMark(1), Family::V6).to_string(), "0:1::");
}

#[test]
fn a_spoilt_template_lives_on_with_ports_65535_beside_its_successor() {
    let mut table = TemplateTable::new(2, 8, [1, 2]);
    let old = table.insert(&key(1), None).unwrap();
    table.template_mut(old).dest_port = L4Port(80);
    table.template_mut(old).timeout = 360_000;
    table.spoil(old);
    table.spoil(old);
    let new = table.insert(&key(1), None).unwrap();
    assert_eq!(table.find(&key(1), None), Some(new));
    let template = table.template(old);
    assert_eq!(template.key().virtual_port(), L4Port(65535));
    assert_eq!(template.key().virtual_addr(), key(1).virtual_addr());
    assert_eq!((template.dest_port, template.timeout), (L4Port(65535), 360_000));
    assert_eq!(table.find(&template.key(), None), None, "not even by the key it is listed with");
    table.remove(old);
    assert_eq!(walk(&table), [new]);
}

#[test]
fn a_new_connection_starts_the_time_over_and_is_counted() {
    let mut table = TemplateTable::new(1, 8, [1, 2]);
    let id = table.insert(&key(1), None).unwrap();
    let template = table.template_mut(id);
    template.record_connection(5);
    template.record_connection(9);
    assert_eq!((template.last_used, template.connections), (9, 2));
}

#[test]
#[should_panic(expected = "controls connections")]
#[cfg(debug_assertions)]
fn a_template_that_controls_connections_must_not_be_removed() {
    let mut table = TemplateTable::new(1, 8, [1, 2]);
    let id = table.insert(&key(1), None).unwrap();
    table.hold(id);
    table.remove(id);
}

#[test]
#[should_panic(expected = "controls no connection")]
#[cfg(debug_assertions)]
fn a_template_cannot_be_released_more_often_than_held() {
    let mut table = TemplateTable::new(1, 8, [1, 2]);
    let id = table.insert(&key(1), None).unwrap();
    table.release(id);
}
