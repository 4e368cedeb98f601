//! Connection synchronisation: the daemons between the network and the director.
//!
//! ```text
//!  director ─ announcement ─▶ master ─ message ─▶ thread ═▶ group
//!  director ◀─ entry ─ backup ◀─ message ─ thread ◀═ group
//! ```
//!
//! The threads wait for sockets; the loop does neither. After a burst it hands over what there is, takes a
//! bounded number of messages, and goes on.

mod backup;
mod master;
mod receiver;
mod sender;
mod socket;
mod tally;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use lvs_admin::diff::DaemonChange;
use lvs_admin::ipvsadm::{DAEMON_RUNS, DaemonRole, DaemonSpec, NO_DAEMON, NO_INTERFACE};
use lvs_control::data;
use lvs_core::command::{Command, SyncRoles, Tunables};
use lvs_core::director::Director;
use lvs_core::time::Instant;
use lvs_io_afpacket::{Interface, interfaces};
use lvs_sync::master::SettingsError;

use backup::BackupDaemon;
use master::MasterDaemon;
use socket::Link;

/// Wakes the loop from another thread.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Why a daemon does not start or stop. The first line is the kernel's text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    #[error("{DAEMON_RUNS}")]
    Runs,
    #[error("{NO_DAEMON}")]
    NotRunning,
    #[error(
        "{NO_INTERFACE}\n    there is no {name} here; name the interface with --mcast-interface: {known}"
    )]
    NoInterface { name: String, known: String },
    #[error(
        "Cannot assign requested address\n    {0} has no IPv4 address to send from: give it one, or name \
         an IPv6 group with --mcast-group"
    )]
    NoAddress(String),
    #[error(
        "{ports} ports from {first} on are too many; lower --mcast-port or net.ipv4.vs.sync_ports"
    )]
    Ports { first: u16, ports: u8 },
    #[error("cannot open the synchronisation's socket: {0}")]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// What every daemon has.
#[derive(Debug)]
struct Common {
    /// What was asked for and what is in force, without counters.
    data: data::Daemon,
    asked: DaemonSpec,
    /// `sync_sock_size`.
    buffer: u32,
    /// The interface as it was when the sockets were opened; absent while there are none.
    link: Option<Link>,
}

impl Common {
    /// Checks what was asked for against the interfaces that there are.
    fn new(
        spec: &DaemonSpec,
        tunables: &Tunables,
        interfaces: &[Interface],
    ) -> Result<(Common, Link), DaemonError> {
        let link = Link::find(&spec.interface, interfaces).ok_or_else(|| {
            let known: Vec<&str> = interfaces.iter().map(|i| i.name.as_str()).collect();
            DaemonError::NoInterface { name: spec.interface.clone(), known: known.join(", ") }
        })?;
        let ports = tunables.sync_ports;
        let data = data::Daemon::started(spec, link.mtu, ports.into());
        if data.port.checked_add(u16::from(ports).saturating_sub(1)).is_none() {
            return Err(DaemonError::Ports { first: data.port, ports });
        }
        let asked = spec.normalised();
        let common = Common { data, asked, buffer: tunables.sync_sock_size, link: None };
        Ok((common, link))
    }

    /// The interface if it is another than the sockets are at, or gone.
    fn moved(&self, interfaces: &[Interface]) -> Option<Option<Link>> {
        let link = Link::find(&self.data.interface, interfaces);
        (link != self.link).then_some(link)
    }

    /// For the log.
    fn say(&self, what: &str) {
        let data::Daemon { interface, group, port, ports, sync_id, .. } = &self.data;
        let role = self.asked.role;
        let ports = match ports {
            0 | 1 => format!("port {port}"),
            many => format!("ports {port} and {} more", many - 1),
        };
        tracing::info!(
            "synchronisation: {role} {what} on {interface}, group {group}, {ports}, syncid {sync_id}"
        );
    }
}

/// The daemons that run.
pub(super) struct Daemons {
    wake: Wake,
    master: Option<MasterDaemon>,
    backup: Option<BackupDaemon>,
    /// Threads that end daemons which were stopped.
    ending: Vec<JoinHandle<()>>,
    /// `sync_ports` when it was last looked at.
    ports: Option<u8>,
}

/// Daemons whose sockets are open, and what is to be stopped for them.
pub(super) struct Prepared {
    masters: Option<MasterDaemon>,
    backups: Option<BackupDaemon>,
    stopped: Vec<DaemonRole>,
}

impl Daemons {
    /// None yet. `wake` is called from other threads when something has come.
    pub(super) fn new(wake: Wake) -> Daemons {
        Daemons { wake, master: None, backup: None, ending: Vec::new(), ports: None }
    }

    /// Opens what changes need. Nothing that runs is touched.
    ///
    /// # Errors
    /// If any of it cannot be had.
    pub(super) fn prepare(
        &self,
        changes: &[DaemonChange],
        tunables: &Tunables,
    ) -> Result<Prepared, DaemonError> {
        let mut prepared = Prepared { masters: None, backups: None, stopped: Vec::new() };
        if changes.is_empty() {
            return Ok(prepared);
        }
        let interfaces = interfaces();
        for change in changes {
            let spec = match change {
                DaemonChange::Start(spec) | DaemonChange::Change(_, spec) => Some(spec),
                DaemonChange::Stop(_) => None,
            };
            if let DaemonChange::Change(before, _) | DaemonChange::Stop(before) = change {
                prepared.stopped.push(before.role);
            }
            let Some(spec) = spec else { continue };
            match spec.role {
                DaemonRole::Master => {
                    prepared.masters = Some(MasterDaemon::open(spec, tunables, &interfaces)?);
                }
                DaemonRole::Backup => {
                    let wake = self.wake.clone();
                    prepared.backups = Some(BackupDaemon::open(spec, tunables, &interfaces, wake)?);
                }
            }
        }
        Ok(prepared)
    }

    /// Makes the change that was prepared.
    pub(super) fn commit(&mut self, now: Instant, director: &mut Director, prepared: Prepared) {
        let Prepared { masters, backups, stopped } = prepared;
        if masters.is_none() && backups.is_none() && stopped.is_empty() {
            return;
        }
        for role in stopped {
            match role {
                DaemonRole::Master => {
                    if let Some(master) = self.master.take() {
                        master.common().say("stops");
                        self.end(move || master.finish(now));
                    }
                }
                DaemonRole::Backup => {
                    if let Some(backup) = self.backup.take() {
                        backup.common().say("stops");
                        self.end(move || drop(backup));
                    }
                }
            }
        }
        if let Some(master) = masters {
            master.common().say("starts");
            self.master = Some(master);
        }
        if let Some(backup) = backups {
            backup.common().say("starts");
            self.backup = Some(backup);
        }
        let roles = SyncRoles { master: self.master.is_some(), backup: self.backup.is_some() };
        if let Err(error) = director.apply(now, Command::SetSyncRoles(roles)) {
            tracing::error!("synchronisation: {error}");
        }
    }

    /// `--start-daemon`.
    ///
    /// # Errors
    /// If one of its role runs, or [`prepare`](Self::prepare) fails.
    pub(super) fn start(
        &mut self,
        now: Instant,
        director: &mut Director,
        spec: &DaemonSpec,
    ) -> Result<(), DaemonError> {
        if self.asked().iter().any(|running| running.role == spec.role) {
            return Err(DaemonError::Runs);
        }
        let prepared = self.prepare(&[DaemonChange::Start(spec.clone())], director.tunables())?;
        self.commit(now, director, prepared);
        Ok(())
    }

    /// `--stop-daemon`.
    ///
    /// # Errors
    /// If none of this role runs.
    pub(super) fn stop(
        &mut self,
        now: Instant,
        director: &mut Director,
        role: DaemonRole,
    ) -> Result<(), DaemonError> {
        if self.asked().iter().all(|running| running.role != role) {
            return Err(DaemonError::NotRunning);
        }
        let prepared = Prepared { masters: None, backups: None, stopped: vec![role] };
        self.commit(now, director, prepared);
        Ok(())
    }

    /// What was asked for of those that run, the master first.
    pub(super) fn asked(&self) -> Vec<DaemonSpec> {
        self.commons().map(|common| common.asked.clone()).collect()
    }

    /// Those that run with what they have counted, the master first.
    pub(super) fn list(&self, director: &Director) -> Vec<data::Daemon> {
        let master = self.master.as_ref().map(|master| master.data(director));
        master.into_iter().chain(self.backup.as_ref().map(BackupDaemon::data)).collect()
    }

    /// Hands over what the director announces, and takes some of what has come. Returns whether to come
    /// back at once.
    pub(super) fn serve(&mut self, now: Instant, director: &mut Director) -> bool {
        if let Some(master) = &mut self.master {
            master.announce(now, director);
        }
        self.backup.as_mut().is_some_and(|backup| backup.take(now, director))
    }

    /// When there is something to do without a packet or message.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.master.as_ref()?.due(now)
    }

    /// Follows the interfaces: sockets are opened anew where one was down, gone or has another address.
    pub(super) fn follow_interfaces(&mut self) {
        self.ending.retain(|thread| !thread.is_finished());
        if self.master.is_none() && self.backup.is_none() {
            return;
        }
        let interfaces = interfaces();
        if let Some(master) = &mut self.master {
            master.follow(&interfaces);
        }
        if let Some(backup) = &mut self.backup {
            backup.follow(&interfaces);
        }
    }

    /// Says it once when `sync_ports` is set while daemons run: as in the kernel they keep their ports.
    pub(super) fn compare_ports(&mut self, tunables: &Tunables) {
        if self.ports == Some(tunables.sync_ports) {
            return;
        }
        self.ports = Some(tunables.sync_ports);
        let wanted = u16::from(tunables.sync_ports);
        for common in self.commons().filter(|common| common.data.ports != wanted) {
            tracing::warn!(
                "synchronisation: sync_ports is {wanted}, and the {} that runs has {}; stop and start it",
                common.asked.role,
                common.data.ports
            );
        }
    }

    fn commons(&self) -> impl Iterator<Item = &Common> {
        let master = self.master.as_ref().map(MasterDaemon::common);
        master.into_iter().chain(self.backup.as_ref().map(BackupDaemon::common))
    }

    /// Sends what waits and ends all.
    pub(super) fn finish(mut self, now: Instant, director: &mut Director) {
        if let Some(master) = &mut self.master {
            master.announce(now, director);
        }
        if let Some(master) = self.master.take() {
            master.finish(now);
        }
        drop(self.backup.take());
        for thread in self.ending.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the synchronisation failed");
            }
        }
    }

    /// Ends a daemon on a thread of its own, for that may take as long as a message needs to leave.
    fn end(&mut self, ending: impl FnOnce() + Send + 'static) {
        // Without a thread the closure is dropped here, and what it holds ends with it.
        match std::thread::Builder::new().name("sync-end".to_owned()).spawn(ending) {
            Ok(thread) => self.ending.push(thread),
            Err(error) => tracing::warn!("no thread to end a synchronisation daemon: {error}"),
        }
    }
}
