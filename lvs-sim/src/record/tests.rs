use super::*;
use crate::net::station_mac;
use crate::scenario::{Action, Scenario, Side};

/// The frame as direct routing sends it: TTL one less, header checksum anew, the server's station.
fn direct_route(frame: &[u8], server: &str) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[..6].copy_from_slice(&station_mac(server.parse().unwrap()).0);
    frame[22] -= 1;
    let mut header = etherparse::Ipv4Header::from_slice(&frame[14..]).unwrap().0;
    header.header_checksum = header.calc_header_checksum();
    frame[14..34].copy_from_slice(&header.to_bytes());
    frame
}

#[test]
fn direct_routed_packets_read_as_recorded() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance");
    let text = std::fs::read_to_string(format!("{dir}/scenarios/dr-headers.lvs")).unwrap();
    let record = std::fs::read_to_string(format!("{dir}/recorded/dr-headers.rec")).unwrap();
    let scenario = Scenario::parse("dr-headers.lvs", &text).unwrap();
    let mut found = 0;
    for event in &scenario.events {
        let Action::Packet(packet) = &event.action else { continue };
        let head = format!("{} {} => dr 10.1.0.2", event.time, packet.text);
        let Some(at) = record.lines().position(|line| line == head) else { continue };
        let sent = direct_route(&packet.frames()[0], "10.1.0.2");
        let outcome = describe(&scenario.network, Side::Servers, &sent, Some(packet)).unwrap();
        assert_eq!(outcome.result, "dr 10.1.0.2");
        assert_eq!(Some(outcome.detail.as_str()), record.lines().nth(at + 1).map(str::trim));
        found += 1;
    }
    assert_eq!(found, 5);
}

#[test]
fn a_frame_that_is_cut_off_is_called_malformed() {
    let scenario = Scenario::parse("x", "1 udp 192.0.2.7:1 > 10.0.0.1:2 len=40\n").unwrap();
    let Action::Packet(packet) = &scenario.events[0].action else { panic!("no packet") };
    let frame = &packet.frames()[0];
    for len in 0..frame.len() {
        let outcome = describe(&scenario.network, Side::Clients, &frame[..len], Some(packet));
        match len {
            0..14 => assert_eq!(outcome, None),
            14..34 => assert_eq!(outcome.unwrap().result, "malformed"),
            _ => assert!(outcome.unwrap().detail.contains("TRUNCATED")),
        }
    }
}

#[test]
fn results_are_joined_and_lines_stand_below() {
    let scenario = Scenario::parse("joined.lvs", "# some title\n").unwrap();
    let outcome = Outcome { result: "rst".into(), detail: "c0 rst | …".into() };
    let mut record = Record::new(&scenario, "by hand");
    record.packet("0.5", "tcp …", Some("local"), std::slice::from_ref(&outcome), "drop");
    record.packet("0.5", "tcp …", None, &[], "held");
    record.async_outcomes("1", &[]);
    record.async_outcomes("1", &[outcome.clone(), outcome]);
    record.dump("2", "conns");
    record.listing("", ["(none)  "]);
    assert_eq!(
        record.as_str(),
        "# lvs-oracle record v1\n# scenario joined: some title\n# by hand\n\
         0.5 tcp … => local + rst\n    c0 rst | …\n\
         0.5 tcp … => held\n\
         1 async => rst + rst\n    c0 rst | …\n    c0 rst | …\n\
         2 dump conns\n    | (none)\n"
    );
}
