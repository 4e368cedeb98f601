//! The backup: messages that have come become connections.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;

use lvs_admin::ipvsadm::DaemonSpec;
use lvs_control::data;
use lvs_core::command::Tunables;
use lvs_core::director::Director;
use lvs_core::time::{Duration, Instant};
use lvs_io_afpacket::Interface;
use lvs_sync::backup::{Backup, Settings};

use super::receiver::Receiver;
use super::socket::{self, Link};
use super::tally::Tally;
use super::{Common, DaemonError, Wake};

/// Messages taken between two bursts, each of at most 255 entries.
const AT_ONCE: usize = 4;
/// How often refused messages are told of in the log; they are counted in any case.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A backup that runs.
pub(super) struct BackupDaemon {
    common: Common,
    backup: Backup,
    /// Absent while its interface is gone or down.
    receiver: Option<Receiver>,
    tally: Arc<Tally>,
    wake: Wake,
    /// When the next refused message is told of.
    next_told: Instant,
}

impl BackupDaemon {
    /// Opens its sockets.
    pub(super) fn open(
        spec: &DaemonSpec,
        tunables: &Tunables,
        interfaces: &[Interface],
        wake: Wake,
    ) -> Result<BackupDaemon, DaemonError> {
        let (common, link) = Common::new(spec, tunables, interfaces)?;
        let mut daemon = BackupDaemon {
            backup: Backup::new(Settings { syncid: common.data.sync_id }),
            common,
            receiver: None,
            tally: Arc::new(Tally::new()),
            wake,
            next_told: Instant::ZERO,
        };
        daemon.open_at(link)?;
        Ok(daemon)
    }

    pub(super) fn common(&self) -> &Common {
        &self.common
    }

    /// Opens the sockets at an interface.
    fn open_at(&mut self, link: Link) -> Result<(), DaemonError> {
        let data::Daemon { group, port, ports, max_len, .. } = self.common.data;
        self.receiver = None;
        let sockets = (0..ports.max(1))
            .map(|n| socket::receiver(group, port.saturating_add(n), &link, self.common.buffer))
            .collect::<Result<_, _>>()?;
        let tally = Arc::clone(&self.tally);
        self.receiver = Some(Receiver::start(sockets, max_len, tally, Arc::clone(&self.wake))?);
        self.common.link = Some(link);
        Ok(())
    }

    /// Goes on at its interface as that is now.
    pub(super) fn follow(&mut self, interfaces: &[Interface]) {
        let Some(link) = self.common.moved(interfaces) else { return };
        let trouble = match link {
            None => {
                (self.receiver, self.common.link) = (None, None);
                Some(format!("{} is gone", self.common.data.interface))
            }
            Some(link) => match self.open_at(link) {
                Ok(()) => self.common.link.as_ref().and_then(Link::down),
                Err(error) => Some(error.to_string()),
            },
        };
        match trouble {
            None => {
                self.tally.relieve();
                self.common.say("goes on");
            }
            Some(trouble) if self.tally.hinder(&trouble) => {
                tracing::warn!("synchronisation: the backup hears nothing: {trouble}");
            }
            Some(_) => {}
        }
    }

    /// Takes some of what has come. Returns whether there is more.
    pub(super) fn take(&mut self, now: Instant, director: &mut Director) -> bool {
        for _ in 0..AT_ONCE {
            let Some(heard) = self.receiver.as_ref().and_then(Receiver::next) else { return false };
            match self.backup.take(now, director, &heard.bytes) {
                Ok(taken) => {
                    if let Some(complaint) = taken.complaint {
                        self.complain(now, heard.from, &format!("an entry: {complaint}"));
                    }
                }
                Err(refused) => self.complain(now, heard.from, &refused),
            }
        }
        self.receiver.as_ref().is_some_and(|receiver| !receiver.is_empty())
    }

    fn complain(&mut self, now: Instant, from: SocketAddr, why: &dyn Display) {
        if now < self.next_told {
            return;
        }
        self.next_told = now + TELL_EVERY;
        let from = from.ip();
        tracing::warn!(
            "synchronisation: from {from} came what is refused: {why}; lvsadm sync counts"
        );
    }

    /// It with what it has counted.
    pub(super) fn data(&self) -> data::Daemon {
        let (counted, tally) = (self.backup.counters(), &self.tally);
        let table = |rows: &[(&str, u64)]| -> BTreeMap<String, u64> {
            rows.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
        };
        let entries = table(&[
            ("taken", counted.taken),
            ("unbound", counted.unbound),
            ("updated", counted.updated),
            ("bound", counted.bound),
            ("replaced", counted.replaced),
            ("superseded", counted.superseded),
        ]);
        let refused = table(&[
            ("message-without-room", tally.lost()),
            ("message-too-long", tally.too_long()),
            ("message-of-other-syncid", counted.syncid_refused),
            ("message-malformed", counted.malformed_refused),
            ("entry-malformed", counted.malformed),
            ("entry-behind-malformed", counted.lost),
            ("entry-with-unknown-option", counted.option),
            ("entry-of-unknown-protocol", counted.protocol),
            ("entry-in-unknown-state", counted.state),
            ("entry-of-wrong-kind", counted.kind),
            ("entry-of-unknown-engine", counted.engine),
            ("entry-without-room", counted.full),
            ("entry-invalid", counted.invalid),
        ]);
        let counters = data::DaemonCounters {
            messages: tally.messages(),
            bytes: tally.bytes(),
            entries,
            refused,
            last_ago_ms: tally.last_ago_ms(),
        };
        data::Daemon { counters, trouble: tally.trouble(), ..self.common.data.clone() }
    }
}
