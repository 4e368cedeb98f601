//! Captures replayed: what is reported, written and compared.

use std::io::Cursor;
use std::net::IpAddr;

use lvs_admin::names::NumericOnly;
use lvs_admin::rules::{Rules, Supported};
use lvs_core::addr::MacAddr;
use lvs_core::limits::Limits;
use lvs_sim::capture::{
    CaptureOptions, CaptureReader, CaptureWriter, CapturedFrame, Report, replay_capture,
};
use lvs_sim::scenario::{Action, Scenario};

/// A capture of a scenario's packets, each at its time.
fn capture(lines: &str) -> Vec<u8> {
    let scenario = Scenario::parse("capture.lvs", lines).unwrap();
    let mut writer = CaptureWriter::new(Vec::new()).unwrap();
    for event in &scenario.events {
        let Action::Packet(packet) = &event.action else { continue };
        for frame in packet.frames() {
            writer.write(1_700_000_000_000_000_000 + event.at.as_nanos(), &frame).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn rules(text: &str) -> Rules {
    Rules::parse("test.rules", text, &NumericOnly, &Supported::EVERYTHING).unwrap()
}

fn options() -> CaptureOptions {
    CaptureOptions { limits: Limits::small(), ..CaptureOptions::default() }
}

fn replay(rules: &Rules, against: Option<&Rules>, file: Vec<u8>) -> Report {
    replay_capture(rules, against, Cursor::new(file), None, &options()).unwrap()
}

const TWO_SERVERS: &str = "-A -t 10.0.0.1:80 -s wrr\n\
    -a -t 10.0.0.1:80 -r 10.1.0.2 -w 3\n\
    -a -t 10.0.0.1:80 -r 10.1.0.3 -w 1\n";

#[test]
fn shares_and_fairness_are_told_for_each_server() {
    let file = capture(
        "0.1 tcp 192.0.2.7:1-8 > 10.0.0.1:80 S\n0.2 tcp 192.0.2.7:1-8 > 10.0.0.1:80 A len=60\n",
    );
    let report = replay(&rules(TWO_SERVERS), None, file);
    assert_eq!((report.packets, report.forwarded), (16, 16));
    assert!((report.seconds - 0.1).abs() < 1e-9);
    let service = &report.services[0];
    assert_eq!((service.connections, service.packets, service.bytes), (8, 16, 8 * 40 + 8 * 100));
    assert_eq!((service.scheduled, service.forced_by_template), (8, 0));
    let shares: Vec<_> =
        service.servers.iter().map(|s| (s.server.as_str(), s.connections)).collect();
    // The first round gives each server one connection whatever its weight (rule S3).
    assert_eq!(shares, [("10.1.0.2:80", 6), ("10.1.0.3:80", 2)]);
    assert_eq!(service.jain.connections, Some(0.8));
    assert_eq!(service.jain_by_weight.connections, Some(1.0));
    assert_eq!(service.servers[0].share[0], 6.0 / 8.0);
}

#[test]
fn choices_of_templates_and_the_largest_client_are_told() {
    let persistent = TWO_SERVERS.replace("-s wrr", "-s wrr -p 60");
    let file = capture(
        "0.1 tcp 192.0.2.7:1-6 > 10.0.0.1:80 S\n\
         0.2 tcp 192.0.2.8:1 > 10.0.0.1:80 S len=400\n\
         200 tcp 192.0.2.7:9 > 10.0.0.1:80 S\n",
    );
    let report = replay(&rules(&persistent), None, file);
    let service = &report.services[0];
    // The first client's template goes on for as long as it controls connections, but no 200 s.
    assert_eq!((service.scheduled, service.forced_by_template), (3, 5));
    let clients: Vec<_> = report
        .largest_clients
        .iter()
        .map(|c| (c.client.as_str(), c.connections, c.bytes))
        .collect();
    assert_eq!(clients, [("192.0.2.8", 1, 440), ("192.0.2.7", 7, 280)]);
}

#[test]
fn what_is_dropped_answered_or_left_alone_is_counted_by_reason() {
    let file = capture(
        "0.1 tcp 192.0.2.7:1 > 10.0.0.1:80 S\n\
         0.1 tcp 192.0.2.7:2 > 10.0.0.1:80 A\n\
         0.1 tcp 192.0.2.7:3 > 10.0.0.9:80 S\n\
         0.1 tcp 192.0.2.7:4 > 10.0.0.2:80 S\n\
         0.1 frag udp 192.0.2.7:4 > 10.0.0.1:80 len=64 send=1,1\n",
    );
    let rules = rules(&format!("{TWO_SERVERS}-A -t 10.0.0.2:80 -s rr\n"));
    let report = replay(&rules, None, file);
    assert_eq!((report.forwarded, report.answered), (1, 1));
    let passed: Vec<_> = report.passed.iter().map(|c| (c.reason, c.packets)).collect();
    assert_eq!(passed, [("not-scheduled", 1), ("not-local", 1)]);
    let dropped: Vec<_> = report.dropped.iter().map(|c| (c.reason, c.packets)).collect();
    assert_eq!(dropped, [("fragment-duplicate", 1)]);
    let text = report.to_string();
    assert!(text.contains("1 left to the host: not-scheduled\n"), "{text}");
    let json = report.to_json();
    assert_eq!(json["services"][0]["servers"][0]["server"], "10.1.0.2:80");
    assert_eq!(json["against"], serde_json::Value::Null);
}

#[test]
fn other_rules_move_some_flows_and_leave_the_rest() {
    let file = capture(
        "0.1 tcp 192.0.2.7:1-4 > 10.0.0.1:80 S\n\
         0.2 tcp 192.0.2.7:1-4 > 10.0.0.1:80 A\n\
         0.3 tcp 192.0.2.7:9 > 10.0.0.1:81 A\n",
    );
    let here = rules(TWO_SERVERS);
    let same = replay(&here, Some(&here), file.clone()).against.unwrap();
    assert_eq!((same.flows, same.moved.len()), (4, 0));
    let there = rules(&TWO_SERVERS.replace("-r 10.1.0.3", "-r 10.1.0.4"));
    let against = replay(&here, Some(&there), file).against.unwrap();
    assert_eq!(against.flows, 4);
    // Two of four connections went to the server that is another one there.
    let moved: Vec<_> = against
        .moved
        .iter()
        .map(|flow| (flow.here.as_str(), flow.there.as_str(), flow.packets))
        .collect();
    assert!(!moved.is_empty() && moved.iter().all(|m| *m == ("10.1.0.3:80", "10.1.0.4:80", 2)));
    assert!(against.moved[0].flow.starts_with("TCP 192.0.2.7:"));
}

#[test]
fn the_output_holds_what_the_director_sent_at_the_captures_times() {
    let file = capture("0.25 tcp 192.0.2.7:1 > 10.0.0.1:80 S ttl=9\n");
    let mut output = Vec::new();
    replay_capture(&rules(TWO_SERVERS), None, Cursor::new(file), Some(&mut output), &options())
        .unwrap();
    let mut reader = CaptureReader::new(Cursor::new(output)).unwrap();
    let mut frame = CapturedFrame::default();
    assert!(reader.next_into(&mut frame).unwrap());
    assert_eq!(frame.time, 1_700_000_000_250_000_000);
    assert_eq!(frame.bytes[22], 8, "TTL");
    assert_eq!(frame.bytes[..6], [2, 4, 10, 1, 0, 3]);
    assert!(!reader.next_into(&mut frame).unwrap());
}

#[test]
fn only_frames_to_the_chosen_station_count() {
    let file =
        capture("0.1 tcp 192.0.2.7:1 > 10.0.0.1:80 S\n0.1 reply tcp 10.1.0.9:5 > 10.0.0.1:80 S\n");
    let station = Some(MacAddr([2, 0x50, 0, 0, 0, 1]));
    let options = CaptureOptions { station, ..options() };
    let report =
        replay_capture(&rules(TWO_SERVERS), None, Cursor::new(file), None, &options).unwrap();
    assert_eq!((report.packets, report.skipped, report.forwarded), (2, 1, 1));
    assert_eq!(report.largest_clients[0].client, "10.1.0.9");
}

#[test]
fn marks_of_prefixes_need_addresses_and_get_them() {
    let marks = "iptables -t mangle -A PREROUTING -i eth0 -d 10.0.0.0/24 -p tcp -j MARK --set-mark 7\n\
        -A -f 7 -s rr\n-a -f 7 -r 10.1.0.2\n";
    let file = capture("0.1 tcp 192.0.2.7:1 > 10.0.0.1:80 S\n");
    let without = replay(&rules(marks), None, file.clone());
    assert_eq!(without.forwarded, 0);
    let addresses: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap()];
    let options = CaptureOptions { addresses, ..options() };
    let report = replay_capture(&rules(marks), None, Cursor::new(file), None, &options).unwrap();
    assert_eq!(report.forwarded, 1);
    assert_eq!(report.services[0].service, "FWM 7");
}

#[test]
fn rules_that_do_not_fit_the_director_are_refused() {
    let limits = Limits { services_max: 1, ..Limits::small() };
    let options = CaptureOptions { limits, ..options() };
    let two = rules("-A -t 10.0.0.1:80 -s rr\n-A -t 10.0.0.1:81 -s rr\n");
    let error = replay_capture(&two, None, Cursor::new(capture("1 dump conns\n")), None, &options);
    let message = error.unwrap_err().to_string();
    assert!(message.starts_with("the limit services_max is reached"), "{message}");
}
