//! `explain`, `drops` and `connection`: why, where and what.

use std::net::{IpAddr, SocketAddr};

use lvs_core::engine::{Engine, EngineData};
use lvs_core::flow::Protocol;

use super::steps::{self, span};
use super::{Failure, Typed, json, unexpected};
use crate::data::{Details, Dropped, EngineRead, Flow};
use crate::protocol::{Reply, Request};

/// `lvsadm explain tcp CLIENT:PORT VIP:PORT`.
pub(super) fn explain(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    const USAGE: &str =
        "lvsadm explain tcp 192.0.2.7:40000 192.0.2.80:80 [--flags A] [--call-id ID] [--in eth0]";
    let (mut plain, mut flags, mut call_id, mut interface) = (Vec::new(), None, None, None);
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--flags" => {
                let letters = words.next().copied().unwrap_or_default();
                flags = Some(tcp_flags(letters)?);
            }
            "--call-id" => {
                let id = words.next().copied().unwrap_or_default();
                let read = EngineData::of_text(Engine::Sip, id);
                let read = read.ok_or_else(|| {
                    Failure::usage("--call-id: 1 to 255 characters of ISO 8859-1", USAGE)
                })?;
                call_id = Some(EngineRead::from(&read));
            }
            "--in" => {
                let name = words.next();
                let name = name.ok_or_else(|| Failure::usage("--in: which interface?", USAGE))?;
                interface = Some((*name).to_owned());
            }
            _ if word.starts_with('-') => {
                return Err(Failure::usage(format!("{word}: unknown option"), USAGE));
            }
            _ => plain.push(word),
        }
    }
    let flow = flow(typed, &plain, USAGE)?;
    if flags.is_some() && flow.protocol != Protocol::TCP {
        return Err(Failure::usage("--flags: only TCP has flags", USAGE));
    }
    if call_id.is_some() && flow.protocol != Protocol::UDP {
        return Err(Failure::usage("--call-id: only UDP is read for it", USAGE));
    }
    let request = Request::Explain { flow, tcp_flags: flags, read: call_id, interface };
    let steps = match typed.ask(request)? {
        Some(Reply::Explanation(steps)) => steps,
        other => return Err(unexpected(other.as_ref())),
    };
    if typed.wants_json() {
        return json::print(typed, &steps);
    }
    let output = &mut *typed.console.output;
    writeln!(output, "{}", steps::flow(&flow))?;
    for line in steps.iter().filter_map(steps::line) {
        writeln!(output, "  {line}")?;
    }
    Ok(writeln!(output, "=> {}", steps::outcome(&steps))?)
}

/// Flags by their letters, as tcpdump and iptables users write them.
fn tcp_flags(letters: &str) -> Result<u8, Failure> {
    const FLAGS: [(char, u8); 6] = [('F', 1), ('S', 2), ('R', 4), ('P', 8), ('A', 16), ('U', 32)];
    let bit = |letter: char| {
        let found = FLAGS.iter().find(|(name, _)| *name == letter.to_ascii_uppercase());
        found.map(|(_, bit)| *bit)
    };
    let bits: Option<Vec<u8>> = letters.chars().map(bit).collect();
    bits.filter(|bits| !bits.is_empty())
        .map(|bits| bits.into_iter().fold(0, |a, b| a | b))
        .ok_or_else(|| {
            let message = format!("--flags: {letters:?} are no flags of TCP");
            Failure::usage(message, "letters of F, S, R, P, A, U, such as SA")
        })
}

/// The words `PROTOCOL CLIENT VIRTUAL`.
fn flow(typed: &Typed<'_, '_>, words: &[&str], usage: &str) -> Result<Flow, Failure> {
    let &[protocol, client, virt] = words else {
        return Err(Failure::usage("protocol, client and virtual address are needed", usage));
    };
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::TCP,
        "udp" => Protocol::UDP,
        "sctp" => Protocol::SCTP,
        "ip" => Protocol::IP,
        _ => {
            let message = format!("{protocol}: no protocol that is balanced");
            return Err(Failure::usage(message, "tcp, udp or sctp"));
        }
    };
    let [client, virt] = [client, virt].map(|word| end(typed, word, protocol));
    Ok(Flow { protocol, client: client?, virt: virt? })
}

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`, with names in their places.
pub(super) fn end(
    typed: &Typed<'_, '_>,
    word: &str,
    protocol: Protocol,
) -> Result<SocketAddr, Failure> {
    if let Ok(addr) = word.parse::<SocketAddr>() {
        return Ok(addr);
    }
    if let Ok(addr) = word.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(SocketAddr::new(addr, 0));
    }
    let names = typed.console.names;
    let address = |text: &str| {
        let text = text.trim_start_matches('[').trim_end_matches(']');
        text.parse().ok().or_else(|| names.address(text))
    };
    let found = match word.rsplit_once(':') {
        Some((host, port)) => {
            let port = port.parse().ok().or_else(|| names.port(port, protocol));
            address(host).zip(port)
        }
        None => address(word).map(|addr| (addr, 0)),
    };
    found.map(|(addr, port)| SocketAddr::new(addr, port)).ok_or_else(|| {
        let message = format!("{word}: no address, or a name that nobody knows");
        Failure::usage(message, "such as 192.0.2.7:40000 or [2001:db8::7]:40000")
    })
}

/// `lvsadm drops`.
pub(super) fn drops(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    if let Some(word) = words.first() {
        return Err(Failure::usage(format!("unexpected argument {word}"), "drops takes none"));
    }
    let mut drops = match typed.ask(Request::Drops)? {
        Some(Reply::Drops(drops)) => drops,
        other => return Err(unexpected(other.as_ref())),
    };
    drops.sort_by_key(|dropped| std::cmp::Reverse(dropped.count));
    if typed.wants_json() {
        return json::print(typed, &drops);
    }
    let output = &mut *typed.console.output;
    if drops.is_empty() {
        return Ok(writeln!(output, "no frame was dropped")?);
    }
    for dropped in &drops {
        let Dropped { reason, meaning, count, .. } = dropped;
        writeln!(output, "{count:>12}  {reason}: {}", last_drop(dropped))?;
        writeln!(output, "              {meaning}")?;
    }
    Ok(())
}

fn last_drop(dropped: &Dropped) -> String {
    let Some(last) = &dropped.last else { return "the last one is not known".to_owned() };
    let mut text = format!("the last {} ago", span(last.ago_ms));
    if let Some(interface) = &last.interface {
        text += &format!(", in by {interface}");
    }
    if let Some(flow) = &last.flow {
        text += &format!(", {}", steps::flow(flow));
    }
    text
}

/// `lvsadm connection tcp CLIENT:PORT VIP:PORT`.
pub(super) fn connection(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    const USAGE: &str = "lvsadm connection tcp 192.0.2.7:40000 192.0.2.80:80; of a template the \
                         client has no port";
    let flow = flow(typed, words, USAGE)?;
    let details = match typed.ask(Request::Connection { flow })? {
        Some(Reply::Details(details)) => details,
        other => return Err(unexpected(other.as_ref())),
    };
    if typed.wants_json() {
        return json::print(typed, &details);
    }
    Ok(typed.console.output.write_all(describe(&details, &flow).as_bytes())?)
}

fn describe(details: &Details, flow: &Flow) -> String {
    let connection = &details.connection;
    let kind = if connection.template { "template" } else { "connection" };
    let activity = match (connection.template, details.active) {
        (true, _) => "",
        (false, true) => ", active",
        (false, false) => ", inactive",
    };
    let mut text = format!("{kind} {}\n", steps::flow(flow));
    let mut row = |name: &str, value: String| text += &format!("  {name:<10} {value}\n");
    row("state", format!("{}{activity}", connection.state));
    row("service", steps::service_name(details.service));
    let listed = match (details.server_listed, details.weight) {
        (false, _) => "deleted".to_owned(),
        (true, 0) => "quiesced".to_owned(),
        (true, weight) => format!("weight {weight}"),
    };
    let (active, inactive) = (details.server_active, details.server_inactive);
    let load = format!("{active} active, {inactive} inactive");
    row("server", format!("{} ({listed}; {load})", connection.server));
    row("method", details.method.replace('_', " "));
    row("leaves", leaves(details));
    let (left, timeout) = (span(connection.expires_ms), span(details.timeout_ms));
    row("ends", format!("in {left}, {timeout} after its last packet"));
    row("age", span(connection.age_ms));
    match connection.template {
        true => row("made", format!("{} connections", connection.packets)),
        false => {
            let (packets, bytes) = (connection.packets, connection.bytes);
            row("received", format!("{packets} packets, {bytes} bytes"));
        }
    }
    if connection.mark != 0 {
        row("mark", connection.mark.to_string());
    }
    match (&details.template, connection.template) {
        (_, true) => row("controls", format!("{} connections", details.template_connections)),
        (None, false) => row("template", "none".to_owned()),
        (Some(template), false) => {
            let client = template.client.ip();
            let (holds, left) = (details.template_connections, span(template.expires_ms));
            let counts = format!("{holds} connections, ends in {left}");
            row("template", format!("{client} at {}: {counts}", template.virt));
        }
    }
    text
}

fn leaves(details: &Details) -> String {
    match (&details.interface, details.next_hop, &details.mac) {
        (None, ..) => "no route leads to the server".to_owned(),
        (Some(name), None, _) => format!("to the {name}"),
        (Some(name), Some(next), Some(mac)) => format!("by {name} to {next} at {mac}"),
        (Some(name), Some(next), None) => {
            format!("by {name} to {next}, whose Ethernet address is not known")
        }
    }
}
