//! What the lines of a file make together: each is applied to a model of the director's tables, so that
//! a file that would be refused half way is refused before anything happens.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use lvs_core::command::{Command, DestinationSpec, ServiceKey, ServiceSpec, TimeoutsSpec};
use lvs_core::flow::Endpoint;

use super::error::Fault;
use crate::ipvsadm::table::Label;
use crate::ipvsadm::{DAEMON_RUNS, DaemonRole, DaemonSpec, NO_DAEMON, OptionWords};

/// A virtual service as the file leaves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DesiredService {
    /// The service.
    pub spec: ServiceSpec,
    /// Its real servers, in the order in which they are added.
    pub destinations: Vec<DestinationSpec>,
    /// The line that defines it.
    pub line: u32,
}

#[derive(Debug)]
struct Service {
    order: usize,
    line: u32,
    spec: ServiceSpec,
    destinations: HashMap<Endpoint, Destination>,
}

#[derive(Debug)]
struct Destination {
    order: usize,
    line: u32,
    spec: DestinationSpec,
}

/// The tables so far.
#[derive(Debug, Default)]
pub(super) struct Model {
    services: HashMap<ServiceKey, Service>,
    timeouts: TimeoutsSpec,
    /// Daemons, each with its line.
    daemons: Vec<(u32, DaemonSpec)>,
    /// How many lines were applied, which orders what they added.
    applied: usize,
    /// Services of lines that were refused: lines about them are no further mistakes.
    excused: HashSet<ServiceKey>,
}

impl Model {
    /// Remembers that the line of a service was refused, so that of a wrong `-A` and the `-a` that
    /// follow it only the first is told.
    pub(super) fn excuse(&mut self, key: Option<ServiceKey>) {
        self.excused.extend(key);
    }

    /// Applies the command of a line, whose options stood in `words`.
    pub(super) fn apply(
        &mut self,
        command: &Command,
        words: &OptionWords,
        line: u32,
    ) -> Result<(), Fault> {
        let excused = key_of(command).is_some_and(|key| self.excused.contains(key));
        if excused && self.lacks(command) { Ok(()) } else { self.change(command, words, line) }
    }

    /// A line that starts a daemon.
    pub(super) fn start_daemon(&mut self, spec: &DaemonSpec, line: u32) -> Result<(), Fault> {
        if let Some((other, _)) = self.daemons.iter().find(|(_, d)| d.role == spec.role) {
            let message = format!("{DAEMON_RUNS}: {}, started on line {other}", spec.role);
            return Err(Fault::new(0, message, "remove one of the two lines"));
        }
        self.daemons.push((line, spec.clone()));
        Ok(())
    }

    /// A line that stops one.
    pub(super) fn stop_daemon(&mut self, role: DaemonRole) -> Result<(), Fault> {
        let before = self.daemons.len();
        self.daemons.retain(|(_, spec)| spec.role != role);
        if self.daemons.len() == before {
            let help = "a file starts daemons; of one that no line starts none will run";
            return Err(Fault::new(0, format!("{NO_DAEMON}: {role}"), help));
        }
        Ok(())
    }

    /// Whether the service that a command needs is not there.
    fn lacks(&self, command: &Command) -> bool {
        let defines = matches!(command, Command::AddService(_));
        !defines && key_of(command).is_some_and(|key| !self.services.contains_key(key))
    }

    fn change(&mut self, command: &Command, words: &OptionWords, line: u32) -> Result<(), Fault> {
        self.applied += 1;
        let at = |label| words.of(label).unwrap_or(0);
        match command {
            Command::AddService(spec) => self.add_service(spec, line, at(Label::ServiceAddress)),
            Command::EditService(spec) => match self.services.get_mut(&spec.key) {
                Some(service) => {
                    service.spec = spec.clone();
                    Ok(())
                }
                None => Err(no_such_service(&spec.key, at(Label::ServiceAddress))),
            },
            Command::DeleteService(key) => match self.services.remove(key) {
                Some(_) => Ok(()),
                None => Err(no_such_service(key, at(Label::ServiceAddress))),
            },
            Command::Clear => {
                self.services.clear();
                Ok(())
            }
            Command::AddDestination(key, spec) => {
                check_destination(spec, words)?;
                let order = self.applied;
                let service = self.service(key, at(Label::ServiceAddress))?;
                if let Some(other) = service.destinations.get(&spec.addr) {
                    let message = format!(
                        "Destination already exists: {} of {key}, added on line {}",
                        spec.addr, other.line
                    );
                    let help = "remove one of the two lines, or use -e to change it";
                    return Err(Fault::new(at(Label::RealServer), message, help));
                }
                let destination = Destination { order, line, spec: *spec };
                service.destinations.insert(spec.addr, destination);
                Ok(())
            }
            Command::EditDestination(key, spec) => {
                check_destination(spec, words)?;
                let service = self.service(key, at(Label::ServiceAddress))?;
                match service.destinations.get_mut(&spec.addr) {
                    Some(destination) => {
                        destination.spec = *spec;
                        Ok(())
                    }
                    None => Err(no_such_destination(key, spec.addr, at(Label::RealServer))),
                }
            }
            Command::DeleteDestination(key, addr) => {
                let service = self.service(key, at(Label::ServiceAddress))?;
                match service.destinations.remove(addr) {
                    Some(_) => Ok(()),
                    None => Err(no_such_destination(key, *addr, at(Label::RealServer))),
                }
            }
            Command::SetTimeouts(spec) => {
                self.timeouts.tcp = spec.tcp.or(self.timeouts.tcp);
                self.timeouts.tcp_fin = spec.tcp_fin.or(self.timeouts.tcp_fin);
                self.timeouts.udp = spec.udp.or(self.timeouts.udp);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn add_service(&mut self, spec: &ServiceSpec, line: u32, word: usize) -> Result<(), Fault> {
        if let ServiceKey::Address { virt, .. } = spec.key
            && !is_unicast(virt.addr)
        {
            let message = format!("{} cannot be a virtual address", virt.addr);
            return Err(Fault::new(word, message, "give the address that clients connect to"));
        }
        if let Some(other) = self.services.get(&spec.key) {
            let message =
                format!("Service already exists: {}, defined on line {}", spec.key, other.line);
            let help = "remove one of the two lines, or use -E to change it";
            return Err(Fault::new(word, message, help));
        }
        let (order, destinations) = (self.applied, HashMap::new());
        self.services.insert(spec.key, Service { order, line, spec: spec.clone(), destinations });
        Ok(())
    }

    fn service(&mut self, key: &ServiceKey, word: usize) -> Result<&mut Service, Fault> {
        self.services.get_mut(key).ok_or_else(|| {
            let message = format!("Service not defined: {key}");
            Fault::new(word, message, "define it with -A on an earlier line")
        })
    }

    /// What the whole file makes.
    pub(super) fn finish(self) -> (Vec<DesiredService>, TimeoutsSpec, Vec<DaemonSpec>) {
        let mut daemons: Vec<_> = self.daemons.into_iter().map(|(_, spec)| spec).collect();
        daemons.sort_by_key(|spec| spec.role);
        let mut services: Vec<_> = self.services.into_values().collect();
        services.sort_by_key(|service| service.order);
        let services = services.into_iter().map(|service| {
            let mut destinations: Vec<_> = service.destinations.into_values().collect();
            destinations.sort_by_key(|destination| destination.order);
            let destinations = destinations.into_iter().map(|d| d.spec).collect();
            DesiredService { spec: service.spec, destinations, line: service.line }
        });
        (services.collect(), self.timeouts, daemons)
    }
}

/// The service that a command is about.
fn key_of(command: &Command) -> Option<&ServiceKey> {
    match command {
        Command::AddService(spec) | Command::EditService(spec) => Some(&spec.key),
        Command::DeleteService(key)
        | Command::AddDestination(key, _)
        | Command::EditDestination(key, _)
        | Command::DeleteDestination(key, _) => Some(key),
        _ => None,
    }
}

fn no_such_service(key: &ServiceKey, word: usize) -> Fault {
    let help = "define it with -A on an earlier line";
    Fault::new(word, format!("No such service: {key}"), help)
}

fn no_such_destination(key: &ServiceKey, addr: Endpoint, word: usize) -> Fault {
    let help = "add it with -a on an earlier line";
    Fault::new(word, format!("No such destination: {addr} of {key}"), help)
}

fn check_destination(spec: &DestinationSpec, words: &OptionWords) -> Result<(), Fault> {
    if !is_unicast(spec.addr.addr) {
        let word = words.of(Label::RealServer).unwrap_or(0);
        let message = format!("{} cannot be a real server", spec.addr.addr);
        return Err(Fault::new(word, message, "give the address of one machine"));
    }
    if spec.lower_threshold > spec.upper_threshold {
        let word = words.of(Label::LowerThreshold).unwrap_or(0);
        let message = format!(
            "the lower threshold {} is above the upper threshold {}",
            spec.lower_threshold, spec.upper_threshold
        );
        return Err(Fault::new(word, message, "-x UPPER -y LOWER, with UPPER at least LOWER"));
    }
    Ok(())
}

/// Whether an address is one machine's, as far as the address alone can say.
fn is_unicast(addr: IpAddr) -> bool {
    let broadcast = match addr {
        IpAddr::V4(addr) => addr.is_broadcast() || addr.octets()[0] == 0,
        IpAddr::V6(_) => false,
    };
    !(broadcast || addr.is_multicast() || addr.is_unspecified())
}
