//! Synchronisation daemons of a replay: what `lvs-sync` leaves to its caller, without sockets.

use lvs_admin::ipvsadm::{
    DAEMON_RUNS, DaemonRole, DaemonSpec, MCAST_PORT_DEFAULT, NO_DAEMON, NO_INTERFACE,
};
use lvs_core::command::{Command, SyncRoles, Tunables};
use lvs_core::director::Director;
use lvs_core::time::Instant;
use lvs_sync::backup::{self, Backup};
use lvs_sync::master::{self, Master};
use lvs_sync::message::Version;

use crate::net::Network;
use crate::scenario::Side;

/// The MTU of the loopback interface, as Linux sets it.
const LOOPBACK_MTU: u32 = 65_536;

/// The daemons of a replay's director.
#[derive(Debug)]
pub struct Daemons {
    /// Names and MTUs.
    interfaces: [(&'static str, u32); 3],
    master: Option<Running<Master>>,
    backup: Option<Running<Backup>>,
    /// What the master sent, and to which port.
    sent: Vec<(u16, Vec<u8>)>,
}

/// A daemon that runs.
#[derive(Debug)]
struct Running<T> {
    asked: DaemonSpec,
    mtu: u32,
    /// How many ports it has: the number is that of the moment when it was started.
    ports: u8,
    side: T,
}

impl<T> Running<T> {
    fn port(&self) -> u16 {
        self.asked.port.unwrap_or(MCAST_PORT_DEFAULT)
    }
}

impl Daemons {
    pub(super) fn new(network: &Network) -> Daemons {
        let side = |side: Side| (side.interface(), network.mtu(side));
        let interfaces = [("lo", LOOPBACK_MTU), side(Side::Clients), side(Side::Servers)];
        Daemons { interfaces, master: None, backup: None, sent: Vec::new() }
    }

    /// `--start-daemon`.
    ///
    /// # Errors
    /// The kernel's words if there is no such interface or a daemon of this role runs.
    pub fn start(
        &mut self,
        now: Instant,
        director: &mut Director,
        asked: &DaemonSpec,
    ) -> Result<(), &'static str> {
        let known = self.interfaces.iter().find(|(name, _)| *name == asked.interface);
        let &(_, mtu) = known.ok_or(NO_INTERFACE)?;
        let runs = match asked.role {
            DaemonRole::Master => self.master.is_some(),
            DaemonRole::Backup => self.backup.is_some(),
        };
        if runs {
            return Err(DAEMON_RUNS);
        }
        let spec = asked.in_force(mtu);
        let (syncid, ports) = (spec.sync_id.unwrap_or(0), director.tunables().sync_ports);
        let asked = asked.clone();
        match spec.role {
            DaemonRole::Master => {
                let maxlen = spec.max_len.unwrap_or(u16::MAX);
                let settings = master_settings(syncid, maxlen, ports, director.tunables());
                // The numbers were checked where they were set.
                let side = Master::new(settings).map_err(|_| "Invalid argument")?;
                self.master = Some(Running { asked, mtu, ports, side });
            }
            DaemonRole::Backup => {
                let side = Backup::new(backup::Settings { syncid });
                self.backup = Some(Running { asked, mtu, ports, side });
            }
        }
        self.tell_roles(now, director)
    }

    /// `--stop-daemon`. What the master had not sent is lost.
    ///
    /// # Errors
    /// The kernel's words if no daemon of this role runs.
    pub fn stop(
        &mut self,
        now: Instant,
        director: &mut Director,
        role: DaemonRole,
    ) -> Result<(), &'static str> {
        let ran = match role {
            DaemonRole::Master => self.master.take().is_some(),
            DaemonRole::Backup => self.backup.take().is_some(),
        };
        if ran { self.tell_roles(now, director) } else { Err(NO_DAEMON) }
    }

    /// The daemons that run, as they were asked for, with their interface's MTU and their number of ports.
    pub fn running(&self) -> Vec<(&DaemonSpec, u32, u8)> {
        let master = self.master.iter().map(|run| (&run.asked, run.mtu, run.ports));
        let backup = self.backup.iter().map(|run| (&run.asked, run.mtu, run.ports));
        master.chain(backup).collect()
    }

    fn tell_roles(&self, now: Instant, director: &mut Director) -> Result<(), &'static str> {
        let roles = SyncRoles { master: self.master.is_some(), backup: self.backup.is_some() };
        director.apply(now, Command::SetSyncRoles(roles)).map_err(|_| "Invalid argument")
    }

    /// Takes what the director announces, and sends what is due.
    pub(super) fn turn(&mut self, now: Instant, director: &mut Director) {
        let Some(run) = &mut self.master else { return };
        let port = run.port();
        while let Some(announcement) = director.poll_announcement() {
            run.side.offer(now, &announcement);
        }
        while let Some((offset, datagram)) = run.side.poll(now) {
            self.sent.push((port + u16::from(offset), datagram));
        }
    }

    /// When the master sends next.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.master.as_ref()?.side.next_deadline()
    }

    /// A datagram comes in at a port.
    pub(super) fn hear(&mut self, now: Instant, director: &mut Director, port: u16, bytes: &[u8]) {
        let Some(run) = &mut self.backup else { return };
        let offset = port.checked_sub(run.port());
        if offset.is_some_and(|offset| offset < u16::from(run.ports)) {
            // What is wrong with it is counted by the backup, as a daemon's own record shows nothing.
            let _ = run.side.take(now, director, bytes);
        }
    }

    /// Switches were set: the version counts at once, the number of ports from the next start on.
    pub(super) fn review(&mut self, tunables: &Tunables) {
        if let Some(run) = &mut self.master {
            let now = *run.side.settings();
            let settings = master_settings(now.syncid, now.maxlen, now.ports, tunables);
            if settings != now {
                // Only the version and the queue differ, and they were checked where they were set.
                let _ = run.side.set(settings);
            }
        }
    }

    /// What was sent since the last call.
    pub(super) fn take_sent(&mut self) -> Vec<(u16, Vec<u8>)> {
        std::mem::take(&mut self.sent)
    }
}

fn master_settings(syncid: u8, maxlen: u16, ports: u8, tunables: &Tunables) -> master::Settings {
    let version = if tunables.sync_version == 0 { Version::Zero } else { Version::One };
    let queue_max = tunables.sync_qlen_max as usize;
    master::Settings { syncid, maxlen, ports, version, queue_max }
}
