//! Scenarios: timelines of commands, packets and dumps, as text files.
//!
//! The language is described in `conformance/README.md`. [`Scenario::parse`] turns a file into events in
//! the order of their times, with ranges expanded to one packet each, and into what the directives and
//! commands say about the network ([`Network`]). Mistakes name file, line and column.

mod address;
mod error;
mod packet;
mod parse;
mod payload;
mod sync;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use lvs_core::addr::Prefix;
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::{FwMark, L4Port};
use lvs_core::time::Instant;

pub use error::ScenarioError;

use crate::net::Network;

/// A parsed scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without directory and `.lvs`.
    pub name: String,
    /// The first comment line.
    pub title: String,
    /// The network that the directives and commands describe.
    pub network: Network,
    /// Whether there is the persistence engine `sip` (`@engine sip`): in the recorded kernel it is a module,
    /// and without it `--pe sip` is refused.
    pub engine: bool,
    /// What happens, in order.
    pub events: Vec<Event>,
}

/// Something that happens at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// When, as the scenario writes it.
    pub time: String,
    /// The line of the file, from 1.
    pub line: usize,
    /// What.
    pub action: Action,
}

/// What happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A command line, with the word `ipvsadm` in front.
    Ipvsadm(Vec<String>),
    /// A system control is set.
    Sysctl {
        /// The name with dots, as in `net.ipv4.vs.sloppy_tcp`.
        name: String,
        /// The value.
        value: String,
    },
    /// A firewall mark for packets that come in on the clients' side.
    Mark(Mark),
    /// A listing.
    Dump(Dump),
    /// A packet.
    Packet(Packet),
    /// A datagram of connection synchronisation comes in on the servers' side.
    Sync(SyncDatagram),
}

/// A `sync` line: what the master of another director sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncDatagram {
    /// The line as the record shows it.
    pub text: String,
    /// The UDP port that it is sent to, 8848 where none is named.
    pub port: u16,
    /// The datagram's payload.
    pub bytes: Vec<u8>,
}

/// A `mark` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// The line as the record shows it.
    pub text: String,
    /// The protocol's word: `tcp`, `udp`, `sctp`, `icmp`; `None` is any.
    pub protocol: Option<MarkProtocol>,
    /// The packets' destination.
    pub destination: Prefix,
    /// The packets' destination port, if it matters.
    pub port: Option<L4Port>,
    /// The mark.
    pub mark: FwMark,
}

/// The protocol of a `mark` line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkProtocol {
    /// A protocol that is the same for both families.
    Is(Protocol),
    /// ICMP, or ICMPv6 for an IPv6 destination.
    Icmp,
}

/// What a `dump` line shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dump {
    /// `ipvsadm -Lcn` and `/proc/net/ip_vs_conn`.
    Conns,
    /// `ipvsadm -Ln`.
    Services,
    /// `ipvsadm -Ln --stats --exact`.
    Stats,
    /// `ipvsadm -Ln --rate --exact`.
    Rates,
    /// `ipvsadm -Ln --timeout`.
    Timeouts,
    /// `ipvsadm -Ln --persistent-conn`.
    Persist,
    /// `ipvsadm -Ln --thresholds`.
    Thresholds,
    /// `ipvsadm -Sn`.
    Save,
    /// `/proc/net/ip_vs` and `/proc/net/ip_vs_stats`.
    Proc,
    /// `ipvsadm -Ln --tun-info`.
    Tuninfo,
    /// `ipvsadm -Ln --daemon`.
    Daemon,
    /// Everything below `net.ipv4.vs`.
    Sysctls,
    /// The entries that the director's own master announced since the last such dump.
    Sync,
    /// `-Lcn --persistent-conn`: connections with the data of persistence engines.
    Engines,
}

impl Dump {
    /// Every listing.
    pub const ALL: &[Dump] = &[
        Dump::Conns,
        Dump::Services,
        Dump::Stats,
        Dump::Rates,
        Dump::Timeouts,
        Dump::Persist,
        Dump::Thresholds,
        Dump::Save,
        Dump::Proc,
        Dump::Tuninfo,
        Dump::Daemon,
        Dump::Sysctls,
        Dump::Sync,
        Dump::Engines,
    ];

    /// The word of the scenario language.
    pub const fn name(self) -> &'static str {
        match self {
            Dump::Conns => "conns",
            Dump::Services => "services",
            Dump::Stats => "stats",
            Dump::Rates => "rates",
            Dump::Timeouts => "timeouts",
            Dump::Persist => "persist",
            Dump::Thresholds => "thresholds",
            Dump::Save => "save",
            Dump::Proc => "proc",
            Dump::Tuninfo => "tuninfo",
            Dump::Daemon => "daemon",
            Dump::Sysctls => "sysctls",
            Dump::Sync => "sync",
            Dump::Engines => "engines",
        }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A side of the director.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// Port `c0`.
    Clients,
    /// Port `s0`.
    Servers,
}

/// A packet that comes in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The packet as the record shows it.
    pub text: String,
    /// Where it comes in.
    pub side: Side,
    /// The source; port 0 where there is none.
    pub source: Endpoint,
    /// The destination; port 0 where there is none.
    pub destination: Endpoint,
    /// What it carries.
    pub body: Body,
    /// How it is cut, if it comes in fragments.
    pub fragments: Option<Fragments>,
    /// The payload, if it is written out (`data=`).
    pub data: Option<Vec<u8>>,
    /// Everything else about it.
    pub options: PacketOptions,
}

/// What a packet carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A TCP segment.
    Tcp {
        /// The flags as in the header's 14th byte.
        flags: u8,
    },
    /// A UDP datagram.
    Udp,
    /// An SCTP packet with one chunk.
    Sctp {
        /// The chunk's type (RFC 9260 §3.2).
        chunk: u8,
    },
    /// An ICMP or ICMPv6 message.
    Icmp {
        /// Its kind.
        kind: IcmpKind,
        /// The packet that an error is about.
        quoted: Option<Box<Quoted>>,
    },
}

/// The packet that an ICMP error is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quoted {
    /// Source and destination of a tunnel header around it.
    pub tunnel: Option<(IpAddr, IpAddr)>,
    /// The packet.
    pub packet: Packet,
}

/// A kind of ICMP message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpKind {
    /// Destination unreachable.
    Unreach,
    /// Fragmentation needed, or packet too big.
    TooBig,
    /// Time exceeded.
    Ttl,
    /// Source quench.
    Quench,
    /// Redirect.
    Redirect,
    /// Parameter problem.
    Param,
    /// Echo request.
    Echo,
    /// Echo reply.
    EchoReply,
}

/// How a packet is cut in fragments.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fragments {
    /// Where the transport segment is cut, in bytes; empty cuts it in the middle.
    pub at: Vec<usize>,
    /// Which fragments are sent, in which order; `None` sends all in theirs.
    pub send: Option<Vec<usize>>,
}

impl Fragments {
    /// The number of fragments that the packet is cut in.
    pub fn parts(&self) -> usize {
        self.at.len().max(1) + 1
    }
}

/// The options of a packet; `None` is the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PacketOptions {
    /// Bytes of payload, where it is not written out.
    pub len: usize,
    /// TTL or hop limit, 64.
    pub ttl: Option<u8>,
    /// TOS or traffic class, 0.
    pub tos: Option<u8>,
    /// IP identification: 0x1234, or 0x4321 for fragments.
    pub id: Option<u16>,
    /// "Don't fragment": on, off for fragments.
    pub df: Option<bool>,
    /// TCP sequence number, 1000.
    pub seq: Option<u32>,
    /// TCP acknowledgement number: 2000 with flag A, otherwise 0.
    pub ack: Option<u32>,
    /// Whether the TCP checksum is wrong.
    pub bad_checksum: bool,
    /// ICMP code.
    pub code: Option<u8>,
    /// MTU in an ICMP error.
    pub mtu: Option<u32>,
}

/// The TCP flags of the language, least significant bit first.
pub const TCP_FLAGS: &[u8; 8] = b"FSRPAUEW";

/// The SCTP chunks of the language and their types.
pub const SCTP_CHUNKS: &[(&str, u8)] = &[
    ("DATA", 0),
    ("INIT", 1),
    ("INIT-ACK", 2),
    ("SACK", 3),
    ("HEARTBEAT", 4),
    ("HEARTBEAT-ACK", 5),
    ("ABORT", 6),
    ("SHUTDOWN", 7),
    ("SHUTDOWN-ACK", 8),
    ("ERROR", 9),
    ("COOKIE-ECHO", 10),
    ("COOKIE-ACK", 11),
    ("SHUTDOWN-COMPLETE", 14),
];
