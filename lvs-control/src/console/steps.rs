//! The way of a packet in words.

use lvs_core::command::ServiceKey;

use crate::data::{Flow, PacketStep, ServiceName};

/// A step in words; `None` for one that says nothing new.
pub(super) fn line(step: &PacketStep) -> Option<String> {
    Some(match step {
        PacketStep::Flow(_) => return None,
        PacketStep::FragmentHeld { offset, held } => {
            format!("a fragment, from byte {offset} on: held, {held} bytes of its packet are there")
        }
        PacketStep::Reassembled { fragments, bytes } => {
            format!("the last of {fragments} fragments: a packet of {bytes} bytes")
        }
        PacketStep::ConnectionFound { server, state } => {
            format!("connection known: {state} to {server}")
        }
        PacketStep::ConnectionMissing => "no connection yet".to_owned(),
        PacketStep::Rescheduled { why } => rescheduled(why),
        PacketStep::Marked { mark } => format!("a rule sets mark {mark}"),
        PacketStep::Service { service } => format!("service {}", service_name(*service)),
        PacketStep::NoService => "no service matches".to_owned(),
        PacketStep::MayNotOpen => "this packet may not open a connection".to_owned(),
        PacketStep::TemplateHit { server, connections } => {
            format!("template: this client belongs to {server} ({})", count(*connections))
        }
        PacketStep::TemplateMissing(flow) => {
            format!("no template yet for {} at {}", flow.client.ip(), flow.virt)
        }
        PacketStep::TemplateSpoilt { server } => {
            format!("the template to {server} may not be used any more: deleted or quiesced")
        }
        PacketStep::Candidate { server, weight, active, inactive, verdict } => {
            let verdict = match verdict.as_str() {
                "chosen" => "chosen",
                "eligible" => "could be",
                "quiesced" => "no: weight 0",
                "overloaded" => "no: over its threshold",
                other => other,
            };
            format!(
                "  {:<22} weight {weight:<4} active {active:<6} inactive {inactive:<6} {verdict}",
                server.to_string()
            )
        }
        PacketStep::NoDestination => "no real server may be chosen".to_owned(),
        PacketStep::Bypassed => "past the real servers, to where it was sent".to_owned(),
        PacketStep::Unforeseeable => {
            "its scheduler can only choose, not tell what it would choose".to_owned()
        }
        PacketStep::Opened { server } => format!("a connection to {server} is opened"),
        PacketStep::State { from, to, timeout_ms } if from == to => {
            format!("state {to} stays, for {} from now", span(*timeout_ms))
        }
        PacketStep::State { from, to, timeout_ms } => {
            format!("state {from} becomes {to}, for {}", span(*timeout_ms))
        }
        PacketStep::Translated { from, to } => format!("{from} is rewritten to {to}"),
        PacketStep::Forwarded { interface, next_hop, mac } => match mac {
            Some(mac) => format!("leaves by {interface} to {next_hop} at {mac}"),
            None => format!("leaves by {interface} to {next_hop}"),
        },
        PacketStep::ToHost => "the real server is the director's own host".to_owned(),
        PacketStep::Unreachable => "no route leads to the real server".to_owned(),
        PacketStep::WaitsForNeighbor { interface } => {
            format!("waits until its neighbour on {interface} has said its Ethernet address")
        }
        PacketStep::Dropped { reason } => format!("dropped: {reason}"),
        PacketStep::Passed { reason } => format!("left to the host: {reason}"),
        PacketStep::Other => "a step that this lvsadm does not know".to_owned(),
    })
}

/// Where it ends, in one line.
pub(super) fn outcome(steps: &[PacketStep]) -> String {
    let server = steps.iter().rev().find_map(|step| match step {
        PacketStep::Opened { server } | PacketStep::ConnectionFound { server, .. } => Some(server),
        _ => None,
    });
    let to = server.map_or_else(|| "it".to_owned(), |server| format!("to {server}"));
    match steps.last() {
        None => "nothing is known of it".to_owned(),
        Some(PacketStep::Dropped { reason }) => format!("dropped ({reason})"),
        Some(PacketStep::Passed { reason }) if reason == "local-destination" => {
            format!("{to}, which is the director's own host")
        }
        Some(PacketStep::Passed { reason }) => format!("left to the director's host ({reason})"),
        Some(PacketStep::NoDestination) => "refused: port unreachable".to_owned(),
        Some(PacketStep::Unreachable) => "refused: host unreachable".to_owned(),
        Some(PacketStep::Unforeseeable) => "to the server that its scheduler chooses".to_owned(),
        Some(PacketStep::Bypassed) => "on to where it was sent".to_owned(),
        Some(PacketStep::FragmentHeld { .. }) => "kept until its packet is whole".to_owned(),
        Some(PacketStep::WaitsForNeighbor { .. }) => format!("{to}, when its neighbour answers"),
        Some(_) => to,
    }
}

/// A flow in words.
pub(super) fn flow(flow: &Flow) -> String {
    format!("{} {} to {}", flow.protocol, flow.client, flow.virt)
}

/// A service in words.
pub(super) fn service_name(name: ServiceName) -> String {
    ServiceKey::try_from(name).map_or_else(|error| error.to_string(), |key| key.to_string())
}

fn count(connections: u32) -> String {
    match connections {
        0 => "no connection now".to_owned(),
        1 => "1 connection now".to_owned(),
        many => format!("{many} connections now"),
    }
}

fn rescheduled(why: &str) -> String {
    let why = match why {
        "reused" => "a SYN on a connection that has ended",
        "quiesced" => "a SYN on a connection of a quiesced server, by expire_nodest_conn",
        "deleted" => "its server was deleted, by expire_nodest_conn",
        other => other,
    };
    format!("scheduled anew: {why}")
}

/// A span of time: `0.4 s`, `59 s`, `14:59`, `7:59:59`.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}
