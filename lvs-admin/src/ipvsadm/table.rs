//! The table of ipvsadm's commands and options: the parser, the help text and whatever is generated for
//! shells and manuals read the same lines.

/// Whether an option or command takes a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// None.
    No,
    /// One, called so in the help text.
    Required(&'static str),
    /// One unless the next word begins with `-`.
    Optional(&'static str),
}

/// Defines the labels by which ipvsadm's checks and messages call groups of options.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// How messages call an option, or several of which only one may be given. The order is that in
        /// which ipvsadm checks them, so that of two mistakes ours is the one it reports.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Label {
            $($(#[$doc])* $name,)*
        }

        impl Label {
            /// All of them, in the order of the checks.
            pub const ALL: &[Label] = &[$(Label::$name,)*];

            /// The word in messages.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Label::$name => $text,)*
                }
            }
        }
    };
}

labels! {
    /// `-n`.
    Numeric = "numeric",
    /// `-c`.
    Connection = "connection",
    /// `-t`, `-u`, `--sctp-service`, `-f`.
    ServiceAddress = "service-address",
    /// `-s`.
    Scheduler = "scheduler",
    /// `-p`.
    Persistent = "persistent",
    /// `-M`.
    Netmask = "netmask",
    /// `-r`.
    RealServer = "real-server",
    /// `-g`, `-i`, `-m`.
    ForwardingMethod = "forwarding-method",
    /// `-w`.
    Weight = "weight",
    /// `-x`.
    UpperThreshold = "u-threshold",
    /// `-y`.
    LowerThreshold = "l-threshold",
    /// `--mcast-interface`.
    McastInterface = "mcast-interface",
    /// `--timeout`.
    Timeout = "timeout",
    /// `--daemon`.
    Daemon = "daemon",
    /// `--stats`.
    Stats = "stats",
    /// `--rate`.
    Rate = "rate",
    /// `--thresholds`.
    Thresholds = "thresholds",
    /// `--persistent-conn`.
    PersistentConn = "persistent-conn",
    /// `--nosort`.
    NoSort = "nosort",
    /// `--syncid`.
    SyncId = "syncid",
    /// `--exact`.
    Exact = "exact",
    /// `-o`.
    OnePacket = "ops",
    /// `--pe`.
    Engine = "pe",
    /// `-b`.
    SchedulerFlags = "sched-flags",
    /// `--mcast-group`.
    McastGroup = "mcast-group",
    /// `--mcast-port`.
    McastPort = "mcast-port",
    /// `--mcast-ttl`.
    McastTtl = "mcast-ttl",
    /// `--sync-maxlen`.
    SyncMaxLen = "sync-maxlen",
    /// `--tun-info`.
    TunnelInfo = "tun-info",
    /// `--tun-type`.
    TunnelType = "tun-type",
    /// `--tun-port`.
    TunnelPort = "tun-port",
    /// `--tun-nocsum`.
    TunnelNoChecksum = "tun-nocsum",
    /// `--tun-csum`.
    TunnelChecksum = "tun-csum",
    /// `--tun-remcsum`.
    TunnelRemoteChecksum = "tun-remcsum",
}

/// An option of the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "each variant is the option of that name; the table below says what it does"
)]
pub enum Opt {
    Tcp,
    Udp,
    Sctp,
    FwMark,
    Ipv6,
    Scheduler,
    Engine,
    Persistent,
    Netmask,
    RealServer,
    Gatewaying,
    Ipip,
    Masquerading,
    TunnelType,
    TunnelPort,
    TunnelNoChecksum,
    TunnelChecksum,
    TunnelRemoteChecksum,
    Weight,
    UpperThreshold,
    LowerThreshold,
    Connection,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Exact,
    Thresholds,
    PersistentConn,
    TunnelInfo,
    NoSort,
    Sort,
    OnePacket,
    Numeric,
    SchedulerFlags,
    SyncId,
    SyncMaxLen,
    McastInterface,
    McastGroup,
    McastPort,
    McastTtl,
}

/// A line of [`OPTIONS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionInfo {
    /// Which one.
    pub id: Opt,
    /// Its letter, as in `-t`.
    pub short: Option<char>,
    /// Its word, as in `--tcp-service`.
    pub long: &'static str,
    /// Its value.
    pub value: Value,
    /// How messages call it; `None` for the two that may stand anywhere and any number of times.
    pub label: Option<Label>,
    /// What it does, for help texts.
    pub help: &'static str,
}

const fn option(
    id: Opt,
    short: Option<char>,
    long: &'static str,
    value: Value,
    label: Label,
    help: &'static str,
) -> OptionInfo {
    OptionInfo { id, short, long, value, label: Some(label), help }
}

use Value::{No, Optional, Required};

/// Every option.
#[rustfmt::skip]
pub const OPTIONS: &[OptionInfo] = &[
    option(Opt::Tcp, Some('t'), "tcp-service", Required("host[:port]"), Label::ServiceAddress, "TCP service at this address"),
    option(Opt::Udp, Some('u'), "udp-service", Required("host[:port]"), Label::ServiceAddress, "UDP service at this address"),
    option(Opt::Sctp, None, "sctp-service", Required("host[:port]"), Label::ServiceAddress, "SCTP service at this address"),
    option(Opt::FwMark, Some('f'), "fwmark-service", Required("mark"), Label::ServiceAddress, "service of the packets with this firewall mark"),
    OptionInfo { id: Opt::Ipv6, short: Some('6'), long: "ipv6", value: No, label: None, help: "the mark's service is of IPv6" },
    option(Opt::Scheduler, Some('s'), "scheduler", Required("name"), Label::Scheduler, "how real servers are chosen; wlc if not given"),
    option(Opt::Engine, None, "pe", Required("name"), Label::Engine, "persistence engine"),
    option(Opt::Persistent, Some('p'), "persistent", Optional("seconds"), Label::Persistent, "a client stays with its real server for this long; 360 if no number is given"),
    option(Opt::Netmask, Some('M'), "netmask", Required("mask"), Label::Netmask, "clients of one subnet stay together"),
    option(Opt::RealServer, Some('r'), "real-server", Required("host[:port]"), Label::RealServer, "the real server"),
    option(Opt::Gatewaying, Some('g'), "gatewaying", No, Label::ForwardingMethod, "direct routing, if nothing else is given"),
    option(Opt::Ipip, Some('i'), "ipip", No, Label::ForwardingMethod, "tunneling"),
    option(Opt::Masquerading, Some('m'), "masquerading", No, Label::ForwardingMethod, "NAT"),
    option(Opt::TunnelType, None, "tun-type", Required("ipip|gue|gre"), Label::TunnelType, "kind of tunnel; ipip if not given"),
    option(Opt::TunnelPort, None, "tun-port", Required("port"), Label::TunnelPort, "UDP port of a gue tunnel"),
    option(Opt::TunnelNoChecksum, None, "tun-nocsum", No, Label::TunnelNoChecksum, "tunnel without a checksum"),
    option(Opt::TunnelChecksum, None, "tun-csum", No, Label::TunnelChecksum, "tunnel with a checksum"),
    option(Opt::TunnelRemoteChecksum, None, "tun-remcsum", No, Label::TunnelRemoteChecksum, "tunnel with a remote checksum"),
    option(Opt::Weight, Some('w'), "weight", Required("number"), Label::Weight, "the server's share; 1 if not given, 0 takes no new connections"),
    option(Opt::UpperThreshold, Some('x'), "u-threshold", Required("number"), Label::UpperThreshold, "connections at which the server is full; 0 is no limit"),
    option(Opt::LowerThreshold, Some('y'), "l-threshold", Required("number"), Label::LowerThreshold, "connections below which it opens again"),
    option(Opt::Connection, Some('c'), "connection", No, Label::Connection, "list connections and templates"),
    option(Opt::Timeout, None, "timeout", No, Label::Timeout, "list the timeouts"),
    option(Opt::Daemon, None, "daemon", No, Label::Daemon, "list the synchronisation daemons"),
    option(Opt::Stats, None, "stats", No, Label::Stats, "list connections, packets and bytes"),
    option(Opt::Rate, None, "rate", No, Label::Rate, "list the same per second"),
    option(Opt::Exact, None, "exact", No, Label::Exact, "numbers in full, without K, M, G"),
    option(Opt::Thresholds, None, "thresholds", No, Label::Thresholds, "list the thresholds"),
    option(Opt::PersistentConn, None, "persistent-conn", No, Label::PersistentConn, "list templates by server"),
    option(Opt::TunnelInfo, None, "tun-info", No, Label::TunnelInfo, "list kinds of tunnel"),
    option(Opt::NoSort, None, "nosort", No, Label::NoSort, "list in the director's own order"),
    OptionInfo { id: Opt::Sort, short: None, long: "sort", value: No, label: None, help: "list in order, as without it" },
    option(Opt::OnePacket, Some('o'), "ops", No, Label::OnePacket, "schedule each packet by itself"),
    option(Opt::Numeric, Some('n'), "numeric", No, Label::Numeric, "addresses and ports as numbers"),
    option(Opt::SchedulerFlags, Some('b'), "sched-flags", Required("flags"), Label::SchedulerFlags, "flags of the scheduler, parted by commas"),
    option(Opt::SyncId, None, "syncid", Required("id"), Label::SyncId, "id of the synchronisation, 0 to 255"),
    option(Opt::SyncMaxLen, None, "sync-maxlen", Required("bytes"), Label::SyncMaxLen, "longest synchronisation message"),
    option(Opt::McastInterface, None, "mcast-interface", Required("name"), Label::McastInterface, "interface of the synchronisation; eth0 if not given"),
    option(Opt::McastGroup, None, "mcast-group", Required("address"), Label::McastGroup, "group of the synchronisation"),
    option(Opt::McastPort, None, "mcast-port", Required("port"), Label::McastPort, "UDP port of the synchronisation"),
    option(Opt::McastTtl, None, "mcast-ttl", Required("hops"), Label::McastTtl, "hops of the synchronisation"),
];

/// A command: the first option of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(
    missing_docs,
    reason = "each variant is the command of that name; the table below says what it does"
)]
pub enum Verb {
    AddService,
    EditService,
    DeleteService,
    Clear,
    Restore,
    Save,
    AddServer,
    EditServer,
    DeleteServer,
    List,
    Zero,
    Set,
    StartDaemon,
    StopDaemon,
    Help,
    Version,
}

/// A line of [`VERBS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerbInfo {
    /// Which one.
    pub id: Verb,
    /// Its letters; `-L` has two.
    pub short: &'static [char],
    /// Its word.
    pub long: &'static str,
    /// How messages call it.
    pub label: &'static str,
    /// Its value.
    pub value: Value,
    /// What must be given with it.
    pub required: &'static [Label],
    /// What may be given with it.
    pub optional: &'static [Label],
    /// What it does, for help texts.
    pub help: &'static str,
}

impl VerbInfo {
    /// The shortest way to type it, with its dashes.
    pub fn typed(&self) -> String {
        match self.short.first() {
            Some(letter) => format!("-{letter}"),
            None => format!("--{}", self.long),
        }
    }
}

const NONE: &[Label] = &[];
const SERVICE: &[Label] = &[Label::ServiceAddress];
const SERVER: &[Label] = &[Label::ServiceAddress, Label::RealServer];
const SERVICE_OPTIONS: &[Label] = &[
    Label::Scheduler,
    Label::Persistent,
    Label::Netmask,
    Label::OnePacket,
    Label::Engine,
    Label::SchedulerFlags,
];
const SERVER_OPTIONS: &[Label] = &[
    Label::ForwardingMethod,
    Label::Weight,
    Label::UpperThreshold,
    Label::LowerThreshold,
    Label::TunnelType,
    Label::TunnelPort,
    Label::TunnelNoChecksum,
    Label::TunnelChecksum,
    Label::TunnelRemoteChecksum,
];
const LIST_OPTIONS: &[Label] = &[
    Label::Numeric,
    Label::Connection,
    Label::ServiceAddress,
    Label::Timeout,
    Label::Daemon,
    Label::Stats,
    Label::Rate,
    Label::Thresholds,
    Label::PersistentConn,
    Label::NoSort,
    Label::SyncId,
    Label::Exact,
    Label::TunnelInfo,
];
const DAEMON_OPTIONS: &[Label] = &[
    Label::McastInterface,
    Label::SyncId,
    Label::McastGroup,
    Label::McastPort,
    Label::McastTtl,
    Label::SyncMaxLen,
];

/// Every command.
#[rustfmt::skip]
pub const VERBS: &[VerbInfo] = &[
    VerbInfo { id: Verb::AddService, short: &['A'], long: "add-service", label: "add-service", value: No, required: SERVICE, optional: SERVICE_OPTIONS, help: "add a virtual service" },
    VerbInfo { id: Verb::EditService, short: &['E'], long: "edit-service", label: "edit-service", value: No, required: SERVICE, optional: SERVICE_OPTIONS, help: "change a virtual service; what is not given becomes the default" },
    VerbInfo { id: Verb::DeleteService, short: &['D'], long: "delete-service", label: "delete-service", value: No, required: SERVICE, optional: NONE, help: "delete a virtual service" },
    VerbInfo { id: Verb::Clear, short: &['C'], long: "clear", label: "flush", value: No, required: NONE, optional: NONE, help: "delete all virtual services" },
    VerbInfo { id: Verb::Restore, short: &['R'], long: "restore", label: "restore", value: No, required: NONE, optional: NONE, help: "read commands from standard input" },
    VerbInfo { id: Verb::Save, short: &['S'], long: "save", label: "save", value: No, required: NONE, optional: &[Label::Numeric], help: "print the commands that make what there is" },
    VerbInfo { id: Verb::AddServer, short: &['a'], long: "add-server", label: "add-server", value: No, required: SERVER, optional: SERVER_OPTIONS, help: "add a real server to a virtual service" },
    VerbInfo { id: Verb::EditServer, short: &['e'], long: "edit-server", label: "edit-server", value: No, required: SERVER, optional: SERVER_OPTIONS, help: "change a real server; what is not given becomes the default" },
    VerbInfo { id: Verb::DeleteServer, short: &['d'], long: "delete-server", label: "delete-server", value: No, required: SERVER, optional: NONE, help: "delete a real server from a virtual service" },
    VerbInfo { id: Verb::List, short: &['L', 'l'], long: "list", label: "list", value: No, required: NONE, optional: LIST_OPTIONS, help: "list services, connections, timeouts or daemons" },
    VerbInfo { id: Verb::Zero, short: &['Z'], long: "zero", label: "zero", value: No, required: NONE, optional: SERVICE, help: "set the counters of one service, or of all, to zero" },
    VerbInfo { id: Verb::Set, short: &[], long: "set", label: "set", value: No, required: NONE, optional: NONE, help: "set the timeouts (tcp tcpfin udp); 0 keeps one as it is" },
    VerbInfo { id: Verb::StartDaemon, short: &[], long: "start-daemon", label: "start-daemon", value: Required("master|backup"), required: NONE, optional: DAEMON_OPTIONS, help: "start a synchronisation daemon" },
    VerbInfo { id: Verb::StopDaemon, short: &[], long: "stop-daemon", label: "stop-daemon", value: Required("master|backup"), required: NONE, optional: &[Label::SyncId], help: "stop a synchronisation daemon" },
    VerbInfo { id: Verb::Help, short: &['h'], long: "help", label: "help", value: No, required: NONE, optional: NONE, help: "print this" },
    VerbInfo { id: Verb::Version, short: &['v'], long: "version", label: "version", value: No, required: NONE, optional: NONE, help: "print the version" },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_letter_and_no_word_means_two_things() {
        let mut letters = Vec::new();
        let mut words = Vec::new();
        for option in OPTIONS {
            letters.extend(option.short);
            words.push(option.long);
        }
        for verb in VERBS {
            letters.extend(verb.short);
            words.push(verb.long);
        }
        for i in 0..letters.len() {
            assert!(!letters[..i].contains(&letters[i]), "-{} twice", letters[i]);
        }
        for i in 0..words.len() {
            assert!(!words[..i].contains(&words[i]), "--{} twice", words[i]);
        }
    }

    #[test]
    fn every_label_belongs_to_an_option_and_a_command() {
        for &label in Label::ALL {
            assert!(OPTIONS.iter().any(|o| o.label == Some(label)), "{}", label.name());
            let used = |v: &VerbInfo| v.required.contains(&label) || v.optional.contains(&label);
            assert!(VERBS.iter().any(used), "{}", label.name());
        }
    }
}
