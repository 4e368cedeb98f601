//! Why, where and what: single answers about packets and connections.

use lvs_core::explain::Question;
use lvs_core::flow::FlowKey;
use lvs_core::ids::PortId;
use lvs_core::time::Instant;

use super::Program;
use crate::data::{Details, Dropped, PacketStep};
use crate::protocol::{Refusal, Reply};

/// What would become of a packet.
pub(super) fn explain(
    now: Instant,
    program: &mut dyn Program,
    mut question: Question,
    interface: Option<&str>,
) -> Result<Reply, Refusal> {
    if let Some(name) = interface {
        question.port = port_named(program, name)?;
    }
    let mut events = Vec::new();
    program.director().explain_flow(now, &question, &mut |_, event| events.push(event));
    let names = names(program);
    let director = program.director();
    let name = |port: PortId| names.get(port.index()).cloned();
    let steps = events.iter().map(|event| PacketStep::new(event, director, &name));
    Ok(Reply::Explanation(steps.collect()))
}

/// What was dropped.
pub(super) fn drops(now: Instant, program: &mut dyn Program) -> Reply {
    let names = names(program);
    let name = |port: PortId| names.get(port.index()).cloned();
    Reply::Drops(Dropped::all(program.director(), now, &name))
}

/// One connection or template.
pub(super) fn connection(
    now: Instant,
    program: &mut dyn Program,
    key: &FlowKey,
) -> Result<Reply, Refusal> {
    let names = names(program);
    let name = |port: PortId| names.get(port.index()).cloned();
    let director = program.director();
    let details = director.connection(now, key).ok_or_else(|| Refusal {
        status: lvs_admin::ipvsadm::STATUS_NOT_LISTED,
        message: format!("no connection and no template {key:?}"),
    })?;
    Ok(Reply::Details(Box::new(Details::new(&details, director, &name))))
}

/// The names of the interfaces, by their ports.
fn names(program: &dyn Program) -> Vec<String> {
    program.about().interfaces
}

fn port_named(program: &dyn Program, name: &str) -> Result<PortId, Refusal> {
    let names = names(program);
    let place = names.iter().position(|other| other == name);
    place.and_then(|place| u16::try_from(place).ok()).map(PortId).ok_or_else(|| {
        Refusal::new(format!("the director has no interface {name}; it has {}", names.join(" ")))
    })
}
