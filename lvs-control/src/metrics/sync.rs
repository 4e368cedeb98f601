//! The numbers of synchronisation daemons: a few series for each of the two roles.

use std::collections::BTreeMap;
use std::fmt;

use lvs_admin::ipvsadm::DaemonRole;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::{Column, Family, Labels};
use crate::data::{Daemon, DaemonCounters, Role};

/// A table of counters by outcome or reason.
type Table = fn(&DaemonCounters) -> &BTreeMap<String, u64>;

/// Writes what the daemons that run have counted. They start anew with the daemon, as counters may.
pub(super) fn daemons(encoder: &mut DescriptorEncoder<'_>, daemons: &[Daemon]) -> fmt::Result {
    let role = |role: Role| vec![("role", DaemonRole::from(role).name().to_owned())];
    let help = "Whether a synchronisation daemon of this role runs";
    let mut running = Family::gauge(encoder, "lvs_sync_running", help)?;
    for one in [Role::Master, Role::Backup] {
        let runs = daemons.iter().any(|daemon| daemon.role == one);
        running.level(&role(one), runs.into())?;
    }
    let help =
        "Whether something is in the way of a synchronisation daemon, such as its interface gone";
    let mut trouble = Family::gauge(encoder, "lvs_sync_troubled", help)?;
    for daemon in daemons {
        trouble.level(&role(daemon.role), daemon.trouble.is_some().into())?;
    }
    let numbers: [Column<DaemonCounters>; 2] = [
        ("lvs_sync_messages", "Messages that a master sent or a backup heard", |c| c.messages),
        ("lvs_sync_bytes", "Bytes of these messages", |c| c.bytes),
    ];
    for (name, help, value) in numbers {
        let mut family = Family::counter(encoder, name, help)?;
        for daemon in daemons {
            family.count(&role(daemon.role), value(&daemon.counters))?;
        }
    }
    let tables: [(&str, &str, &'static str, Table); 2] = [
        ("lvs_sync_entries", "Entries by what became of them", "outcome", |c| &c.entries),
        ("lvs_sync_refused", "What was not sent or not taken, by reason", "reason", |c| &c.refused),
    ];
    for (name, help, label, table) in tables {
        let mut family = Family::counter(encoder, name, help)?;
        for daemon in daemons {
            for (what, &count) in table(&daemon.counters) {
                let mut labels: Labels = role(daemon.role);
                labels.push((label, what.clone()));
                family.count(&labels, count)?;
            }
        }
    }
    let help = "Since the last message that was sent or heard, in whole seconds";
    let mut last = Family::gauge(encoder, "lvs_sync_last_message_age_seconds", help)?;
    for daemon in daemons {
        if let Some(ms) = daemon.counters.last_ago_ms {
            last.level(&role(daemon.role), ms / 1000)?;
        }
    }
    Ok(())
}
