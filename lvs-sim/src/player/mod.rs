//! The player: a scenario through the real director, in virtual time.
//!
//! Between two events the director's timers run at their own deadlines, so that what it sends by itself
//! is sent when it would be; half a minute of a scenario costs what its packets cost.

mod burst;
mod command;
mod daemons;
mod dump;
mod reload;

use std::fmt;
use std::net::IpAddr;

use lvs_admin::names::Services;
use lvs_admin::rates::Estimators;
use lvs_core::command::{ApplyError, Command, MarkRule, Neighborhood};
use lvs_core::director::Director;
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::io::FrameIo;
use lvs_core::io::mem::{MemConfig, MemIo};
use lvs_core::limits::{LimitError, Limits};
use lvs_core::listing::ConnectionEntry;
use lvs_core::time::{Duration, Instant};

pub use command::{Operator, Ran, Site};
pub use daemons::Daemons;

use crate::explain::Explanation;
use crate::host::Host;
use crate::net::Network;
use crate::record::{Record, describe};
use crate::scenario::{Action, Event, Packet, Scenario, Side};

/// What a record says it is a record of.
const SUBJECT: &str = concat!("lvs ", env!("CARGO_PKG_VERSION"), ", in virtual time");

/// Bytes of the shortest entry of a datagram of connection synchronisation.
const ENTRY_MIN: usize = 24;

/// The seed of a replay's hash tables. Nothing in a record depends on it.
const SEED: [u64; 2] = [0x6c76_7320_7265_706c, 0x6179_2073_6565_6421];

/// How a scenario is played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlayOptions {
    /// How many packets of one moment go to the director at once; at least 1. It does not change the
    /// record. Where the director's own host is a real server, whose answers move connections, packets
    /// go one by one all the same.
    pub burst: u16,
    /// Write below each packet why it went where it went.
    pub explain: bool,
    /// The director's capacities; `None` fits them to the scenario.
    pub limits: Option<Limits>,
    /// Before the event of this number (from 0) the rules are saved as a rules file and loaded again, as
    /// an operator might do at any time. It does not change the record.
    pub reload_before: Option<usize>,
}

impl Default for PlayOptions {
    /// One packet at a time, no explanations, no reload.
    fn default() -> Self {
        PlayOptions { burst: 1, explain: false, limits: None, reload_before: None }
    }
}

/// Why a scenario could not be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlayError {
    /// The director's capacities are wrong.
    #[error(transparent)]
    Limits(#[from] LimitError),
    /// The scenario's network does not fit the director.
    #[error("the network of scenario {scenario} cannot be set up: {error}")]
    Network {
        /// The scenario's name.
        scenario: String,
        /// What the director says.
        error: ApplyError,
    },
    /// The rules in force could not be loaded again.
    #[error(
        "before event {event} of scenario {scenario} the rules in force cannot be loaded again: {message}"
    )]
    Reload {
        /// The scenario's name.
        scenario: String,
        /// The number of the event, from 0.
        event: usize,
        /// What is wrong.
        message: String,
    },
}

/// Plays a scenario and returns its record.
///
/// ```
/// use lvs_sim::player::{PlayOptions, play};
/// use lvs_sim::scenario::Scenario;
/// let scenario = Scenario::parse("one.lvs", "# one packet\n\
///     0 ipvsadm -A -t 10.0.0.1:80 -s rr\n\
///     0 ipvsadm -a -t 10.0.0.1:80 -r 10.1.0.2 -g\n\
///     0.3 tcp 192.0.2.7:40000 > 10.0.0.1:80 S\n").unwrap();
/// let record = play(&scenario, &PlayOptions::default()).unwrap();
/// assert!(record.as_str().contains("0.3 tcp 192.0.2.7:40000 > 10.0.0.1:80 S => dr 10.1.0.2\n"));
/// ```
///
/// # Errors
/// If the director cannot be made, or the scenario's network is too large for it. What a scenario does
/// with the director is no error; refusals are part of the record.
pub fn play(scenario: &Scenario, options: &PlayOptions) -> Result<Record, PlayError> {
    let mut player = Player::new(scenario, options)?;
    player.run()?;
    Ok(player.record)
}

/// The same, with somebody else to carry out command lines. `sysctl` and `mark` events remain the player's.
///
/// # Errors
/// As for [`play`].
pub fn play_with(
    scenario: &Scenario,
    options: &PlayOptions,
    operator: &mut dyn Operator,
) -> Result<Record, PlayError> {
    let mut player = Player::new(scenario, options)?;
    player.operator = Some(operator);
    player.run()?;
    Ok(player.record)
}

/// A connection or template: client, virtual address, whether it is a template, its protocol, and a hash of
/// what a persistence engine read.
pub(crate) type EntryName = (Endpoint, Endpoint, bool, Protocol, Option<u64>);

/// The entries around an event, or at a second between two events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Moment<'s> {
    /// When it was.
    pub(crate) at: Instant,
    /// The event; none between two events.
    pub(crate) event: Option<&'s Event>,
    /// The entries when it began.
    pub(crate) before: Vec<ConnectionEntry>,
    /// The entries when it was over.
    pub(crate) after: Vec<ConnectionEntry>,
}

/// Plays a scenario and tells for each event, and each second in between, which entries there were.
pub(crate) fn moments(scenario: &Scenario) -> Result<Vec<Moment<'_>>, PlayError> {
    let mut player = Player::new(scenario, &PlayOptions::default())?;
    let mut told = Vec::new();
    for event in &scenario.events {
        while event.at.saturating_since(player.now) > Duration::from_secs(1) {
            player.advance_to(player.now + Duration::from_secs(1), &event.time);
            let before = player.connections();
            told.push(Moment { at: player.now, event: None, after: before.clone(), before });
        }
        player.advance_to(event.at, &event.time);
        let before = player.connections();
        match &event.action {
            Action::Packet(packet) => player.play_packets(&event.time, &[packet]),
            _ => player.act(event),
        }
        let after = player.connections();
        told.push(Moment { at: event.at, event: Some(event), before, after });
    }
    Ok(told)
}

/// Tables that the scenario cannot overflow.
fn fitting_limits(scenario: &Scenario) -> Limits {
    let entries = |event: &Event| match &event.action {
        Action::Packet(_) => 1,
        Action::Sync(datagram) => datagram.bytes.len().div_ceil(ENTRY_MIN),
        _ => 0,
    };
    let packets = scenario.events.iter().map(entries).sum::<usize>();
    let flows = u32::try_from(packets.next_power_of_two()).unwrap_or(1 << 28).clamp(256, 1 << 28);
    let commands = u32::try_from(
        scenario
            .events
            .iter()
            .filter(|e| !matches!(e.action, Action::Packet(_) | Action::Sync(_)))
            .count(),
    )
    .unwrap_or(u32::MAX);
    let small = Limits::small();
    let places = (commands + 64).min(1 << 20);
    Limits {
        connections_max: flows,
        templates_max: flows,
        engine_templates_max: if scenario.engine { flows } else { 0 },
        services_max: places,
        destinations_max: places,
        mark_rules_max: places,
        local_addresses_max: places,
        routes_max: places,
        neighbors_max: places,
        fragment_bytes: 4 << 20,
        fragment_sets_max: flows.min(1 << 11),
        outgoing_max: 1024,
        ..small
    }
}

/// A frame that the director or its host sent.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sent {
    side: Side,
    bytes: Vec<u8>,
}

struct Player<'s> {
    operator: Option<&'s mut dyn Operator>,
    scenario: &'s Scenario,
    network: &'s Network,
    director: Director,
    io: MemIo,
    host: Host<'s>,
    daemons: Daemons,
    marks: Vec<MarkRule>,
    names: Services,
    rates: Estimators,
    record: Record,
    now: Instant,
    explain: bool,
    reload_before: Option<usize>,
}

impl fmt::Debug for Player<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Player").field("now", &self.now).finish_non_exhaustive()
    }
}

impl<'s> Player<'s> {
    fn new(scenario: &'s Scenario, options: &PlayOptions) -> Result<Player<'s>, PlayError> {
        let network = &scenario.network;
        let mut director =
            Director::new(options.limits.unwrap_or_else(|| fitting_limits(scenario)), SEED)?;
        // The recordings show neither: neighbours are asked when a packet needs them.
        let quiet = Neighborhood { resolve_ahead: false, probe_virtual: None };
        let commands = std::iter::once(Command::SetNeighborhood(quiet)).chain(network.commands());
        for command in commands {
            director
                .apply(Instant::ZERO, command)
                .map_err(|error| PlayError::Network { scenario: scenario.name.clone(), error })?;
        }
        let burst_max = if network.has_local_server() { 1 } else { options.burst.max(1) };
        let config = MemConfig { burst_max, ..MemConfig::default() };
        Ok(Player {
            operator: None,
            scenario,
            network,
            director,
            io: MemIo::with_config(config),
            host: Host::new(network),
            daemons: Daemons::new(network),
            marks: Vec::new(),
            names: Services::well_known(),
            rates: Estimators::default(),
            record: Record::new(scenario, SUBJECT),
            now: Instant::ZERO,
            explain: options.explain,
            reload_before: options.reload_before,
        })
    }

    fn run(&mut self) -> Result<(), PlayError> {
        let events = &self.scenario.events;
        let mut next = 0;
        while let Some(event) = events.get(next) {
            self.advance_to(event.at, &event.time);
            let mut packets = packets_of_one_moment(&events[next..]);
            if let Some(at) = self.reload_before.filter(|&at| at >= next) {
                if at == next {
                    self.reload_at(next)?;
                } else {
                    packets.truncate(at - next);
                }
            }
            if packets.is_empty() {
                self.act(event);
                next += 1;
            } else {
                self.play_packets(&event.time, &packets);
                next += packets.len();
            }
        }
        self.flush_async("end");
        Ok(())
    }

    fn reload_at(&mut self, event: usize) -> Result<(), PlayError> {
        self.reload_before = None;
        let scenario = || self.scenario.name.clone();
        self.reload().map_err(|message| PlayError::Reload { scenario: scenario(), event, message })
    }

    /// Runs what is due up to a moment; what the director sends meanwhile stands before the event of
    /// that moment.
    fn advance_to(&mut self, at: Instant, time: &str) {
        let mut sent = Vec::new();
        let mut idle = 0;
        while let Some(deadline) = self.next_deadline().filter(|&due| due <= at) {
            let before = self.now;
            self.now = self.now.max(deadline);
            let done = self.director.handle_timers(self.now, usize::MAX);
            self.daemons.turn(self.now, &mut self.director);
            let mut frames = self.drain();
            frames.extend(self.let_host_see());
            let estimated = self.rates.due() <= self.now;
            if estimated && self.director.tunables().run_estimation {
                let services = self.director.services(self.now);
                self.rates.tick(&services, &self.director.total());
            } else if estimated {
                self.rates.skip();
            }
            // A deadline that comes back without anything done would be an error of the director's.
            let stuck = before == self.now && done == 0 && !estimated && frames.is_empty();
            idle = if stuck { idle + 1 } else { 0 };
            sent.extend(frames);
            if idle > 1 {
                break;
            }
        }
        self.now = at;
        self.record_async(time, sent);
    }

    /// When something happens next without an event.
    fn next_deadline(&self) -> Option<Instant> {
        let due = [self.director.next_deadline(), self.daemons.next_deadline()];
        due.into_iter().flatten().chain([self.rates.due()]).min()
    }

    fn act(&mut self, event: &Event) {
        let time = event.time.as_str();
        match &event.action {
            Action::Ipvsadm(words) => self.ipvsadm(time, words),
            Action::Sysctl { name, value } => self.sysctl(time, name, value),
            Action::Mark(mark) => self.mark(time, mark),
            Action::Dump(what) => self.dump(time, *what),
            Action::Sync(datagram) => {
                let (port, bytes) = (datagram.port, &datagram.bytes);
                self.daemons.hear(self.now, &mut self.director, port, bytes);
                self.record.event(time, &datagram.text, "ok");
            }
            Action::Packet(_) => {}
        }
        self.daemons.turn(self.now, &mut self.director);
        self.flush_async(time);
    }

    /// Records what the director sends now without a packet as the cause.
    fn flush_async(&mut self, time: &str) {
        let sent = self.drain();
        self.record_async(time, sent);
    }

    fn record_async(&mut self, time: &str, mut sent: Vec<Sent>) {
        sent.sort_by_key(|sent| sent.side);
        let outcomes: Vec<_> = sent
            .iter()
            .filter_map(|sent| describe(self.network, sent.side, &sent.bytes, None))
            .collect();
        self.record.async_outcomes(time, &outcomes);
    }

    /// Gives the host what the director leaves to it without a packet as the cause.
    fn let_host_see(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for frame in self.io.passed() {
            let handled = self.host.take(self.now, &frame);
            sent.extend(self.let_director_see(handled.sent));
        }
        sent
    }

    /// Takes every frame that the director wants to send of its own accord.
    fn drain(&mut self) -> Vec<Sent> {
        let (director, now) = (&mut self.director, self.now);
        let mut ports = Vec::new();
        let Ok(_) = self.io.inject(&mut |frame| {
            let more = director.poll_transmit(now, frame);
            if more && let lvs_core::io::Verdict::Transmit(port) = frame.verdict {
                ports.push(port);
            }
            more
        });
        // The backend keeps a queue for each port; the order over all ports is that of the calls.
        let mut queues = [Side::Clients, Side::Servers].map(|side| {
            self.io
                .sent(side.port())
                .into_iter()
                .map(|sent| sent.bytes)
                .collect::<Vec<_>>()
                .into_iter()
        });
        ports
            .into_iter()
            .filter_map(|port| {
                let bytes = queues.get_mut(port.index())?.next()?;
                let asked = solicited(&bytes);
                asked
                    .is_none_or(|addr| self.network.asks_for(addr))
                    .then_some(Sent { side: Side::of(port), bytes })
            })
            .collect()
    }

    fn explain(&mut self, explanation: &Explanation) {
        if self.explain {
            explanation.lines().iter().for_each(|line| self.record.below(line));
        }
    }
}

/// The packets at the head of `events` that come in at one moment.
fn packets_of_one_moment(events: &[Event]) -> Vec<&Packet> {
    let Some(first) = events.first() else { return Vec::new() };
    events
        .iter()
        .take_while(|event| event.at == first.at)
        .map_while(|event| match &event.action {
            Action::Packet(packet) => Some(packet),
            _ => None,
        })
        .collect()
}

/// The address that a neighbour solicitation asks for, if a frame is one.
fn solicited(frame: &[u8]) -> Option<IpAddr> {
    const KIND: usize = 14 + 40;
    let is_one = frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(KIND) == Some(&135);
    let target: [u8; 16] = frame.get(KIND + 8..KIND + 24)?.try_into().ok()?;
    (is_one && frame.get(20) == Some(&58)).then(|| IpAddr::V6(target.into()))
}
