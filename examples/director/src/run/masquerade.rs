//! What masquerading asks of the host: answers of real servers cross it, but it must not send them on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lvs_core::addr::Family;
use lvs_core::command::{DestinationSpec, ForwardingMethod, ServiceKey, ServiceSpec};
use lvs_core::director::Director;
use lvs_core::drop::PassReason;
use lvs_core::flow::Protocol;
use lvs_core::ids::L4Port;
use lvs_core::io::{Frame, Verdict};
use lvs_core::parse::{L4, Parsed, parse_quoted, parse_super};
use lvs_core::time::Instant;
use lvs_core::wire::icmp;
use lvs_guard::{GuardRule, GuardSpec};

use super::takeover::Takeover;

/// Where a real server answers from, if it is masqueraded: under a mark in any protocol, and from any port
/// if it is reached on the port that the client asked for (rules P7, R1).
pub(super) fn answers(service: &ServiceSpec, server: &DestinationSpec) -> Vec<GuardRule> {
    if server.method != ForwardingMethod::Masquerade {
        return Vec::new();
    }
    let persistent = service.persistence.is_some();
    let (protocols, port) = match service.key {
        ServiceKey::Address { protocol, virt } => {
            let ftp = (protocol, virt.port) == (Protocol::TCP, L4Port::FTP);
            let port = match server.addr.port {
                _ if virt.port == L4Port::ANY || ftp && persistent => L4Port::ANY,
                L4Port::ANY => virt.port,
                port => port,
            };
            (vec![protocol], port)
        }
        ServiceKey::Mark { .. } => {
            let port = if persistent { L4Port::ANY } else { server.addr.port };
            (vec![Protocol::TCP, Protocol::UDP, Protocol::SCTP], port)
        }
    };
    let addr = server.addr.addr;
    protocols.into_iter().map(|protocol| GuardRule::Answers { protocol, addr, port }).collect()
}

/// The servers of which everything they send through this host passes the director.
pub(super) fn answering_from_any_port(answers: &BTreeSet<GuardRule>) -> BTreeSet<IpAddr> {
    let any = answers.iter().filter_map(|rule| match *rule {
        GuardRule::Answers { addr, port: L4Port::ANY, .. } => Some(addr),
        _ => None,
    });
    any.collect()
}

/// Sends a frame on as the host would, if it is one that the host does not get to see: what a masqueraded
/// server sends without a connection.
pub(super) fn forward_hidden(
    now: Instant,
    director: &mut Director,
    takeover: &Takeover,
    frame: &mut Frame<'_>,
) {
    if frame.verdict == Verdict::Pass(PassReason::NotLocal) && is_hidden(takeover, frame) {
        director.forward_for_host(now, frame);
    }
}

fn is_hidden(takeover: &Takeover, frame: &Frame<'_>) -> bool {
    let guard: &GuardSpec = &takeover.guard;
    let Parsed::Ip(headers) = parse_super(frame.bytes()) else { return false };
    let forwards = takeover.forwards[usize::from(headers.family == Family::V6)];
    if !forwards || guard.own.contains(&headers.dst()) || headers.fragment.is_some() {
        return false;
    }
    match headers.l4_header {
        L4::Icmp { kind, .. } if icmp::is_error(headers.family, kind) => {
            let end = headers.end().min(frame.len());
            let quote = frame.bytes().get(usize::from(headers.l4) + icmp::HEADER_LEN..end);
            let quoted = quote.and_then(|quote| parse_quoted(quote, headers.family));
            quoted.is_some_and(|quoted| {
                let to = quoted.flow.virt();
                guard.hides_answers(quoted.protocol, to.addr, to.port)
            })
        }
        _ => guard.hides_answers(headers.protocol, headers.src(), headers.flow.client_port()),
    }
}
