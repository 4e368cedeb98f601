//! Synchronisation daemons.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lvs_admin::ipvsadm::{
    self, DaemonRole, MCAST_GROUP_DEFAULT, MCAST_PORT_DEFAULT, MCAST_TTL_DEFAULT,
};
use serde::{Deserialize, Serialize};

use super::DataError;

/// The longest name of an interface, in bytes: IFNAMSIZ less its NUL.
const INTERFACE_MAX: usize = 15;

/// A side of connection synchronisation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Tells.
    Master,
    /// Listens.
    Backup,
}

impl From<DaemonRole> for Role {
    fn from(role: DaemonRole) -> Role {
        match role {
            DaemonRole::Master => Role::Master,
            DaemonRole::Backup => Role::Backup,
        }
    }
}

impl From<Role> for DaemonRole {
    fn from(role: Role) -> DaemonRole {
        match role {
            Role::Master => DaemonRole::Master,
            Role::Backup => DaemonRole::Backup,
        }
    }
}

/// A daemon to be started.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DaemonSpec {
    /// Its side.
    pub role: Role,
    /// Where it speaks or listens.
    pub interface: String,
    /// The number of its messages; a backup with 0 takes all.
    #[serde(default)]
    pub sync_id: u8,
    /// The longest message, in bytes; absent for what fits the interface.
    #[serde(default)]
    pub max_len: Option<u16>,
    /// The group; absent for 224.0.0.81.
    #[serde(default)]
    pub group: Option<IpAddr>,
    /// The first UDP port; absent for 8848.
    #[serde(default)]
    pub port: Option<u16>,
    /// The hops of its messages; absent for 1.
    #[serde(default)]
    pub ttl: Option<u8>,
}

impl From<&ipvsadm::DaemonSpec> for DaemonSpec {
    fn from(spec: &ipvsadm::DaemonSpec) -> DaemonSpec {
        DaemonSpec {
            role: spec.role.into(),
            interface: spec.interface.clone(),
            sync_id: spec.sync_id.unwrap_or(0),
            max_len: spec.max_len,
            group: spec.group,
            port: spec.port,
            ttl: spec.ttl,
        }
    }
}

impl TryFrom<DaemonSpec> for ipvsadm::DaemonSpec {
    type Error = DataError;

    /// Fails where ipvsadm's command line would have been refused.
    fn try_from(data: DaemonSpec) -> Result<ipvsadm::DaemonSpec, DataError> {
        let wrong = |what: String| Err(DataError(what));
        if data.group.is_some_and(|group| !group.is_multicast()) {
            return wrong("the group of a daemon is no multicast address".to_owned());
        }
        if data.port == Some(0) || data.ttl == Some(0) || data.max_len == Some(0) {
            return wrong("port, ttl and max_len of a daemon are not 0".to_owned());
        }
        if data.max_len.is_some_and(|len| len > 65_507) {
            return wrong("max_len of a daemon is at most 65507".to_owned());
        }
        if data.interface.is_empty() || data.interface.len() > INTERFACE_MAX {
            return wrong(ipvsadm::NO_INTERFACE.to_owned());
        }
        Ok(ipvsadm::DaemonSpec {
            role: data.role.into(),
            interface: data.interface,
            sync_id: Some(data.sync_id),
            max_len: data.max_len,
            group: data.group,
            port: data.port,
            ttl: data.ttl,
        })
    }
}

/// A daemon that runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Daemon {
    /// Its side.
    pub role: Role,
    /// Where it speaks or listens.
    pub interface: String,
    /// The number of its messages; a backup with 0 takes all.
    pub sync_id: u8,
    /// The longest message, in bytes.
    pub max_len: u16,
    /// Whether that was asked for; else it follows from the interface.
    pub max_len_given: bool,
    /// The group.
    pub group: IpAddr,
    /// The first UDP port.
    pub port: u16,
    /// How many ports there are from the first one on (`sync_ports`).
    pub ports: u16,
    /// The hops of its messages.
    pub ttl: u8,
    /// What is in its way now, in words; absent while it works.
    pub trouble: Option<String>,
    /// What it has done since it was started.
    pub counters: DaemonCounters,
}

/// What a daemon has done.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DaemonCounters {
    /// Messages that were sent, or came.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries that were announced; or of a backup, by what became of them.
    pub entries: BTreeMap<String, u64>,
    /// What was not sent, or not taken, by reason. Every reason is here, also those that never came up.
    pub refused: BTreeMap<String, u64>,
    /// Since the last message, sent or come; null before the first.
    pub last_ago_ms: Option<u64>,
}

impl Daemon {
    /// What was asked for, with the defaults written out.
    pub fn asked(&self) -> ipvsadm::DaemonSpec {
        ipvsadm::DaemonSpec {
            max_len: self.max_len_given.then_some(self.max_len),
            ..self.in_force()
        }
    }

    /// What is in force, as `-L --daemon` lists it.
    pub fn in_force(&self) -> ipvsadm::DaemonSpec {
        ipvsadm::DaemonSpec {
            role: self.role.into(),
            interface: self.interface.clone(),
            sync_id: Some(self.sync_id),
            max_len: Some(self.max_len),
            group: Some(self.group),
            port: Some(self.port),
            ttl: Some(self.ttl),
        }
    }

    /// A daemon that has just been started: `asked` is what the operator said, `mtu` the interface's.
    pub fn started(asked: &ipvsadm::DaemonSpec, mtu: u32, ports: u16) -> Daemon {
        let spec = asked.in_force(mtu);
        Daemon {
            role: spec.role.into(),
            interface: spec.interface,
            sync_id: spec.sync_id.unwrap_or(0),
            max_len: spec.max_len.unwrap_or(u16::MAX),
            max_len_given: asked.max_len.is_some(),
            group: spec.group.unwrap_or(MCAST_GROUP_DEFAULT),
            port: spec.port.unwrap_or(MCAST_PORT_DEFAULT),
            ports,
            ttl: spec.ttl.unwrap_or(MCAST_TTL_DEFAULT),
            trouble: None,
            counters: DaemonCounters::default(),
        }
    }
}
