//! The director: the only module that knows all others, and holds all branching of a packet's way.
//!
//! ```text
//!  burst ─▶ classify   bytes ─▶ Headers; ours? inbound or reply          (mod.rs)
//!        ─▶ hash       key ─▶ bucket ─▶ record, touched a burst ahead    (mod.rs)
//!        ─▶ inbound    connection, else service ─▶ template or scheduler (inbound.rs, open.rs)
//!        ─▶ forward    TTL, MTU, next hop, MAC addresses                 (forward.rs)
//! ```
//!
//! ARP and neighbour discovery are in `link.rs`, frames of our own in `outgoing.rs`, the passing of time
//! in `timers.rs`, commands in `apply.rs`, listings in `list.rs`.

use alloc::vec::Vec;

use crate::addr::{Family, MacAddr};
use crate::command::{IcmpPacing, Neighborhood, Tunables};
use crate::conn::{ConnTable, Region, TableError, Timeouts};
use crate::dest::Destinations;
use crate::drop::{DropReason, PassReason};
use crate::explain::{Event, Explain, Silent};
use crate::fwmark::MarkRules;
use crate::ids::{ConnId, PortId};
use crate::io::{Frame, Verdict};
use crate::limits::{LimitError, Limits};
use crate::listing::AddressConflict;
use crate::local::LocalAddresses;
use crate::neighbor::Neighbors;
use crate::pace::Pacer;
use crate::parse::{Headers, Parsed, parse, parse_super};
use crate::persist::TemplateTable;
use crate::route::Routes;
use crate::sched::SchedulerInfo;
use crate::service::Services;
use crate::stats::Stats;
use crate::store::Store;
use crate::time::Instant;
use crate::timer::TimerWheel;
use crate::wire::ethernet::{self, VlanTags};

mod apply;
mod cut;
mod flags;
mod forward;
mod inbound;
mod lifetimes;
mod link;
mod list;
mod open;
mod outgoing;
mod timers;

#[cfg(test)]
mod tests;

use lifetimes::Lifetimes;
use outgoing::OutgoingQueue;

/// Frames whose memory accesses are overlapped: 32 gives all there is to gain, more gives nothing.
const STAGE: usize = 32;

/// Different timeouts that connections may have at one time; unused ones are forgotten when it is
/// reached.
const TIMEOUTS_MAX: u16 = 1024;

/// A Linux Virtual Server director.
///
/// It has four verbs and no clock: [`process_burst`](Director::process_burst),
/// [`handle_timers`](Director::handle_timers), [`poll_transmit`](Director::poll_transmit) and
/// [`apply`](Director::apply); [`next_deadline`](Director::next_deadline) says when to call again. Its
/// memory is fixed by [`Limits`] when it is made: no packet allocates.
///
/// ```
/// use lvs_core::command::{Command, DestinationSpec, ServiceKey, ServiceSpec};
/// use lvs_core::director::Director;
/// use lvs_core::flow::{Endpoint, Protocol};
/// use lvs_core::limits::Limits;
/// use lvs_core::time::Instant;
///
/// let mut director = Director::new(Limits::small(), [1, 2]).unwrap();
/// let virt = Endpoint::new("192.0.2.80".parse().unwrap(), 80);
/// let key = ServiceKey::Address { protocol: Protocol::TCP, virt };
/// director.apply(Instant::ZERO, Command::AddService(ServiceSpec::new(key))).unwrap();
/// let server = DestinationSpec::new(Endpoint::new("10.1.0.2".parse().unwrap(), 80));
/// director.apply(Instant::ZERO, Command::AddDestination(key, server)).unwrap();
/// assert_eq!(director.services(Instant::ZERO).len(), 1);
/// ```
#[derive(Debug)]
pub struct Director {
    limits: Limits,
    now: Instant,
    tunables: Tunables,
    neighborhood: Neighborhood,
    stats: Stats,

    /// MAC and MTU of each port, by its number.
    links: Vec<Option<Link>>,
    routes: Routes,
    locals: LocalAddresses,
    neighbors: Neighbors,
    conflicts: Vec<AddressConflict>,

    schedulers: Vec<SchedulerInfo>,
    services: Services,
    marks: MarkRules,
    dests: Destinations,

    conns: ConnTable,
    templates: TemplateTable,
    wheel: TimerWheel,
    timeouts: Timeouts,
    lifetimes: Lifetimes,

    pacer: Pacer,
    store: Store,
    outgoing: OutgoingQueue,
    /// The identification of our next IPv4 packet.
    ident: u16,
    next_unlisted_check: Option<Instant>,
    next_probe: Option<Instant>,
}

/// What forwarding needs to know of a port.
#[derive(Clone, Copy, Debug)]
struct Link {
    mac: MacAddr,
    mtu: u32,
}

/// A frame after the first pass.
#[derive(Clone, Copy)]
enum Staged {
    /// The verdict is set.
    Settled(Verdict),
    /// ARP, with where its packet begins.
    Arp(VlanTags, u16),
    /// ICMPv6 that may be a neighbour message.
    Neighbor(Headers),
    /// To a local address.
    Inbound(Headers, u64),
    /// To any other address: perhaps a real server's answer.
    Crossing(Headers, u64),
}

impl Director {
    /// Makes a director with tables of the given size; this is the only allocation of what packets use.
    /// `seed` keys its hash tables and should be random where clients are not trusted.
    ///
    /// # Errors
    /// If a limit is out of its bounds.
    pub fn new(limits: Limits, seed: [u64; 2]) -> Result<Director, LimitError> {
        limits.check()?;
        let region = Region::owned(limits.connections_max);
        Director::with_region(limits, seed, region)
    }

    /// The same, with memory for the connection table handed in: huge pages, or a mapping shared with
    /// another reader.
    ///
    /// # Errors
    /// If a limit is out of its bounds.
    ///
    /// # Panics
    /// If the region has fewer lines than [`Region::lines_needed`] asks for.
    pub fn with_region(
        limits: Limits,
        seed: [u64; 2],
        region: Region,
    ) -> Result<Director, LimitError> {
        limits.check()?;
        let conns = ConnTable::new(limits.connections_max, seed, region);
        let conns =
            conns.unwrap_or_else(|error: TableError| panic!("the region does not fit: {error}"));
        let mut timeouts = Timeouts::new(TIMEOUTS_MAX);
        let lifetimes = Lifetimes::new(&mut timeouts);
        Ok(Director {
            now: Instant::ZERO,
            tunables: Tunables::default(),
            neighborhood: Neighborhood::default(),
            stats: Stats::default(),
            links: (0..limits.ports_max).map(|_| None).collect(),
            routes: Routes::default(),
            locals: LocalAddresses::new(limits.local_addresses_max, seed),
            neighbors: Neighbors::new(limits.neighbors_max, seed),
            conflicts: Vec::with_capacity(link::CONFLICTS_MAX),
            schedulers: crate::sched::SCHEDULERS.to_vec(),
            services: Services::new(limits.services_max, seed),
            marks: MarkRules::default(),
            dests: Destinations::new(limits.destinations_max),
            conns,
            templates: TemplateTable::new(limits.templates_max, seed),
            wheel: TimerWheel::new(limits.connections_max + limits.templates_max, 0),
            timeouts,
            lifetimes,
            pacer: Pacer::new(limits.paced_clients, IcmpPacing::default()),
            store: Store::new(limits.store_bytes),
            outgoing: OutgoingQueue::new(limits.outgoing_max),
            ident: (seed[0] >> 48) as u16,
            next_unlisted_check: None,
            next_probe: None,
            limits,
        })
    }

    /// Decides about each frame of a burst and writes its verdict. `now` must not go backwards; where it
    /// does, it stands still.
    pub fn process_burst(&mut self, now: Instant, frames: &mut [Frame<'_>]) {
        self.process_burst_explained(now, frames, &mut Silent);
    }

    /// The same, telling `explain` each step of each frame.
    pub fn process_burst_explained<X: Explain>(
        &mut self,
        now: Instant,
        frames: &mut [Frame<'_>],
        explain: &mut X,
    ) {
        self.advance(now);
        for (n, stage) in frames.chunks_mut(STAGE).enumerate() {
            self.process_stage(n * STAGE, stage, explain);
        }
    }

    /// The configured limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Everything counted so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn process_stage<X: Explain>(&mut self, first: usize, frames: &mut [Frame<'_>], x: &mut X) {
        let staged: [Staged; STAGE] = core::array::from_fn(|i| match frames.get(i) {
            Some(frame) => self.classify(frame),
            None => Staged::Settled(Verdict::Drop(DropReason::Undecided)),
        });
        let hints = self.touch_ahead(&staged[..frames.len()]);
        for (i, frame) in frames.iter_mut().enumerate() {
            let verdict = match &staged[i] {
                Staged::Settled(verdict) => *verdict,
                Staged::Arp(tags, l3) => self.arp(frame, tags, *l3),
                Staged::Neighbor(headers) => self.neighbor_message(frame, headers),
                Staged::Inbound(headers, hash) => {
                    let seen = inbound::Seen { n: first + i, headers, hash: *hash, hint: hints[i] };
                    self.inbound(frame, &seen, x)
                }
                Staged::Crossing(headers, hash) => self.crossing(headers, *hash, hints[i]),
            };
            frame.verdict = verdict;
            self.count(verdict);
            match verdict {
                Verdict::Drop(reason) => x.event(first + i, || Event::Dropped(reason)),
                Verdict::Pass(reason) => x.event(first + i, || Event::Passed(reason)),
                _ => {}
            }
        }
    }

    /// First pass: what the frame is and whether it concerns us.
    #[inline]
    fn classify(&self, frame: &Frame<'_>) -> Staged {
        let parsed = match frame.offload.segments {
            None => parse(frame.bytes()),
            Some(_) => parse_super(frame.bytes()),
        };
        let headers = match parsed {
            Parsed::Ip(headers) => headers,
            Parsed::Arp { tags, l3 } => return Staged::Arp(tags, l3),
            Parsed::Other(reason) => return Staged::Settled(Verdict::Pass(reason)),
            Parsed::Malformed(reason) => return Staged::Settled(Verdict::Drop(reason)),
        };
        let station = ethernet::dst(frame.bytes());
        let ours = self.link(frame.port()).is_none_or(|link| link.mac == station);
        if !ours {
            return if station.is_group() && link::may_be_neighbor_message(&headers) {
                Staged::Neighbor(headers)
            } else {
                Staged::Settled(Verdict::Pass(PassReason::OtherStation))
            };
        }
        if self.locals.contains(headers.dst()) {
            if link::may_be_neighbor_message(&headers) {
                return Staged::Neighbor(headers);
            }
            let hash = self.conns.hash(&headers.flow);
            Staged::Inbound(headers, hash)
        } else {
            let hash = self.conns.hash(&headers.flow.reversed());
            Staged::Crossing(headers, hash)
        }
    }

    /// Second pass: asks for each bucket, then the record it points to, for the whole stage, so that the
    /// misses overlap.
    #[inline]
    fn touch_ahead(&self, staged: &[Staged]) -> [Option<ConnId>; STAGE] {
        for frame in staged {
            if let Staged::Inbound(_, hash) | Staged::Crossing(_, hash) = frame {
                self.conns.prefetch(*hash);
            }
        }
        core::array::from_fn(|i| match staged.get(i) {
            Some(Staged::Inbound(_, hash) | Staged::Crossing(_, hash)) => {
                self.conns.candidate(*hash)
            }
            _ => None,
        })
    }

    fn count(&mut self, verdict: Verdict) {
        self.stats.received += 1;
        match verdict {
            Verdict::Transmit(_) => self.stats.transmitted += 1,
            Verdict::Reply(_) => self.stats.replied += 1,
            Verdict::Absorb => self.stats.absorbed += 1,
            Verdict::Drop(reason) => self.stats.dropped[reason.index()] += 1,
            Verdict::Pass(reason) => self.stats.passed[reason.index()] += 1,
        }
    }

    #[inline]
    fn link(&self, port: PortId) -> Option<&Link> {
        self.links.get(port.index())?.as_ref()
    }

    /// The present tick: milliseconds, as the tables keep them.
    #[inline]
    fn tick(&self) -> u32 {
        self.now.as_millis() as u32
    }

    fn looks_at(&self, family: Family) -> bool {
        self.services.any_of(family)
    }
}
