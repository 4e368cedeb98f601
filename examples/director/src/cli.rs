//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::run::station::Station;
use crate::run::{OwnRoute, SegmentLimit};

/// A Linux Virtual Server director in user space.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Forward traffic between clients and real servers
    ///
    /// Signals: SIGHUP applies the rules file anew without losing a connection, SIGUSR1 prints the
    /// listings, SIGTERM and SIGINT stop.
    Run(RunArgs),
    /// Say whether a rules file is right
    Check(CheckArgs),
    /// Show a director at work, on any machine and without privileges
    ///
    /// A story in steps: scheduling by weights, persistence per client, per port and by mark, the life of
    /// a template; each with the commands an operator would type and the listing that shows what came of
    /// them. Clients and real servers are TCP stacks in this process, time is virtual; see --netns.
    Demo(DemoArgs),
    /// Replay scenarios, or a capture, in virtual time, and say what the director does with each packet
    ///
    /// A scenario is a timeline of ipvsadm commands, packets and dumps; its record is printed in the
    /// format of the recorded kernel. A capture (pcap or pcapng, Ethernet or raw IP) is replayed under a
    /// rules file in its own time.
    Replay(ReplayArgs),
    /// Make this host a real server: check what it lacks, put it right, or print the commands
    ///
    /// The virtual address on lo, ARP kept silent about it (arp_ignore, arp_announce), the filter by
    /// reverse path, and behind tunnels somebody who opens them: this program, over a TUN device, or with
    /// --kernel the kernel's modules. --apply stays in the foreground and takes back what it changed when
    /// it ends; what was right before is left. SIGUSR1 prints how much was opened and dropped. After SIGKILL
    /// addresses and settings stay as they are.
    #[command(name = "realserver")]
    RealServer(crate::realserver::RealServerArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Receive and send on this interface; give it twice for a director with two arms
    #[arg(long, short, value_name = "NAME", required_unless_present = "tap")]
    pub(crate) interface: Vec<String>,

    /// Receive and send on this TAP device, made if it is not there; give it twice for two arms
    ///
    /// The director is a station of its own at the far end of the device's wire, with this address:
    /// NAME,address=ADDRESS/LENGTH, and where needed ,address6=… ,gateway=… ,gateway6=… ,mac=… ,mtu=…
    /// ,queues=… ,bridge=NAME ,persistent. Without mac= it has one made from the names of machine and device.
    /// bridge= makes the device a port of that bridge; a persistent one stays when the director ends.
    /// For example, between clients and servers on two bridges:
    /// --tap lvs0,address=10.0.0.2/24,bridge=br0 --tap lvs1,address=10.0.1.2/24,bridge=br1
    #[arg(
        long,
        value_name = "NAME,address=…",
        conflicts_with_all = ["interface", "no_guard"],
        verbatim_doc_comment
    )]
    pub(crate) tap: Vec<Station>,

    /// The services and real servers: lines of ipvsadm and of iptables … -j MARK; see `check`
    ///
    /// With --control a director may start without one and be filled by lvsadm. SIGHUP makes the director
    /// what the file says, also where lvsadm has changed it since.
    #[arg(long, short, value_name = "FILE", required_unless_present = "control")]
    pub(crate) rules: Option<PathBuf>,

    /// Take commands of lvsadm at this socket, which root, its owner and its group may use
    #[arg(
        long,
        value_name = "PATH",
        num_args = 0..=1,
        default_missing_value = lvs_control::SOCKET_DEFAULT
    )]
    pub(crate) control: Option<PathBuf>,

    /// Answer Prometheus at this address, as http://ADDRESS/metrics; without an address on 127.0.0.1:9108
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:9108"
    )]
    pub(crate) metrics: Option<SocketAddr>,

    /// A virtual address to answer ARP for, where a mark rule has no -d or a prefix
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) vip: Vec<IpAddr>,

    /// A route of the director's own, in ip's words: "PREFIX via GATEWAY [dev NAME]" or "PREFIX dev NAME"; it goes
    /// before the host's
    #[arg(long, value_name = "ROUTE")]
    pub(crate) route: Vec<OwnRoute>,

    /// Whose routes through gateways to follow besides; a TAP device has none but its gateway=
    #[arg(long, value_name = "WHOSE", default_value = "host")]
    pub(crate) routes: RoutesOf,

    /// Lower the segment size that TCP connections of a service begin with, in ipvsadm's words: "-t VIP:PORT MSS"
    /// or "-f MARK [-6] MSS"; see the README for which way it acts
    #[arg(long, value_name = "LIMIT", allow_hyphen_values = true)]
    pub(crate) mss: Vec<SegmentLimit>,

    /// Leave ARP and neighbour discovery for virtual addresses to the host that has them, and announce none
    ///
    /// For two directors of which one stands by: whoever moves the addresses, such as keepalived, says which
    /// of them answers.
    #[arg(long, conflicts_with = "tap")]
    pub(crate) no_arp: bool,

    /// Do not answer in the host's place what belongs to no connection (RST, port unreachable, echo)
    #[arg(long)]
    pub(crate) silent: bool,

    /// Do not hide the services from the host's own stack, which will answer and forward as well
    #[arg(long)]
    pub(crate) no_guard: bool,

    /// Connections there is room for, about 130 bytes each
    #[arg(long, value_name = "N", default_value_t = lvs_core::limits::Limits::default().connections_max)]
    pub(crate) connections_max: u32,

    /// Persistence templates there is room for
    #[arg(long, value_name = "N", default_value_t = lvs_core::limits::Limits::default().templates_max)]
    pub(crate) templates_max: u32,

    /// Of those, templates of services with a persistence engine (--pe) there is room for; 0 refuses --pe
    #[arg(long, value_name = "N", default_value_t = lvs_core::limits::Limits::default().engine_templates_max)]
    pub(crate) engine_templates_max: u32,

    /// The least level that is logged to stderr
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "LVS_LOG")]
    pub(crate) log_level: LogLevel,
}

impl RunArgs {
    /// The names of the ports, in their order.
    pub(crate) fn port_names(&self) -> Vec<String> {
        let taps = self.tap.iter().map(|station| station.device.name().to_owned());
        self.interface.iter().cloned().chain(taps).collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The rules file; `-` is standard input
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Scenario files
    #[arg(value_name = "FILE.lvs", required_unless_present = "pcap", conflicts_with_all = ["pcap", "rules"])]
    pub(crate) scenarios: Vec<PathBuf>,

    /// Write the record of each scenario to DIR/NAME.rec instead of standard output
    #[arg(short = 'o', value_name = "DIR", conflicts_with = "pcap")]
    pub(crate) out_dir: Option<PathBuf>,

    /// Say under each packet of a scenario why it went there
    #[arg(long, conflicts_with = "pcap")]
    pub(crate) explain: bool,

    /// Packets of one moment that the director gets at once; changes no record
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) burst: u16,

    /// The rules for a capture
    #[arg(long, value_name = "RULES", requires = "pcap")]
    pub(crate) rules: Option<PathBuf>,

    /// The capture
    #[arg(long, value_name = "IN.pcap", requires = "rules")]
    pub(crate) pcap: Option<PathBuf>,

    /// Write what the director sends to this capture file
    #[arg(long, value_name = "OUT.pcap", requires = "pcap")]
    pub(crate) out: Option<PathBuf>,

    /// Print shares, fairness, largest clients and drops, also where --out is given
    #[arg(long, requires = "pcap")]
    pub(crate) report: bool,

    /// The report for machines
    #[arg(long, requires = "pcap")]
    pub(crate) json: bool,

    /// List the flows that these rules would send elsewhere
    #[arg(long, value_name = "RULES2", requires = "pcap")]
    pub(crate) against: Option<PathBuf>,

    /// Replay only frames to this Ethernet address: that of the director, for a capture made on the
    /// director itself, which shows each packet twice, as it came and as it went
    #[arg(long, value_name = "MAC", requires = "pcap", value_parser = crate::mac::parse)]
    pub(crate) station: Option<lvs_core::addr::MacAddr>,

    /// A virtual address, where a mark rule has no -d or a prefix
    #[arg(long, value_name = "ADDRESS", requires = "pcap")]
    pub(crate) vip: Vec<IpAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Which clients and ports appear; without --netns the same number gives the same output, byte for byte
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Play in network namespaces, with the kernel's own TCP and through AF_PACKET, in real time; needs root
    #[arg(long)]
    pub(crate) netns: bool,

    /// Wait for Enter before each step and, in virtual time, before each moment of it
    #[arg(long)]
    pub(crate) pause: bool,
}

/// Whose routes through gateways a director follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum RoutesOf {
    /// Those of the host's main tables, as they change
    Host,
    /// Nobody's: the interfaces' networks and --route are all
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> tracing::Level {
        match level {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Trace => tracing::Level::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
