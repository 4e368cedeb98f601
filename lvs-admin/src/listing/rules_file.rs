//! A running director as a rules file: all of what `-S` says, and what it loses.

use std::fmt::{self, Write};

use lvs_core::addr::{Family, Granularity};
use lvs_core::command::{DestinationSpec, MarkRule, SchedulerFlags, ServiceSpec};
use lvs_core::flow::Protocol;
use lvs_core::ids::{L4Port, PortId};
use lvs_core::listing::ServiceEntry;

use super::rules_text::{server_options, service_option};
use super::{sort, text};
use crate::diff::Running;
use crate::names::NumericOnly;
use crate::rules::TUNABLES;

/// Writes everything that a rules file can say about a director, numbers in place of names: services
/// with thresholds, timeouts, switches, marks and synchronisation daemons. A director that starts with the
/// file has its servers in the same order, so that its schedulers choose alike.
///
/// `interface` names the director's ports in mark lines. A mark rule that no line of iptables could say
/// (ports without a protocol, a port without a name), which only an embedding program can have made, is
/// left as a comment.
///
/// # Errors
/// Those of `out`.
pub fn rules_file(
    out: &mut dyn Write,
    running: &Running<'_>,
    interface: &dyn Fn(PortId) -> Option<String>,
) -> fmt::Result {
    for entry in running.services {
        service(out, entry)?;
    }
    let timeouts = &running.timeouts;
    let [tcp, fin, udp] =
        [timeouts.tcp, timeouts.tcp_fin, timeouts.udp].map(|timeout| timeout.as_secs());
    writeln!(out, "--set {tcp} {fin} {udp}")?;
    for tunable in TUNABLES {
        let value = (tunable.get)(&running.tunables);
        writeln!(out, "sysctl -w net.ipv4.vs.{}={value}", tunable.name)?;
    }
    mark_lines(running, interface).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    running.daemons.iter().try_for_each(|daemon| writeln!(out, "{daemon}"))
}

/// The mark rules in order, each as a line of iptables or ip6tables. One that no such line could say is a
/// comment, as in [`rules_file`].
pub fn mark_lines(
    running: &Running<'_>,
    interface: &dyn Fn(PortId) -> Option<String>,
) -> Vec<String> {
    let line = |rule| mark_line(rule, interface).unwrap_or_else(|| format!("# {rule:?}"));
    running.mark_rules.iter().map(line).collect()
}

fn service(out: &mut dyn Write, entry: &ServiceEntry) -> fmt::Result {
    let spec = &entry.spec;
    let name = service_option(&spec.key, &NumericOnly);
    writeln!(out, "-A {name} {}", service_options(spec))?;
    // A server goes before those that were added earlier (rule S1), so the last is written first.
    for server in entry.destinations.iter().rev() {
        let spec = &server.spec;
        writeln!(out, "-a {name} -r {} {}", spec.addr, destination_options(spec))?;
    }
    Ok(())
}

/// Everything that is set of a service, as options: `-s wlc -p 600 -M 255.255.255.0`.
pub fn service_options(spec: &ServiceSpec) -> String {
    let mut text = format!("-s {}", spec.scheduler);
    if let Some(persistence) = spec.persistence {
        text += &format!(" -p {}", persistence.timeout.as_secs());
    }
    // An IPv4 mask that persistence does not use is remembered all the same (rule R12).
    if let Some(mask) = mask(spec) {
        text += &format!(" -M {mask}");
    }
    if let Some(engine) = &spec.engine {
        text += &format!(" --pe {engine}");
    }
    if spec.one_packet {
        text += " -o";
    }
    let flags = flags(spec.flags);
    if !flags.is_empty() {
        text += &format!(" -b {flags}");
    }
    text
}

/// Everything that is set of a real server, as options: `-g -w 4 -x 100 -y 50`.
pub fn destination_options(spec: &DestinationSpec) -> String {
    let mut text = String::new();
    let written = server_options(&mut text, spec);
    debug_assert!(written.is_ok(), "a String takes every text");
    if spec.upper_threshold > 0 {
        text += &format!(" -x {}", spec.upper_threshold);
    }
    if spec.lower_threshold > 0 {
        text += &format!(" -y {}", spec.lower_threshold);
    }
    text.trim_start().to_owned()
}

/// The commands that restore what [`save`](super::save) loses of services and servers: thresholds
/// (rule A3), a mask without `-p` (rule R12), a third flag of sh and mh. Numbers in place of names; in the
/// order of listings.
///
/// # Errors
/// Those of `out`.
pub fn lost_by_save(out: &mut dyn Write, entries: &[ServiceEntry]) -> fmt::Result {
    for service in sort::sorted(entries) {
        let spec = &service.entry.spec;
        let name = service_option(&spec.key, &NumericOnly);
        let flag_lost = spec.flags.flag_3 && matches!(&*spec.scheduler, "sh" | "mh");
        let mask_lost = spec.persistence.is_none() && mask(spec).is_some();
        if flag_lost || mask_lost {
            writeln!(out, "-E {name} {}", service_options(spec))?;
        }
        for server in &service.destinations {
            let spec = &server.spec;
            if spec.upper_threshold > 0 || spec.lower_threshold > 0 {
                writeln!(out, "-e {name} -r {} {}", spec.addr, destination_options(spec))?;
            }
        }
    }
    Ok(())
}

fn mask(spec: &ServiceSpec) -> Option<String> {
    match (spec.granularity, spec.key.family()) {
        (granularity @ Granularity::Mask(_), Family::V4)
        | (granularity @ Granularity::Prefix(_), Family::V6) => {
            text::mask(granularity, spec.key.family())
        }
        _ => None,
    }
}

/// The flags by number, which every scheduler takes.
fn flags(flags: SchedulerFlags) -> String {
    let numbered = [(flags.flag_1, "flag-1"), (flags.flag_2, "flag-2"), (flags.flag_3, "flag-3")];
    let set = numbered.into_iter().filter(|(set, _)| *set).map(|(_, name)| name);
    set.collect::<Vec<_>>().join(",")
}

fn mark_line(rule: &MarkRule, interface: &dyn Fn(PortId) -> Option<String>) -> Option<String> {
    let program = match rule.family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    let mut line = format!("{program} -t mangle -A PREROUTING");
    if let Some(port) = rule.port {
        line += &format!(" -i {}", interface(port)?);
    }
    for (option, prefix) in [("-s", rule.source), ("-d", rule.destination)] {
        if let Some(prefix) = prefix {
            let text =
                if prefix.is_host() { prefix.addr().to_string() } else { prefix.to_string() };
            line += &format!(" {option} {text}");
        }
    }
    if let Some(protocol) = rule.protocol {
        let name = match protocol {
            Protocol::TCP => "tcp".to_owned(),
            Protocol::UDP => "udp".to_owned(),
            Protocol::SCTP => "sctp".to_owned(),
            // iptables takes 0 for every protocol, the director for that number.
            Protocol::IP => return None,
            Protocol(number) => number.to_string(),
        };
        line += &format!(" -p {name}");
    }
    for (option, ports) in [("--sport", rule.source_ports), ("--dport", rule.destination_ports)] {
        if let Some(ports) = ports {
            let with_ports = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
            rule.protocol.filter(|protocol| with_ports.contains(protocol))?;
            line += &format!(" {option} {}", port_range(ports));
        }
    }
    Some(format!("{line} -j MARK --set-mark {}", rule.mark.0))
}

fn port_range((first, last): (L4Port, L4Port)) -> String {
    if first == last { first.to_string() } else { format!("{first}:{last}") }
}
