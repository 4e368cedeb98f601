use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use lvs_core::command::{Command, DestinationSpec, ServiceKey, ServiceSpec};
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::time::{Duration, Instant};

use super::*;

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 7, 9);

/// Says hello, then repeats whole lines.
struct Echo;

impl Service for Echo {
    fn greet(&mut self, client: SocketAddrV4) -> Vec<u8> {
        format!("hello {client}\n").into_bytes()
    }

    fn answer(&mut self, _client: SocketAddrV4, received: &[u8]) -> Answer {
        let lines = received.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Answer { consumed: lines, reply: received[..lines].to_vec() }
    }
}

fn lan(seed: u64) -> (Lan, StationId, StationId) {
    let spec = LanSpec { seed, ..LanSpec::new(Ipv4Addr::new(192, 168, 0, 254), 16, VIP) };
    let mut lan = Lan::new(&spec).unwrap();
    let virt = Endpoint::new(IpAddr::V4(VIP), 7);
    let key = ServiceKey::Address { protocol: Protocol::TCP, virt };
    lan.apply(Command::AddService(ServiceSpec::new(key))).unwrap();
    let destination = DestinationSpec::new(Endpoint::new(IpAddr::V4(SERVER), 7));
    lan.apply(Command::AddDestination(key, destination)).unwrap();
    let server = lan.add_station(SERVER, &[VIP]);
    lan.listen(server, 7, Box::new(Echo)).unwrap();
    let client = lan.add_station(CLIENT, &[]);
    (lan, server, client)
}

fn states(lan: &mut Lan) -> Vec<(&'static str, u64)> {
    let (now, mut entries) = (lan.now(), Vec::new());
    lan.director().connections(now, &mut lvs_core::listing::Cursor::default(), 99, &mut entries);
    entries.iter().map(|entry| (entry.state, entry.expires.as_secs())).collect()
}

#[test]
fn a_client_talks_to_a_real_server_through_the_director_and_hears_from_it_directly() {
    let (mut lan, _, client) = lan(1);
    let stream = lan.connect(client, 40_000, SocketAddrV4::new(VIP, 7)).unwrap();
    lan.run_for(Duration::from_millis(100));
    assert_eq!(lan.receive(stream), b"hello 192.168.7.9:40000\n");
    lan.send(stream, b"one\ntw").unwrap();
    lan.run_for(Duration::from_millis(100));
    assert_eq!(lan.receive(stream), b"one\n");
    lan.send(stream, b"o\n").unwrap();
    lan.run_for(Duration::from_millis(100));
    assert_eq!(lan.receive(stream), b"two\n");
    assert_eq!(
        (lan.state(stream), states(&mut lan)),
        (StreamState::Open, vec![("ESTABLISHED", 899)])
    );
    lan.close(stream);
    lan.run_for(Duration::from_millis(100));
    assert_eq!(
        (lan.state(stream), states(&mut lan)),
        (StreamState::Closed, vec![("FIN_WAIT", 119)])
    );
    assert_eq!(lan.director().stats().total.packets_out, 0, "no answer passes the director");
    assert_eq!(lan.director().conflicts(), [], "only the director answers ARP for the VIP");
    lan.run_for(Duration::from_secs(120));
    assert_eq!(states(&mut lan), []);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| {
        let (mut lan, _, client) = lan(seed);
        let stream = lan.connect(client, 40_000, SocketAddrV4::new(VIP, 7)).unwrap();
        lan.run_until(Instant::from_secs(9), |lan| lan.state(stream) == StreamState::Open);
        (lan.now(), states(&mut lan))
    };
    assert_eq!(history(3), history(3));
}

#[test]
fn a_client_tries_again_while_the_server_is_unplugged() {
    let (mut lan, server, client) = lan(1);
    lan.run_for(Duration::from_secs(1));
    lan.set_unplugged(server, true);
    let stream = lan.connect(client, 40_000, SocketAddrV4::new(VIP, 7)).unwrap();
    lan.run_for(Duration::from_millis(10));
    assert_eq!(
        (lan.state(stream), states(&mut lan)),
        (StreamState::Opening, vec![("SYN_RECV", 59)])
    );
    lan.set_unplugged(server, false);
    lan.run_for(Duration::from_secs(3));
    assert_eq!(
        (lan.state(stream), states(&mut lan)),
        (StreamState::Open, vec![("ESTABLISHED", 898)])
    );
}

#[test]
fn many_clients_at_one_moment_all_get_through() {
    let (mut lan, ..) = lan(1);
    let streams: Vec<Stream> = (0..16)
        .map(|n| {
            let client = lan.add_station(Ipv4Addr::new(192, 168, 8, n), &[]);
            lan.connect(client, 40_000, SocketAddrV4::new(VIP, 7)).unwrap()
        })
        .collect();
    lan.run_for(Duration::from_secs(10));
    assert!(streams.iter().all(|stream| lan.state(*stream) == StreamState::Open));
}

#[test]
fn what_cannot_be_is_refused() {
    let (mut lan, server, client) = lan(1);
    assert!(lan.listen(server, 0, Box::new(Echo)).is_err());
    assert!(lan.connect(client, 40_000, SocketAddrV4::new(VIP, 0)).is_err());
    let stream = lan.connect(client, 40_000, SocketAddrV4::new(VIP, 7)).unwrap();
    assert_eq!(lan.send(stream, b"early"), Err(StreamError::NotOpen));
    lan.run_for(Duration::from_secs(1));
    assert_eq!(
        lan.send(stream, &[b'x'; 5000]),
        Err(StreamError::Full { taken: 4096, given: 5000 })
    );
    lan.close(stream);
    assert_eq!(lan.send(stream, b"late"), Err(StreamError::NotOpen));
    let spec = LanSpec::new(Ipv4Addr::new(192, 168, 0, 254), 33, VIP);
    assert!(matches!(Lan::new(&spec), Err(LanError::PrefixLength(33))));
}
