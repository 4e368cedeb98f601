use super::*;
use crate::record::describe;
use crate::scenario::{Action, Packet, Scenario};

/// What the host makes of a packet that the director left alone, as a record shows it.
fn result(line: &str) -> String {
    let text = format!("@vip 10.0.0.1\n@server 10.1.0.2\n@unreachable 10.9.0.1\n1 {line}\n");
    let scenario = Scenario::parse("host.lvs", &text).unwrap();
    let Action::Packet(packet) = &scenario.events[0].action else { panic!("no packet") };
    let mut host = Host::new(&scenario.network);
    if !host.accepts(packet.side, &packet.frames()[0]) {
        return "refused".to_owned();
    }
    let passed = PassedFrame {
        port: packet.side.port(),
        reason: PassReason::NoService,
        bytes: packet.frames().swap_remove(0),
    };
    let handled = host.take(Instant::ZERO, &passed);
    let mut words: Vec<String> =
        handled.delivered.then(|| "local".to_owned()).into_iter().collect();
    words.extend(shown(&scenario, packet, &handled));
    words.join(" + ")
}

fn shown(scenario: &Scenario, packet: &Packet, handled: &Handled) -> Vec<String> {
    let outcomes = handled.sent.iter().map(|sent| {
        describe(&scenario.network, sent.side, &sent.bytes, Some(packet)).unwrap().result
    });
    outcomes.collect()
}

#[test]
fn the_stack_answers_what_nobody_listens_to() {
    assert_eq!(result("tcp 192.0.2.7:1 > 10.0.0.1:80 S"), "local + rst");
    assert_eq!(result("tcp 192.0.2.7:1 > 10.0.0.1:80 R"), "local");
    assert_eq!(result("udp 192.0.2.7:1 > 10.0.0.1:80"), "local + icmp port-unreach to 192.0.2.7");
    assert_eq!(result("icmp echo 192.0.2.7 > 10.0.0.1"), "local + icmp echo-reply to 192.0.2.7");
    assert_eq!(result("sctp 192.0.2.7:1 > 10.0.0.1:9 INIT"), "icmp proto-unreach to 192.0.2.7");
}

#[test]
fn other_packets_are_forwarded_or_the_sender_is_told() {
    assert_eq!(result("udp 192.0.2.7:1 > 203.0.113.9:80"), "client-side 203.0.113.9");
    assert_eq!(result("udp 192.0.2.7:1 > 10.1.0.2:80"), "dr 10.1.0.2");
    assert_eq!(result("reply tcp 10.1.0.2:1 > 192.0.2.7:80 S"), "client 10.1.0.2:1 > 192.0.2.7:80");
    assert_eq!(result("udp 192.0.2.7:1 > 203.0.113.9:80 ttl=1"), "icmp time-exceeded to 192.0.2.7");
    assert_eq!(
        result("udp 192.0.2.7:1 > 203.0.113.9:80 len=1500"),
        "icmp frag-needed to 192.0.2.7"
    );
    assert_eq!(result("udp 192.0.2.7:1 > 10.9.0.1:80"), "icmp host-unreach to 192.0.2.7");
    assert_eq!(
        result("udp [2001:db8::7]:1 > [2001:db8:9::1]:80 len=1500"),
        "icmp too-big to 2001:db8::7"
    );
}

#[test]
fn what_is_sent_to_everybody_is_neither_answered_nor_forwarded() {
    assert_eq!(result("udp 192.0.2.7:1 > 255.255.255.255:80"), "local");
    assert_eq!(result("udp 192.0.2.7:1 > 10.1.255.255:80"), "local");
    assert_eq!(result("udp 192.0.2.7:1 > 224.0.0.9:80"), "");
}

#[test]
fn nobody_else_may_use_the_hosts_own_addresses() {
    assert_eq!(result("reply tcp 10.0.0.1:80 > 192.0.2.7:1 SA"), "refused");
}

#[test]
fn no_error_is_sent_about_an_error() {
    let line = "icmp ttl 192.0.2.7 > 203.0.113.9 ttl=1 quoting udp 203.0.113.9:1 > 192.0.2.7:2";
    assert_eq!(result(line), "");
}
