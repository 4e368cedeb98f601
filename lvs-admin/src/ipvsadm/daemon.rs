//! Synchronisation daemons as the command line describes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// The interface of a daemon if nobody says otherwise.
pub const MCAST_INTERFACE_DEFAULT: &str = "eth0";
/// The group of a daemon if nobody says otherwise.
pub const MCAST_GROUP_DEFAULT: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
/// The UDP port of a daemon if nobody says otherwise.
pub const MCAST_PORT_DEFAULT: u16 = 8848;
/// The hops of a daemon's messages if nobody says otherwise.
pub const MCAST_TTL_DEFAULT: u8 = 1;

/// The kernel refuses a second daemon of a role with this text.
pub const DAEMON_RUNS: &str = "Daemon has already run";
/// The kernel refuses to stop a daemon that does not run with this text.
pub const NO_DAEMON: &str = "No daemon is running";
/// The kernel refuses an interface that is not there with this text.
pub const NO_INTERFACE: &str = "No such device";

/// A side of connection synchronisation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DaemonRole {
    /// Tells.
    Master,
    /// Listens.
    Backup,
}

impl DaemonRole {
    /// Both, in the order of listings.
    pub const ALL: [DaemonRole; 2] = [DaemonRole::Master, DaemonRole::Backup];

    /// The word of `--start-daemon`.
    pub const fn name(self) -> &'static str {
        match self {
            DaemonRole::Master => "master",
            DaemonRole::Backup => "backup",
        }
    }
}

impl fmt::Display for DaemonRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A synchronisation daemon as `--start-daemon` describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DaemonSpec {
    /// Its side.
    pub role: DaemonRole,
    /// `--mcast-interface`.
    pub interface: String,
    /// `--syncid`.
    pub sync_id: Option<u8>,
    /// `--sync-maxlen`, in bytes.
    pub max_len: Option<u16>,
    /// `--mcast-group`.
    pub group: Option<IpAddr>,
    /// `--mcast-port`.
    pub port: Option<u16>,
    /// `--mcast-ttl`.
    pub ttl: Option<u8>,
}

/// Bytes of the headers of a message over IPv4: 20 of IP, 8 of UDP.
const HEADERS_V4: u32 = 28;
/// Bytes of the headers of a message over IPv6: 40 of IP, 8 of UDP.
const HEADERS_V6: u32 = 48;

impl DaemonSpec {
    /// A daemon with the defaults of the command line.
    pub fn new(role: DaemonRole) -> DaemonSpec {
        DaemonSpec {
            role,
            interface: MCAST_INTERFACE_DEFAULT.to_owned(),
            sync_id: None,
            max_len: None,
            group: None,
            port: None,
            ttl: None,
        }
    }

    /// The same with the defaults written out, so that two that mean the same are equal. The length stays
    /// open where none was given: it follows from the interface.
    pub fn normalised(&self) -> DaemonSpec {
        DaemonSpec {
            sync_id: Some(self.sync_id.unwrap_or(0)),
            group: Some(self.group.unwrap_or(MCAST_GROUP_DEFAULT)),
            port: Some(self.port.unwrap_or(MCAST_PORT_DEFAULT)),
            ttl: Some(self.ttl.unwrap_or(MCAST_TTL_DEFAULT)),
            ..self.clone()
        }
    }

    /// What is in force at an interface with this MTU, as the kernel chooses it: a master's messages fit
    /// into packets of 1500 bytes, a backup takes what the interface brings, at least that and never less
    /// than 1024 bytes.
    ///
    /// ```
    /// use lvs_admin::ipvsadm::{DaemonRole, DaemonSpec};
    /// let spec = DaemonSpec::new(DaemonRole::Master).in_force(9000);
    /// assert_eq!((spec.max_len, spec.port, spec.ttl), (Some(1472), Some(8848), Some(1)));
    /// assert_eq!(DaemonSpec::new(DaemonRole::Backup).in_force(9000).max_len, Some(8972));
    /// ```
    pub fn in_force(&self, mtu: u32) -> DaemonSpec {
        let spec = self.normalised();
        let headers = match spec.group {
            Some(IpAddr::V6(_)) => HEADERS_V6,
            _ => HEADERS_V4,
        };
        let (least, mtu) = match spec.role {
            DaemonRole::Master => (1, 1500),
            DaemonRole::Backup => (1024, mtu.clamp(1500, 65_535)),
        };
        let max_len = spec.max_len.map_or(mtu - headers, u32::from).clamp(least, 65_535 - headers);
        // INVARIANT: the upper bound above is below 65,536.
        let max_len = u16::try_from(max_len).unwrap_or(u16::MAX);
        DaemonSpec { max_len: Some(max_len), ..spec }
    }

    /// What stands behind the role: the options that say all that is not the default.
    ///
    /// ```
    /// use lvs_admin::ipvsadm::{DaemonRole, DaemonSpec};
    /// let spec = DaemonSpec { sync_id: Some(5), ..DaemonSpec::new(DaemonRole::Master) };
    /// assert_eq!(spec.options(), "--mcast-interface eth0 --syncid 5");
    /// ```
    pub fn options(&self) -> String {
        let spec = self.normalised();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@');
        let quote = if spec.interface.chars().all(plain) { "" } else { "'" };
        let mut text = format!("--mcast-interface {quote}{}{quote}", spec.interface);
        let mut option = |name: &str, value: Option<String>, default: &str| {
            if let Some(value) = value.filter(|value| value != default) {
                text += &format!(" --{name} {value}");
            }
        };
        option("syncid", spec.sync_id.map(|id| id.to_string()), "0");
        option("sync-maxlen", spec.max_len.map(|len| len.to_string()), "");
        let group = MCAST_GROUP_DEFAULT.to_string();
        option("mcast-group", spec.group.map(|group| group.to_string()), &group);
        option("mcast-port", spec.port.map(|p| p.to_string()), &MCAST_PORT_DEFAULT.to_string());
        option("mcast-ttl", spec.ttl.map(|ttl| ttl.to_string()), &MCAST_TTL_DEFAULT.to_string());
        text
    }
}

impl fmt::Display for DaemonSpec {
    /// The command that starts it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--start-daemon {} {}", self.role, self.options())
    }
}
