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
const IPV4_SOURCE: usize = 12;
const IPV4_DESTINATION: usize = 16;
/// Offsets in an IPv6 header (RFC 8200 §3).
const IPV6_NEXT_HEADER: usize = 6;
const IPV6_SOURCE: usize = 8;
const IPV6_DESTINATION: usize = 24;
const IPV6_HEADER_LEN: usize = 40;

/// Offsets of the ports in a TCP, UDP or SCTP header.
const SOURCE_PORT: usize = 0;
const DESTINATION_PORT: usize = 2;

/// The neighbour discovery messages of ICMPv6, from router solicitation to redirect (RFC 4861 §4).
const NEIGHBOR_MESSAGES: (u8, u8) = (133, 137);

/// The rules for frames whose IP header is in sight of the kernel: untagged ones, and those with one
/// VLAN tag, which the kernel took out. The last ones send frames with a second tag to `tagged`.
pub(crate) fn untagged(sets: &Sets, tagged: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    for set in sets.iter() {
        let End { ether_type, address, len, port } = end(set);
        let begin = || Rule::new().ether_type(ether_type);
        let address = |rule: Rule| rule.load(Base::Network, address, len, 0);
        if (set.kind, set.family) == (Kind::WholeOwned, Family::V6) {
            let (first, last) = NEIGHBOR_MESSAGES;
            let message = begin().transport(Protocol::ICMPV6.0).load(Base::Transport, 0, 1, 0);
            rules.push(address(message.between(first, last)).found_in(set.name()).back());
        }
        if set.kind.is_of_answers() {
            rules.extend(errors::quoting(set, begin));
        }
        let next = words(len);
        let rule = match (set.kind, set.family) {
            (Kind::Service | Kind::Answers, family) => {
                // For IPv6 the kernel reads no port in a fragment behind the first; for IPv4 it does
                // (seen with Linux 6.18), in whatever bytes stand there.
                let whole = match family {
                    Family::V4 => no_later_fragment(begin(), 0),
                    Family::V6 => begin(),
                };
                address(whole).load_transport(next).load(Base::Transport, port, 2, next + 1)
            }
            (Kind::AnswersFromAny, _) => address(begin()).load_transport(next),
            (Kind::Whole | Kind::WholeOwned | Kind::Own, _) => address(begin()),
        };
        rules.push(ended(set, rule));
    }
    if !rules.is_empty() {
        let jump = |ether_type| Rule::new().ether_type(ether_type).jump(tagged);
        rules.extend(ETHERTYPES_VLAN.map(jump));
    }
    rules
}

/// The end of a rule that has loaded the key of a set: what is found there is dropped, or, where it is for
/// the host, left alone.
fn ended(set: &Set, rule: Rule) -> Rule {
    let found = rule.found_in(set.name());
    if set.kind == Kind::Own { found.back() } else { found.drop() }
}

/// The rules for frames with a second VLAN tag. The kernel does not look behind it, so everything is
/// counted from the tag.
pub(crate) fn tagged(sets: &Sets) -> Vec<Rule> {
    let mut rules = Vec::new();
    for set in sets.iter() {
        let End { ether_type, len, port, .. } = end(set);
        match (set.kind, set.family) {
            (Kind::Service | Kind::Answers, Family::V4) => rules.extend(tagged_services4(set)),
            (Kind::Service | Kind::Answers, Family::V6) => {
                let port = TAG_LEN + IPV6_HEADER_LEN + port;
                rules.push(tagged_service(set, begin_tagged(ether_type), IPV6_NEXT_HEADER, port));
            }
            (Kind::AnswersFromAny, family) => {
                let protocol = match family {
                    Family::V4 => IPV4_PROTOCOL,
                    Family::V6 => IPV6_NEXT_HEADER,
                };
                let rule = tagged_address(set, begin_tagged(ether_type));
                rules.push(ended(set, rule.load(Base::Network, TAG_LEN + protocol, 1, words(len))));
            }
            (Kind::Whole | Kind::WholeOwned | Kind::Own, _) => {
                if (set.kind, set.family) == (Kind::WholeOwned, Family::V6) {
                    rules.push(tagged_neighbor_messages(set));
                }
                rules.push(ended(set, tagged_address(set, begin_tagged(ether_type))));
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
        let port = TAG_LEN + usize::from(header_words) * 4 + end(set).port;
        tagged_service(set, begin, IPV4_PROTOCOL, port)
    })
}

fn tagged_service(set: &Set, begin: Rule, protocol: usize, port: usize) -> Rule {
    let next = words(end(set).len);
    tagged_address(set, begin)
        .load(Base::Network, TAG_LEN + protocol, 1, next)
        .load(Base::Network, port, 2, next + 1)
        .found_in(set.name())
        .drop()
}

fn tagged_address(set: &Set, begin: Rule) -> Rule {
    let End { address, len, .. } = end(set);
    begin.load(Base::Network, TAG_LEN + address, len, 0)
}

fn begin_tagged(ether_type: u16) -> Rule {
    Rule::new().load(Base::Network, TAG_NEXT_ETHERTYPE, 2, 0).equals(&ether_type.to_be_bytes())
}

/// Goes on if the IPv4 packet `at` bytes from the network header is none of the fragments behind the
/// first: its fragment offset is 0.
fn no_later_fragment(rule: Rule, at: usize) -> Rule {
    rule.load(Base::Network, at + IPV4_FRAGMENT, 2, 0).masked(&[0x1f, 0xff]).equals(&[0, 0])
}

/// Where the address and the port stand that a set is about.
struct End {
    ether_type: u16,
    address: usize,
    /// Bytes of the address.
    len: usize,
    port: usize,
}

/// Answers come from a server, all else goes to an address.
fn end(set: &Set) -> End {
    let source = set.kind.is_of_answers();
    let port = if source { SOURCE_PORT } else { DESTINATION_PORT };
    let (ether_type, address, len) = match (set.family, source) {
        (Family::V4, true) => (ETHERTYPE_IPV4, IPV4_SOURCE, 4),
        (Family::V4, false) => (ETHERTYPE_IPV4, IPV4_DESTINATION, 4),
        (Family::V6, true) => (ETHERTYPE_IPV6, IPV6_SOURCE, 16),
        (Family::V6, false) => (ETHERTYPE_IPV6, IPV6_DESTINATION, 16),
    };
    End { ether_type, address, len, port }
}

/// ICMP errors about what a masqueraded server was sent, whoever sends them.
mod errors {
    use super::{
        Base, DESTINATION_PORT, Family, IPV4_DESTINATION, IPV4_PROTOCOL, IPV6_DESTINATION,
        IPV6_HEADER_LEN, IPV6_NEXT_HEADER, Kind, Protocol, Rule, Set, words,
    };

    /// Bytes of an ICMP header, behind which the quote begins.
    const HEADER_LEN: usize = 8;
    /// Bytes of an IPv4 header without options; a quote with options is not recognized.
    const IPV4_HEADER_LEN: usize = 20;

    /// The types that the director translates (rule I1): unreachable and source quench, time exceeded; of
    /// ICMPv6 all errors (RFC 4443 §2.1 has them below 128, four are defined).
    const TYPES_V4: &[(u8, u8)] = &[(3, 4), (11, 11)];
    const TYPES_V6: &[(u8, u8)] = &[(1, 4)];

    /// The rules for errors that quote a packet to a server of the set.
    pub(super) fn quoting(set: &Set, begin: impl Fn() -> Rule) -> Vec<Rule> {
        let (icmp, types, address, len, protocol, ports) = match set.family {
            Family::V4 => {
                (Protocol::ICMP, TYPES_V4, IPV4_DESTINATION, 4, IPV4_PROTOCOL, IPV4_HEADER_LEN)
            }
            Family::V6 => (
                Protocol::ICMPV6,
                TYPES_V6,
                IPV6_DESTINATION,
                16,
                IPV6_NEXT_HEADER,
                IPV6_HEADER_LEN,
            ),
        };
        let rule = |&(first, last): &(u8, u8)| {
            let error = begin().transport(icmp.0).load(Base::Transport, 0, 1, 0);
            let load = |rule: Rule, at, len, register| {
                rule.load(Base::Transport, HEADER_LEN + at, len, register)
            };
            let quoted = load(error.between(first, last), address, len, 0);
            let quoted = load(quoted, protocol, 1, words(len));
            let quoted = match set.kind {
                Kind::Answers => load(quoted, ports + DESTINATION_PORT, 2, words(len) + 1),
                _ => quoted,
            };
            quoted.found_in(set.name()).drop()
        };
        types.iter().map(rule).collect()
    }
}
