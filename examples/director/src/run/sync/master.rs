//! The master: announcements become messages, messages go to the sending thread.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::Arc;

use lvs_admin::ipvsadm::DaemonSpec;
use lvs_control::data;
use lvs_core::command::Tunables;
use lvs_core::director::Director;
use lvs_core::time::{Duration, Instant};
use lvs_io_afpacket::Interface;
use lvs_sync::master::{Master, Settings};
use lvs_sync::message::Version;

use super::sender::Sender;
use super::socket::{self, Link};
use super::tally::Tally;
use super::{Common, DaemonError};

/// When to look again whether the thread has room.
const ROOM_AGAIN: Duration = Duration::from_millis(10);

/// A master that runs.
#[derive(Debug)]
pub(super) struct MasterDaemon {
    common: Common,
    master: Master,
    /// Absent while its interface is gone or down; what is due then is lost, as it would be old later.
    sender: Option<Sender>,
    tally: Arc<Tally>,
}

impl MasterDaemon {
    /// Opens its socket.
    pub(super) fn open(
        spec: &DaemonSpec,
        tunables: &Tunables,
        interfaces: &[Interface],
    ) -> Result<MasterDaemon, DaemonError> {
        let (common, link) = Common::new(spec, tunables, interfaces)?;
        if common.data.group.is_ipv4() && !link.has_ipv4() {
            return Err(DaemonError::NoAddress(link.name));
        }
        let master = Master::new(settings(&common.data, tunables))?;
        let mut daemon =
            MasterDaemon { common, master, sender: None, tally: Arc::new(Tally::new()) };
        daemon.open_at(link)?;
        Ok(daemon)
    }

    pub(super) fn common(&self) -> &Common {
        &self.common
    }

    /// Opens the socket at an interface, if that is up.
    fn open_at(&mut self, link: Link) -> Result<(), DaemonError> {
        let data::Daemon { group, port, ttl, .. } = self.common.data;
        self.sender = None;
        if let Some(trouble) = link.trouble(group) {
            self.hinder(&trouble);
        } else {
            let socket: UdpSocket = socket::sender(group, ttl, &link, self.common.buffer)?;
            let tally = Arc::clone(&self.tally);
            self.sender = Some(Sender::start(socket, (group, port), &link, tally)?);
        }
        self.common.link = Some(link);
        Ok(())
    }

    /// Goes on at its interface as that is now.
    pub(super) fn follow(&mut self, interfaces: &[Interface]) {
        match self.common.moved(interfaces) {
            None => {}
            Some(None) => {
                (self.sender, self.common.link) = (None, None);
                self.hinder(&format!("{} is gone", self.common.data.interface));
            }
            Some(Some(link)) => match self.open_at(link) {
                Ok(()) if self.sender.is_some() => {
                    self.tally.relieve();
                    self.common.say("goes on");
                }
                Ok(()) => {}
                Err(error) => self.hinder(&error.to_string()),
            },
        }
    }

    fn hinder(&self, trouble: &str) {
        if self.tally.hinder(trouble) {
            tracing::warn!("synchronisation: the master cannot send: {trouble}");
        }
    }

    /// Takes what the director announces and hands on what is due.
    pub(super) fn announce(&mut self, now: Instant, director: &mut Director) {
        while let Some(announcement) = director.poll_announcement() {
            self.master.offer(now, &announcement);
        }
        self.follow_switches(director.tunables());
        while self.sender.as_ref().is_none_or(Sender::has_room) {
            let Some(message) = self.master.poll(now) else { break };
            self.hand_on(message);
        }
    }

    fn hand_on(&self, message: (u8, Vec<u8>)) {
        if !self.sender.as_ref().is_some_and(|sender| sender.send(message)) {
            self.tally.lose();
        }
    }

    /// The version and the bound on what waits may change while it runs; the number of ports is that of its
    /// start, as in the kernel.
    fn follow_switches(&mut self, tunables: &Tunables) {
        let (now, wanted) = (*self.master.settings(), settings(&self.common.data, tunables));
        if now != wanted
            && let Err(error) = self.master.set(wanted)
        {
            tracing::error!("synchronisation: {error}");
        }
    }

    /// When there is something to send.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let due = self.master.next_deadline()?;
        let room = self.sender.as_ref().is_none_or(Sender::has_room);
        Some(if room { due } else { due.max(now + ROOM_AGAIN) })
    }

    /// Sends what waits, however short, and ends.
    pub(super) fn finish(mut self, now: Instant) {
        self.master.flush();
        while let Some(message) = self.master.poll(now) {
            self.hand_on(message);
        }
    }

    /// It with what it has counted.
    pub(super) fn data(&self, director: &Director) -> data::Daemon {
        let (counted, tally) = (self.master.counters(), &self.tally);
        let table = |rows: &[(&str, u64)]| -> BTreeMap<String, u64> {
            rows.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
        };
        let counters = data::DaemonCounters {
            messages: tally.messages(),
            bytes: tally.bytes(),
            entries: table(&[("announced", counted.offered), ("sent", counted.entries)]),
            refused: table(&[
                ("announcements-without-room", director.announcements_lost()),
                ("entries-in-full-queue", counted.lost_entries),
                ("messages-in-full-queue", counted.lost_messages),
                ("messages-not-sent", tally.lost()),
                ("entries-of-other-version", counted.unsayable),
            ]),
            last_ago_ms: tally.last_ago_ms(),
        };
        data::Daemon { counters, trouble: tally.trouble(), ..self.common.data.clone() }
    }
}

fn settings(daemon: &data::Daemon, tunables: &Tunables) -> Settings {
    Settings {
        syncid: daemon.sync_id,
        maxlen: daemon.max_len,
        // INVARIANT: at most 64, from the switch of the same name.
        ports: u8::try_from(daemon.ports).unwrap_or(1),
        version: if tunables.sync_version == 0 { Version::Zero } else { Version::One },
        queue_max: tunables.sync_qlen_max as usize,
    }
}
