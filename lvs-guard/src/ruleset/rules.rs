//! The rules that look into the sets.

use lvs_core::addr::Family;
use lvs_core::flow::Protocol;

use super::expr::{Base, Rule, words};
use super::sets::{Kind, Set, Sets};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IEEE 802.1Q, and 802.1ad, whose inner tag is usually the former.
const ETHERTYPES_VLAN: [u16; 2] = [0x8100, 0x88a8];

/// A VLAN tag behind its EtherType: two bytes of tag control, two of the next EtherType.
const TAG_LEN: usize = 4;
const TAG_NEXT_ETHERTYPE: usize = 2;

/// Offsets in an IPv4 header (RFC 791 §3.1).
const IPV4_FRAGMENT: usize = 6;
const IPV4_PROTOCOL: usize = 9;
const IPV4_DESTINATION: usize = 16;
/// Offsets in an IPv6 header (RFC 8200 §3).
const IPV6_NEXT_HEADER: usize = 6;
const IPV6_DESTINATION: usize = 24;
const IPV6_HEADER_LEN: usize = 40;

/// Offset of the destination port in a TCP, UDP or SCTP header.
const DESTINATION_PORT: usize = 2;

/// The neighbour discovery messages of ICMPv6, from router solicitation to redirect (RFC 4861 §4).
const NEIGHBOR_MESSAGES: (u8, u8) = (133, 137);

/// The rules for frames whose IP header is in sight of the kernel: untagged ones, and those with one
/// VLAN tag, which the kernel took out. The last ones send frames with a second tag to `tagged`.
pub(crate) fn untagged(sets: &Sets, tagged: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    for set in sets.iter() {
        let (ether_type, destination, len) = family(set.family);
        let begin = || Rule::new().ether_type(ether_type);
        let address = |rule: Rule| rule.load(Base::Network, destination, len, 0);
        if (set.kind, set.family) == (Kind::WholeOwned, Family::V6) {
            let (first, last) = NEIGHBOR_MESSAGES;
            let message = begin().transport(Protocol::ICMPV6.0).load(Base::Transport, 0, 1, 0);
            rules.push(address(message.between(first, last)).found_in(set.name()).back());
        }
        let rule = match (set.kind, set.family) {
            (Kind::Service, family) => {
                let next = words(len);
                // For IPv6 the kernel reads no port in a fragment behind the first; for IPv4 it does
                // (seen with Linux 6.18), in whatever bytes stand there.
                let whole = match family {
                    Family::V4 => no_later_fragment(begin(), 0),
                    Family::V6 => begin(),
                };
                address(whole).load_transport(next).load(
                    Base::Transport,
                    DESTINATION_PORT,
                    2,
                    next + 1,
                )
            }
            (Kind::Whole | Kind::WholeOwned, _) => address(begin()),
        };
        rules.push(rule.found_in(set.name()).drop());
    }
    if !rules.is_empty() {
        let jump = |ether_type| Rule::new().ether_type(ether_type).jump(tagged);
        rules.extend(ETHERTYPES_VLAN.map(jump));
    }
    rules
}

/// The rules for frames with a second VLAN tag. The kernel does not look behind it, so everything is
/// counted from the tag.
pub(crate) fn tagged(sets: &Sets) -> Vec<Rule> {
    let mut rules = Vec::new();
    for set in sets.iter() {
        let (ether_type, ..) = family(set.family);
        match (set.kind, set.family) {
            (Kind::Service, Family::V4) => rules.extend(tagged_services4(set)),
            (Kind::Service, Family::V6) => {
                let port = TAG_LEN + IPV6_HEADER_LEN + DESTINATION_PORT;
                rules.push(tagged_service(set, begin_tagged(ether_type), IPV6_NEXT_HEADER, port));
            }
            (Kind::Whole | Kind::WholeOwned, _) => {
                if (set.kind, set.family) == (Kind::WholeOwned, Family::V6) {
                    rules.push(tagged_neighbor_messages(set));
                }
                rules.push(
                    tagged_address(set, begin_tagged(ether_type)).found_in(set.name()).drop(),
                );
            }
        }
    }
    rules
}

/// The host keeps its neighbour messages behind two tags, too.
fn tagged_neighbor_messages(set: &Set) -> Rule {
    let (first, last) = NEIGHBOR_MESSAGES;
    let message = begin_tagged(ETHERTYPE_IPV6)
        .load(Base::Network, TAG_LEN + IPV6_NEXT_HEADER, 1, 0)
        .equals(&[Protocol::ICMPV6.0])
        .load(Base::Network, TAG_LEN + IPV6_HEADER_LEN, 1, 0)
        .between(first, last);
    tagged_address(set, message).found_in(set.name()).back()
}

/// The port's place depends on the length of the IPv4 header, so there is a rule for each: 20 to 60
/// bytes in words of 4.
fn tagged_services4(set: &Set) -> impl Iterator<Item = Rule> {
    (5..=15u8).map(move |header_words| {
        let begin = begin_tagged(ETHERTYPE_IPV4)
            .load(Base::Network, TAG_LEN, 1, 0)
            .masked(&[0x0f])
            .equals(&[header_words]);
        let begin = no_later_fragment(begin, TAG_LEN);
        let port = TAG_LEN + usize::from(header_words) * 4 + DESTINATION_PORT;
        tagged_service(set, begin, IPV4_PROTOCOL, port)
    })
}

fn tagged_service(set: &Set, begin: Rule, protocol: usize, port: usize) -> Rule {
    let next = words(family(set.family).2);
    tagged_address(set, begin)
        .load(Base::Network, TAG_LEN + protocol, 1, next)
        .load(Base::Network, port, 2, next + 1)
        .found_in(set.name())
        .drop()
}

fn tagged_address(set: &Set, begin: Rule) -> Rule {
    let (_, destination, len) = family(set.family);
    begin.load(Base::Network, TAG_LEN + destination, len, 0)
}

fn begin_tagged(ether_type: u16) -> Rule {
    Rule::new().load(Base::Network, TAG_NEXT_ETHERTYPE, 2, 0).equals(&ether_type.to_be_bytes())
}

/// Goes on if the IPv4 packet `at` bytes from the network header is none of the fragments behind the
/// first: its fragment offset is 0.
fn no_later_fragment(rule: Rule, at: usize) -> Rule {
    rule.load(Base::Network, at + IPV4_FRAGMENT, 2, 0).masked(&[0x1f, 0xff]).equals(&[0, 0])
}

/// EtherType, place and length of the destination address.
fn family(family: Family) -> (u16, usize, usize) {
    match family {
        Family::V4 => (ETHERTYPE_IPV4, IPV4_DESTINATION, 4),
        Family::V6 => (ETHERTYPE_IPV6, IPV6_DESTINATION, 16),
    }
}
