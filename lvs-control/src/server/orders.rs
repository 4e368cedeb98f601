//! A line of JSON as what the loop is asked to do: everything about a request that needs no director.

use std::net::SocketAddr;

use lvs_admin::names::Services;
use lvs_admin::rules::{Amendment, RuleErrors, Rules, Supported};
use lvs_core::command::Command;
use lvs_core::engine::EngineData;
use lvs_core::flow::{Endpoint, FlowKey, Protocol};
use lvs_core::state::Signal;
use lvs_core::wire::tcp::TcpFlags;
use serde::Deserialize;

use crate::data;
use crate::desk::Order;
use crate::protocol::{Envelope, Refusal, Request, VERSION};

/// A line of JSON as a request.
pub(super) fn understand(line: &[u8]) -> Result<Request, Refusal> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let wrong = |error: serde_json::Error| Refusal::new(format!("the request is wrong: {error}"));
    let Version { version } = serde_json::from_slice(line).map_err(wrong)?;
    if version != VERSION {
        let message = format!(
            "this director ({}) speaks version {VERSION} of the protocol, not {version}; use the lvsadm \
             that came with it",
            env!("CARGO_PKG_VERSION")
        );
        return Err(Refusal::new(message));
    }
    let envelope: Envelope = serde_json::from_slice(line).map_err(wrong)?;
    Ok(envelope.request)
}

/// What a request asks for, in the core's words.
#[derive(Debug)]
pub(super) enum Asked {
    /// Something that the loop does by itself.
    Order(Order),
    /// A whole rules file, which takes several orders.
    Replace { rules: Box<Rules>, dry_run: bool },
}

/// A request in the core's words.
pub(super) fn asked(request: Request) -> Result<Asked, Refusal> {
    match request {
        Request::Apply { file, text, dry_run } => {
            let rules = Box::new(parse(&file, &text)?);
            Ok(Asked::Replace { rules, dry_run })
        }
        other => order(other).map(Asked::Order),
    }
}

fn order(request: Request) -> Result<Order, Refusal> {
    let wrong = |error: data::DataError| Refusal::new(error.to_string());
    Ok(match request {
        Request::About => Order::About,
        Request::Change { changes } => {
            let commands = changes.iter().map(Command::try_from);
            Order::Change(commands.collect::<Result<_, _>>().map_err(wrong)?)
        }
        Request::Services { only } => {
            Order::Services(only.map(TryInto::try_into).transpose().map_err(wrong)?)
        }
        Request::Connections => Order::Connections,
        Request::Settings => Order::Settings,
        Request::Totals => Order::Totals,
        Request::Explain { flow, tcp_flags, read, interface } => {
            let signal = match (flow.protocol, tcp_flags) {
                (Protocol::TCP, Some(bits)) => Some(Signal::Tcp(TcpFlags(bits))),
                (protocol, _) => Signal::opening(protocol),
            };
            let signal = signal.ok_or_else(|| {
                Refusal::new(format!("{} has no connections: tcp, udp, sctp", flow.protocol))
            })?;
            let data = read.as_ref().map(EngineData::try_from).transpose().map_err(wrong)?;
            let data = data.map(Box::new);
            Order::Explain { flow: key(&flow)?, signal, data, interface }
        }
        Request::Trace { filter, packets } => Order::Trace { filter, packets },
        Request::Drops => Order::Drops,
        Request::Connection { flow } => Order::Connection(key(&flow)?),
        Request::Forecast { service, server } => {
            let server = Endpoint::new(server.ip(), server.port());
            Order::Forecast(service.try_into().map_err(wrong)?, server)
        }
        Request::StartDaemon { daemon } => Order::StartDaemon(daemon.try_into().map_err(wrong)?),
        Request::StopDaemon { role } => Order::StopDaemon(role.into()),
        Request::Daemons => Order::Daemons,
        Request::Amend { text } => amend(&text)?,
        Request::Apply { .. } => return Err(Refusal::new("a rules file takes several orders")),
    })
}

/// A flow as the key of a table.
fn key(flow: &data::Flow) -> Result<FlowKey, Refusal> {
    if flow.client.is_ipv4() != flow.virt.is_ipv4() {
        let message = format!("{} and {} are of two address families", flow.client, flow.virt);
        return Err(Refusal::new(message));
    }
    let end = |addr: SocketAddr| Endpoint::new(addr.ip(), addr.port());
    Ok(FlowKey::new(flow.protocol, end(flow.client), end(flow.virt)))
}

fn parse(file: &str, text: &str) -> Result<Rules, Refusal> {
    Rules::parse(file, text, &port_names(), &Supported::THIS_VERSION)
        .map_err(|errors| mistakes(&errors))
}

fn mistakes(errors: &RuleErrors) -> Refusal {
    let status = lvs_admin::ipvsadm::STATUS_CHECK;
    Refusal { status, message: format!("{errors}\nnothing was applied") }
}

/// The host's names of ports, or the well-known ones where it has no list.
fn port_names() -> Services {
    match std::fs::read_to_string("/etc/services") {
        Ok(text) => Services::parse(&text),
        Err(_) => Services::well_known(),
    }
}

/// Lines that only change marks and switches.
fn amend(text: &str) -> Result<Order, Refusal> {
    let amendment = Amendment::parse(text, &port_names()).map_err(|errors| mistakes(&errors))?;
    Ok(Order::Amend(amendment))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Requests of every kind.
    const LINES: &[&str] = &[
        r#"{"version":1,"request":"about"}"#,
        r#"{"version":1,"request":{"services":{"only":{"mark":7,"family":"ipv6"}}}}"#,
        r#"{"version":1,"request":{"services":{"only":{"protocol":"tcp","address":"10.0.0.1","port":80}}}}"#,
        r#"{"version":1,"request":{"change":{"changes":["clear",{"zero":{"service":null}},{"set_timeouts":{"tcp_s":9,"tcp_fin_s":null,"udp_s":18446744073709551615}}]}}}"#,
        r#"{"version":1,"request":{"change":{"changes":[{"add_service":{"service":{"protocol":"udp","address":"2001:db8::1","port":53},"scheduler":"mh","scheduler_flags":[1,3],"persistent_s":60,"granularity":"64","one_packet":true}}]}}}"#,
        r#"{"version":1,"request":{"change":{"changes":[{"edit_server":{"service":{"mark":1,"family":"ipv4"},"server":{"address":"10.1.0.2","port":0,"method":"tunnel","tunnel":{"kind":"gue","port":6080,"checksum":"remote"},"weight":4294967295}}}]}}}"#,
        r#"{"version":1,"request":{"explain":{"flow":{"protocol":"tcp","client":"192.0.2.7:9","virtual":"10.0.0.1:80"},"tcp_flags":16,"interface":"eth0"}}}"#,
        r#"{"version":1,"request":{"trace":{"filter":{"protocol":"tcp","client":"192.0.2.7:9","virtual":null,"server":"10.1.0.2:80"},"packets":3}}}"#,
        r#"{"version":1,"request":{"connection":{"flow":{"protocol":"udp","client":"[2001:db8::7]:0","virtual":"[2001:db8::1]:53"}}}}"#,
        r#"{"version":1,"request":{"forecast":{"service":{"mark":7,"family":"ipv4"},"server":"10.1.0.2:80"}}}"#,
        r#"{"version":1,"request":{"start_daemon":{"daemon":{"role":"master","interface":"eth0","sync_id":5,"max_len":1472,"group":"ff02::81","port":8848,"ttl":1}}}}"#,
        r#"{"version":1,"request":{"stop_daemon":{"role":"backup"}}}"#,
        r#"{"version":1,"request":"daemons"}"#,
        r#"{"version":1,"request":{"amend":{"text":"sysctl -w net.ipv4.vs.sloppy_tcp=1"}}}"#,
        r#"{"version":1,"request":{"apply":{"file":"f","text":"-A -t 10.0.0.1:80\n","dry_run":true}}}"#,
    ];

    #[test]
    fn requests_of_every_kind_are_understood() {
        for line in LINES {
            let request = understand(line.as_bytes()).unwrap_or_else(|e| panic!("{line}: {e}"));
            asked(request).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    proptest! {
        #[test]
        fn requests_with_changed_bytes_are_understood_or_refused(
            line in prop::sample::select(LINES),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = line.as_bytes().to_vec();
            for (at, byte) in changes {
                // Mostly other letters and digits, so that many are JSON still.
                let at = at.index(bytes.len());
                bytes[at] = if byte < 128 { b'0' + byte % 75 } else { byte };
            }
            for line in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                if let Ok(request) = understand(line) {
                    let _refused = asked(request);
                }
            }
        }
    }
}
