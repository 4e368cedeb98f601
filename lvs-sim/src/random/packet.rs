//! Random packets: of clients, of real servers, of routers on the way.

use lvs_core::flow::Protocol;
use lvs_core::listing::ConnectionEntry;

use super::calls::message;
use super::dice::Dice;
use super::world::{Service, client, written};

/// A packet of a client, or one for each of a range of its ports.
pub(super) fn of_client(dice: &mut Dice, service: &Service) -> String {
    let protocol = dice.word(service.kind.protocols);
    let from = client(dice, service.kind.v6);
    let port = match dice.below(40) {
        // Never scheduled (rule P6).
        0 => 20,
        _ => 40_000 + dice.below(3),
    };
    let ports = match dice.below(4) {
        0 => format!("{port}-{}", port + 1 + dice.below(5)),
        _ => port.to_string(),
    };
    let ends = format!("{from}:{ports} > {}", dice.word(service.kind.towards));
    // The recorded kernel marks no fragments by port, in whichever order they come.
    let marked_by_port = service
        .kind
        .setup
        .iter()
        .any(|line| [":80 ", ":81 "].iter().any(|port| line.contains(port)));
    if dice.one_in(12) && !marked_by_port {
        return fragments(dice, "", protocol, &ends);
    }
    let options = if dice.one_in(4) { options(dice, service.kind.v6, protocol) } else { "" };
    let content = match service.kind.called {
        true => message(dice),
        false => content(dice, protocol),
    };
    format!("{protocol} {ends} {content}{options}")
}

/// A packet of the connection's server: as direct routing and tunnels have it, from the virtual address,
/// or as NAT has it, from the server's own.
pub(super) fn of_server(dice: &mut Dice, entry: &ConnectionEntry) -> Option<String> {
    let protocol = word(entry.protocol)?;
    let from = if dice.one_in(2) { entry.virt } else { entry.destination };
    if from.addr.is_ipv4() != entry.client.addr.is_ipv4() {
        return None;
    }
    let ends = format!("{from} > {}", entry.client);
    if from != entry.virt && dice.one_in(12) {
        return Some(fragments(dice, "reply ", protocol, &ends));
    }
    let content = match protocol {
        "tcp" => dice.word(&["SA", "SA", "A", "A", "FA", "R", "PA len=20", "RA"]),
        "sctp" => dice.word(&["INIT-ACK", "COOKIE-ACK", "SACK", "DATA", "SHUTDOWN-ACK", "ABORT"]),
        _ => "len=8",
    };
    let v6 = from.addr.is_ipv6();
    let mut options = if dice.one_in(4) { options(dice, v6, protocol) } else { "" };
    if from == entry.virt && (options.contains("ttl") || options.contains("len")) {
        // The error about a packet from an own address would come back to the director itself.
        options = "";
    }
    Some(format!("reply {protocol} {ends} {content}{options}"))
}

/// An ICMP message about a connection, or about one that does not exist.
pub(super) fn icmp(dice: &mut Dice, entry: &ConnectionEntry) -> Option<String> {
    let protocol = word(entry.protocol)?;
    let mut peer = entry.client;
    if dice.one_in(6) {
        peer.port.0 = 50_000;
    }
    let (virt, server) = (entry.virt, entry.destination);
    let v6 = virt.addr.is_ipv6();
    let kind = match v6 {
        false => dice.word(&[
            "unreach code=3",
            "unreach code=1",
            "unreach code=2",
            "unreach mtu=1400",
            "unreach mtu=1000",
            "ttl",
            "quench",
            "redirect",
            "param",
        ]),
        true => dice.word(&["unreach code=4", "unreach code=3", "toobig mtu=1280", "ttl", "param"]),
    };
    let (kind, option) = kind.split_once(' ').unwrap_or((kind, ""));
    let content = match protocol {
        "tcp" => " A",
        "sctp" => " DATA",
        _ => " len=4",
    };
    let router = if v6 { "[2001:db8::99]" } else { "192.0.2.99" };
    let (to, peer_addr) = (written(virt.addr), written(peer.addr));
    let same = server.addr.is_ipv6() == v6;
    Some(match dice.below(8) {
        // From the clients' side, about what a server sent.
        0..=3 => format!(
            "icmp {kind} {router} > {to} {option} quoting {protocol} {virt} > {peer}{content}"
        ),
        // The wrong way round.
        4 => format!(
            "icmp {kind} {router} > {to} {option} quoting {protocol} {peer} > {virt}{content}"
        ),
        // From the servers' side, about what NAT sent: of the server itself, of a router before it.
        // Over IPv6 the kernel drops such (rule I3), and lvs does not.
        5 if same && !v6 => format!(
            "reply icmp {kind} {} > {peer_addr} {option} quoting {protocol} {peer} > {server}{content}",
            written(server.addr)
        ),
        6 if same && !v6 => format!(
            "reply icmp {kind} 10.1.0.99 > {peer_addr} {option} quoting {protocol} {peer} > \
             {server}{content}"
        ),
        // About what a tunnel sent.
        7 if same && !v6 => format!(
            "reply icmp {kind} 10.1.0.99 > 10.1.0.1 {option} quoting ipip 10.1.0.1 > {} \
             {protocol} {peer} > {virt}{content}",
            server.addr
        ),
        _ => return None,
    })
}

/// An echo request or reply.
pub(super) fn echo(dice: &mut Dice, service: &Service) -> String {
    let to = dice.word(service.kind.towards);
    let to = to.rsplit_once(':').map_or(to, |(addr, _)| addr);
    let kind = dice.word(&["echo", "echo", "echo-reply"]);
    let options = dice.word(&["", " len=100", " ttl=1"]);
    format!("icmp {kind} {} > {to}{options}", client(dice, service.kind.v6))
}

/// A packet in two or three pieces, in any order, with a number of its own.
fn fragments(dice: &mut Dice, side: &str, protocol: &str, ends: &str) -> String {
    let flags = match protocol {
        "tcp" => "PA ",
        "sctp" => "DATA ",
        _ => "",
    };
    const CUTS: &[&str] = &[
        "len=1000 at=600",
        "len=1000 at=600 send=1,0",
        "len=1000 at=200,600 send=2,0,1",
        "len=2900 at=1480",
        "len=2900 at=1480 send=1,0",
    ];
    // What is not the director's is left to the host in parts, of which one may fit the link while
    // another does not; the kernel looks at the whole.
    let cuts = dice.word(if side.is_empty() { CUTS } else { &CUTS[..3] });
    format!("{side}frag {protocol} {ends} {flags}{cuts} id={}", 2 + dice.below(60_000))
}

fn content(dice: &mut Dice, protocol: &str) -> &'static str {
    match protocol {
        "tcp" => dice.word(&["S", "S", "S", "S", "A", "A", "A", "FA", "R", "PA len=10", "SA", "."]),
        "sctp" => dice.word(&[
            "INIT",
            "INIT",
            "INIT",
            "COOKIE-ECHO",
            "COOKIE-ECHO",
            "DATA",
            "SACK",
            "HEARTBEAT",
            "SHUTDOWN",
            "SHUTDOWN-ACK",
            "SHUTDOWN-COMPLETE",
            "ABORT",
        ]),
        _ => "len=4",
    }
}

fn options(dice: &mut Dice, v6: bool, protocol: &str) -> &'static str {
    match dice.below(6) {
        0 => " ttl=1",
        1 => " ttl=2",
        2 => dice.word(&[" tos=0x10", " tos=0x03", " tos=0xb9"]),
        3 if protocol == "tcp" => " csum=0",
        4 if v6 => dice.word(&[" len=1300", " len=1400", " len=1420"]),
        4 => {
            dice.word(&[" len=1300", " len=1400", " len=1440", " len=1452 df=0", " len=1400 df=0"])
        }
        5 if !v6 => " df=0",
        _ => "",
    }
}

/// The protocol as a scenario writes it; `None` for a template of a mark service.
fn word(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::TCP => Some("tcp"),
        Protocol::UDP => Some("udp"),
        Protocol::SCTP => Some("sctp"),
        _ => None,
    }
}
