//! What was on the wire.

use std::net::{IpAddr, SocketAddr};

use etherparse::PacketBuilder;
use lvs_testnet::{Capture, Host, Seen, describe};

/// A recording of a host's `eth0`.
pub(crate) fn record(host: &Host) -> Capture {
    Capture::start(host, "eth0")
}

/// The frames of one direction as lines of text.
pub(crate) fn lines(frames: &[Seen], outgoing: bool) -> Vec<String> {
    let wanted = frames.iter().filter(|seen| seen.outgoing == outgoing);
    wanted.map(|seen| describe(&seen.bytes)).collect()
}

/// Whether a line is of a TCP segment or datagram to an address.
pub(crate) fn is_to(line: &str, addr: IpAddr) -> bool {
    line.contains(&format!(" > {addr}:"))
}

/// Whether a line is of a TCP reset.
pub(crate) fn is_reset(line: &str) -> bool {
    let flags = line.split(" tcp ").nth(1).and_then(|rest| rest.split_whitespace().next());
    flags.is_some_and(|flags| flags.contains('R'))
}

/// Whether a line is of an ICMP error or redirect.
pub(crate) fn is_icmp_error(line: &str) -> bool {
    // Type and code as numbers; echo and neighbour messages have names. Of ICMPv6, errors have types
    // below 128, a redirect 137 (RFC 4443 §2.1, RFC 4861 §4.5).
    if let Some(rest) = line.split(" icmp6 ").nth(1) {
        let kind = rest.split('/').next().and_then(|kind| kind.parse::<u8>().ok());
        return kind.is_some_and(|kind| kind < 128 || kind == 137);
    }
    line.split(" icmp ").nth(1).is_some_and(|rest| rest.contains('/'))
}

/// TTL or hop limit of an untagged IP frame.
pub(crate) fn ttl(frame: &[u8]) -> u8 {
    if frame[12..14] == [0x86, 0xdd] { frame[14 + 7] } else { frame[14 + 8] }
}

/// A bare TCP segment with ACK alone, of no connection.
pub(crate) fn stray_ack(from: [u8; 6], to: [u8; 6], src: SocketAddr, dst: SocketAddr) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(from, to);
    let ip = match (src.ip(), dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ethernet.ipv4(src.octets(), dst.octets(), 64),
        (IpAddr::V6(src), IpAddr::V6(dst)) => ethernet.ipv6(src.octets(), dst.octets(), 64),
        _ => panic!("{src} and {dst} are of different families"),
    };
    let builder = ip.tcp(src.port(), dst.port(), 1, 1000).ack(7);
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).expect("a vector takes everything");
    frame
}

/// An ARP request to everybody.
pub(crate) fn arp_request(from: [u8; 6], src: IpAddr, target: IpAddr) -> Vec<u8> {
    let (IpAddr::V4(src), IpAddr::V4(target)) = (src, target) else {
        panic!("ARP is for IPv4, not {src} and {target}")
    };
    let mut frame = [&[0xff; 6][..], &from, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &from].concat();
    frame.extend(src.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame.resize(60, 0);
    frame
}
