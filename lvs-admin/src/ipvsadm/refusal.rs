//! Why a command line is refused, in ipvsadm's words and with its exit statuses.

use lvs_core::command::ApplyError;

use super::table::Label;

/// ipvsadm's exit status for what its own checks refuse (rule A1 of the recorded kernel).
pub const STATUS_CHECK: u8 = 2;
/// ipvsadm's exit status for options that do not exist and for what the kernel refuses (rule A1).
pub const STATUS_REFUSED: u8 = 255;
/// ipvsadm's exit status when the one service to be listed does not exist.
pub const STATUS_NOT_LISTED: u8 = 1;

/// A refused command line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{kind}")]
pub struct Refusal {
    /// Why. Its text is ipvsadm's.
    pub kind: RefusalKind,
    /// The index of the word to blame, the program's name not counted.
    pub word: Option<usize>,
}

impl Refusal {
    /// The exit status: [`STATUS_CHECK`] or [`STATUS_REFUSED`].
    pub const fn status(&self) -> u8 {
        self.kind.status()
    }

    /// What would be right; empty where the message itself says it.
    pub fn hint(&self) -> &'static str {
        self.kind.hint()
    }
}

/// Why a command line is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
#[rustfmt::skip]
pub enum RefusalKind {
    /// The line has no command, or its first option is none.
    #[error("Try `ipvsadm -h' or 'ipvsadm --help' for more information.")]
    NoCommand,
    /// An option that does not exist.
    #[error("{0}: unknown option")]
    UnknownOption(String),
    /// An option at the end of the line that needs a value.
    #[error("{0}: missing argument")]
    MissingValue(String),
    /// A value for an option that takes none.
    #[error("{0}: option does not take an argument")]
    UnwantedValue(String),
    /// A word that belongs to no option.
    #[error("unexpected argument {0}")]
    UnexpectedWord(String),
    /// A second command on the line.
    #[error("invalid option `{0}'")]
    SecondCommand(String),
    /// An option, or two of a group, given twice.
    #[error("multiple '{}' options specified", .0.name())]
    Repeated(Label),
    /// An option that the command needs.
    #[error("You need to supply the '{}' option for the '{command}' command", option.name())]
    Required {
        /// What is missing.
        option: Label,
        /// ipvsadm's name of the command.
        command: &'static str,
    },
    /// An option that the command does not take.
    #[error("Illegal '{}' option with the '{command}' command", option.name())]
    NotWithCommand {
        /// What is too much.
        option: Label,
        /// ipvsadm's name of the command.
        command: &'static str,
    },
    /// `-t`, `-u`, `--sctp-service`: no such address or port.
    #[error("illegal virtual server address[:port] specified")]
    ServiceAddress,
    /// `-r`: no such address or port.
    #[error("illegal real server address[:port] specified")]
    ServerAddress,
    /// `-f`: no such mark.
    #[error("invalid fwmark value `{0}' specified")]
    FwMark(String),
    /// `-6` before `-f` or without it.
    #[error("-6 used before -f")]
    Ipv6BeforeMark,
    /// `-p`, `--set`: no such time.
    #[error("invalid timeout value `{0}' specified")]
    Timeout(String),
    /// `-M` of an IPv4 service.
    #[error("illegal virtual server persistent mask specified")]
    Netmask,
    /// `-M` of an IPv6 service.
    #[error("illegal ipv6 netmask specified")]
    PrefixLength,
    /// `-b`: no such flag.
    #[error("invalid scheduler flag `{0}'")]
    SchedulerFlag(String),
    /// `-b`: a flag of another scheduler.
    #[error("incompatible scheduler flag `{0}'")]
    OtherSchedulersFlag(String),
    /// Port 0 without `-p`.
    #[error("Zero port specified for non-persistent service")]
    ZeroPort,
    /// `-o` for a service that is not UDP.
    #[error("One-Packet Scheduling is only for UDP virtual services")]
    OnePacket,
    /// `-w`.
    #[error("illegal weight specified")]
    Weight,
    /// `-x`.
    #[error("illegal u_threshold specified")]
    UpperThreshold,
    /// `-y`.
    #[error("illegal l_threshold specified")]
    LowerThreshold,
    /// A real server of the other family without `-i`.
    #[error("Different address family is allowed only for tunneling servers")]
    OtherFamily,
    /// Tunnel options without `-i`.
    #[error("Tunnel options conflict with forward method")]
    TunnelOptions,
    /// `--tun-type`.
    #[error("illegal tunnel type specified")]
    TunnelType,
    /// `--tun-port`.
    #[error("illegal tunnel port specified")]
    TunnelPort,
    /// An option that the kind of tunnel needs.
    #[error("You need to supply the '{}' option for the '{tunnel}' tunnel type", option.name())]
    TunnelRequires {
        /// What is missing.
        option: Label,
        /// `gue`.
        tunnel: &'static str,
    },
    /// An option that the kind of tunnel does not take.
    #[error("Illegal '{}' option with the '{tunnel}' tunnel type", option.name())]
    NotWithTunnel {
        /// What is too much.
        option: Label,
        /// The kind of tunnel.
        tunnel: &'static str,
    },
    /// Two options of a tunnel that exclude each other.
    #[error("The option '{}' conflicts with the '{}' option in the '{tunnel}' tunnel type", option.name(), other.name())]
    TunnelConflict {
        /// One.
        option: Label,
        /// The other.
        other: Label,
        /// The kind of tunnel.
        tunnel: &'static str,
    },
    /// Two options of `-L` that exclude each other.
    #[error("The option '{}' conflicts with the '{}' option in the 'list' command", option.name(), other.name())]
    ListConflict {
        /// One.
        option: Label,
        /// The other.
        other: Label,
    },
    /// Other options of `-L` that exclude each other.
    #[error("options conflicts in the list command")]
    ListOptions,
    /// `--set` without three numbers.
    #[error("--set option requires 3 timeout values")]
    SetValues,
    /// `--start-daemon` of neither.
    #[error("illegal start-daemon parameter specified")]
    StartDaemon,
    /// `--stop-daemon` of neither.
    #[error("illegal start_daemon specified")]
    StopDaemon,
    /// A number of the synchronisation's options out of range.
    #[error("illegal {} specified", .0.name())]
    DaemonNumber(Label),
    /// `--mcast-group`: no multicast address.
    #[error("invalid IPv{version} mcast-group `{text}'")]
    McastGroup {
        /// 6 if the text contains a colon, otherwise 4.
        version: u8,
        /// What was given.
        text: String,
    },
}

impl RefusalKind {
    /// The exit status: [`STATUS_CHECK`] or [`STATUS_REFUSED`].
    pub const fn status(&self) -> u8 {
        match self {
            RefusalKind::NoCommand
            | RefusalKind::UnknownOption(_)
            | RefusalKind::MissingValue(_)
            | RefusalKind::UnwantedValue(_) => STATUS_REFUSED,
            _ => STATUS_CHECK,
        }
    }

    /// What would be right; empty where the message itself says it.
    #[rustfmt::skip]
    pub fn hint(&self) -> &'static str {
        match self {
            RefusalKind::NoCommand => "a line begins with its command, such as -A (a virtual service) or -a (a real server)",
            RefusalKind::UnknownOption(_) => "long options are written out in full, with two dashes",
            RefusalKind::MissingValue(_) => "a value must follow",
            RefusalKind::UnwantedValue(_) => "leave out what follows the =",
            RefusalKind::UnexpectedWord(_) => "every word but the value of an option begins with a dash",
            RefusalKind::SecondCommand(_) => "one command on each line, as its first word",
            RefusalKind::Repeated(Label::ServiceAddress) => "give one of -t, -u, --sctp-service and -f, once",
            RefusalKind::Repeated(Label::ForwardingMethod) => "give one of -g, -i and -m, once",
            RefusalKind::Repeated(_) => "give it once",
            RefusalKind::Required { option: Label::ServiceAddress, .. } => "-t ADDRESS:PORT, -u ADDRESS:PORT, --sctp-service ADDRESS:PORT or -f MARK",
            RefusalKind::Required { .. } => "-r ADDRESS or -r ADDRESS:PORT",
            RefusalKind::NotWithCommand { option: Label::RealServer | Label::ForwardingMethod | Label::Weight | Label::UpperThreshold | Label::LowerThreshold, command: "add-service" | "edit-service" } => "that belongs to a real server, which -a adds on a line of its own",
            RefusalKind::NotWithCommand { option: Label::Scheduler | Label::Persistent | Label::Netmask | Label::OnePacket | Label::SchedulerFlags, command: "add-server" | "edit-server" } => "that belongs to the virtual service, which -A adds on a line of its own",
            RefusalKind::NotWithCommand { .. } => "leave it out",
            RefusalKind::ServiceAddress => "ADDRESS:PORT, with an IPv6 address in brackets: 192.0.2.1:80, [2001:db8::1]:80",
            RefusalKind::ServerAddress => "ADDRESS or ADDRESS:PORT, an IPv6 address in brackets and always with a port: 10.1.0.2, [2001:db8::2]:80",
            RefusalKind::FwMark(_) => "a mark is a decimal number from 1 to 4294967295",
            RefusalKind::Ipv6BeforeMark => "-6 follows the mark it belongs to: -f 10 -6",
            RefusalKind::Timeout(_) => "a number of seconds, at most 2678400 (31 days); -p wants at least 1",
            RefusalKind::Netmask => "a netmask such as 255.255.255.0",
            RefusalKind::PrefixLength => "a prefix length from 1 to 128",
            RefusalKind::SchedulerFlag(_) => "sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2 or flag-3",
            RefusalKind::OtherSchedulersFlag(_) => "the flag begins with the name of the scheduler it belongs to, given with -s",
            RefusalKind::ZeroPort => "give a port, or -p, with which the service takes every port",
            RefusalKind::OnePacket => "-o goes with -u and -f",
            RefusalKind::Weight => "a weight is a number from 0 to 2147483647",
            RefusalKind::UpperThreshold | RefusalKind::LowerThreshold => "a threshold is a number from 0 to 2147483647",
            RefusalKind::OtherFamily => "give the real server an address of the virtual service's family, or -i",
            RefusalKind::TunnelOptions => "--tun-… options need -i",
            RefusalKind::TunnelType => "ipip, gue or gre",
            RefusalKind::TunnelPort => "a port is a number from 1 to 65535",
            RefusalKind::TunnelRequires { .. } => "--tun-port PORT, the UDP port at which the real server decapsulates",
            RefusalKind::NotWithTunnel { .. } | RefusalKind::TunnelConflict { .. } | RefusalKind::ListConflict { .. } | RefusalKind::ListOptions => "leave one of them out",
            RefusalKind::SetValues => "--set TCP TCPFIN UDP, in seconds, 0 to keep one as it is",
            RefusalKind::StartDaemon | RefusalKind::StopDaemon => "master or backup",
            RefusalKind::DaemonNumber(Label::SyncId) => "0 to 255",
            RefusalKind::DaemonNumber(Label::McastTtl) => "1 to 255",
            RefusalKind::DaemonNumber(Label::McastPort) => "1 to 65535",
            RefusalKind::DaemonNumber(_) => "1 to 65507",
            RefusalKind::McastGroup { .. } => "a multicast address: 224.0.0.81, ff02::81",
        }
    }
}

/// The exit status of a command that the director refused; its text is the error's own.
///
/// ipvsadm sees a server of the other family itself and exits with 2, as its parser here does too; the
/// rest are refusals of the kernel.
///
/// ```
/// use lvs_core::command::ApplyError;
/// assert_eq!(lvs_admin::ipvsadm::apply_status(&ApplyError::ServiceExists), 255);
/// assert_eq!(ApplyError::ServiceExists.to_string(), "Service already exists");
/// ```
pub const fn apply_status(error: &ApplyError) -> u8 {
    match error {
        ApplyError::OtherFamily => STATUS_CHECK,
        _ => STATUS_REFUSED,
    }
}
