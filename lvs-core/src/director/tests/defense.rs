//! The defences against floods: levels 1 and 2, which no record shows, and the entries that go.

use super::*;
use crate::command::Tunables;

fn set(world: &mut World, change: impl Fn(&mut Tunables)) {
    let mut tunables = *world.director.tunables();
    change(&mut tunables);
    world.apply(Command::SetTunables(tunables));
}

/// Lets so many seconds pass, with the director's timers at their deadlines.
fn wait(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.advance(1000);
        world.director.handle_timers(world.now, usize::MAX);
    }
}

#[test]
fn an_automatic_defence_wakes_when_few_places_are_free_and_sleeps_again() {
    let mut limits = Limits::small();
    limits.connections_max = 256;
    let mut world = World::new(limits);
    world.add_service("rr", None);
    set(&mut world, |tunables| {
        (tunables.secure_tcp, tunables.drop_packet, tunables.amemthresh) = (1, 1, 96);
    });
    assert!(world.tcp(1, 1001, "S").is_some());
    assert_eq!((world.states(), world.director.tunables().secure_tcp), (vec!["SYN_RECV"], 1));
    for port in 1002..=1192 {
        assert!(world.tcp(1, port, "S").is_some(), "nothing is dropped before the next look");
    }
    wait(&mut world, 1);
    let levels = (world.director.tunables().secure_tcp, world.director.tunables().drop_packet);
    assert_eq!(levels, (2, 2));
    // 64 places are free, 32 too few: each third packet is dropped.
    let lost = (2000..2030).filter(|&port| world.tcp(1, port, "S").is_none()).count();
    assert_eq!(lost, 10);
    assert!(world.states().contains(&"SYNACK"));
    wait(&mut world, 130);
    assert_eq!((world.states(), world.director.tunables().secure_tcp), (vec![], 1));
    assert!((2000..2100).all(|port| world.tcp(1, port, "S").is_some()));
}

#[test]
fn drop_entry_ends_half_open_connections_and_spares_those_at_work() {
    let mut world = World::with_service("rr", None);
    for port in 1001..=1060 {
        world.tcp(1, port, "S");
    }
    for port in 1001..=1020 {
        world.tcp(1, port, "A");
    }
    set(&mut world, |tunables| tunables.drop_entry = 3);
    // Each second looks at one place of 32: after as many minutes none was missed.
    for _ in 0..32 {
        wait(&mut world, 30);
        for port in 1001..=1020 {
            world.tcp(1, port, "A");
        }
        for port in 1021..=1060 {
            world.tcp(1, port, "S");
        }
        let states = world.states();
        let alive = states.iter().filter(|&&state| state == "ESTABLISHED").count();
        assert_eq!(alive, 20, "those at work stay");
    }
    set(&mut world, |tunables| tunables.drop_entry = 0);
    let services = world.director.services(world.now);
    let opened: u64 = services[0].destinations.iter().map(|d| d.counters.connections).sum();
    assert!(opened > 60, "half-open ones ended before their 60 s and were opened again: {opened}");
}

#[test]
fn of_quiet_connections_drop_entry_takes_those_with_few_packets() {
    let mut world = World::with_service("rr", None);
    for port in 1001..=1040 {
        world.tcp(1, port, "S");
        world.tcp(1, port, "A");
    }
    for _ in 0..10 {
        for port in 1001..=1010 {
            world.tcp(1, port, "A");
        }
    }
    set(&mut world, |tunables| tunables.drop_entry = 3);
    wait(&mut world, 50);
    assert_eq!(world.states().len(), 40, "none is quiet for 60 s yet");
    wait(&mut world, 600);
    let left = world.states().len();
    assert_eq!(left, 10, "those with more than eight packets stay");
}

#[test]
fn a_template_of_which_nothing_was_established_goes_with_its_connection() {
    let persistence = Persistence {
        timeout: Duration::from_secs(3600),
        granularity: Granularity::Mask(u32::MAX),
    };
    let mut world = World::with_service("rr", Some(persistence));
    for client in 1..=20 {
        world.tcp(client, 1, "S");
    }
    for client in 1..=5 {
        world.tcp(client, 1, "A");
    }
    set(&mut world, |tunables| tunables.drop_entry = 3);
    wait(&mut world, 880);
    assert_eq!(world.director.template_count(), 5, "assured ones stay");
}
