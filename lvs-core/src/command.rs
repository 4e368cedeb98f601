//! Commands: everything an operator can change, as data.
//!
//! A front end (the rules file, a control socket, an embedding program) builds a [`Command`] and gives it
//! to [`Director::apply`](crate::director::Director::apply). The semantics are those of `ipvsadm`: `Edit…`
//! sets everything, what is not given becomes the default (rule L6).
//!
//! An operator's `-A -t 192.0.2.80:80 -s wrr -p 600` as data; [the manual](crate::manual::feeding) has a whole
//! configuration.
//!
//! ```
//! use lvs_core::command::{Command, Persistence, ServiceKey, ServiceSpec};
//! use lvs_core::flow::{Endpoint, Protocol};
//! use lvs_core::time::Duration;
//!
//! let virt = Endpoint::new("192.0.2.80".parse()?, 80);
//! let mut spec = ServiceSpec::new(ServiceKey::Address { protocol: Protocol::TCP, virt });
//! spec.scheduler = "wrr".into();
//! let timeout = Duration::from_secs(600);
//! spec.persistence = Some(Persistence { timeout, granularity: spec.granularity });
//! let command = Command::AddService(spec);
//! # Ok::<(), core::net::AddrParseError>(())
//! ```

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::addr::{Family, Granularity, MacAddr, Prefix};
use crate::flow::{Endpoint, Protocol};
use crate::ids::{FwMark, L4Port, PortId};
use crate::time::Duration;

/// What names a virtual service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ServiceKey {
    /// By protocol, address and port (`-t`, `-u`, `--sctp-service`); port 0 is every port.
    Address {
        /// TCP, UDP or SCTP.
        protocol: Protocol,
        /// VIP and port.
        virt: Endpoint,
    },
    /// By firewall mark (`-f`, with `-6` for IPv6).
    Mark {
        /// The mark, not 0.
        mark: FwMark,
        /// The family of the packets it takes.
        family: Family,
    },
}

impl ServiceKey {
    /// The address family of the service.
    pub const fn family(&self) -> Family {
        match self {
            ServiceKey::Address { virt, .. } => Family::of(virt.addr),
            ServiceKey::Mark { family, .. } => *family,
        }
    }

    /// The service's port; 0 for a mark.
    pub const fn port(&self) -> L4Port {
        match self {
            ServiceKey::Address { virt, .. } => virt.port,
            ServiceKey::Mark { .. } => L4Port::ANY,
        }
    }

    /// The mark; 0 for an address.
    pub const fn mark(&self) -> FwMark {
        match self {
            ServiceKey::Address { .. } => FwMark::NONE,
            ServiceKey::Mark { mark, .. } => *mark,
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceKey::Address { protocol, virt } => write!(f, "{protocol} {virt}"),
            ServiceKey::Mark { mark, family: Family::V4 } => write!(f, "FWM {}", mark.0),
            ServiceKey::Mark { mark, family: Family::V6 } => write!(f, "FWM {} IPv6", mark.0),
        }
    }
}

/// Persistence of a service (`-p`, `-M`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Persistence {
    /// How long a template lives after the client's last new connection.
    pub timeout: Duration,
    /// Which clients go together.
    pub granularity: Granularity,
}

/// The timeout of `-p` without a value: 360 s (rule R11).
pub const PERSISTENCE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(360);

/// Flags of the schedulers sh and mh (`-b`); others ignore them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SchedulerFlags {
    /// Flag 1: `sh-fallback`, `mh-fallback`.
    pub flag_1: bool,
    /// Flag 2: `sh-port`, `mh-port`.
    pub flag_2: bool,
    /// Flag 3, which no scheduler uses.
    pub flag_3: bool,
}

/// A virtual service (`-A`, `-E`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceSpec {
    /// What names it.
    pub key: ServiceKey,
    /// The scheduler's name, one of [`SCHEDULERS`](crate::sched::SCHEDULERS) or registered by the
    /// embedding program.
    pub scheduler: Box<str>,
    /// `-b`.
    pub flags: SchedulerFlags,
    /// `-p`; `None` for a service without persistence.
    pub persistence: Option<Persistence>,
    /// The granularity as given with `-M`; kept for listings also where `-p` is absent (rule R12).
    pub granularity: Granularity,
    /// `--pe`, the name of a [persistence engine](crate::engine); without `-p` it makes no templates.
    pub engine: Option<Box<str>>,
    /// `-o`, one-packet scheduling.
    pub one_packet: bool,
}

impl ServiceSpec {
    /// A service as `ipvsadm -A` makes it when only its name is given: wlc, no persistence.
    pub fn new(key: ServiceKey) -> ServiceSpec {
        ServiceSpec {
            key,
            scheduler: "wlc".into(),
            flags: SchedulerFlags::default(),
            persistence: None,
            granularity: Granularity::single(key.family()),
            engine: None,
            one_packet: false,
        }
    }
}

/// How packets reach a real server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ForwardingMethod {
    /// `-m`: the destination address is rewritten, answers come back through the director.
    Masquerade,
    /// `-i`: inside a tunnel.
    Tunnel(Tunnel),
    /// `-g`: only the destination MAC changes.
    DirectRoute,
}

impl ForwardingMethod {
    /// The word of the listings: `Masq`, `Tunnel`, `Route`.
    pub const fn word(self) -> &'static str {
        match self {
            ForwardingMethod::Masquerade => "Masq",
            ForwardingMethod::Tunnel(_) => "Tunnel",
            ForwardingMethod::DirectRoute => "Route",
        }
    }
}

/// The kind of tunnel (`--tun-type` and its options).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tunnel {
    /// IP in IP.
    IpIp,
    /// Generic UDP encapsulation to `port`.
    Gue {
        /// The real server's UDP port.
        port: L4Port,
        /// Which checksum the outer header carries.
        checksum: TunnelChecksum,
    },
    /// GRE; remote checksum is refused for it.
    Gre {
        /// Which checksum the outer header carries.
        checksum: TunnelChecksum,
    },
}

/// `--tun-nocsum`, `--tun-csum`, `--tun-remcsum`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TunnelChecksum {
    /// None.
    #[default]
    None,
    /// A checksum.
    Checksum,
    /// A remote checksum.
    Remote,
}

/// A real server of one service (`-a`, `-e`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DestinationSpec {
    /// Address and port. With DR and TUN an address service's port takes the place of this one
    /// (rule L9).
    pub addr: Endpoint,
    /// `-g`, `-i` or `-m`.
    pub method: ForwardingMethod,
    /// `-w`; 0 quiesces.
    pub weight: u32,
    /// `-x`: connections at which the server counts as full; 0 is no limit.
    pub upper_threshold: u32,
    /// `-y`: connections below which it opens again; 0 is three quarters of the upper one.
    pub lower_threshold: u32,
}

impl DestinationSpec {
    /// A real server as `ipvsadm -a` makes it when only its address is given: DR, weight 1.
    pub const fn new(addr: Endpoint) -> DestinationSpec {
        DestinationSpec {
            addr,
            method: ForwardingMethod::DirectRoute,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
        }
    }
}

/// The three timeouts of `--set`; `None` keeps the present one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TimeoutsSpec {
    /// TCP, established.
    pub tcp: Option<Duration>,
    /// TCP after FIN.
    pub tcp_fin: Option<Duration>,
    /// UDP.
    pub udp: Option<Duration>,
}

/// A rule that marks packets, as `iptables -t mangle -A PREROUTING … -j MARK --set-mark` does. All rules
/// are tried in order and the last that matches wins, because MARK does not end the walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MarkRule {
    /// The family it applies to (`iptables` or `ip6tables`).
    pub family: Family,
    /// `-s`: the client's address.
    pub source: Option<Prefix>,
    /// `-d`: the virtual address.
    pub destination: Option<Prefix>,
    /// `-p`; `None` is every protocol.
    pub protocol: Option<Protocol>,
    /// `--sport`: first and last port.
    pub source_ports: Option<(L4Port, L4Port)>,
    /// `--dport`: first and last port.
    pub destination_ports: Option<(L4Port, L4Port)>,
    /// `-i`: the port the packet came in by.
    pub port: Option<PortId>,
    /// The mark to set.
    pub mark: FwMark,
}

/// One of the director's ports, as the outside world sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortSpec {
    /// The port.
    pub id: PortId,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// The longest IP packet it carries, in bytes.
    pub mtu: u32,
    /// Its addresses, each with the length of its subnet. They become local, and their subnets routes.
    /// The first of each family is the one it asks neighbours from.
    pub addresses: Vec<Prefix>,
}

/// A route to real servers that are not on a port's own subnet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteSpec {
    /// The addresses it leads to; the longest prefix wins.
    pub prefix: Prefix,
    /// The port it leads out of; `None` says that nothing leads there, as `ip route add unreachable`.
    pub port: Option<PortId>,
    /// The gateway; `None` where the addresses are on the link.
    pub via: Option<IpAddr>,
}

/// A `net.ipv4.vs.*` switch that the data path obeys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunables {
    /// Schedule anew a SYN that meets an ended connection (rule C5): 0 never, 1 in TIME_WAIT and CLOSE,
    /// bit 2 also in FIN_WAIT.
    pub conn_reuse_mode: u8,
    /// Packets and connections of deleted servers end at once (rules L2, L3, C6).
    pub expire_nodest_conn: bool,
    /// Templates of quiesced servers are not used (rule R8).
    pub expire_quiescent_template: bool,
    /// Open a TCP connection for any packet but RST (rule P2).
    pub sloppy_tcp: bool,
    /// Open an SCTP association for any packet but ABORT.
    pub sloppy_sctp: bool,
    /// Send ICMP "too big" and copy DF into tunnels (rule F4).
    pub pmtu_disc: bool,
    /// Open a connection also for an ICMP error that quotes an answer of the service (rule I5).
    pub schedule_icmp: bool,
    /// Where no real server is to be had, send a marked packet on to its own destination (rule P11).
    pub cache_bypass: bool,
    /// Level of the defence that makes SYNs wait in SYNACK (rule C9): 0 never, 3 always; at 1 and 2,
    /// between which the director moves by itself, while memory is short.
    pub secure_tcp: u8,
    /// Level of the defence that ends probable entries of a flood, the same.
    pub drop_entry: u8,
    /// Level of the defence that drops packets which would open a connection, the same.
    pub drop_packet: u8,
    /// At level 3 of `drop_packet` one packet of so many is dropped.
    pub am_droprate: u32,
    /// Which kernel is followed where kernels differ: 0 Linux 6.1, whose records are this project's
    /// reference; 1 Linux 6.12.117 and later, in which lc, wlc, lblc and lblcr count an active connection
    /// as 257 inactive ones, not 256, and an edit of thresholds opens or closes a server at once, where
    /// otherwise its next connection does (rule S14).
    pub compat: u8,
    /// Memory is short while fewer places of the connection table are free, of which at most half count.
    /// (The kernel counts free pages of the machine here.)
    pub amemthresh: u32,
    /// Tell a masqueraded real server by port unreachable that its packet belongs to no connection
    /// (rule F10).
    pub nat_icmp_send: bool,
    /// Seconds after which the scheduler lblc forgets a destination that nobody asks for; it looks every half
    /// hour.
    pub lblc_expiration: u32,
    /// The same of lblcr; and after so many seconds without a change a destination's set of servers loses
    /// the most loaded one.
    pub lblcr_expiration: u32,
    /// Rates are estimated, and listed counters go on (rule T5).
    pub run_estimation: bool,
    /// While the director is a backup it schedules nothing and leaves all packets to its host: for directors
    /// that are real servers of each other.
    pub backup_only: bool,
    /// Of persistent services announce templates alone.
    pub sync_persist_mode: bool,
    /// Packets of a connection after which it is announced, and again at each [`sync_period`](Self::sync_period)
    /// after that.
    pub sync_threshold: u32,
    /// Packets between two announcements of a connection; 0 announces it once. The kernel has it as the
    /// second number of its `sync_threshold`.
    pub sync_period: u32,
    /// Seconds by which a connection's end must have moved since its last announcement for the next one; 0
    /// does not ask.
    pub sync_refresh_period: u32,
    /// How often an announcement that this holds back is made all the same, an eighth of it apart: 0 to 3.
    pub sync_retries: u8,
    /// Seconds in which a master announces everything it has once, evenly, whether or not packets come: so a
    /// backup that comes late or missed messages is complete after that. 0 never does, as the kernel.
    pub sync_sweep_period: u32,
    /// The protocol that a master speaks: 0 or 1. A backup understands both.
    pub sync_version: u8,
    /// Ports that a master sends to and a backup listens at: a power of two, at most 64.
    pub sync_ports: u8,
    /// Messages that may wait to be sent by each port of a master; of more the latest are lost.
    pub sync_qlen_max: u32,
    /// Bytes for datagrams in each socket's own queue; 0 leaves it to the system.
    pub sync_sock_size: u32,
}

impl Default for Tunables {
    /// The kernel's defaults (rule A7).
    fn default() -> Self {
        Tunables {
            conn_reuse_mode: 1,
            expire_nodest_conn: false,
            expire_quiescent_template: false,
            sloppy_tcp: false,
            sloppy_sctp: false,
            pmtu_disc: true,
            schedule_icmp: false,
            cache_bypass: false,
            secure_tcp: 0,
            drop_entry: 0,
            drop_packet: 0,
            am_droprate: 10,
            amemthresh: 1024,
            compat: 0,
            nat_icmp_send: false,
            lblc_expiration: 24 * 3600,
            lblcr_expiration: 24 * 3600,
            run_estimation: true,
            backup_only: false,
            sync_persist_mode: false,
            sync_threshold: 3,
            sync_period: 50,
            sync_refresh_period: 0,
            sync_retries: 0,
            sync_sweep_period: 0,
            sync_version: 1,
            sync_ports: 1,
            // The kernel's depends on the machine's memory: a 32nd of its pages. This is that of 1 GB.
            sync_qlen_max: 8192,
            sync_sock_size: 0,
        }
    }
}

/// The director's part in connection synchronisation; it may have both.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SyncRoles {
    /// It announces its connections and templates.
    pub master: bool,
    /// It takes what another one announces; what this changes is `backup_only` alone.
    pub backup: bool,
}

/// Pacing of the ICMP errors that the director originates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpPacing {
    /// Whether errors are paced at all.
    pub enabled: bool,
    /// Between two errors to one client once its burst is used up (`icmp_ratelimit`, 1 s).
    pub interval: Duration,
    /// Errors a second to all clients (`icmp_msgs_per_sec`, 1000).
    pub per_second: u32,
    /// Errors at once to all clients (`icmp_msgs_burst`, 50).
    pub burst: u32,
}

impl Default for IcmpPacing {
    fn default() -> Self {
        let interval = Duration::from_secs(1);
        IcmpPacing { enabled: true, interval, per_second: 1000, burst: 50 }
    }
}

/// How the director deals with its neighbours of its own accord.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighborhood {
    /// Ask for a real server's address when it is added, before its first client.
    pub resolve_ahead: bool,
    /// How often to ask who else answers for each virtual address; `None` never asks.
    pub probe_virtual: Option<Duration>,
}

impl Default for Neighborhood {
    /// Ask ahead, and look every 30 s for real servers that answer ARP for a virtual address.
    fn default() -> Self {
        Neighborhood { resolve_ahead: true, probe_virtual: Some(Duration::from_secs(30)) }
    }
}

/// A limit of the maximum segment size that the ends of a service's TCP connections tell each other
/// (RFC 9293 §3.7.1).
///
/// A SYN that passes and says more is changed. In direct routing and tunnels only the client's passes, so
/// that only what the real server sends becomes smaller; in masquerading both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MssLimit {
    /// The service.
    pub service: ServiceKey,
    /// The most that is left, in bytes of payload; at least [`MssLimit::MIN`].
    pub mss: u16,
}

impl MssLimit {
    /// The smallest limit: what Linux' TCP takes as the smallest segment (its `TCP_MIN_MSS`).
    pub const MIN: u16 = 88;
}

/// One change of the director's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Command {
    /// `-A`.
    AddService(ServiceSpec),
    /// `-E`.
    EditService(ServiceSpec),
    /// `-D`. Connections stay (rule L4).
    DeleteService(ServiceKey),
    /// `-C`: all services. Connections, templates and timeouts stay (rule L7).
    Clear,
    /// `-a`.
    AddDestination(ServiceKey, DestinationSpec),
    /// `-e`.
    EditDestination(ServiceKey, DestinationSpec),
    /// `-d`. Connections stay (rule L1).
    DeleteDestination(ServiceKey, Endpoint),
    /// `-Z`: counters of one service, or of all and the totals.
    Zero(Option<ServiceKey>),
    /// `--set`.
    SetTimeouts(TimeoutsSpec),
    /// The switches of `net.ipv4.vs`.
    SetTunables(Tunables),
    /// `--start-daemon` and `--stop-daemon`. A director that becomes a master gets memory to remember what it
    /// announced, and gives it back when it is none any more.
    SetSyncRoles(SyncRoles),
    /// Pacing of our own ICMP errors.
    SetIcmpPacing(IcmpPacing),
    /// How the director deals with its neighbours.
    SetNeighborhood(Neighborhood),
    /// Replaces all mark rules.
    SetMarkRules(Vec<MarkRule>),
    /// Replaces all limits of segment sizes; at first there are none.
    SetMssLimits(Vec<MssLimit>),
    /// Packets of a family with one of these marks are looked at as if they were to a local address, whatever their
    /// destination: what `ip rule add fwmark MARK lookup TABLE` does with a table that has only a local
    /// default route. For transparent caches. Replaces those of before.
    DeliverMarked(Vec<(Family, FwMark)>),
    /// Adds a port or replaces what is known of it.
    SetPort(PortSpec),
    /// Replaces all routes but those of the ports' own subnets.
    SetRoutes(Vec<RouteSpec>),
    /// Makes an address local: packets to it are looked at (rule P10).
    AddLocal {
        /// The address.
        addr: IpAddr,
        /// Whether the director answers ARP or neighbour solicitations for it and announces it,
        /// because the host does not.
        answer: bool,
    },
    /// Takes an address of [`Command::AddLocal`] away again.
    RemoveLocal(IpAddr),
    /// A neighbour that needs no asking.
    SetNeighbor {
        /// The port it is behind.
        port: PortId,
        /// Its address.
        addr: IpAddr,
        /// Its Ethernet address.
        mac: MacAddr,
    },
}

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ApplyError {
    /// `-A` of a service that is there.
    ServiceExists,
    /// `-E`, `-D`, `-Z` of a service that is not.
    NoSuchService,
    /// `-a`, `-e`, `-d` at a service that is not there.
    ServiceNotDefined,
    /// `-a` of a server that is there.
    DestinationExists,
    /// `-e`, `-d` of a server that is not.
    NoSuchDestination,
    /// No scheduler of that name.
    NoSuchScheduler,
    /// No persistence engine of that name, or none at all
    /// ([`engine_templates_max`](crate::limits::Limits::engine_templates_max) is 0).
    NoSuchEngine,
    /// A scheduler of this name is registered already.
    SchedulerExists(&'static str),
    /// The lower threshold is above the upper one.
    ThresholdRange,
    /// A real server's address that is not unicast.
    NotUnicast,
    /// A real server of another family, which only tunnels allow.
    OtherFamily,
    /// A limit is reached; the field of [`Limits`](crate::limits::Limits).
    Limit(&'static str),
    /// A port, route or neighbour that names a port which was not set.
    NoSuchPort(PortId),
    /// A route or an address that cannot be.
    BadAddress(IpAddr),
    /// A limit of the segment size below [`MssLimit::MIN`].
    MssTooSmall(u16),
    /// A switch of synchronisation with a value that it cannot have: the switch, and what it may have.
    SyncTunable(&'static str, &'static str),
}

impl fmt::Display for ApplyError {
    /// The kernel's and ipvsadm's own words where they have some (scenario `errors`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::ServiceExists => f.write_str("Service already exists"),
            ApplyError::NoSuchService => f.write_str("No such service"),
            ApplyError::ServiceNotDefined => f.write_str("Service not defined"),
            ApplyError::DestinationExists => f.write_str("Destination already exists"),
            ApplyError::NoSuchDestination => f.write_str("No such destination"),
            ApplyError::NoSuchScheduler | ApplyError::NoSuchEngine => {
                f.write_str("Scheduler or persistence engine not found")
            }
            ApplyError::SchedulerExists(name) => {
                write!(f, "there is a scheduler {name} already; give yours another name")
            }
            ApplyError::ThresholdRange => f.write_str("Numerical result out of range"),
            ApplyError::NotUnicast => f.write_str(
                "Invalid operation.  Possibly wrong module version, address not unicast, ...",
            ),
            ApplyError::OtherFamily => {
                f.write_str("Different address family is allowed only for tunneling servers")
            }
            ApplyError::Limit(name) => {
                write!(f, "the limit {name} is reached; start with a larger one")
            }
            ApplyError::NoSuchPort(port) => write!(f, "port {} is not known", port.0),
            ApplyError::BadAddress(addr) => write!(f, "{addr} cannot be used here"),
            ApplyError::MssTooSmall(mss) => {
                write!(f, "a segment size of {mss} is too small; give at least {}", MssLimit::MIN)
            }
            ApplyError::SyncTunable(name, expected) => {
                write!(f, "illegal value for net.ipv4.vs.{name}: give {expected}")
            }
        }
    }
}

impl core::error::Error for ApplyError {}
