//! The guard, frame by frame: tags, options, extension headers, fragments.

use std::time::Duration;

use etherparse::{
    EtherType, IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, Ipv6Header, PacketBuilder,
    TcpHeader,
};
use lvs_core::flow::{Endpoint, Protocol};
use lvs_guard::{Guard, GuardRule, GuardSpec};
use lvs_testnet::{Host, Net, PacketSocket, require};

mod answers;

const CLIENT4: [u8; 4] = [192, 0, 2, 7];
const CLIENT6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
const VIP4: [u8; 4] = [10, 0, 0, 1];
const VIP6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Counts what is left behind the guard: a chain at the same hook with a later priority.
struct Bench {
    net: Net,
    sender: PacketSocket,
    tap: PacketSocket,
    source: [u8; 6],
    target: [u8; 6],
}

impl Bench {
    fn new() -> Bench {
        require(&["nft"]);
        let mut net = Net::one_armed(0);
        let target = net.director().mac("eth0");
        let peer = net.add_peer("peer");
        let sender = PacketSocket::open(peer, "eth0");
        // Not the peer's own address, so that its own frames are not counted.
        let source = [2, 0, 0, 0, 0, 7];
        let from = "02:00:00:00:00:07";
        let host = net.director();
        nft(host, "add table netdev watch");
        nft(host, "add counter netdev watch left");
        let hook = "{ type filter hook ingress device eth0 priority 0; }";
        nft(host, &format!("add chain netdev watch after {hook}"));
        nft(host, &format!("add rule netdev watch after ether saddr {from} counter name left"));
        let tap = PacketSocket::open(host, "eth0");
        Bench { net, sender, tap, source, target }
    }

    fn guard(&self, rules: &[GuardRule]) -> Guard {
        let mut guard = self.net.director().enter(Guard::open).unwrap();
        let mut spec = GuardSpec::new(["eth0"]);
        spec.rules.extend(rules);
        guard.apply(&spec).unwrap();
        guard
    }

    /// Whether the host gets to see a packet, put behind these VLAN tags.
    fn is_hidden(&mut self, tags: &[(u16, u16)], packet: &[u8]) -> bool {
        let mut frame = [self.target, self.source].concat();
        for (ether_type, tag) in tags {
            frame.extend(ether_type.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        let ip = if packet[0] >> 4 == 4 { EtherType::IPV4 } else { EtherType::IPV6 };
        frame.extend(ip.0.to_be_bytes());
        frame.extend(packet);
        nft(self.net.director(), "reset counter netdev watch left");
        self.sender.send(&frame);
        // The tap comes before the hooks, in the same run of the kernel's receive path.
        let seen = self.tap.receive_where(Duration::from_secs(2), |bytes| bytes == frame);
        assert!(seen.is_some(), "the packet socket did not see the frame");
        std::thread::sleep(Duration::from_millis(2));
        let shown = nft(self.net.director(), "list counter netdev watch left");
        match shown.split_whitespace().skip_while(|word| *word != "packets").nth(1) {
            Some("0") => true,
            Some("1") => false,
            _ => panic!("one frame, but: {shown}"),
        }
    }
}

fn nft(host: &Host, command: &str) -> String {
    host.run(&["nft", command]).expect_success().stdout
}

fn tcp4(to: [u8; 4], port: u16, options: &[u8]) -> Vec<u8> {
    let mut header = ip4(to, IpNumber::TCP, options);
    let tcp = TcpHeader::new(40000, port, 1, 1000);
    header.total_len = (header.header_len() + tcp.header_len()) as u16;
    let mut packet = Vec::new();
    header.write(&mut packet).unwrap();
    packet.extend(tcp.to_bytes());
    packet
}

fn ip4(to: [u8; 4], protocol: IpNumber, options: &[u8]) -> Ipv4Header {
    let mut header = Ipv4Header::new(0, 64, protocol, CLIENT4, to).unwrap();
    header.options = Ipv4Options::try_from(options).unwrap();
    header
}

/// The middle of a packet whose bytes look like a TCP header to the guarded port.
fn fragment4(to: [u8; 4]) -> Vec<u8> {
    let mut header = ip4(to, IpNumber::TCP, &[]);
    header.fragment_offset = IpFragOffset::try_new(3).unwrap();
    header.more_fragments = true;
    header.total_len = 40;
    let mut packet = Vec::new();
    header.write(&mut packet).unwrap();
    packet.extend(TcpHeader::new(40000, 80, 1, 1000).to_bytes());
    packet
}

/// The same for IPv6 (RFC 8200 §4.5).
fn fragment6() -> Vec<u8> {
    let tcp = TcpHeader::new(40000, 80, 1, 1000).to_bytes();
    let offset = 3u8;
    let extension = [6, 0, 0, offset << 3 | 1, 0, 0, 0, 7];
    let header = Ipv6Header {
        payload_length: (extension.len() + tcp.len()) as u16,
        next_header: IpNumber::IPV6_FRAGMENTATION_HEADER,
        hop_limit: 64,
        source: CLIENT6,
        destination: VIP6,
        ..Ipv6Header::default()
    };
    [&header.to_bytes()[..], &extension, &tcp].concat()
}

fn tcp6(port: u16, extended: bool) -> Vec<u8> {
    let tcp = TcpHeader::new(40000, port, 1, 1000).to_bytes();
    // A destination options header with padding (RFC 8200 §4.6).
    let extension: &[u8] = if extended { &[6, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
    let header = Ipv6Header {
        payload_length: (extension.len() + tcp.len()) as u16,
        next_header: if extended { IpNumber::IPV6_DESTINATION_OPTIONS } else { IpNumber::TCP },
        hop_limit: 64,
        source: CLIENT6,
        destination: VIP6,
        ..Ipv6Header::default()
    };
    [&header.to_bytes()[..], extension, &tcp].concat()
}

fn icmp6(kind: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    let mut body = [0u8; 24];
    body[8..].copy_from_slice(&VIP6);
    PacketBuilder::ipv6(CLIENT6, VIP6, 255)
        .icmpv6_raw(kind, 0, [0; 4])
        .write(&mut packet, &body[8..])
        .unwrap();
    packet
}

const NO_TAG: &[(u16, u16)] = &[];
const TAGS: [&[(u16, u16)]; 5] = [
    NO_TAG,
    &[(0x8100, 5)],
    &[(0x8100, 0)],
    &[(0x88a8, 5), (0x8100, 7)],
    &[(0x8100, 5), (0x8100, 7)],
];

fn service(addr: impl Into<std::net::IpAddr>, port: u16) -> GuardRule {
    GuardRule::for_service(Protocol::TCP, Endpoint::new(addr.into(), port), true)
}

#[test]
fn without_rules_nothing_is_hidden() {
    let mut bench = Bench::new();
    assert!(!bench.is_hidden(NO_TAG, &tcp4(VIP4, 80, &[])));
    let _guard = bench.guard(&[]);
    for tags in TAGS {
        assert!(!bench.is_hidden(tags, &tcp4(VIP4, 80, &[])), "{tags:x?}");
        assert!(!bench.is_hidden(tags, &tcp6(80, false)), "{tags:x?}");
    }
}

#[test]
fn a_service_is_hidden_behind_no_tag_one_tag_and_two() {
    let mut bench = Bench::new();
    let _guard = bench.guard(&[service(VIP4, 80), service(VIP6, 80)]);
    for tags in TAGS {
        assert!(bench.is_hidden(tags, &tcp4(VIP4, 80, &[])), "{tags:x?}");
        assert!(!bench.is_hidden(tags, &tcp4(VIP4, 81, &[])), "{tags:x?}");
        assert!(!bench.is_hidden(tags, &tcp4([10, 0, 0, 2], 80, &[])), "{tags:x?}");
        assert!(bench.is_hidden(tags, &tcp6(80, false)), "{tags:x?}");
        assert!(!bench.is_hidden(tags, &tcp6(81, false)), "{tags:x?}");
    }
}

#[test]
fn a_service_is_hidden_behind_ipv4_options_of_any_length() {
    let mut bench = Bench::new();
    let _guard = bench.guard(&[service(VIP4, 80)]);
    for tags in [NO_TAG, TAGS[3]] {
        for len in [4, 20, 40] {
            // No operation, as often as it takes (RFC 791 §3.1).
            let options = vec![1; len];
            assert!(bench.is_hidden(tags, &tcp4(VIP4, 80, &options)), "{len} behind {tags:x?}");
            assert!(!bench.is_hidden(tags, &tcp4(VIP4, 81, &options)), "{len} behind {tags:x?}");
        }
    }
}

#[test]
fn a_service_is_hidden_behind_ipv6_extension_headers() {
    let mut bench = Bench::new();
    let _guard = bench.guard(&[service(VIP6, 80)]);
    assert!(bench.is_hidden(NO_TAG, &tcp6(80, true)));
    assert!(!bench.is_hidden(NO_TAG, &tcp6(81, true)));
    // As the crate's documentation says, not behind two tags.
    assert!(!bench.is_hidden(TAGS[3], &tcp6(80, true)));
}

#[test]
fn the_middle_of_a_packet_is_not_taken_for_its_head() {
    let mut bench = Bench::new();
    let narrow = bench.guard(&[service(VIP4, 80), service(VIP6, 80)]);
    for tags in TAGS {
        assert!(!bench.is_hidden(tags, &fragment4(VIP4)), "{tags:x?}");
        assert!(!bench.is_hidden(tags, &fragment6()), "{tags:x?}");
    }
    drop(narrow);
    let whole = [VIP4.into(), VIP6.into()].map(|vip| GuardRule::for_address(vip, false));
    let _whole = bench.guard(&whole);
    for tags in TAGS {
        assert!(bench.is_hidden(tags, &fragment4(VIP4)), "{tags:x?}");
        assert!(bench.is_hidden(tags, &fragment6()), "{tags:x?}");
    }
}

#[test]
fn a_whole_address_is_hidden_but_for_neighbor_messages_where_the_host_owns_it() {
    const ECHO: u8 = 128;
    let mut bench = Bench::new();
    for host_owns in [false, true] {
        let _guard = bench.guard(&[
            GuardRule::for_address(VIP4.into(), host_owns),
            GuardRule::for_address(VIP6.into(), host_owns),
        ]);
        for tags in TAGS {
            assert!(bench.is_hidden(tags, &tcp4(VIP4, 22, &[])), "{tags:x?}");
            assert!(bench.is_hidden(tags, &tcp6(22, false)), "{tags:x?}");
            assert!(bench.is_hidden(tags, &icmp6(ECHO)), "{tags:x?}");
            for message in 133..=137 {
                assert_eq!(bench.is_hidden(tags, &icmp6(message)), !host_owns, "{tags:x?}");
            }
            assert!(bench.is_hidden(tags, &icmp6(132)), "{tags:x?}");
            assert!(bench.is_hidden(tags, &icmp6(138)), "{tags:x?}");
        }
    }
}
