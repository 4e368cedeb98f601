//! What is told of one connection, one server, one reason.

use super::*;
use crate::command::ForwardingMethod;
use crate::flow::FlowKey;
use crate::ids::L4Port;
use crate::listing::Forecast;

fn flow(client: u8, port: u16) -> FlowKey {
    let virt = Endpoint { addr: IpAddr::V4(VIP.into()), port: L4Port(80) };
    let client = Endpoint::new(IpAddr::V4([192, 0, 2, client].into()), port);
    FlowKey::new(Protocol::TCP, client, virt)
}

#[test]
fn a_reason_remembers_its_last_frame() {
    let mut world = World::new(Limits { connections_max: 1, ..Limits::small() });
    world.add_service("rr", None);
    world.tcp(7, 1, "S");
    assert_eq!(world.director.last_drop(DropReason::ConnectionTableFull), None);
    world.tcp(8, 2, "S");
    world.advance(10);
    world.tcp(9, 3, "S");
    let last = *world.director.last_drop(DropReason::ConnectionTableFull).unwrap();
    assert_eq!((last.at, last.port, last.flow), (world.now, Some(PORT), Some(flow(9, 3))));
    // Of a frame that makes no sense no flow is told, least of all that of another one.
    let mut broken = segment(7, 1, "S", 64, 0);
    broken[14] = 0x44;
    world.send(&broken);
    let last = *world.director.last_drop(DropReason::Ipv4HeaderLength).unwrap();
    assert_eq!((last.port, last.flow), (Some(PORT), None));
}

#[test]
fn a_connection_and_its_template_are_told_with_all_that_is_known() {
    let granularity = Granularity::Mask(u32::MAX);
    let persistence = Persistence { timeout: Duration::from_secs(300), granularity };
    let mut world = World::with_service("rr", Some(persistence));
    world.tcp(7, 40_000, "S");
    world.tcp(7, 40_000, "A");
    let details = world.director.connection(world.now, &flow(7, 40_000)).unwrap();
    assert_eq!((details.entry.state, details.active, details.listed), ("ESTABLISHED", true, true));
    assert_eq!(details.method, Some(ForwardingMethod::DirectRoute));
    assert_eq!((details.service, details.timeout), (key(), Duration::from_secs(900)));
    let template = details.template.unwrap();
    assert_eq!((template.state, details.holds), ("ASSURED", 1));
    let hop = world.director.next_hop(details.hop).unwrap();
    assert_eq!((hop.addr, hop.mac), (server(4), Some(server_mac(4))));
    let of_template = world.director.connection(world.now, &flow(7, 0)).unwrap();
    assert_eq!((of_template.entry, of_template.holds), (template, 1));
    assert_eq!(world.director.connection(world.now, &flow(7, 40_001)), None);
}

#[test]
fn a_forecast_knows_what_is_left_of_a_server_and_until_when() {
    let granularity = Granularity::Mask(u32::MAX);
    let persistence = Persistence { timeout: Duration::from_secs(300), granularity };
    let mut world = World::with_service("rr", Some(persistence));
    for client in 1..=6 {
        world.tcp(client, 40_000, "S");
    }
    world.advance(1000);
    let (mut cursor, mut forecast) = (Cursor::default(), Forecast::default());
    let key = key();
    let server = (&key, Endpoint::new(server(4), 80));
    while world.director.forecast(world.now, server, &mut cursor, 2, &mut forecast) {}
    let [connections_end, templates_end] = [59, 299].map(Duration::from_secs);
    let wanted = Forecast { connections: 2, templates: 2, connections_end, templates_end };
    assert_eq!(forecast, wanted);
}
