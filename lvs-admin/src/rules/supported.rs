//! What the director at hand can do: the language knows more than every version of it.

use lvs_core::command::{Command, DestinationSpec, ForwardingMethod, ServiceKey, ServiceSpec};
use lvs_core::engine::Engine;
use lvs_core::flow::Protocol;

use super::error::Fault;
use crate::ipvsadm::OptionWords;
use crate::ipvsadm::table::Label;

/// Which parts of the language a director carries out. A rules file that asks for another is refused
/// with the place and with what can be used instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Supported {
    /// The schedulers, by name.
    pub schedulers: &'static [&'static str],
    /// Schedulers that the embedding program registered with its director, by name.
    pub own_schedulers: &'static [&'static str],
    /// The persistence engines, by name.
    pub engines: &'static [&'static str],
    /// `-m`.
    pub masquerade: bool,
    /// `-i`.
    pub tunnel: bool,
    /// `-o`.
    pub one_packet: bool,
    /// `--sctp-service`.
    pub sctp: bool,
}

/// ipvsadm's schedulers; a name that is none of these is a typing mistake.
const SCHEDULERS: &[&str] =
    &["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh"];

/// The kernel's persistence engines.
const ENGINES: &[&str] = &[Engine::Sip.name()];

impl Supported {
    /// What this version's director can do: every forwarding method for TCP, UDP and SCTP, with every scheduler.
    pub const THIS_VERSION: Supported = Supported::EVERYTHING;

    /// All that the kernel can do.
    pub const EVERYTHING: Supported = Supported {
        schedulers: SCHEDULERS,
        own_schedulers: &[],
        engines: ENGINES,
        masquerade: true,
        tunnel: true,
        one_packet: true,
        sctp: true,
    };

    /// What in a command is not available.
    pub(super) fn fault(&self, command: &Command, words: &OptionWords) -> Option<Fault> {
        let found = match command {
            Command::AddService(spec) | Command::EditService(spec) => {
                self.service(spec).or_else(|| self.key(&spec.key))
            }
            Command::AddDestination(key, spec) | Command::EditDestination(key, spec) => {
                self.destination(spec).or_else(|| self.key(key))
            }
            Command::DeleteService(key) | Command::DeleteDestination(key, _) => self.key(key),
            _ => None,
        };
        let (label, message, help) = found?;
        Some(Fault::new(words.of(label).unwrap_or(0), message, help))
    }

    fn service(&self, spec: &ServiceSpec) -> Option<(Label, String, String)> {
        let name = &*spec.scheduler;
        if !self.schedulers.contains(&name) && !self.own_schedulers.contains(&name) {
            let known = [self.schedulers, self.own_schedulers].concat();
            let message = match SCHEDULERS.contains(&name) {
                true => format!("scheduler {name} is not available yet in this version"),
                false => format!("Scheduler or persistence engine not found: '{name}'"),
            };
            return Some((Label::Scheduler, message, format!("use {}", list(&known))));
        }
        if let Some(name) = spec.engine.as_deref().filter(|name| !self.engines.contains(name)) {
            let message = format!("Scheduler or persistence engine not found: '{name}'");
            let help = match self.engines {
                [] => "there is none; leave --pe out".to_owned(),
                known => format!("use {}", list(known)),
            };
            return Some((Label::Engine, message, help));
        }
        if spec.one_packet && !self.one_packet {
            let message = "one-packet scheduling (-o) is not available yet in this version";
            return Some((Label::OnePacket, message.to_owned(), "leave it out".to_owned()));
        }
        None
    }

    fn destination(&self, spec: &DestinationSpec) -> Option<(Label, String, String)> {
        let name = match spec.method {
            ForwardingMethod::Masquerade if !self.masquerade => "-m (NAT)",
            ForwardingMethod::Tunnel(_) if !self.tunnel => "-i (tunnel)",
            _ => return None,
        };
        let message = format!("forwarding method {name} is not available yet in this version");
        let mut methods = vec!["-g"];
        methods.extend(self.tunnel.then_some("-i"));
        methods.extend(self.masquerade.then_some("-m"));
        Some((Label::ForwardingMethod, message, format!("use {}", list(&methods))))
    }

    fn key(&self, key: &ServiceKey) -> Option<(Label, String, String)> {
        match key {
            ServiceKey::Address { protocol: Protocol::SCTP, .. } if !self.sctp => {
                let message = "SCTP services are not available yet in this version";
                Some((Label::ServiceAddress, message.to_owned(), "use -t, -u or -f".to_owned()))
            }
            _ => None,
        }
    }
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
