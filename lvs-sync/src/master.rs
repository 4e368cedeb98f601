//! The master's side: announcements become datagrams.
//!
//! Each port has a message that is being filled. It is to be sent when the next entry has no room in it, or
//! two seconds after its first entry. What is to be sent waits in a bounded queue; what finds no room there
//! is lost, as in the kernel, and is counted, which in the kernel it is not.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use lvs_core::flow::Endpoint;
use lvs_core::snapshot::Announcement;
use lvs_core::time::{Duration, Instant};

use crate::PORTS_MAX;
use crate::message::{Encoder, Entry, PushError, Version};

/// How long an entry may wait for others of its message.
const WAIT: Duration = Duration::from_secs(2);

/// What a master is started with; `sync_ports`, `sync_version` and `sync_qlen_max` are the director's
/// switches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `--syncid`: the group that its backups listen to.
    pub syncid: u8,
    /// `--sync-maxlen`: the most bytes of a datagram; 1472 fills an Ethernet frame in IPv4, 1452 in IPv6.
    pub maxlen: u16,
    /// Ports that datagrams go to, a power of two.
    pub ports: u8,
    /// Which protocol it speaks.
    pub version: Version,
    /// Datagrams that may wait to be sent, by port.
    pub queue_max: usize,
}

impl Default for Settings {
    /// As `--start-daemon master` without options.
    fn default() -> Settings {
        Settings { syncid: 0, maxlen: 1472, ports: 1, version: Version::One, queue_max: 8192 }
    }
}

impl Settings {
    fn check(&self) -> Result<(), SettingsError> {
        if !self.ports.is_power_of_two() || self.ports > PORTS_MAX {
            return Err(SettingsError::Ports(self.ports));
        }
        if self.maxlen == 0 {
            return Err(SettingsError::MaxLen);
        }
        Ok(())
    }
}

/// Settings that cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SettingsError {
    /// A number of ports that is no power of two up to [`PORTS_MAX`].
    Ports(u8),
    /// A longest datagram of nothing.
    MaxLen,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingsError::Ports(ports) => {
                write!(f, "{ports} sync ports cannot be: give a power of two from 1 to {PORTS_MAX}")
            }
            SettingsError::MaxLen => f.write_str("a datagram of 0 bytes holds nothing: give 1472"),
        }
    }
}

impl core::error::Error for SettingsError {}

/// What a master did so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Announcements offered.
    pub offered: u64,
    /// Of these, ones that the version cannot say.
    pub unsayable: u64,
    /// Datagrams given out by [`Master::poll`].
    pub messages: u64,
    /// Entries in them.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams that found the queue full.
    pub lost_messages: u64,
    /// Entries in them.
    pub lost_entries: u64,
}

/// A master of connection synchronisation.
///
/// ```
/// use lvs_core::time::{Duration, Instant};
/// use lvs_sync::master::{Master, Settings};
/// # use lvs_core::flow::{Endpoint, Protocol};
/// # use lvs_core::{ids::FwMark, snapshot::{Announced, Announcement, Method}, state::State};
/// # let end = |host: u8| Endpoint::new(std::net::IpAddr::from([192, 0, 2, host]), 80);
/// # let announcement = Announcement {
/// #     protocol: Protocol::TCP, client: end(1), virt: end(2), server: end(3),
/// #     method: Method::DirectRoute, kind: Announced::Connection(State::Established),
/// #     answered: false, inactive: false, relayed: false, engine: None, mark: FwMark::NONE, timeout: Duration::from_secs(900),
/// # };
/// let mut master = Master::new(Settings { syncid: 7, ..Settings::default() })?;
/// let now = Instant::from_secs(10);
/// master.offer(now, &announcement); // from Director::poll_announcement
/// assert_eq!(master.poll(now), None);
/// let later = now + Duration::from_secs(2);
/// assert_eq!(master.next_deadline(), Some(later));
/// let (port_offset, datagram) = master.poll(later).expect("it has waited long enough");
/// assert_eq!((port_offset, datagram.len()), (0, 44));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Master {
    settings: Settings,
    ports: Vec<Port>,
    /// The port that is looked at first next time, so that none waits for the others.
    next: usize,
    counters: Counters,
}

#[derive(Debug)]
struct Port {
    open: Encoder,
    /// When the open message is to be sent; only looked at while it has entries.
    due: Instant,
    full: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    datagram: Vec<u8>,
    entries: u8,
}

impl Master {
    /// A master with nothing to say yet.
    ///
    /// # Errors
    /// If the settings cannot be.
    pub fn new(settings: Settings) -> Result<Master, SettingsError> {
        settings.check()?;
        let port = || Port {
            open: Encoder::new(settings.syncid, settings.version, settings.maxlen),
            due: Instant::MAX,
            full: VecDeque::new(),
        };
        let ports = (0..settings.ports).map(|_| port()).collect();
        Ok(Master { settings, ports, next: 0, counters: Counters::default() })
    }

    /// What it was started with, or [set](Self::set) to.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Goes on with other settings. What waits is sent as it is, to a port that there is.
    ///
    /// # Errors
    /// If the settings cannot be; then nothing has changed.
    pub fn set(&mut self, settings: Settings) -> Result<(), SettingsError> {
        let mut new = Master::new(settings)?;
        self.flush();
        let ports = new.ports.len();
        for (n, port) in self.ports.drain(..).enumerate() {
            new.ports[n % ports].full.extend(port.full);
        }
        (new.next, new.counters) = (self.next % ports, self.counters);
        *self = new;
        Ok(())
    }

    /// Takes what a director announces.
    pub fn offer(&mut self, now: Instant, announcement: &Announcement) {
        self.counters.offered += 1;
        let entry = Entry::of(announcement);
        let n = self.port_of(announcement);
        let mut pushed = self.ports[n].open.push(&entry);
        if pushed == Err(PushError::Full) {
            self.close(n);
            pushed = self.ports[n].open.push(&entry);
        }
        match pushed {
            Ok(()) if self.ports[n].open.count() == 1 => self.ports[n].due = now + WAIT,
            Ok(()) => {}
            Err(_) => self.counters.unsayable += 1,
        }
    }

    /// The next datagram to send, and the offset of its port from the first one, [`PORT`](crate::PORT) or
    /// what `--mcast-port` says. Ask until there is none.
    pub fn poll(&mut self, now: Instant) -> Option<(u8, Vec<u8>)> {
        let (ports, next) = (self.ports.len(), self.next);
        for n in (0..ports).map(|n| (next + n) % ports) {
            let port = &self.ports[n];
            if port.full.is_empty() && !port.open.is_empty() && port.due <= now {
                self.close(n);
            }
            if let Some(Waiting { datagram, entries }) = self.ports[n].full.pop_front() {
                self.next = (n + 1) % ports;
                self.counters.messages += 1;
                self.counters.entries += u64::from(entries);
                self.counters.bytes += datagram.len() as u64;
                return Some((n as u8, datagram));
            }
        }
        None
    }

    /// When [`poll`](Self::poll) has something, at the earliest; `None` if nothing was offered since.
    pub fn next_deadline(&self) -> Option<Instant> {
        let due = |port: &Port| match (port.full.is_empty(), port.open.is_empty()) {
            (false, _) => Some(Instant::ZERO),
            (true, false) => Some(port.due),
            (true, true) => None,
        };
        self.ports.iter().filter_map(due).min()
    }

    /// Makes everything offered so far ready to be sent, as when the master stops.
    pub fn flush(&mut self) {
        (0..self.ports.len()).for_each(|n| self.close(n));
    }

    /// What it did so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Puts an open message into the queue.
    fn close(&mut self, n: usize) {
        let port = &mut self.ports[n];
        let entries = port.open.count();
        let Some(datagram) = port.open.take() else { return };
        if port.full.len() < self.settings.queue_max {
            port.full.push_back(Waiting { datagram, entries });
        } else {
            self.counters.lost_messages += 1;
            self.counters.lost_entries += u64::from(entries);
        }
    }

    /// A connection keeps its port, so that its entries come in their order.
    fn port_of(&self, announcement: &Announcement) -> usize {
        let Announcement { client, virt, .. } = *announcement;
        let hash = mix(mix(u64::from(announcement.protocol.0), client), virt);
        // Their number is a power of two.
        (hash >> 32) as usize & (self.ports.len() - 1)
    }
}

/// Mixes an end into a hash. Whoever picks its own ends can only choose its own port.
fn mix(hash: u64, end: Endpoint) -> u64 {
    // Fibonacci hashing: the odd number next to 2^64 divided by the golden ratio.
    const PHI: u64 = 0x9e37_79b9_7f4a_7c15;
    let words = match end.addr {
        IpAddr::V4(addr) => [u64::from(addr.to_bits()), 0],
        IpAddr::V6(addr) => [(addr.to_bits() >> 64) as u64, addr.to_bits() as u64],
    };
    let add = |hash: u64, word: u64| (hash.rotate_left(29) ^ word).wrapping_mul(PHI);
    add(words.into_iter().fold(hash, add), u64::from(end.port.0))
}

#[cfg(test)]
mod tests;
