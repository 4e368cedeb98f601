//! A director with one service, its real servers known and resolved.

use std::net::{IpAddr, Ipv4Addr};

use lvs_core::addr::{MacAddr, Prefix};
use lvs_core::command::{
    Command, DestinationSpec, ForwardingMethod, Neighborhood, PortSpec, RouteSpec, ServiceKey,
    ServiceSpec,
};
use lvs_core::director::Director;
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, Verdict};
use lvs_core::limits::Limits;
use lvs_core::sched::SchedulerInfo;
use lvs_core::time::{Duration, Instant};

use crate::ring::{self, BURST, Flags, Ring};

/// How long after its last packet every connection is gone.
const LONGER_THAN_ANY_TIMEOUT: Duration = Duration::from_secs(3600);

/// The real server that [`World::masquerading`] has: address and port.
pub const MASQUERADED: ([u8; 4], u16) = ([10, 1, 1, 0], 8080);

/// A director and its clock.
#[derive(Debug)]
pub struct World {
    /// The director.
    pub director: Director,
    now: Instant,
}

/// The service: TCP, port 80 of the virtual address.
pub fn service() -> ServiceKey {
    let virt = Endpoint::new(Ipv4Addr::from(ring::VIRTUAL).into(), 80);
    ServiceKey::Address { protocol: Protocol::TCP, virt }
}

impl World {
    /// A director for `capacity` connections, with one service and so many real servers, of weights 1, 2,
    /// 3, 4, 1, ….
    ///
    /// # Panics
    /// If a command is refused.
    pub fn new(capacity: u32, scheduler: &str, servers: u8) -> World {
        let mut world = World::empty(capacity);
        world.configure(scheduler, servers);
        world
    }

    /// The same with a scheduler of the benchmark's own.
    ///
    /// # Panics
    /// If a command or the scheduler's name is refused.
    pub fn with_scheduler(capacity: u32, info: SchedulerInfo, servers: u8) -> World {
        let mut world = World::empty(capacity);
        world.director.register_scheduler(info).expect("the name is new");
        world.configure(info.name, servers);
        world
    }

    /// A director that masquerades to one real server, [`MASQUERADED`]; clients are behind a gateway.
    ///
    /// # Panics
    /// If a command is refused.
    pub fn masquerading(capacity: u32) -> World {
        let mut world = World::empty(capacity);
        world.configure("rr", 0);
        let (addr, port) = (Ipv4Addr::from(MASQUERADED.0).into(), MASQUERADED.1);
        let gateway = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 254));
        for (n, addr) in [(1, addr), (2, gateway)] {
            let mac = MacAddr([2, 0, 0, 0, 2, n]);
            world.apply(Command::SetNeighbor { port: PortId(0), addr, mac });
        }
        let prefix = Prefix::new(Ipv4Addr::UNSPECIFIED.into(), 0).expect("a prefix");
        let route = RouteSpec { prefix, port: Some(PortId(0)), via: Some(gateway) };
        world.apply(Command::SetRoutes(vec![route]));
        let method = ForwardingMethod::Masquerade;
        let server = Endpoint::new(addr, port);
        let spec = DestinationSpec { method, ..DestinationSpec::new(server) };
        world.apply(Command::AddDestination(service(), spec));
        world
    }

    fn empty(capacity: u32) -> World {
        let limits = Limits { connections_max: capacity, ..Limits::default() };
        let director = Director::new(limits, [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344]);
        let director = director.expect("the limits are within their bounds");
        World { director, now: Instant::from_secs(1) }
    }

    fn configure(&mut self, scheduler: &str, servers: u8) {
        let own = Prefix::new(IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)), 16);
        let addresses = own.into_iter().collect();
        let mac = MacAddr(ring::DIRECTOR);
        let quiet = Neighborhood { resolve_ahead: false, probe_virtual: None };
        self.apply(Command::SetNeighborhood(quiet));
        self.apply(Command::SetPort(PortSpec { id: PortId(0), mac, mtu: 1500, addresses }));
        let addr = Ipv4Addr::from(ring::VIRTUAL).into();
        self.apply(Command::AddLocal { addr, answer: false });
        self.apply(Command::AddService(ServiceSpec {
            scheduler: scheduler.into(),
            ..ServiceSpec::new(service())
        }));
        for n in 0..servers {
            let addr = IpAddr::V4(Ipv4Addr::new(10, 1, 1, n));
            let mac = MacAddr([2, 0, 0, 0, 1, n]);
            self.apply(Command::SetNeighbor { port: PortId(0), addr, mac });
            let weight = 1 + u32::from(n % 4);
            let spec = DestinationSpec { weight, ..DestinationSpec::new(Endpoint::new(addr, 80)) };
            self.apply(Command::AddDestination(service(), spec));
        }
    }

    fn apply(&mut self, command: Command) {
        let text = format!("{command:?}");
        self.director.apply(self.now, command).unwrap_or_else(|e| panic!("{text}: {e}"));
    }

    /// One burst, a microsecond after the last one.
    #[inline(always)]
    pub fn burst(&mut self, burst: &mut [Frame<'_>]) {
        self.now = self.now + Duration::from_micros(1);
        self.director.process_burst(self.now, burst);
    }

    /// Opens the connections of flows `0..flows` and makes them established.
    ///
    /// # Panics
    /// If a frame is not forwarded.
    pub fn establish(&mut self, flows: u32) {
        for flags in [Flags::Syn, Flags::Ack] {
            let mut ring = Ring::new(flags);
            for first in (0..flows).step_by(BURST) {
                let mut burst = ring.fill(&ring::consecutive(first));
                self.burst(&mut burst);
                let forwarded = |frame: &Frame<'_>| frame.verdict == Verdict::Transmit(PortId(0));
                assert!(burst.iter().all(forwarded), "{:?}", burst[0].verdict);
            }
        }
    }

    /// Lets every connection expire and returns how long that took.
    ///
    /// # Panics
    /// If one is left.
    pub fn expire_all(&mut self) -> std::time::Duration {
        self.now = self.now + LONGER_THAN_ANY_TIMEOUT;
        let start = std::time::Instant::now();
        while self.director.handle_timers(self.now, 256) > 0 {}
        let elapsed = start.elapsed();
        assert_eq!(self.director.connection_count(), 0);
        elapsed
    }
}
