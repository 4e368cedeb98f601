//! Tagged frames: what arrives in a VLAN goes on in the same VLAN, to the neighbour that answers there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep, err::packet::BuildWriteError};
use lvs_core::addr::MacAddr;
use lvs_core::wire::ndp::{self, NdpMessage};
use lvs_testnet::{HttpServer, Net, PacketSocket, describe};

use crate::director::{Director, PATIENCE, page, rules, wait_for};

/// The kinds of tags: customer and service (IEEE 802.1Q-2022 §9.5).
const CUSTOMER: u16 = 0x8100;
const SERVICE: u16 = 0x88a8;
/// Priority 3 in the tag control information.
const PRIORITY: u16 = 3 << 13;

const CLIENT_PORT: u16 = 40_000;
const TTL: u8 = 64;

/// Tags of a frame, outermost first: kind and control information.
type Tags = &'static [(u16, u16)];

/// A station without an address of its own that speaks in a VLAN.
struct Station {
    socket: PacketSocket,
    mac: [u8; 6],
    tags: Tags,
}

impl Station {
    fn join(net: &mut Net, name: &str, tags: Tags) -> Station {
        let host = net.add_peer(name);
        Station { socket: PacketSocket::open(host, "eth0"), mac: host.mac("eth0"), tags }
    }

    /// Sends an untagged frame with the station's tags.
    fn send(&self, untagged: &[u8]) {
        self.socket.send(&tagged(untagged, self.tags));
    }

    /// The next frame that came in with the station's tags, whatever their priority, and that `wanted`
    /// accepts; the tags are taken out.
    #[track_caller]
    fn next(&mut self, what: &str, mut wanted: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
        let own: Vec<(u16, u16)> =
            self.tags.iter().map(|(kind, tci)| (*kind, tci & 0xfff)).collect();
        let found = self.socket.receive_where(PATIENCE, |frame| {
            let (tags, rest) = untagged(frame);
            let tags: Vec<(u16, u16)> =
                tags.iter().map(|(kind, tci)| (*kind, tci & 0xfff)).collect();
            tags == own && wanted(&rest)
        });
        let found = found.unwrap_or_else(|| panic!("waited in vain: {what}"));
        untagged(&found).1
    }

    /// Waits for the director's question who has `addr`, looks at it, and answers.
    #[track_caller]
    fn answer_question(&mut self, net: &Net, addr: IpAddr) {
        let director = net.director().mac("eth0");
        let asked = |frame: &[u8]| question(frame) == Some(addr) && frame[6..12] == director;
        let request = self.next(&format!("who has {addr}, in the VLAN"), asked);
        let reply = match (addr, net.director4(), net.director6()) {
            (IpAddr::V4(addr), IpAddr::V4(asker), _) => {
                assert_eq!(request[28..32], asker.octets(), "the director's own address asks");
                arp(2, (self.mac, addr), (director, asker))
            }
            (IpAddr::V6(addr), _, IpAddr::V6(asker)) => {
                assert_eq!(request[22..38], asker.octets(), "the director's own address asks");
                let mut packet = vec![0; ndp::LEN];
                ndp::Advert::answer(addr, MacAddr(self.mac), asker).emit(&mut packet);
                ethernet(director, self.mac, 0x86dd, &packet)
            }
            _ => panic!("the director has an address of each family"),
        };
        self.send(&reply);
    }
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, packet: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), packet].concat()
}

/// An ARP packet (RFC 826), to a station or, where its Ethernet address is zero, to all.
fn arp(operation: u8, from: ([u8; 6], Ipv4Addr), to: ([u8; 6], Ipv4Addr)) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    let packet = [&head[..], &from.0, &from.1.octets(), &to.0, &to.1.octets()].concat();
    let dst = if to.0 == [0; 6] { [0xff; 6] } else { to.0 };
    ethernet(dst, from.0, 0x0806, &packet)
}

/// The address that an untagged ARP request or neighbour solicitation asks for.
fn question(frame: &[u8]) -> Option<IpAddr> {
    let bytes = |at: usize, len: usize| frame.get(at..at + len);
    match frame.get(12..14)? {
        [8, 6] if bytes(20, 2)? == [0, 1] => {
            Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes(38, 4)?).ok()?).into())
        }
        [0x86, 0xdd] if frame.get(20) == Some(&58) => match ndp::parse(&frame[14..], 40) {
            Ok(NdpMessage::Solicit { target, .. }) => Some(target.into()),
            _ => None,
        },
        _ => None,
    }
}

fn tagged(frame: &[u8], tags: Tags) -> Vec<u8> {
    let tags = tags.iter().flat_map(|(kind, tci)| [kind.to_be_bytes(), tci.to_be_bytes()].concat());
    let mut bytes = frame.to_vec();
    bytes.splice(12..12, tags);
    bytes
}

/// The tags of a frame and the frame without them.
fn untagged(frame: &[u8]) -> (Vec<(u16, u16)>, Vec<u8>) {
    let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let (mut tags, mut at) = (Vec::new(), 12);
    while frame.len() >= at + 6 && [CUSTOMER, SERVICE].contains(&word(at)) {
        tags.push((word(at), word(at + 2)));
        at += 4;
    }
    (tags, [&frame[..12.min(frame.len())], frame.get(at..).unwrap_or_default()].concat())
}

/// A segment of the client's, as a frame between two stations.
fn segment(
    (from, to): ([u8; 6], [u8; 6]),
    ends: (SocketAddr, SocketAddr),
    ttl: u8,
    (flags, payload): (&str, &[u8]),
) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(from, to);
    let ip = match (ends.0.ip(), ends.1.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => ethernet.ipv4(src.octets(), dst.octets(), ttl),
        (IpAddr::V6(src), IpAddr::V6(dst)) => ethernet.ipv6(src.octets(), dst.octets(), ttl),
        _ => panic!("both ends are of one family"),
    };
    written(ip, (ends.0.port(), ends.1.port()), flags, payload).expect("a vector takes every frame")
}

fn written(
    ip: PacketBuilderStep<IpHeaders>,
    ports: (u16, u16),
    flags: &str,
    payload: &[u8],
) -> Result<Vec<u8>, BuildWriteError> {
    let mut tcp = ip.tcp(ports.0, ports.1, 1_000, 64_000);
    for flag in flags.chars() {
        tcp = match flag {
            'S' => tcp.syn(),
            'A' => tcp.ack(1),
            'P' => tcp.psh(),
            other => panic!("no flag {other}"),
        };
    }
    let mut frame = Vec::new();
    tcp.write(&mut frame, payload)?;
    Ok(frame)
}

/// An address of the network that no host has.
fn unowned(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => {
            let [a, b, c, _] = addr.octets();
            Ipv4Addr::new(a, b, c, 60).into()
        }
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & !0xffff | 0x60).into(),
    }
}

/// A client and a real server in a VLAN: the director answers for the VIP there, asks for the real
/// server there, and forwards a handshake and data with every byte as it should be.
#[track_caller]
fn a_connection_stays_in_its_vlan(net: &mut Net, director: &Director, vip: IpAddr, tags: Tags) {
    let mut client = Station::join(net, "tagged-client", tags);
    let mut server = Station::join(net, "tagged-server", tags);
    let director_mac = net.director().mac("eth0");
    let client_ip = if vip.is_ipv4() { net.client4(9) } else { net.client6(9) };
    if let (IpAddr::V4(client_ip), IpAddr::V4(vip)) = (client_ip, vip) {
        client.send(&arp(1, (client.mac, client_ip), ([0; 6], vip)));
        let expected = arp(2, (director_mac, vip), (client.mac, client_ip));
        client.next("the director's answer for the VIP", |frame| frame.starts_with(&expected));
    }
    // The last tag's VLAN makes connections of different VLANs differ.
    let source_port = CLIENT_PORT + tags.last().map_or(0, |(_, tci)| tci & 0xfff);
    let ends = (SocketAddr::new(client_ip, source_port), SocketAddr::new(vip, 80));
    for part in [("S", &b""[..]), ("A", b""), ("PA", b"GET / HTTP/1.0\r\n\r\n")] {
        client.send(&segment((client.mac, director_mac), ends, TTL, part));
        if part.0 == "S" {
            server.answer_question(net, unowned(vip));
        }
        let expected =
            tagged(&segment((director_mac, server.mac), ends, TTL - 1, part), server.tags);
        let forwarded = |frame: &[u8]| frame[6..12] == director_mac && frame[..6] == server.mac;
        let is_tcp = |frame: &[u8]| describe(frame).contains(" tcp ");
        let next = server.socket.receive_where(PATIENCE, |f| forwarded(f) && is_tcp(f));
        let next = next.unwrap_or_else(|| panic!("the server waited in vain: {part:?}"));
        assert_eq!(next, expected, "{} instead of {}", describe(&next), describe(&expected));
    }
    let (from, to) = (ends.0.to_string(), ends.1.to_string());
    let listing = director.listing();
    let connections = listing.connections();
    let found = connections
        .iter()
        .any(|line| line.contains(&from) && line.contains(&to) && line.contains("ESTABLISHED"));
    assert!(found, "{}", connections.join("\n"));
}

/// The same addresses in two VLANs and in a VLAN inside another: three stations, three neighbours.
fn tagged_connections_reach_the_server_of_their_own_vlan(vip: impl Fn(&Net) -> IpAddr) {
    let mut net = Net::one_armed(0);
    let vip = vip(&net);
    let service = format!("-t {} -s rr", SocketAddr::new(vip, 80));
    let director = Director::start(&net, &rules(&service, [unowned(vip)]));
    const SINGLE: Tags = &[(CUSTOMER, PRIORITY | 5)];
    const OTHER: Tags = &[(CUSTOMER, 6)];
    const DOUBLE: Tags = &[(SERVICE, 100), (CUSTOMER, PRIORITY | 7)];
    for tags in [SINGLE, OTHER, DOUBLE] {
        a_connection_stays_in_its_vlan(&mut net, &director, vip, tags);
    }
    director.stop();
}

#[test]
fn ipv4_in_one_vlan_in_another_and_in_qinq_reaches_the_server_of_that_vlan_tags_and_all() {
    tagged_connections_reach_the_server_of_their_own_vlan(|net| net.vip4(0));
}

#[test]
fn ipv6_in_one_vlan_in_another_and_in_qinq_reaches_the_server_of_that_vlan_tags_and_all() {
    tagged_connections_reach_the_server_of_their_own_vlan(|net| net.vip6(0));
}

#[test]
fn pages_come_through_vlan_interfaces_of_client_and_real_servers() {
    let net = Net::one_armed(2);
    let hosts: Vec<_> = [net.client()].into_iter().chain(net.servers()).collect();
    let addresses = [net.client4(0), net.server4(0), net.server4(1)];
    for (host, address) in hosts.into_iter().zip(addresses) {
        let command = "ip link add link eth0 name vlan5 type vlan id 5";
        let made = host.run(&command.split_whitespace().collect::<Vec<_>>());
        if made.stderr.contains("Unknown device type") || made.stderr.contains("not supported") {
            println!("skipped: this kernel has no 8021q");
            return;
        }
        made.expect_success();
        host.ip(&format!("addr del {address}/24 dev eth0"));
        host.add_address("vlan5", &format!("{address}/24"));
        host.ip("link set vlan5 up");
    }
    let _servers: Vec<_> = net.servers().iter().map(|host| HttpServer::start(host, 80)).collect();
    let vip = SocketAddr::new(net.vip4(0), 80);
    let service = format!("-t {vip} -s rr");
    let director = Director::start(&net, &rules(&service, [net.server4(0), net.server4(1)]));
    let mut names = [page(&net, vip), page(&net, vip)];
    names.sort();
    assert_eq!(names, ["server1", "server2"]);
    wait_for("both connections in the listing", || {
        (director.listing().connections().len() == 2).then_some(())
    });
    director.stop();
}
