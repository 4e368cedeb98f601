//! The rules of a running director, saved as a rules file and loaded again.
//!
//! Nothing may change by it: an operator who reloads what is there loses no connection and moves no
//! scheduler.

use std::fmt::Write as _;

use lvs_admin::diff::{Running, diff};
use lvs_admin::listing;
use lvs_admin::names::NumericOnly;
use lvs_admin::rules::{Rules, Supported, TUNABLES};
use lvs_core::addr::Family;
use lvs_core::command::{Command, MarkRule};
use lvs_core::flow::Protocol;

use super::Player;
use super::command::written;
use crate::net::CLIENTS;

/// The name of the clients' interface in mark lines.
const INTERFACE: &str = "c0";

impl Player<'_> {
    /// Saves and loads. Returns the commands it took; none if the file says what is there.
    ///
    /// # Errors
    /// What the reader of rules files says about the text.
    pub(super) fn reload(&mut self) -> Result<Vec<Command>, String> {
        let text = self.rules_text();
        let rules = Rules::parse("running", &text, &NumericOnly, &Supported::EVERYTHING)
            .map_err(|errors| format!("{errors}\n{text}"))?;
        let marks = rules
            .mark_rules(|name| (name == INTERFACE).then_some(CLIENTS))
            .map_err(|error| error.to_string())?;
        let services = self.director.services(self.now);
        let running = Running {
            services: &services,
            timeouts: self.director.timeouts(),
            tunables: *self.director.tunables(),
            mark_rules: &self.marks,
        };
        let commands = diff(&running, &rules, &marks);
        for command in &commands {
            self.director.apply(self.now, command.clone()).map_err(|error| error.to_string())?;
        }
        Ok(commands)
    }

    /// Everything that a rules file can say about the running director.
    fn rules_text(&mut self) -> String {
        let mut text = String::new();
        let services = self.director.services(self.now);
        // ipvsadm saves no thresholds (rule A3); an edit behind each such server does.
        for service in &services {
            written(listing::save(&mut text, std::slice::from_ref(service), &NumericOnly, true));
        }
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for service in &services {
            for server in &service.destinations {
                let (upper, lower) = (server.spec.upper_threshold, server.spec.lower_threshold);
                let name = format!(" -r {} ", server.spec.addr);
                let key = service_words(&service.spec.key);
                let line =
                    lines.iter_mut().find(|line| line.contains(&key) && line.contains(&name));
                if let (Some(line), true) = (line, upper > 0) {
                    let _ = write!(line, " -x {upper} -y {lower}");
                }
            }
        }
        let timeouts = self.director.timeouts();
        let [tcp, fin, udp] =
            [timeouts.tcp, timeouts.tcp_fin, timeouts.udp].map(|timeout| timeout.as_secs());
        lines.push(format!("--set {tcp} {fin} {udp}"));
        let tunables = *self.director.tunables();
        lines.extend(
            TUNABLES.iter().map(|info| {
                format!("sysctl -w net.ipv4.vs.{}={}", info.name, (info.get)(&tunables))
            }),
        );
        lines.extend(self.marks.iter().map(mark_line));
        lines.join("\n") + "\n"
    }
}

/// How a saved line names a service.
fn service_words(key: &lvs_core::command::ServiceKey) -> String {
    use lvs_core::command::ServiceKey;
    match key {
        ServiceKey::Address { protocol: Protocol::TCP, virt } => format!("-t {virt} "),
        ServiceKey::Address { protocol: Protocol::UDP, virt } => format!("-u {virt} "),
        ServiceKey::Address { virt, .. } => format!("--sctp-service {virt} "),
        ServiceKey::Mark { mark, family: Family::V4 } => format!("-f {} ", mark.0),
        ServiceKey::Mark { mark, family: Family::V6 } => format!("-f {} -6 ", mark.0),
    }
}

fn mark_line(rule: &MarkRule) -> String {
    let program = match rule.family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    };
    let mut line = format!("{program} -t mangle -A PREROUTING -i {INTERFACE}");
    if let Some(destination) = rule.destination {
        let _ = write!(line, " -d {destination}");
    }
    if let Some(protocol) = rule.protocol {
        let name = match protocol {
            Protocol::TCP => "tcp",
            Protocol::UDP => "udp",
            Protocol::SCTP => "sctp",
            Protocol::ICMP => "icmp",
            _ => "icmpv6",
        };
        let _ = write!(line, " -p {name}");
    }
    if let Some((port, _)) = rule.destination_ports {
        let _ = write!(line, " --dport {port}");
    }
    let _ = write!(line, " -j MARK --set-mark {}", rule.mark.0);
    line
}
