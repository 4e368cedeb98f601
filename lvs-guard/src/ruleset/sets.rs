//! The sets: addresses and services, so that thousands cost one look-up.

use std::net::IpAddr;

use lvs_core::addr::Family;
use lvs_core::ids::L4Port;
use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, NfTablesMessage, SetAttribute, SetDescription,
    SetElementAttribute, SetElementList, SetElementMessage, SetFlags, SetMessage,
};

use super::expr::words;
use crate::error::Step;
use crate::netlink::Message;
use crate::spec::{GuardRule, GuardSpec};

/// Elements in one message. An attribute is at most 64 KiB long, an element below 64 bytes.
const ELEMENTS_MAX: usize = 500;

const _: () = assert!(ELEMENTS_MAX * 64 < 65_536, "a list of elements must fit an attribute");

/// The numbers by which `nft` knows how to print a key, 6 bits each.
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_SERVICE: u32 = 13;

/// What a set is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Address, protocol, port.
    Service,
    /// Addresses that the host does not own.
    Whole,
    /// Virtual addresses that the host owns.
    WholeOwned,
    /// The host's own addresses, to which nobody answers for a client.
    Own,
    /// Address, protocol, port that answers come from.
    Answers,
    /// Address and protocol of answers from any port.
    AnswersFromAny,
}

impl Kind {
    /// In the order in which they are looked into.
    const ALL: [Kind; 6] = [
        Kind::Whole,
        Kind::WholeOwned,
        Kind::Service,
        Kind::Own,
        Kind::Answers,
        Kind::AnswersFromAny,
    ];

    /// Whether it is about what servers send.
    pub(crate) fn is_of_answers(self) -> bool {
        matches!(self, Kind::Answers | Kind::AnswersFromAny)
    }
}

/// A set and its elements' keys.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) kind: Kind,
    pub(crate) family: Family,
    keys: Vec<Vec<u8>>,
}

/// All sets that have elements.
#[derive(Clone, Debug)]
pub(crate) struct Sets(Vec<Set>);

impl Sets {
    pub(crate) fn of(spec: &GuardSpec) -> Sets {
        let mut sets = Vec::new();
        let answers = |rule: &GuardRule| matches!(rule, GuardRule::Answers { .. });
        let of_answers = spec.rules.iter().any(answers);
        for family in [Family::V4, Family::V6] {
            for kind in Kind::ALL {
                let keys = match kind {
                    Kind::Own if of_answers => own_keys(spec, family),
                    _ => spec.rules.iter().filter_map(|rule| key(rule, kind, family)).collect(),
                };
                let set = Set { kind, family, keys };
                if !set.keys.is_empty() {
                    sets.push(set);
                }
            }
        }
        Sets(sets)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Set> {
        self.0.iter()
    }

    /// Adds the messages that make and fill the sets.
    pub(crate) fn push_to(&self, batch: &mut Vec<Message>, table: &str) {
        for (i, set) in self.0.iter().enumerate() {
            let id = i as u32 + 1;
            batch.push((Step::Set, set.message(table, id)));
            for keys in set.keys.chunks(ELEMENTS_MAX) {
                batch.push((Step::Elements, set.elements(table, id, keys)));
            }
        }
    }
}

impl Set {
    /// The set's name.
    pub(crate) fn name(&self) -> &'static str {
        match (self.kind, self.family) {
            (Kind::Service, Family::V4) => "service4",
            (Kind::Service, Family::V6) => "service6",
            (Kind::Whole, Family::V4) => "whole4",
            (Kind::Whole, Family::V6) => "whole6",
            (Kind::WholeOwned, Family::V4) => "whole-owned4",
            (Kind::WholeOwned, Family::V6) => "whole-owned6",
            (Kind::Own, Family::V4) => "own4",
            (Kind::Own, Family::V6) => "own6",
            (Kind::Answers, Family::V4) => "answers4",
            (Kind::Answers, Family::V6) => "answers6",
            (Kind::AnswersFromAny, Family::V4) => "answers-from-any4",
            (Kind::AnswersFromAny, Family::V6) => "answers-from-any6",
        }
    }

    fn message(&self, table: &str, id: u32) -> NfTablesMessage {
        let address = match self.family {
            Family::V4 => TYPE_IPV4,
            Family::V6 => TYPE_IPV6,
        };
        let key_type = match self.kind {
            Kind::Service | Kind::Answers => address << 12 | TYPE_PROTOCOL << 6 | TYPE_SERVICE,
            Kind::AnswersFromAny => address << 6 | TYPE_PROTOCOL,
            Kind::Whole | Kind::WholeOwned | Kind::Own => address,
        };
        let attributes = vec![
            SetAttribute::Table(table.to_owned()),
            SetAttribute::Name(self.name().to_owned()),
            SetAttribute::Flags(SetFlags::empty()),
            SetAttribute::KeyType(key_type),
            SetAttribute::KeyLen(self.keys[0].len() as u32),
            SetAttribute::Description(vec![SetDescription::Size(self.keys.len() as u32)]),
            SetAttribute::Id(id),
        ];
        NfTablesMessage::NewSet(SetMessage { attributes })
    }

    fn elements(&self, table: &str, id: u32, keys: &[Vec<u8>]) -> NfTablesMessage {
        let element = |key: &Vec<u8>| {
            ListAttribute::Element(vec![SetElementAttribute::Key(DataAttribute::Value(
                key.clone(),
            ))])
        };
        let attributes = vec![
            SetElementList::Table(table.to_owned()),
            SetElementList::Set(self.name().to_owned()),
            SetElementList::SetId(id),
            SetElementList::Elements(keys.iter().map(element).collect()),
        ];
        NfTablesMessage::NewSetElement(SetElementMessage { attributes })
    }
}

/// The host's own addresses as keys.
fn own_keys(spec: &GuardSpec, family: Family) -> Vec<Vec<u8>> {
    let own = spec.own.iter().filter(|addr| Family::of(**addr) == family);
    own.map(|addr| addr_bytes(*addr)).collect()
}

/// The key of a rule in the set of this kind and family: the registers as a rule fills them.
fn key(rule: &GuardRule, kind: Kind, family: Family) -> Option<Vec<u8>> {
    let (addr, rest) = match *rule {
        GuardRule::Service { protocol, addr, port } if kind == Kind::Service => {
            let [high, low] = port.0.to_be_bytes();
            // Each field begins a register of its own.
            (addr, vec![protocol.0, 0, 0, 0, high, low, 0, 0])
        }
        GuardRule::WholeAddress { addr, host_owns: false } if kind == Kind::Whole => (addr, vec![]),
        GuardRule::WholeAddress { addr, host_owns: true } if kind == Kind::WholeOwned => {
            (addr, vec![])
        }
        GuardRule::Answers { protocol, addr, port: L4Port::ANY }
            if kind == Kind::AnswersFromAny =>
        {
            (addr, vec![protocol.0, 0, 0, 0])
        }
        GuardRule::Answers { protocol, addr, port }
            if kind == Kind::Answers && port != L4Port::ANY =>
        {
            let [high, low] = port.0.to_be_bytes();
            (addr, vec![protocol.0, 0, 0, 0, high, low, 0, 0])
        }
        _ => return None,
    };
    if Family::of(addr) != family {
        return None;
    }
    let mut key = addr_bytes(addr);
    debug_assert_eq!(key.len(), words(key.len()) * 4);
    key.extend(rest);
    Some(key)
}

fn addr_bytes(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}
