//! Why a packet went where it went, in a line for each step.

use lvs_core::dest::Hop;
use lvs_core::explain::{Eligibility, Event, Rescheduled};
use lvs_core::flow::Endpoint;

/// The steps of one packet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Explanation {
    events: Vec<Event>,
}

impl Explanation {
    /// Adds a step.
    pub fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The steps.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The destination that the packet's connection was found or opened with.
    pub fn destination(&self) -> Option<Endpoint> {
        self.events.iter().rev().find_map(|event| match event {
            Event::Opened { destination } | Event::ConnectionFound { destination, .. } => {
                Some(*destination)
            }
            _ => None,
        })
    }

    /// Whether its packet is whole, and neither waits for anything nor is left to the host: then it leaves
    /// after its burst, if it is kept at all.
    pub(crate) fn leaves(&self) -> bool {
        !self.events.iter().any(|event| {
            matches!(
                event,
                Event::FragmentHeld { .. } | Event::WaitsForNeighbor(_) | Event::Passed(_)
            )
        })
    }

    /// Whether it completed a packet that is left to the host.
    pub(crate) fn returns_to_host(&self) -> bool {
        let reassembled = |event: &Event| matches!(event, Event::Reassembled { .. });
        let passed = |event: &Event| matches!(event, Event::Passed(_));
        self.events.iter().any(reassembled) && self.events.iter().any(passed)
    }

    /// The steps as text, a line each.
    pub fn lines(&self) -> Vec<String> {
        self.events.iter().filter_map(line).map(|line| format!("? {line}")).collect()
    }
}

/// A step in words; `None` where it says nothing that the packet's own line does not.
fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Flow(_) => return None,
        Event::FragmentHeld { offset, held } => {
            format!("a fragment, from byte {offset} on: held, {held} bytes of its packet are there")
        }
        Event::Reassembled { fragments, len } => {
            format!("the last of {fragments} fragments: a packet of {len} bytes")
        }
        Event::ConnectionFound { destination, state } => {
            format!("connection known: {} to {destination}", state.name())
        }
        Event::ConnectionMissing => "no connection yet".to_owned(),
        Event::Rescheduled(why) => rescheduled(*why).to_owned(),
        Event::Marked(mark) => format!("a rule sets mark {}", mark.0),
        Event::Service(key) => format!("service {key}"),
        Event::NoService => "no service matches".to_owned(),
        Event::MayNotOpen => "this packet may not open a connection (rules P1, P2, P6)".to_owned(),
        Event::TemplateHit { destination, holds } => format!(
            "template: this client belongs to {destination}, {holds} {} now",
            if *holds == 1 { "connection" } else { "connections" }
        ),
        Event::TemplateMissing { key } => {
            format!("no template for {} at {}", key.client().addr, key.virt())
        }
        Event::TemplateSpoilt { destination } => {
            format!("template to {destination} may not be used any more (rules R8, R9)")
        }
        Event::Candidate { destination, weight, active, inactive, eligibility } => {
            let why = match eligibility {
                Eligibility::Chosen => "chosen",
                Eligibility::Eligible => "could have been",
                Eligibility::Quiesced => "skipped: weight 0",
                Eligibility::Overloaded => "skipped: over its threshold",
            };
            format!("  {destination} weight {weight} active {active} inactive {inactive}: {why}")
        }
        Event::NoDestination => "the scheduler finds no server (rule S12)".to_owned(),
        Event::Bypassed => "past the real servers, to where it was sent (rule P11)".to_owned(),
        Event::Opened { destination } => format!("opened to {destination}"),
        Event::State { from, to, timeout } => {
            let secs = timeout.as_secs_f64();
            if from == to {
                format!("state {} stays, {secs} s from now", to.name())
            } else {
                format!("state {} becomes {}, for {secs} s", from.name(), to.name())
            }
        }
        Event::Translated { from, to } => format!("{from} is rewritten to {to}"),
        Event::Forward(Hop::Unreachable) => "no route leads there".to_owned(),
        Event::Forward(Hop::Local) => "the server is the director's own host".to_owned(),
        Event::Forward(Hop::Via { port, .. }) => format!("leaves by port {}", port.0),
        Event::WaitsForNeighbor(_) => "waits for the server's Ethernet address".to_owned(),
        Event::Dropped(reason) => format!("dropped: {reason}"),
        Event::Passed(reason) => format!("left to the host: {reason}"),
        // Steps that a later version of the core adds.
        other => format!("{other:?}"),
    })
}

fn rescheduled(why: Rescheduled) -> &'static str {
    match why {
        Rescheduled::Reused => {
            "a SYN on an ended connection: scheduled anew (conn_reuse_mode, rule C5)"
        }
        Rescheduled::Quiesced => {
            "a SYN on a connection of a quiesced server: scheduled anew (expire_nodest_conn, rule C6)"
        }
        Rescheduled::Deleted => {
            "its server was deleted: scheduled anew (expire_nodest_conn, rule L3)"
        }
    }
}
