//! The stage in network namespaces: veth pairs on a bridge, the kernel's own TCP, the director behind
//! AF_PACKET.
//!
//! ```text
//!  client ns ── eth0 ┐            ┌ eth0 ── server ns 192.168.1.2, VIP on lo
//!                    ├─ bridge ns ┤
//!  director ns ─ eth0┘            └ eth0 ── server ns 192.168.1.3, VIP on lo
//! ```

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::rc::Rc;

use lvs_core::listing::{AddressConflict, ConnectionEntry, ServiceEntry};
use lvs_core::stats::Counters;
use lvs_core::time::Duration;

use self::director::DirectorThread;
use self::network::Network;
use super::stage::{Link, Pace, Stage};
use super::{DemoError, console};

mod client;
mod director;
mod namespace;
mod network;
mod server;

/// How long it takes to type a line; meanwhile the director asks for the real servers' addresses.
const TYPING: Duration = Duration::from_millis(50);
/// How long the last ACK of a connection may be under way.
const LAST_ACK: Duration = Duration::from_millis(50);

/// The network of all steps: making it takes a second.
pub(super) struct Theatre(Rc<Network>);

impl Theatre {
    /// Makes the namespaces and starts what runs on the real servers.
    pub(super) fn open() -> Result<Theatre, DemoError> {
        Ok(Theatre(Rc::new(Network::new()?)))
    }

    /// The network with a new director and empty carts.
    pub(super) fn stage(&self) -> Result<Namespaces, DemoError> {
        self.0.forget_carts();
        let director = DirectorThread::start(self.0.director())?;
        Ok(Namespaces { network: self.0.clone(), director, streams: Vec::new(), began: None })
    }
}

/// One step's use of the network.
pub(super) struct Namespaces {
    network: Rc<Network>,
    director: DirectorThread,
    streams: Vec<TcpStream>,
    /// When the first client began to connect.
    began: Option<std::time::Instant>,
}

impl Stage for Namespaces {
    fn type_line(&mut self, line: &str) -> Result<String, DemoError> {
        std::thread::sleep(TYPING);
        let typed = line.to_owned();
        let printed =
            self.director.ask(move |director, now| console::run(&typed, now, director))?;
        std::thread::sleep(TYPING);
        printed
    }

    fn services(&mut self) -> Result<Vec<ServiceEntry>, DemoError> {
        self.director.ask(|director, now| director.services(now))
    }

    fn connections(&mut self) -> Result<Vec<ConnectionEntry>, DemoError> {
        self.director.ask(|director, now| console::connections(now, director))
    }

    fn totals(&mut self) -> Result<Counters, DemoError> {
        self.director.ask(|director, _| director.stats().total)
    }

    fn connect(&mut self, client: Ipv4Addr, port: u16) -> Result<Link, DemoError> {
        let link = Link { client, port, number: self.streams.len() };
        self.network.give_client(client)?;
        let server = SocketAddrV4::new(super::VIP, port);
        self.began.get_or_insert_with(std::time::Instant::now);
        let started = self.network.client().enter(|| client::connect(client, server))?;
        self.streams.push(started.map_err(|error| link.failed(error))?);
        Ok(link)
    }

    fn wait_open(&mut self, link: Link) -> Result<(), DemoError> {
        client::wait_open(&self.streams[link.number]).map_err(|error| link.failed(error))
    }

    fn send(&mut self, link: Link, bytes: &[u8]) -> Result<(), DemoError> {
        client::send(&self.streams[link.number], bytes).map_err(|error| link.failed(error))
    }

    fn receive(
        &mut self,
        link: Link,
        complete: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, DemoError> {
        let received = client::receive(&self.streams[link.number], complete);
        received.map_err(|error| link.failed(error))
    }

    fn close(&mut self, link: Link) -> Result<(), DemoError> {
        client::close(&self.streams[link.number]).map_err(|error| link.failed(error))?;
        std::thread::sleep(LAST_ACK);
        Ok(())
    }

    fn cut_off(&mut self, cut: bool) -> Result<(), DemoError> {
        self.network.cut_off_servers(cut)
    }

    fn pace(&self) -> Pace {
        Pace::Real
    }

    fn elapse(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn elapsed(&mut self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    fn add_careless_server(&mut self, _addr: Ipv4Addr) -> Result<(), DemoError> {
        // Which of two answers a kernel believes is a matter of microseconds; steps that need this are
        // not played here.
        Ok(())
    }

    fn conflicts(&mut self) -> Result<Vec<AddressConflict>, DemoError> {
        self.director.ask(|director, _| director.conflicts().to_vec())
    }
}

impl Drop for Namespaces {
    /// Clients say good-bye while there is a director to pass it on, so that real servers are not left
    /// with their halves of the connections.
    fn drop(&mut self) {
        self.streams.clear();
        std::thread::sleep(LAST_ACK);
    }
}
