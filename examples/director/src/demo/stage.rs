//! Where the story is played: a network with a director, behind verbs that a story needs.

use std::net::Ipv4Addr;

use lvs_core::listing::{AddressConflict, ConnectionEntry, ServiceEntry};
use lvs_core::stats::Counters;
use lvs_core::time::Duration;

use super::DemoError;

/// A client's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) client: Ipv4Addr,
    pub(super) port: u16,
    /// Its number at the stage.
    pub(super) number: usize,
}

impl Link {
    /// The error of whoever cannot use this connection.
    pub(super) fn failed(&self, why: impl ToString) -> DemoError {
        DemoError::Connection { client: self.client, port: self.port, why: why.to_string() }
    }
}

/// How time passes on a stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// A minute costs nothing and is exactly a minute.
    Virtual,
    /// A minute is a minute of the spectator's life, and more on a busy machine.
    Real,
}

impl Pace {
    /// By how many seconds a time may differ from what was expected.
    pub(super) fn slack(self) -> u64 {
        match self {
            Pace::Virtual => 0,
            Pace::Real => 2,
        }
    }
}

/// A network in which the story can be played.
pub(super) trait Stage {
    /// Types a line at the director; returns what it prints.
    fn type_line(&mut self, line: &str) -> Result<String, DemoError>;

    /// The services, as `-L` gets them.
    fn services(&mut self) -> Result<Vec<ServiceEntry>, DemoError>;

    /// The connections and templates, as `-Lc` gets them.
    fn connections(&mut self) -> Result<Vec<ConnectionEntry>, DemoError>;

    /// What passed the director, over all services.
    fn totals(&mut self) -> Result<Counters, DemoError>;

    /// Lets a client begin to connect to a port of the virtual address.
    fn connect(&mut self, client: Ipv4Addr, port: u16) -> Result<Link, DemoError>;

    /// Waits until a connection is open.
    fn wait_open(&mut self, link: Link) -> Result<(), DemoError>;

    /// Sends bytes over an open connection.
    fn send(&mut self, link: Link, bytes: &[u8]) -> Result<(), DemoError>;

    /// Waits until `complete` says that all of an answer has come, and returns it.
    fn receive(
        &mut self,
        link: Link,
        complete: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, DemoError>;

    /// Closes a connection and waits until both sides have.
    fn close(&mut self, link: Link) -> Result<(), DemoError>;

    /// Cuts the real servers off, or lets them hear and answer again.
    fn cut_off(&mut self, cut: bool) -> Result<(), DemoError>;

    /// How time passes here.
    fn pace(&self) -> Pace;

    /// Lets time pass.
    fn elapse(&mut self, time: Duration);

    /// How long the story has been going on, from the first client's first packet.
    fn elapsed(&mut self) -> Duration;

    /// Adds a machine that has the virtual address and answers ARP for it, as none may but the director.
    fn add_careless_server(&mut self, addr: Ipv4Addr) -> Result<(), DemoError>;

    /// Who else was caught answering ARP for a virtual address.
    fn conflicts(&mut self) -> Result<Vec<AddressConflict>, DemoError>;
}
