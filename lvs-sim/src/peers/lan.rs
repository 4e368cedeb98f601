//! The segment with everything on it, and its clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use lvs_core::addr::{MacAddr, Prefix};
use lvs_core::command::{ApplyError, Command, PortSpec};
use lvs_core::director::Director;
use lvs_core::ids::PortId;
use lvs_core::io::FrameIo;
use lvs_core::io::mem::{MemConfig, MemIo};
use lvs_core::time::{Duration, Instant};
use smoltcp::config::IFACE_MAX_ADDR_COUNT;
use smoltcp::wire::Ipv4Cidr;

use super::queue::FRAME_LEN_MAX;
use super::station::{Identity, Station};
use super::wire::{Plug, Wire};
use super::{LanError, LanSpec, Service, StationId, Stream, StreamError, StreamState};
use crate::net::station_mac;

/// The director's port on the segment.
const PORT: PortId = PortId(0);

/// An Ethernet segment in virtual time, with a director and stations of your own making.
///
/// Time stands still but in [`run_for`](Lan::run_for) and [`run_until`](Lan::run_until); then everything
/// happens at its own moment, in an order that depends on nothing but what was asked for.
#[derive(Debug)]
pub struct Lan {
    now: Instant,
    director: Director,
    io: MemIo,
    stations: Vec<Station>,
    wire: Wire,
    prefix_len: u8,
    seed: u64,
}

impl Lan {
    /// A segment with a director that has no services yet.
    ///
    /// # Errors
    /// If the director cannot be made with these capacities and addresses.
    pub fn new(spec: &LanSpec) -> Result<Lan, LanError> {
        let own = IpAddr::V4(spec.director);
        let mac = station_mac(own);
        let prefix =
            Prefix::new(own, spec.prefix_len).ok_or(LanError::PrefixLength(spec.prefix_len))?;
        let seed = [spec.seed, 0x6c61_6e20_6f66_206c];
        let frame_len_max = FRAME_LEN_MAX as u32;
        let mut lan = Lan {
            now: Instant::ZERO,
            director: Director::new(spec.limits, seed)?,
            io: MemIo::with_config(MemConfig { ports: 1, frame_len_max, ..MemConfig::default() }),
            stations: Vec::new(),
            wire: Wire::new(spec.latency),
            prefix_len: spec.prefix_len,
            seed: spec.seed,
        };
        lan.wire.plug(mac, Plug::Director);
        let port = PortSpec { id: PORT, mac, mtu: 1500, addresses: vec![prefix] };
        lan.apply(Command::SetPort(port))?;
        for virt in &spec.virtuals {
            lan.apply(Command::AddLocal { addr: IpAddr::V4(*virt), answer: true })?;
        }
        Ok(lan)
    }

    /// Plugs in a station. `silent` are addresses that it takes packets to but answers no ARP for, as a
    /// real server does with the virtual address (`arp_ignore=1`).
    ///
    /// # Panics
    /// If there are more silent addresses than the stack has room for, which is seven.
    pub fn add_station(&mut self, addr: Ipv4Addr, silent: &[Ipv4Addr]) -> StationId {
        let station = self.add_careless_station(addr, silent);
        self.stations[station.0].keep_silent(silent);
        station
    }

    /// Plugs in a station that answers ARP for all of its addresses, the `further` ones included: a real
    /// server whose operator forgot `arp_ignore`.
    ///
    /// # Panics
    /// As [`Lan::add_station`].
    pub fn add_careless_station(&mut self, addr: Ipv4Addr, further: &[Ipv4Addr]) -> StationId {
        assert!(
            further.len() < IFACE_MAX_ADDR_COUNT,
            "the stack has room for {IFACE_MAX_ADDR_COUNT} addresses"
        );
        let number = self.stations.len();
        let mac: MacAddr = station_mac(IpAddr::V4(addr));
        let identity = Identity {
            mac,
            address: Ipv4Cidr::new(addr, self.prefix_len),
            further,
            seed: self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number as u64),
        };
        self.stations.push(Station::new(self.now, &identity));
        self.wire.plug(mac, Plug::Station(number));
        StationId(number)
    }

    /// Offers a service at a TCP port of all of a station's addresses. Of more than 16 clients that come
    /// at one moment the others are refused.
    ///
    /// # Errors
    /// If the port is 0.
    pub fn listen(
        &mut self,
        station: StationId,
        port: u16,
        service: Box<dyn Service>,
    ) -> Result<(), StreamError> {
        if port == 0 {
            let anywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
            return Err(StreamError::Unaddressable(anywhere));
        }
        self.stations[station.0].listen(port, service);
        Ok(())
    }

    /// Lets a station connect from one of its ports to a server. The handshake takes time: run on.
    ///
    /// # Errors
    /// If a port is 0 or the address is none of a host.
    pub fn connect(
        &mut self,
        station: StationId,
        port: u16,
        server: SocketAddrV4,
    ) -> Result<Stream, StreamError> {
        let addr = self.stations[station.0].address();
        let handle = self.stations[station.0].connect(port, server)?;
        for other in &mut self.stations {
            other.meet(addr, station_mac(IpAddr::V4(addr)));
        }
        Ok(Stream { station, handle })
    }

    /// Sends bytes over a stream that is open.
    ///
    /// # Errors
    /// If it is not, or its buffer of 4096 bytes is full.
    pub fn send(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), StreamError> {
        self.stations[stream.station.0].send(stream.handle, bytes)
    }

    /// Takes what a stream has received since the last call.
    pub fn receive(&mut self, stream: Stream) -> Vec<u8> {
        self.stations[stream.station.0].receive(stream.handle)
    }

    /// Closes a stream in an orderly way: what was sent still arrives, then FIN.
    pub fn close(&mut self, stream: Stream) {
        self.stations[stream.station.0].close(stream.handle);
    }

    /// How far a stream is.
    pub fn state(&self, stream: Stream) -> StreamState {
        self.stations[stream.station.0].state(stream.handle)
    }

    /// Pulls a station's plug or puts it back: meanwhile what it sends and what is sent to it is lost.
    pub fn set_unplugged(&mut self, station: StationId, unplugged: bool) {
        self.wire.pull(Plug::Station(station.0), unplugged);
    }

    /// The director, for listings and counters.
    pub fn director(&mut self) -> &mut Director {
        &mut self.director
    }

    /// Applies a command to the director.
    ///
    /// # Errors
    /// If the director refuses it.
    pub fn apply(&mut self, command: Command) -> Result<(), ApplyError> {
        self.director.apply(self.now, command)
    }

    /// The time on the segment.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time, |_| false);
    }

    /// Lets time pass up to a moment, or until `wanted` holds, whichever comes first. Returns whether it
    /// holds.
    pub fn run_until(&mut self, end: Instant, mut wanted: impl FnMut(&mut Lan) -> bool) -> bool {
        loop {
            let moved = self.work();
            if wanted(self) {
                return true;
            }
            // Something that is due at once and comes to nothing must not stop the clock.
            let soonest = if moved { self.now } else { self.now + Duration::from_micros(1) };
            let next = self.next_event().map(|at| at.max(soonest));
            match next.filter(|at| *at <= end) {
                Some(at) => self.now = at,
                None => {
                    self.now = self.now.max(end);
                    return false;
                }
            }
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let stations = self.stations.iter().filter_map(Station::due);
        stations.chain(self.wire.due()).chain(self.director.next_deadline()).min()
    }

    /// Does what is to be done at this moment. Returns whether a frame moved.
    fn work(&mut self) -> bool {
        let mut moved = false;
        while let Some((to, frame)) = self.wire.arrived(self.now) {
            moved = true;
            for plug in to {
                match plug {
                    Plug::Director => self.io.push(PORT, &frame),
                    Plug::Station(number) => self.stations[number].take(&frame),
                }
            }
        }
        self.run_director();
        for sent in self.io.sent(PORT) {
            moved = true;
            self.wire.send(self.now, Plug::Director, sent.bytes);
        }
        for (number, station) in self.stations.iter_mut().enumerate() {
            for frame in station.run(self.now) {
                moved = true;
                self.wire.send(self.now, Plug::Station(number), frame);
            }
        }
        moved
    }

    fn run_director(&mut self) {
        let (director, now) = (&mut self.director, self.now);
        while self.io.waiting() > 0 {
            let Ok(_) = self.io.exchange(&mut |burst| director.process_burst(now, burst));
        }
        director.handle_timers(now, usize::MAX);
        let Ok(_) = self.io.inject(&mut |frame| director.poll_transmit(now, frame));
        // The director's host has no stack of its own here: nobody is interested in what is left to it.
        self.io.passed();
        self.io.dropped();
    }
}
