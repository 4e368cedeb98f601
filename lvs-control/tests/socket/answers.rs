//! What a client gets.

use std::net::{IpAddr, Ipv4Addr};

use lvs_control::data::{Change, ServiceName};
use lvs_control::server::Patience;
use lvs_control::{Client, ClientError, Reply, Request};
use lvs_core::addr::{MacAddr, Prefix};
use lvs_core::command::{Command, PortSpec};
use lvs_core::director::Director;
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::PortId;
use lvs_core::io::FrameIo;
use lvs_core::io::mem::MemIo;
use lvs_core::limits::Limits;
use lvs_core::time::Instant;

use crate::director::{Running, SocketPath, command};

fn ask(client: &mut Client, request: Request) -> Result<Vec<Reply>, ClientError> {
    client.ask(request)?.collect()
}

fn change(line: &str) -> Change {
    Change::try_from(&command(line)).unwrap()
}

fn name(line: &str) -> ServiceName {
    match change(line) {
        Change::DeleteService(name) => name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_connection_asks_many_times() {
    let running = Running::start();
    let mut client = running.client();
    let changes = ["-A -t 10.0.0.1:80", "-A -t 10.0.0.1:80", "-a -t 10.0.0.1:80 -r 10.1.0.2"];
    let changes: Vec<Change> = changes.iter().map(|line| change(line)).collect();
    let replies = ask(&mut client, Request::Change { changes }).unwrap();
    let [Reply::Outcomes(outcomes)] = &replies[..] else { panic!("{replies:?}") };
    assert!(outcomes[0].is_none() && outcomes[2].is_none(), "{outcomes:?}");
    let refusal = outcomes[1].as_ref().unwrap();
    assert_eq!((refusal.status, refusal.message.as_str()), (255, "Service already exists"));

    let replies = ask(&mut client, Request::Services { only: None }).unwrap();
    let [Reply::Services(services)] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(services[0].servers[0].spec.address, IpAddr::from([10, 1, 0, 2]));
    assert_eq!(services[0].rates.connections, 7);

    let only = Some(name("-D -t 10.0.0.1:81"));
    let error = ask(&mut client, Request::Services { only }).unwrap_err();
    assert_eq!((error.status(), error.to_string().as_str()), (1, "No such service"));

    let replies = ask(&mut client, Request::Settings).unwrap();
    let [Reply::Settings(settings)] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!((settings.timeouts.tcp_s, settings.sysctls["conn_reuse_mode"]), (900, 1));
    let replies = ask(&mut client, Request::About).unwrap();
    assert!(matches!(&replies[..], [Reply::About(about)] if about.interfaces == ["eth0"]));
}

#[test]
fn a_long_listing_of_services_comes_in_parts_and_is_whole() {
    let lines: Vec<String> = (1..=200u8)
        .flat_map(|n| {
            let service = format!("-t 10.0.{n}.1:80");
            [format!("-A {service}"), format!("-a {service} -r 10.1.0.2")]
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    // More services than a small director has room for are no matter here.
    let running = Running::start_with(&lines[..64], Patience::default());
    let replies = ask(&mut running.client(), Request::Services { only: None }).unwrap();
    let services: usize = replies
        .iter()
        .map(|reply| match reply {
            Reply::Services(services) => services.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(services, 32);
}

/// A director with a service and as many connections as `clients`.
pub(crate) fn loaded(clients: u32) -> Director {
    let limits =
        Limits { connections_max: clients.next_power_of_two().max(1024), ..Limits::small() };
    let mut director = Director::new(limits, [1, 2]).unwrap();
    let now = Instant::ZERO;
    let port = PortSpec {
        id: PortId(0),
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        addresses: vec![Prefix::new("10.1.0.1".parse().unwrap(), 16).unwrap()],
    };
    let server = "10.1.0.2".parse().unwrap();
    let mac = MacAddr([2, 0, 0, 0, 0, 2]);
    let commands = [
        Command::SetPort(port),
        Command::SetNeighbor { port: PortId(0), addr: server, mac },
        Command::AddLocal { addr: "10.0.0.1".parse().unwrap(), answer: false },
        command("-A -u 10.0.0.1:53 -s rr"),
        command("-a -u 10.0.0.1:53 -r 10.1.0.2"),
    ];
    commands.into_iter().for_each(|command| director.apply(now, command).unwrap());
    let mut io = MemIo::new(1);
    for client in 0..clients {
        let source = Ipv4Addr::from_bits(0xc000_0000 + client / 60_000);
        let port = 1024 + (client % 60_000) as u16;
        io.push(PortId(0), &datagram(source, port));
        if client % 32 == 31 || client + 1 == clients {
            let Ok(_) = io.exchange(&mut |frames| director.process_burst(now, frames));
            io.sent(PortId(0));
        }
    }
    director
}

/// Has a director decide about a frame.
pub(crate) fn exchange(director: &mut Director, frame: &[u8]) {
    let mut io = MemIo::new(1);
    io.push(PortId(0), frame);
    let Ok(_) = io.exchange(&mut |frames| director.process_burst(Instant::ZERO, frames));
}

/// A UDP datagram to the service.
pub(crate) fn datagram(source: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0];
    let mut ip = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    ip.extend_from_slice(&source.octets());
    ip.extend_from_slice(&[10, 0, 0, 1]);
    let sum: u32 = ip.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    frame.extend_from_slice(&ip);
    frame.extend_from_slice(&port.to_be_bytes());
    frame.extend_from_slice(&[0, 53, 0, 8, 0, 0]);
    frame
}

#[test]
fn a_hundred_thousand_connections_come_whole_and_in_steps_that_are_short() {
    const CLIENTS: u32 = 100_000;
    let director = loaded(CLIENTS);
    assert_eq!(director.connection_count(), CLIENTS);
    let running = Running::run(director, Patience::default(), SocketPath::new()).unwrap();
    let mut seen = std::collections::HashSet::new();
    let take = |reply| match reply {
        Reply::Connections(entries) => {
            seen.extend(entries.iter().map(|entry| entry.client));
            Ok(())
        }
        other => panic!("{other:?}"),
    };
    running.client().for_each(Request::Connections, take).unwrap();
    assert_eq!(seen.len(), CLIENTS as usize);
    let turns = running.turns.load(std::sync::atomic::Ordering::SeqCst);
    assert!(turns >= u64::from(CLIENTS) / 256, "a step lists too much: {turns} turns");
}

#[test]
fn listings_of_several_clients_go_on_in_turns() {
    let running = Running::run(loaded(20_000), Patience::default(), SocketPath::new()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                assert_eq!(running.count_connections(), 20_000);
            });
        }
    });
}

#[test]
fn a_mark_rule_and_an_endpoint_look_as_they_are_typed() {
    let mut running = Running::start();
    let json =
        serde_json::to_string(&Request::Services { only: Some(name("-D -f 7 -6")) }).unwrap();
    assert_eq!(json, r#"{"services":{"only":{"mark":7,"family":"ipv6"}}}"#);
    let end = Endpoint::new("10.0.0.1".parse().unwrap(), 80);
    assert_eq!(format!("{} {end}", Protocol::TCP), "TCP 10.0.0.1:80");
    let mut client = running.client();
    running.stop();
    let error = ask(&mut client, Request::About).unwrap_err().to_string();
    assert!(error.contains("stopping") || error.contains("closed the connection"), "{error}");
}
