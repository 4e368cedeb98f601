//! The table: what a spec looks like in nftables.
//!
//! ```text
//! table netdev lvs-guard-N {            # owned by the process
//!     set service4 { … }                # address . protocol . port
//!     set whole4 { … }                  # address
//!     set answers4 { … }                # address . protocol . port that answers come from
//!     …                                 # the same for IPv6, and for addresses that the host owns
//!     chain guard { … }                 # untagged frames, and those behind one VLAN tag
//!     chain guard-tagged { … }          # behind two
//!     chain ingress-0 { type filter hook ingress device "eth0" priority -500; jump guard }
//! }
//! ```
//!
//! A set with no element, and the rules that would look into it, are left out.

mod expr;
mod rules;
mod sets;

use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DevHookNumber, Hook, HookNumber, NfTablesMessage, RuleAttribute,
    RuleMessage, TableAttribute, TableFlags, TableMessage,
};

use crate::error::Step;
use crate::netlink::Message;
use crate::spec::GuardSpec;
use expr::Rule;
use sets::Sets;

/// The chain that every ingress chain calls.
const GUARD: &str = "guard";
/// The chain for frames with a second VLAN tag.
const TAGGED: &str = "guard-tagged";

/// Before the chains that operators write (usually 0): what is hidden is not counted or mirrored there.
const PRIORITY: i32 = -500;

/// Accept what no rule dropped.
const POLICY_ACCEPT: u32 = 1;

/// The transaction that makes the table hold exactly what `spec` hides on `interfaces`, instead of what it
/// held before if it was there.
///
/// The old table goes and the new one comes in the same transaction: the kernel switches from one to the
/// other between two packets.
pub(crate) fn replace(
    table: &str,
    was_there: bool,
    interfaces: &[String],
    spec: &GuardSpec,
) -> Vec<Message> {
    let name = || TableAttribute::Name(table.to_owned());
    let mut batch = Vec::new();
    if was_there {
        let message = TableMessage { attributes: vec![name()] };
        batch.push((Step::RemoveTable, NfTablesMessage::DeleteTable(message)));
    }
    let attributes = vec![name(), TableAttribute::Flags(TableFlags::Owner)];
    batch.push((Step::Table, NfTablesMessage::NewTable(TableMessage { attributes })));
    let sets = Sets::of(spec);
    sets.push_to(&mut batch, table);
    for chain in [GUARD, TAGGED] {
        batch.push((Step::Chain, chain_message(table, chain, Vec::new())));
    }
    for rule in rules::tagged(&sets) {
        batch.push((Step::Rule, rule_message(table, TAGGED, rule)));
    }
    for rule in rules::untagged(&sets, TAGGED) {
        batch.push((Step::Rule, rule_message(table, GUARD, rule)));
    }
    for (i, interface) in interfaces.iter().enumerate() {
        let chain = format!("ingress-{i}");
        let hook = vec![
            ChainAttribute::Type("filter".to_owned()),
            ChainAttribute::Hook(vec![
                Hook::Number(HookNumber::Dev(DevHookNumber::Ingress)),
                Hook::Priority(PRIORITY.cast_unsigned()),
                Hook::NetDeviceName(interface.clone()),
            ]),
            ChainAttribute::Policy(POLICY_ACCEPT),
        ];
        let step = Step::Ingress(interface.clone());
        batch.push((step.clone(), chain_message(table, &chain, hook)));
        batch.push((step, rule_message(table, &chain, Rule::new().jump(GUARD))));
    }
    batch
}

fn chain_message(table: &str, chain: &str, more: Vec<ChainAttribute>) -> NfTablesMessage {
    let mut attributes =
        vec![ChainAttribute::Table(table.to_owned()), ChainAttribute::Name(chain.to_owned())];
    attributes.extend(more);
    NfTablesMessage::NewChain(ChainMessage { attributes })
}

fn rule_message(table: &str, chain: &str, rule: Rule) -> NfTablesMessage {
    let attributes = vec![
        RuleAttribute::Table(table.to_owned()),
        RuleAttribute::Chain(chain.to_owned()),
        RuleAttribute::Expressions(rule.into_expressions()),
    ];
    NfTablesMessage::NewRule(RuleMessage { attributes })
}
