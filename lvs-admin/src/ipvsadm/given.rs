//! What the options of one command line said, checked one by one as they came and then together.

use std::net::IpAddr;

use lvs_core::addr::{Family, Granularity};
use lvs_core::command::{
    DestinationSpec, ForwardingMethod, PERSISTENCE_TIMEOUT_DEFAULT, Persistence, SchedulerFlags,
    ServiceKey, ServiceSpec, TimeoutsSpec,
};
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::{FwMark, L4Port};
use lvs_core::time::Duration;

use super::refusal::{Refusal, RefusalKind};
use super::table::{Label, Opt, OptionInfo, Verb, VerbInfo};
use super::tunnel::TunnelGiven;
use super::{Action, Columns, DaemonRole, DaemonSpec, ListRequest, ListWhat};
use crate::address::{HostPort, ipv4, number};
use crate::names::Names;

/// The longest timeout that ipvsadm takes, in seconds: 31 days.
const TIMEOUT_MAX: i64 = 86_400 * 31;

/// A value, and the index of its word.
type Worded<'a> = (&'a str, usize);

/// Where the options of a line stood: for each, the index of the word that holds its value, or of the
/// option itself where it has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionWords([Option<usize>; Label::ALL.len()]);

impl OptionWords {
    /// The word of an option, if it was given.
    pub const fn of(&self, label: Label) -> Option<usize> {
        self.0[label as usize]
    }
}

impl Default for OptionWords {
    fn default() -> Self {
        OptionWords([None; Label::ALL.len()])
    }
}

pub(super) struct Given<'n> {
    names: &'n dyn Names,
    /// The word in which each label's option was given.
    pub(super) seen: OptionWords,
    service: Option<ServiceKey>,
    scheduler: Option<String>,
    scheduler_flags: Option<(String, usize)>,
    engine: Option<String>,
    persistence: Option<Duration>,
    netmask: Option<(String, usize)>,
    server: Option<HostPort>,
    tunnel: TunnelGiven,
    weight: u32,
    upper: u32,
    lower: u32,
    daemon: DaemonSpec,
    is_daemon: bool,
    /// The values of `--set`.
    pub(super) set: TimeoutsSpec,
}

impl<'n> Given<'n> {
    pub(super) fn new(names: &'n dyn Names) -> Given<'n> {
        Given {
            names,
            seen: OptionWords::default(),
            service: None,
            scheduler: None,
            scheduler_flags: None,
            engine: None,
            persistence: None,
            netmask: None,
            server: None,
            tunnel: TunnelGiven::default(),
            weight: 1,
            upper: 0,
            lower: 0,
            daemon: DaemonSpec::new(DaemonRole::Master),
            is_daemon: false,
            set: TimeoutsSpec::default(),
        }
    }

    pub(super) fn has(&self, label: Label) -> bool {
        self.word_of(label).is_some()
    }

    fn word_of(&self, label: Label) -> Option<usize> {
        self.seen.of(label)
    }

    fn refuse<T>(&self, kind: RefusalKind, label: Label) -> Result<T, Refusal> {
        Err(Refusal { kind, word: self.word_of(label) })
    }

    /// The value of `--start-daemon` and `--stop-daemon`.
    pub(super) fn role(&mut self, verb: Verb, value: Option<Worded<'_>>) -> Result<(), Refusal> {
        let Some((text, word)) = value else { return Ok(()) };
        self.is_daemon = true;
        self.daemon.role = match (text, verb) {
            ("master", _) => DaemonRole::Master,
            ("backup", _) => DaemonRole::Backup,
            (_, Verb::StopDaemon) => return refuse(RefusalKind::StopDaemon, word),
            _ => return refuse(RefusalKind::StartDaemon, word),
        };
        Ok(())
    }

    /// Takes one option.
    pub(super) fn option(
        &mut self,
        info: &OptionInfo,
        value: Option<Worded<'_>>,
        word: usize,
    ) -> Result<(), Refusal> {
        let (text, value_word) = value.unwrap_or(("", word));
        if let Some(label) = info.label {
            if self.has(label) {
                return refuse(RefusalKind::Repeated(label), word);
            }
            self.seen.0[label as usize] = Some(value_word);
        }
        let kind = match info.id {
            Opt::Tcp => self.service_address(Protocol::TCP, text),
            Opt::Udp => self.service_address(Protocol::UDP, text),
            Opt::Sctp => self.service_address(Protocol::SCTP, text),
            Opt::FwMark => self.mark(text),
            Opt::Ipv6 => self.ipv6(),
            Opt::Persistent if value.is_none() => {
                self.persistence = Some(PERSISTENCE_TIMEOUT_DEFAULT);
                Ok(())
            }
            Opt::Persistent => seconds(text, 1).map(|timeout| self.persistence = Some(timeout)),
            Opt::Netmask => {
                self.netmask = Some((text.to_owned(), value_word));
                match self.service {
                    Some(key) => granularity(text, key.family()).map(|_| ()),
                    None => Ok(()),
                }
            }
            Opt::RealServer => self.server_address(text),
            Opt::Weight => natural(text, RefusalKind::Weight).map(|n| self.weight = n),
            Opt::UpperThreshold => {
                natural(text, RefusalKind::UpperThreshold).map(|n| self.upper = n)
            }
            Opt::LowerThreshold => {
                natural(text, RefusalKind::LowerThreshold).map(|n| self.lower = n)
            }
            Opt::Scheduler => {
                self.scheduler = Some(text.to_owned());
                Ok(())
            }
            Opt::SchedulerFlags => {
                self.scheduler_flags = Some((text.to_owned(), value_word));
                Ok(())
            }
            Opt::Engine => {
                self.engine = Some(text.to_owned());
                Ok(())
            }
            _ => self.tunnel.option(info.id, text).unwrap_or_else(|| self.sync(info.id, text)),
        };
        kind.map_err(|kind| Refusal { kind, word: Some(value_word) })
    }

    fn service_address(&mut self, protocol: Protocol, text: &str) -> Result<(), RefusalKind> {
        let parsed =
            HostPort::parse(text, protocol, self.names).ok_or(RefusalKind::ServiceAddress)?;
        let virt = Endpoint::new(parsed.addr, parsed.port.unwrap_or(0));
        self.service = Some(ServiceKey::Address { protocol, virt });
        Ok(())
    }

    fn mark(&mut self, text: &str) -> Result<(), RefusalKind> {
        let mark = number(text, 1, u32::MAX.into()).and_then(|n| u32::try_from(n).ok());
        let mark = mark.ok_or_else(|| RefusalKind::FwMark(text.to_owned()))?;
        self.service = Some(ServiceKey::Mark { mark: FwMark(mark), family: Family::V4 });
        Ok(())
    }

    fn ipv6(&mut self) -> Result<(), RefusalKind> {
        match &mut self.service {
            Some(ServiceKey::Mark { family, .. }) => {
                *family = Family::V6;
                Ok(())
            }
            _ => Err(RefusalKind::Ipv6BeforeMark),
        }
    }

    fn server_address(&mut self, text: &str) -> Result<(), RefusalKind> {
        let protocol = match self.service {
            Some(ServiceKey::Address { protocol, .. }) => protocol,
            _ => Protocol::TCP,
        };
        let parsed =
            HostPort::parse(text, protocol, self.names).ok_or(RefusalKind::ServerAddress)?;
        self.server = Some(parsed);
        Ok(())
    }

    /// The options of synchronisation; all others that come here have no value to keep.
    fn sync(&mut self, id: Opt, text: &str) -> Result<(), RefusalKind> {
        let ranged =
            |label, least, most| number(text, least, most).ok_or(RefusalKind::DaemonNumber(label));
        let daemon = &mut self.daemon;
        match id {
            Opt::SyncId => daemon.sync_id = u8::try_from(ranged(Label::SyncId, 0, 255)?).ok(),
            Opt::SyncMaxLen => {
                daemon.max_len = u16::try_from(ranged(Label::SyncMaxLen, 1, 65_507)?).ok();
            }
            Opt::McastPort => {
                daemon.port = u16::try_from(ranged(Label::McastPort, 1, 65_535)?).ok();
            }
            Opt::McastTtl => daemon.ttl = u8::try_from(ranged(Label::McastTtl, 1, 255)?).ok(),
            Opt::McastInterface => daemon.interface = text.to_owned(),
            Opt::McastGroup => {
                let version = if text.contains(':') { 6 } else { 4 };
                let group = text.parse::<IpAddr>().ok().filter(IpAddr::is_multicast);
                let refused = || RefusalKind::McastGroup { version, text: text.to_owned() };
                daemon.group = Some(group.ok_or_else(refused)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// The three values of `--set`; how many words they were.
    pub(super) fn timeouts(&mut self, bare: &[Worded<'_>], word: usize) -> Result<usize, Refusal> {
        let [tcp, tcp_fin, udp, ..] = bare else {
            return refuse(RefusalKind::SetValues, word);
        };
        let read = |&(text, word): &Worded<'_>| match seconds(text, 0) {
            Ok(Duration::ZERO) => Ok(None),
            Ok(timeout) => Ok(Some(timeout)),
            Err(kind) => refuse(kind, word),
        };
        self.set = TimeoutsSpec { tcp: read(tcp)?, tcp_fin: read(tcp_fin)?, udp: read(udp)? };
        Ok(3)
    }

    /// Whether all that the command needs is there, and nothing that it does not take.
    pub(super) fn check_options(
        &self,
        verb: &'static VerbInfo,
        word: usize,
    ) -> Result<(), Refusal> {
        for &option in Label::ALL {
            let required = verb.required.contains(&option);
            match self.word_of(option) {
                None if required => {
                    return refuse(RefusalKind::Required { option, command: verb.label }, word);
                }
                Some(word) if !required && !verb.optional.contains(&option) => {
                    let kind = RefusalKind::NotWithCommand { option, command: verb.label };
                    return refuse(kind, word);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The service that `-Z` may name.
    pub(super) fn any_key(&self) -> Option<ServiceKey> {
        self.service
    }

    /// The service that the command names.
    pub(super) fn key(&self, word: usize) -> Result<ServiceKey, Refusal> {
        let kind = RefusalKind::Required { option: Label::ServiceAddress, command: "" };
        self.service.ok_or(Refusal { kind, word: Some(word) })
    }

    pub(super) fn service_spec(&mut self) -> Result<ServiceSpec, Refusal> {
        let key = self.key(0)?;
        let scheduler = self.scheduler.take().filter(|name| !name.is_empty());
        let mut spec = ServiceSpec::new(key);
        if let Some(name) = scheduler {
            spec.scheduler = name.into();
        }
        if let Some((text, word)) = &self.scheduler_flags {
            spec.flags =
                flags(text, &spec.scheduler).map_err(|kind| Refusal { kind, word: Some(*word) })?;
        }
        if let ServiceKey::Address { protocol, virt } = key {
            if virt.port == L4Port::ANY && self.persistence.is_none() {
                return self.refuse(RefusalKind::ZeroPort, Label::ServiceAddress);
            }
            if self.has(Label::OnePacket) && protocol != Protocol::UDP {
                return self.refuse(RefusalKind::OnePacket, Label::OnePacket);
            }
        }
        if let Some((text, word)) = &self.netmask {
            spec.granularity = granularity(text, key.family())
                .map_err(|kind| Refusal { kind, word: Some(*word) })?;
        }
        let granularity = spec.granularity;
        spec.persistence = self.persistence.map(|timeout| Persistence { timeout, granularity });
        spec.one_packet = self.has(Label::OnePacket);
        spec.engine = self.engine.take().filter(|name| !name.is_empty()).map(Into::into);
        Ok(spec)
    }

    /// The real server by name, as `-d` takes it: the port as given, else the service's.
    pub(super) fn destination_name(&self, word: usize) -> Result<(ServiceKey, Endpoint), Refusal> {
        let key = self.key(word)?;
        let kind = RefusalKind::Required { option: Label::RealServer, command: "" };
        let server = self.server.ok_or(Refusal { kind, word: Some(word) })?;
        let port = server.port.unwrap_or(key.port().0);
        Ok((key, Endpoint::new(server.addr, port)))
    }

    pub(super) fn destination_spec(
        &self,
        word: usize,
    ) -> Result<(ServiceKey, DestinationSpec), Refusal> {
        let (key, addr) = self.destination_name(word)?;
        let mut spec = DestinationSpec::new(addr);
        if key.family() != Family::of(addr.addr) && !self.tunnel.is_tunnel() {
            return self.refuse(RefusalKind::OtherFamily, Label::RealServer);
        }
        spec.method = self.tunnel.method().map_err(|(kind, label)| {
            let word = self.word_of(label).or_else(|| self.word_of(Label::TunnelType));
            Refusal { kind, word }
        })?;
        // Without translation the packet keeps the port it was sent to (rule L9); a server of a mark is
        // called by the port that it is given.
        if let (ServiceKey::Address { virt, .. }, true) =
            (key, spec.method != ForwardingMethod::Masquerade)
        {
            spec.addr.port = virt.port;
        }
        spec.weight = self.weight;
        spec.upper_threshold = self.upper;
        spec.lower_threshold = self.lower;
        Ok((key, spec))
    }

    pub(super) fn list_request(&self) -> Result<ListRequest, Refusal> {
        let tables = [Label::Connection, Label::ServiceAddress, Label::Timeout, Label::Daemon];
        let mut given = tables.into_iter().filter(|&label| self.has(label));
        let table = given.next();
        if let (Some(other), Some(option)) = (table, given.next()) {
            return self.refuse(RefusalKind::ListConflict { option, other }, option);
        }
        let what = match table {
            Some(Label::Connection) => ListWhat::Connections,
            Some(Label::Timeout) => ListWhat::Timeouts,
            Some(Label::Daemon) => ListWhat::Daemons,
            _ => ListWhat::Services,
        };
        let columns = [
            (Label::Stats, Columns::Stats),
            (Label::Rate, Columns::Rate),
            (Label::Thresholds, Columns::Thresholds),
            (Label::PersistentConn, Columns::PersistentConn),
            (Label::TunnelInfo, Columns::TunnelInfo),
        ];
        let excluded = match what {
            ListWhat::Services => 0,
            ListWhat::Connections => 3,
            ListWhat::Timeouts | ListWhat::Daemons => 4,
        };
        for (label, _) in &columns[..excluded] {
            if self.has(*label) {
                return self.refuse(RefusalKind::ListOptions, *label);
            }
        }
        let columns = columns.into_iter().find(|&(label, _)| self.has(label));
        Ok(ListRequest {
            what,
            columns: columns.map(|(_, columns)| columns).unwrap_or_default(),
            engine_columns: self.has(Label::PersistentConn),
            numeric: self.has(Label::Numeric),
            exact: self.has(Label::Exact),
            unsorted: self.has(Label::NoSort),
            service: self.service,
        })
    }

    pub(super) fn daemon_spec(self, word: usize) -> Result<DaemonSpec, Refusal> {
        if self.is_daemon { Ok(self.daemon) } else { refuse(RefusalKind::StartDaemon, word) }
    }

    pub(super) fn stop_daemon(&self, word: usize) -> Result<Action, Refusal> {
        if !self.is_daemon {
            return refuse(RefusalKind::StopDaemon, word);
        }
        Ok(Action::StopDaemon { role: self.daemon.role, sync_id: self.daemon.sync_id })
    }
}

fn refuse<T>(kind: RefusalKind, word: usize) -> Result<T, Refusal> {
    Err(Refusal { kind, word: Some(word) })
}

fn seconds(text: &str, least: i64) -> Result<Duration, RefusalKind> {
    let seconds = number(text, least, TIMEOUT_MAX).and_then(|n| u64::try_from(n).ok());
    seconds.map(Duration::from_secs).ok_or_else(|| RefusalKind::Timeout(text.to_owned()))
}

/// A number from 0 to 2147483647, the range of ipvsadm's weights and thresholds.
fn natural(text: &str, refused: RefusalKind) -> Result<u32, RefusalKind> {
    let number = number(text, 0, i32::MAX.into()).and_then(|n| u32::try_from(n).ok());
    number.ok_or(refused)
}

/// `-M`: any IPv4 mask (rule R12), or a prefix length.
fn granularity(text: &str, family: Family) -> Result<Granularity, RefusalKind> {
    match family {
        Family::V4 => {
            let mask = ipv4(text).ok_or(RefusalKind::Netmask)?;
            Ok(Granularity::Mask(mask.to_bits()))
        }
        Family::V6 => {
            let len = number(text, 1, 128).and_then(|n| u8::try_from(n).ok());
            len.map(Granularity::Prefix).ok_or(RefusalKind::PrefixLength)
        }
    }
}

/// `-b`: flags by number, or by name where the name begins with the scheduler's.
fn flags(text: &str, scheduler: &str) -> Result<SchedulerFlags, RefusalKind> {
    let mut flags = SchedulerFlags::default();
    for flag in text.split(',').filter(|flag| !flag.is_empty()) {
        let (owner, which) = match flag {
            "flag-1" => (None, &mut flags.flag_1),
            "flag-2" => (None, &mut flags.flag_2),
            "flag-3" => (None, &mut flags.flag_3),
            "sh-fallback" => (Some("sh"), &mut flags.flag_1),
            "sh-port" => (Some("sh"), &mut flags.flag_2),
            "mh-fallback" => (Some("mh"), &mut flags.flag_1),
            "mh-port" => (Some("mh"), &mut flags.flag_2),
            _ => return Err(RefusalKind::SchedulerFlag(flag.to_owned())),
        };
        if owner.is_some_and(|owner| owner != scheduler) {
            return Err(RefusalKind::OtherSchedulersFlag(flag.to_owned()));
        }
        *which = true;
    }
    Ok(flags)
}
