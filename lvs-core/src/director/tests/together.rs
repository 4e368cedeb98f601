//! Several commands at one instant, and listings that cut a service.

use super::*;
use crate::listing::ServiceCursor;

fn add(director: &mut Director, host: u8) {
    let spec = DestinationSpec::new(Endpoint { addr: server(host), port: crate::ids::L4Port(80) });
    director.apply(Instant::ZERO, Command::AddDestination(key(), spec)).unwrap();
}

fn with_servers(scheduler: &str, hosts: core::ops::RangeInclusive<u8>) -> Director {
    let mut director = Director::new(Limits::small(), [7, 9]).unwrap();
    let spec = ServiceSpec { scheduler: scheduler.into(), ..ServiceSpec::new(key()) };
    director.apply(Instant::ZERO, Command::AddService(spec)).unwrap();
    hosts.for_each(|host| add(&mut director, host));
    director
}

#[test]
fn a_service_that_is_cut_is_listed_whole_also_if_servers_come_in_between() {
    let mut director = with_servers("rr", 1..=100);
    let whole = director.services(Instant::ZERO);
    let (mut cursor, mut entries) = (ServiceCursor::default(), Vec::new());
    let mut steps = 0;
    while director.services_from(Instant::ZERO, &mut cursor, 7, &mut entries) {
        steps += 1;
        add(&mut director, 100 + steps);
    }
    assert_eq!(entries, whole);
    assert_eq!(usize::from(steps), 101 / 7);
    let (mut cursor, mut parts) = (ServiceCursor::default(), 0);
    let mut entries = Vec::new();
    while director.service_from(Instant::ZERO, &key(), &mut cursor, 10, &mut entries) == Some(true)
    {
        parts += 1;
    }
    assert_eq!(entries, director.services(Instant::ZERO));
    assert_eq!(parts, (entries[0].destinations.len() - 1) / 10);
}

#[test]
fn commands_given_together_make_what_they_make_one_by_one() {
    for scheduler in ["rr", "sh", "dh", "mh"] {
        let one_by_one = |director: &mut Director| {
            add(director, 21);
            let gone = Endpoint { addr: server(3), port: crate::ids::L4Port(80) };
            director.apply(Instant::ZERO, Command::DeleteDestination(key(), gone)).unwrap();
            add(director, 22);
        };
        let (mut single, mut together) =
            (with_servers(scheduler, 1..=9), with_servers(scheduler, 1..=9));
        one_by_one(&mut single);
        together.together(one_by_one);
        assert_eq!(single.services(Instant::ZERO), together.services(Instant::ZERO));
        let state = |director: &Director| {
            let index = director.services.by_key(&key()).unwrap();
            alloc::format!("{:?}", director.services.at(index).scheduler)
        };
        assert_eq!(state(&single), state(&together), "{scheduler}");
    }
}
