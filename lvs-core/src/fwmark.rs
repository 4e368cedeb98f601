//! Rules that set firewall marks.

use alloc::vec::Vec;

use crate::command::MarkRule;
use crate::flow::FlowKey;
use crate::ids::{FwMark, L4Port, PortId};

/// The mark rules, in order.
#[derive(Debug, Default)]
pub(crate) struct MarkRules(Vec<MarkRule>);

impl MarkRules {
    pub(crate) fn set(&mut self, rules: Vec<MarkRule>) {
        self.0 = rules;
    }

    pub(crate) fn rules(&self) -> &[MarkRule] {
        &self.0
    }

    /// The mark of a packet: that of the last rule that matches, because MARK does not end the walk
    /// through a chain; no mark if none does.
    pub(crate) fn mark_of(&self, port: PortId, flow: &FlowKey) -> FwMark {
        self.0
            .iter()
            .rev()
            .find(|rule| matches(rule, port, flow))
            .map_or(FwMark::NONE, |rule| rule.mark)
    }
}

fn matches(rule: &MarkRule, port: PortId, flow: &FlowKey) -> bool {
    let within = |ports: Option<(L4Port, L4Port)>, port: L4Port| {
        ports.is_none_or(|(first, last)| first <= port && port <= last)
    };
    rule.family == flow.family()
        && rule.protocol.is_none_or(|protocol| protocol == flow.protocol())
        && within(rule.destination_ports, flow.virtual_port())
        && within(rule.source_ports, flow.client_port())
        && rule.port.is_none_or(|only| only == port)
        && rule.destination.is_none_or(|prefix| prefix.contains(flow.virtual_addr()))
        && rule.source.is_none_or(|prefix| prefix.contains(flow.client_addr()))
}
