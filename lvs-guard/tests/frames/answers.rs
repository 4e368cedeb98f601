//! Answers of masqueraded servers, frame by frame.

use super::*;

const SERVER4: [u8; 4] = [10, 1, 0, 2];
const SERVER6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// An answer from a server's port; `udp` or TCP.
fn answer(v6: bool, from: u16, to_host: Option<&Bench>, udp: bool) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = if v6 {
        let to = to_host.map_or(CLIENT6, |bench| octets6(bench.net.director6()));
        PacketBuilder::ipv6(SERVER6, to, 64)
    } else {
        let to = to_host.map_or(CLIENT4, |bench| octets4(bench.net.director4()));
        PacketBuilder::ipv4(SERVER4, to, 64)
    };
    match udp {
        true => builder.udp(from, 40000).write(&mut packet, &[]).unwrap(),
        false => builder.tcp(from, 40000, 1, 1000).ack(1).write(&mut packet, &[]).unwrap(),
    }
    packet
}

fn octets4(addr: std::net::IpAddr) -> [u8; 4] {
    let std::net::IpAddr::V4(addr) = addr else { panic!("{addr} is not IPv4") };
    addr.octets()
}

fn octets6(addr: std::net::IpAddr) -> [u8; 16] {
    let std::net::IpAddr::V6(addr) = addr else { panic!("{addr} is not IPv6") };
    addr.octets()
}

/// An error from some router about a packet to a server's port.
fn error(v6: bool, kind: u8, port: u16) -> Vec<u8> {
    let mut quote = Vec::new();
    let mut packet = Vec::new();
    if v6 {
        let quoted = PacketBuilder::ipv6(CLIENT6, SERVER6, 64).udp(40000, port);
        quoted.write(&mut quote, &[]).unwrap();
        let router = [0x20, 1, 0xd, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        let error = PacketBuilder::ipv6(router, CLIENT6, 64).icmpv6_raw(kind, 0, [0; 4]);
        error.write(&mut packet, &quote).unwrap();
    } else {
        let quoted = PacketBuilder::ipv4(CLIENT4, SERVER4, 64).udp(40000, port);
        quoted.write(&mut quote, &[]).unwrap();
        let error = PacketBuilder::ipv4([10, 1, 0, 9], CLIENT4, 64).icmpv4_raw(kind, 0, [0; 4]);
        error.write(&mut packet, &quote).unwrap();
    }
    packet
}

fn answers(protocol: Protocol, addr: impl Into<std::net::IpAddr>, port: u16) -> GuardRule {
    GuardRule::Answers { protocol, addr: addr.into(), port: lvs_core::ids::L4Port(port) }
}

impl Bench {
    /// The same with the host's own addresses known.
    fn guard_answers(&self, rules: &[GuardRule]) -> Guard {
        let mut guard = self.net.director().enter(Guard::open).unwrap();
        let mut spec = GuardSpec::new(["eth0"]);
        spec.rules.extend(rules);
        spec.own.extend([self.net.director4(), self.net.director6()]);
        guard.apply(&spec).unwrap();
        guard
    }
}

#[test]
fn answers_are_hidden_by_the_servers_port_unless_they_are_for_the_host() {
    let mut bench = Bench::new();
    let _guard = bench.guard_answers(&[
        answers(Protocol::TCP, SERVER4, 8080),
        answers(Protocol::TCP, SERVER6, 8080),
    ]);
    for tags in TAGS {
        for v6 in [false, true] {
            assert!(bench.is_hidden(tags, &answer(v6, 8080, None, false)), "{tags:x?}");
            assert!(!bench.is_hidden(tags, &answer(v6, 22, None, false)), "{tags:x?}");
            assert!(!bench.is_hidden(tags, &answer(v6, 8080, None, true)), "{tags:x?}");
            let check = answer(v6, 8080, Some(&bench), false);
            assert!(!bench.is_hidden(tags, &check), "a health check's answer, {tags:x?}");
        }
    }
}

#[test]
fn a_server_that_is_reached_on_any_port_is_hidden_in_that_protocol() {
    let mut bench = Bench::new();
    let _guard = bench
        .guard_answers(&[answers(Protocol::UDP, SERVER4, 0), answers(Protocol::UDP, SERVER6, 0)]);
    for tags in TAGS {
        for v6 in [false, true] {
            assert!(bench.is_hidden(tags, &answer(v6, 7, None, true)), "{tags:x?}");
            assert!(!bench.is_hidden(tags, &answer(v6, 7, None, false)), "{tags:x?}");
            let check = answer(v6, 7, Some(&bench), true);
            assert!(!bench.is_hidden(tags, &check), "{tags:x?}");
        }
    }
}

#[test]
fn errors_about_masqueraded_packets_are_hidden_whoever_sends_them() {
    let mut bench = Bench::new();
    let some = [answers(Protocol::UDP, SERVER4, 53), answers(Protocol::UDP, SERVER6, 53)];
    let any = [answers(Protocol::UDP, SERVER4, 0), answers(Protocol::UDP, SERVER6, 0)];
    for (rules, other) in [(some, false), (any, true)] {
        let _guard = bench.guard_answers(&rules);
        for (v6, kinds) in [(false, [3, 4, 11]), (true, [1, 2, 3])] {
            for kind in kinds {
                assert!(bench.is_hidden(NO_TAG, &error(v6, kind, 53)), "type {kind}");
                assert_eq!(bench.is_hidden(NO_TAG, &error(v6, kind, 54)), other, "type {kind}");
            }
            let echo = if v6 { 128 } else { 8 };
            assert!(!bench.is_hidden(NO_TAG, &error(v6, echo, 53)));
        }
    }
}
