//! The stage in memory and in virtual time.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use lvs_core::listing::{AddressConflict, ConnectionEntry, ServiceEntry};
use lvs_core::stats::Counters;
use lvs_core::time::{Duration, Instant};
use lvs_sim::peers::{Lan, LanSpec, Service, StationId, Stream, StreamState};

use super::cast::Cast;
use super::shop::{Banner, Shop};
use super::stage::{Link, Pace, Stage};
use super::{DIRECTOR, DemoError, SERVERS, VIP, console};

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it takes to type a line.
const TYPING: Duration = Duration::from_millis(50);

/// Clients, real servers and a director on one segment.
#[derive(Debug)]
pub(super) struct Simulated {
    lan: Lan,
    servers: [StationId; 2],
    clients: HashMap<Ipv4Addr, StationId>,
    streams: Vec<Stream>,
    /// The ports that clients connect from, in the order of their use.
    ports: Vec<u16>,
    /// When the first client began to connect.
    began: Option<Instant>,
}

impl Simulated {
    pub(super) fn new(cast: &mut Cast) -> Result<Simulated, DemoError> {
        let mut lan =
            Lan::new(&LanSpec { seed: cast.number(), ..LanSpec::new(DIRECTOR, 16, VIP) })?;
        let servers = SERVERS.map(|addr| {
            let server = lan.add_station(addr, &[VIP]);
            open_shop(&mut lan, server, addr);
            server
        });
        let ports = cast.ports();
        Ok(Simulated {
            lan,
            servers,
            clients: HashMap::new(),
            streams: Vec::new(),
            ports,
            began: None,
        })
    }

    fn wait(&mut self, link: Link, wanted: impl FnMut(&mut Lan) -> bool) -> Result<(), DemoError> {
        let end = self.lan.now() + PATIENCE;
        match self.lan.run_until(end, wanted) {
            true => Ok(()),
            false => Err(link.failed(format!("nothing for {} s", PATIENCE.as_secs()))),
        }
    }
}

impl Stage for Simulated {
    fn type_line(&mut self, line: &str) -> Result<String, DemoError> {
        self.lan.run_for(TYPING);
        let now = self.lan.now();
        console::run(line, now, self.lan.director())
    }

    fn services(&mut self) -> Result<Vec<ServiceEntry>, DemoError> {
        let now = self.lan.now();
        Ok(self.lan.director().services(now))
    }

    fn connections(&mut self) -> Result<Vec<ConnectionEntry>, DemoError> {
        let now = self.lan.now();
        Ok(console::connections(now, self.lan.director()))
    }

    fn totals(&mut self) -> Result<Counters, DemoError> {
        Ok(self.lan.director().stats().total)
    }

    fn connect(&mut self, client: Ipv4Addr, port: u16) -> Result<Link, DemoError> {
        let lan = &mut self.lan;
        self.began.get_or_insert(lan.now());
        let station = *self.clients.entry(client).or_insert_with(|| lan.add_station(client, &[]));
        let link = Link { client, port, number: self.streams.len() };
        let from = self.ports.get(link.number).copied();
        let from = from.ok_or_else(|| link.failed("no port left to connect from"))?;
        let stream = self.lan.connect(station, from, SocketAddrV4::new(VIP, port));
        self.streams.push(stream.map_err(|error| link.failed(error))?);
        Ok(link)
    }

    fn wait_open(&mut self, link: Link) -> Result<(), DemoError> {
        let stream = self.streams[link.number];
        self.wait(link, |lan| lan.state(stream) != StreamState::Opening)?;
        match self.lan.state(stream) {
            StreamState::Open => Ok(()),
            _ => Err(link.failed("refused")),
        }
    }

    fn send(&mut self, link: Link, bytes: &[u8]) -> Result<(), DemoError> {
        let sent = self.lan.send(self.streams[link.number], bytes);
        sent.map_err(|error| link.failed(error))
    }

    fn receive(
        &mut self,
        link: Link,
        complete: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, DemoError> {
        let (stream, mut received) = (self.streams[link.number], Vec::new());
        self.wait(link, |lan| {
            received.extend(lan.receive(stream));
            complete(&received)
        })?;
        Ok(received)
    }

    fn close(&mut self, link: Link) -> Result<(), DemoError> {
        let stream = self.streams[link.number];
        self.lan.close(stream);
        self.wait(link, |lan| lan.state(stream) == StreamState::Closed)?;
        // The last ACK is still under way to the director.
        self.lan.run_for(Duration::from_millis(1));
        Ok(())
    }

    fn cut_off(&mut self, cut: bool) -> Result<(), DemoError> {
        self.servers.iter().for_each(|server| self.lan.set_unplugged(*server, cut));
        Ok(())
    }

    fn pace(&self) -> Pace {
        Pace::Virtual
    }

    fn elapse(&mut self, time: Duration) {
        self.lan.run_for(time);
    }

    fn elapsed(&mut self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| self.lan.now() - began)
    }

    fn add_careless_server(&mut self, addr: Ipv4Addr) -> Result<(), DemoError> {
        let server = self.lan.add_careless_station(addr, &[VIP]);
        open_shop(&mut self.lan, server, addr);
        Ok(())
    }

    fn conflicts(&mut self) -> Result<Vec<AddressConflict>, DemoError> {
        Ok(self.lan.director().conflicts().to_vec())
    }
}

/// Starts what runs on a real server.
fn open_shop(lan: &mut Lan, server: StationId, addr: Ipv4Addr) {
    let shop = Shop::new(addr);
    let services: [(u16, Box<dyn Service>); 3] =
        [(80, Box::new(shop.clone())), (443, Box::new(shop)), (22, Box::new(Banner(addr)))];
    for (port, service) in services {
        let listening = lan.listen(server, port, service);
        debug_assert!(listening.is_ok(), "none of the ports is 0");
    }
}
