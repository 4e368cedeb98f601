//! The director: the only module that knows all others, and holds all branching of a packet's way.
//!
//! ```text
//!  burst ─▶ classify   bytes ─▶ Headers; ours? inbound or reply          (burst.rs)
//!        ─▶ hash       key ─▶ bucket ─▶ record, asked for ahead          (burst.rs)
//!        ─▶ fragment   kept until its packet is whole                    (fragments.rs)
//!        ─▶ inbound    connection, else service ─▶ template or scheduler (inbound.rs, open.rs)
//!        ─▶ forward    TTL, MTU, next hop, MAC addresses                 (forward/)
//!     or ─▶ crossing   a real server's answer: state, back to the client (replies.rs)
//! ```
//!
//! ICMP errors are in `icmp.rs`, ARP and neighbour discovery in `link.rs`, frames of our own in `outgoing.rs`, the passing of time
//! in `timers.rs`, commands in `apply.rs`, listings in `list.rs`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::addr::{Family, MacAddr};
use crate::command::{IcmpPacing, Neighborhood, SyncRoles, Tunables};
use crate::conn::{ConnTable, Region, TableError, Timeouts};
use crate::dest::Destinations;
use crate::fwmark::MarkRules;
use crate::ids::{FwMark, PortId};
use crate::limits::{LimitError, Limits};
use crate::listing::AddressConflict;
use crate::local::LocalAddresses;
use crate::neighbor::Neighbors;
use crate::pace::Pacer;
use crate::persist::TemplateTable;
use crate::reassembly::Reassembly;
use crate::route::Routes;
use crate::sched::SchedulerInfo;
use crate::service::Services;
use crate::stats::Stats;
use crate::store::Store;
use crate::time::Instant;
use crate::timer::TimerWheel;
use crate::wire::ethernet;

mod announce;
mod answered;
mod apply;
mod burst;
mod bypass;
mod cut;
mod defense;
mod drops;
mod engines;
mod established;
mod export;
mod flags;
mod foretell;
mod forward;
mod fragments;
mod hear;
mod icmp;
mod import;
mod inbound;
mod inspect;
mod lifetimes;
mod link;
mod list;
mod memory;
mod mss;
mod open;
mod outgoing;
mod replies;
mod segments;
mod still;
mod sweep;
mod timers;
mod together;

#[cfg(test)]
mod tests;

use announce::Announcer;
use burst::Stage;
use defense::Defense;
use fragments::Workbench;
use lifetimes::Lifetimes;
use outgoing::OutgoingQueue;
use still::Still;

pub use memory::Memory;

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
    /// `now` as the tables keep time.
    tick: u32,
    /// Scratch of the burst at hand.
    stage: Option<Box<Stage>>,
    tunables: Tunables,
    defense: Defense,
    neighborhood: Neighborhood,
    stats: Stats,
    still: Option<Box<Still>>,
    last_drops: drops::LastDrops,
    sync_roles: SyncRoles,
    /// There while the director is a master of connection synchronisation.
    announcer: Option<Box<Announcer>>,
    /// As a backup the director schedules nothing (`backup_only`).
    dormant: bool,
    unbound: hear::UnboundServers,

    /// MAC and MTU of each port, by its number.
    links: Vec<Option<Link>>,
    routes: Routes,
    locals: LocalAddresses,
    neighbors: Neighbors,
    conflicts: Vec<AddressConflict>,

    schedulers: Vec<SchedulerInfo>,
    services: Services,
    marks: MarkRules,
    /// Few, and looked at for a SYN only.
    mss_limits: Vec<crate::command::MssLimit>,
    /// Packets with these marks are delivered locally, whatever their destination.
    delivered_marks: Vec<(Family, FwMark)>,
    dests: Destinations,

    conns: ConnTable,
    templates: TemplateTable,
    wheel: TimerWheel,
    timeouts: Timeouts,
    lifetimes: Lifetimes,

    pacer: Pacer,
    store: Store,
    outgoing: OutgoingQueue,
    reassembly: Reassembly,
    workbench: Workbench,
    /// The identification of our next IPv4 packet.
    ident: u16,
    next_unlisted_check: Option<Instant>,
    next_probe: Option<Instant>,
    next_reclaim: Option<Instant>,
    /// Not before this is a whole table searched for the sake of one record.
    next_purge: Instant,
    /// When there was no room for a neighbour even so; nothing has been deleted since.
    reclaimed_in_vain: Option<Instant>,
    /// What waits for the last of several commands.
    put_off: Option<together::PutOff>,
    /// Commands carried out so far.
    commands: u32,
}

/// What forwarding needs to know of a port.
#[derive(Clone, Copy, Debug)]
struct Link {
    mac: MacAddr,
    mtu: u32,
    /// The MAC address as [`ethernet::dst_word`] reads it.
    station: u64,
}

impl Link {
    fn new(mac: MacAddr, mtu: u32) -> Link {
        let MacAddr([a, b, c, d, e, f]) = mac;
        Link { mac, mtu, station: ethernet::dst_word(&[a, b, c, d, e, f, 0, 0]) }
    }
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
            tick: 0,
            stage: Some(Box::default()),
            tunables: Tunables::default(),
            still: None,
            defense: Defense::new(seed),
            neighborhood: Neighborhood::default(),
            stats: Stats::default(),
            last_drops: drops::LastDrops::default(),
            sync_roles: SyncRoles::default(),
            announcer: None,
            dormant: false,
            unbound: hear::UnboundServers::default(),
            links: (0..limits.ports_max).map(|_| None).collect(),
            routes: Routes::default(),
            locals: LocalAddresses::new(limits.local_addresses_max, seed),
            neighbors: Neighbors::new(limits.neighbors_max, seed),
            conflicts: Vec::with_capacity(link::CONFLICTS_MAX),
            schedulers: crate::sched::SCHEDULERS.to_vec(),
            services: Services::new(limits.services_max, seed),
            marks: MarkRules::default(),
            mss_limits: Vec::new(),
            delivered_marks: Vec::new(),
            dests: Destinations::new(limits.destinations_max),
            conns,
            templates: TemplateTable::new(limits.templates_max, limits.engine_templates_max, seed),
            wheel: TimerWheel::new(limits.connections_max + limits.templates_max, 0),
            timeouts,
            lifetimes,
            pacer: Pacer::new(limits.paced_clients, IcmpPacing::default()),
            store: Store::new(limits.store_bytes),
            outgoing: OutgoingQueue::new(limits.outgoing_max),
            reassembly: Reassembly::new(limits.fragment_bytes, limits.fragment_sets_max, seed),
            workbench: Workbench::new(),
            ident: (seed[0] >> 48) as u16,
            next_unlisted_check: None,
            next_probe: None,
            next_reclaim: None,
            next_purge: Instant::ZERO,
            reclaimed_in_vain: None,
            put_off: None,
            commands: 1,
            limits,
        })
    }

    /// The configured limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Everything counted so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    #[inline]
    fn link(&self, port: PortId) -> Option<&Link> {
        self.links.get(port.index())?.as_ref()
    }

    /// The present tick: milliseconds, as the tables keep them.
    #[inline]
    fn tick(&self) -> u32 {
        self.tick
    }

    fn looks_at(&self, family: Family) -> bool {
        self.services.any_of(family)
    }
}
