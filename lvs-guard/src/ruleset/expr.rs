//! Rules as lists of nftables expressions.
//!
//! An expression reads or writes registers of 4 bytes; one that compares and fails ends the rule.

use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute,
    Lookup, Meta, MetaKey, Operator, Payload, Register, Verdict, VerdictAttribute,
};

/// Where a payload expression counts from (linux/netfilter/nf_tables.h).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Base {
    /// The first byte behind the Ethernet header and the VLAN tag that the kernel took out.
    Network = 1,
    /// The transport header. Fails in fragments behind the first, and where the kernel found none.
    Transport = 2,
}

/// Verdicts beyond those that the library names (linux/netfilter.h).
const DROP: u32 = 0;

/// Bytes in a register.
const WORD: usize = 4;

/// A rule in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    expressions: Vec<Expressions>,
}

impl Rule {
    pub(crate) fn new() -> Rule {
        Rule::default()
    }

    /// Goes on if the frame is of this EtherType (behind the VLAN tag that the kernel took out).
    #[must_use]
    pub(crate) fn ether_type(self, ether_type: u16) -> Rule {
        self.load_meta(MetaKey::EtherTypeProtocol, 0).equals(&ether_type.to_be_bytes())
    }

    /// Goes on if the packet carries this transport protocol.
    #[must_use]
    pub(crate) fn transport(self, protocol: u8) -> Rule {
        self.load_transport(0).equals(&[protocol])
    }

    /// Loads the number of the transport protocol, behind any IPv6 extension headers, into a register.
    #[must_use]
    pub(crate) fn load_transport(self, register: usize) -> Rule {
        self.load_meta(MetaKey::L4Proto, register)
    }

    /// Loads bytes of the packet into registers.
    #[must_use]
    pub(crate) fn load(self, base: Base, offset: usize, len: usize, register: usize) -> Rule {
        self.with(Expressions::Payload(vec![
            Payload::DestinationRegister(word(register)),
            Payload::Base(base as u32),
            Payload::Offset(offset as u32),
            Payload::Len(len as u32),
        ]))
    }

    /// Clears the bits of the first register that `mask` does not have.
    #[must_use]
    pub(crate) fn masked(self, mask: &[u8]) -> Rule {
        self.with(Expressions::Bitwise(vec![
            Bitwise::SourceRegister(word(0)),
            Bitwise::DestinationRegister(word(0)),
            Bitwise::Length(mask.len() as u32),
            Bitwise::Mask(DataAttribute::Value(mask.to_vec())),
            Bitwise::Xor(DataAttribute::Value(vec![0; mask.len()])),
        ]))
    }

    /// Goes on if the first register begins with these bytes.
    #[must_use]
    pub(crate) fn equals(self, bytes: &[u8]) -> Rule {
        self.compare(Operator::Equal, bytes)
    }

    /// Goes on if the first register is between these bytes, both included.
    #[must_use]
    pub(crate) fn between(self, low: u8, high: u8) -> Rule {
        self.compare(Operator::GreatherThanEqual, &[low]).compare(Operator::LessThanEqual, &[high])
    }

    /// Goes on if what stands from the first register on is in a set.
    #[must_use]
    pub(crate) fn found_in(self, set: &str) -> Rule {
        self.with(Expressions::Lookup(vec![
            Lookup::Set(set.to_owned()),
            Lookup::SourceRegister(word(0)),
        ]))
    }

    /// Ends the rule: the frame is dropped.
    pub(crate) fn drop(self) -> Rule {
        self.verdict(vec![VerdictAttribute::Code(Verdict::Other(DROP))])
    }

    /// Ends the rule: back to the chain that called this one.
    pub(crate) fn back(self) -> Rule {
        self.verdict(vec![VerdictAttribute::Code(Verdict::Return)])
    }

    /// Ends the rule: on with another chain, and then behind this rule.
    pub(crate) fn jump(self, chain: &str) -> Rule {
        self.verdict(vec![
            VerdictAttribute::Code(Verdict::Jump),
            VerdictAttribute::Chain(chain.to_owned()),
        ])
    }

    pub(crate) fn into_expressions(self) -> Vec<ListAttribute<ExpressionAttribute>> {
        self.expressions.into_iter().map(ListAttribute::from).collect()
    }

    fn load_meta(self, key: MetaKey, register: usize) -> Rule {
        self.with(Expressions::Meta(vec![
            Meta::DestinationRegister(word(register)),
            Meta::Key(key),
        ]))
    }

    fn compare(self, operator: Operator, bytes: &[u8]) -> Rule {
        self.with(Expressions::Cmp(vec![
            Cmp::SourceRegister(word(0)),
            Cmp::Op(operator),
            Cmp::Data(DataAttribute::Value(bytes.to_vec())),
        ]))
    }

    fn verdict(self, verdict: Vec<VerdictAttribute>) -> Rule {
        self.with(Expressions::Immediate(vec![
            Immediate::DestinationRegister(Register::Verdict),
            Immediate::Data(DataAttribute::Verdict(verdict)),
        ]))
    }

    fn with(mut self, expression: Expressions) -> Rule {
        self.expressions.push(expression);
        self
    }
}

/// How many registers `len` bytes take.
pub(crate) const fn words(len: usize) -> usize {
    len.div_ceil(WORD)
}

/// The register of 4 bytes with this number.
fn word(number: usize) -> Register {
    /// The number of the first one (linux/netfilter/nf_tables.h).
    const FIRST: u32 = 8;
    Register::from(FIRST + number as u32)
}
