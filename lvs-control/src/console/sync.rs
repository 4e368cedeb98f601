//! Synchronisation daemons: started, stopped, listed, and told about in full.

use lvs_admin::ipvsadm::{DaemonRole, DaemonSpec};

use super::{Failure, Typed, json, unexpected};
use crate::data::{self, Daemon, Role};
use crate::protocol::{Reply, Request};

#[derive(serde::Serialize)]
pub(super) struct Daemons {
    pub(super) daemons: Vec<Daemon>,
}

impl Typed<'_, '_> {
    pub(super) fn start_daemon(&mut self, spec: &DaemonSpec) -> Result<(), Failure> {
        let daemon = data::DaemonSpec::from(spec);
        self.ask(Request::StartDaemon { daemon }).map(|_| ())
    }

    pub(super) fn stop_daemon(&mut self, role: DaemonRole) -> Result<(), Failure> {
        self.ask(Request::StopDaemon { role: role.into() }).map(|_| ())
    }

    /// The daemons that run, the master first.
    pub(super) fn daemons(&mut self) -> Result<Vec<Daemon>, Failure> {
        match self.ask(Request::Daemons)? {
            Some(Reply::Daemons(daemons)) => Ok(daemons),
            other => Err(unexpected(other.as_ref())),
        }
    }
}

/// `lvsadm sync`.
pub(super) fn sync(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    if let Some(word) = words.first() {
        return Err(Failure::usage(format!("unexpected argument {word}"), "sync takes none"));
    }
    let daemons = typed.daemons()?;
    if typed.wants_json() {
        return json::print(typed, &Daemons { daemons });
    }
    let text = match daemons.is_empty() {
        true => "no synchronisation daemon is running; --start-daemon starts one\n".to_owned(),
        false => daemons.iter().map(told).collect::<Vec<_>>().join("\n"),
    };
    Ok(typed.console.output.write_all(text.as_bytes())?)
}

/// A daemon with everything it has counted. What never came up is left out.
fn told(daemon: &Daemon) -> String {
    let Daemon { role, interface, sync_id, max_len, group, port, ports, ttl, .. } = daemon;
    let name = DaemonRole::from(*role);
    let ports = match ports {
        0 | 1 => format!("port {port}"),
        many => format!("ports {port} to {}", u32::from(*port) + u32::from(*many) - 1),
    };
    let mut text = format!(
        "{name} on {interface}: group {group}, {ports}, syncid {sync_id}, maxlen {max_len}, ttl {ttl}\n"
    );
    if let Some(trouble) = &daemon.trouble {
        text += &format!("  in its way      {trouble}\n");
    }
    let counters = &daemon.counters;
    let (messages, entries) = match role {
        Role::Master => ("messages sent", "announced"),
        Role::Backup => ("messages heard", "entries"),
    };
    let last = match counters.last_ago_ms {
        None => "none yet".to_owned(),
        Some(ms) => format!("the last {}.{} s ago", ms / 1000, ms % 1000 / 100),
    };
    text += &format!("  {messages:<15} {}, {} bytes, {last}\n", counters.messages, counters.bytes);
    let tables = [(entries, &counters.entries), ("refused", &counters.refused)];
    for (what, table) in tables {
        for (reason, count) in table.iter().filter(|(_, count)| **count > 0) {
            text += &format!("  {what:<15} {count} {reason}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_told_with_what_it_has_counted() {
        let spec = DaemonSpec { sync_id: Some(5), ..DaemonSpec::new(DaemonRole::Backup) };
        let mut daemon = Daemon::started(&spec, 1500, 2);
        let (entries, refused) = (&mut daemon.counters.entries, &mut daemon.counters.refused);
        entries.extend([("created".to_owned(), 40), ("updated".to_owned(), 0)]);
        refused.insert("other-syncid".to_owned(), 3);
        (daemon.counters.messages, daemon.counters.bytes) = (4, 1480);
        daemon.counters.last_ago_ms = Some(2345);
        daemon.trouble = Some("eth0 is gone".to_owned());
        insta::assert_snapshot!(told(&daemon), @r"
        backup on eth0: group 224.0.0.81, ports 8848 to 8849, syncid 5, maxlen 1472, ttl 1
          in its way      eth0 is gone
          messages heard  4, 1480 bytes, the last 2.3 s ago
          entries         40 created
          refused         3 other-syncid
        ");
    }
}
