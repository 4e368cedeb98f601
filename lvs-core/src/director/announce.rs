//! What a master of connection synchronisation tells its backups, and when: after a client's packet has
//! moved the state of its connection, the connection may be due, and then the template that controls it.
//!
//! The rules are the kernel's (Y1 to Y14). What is due is copied into a bounded store, from which
//! [`Director::poll_announcement`] takes it. While a director is a master every packet goes the long way,
//! for the short one counts packets that it must not compare; so nothing of this costs anything where there
//! is no master.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use super::sweep::Sweep;
use super::{Director, flags, forward};
use crate::addr::Family;
use crate::command::{ApplyError, ForwardingMethod, SyncRoles, Tunables};
use crate::engine::EngineData;
use crate::flow::Endpoint;
use crate::ids::{ConnId, TemplateId};
use crate::snapshot::{Announced, Announcement, Method};
use crate::state::State;
use crate::time::Duration;

/// Announcements that may wait between two looks of the caller.
const WAITING_MAX: usize = 4096;

/// The least that half a timeout is taken for, where it limits `sync_refresh_period`.
const HALF_TIMEOUT_MIN: u32 = 10_000;

/// What a master remembers.
#[derive(Debug)]
pub(super) struct Announcer {
    /// By the place of the connection.
    connections: Vec<ToldOfConnection>,
    /// By the place of the template.
    templates: Vec<ToldOfTemplate>,
    waiting: VecDeque<Announcement>,
    lost: u64,
    pub(super) sweep: Sweep,
}

/// What was last told of something.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The tick at which it was to end.
    end: u32,
    /// Announcements of about the same end before it.
    retries: u8,
}

/// What was last told of the connection in a place.
#[derive(Clone, Copy, Debug)]
struct ToldOfConnection {
    end: u32,
    /// The connection's; of an earlier one in the same place nothing is remembered.
    generation: u16,
    state: u8,
    retries: u8,
}

/// What was last told of the template in a place, and the packets of connections that it controls.
#[derive(Clone, Copy, Debug)]
struct ToldOfTemplate {
    packets: u32,
    told: Option<Told>,
    /// A master announced it last, and no connection was led by it since.
    heard: bool,
}

impl ToldOfConnection {
    /// A state that none has: nothing was told.
    const NOTHING: u8 = u8::MAX;
    const NEVER: ToldOfConnection =
        ToldOfConnection { end: 0, generation: 0, state: Self::NOTHING, retries: 0 };
}

impl ToldOfTemplate {
    const NEVER: ToldOfTemplate = ToldOfTemplate { packets: 0, told: None, heard: false };
}

impl Announcer {
    fn new(connections: u32, templates: u32) -> Announcer {
        Announcer {
            connections: vec![ToldOfConnection::NEVER; connections as usize],
            templates: vec![ToldOfTemplate::NEVER; templates as usize],
            waiting: VecDeque::with_capacity(WAITING_MAX),
            lost: 0,
            sweep: Sweep::default(),
        }
    }

    /// Whether there is room for another announcement; if not, it is lost.
    fn has_room(&mut self) -> bool {
        let room = self.waiting.len() < WAITING_MAX;
        self.lost += u64::from(!room);
        room
    }
}

impl Director {
    /// The next connection or template that a master has to tell of. Ask after each burst and each
    /// [`handle_timers`](Director::handle_timers) until there is none: 4096 may wait, more are lost.
    pub fn poll_announcement(&mut self) -> Option<Announcement> {
        match self.announcer.as_mut()?.waiting.pop_front() {
            None if self.tunables.sync_sweep_period > 0 => self.swept(),
            next => next,
        }
    }

    /// How many announcements found no room since the director became a master.
    pub fn announcements_lost(&self) -> u64 {
        self.announcer.as_ref().map_or(0, |announcer| announcer.lost)
    }

    /// The director's part in connection synchronisation.
    pub fn sync_roles(&self) -> SyncRoles {
        self.sync_roles
    }

    /// `--start-daemon` and `--stop-daemon`.
    pub(super) fn set_sync_roles(&mut self, roles: SyncRoles) {
        self.sync_roles = roles;
        if !roles.master {
            self.announcer = None;
        } else if self.announcer.is_none() {
            let (connections, templates) = (self.limits.connections_max, self.limits.templates_max);
            self.announcer = Some(Box::new(Announcer::new(connections, templates)));
        }
        self.review_sync();
    }

    /// What follows from roles and switches together.
    pub(super) fn review_sync(&mut self) {
        self.dormant = self.sync_roles.backup && self.tunables.backup_only;
        self.lifetimes.open_short_way(!self.sync_roles.master && !self.dormant);
        let now = self.now;
        if let Some(announcer) = &mut self.announcer {
            announcer.sweep_from(now);
        }
    }

    /// A packet of the client's was counted, and the state moved.
    #[cold]
    #[inline(never)]
    pub(super) fn announce_connection(&mut self, id: ConnId) {
        let version_0 = self.tunables.sync_version == 0;
        // Version 0 has no IPv6 (rule Y11).
        if version_0 && self.conns.key(id).family() == Family::V6 {
            return;
        }
        if self.is_due(id) {
            let announcement = self.announcement_of(id);
            if let (Some(announcement), Some(announcer)) = (announcement, &mut self.announcer) {
                announcer.waiting.push_back(announcement);
            }
        } else if version_0 {
            // In version 0 a template goes only with a connection (rule Y3).
            return;
        }
        if let Some(template) = self.conns.template(id) {
            self.announce_controller(template);
        }
    }

    /// A packet came to a connection of this packet alone: not it is announced, but its template (rule Y6).
    pub(super) fn announce_one_packet(&mut self, template: TemplateId) {
        if self.announcer.is_some() && self.tunables.sync_version != 0 {
            self.announce_controller(template);
        }
    }

    /// A packet came to a connection that a template controls (rule Y3).
    #[cold]
    #[inline(never)]
    fn announce_controller(&mut self, id: TemplateId) {
        let Some(announcer) = &mut self.announcer else { return };
        let told = &mut announcer.templates[id.index()];
        (told.packets, told.heard) = (told.packets.wrapping_add(1), false);
        let packets = told.packets;
        self.announce_template(id, packets);
    }

    /// A template goes on for another minute (rule Y5).
    pub(super) fn announce_extended(&mut self, id: TemplateId) {
        if self.announcer.is_some() {
            self.announce_template(id, self.tunables.sync_threshold);
        }
    }

    /// Nothing is known of what comes to this place next.
    pub(super) fn forget_announced(&mut self, id: TemplateId) {
        if let Some(announcer) = &mut self.announcer {
            announcer.templates[id.index()] = ToldOfTemplate::NEVER;
        }
    }

    /// A master told of a connection: this director, be it a master too, need not until something changes.
    pub(super) fn note_heard(&mut self, id: ConnId) {
        let (generation, state) = (self.conns.hot(id).generation(), self.conns.hot(id).state());
        let end = self.tick();
        if let Some(announcer) = &mut self.announcer {
            announcer.connections[id.index()] =
                ToldOfConnection { end, generation, state, retries: 0 };
        }
    }

    /// The same of a template.
    pub(super) fn note_template_heard(&mut self, id: TemplateId) {
        let packets = self.tunables.sync_threshold;
        if let Some(announcer) = &mut self.announcer {
            announcer.templates[id.index()] = ToldOfTemplate { packets, told: None, heard: true };
        }
    }

    /// Whether a connection is to be announced, which is then remembered.
    fn is_due(&mut self, id: ConnId) -> bool {
        let record = self.conns.hot(id);
        let (state, packets) = (State::from_byte(record.state()), record.packets());
        let generation = record.generation();
        let timeout = self.timeouts.ticks(record.timeout_index());
        let (tick, tunables) = (self.tick(), self.tunables);
        if !self.may_be_told(id) {
            return false;
        }
        let Some(announcer) = &mut self.announcer else { return false };
        let before = announcer.connections[id.index()];
        let known = before.generation == generation && before.state != ToldOfConnection::NOTHING;
        let told = known.then_some(Told { end: before.end, retries: before.retries });
        let changed = state != State::Udp && !(known && before.state == state as u8);
        let retries = match changed && !state.is_established() {
            true => Some(0),
            false => retries(told, tick, timeout, &tunables)
                .filter(|_| is_in_turn(packets, false, &tunables)),
        };
        let Some(retries) = retries.filter(|_| announcer.has_room()) else { return false };
        self.note_told(id, retries);
        true
    }

    /// Whether a connection is one that is announced at all.
    pub(super) fn may_be_told(&self, id: ConnId) -> bool {
        let left_out = self.tunables.sync_persist_mode && self.conns.template(id).is_some();
        is_told(State::from_byte(self.conns.hot(id).state()))
            && !left_out
            && self.version_has(self.conns.key(id).family())
    }

    /// The same of a template. A spoilt one leads no client any more (rule Y13).
    pub(super) fn template_may_be_told(&self, id: TemplateId) -> bool {
        let template = self.templates.template(id);
        !template.is_spoilt() && self.version_has(template.key().family())
    }

    /// Version 0 has no IPv6 (rule Y11).
    fn version_has(&self, family: Family) -> bool {
        self.tunables.sync_version != 0 || family == Family::V4
    }

    /// Remembers that a connection was announced as it is now.
    pub(super) fn note_told(&mut self, id: ConnId, retries: u8) {
        let record = self.conns.hot(id);
        let (generation, state) = (record.generation(), record.state());
        let end = self.tick().wrapping_add(self.timeouts.ticks(record.timeout_index()));
        if let Some(announcer) = &mut self.announcer {
            announcer.connections[id.index()] =
                ToldOfConnection { end, generation, state, retries };
        }
    }

    /// The same of a template.
    pub(super) fn note_template_told(&mut self, id: TemplateId, retries: u8) {
        let end = self.tick().wrapping_add(self.templates.template(id).timeout);
        if let Some(announcer) = &mut self.announcer {
            let told = &mut announcer.templates[id.index()];
            (told.told, told.heard) = (Some(Told { end, retries }), false);
        }
    }

    /// Whether a connection is as a master announced it, and no packet has come since: then it is that master's
    /// to announce.
    pub(super) fn was_heard_last(&self, id: ConnId) -> bool {
        let record = self.conns.hot(id);
        let Some(announcer) = &self.announcer else { return false };
        let told = announcer.connections[id.index()];
        let noted = told.generation == record.generation() && told.end == record.last_seen();
        let before =
            record.flags() & flags::TOLD != 0 && record.packets() <= self.tunables.sync_threshold;
        noted || before
    }

    /// The same of a template, and connections that it led to its server.
    pub(super) fn template_was_heard_last(&self, id: TemplateId) -> bool {
        let template = self.templates.template(id);
        let noted = self.announcer.as_ref().is_some_and(|a| a.templates[id.index()].heard);
        noted || template.told && template.connections == 0
    }

    /// Announces a template that had so many packets, if it is due.
    fn announce_template(&mut self, id: TemplateId, packets: u32) {
        let template = self.templates.template(id);
        let (timeout, tick, tunables) = (template.timeout, self.tick(), self.tunables);
        if !self.template_may_be_told(id) {
            return;
        }
        let Some(announcer) = &mut self.announcer else { return };
        let told = announcer.templates[id.index()].told;
        let Some(retries) = retries(told, tick, timeout, &tunables) else { return };
        if !is_in_turn(packets, true, &tunables) || !announcer.has_room() {
            return;
        }
        self.note_template_told(id, retries);
        let announcement = self.announcement_of_template(id);
        if let (Some(announcement), Some(announcer)) = (announcement, &mut self.announcer) {
            announcer.waiting.push_back(announcement);
        }
    }

    /// `None` for a server of another address family, which messages cannot carry.
    pub(super) fn announcement_of(&self, id: ConnId) -> Option<Announcement> {
        let record = self.conns.hot(id);
        let (key, way) = (record.key(), self.way_of(id));
        let server = self.server_end(&way, key.virtual_port());
        (server.addr.is_ipv4() == key.client_addr().is_ipv4()).then(|| Announcement {
            protocol: key.protocol(),
            client: key.client(),
            virt: key.virt(),
            server,
            method: match way.method {
                forward::Method::Direct => Method::DirectRoute,
                forward::Method::Tunnel => Method::Tunnel,
                forward::Method::Masquerade => Method::Masquerade,
                forward::Method::Bypass => Method::Bypass,
            },
            kind: Announced::Connection(State::from_byte(record.state())),
            answered: record.flags() & flags::NO_OUTPUT == 0,
            relayed: record.flags() & flags::TOLD != 0,
            engine: None,
            inactive: record.flags() & flags::INACTIVE != 0,
            mark: self.conns.mark(id),
            timeout: Duration::from_millis(u64::from(self.timeouts.ticks(record.timeout_index()))),
        })
    }

    /// The same of a template.
    pub(super) fn announcement_of_template(&self, id: TemplateId) -> Option<Announcement> {
        let template = self.templates.template(id);
        let (key, destination) = (template.key(), self.dests.at(template.dest));
        let server = Endpoint { addr: destination.addr().addr, port: template.dest_port };
        let method = match destination.method() {
            ForwardingMethod::DirectRoute => Method::DirectRoute,
            ForwardingMethod::Tunnel(_) => Method::Tunnel,
            ForwardingMethod::Masquerade => Method::Masquerade,
        };
        (server.addr.is_ipv4() == key.client_addr().is_ipv4()).then(|| Announcement {
            protocol: key.protocol(),
            client: key.client(),
            virt: key.virt(),
            server,
            method,
            kind: Announced::Template { assured: template.assured },
            answered: method == Method::Masquerade,
            relayed: template.told,
            engine: self.templates.read_of(id).map(EngineData::from),
            inactive: true,
            mark: template.mark,
            timeout: Duration::from_millis(u64::from(template.timeout)),
        })
    }
}

/// Whether connections in this state are announced at all: those that had their handshake.
fn is_told(state: State) -> bool {
    matches!(
        state,
        State::Established
            | State::FinWait
            | State::Close
            | State::CloseWait
            | State::TimeWait
            | State::Udp
            | State::SctpEstablished
            | State::SctpShutdownSent
            | State::SctpShutdownReceived
            | State::SctpShutdownAckSent
            | State::SctpClosed
    )
}

/// Whether the end of something has moved far enough to be told: the retries that it then counts. `timeout` is
/// in ticks.
fn retries(told: Option<Told>, tick: u32, timeout: u32, tunables: &Tunables) -> Option<u8> {
    let period = tunables.sync_refresh_period.saturating_mul(1000);
    let Some(told) = told.filter(|_| period > 0) else { return Some(0) };
    let moved = tick.wrapping_add(timeout).wrapping_sub(told.end).cast_signed();
    if moved.unsigned_abs() >= period.min(HALF_TIMEOUT_MIN.max(timeout / 2)) {
        return Some(0);
    }
    let since = tick.wrapping_sub(told.end.wrapping_sub(timeout)).cast_signed();
    let again = told.retries < tunables.sync_retries && i64::from(since) >= i64::from(period / 8);
    again.then_some(told.retries + 1)
}

/// Whether something is announced at the packet that makes them this many.
fn is_in_turn(packets: u32, template: bool, tunables: &Tunables) -> bool {
    let Tunables { sync_threshold: threshold, sync_period: period, .. } = *tunables;
    match period {
        0 => tunables.sync_refresh_period > 0 || packets == threshold,
        _ => template || packets % period == threshold,
    }
}

/// Checks the switches of synchronisation as the kernel does when they are set.
pub(super) fn check_tunables(tunables: &Tunables) -> Result<(), ApplyError> {
    let ports = u32::from(tunables.sync_ports);
    let below = tunables.sync_period == 0 || tunables.sync_threshold < tunables.sync_period;
    let wrong = |name, expected| Err(ApplyError::SyncTunable(name, expected));
    match tunables {
        _ if !below => wrong("sync_threshold", "a number below sync_period, or sync_period 0"),
        _ if !ports.is_power_of_two() || ports > 64 => {
            wrong("sync_ports", "a power of two from 1 to 64")
        }
        Tunables { sync_version: 2.., .. } => wrong("sync_version", "0 or 1"),
        Tunables { sync_retries: 4.., .. } => wrong("sync_retries", "a number from 0 to 3"),
        _ => Ok(()),
    }
}
