//! The passing of time: ends of connections and templates, neighbours, regular looks.

use super::Director;
use crate::dest::{Hop, UNLISTED_CHECK};
use crate::ids::{ConnId, TemplateId};
use crate::neighbor::{Due, NeighborIndex};
use crate::time::{Duration, Instant};
use crate::wire::ethernet::VlanTags;

/// How long a template goes on when its time is up while it still controls connections, for good
/// (rules R4, R5): 60 s in ticks.
const TEMPLATE_EXTENSION: u32 = 60_000;

/// A jump of time beyond which everything due is settled first, so that no age wraps (2³¹ ticks of 1 ms
/// are 24.8 days; timeouts are at most 31, ages wrap at 49.7).
const FAR_JUMP: Duration = Duration::from_secs(7 * 24 * 3600);

/// The timer of a connection; templates come behind all connections.
pub(super) fn connection_timer(id: ConnId) -> u32 {
    id.0
}

impl Director {
    /// Does what is due at `now`, at most `budget` connections and templates, and returns how many it
    /// looked at. The budget spreads the work; it never changes what packets and listings see.
    pub fn handle_timers(&mut self, now: Instant, budget: usize) -> usize {
        self.advance(now);
        self.handle_neighbors();
        self.handle_unlisted();
        self.handle_probes();
        self.handle_defense();
        self.grant_sweep();
        self.expire_fragments();
        self.run_wheel(budget)
    }

    /// When [`handle_timers`](Director::handle_timers) or [`poll_transmit`](Director::poll_transmit)
    /// has something to do, at the earliest; never late. `None` if nothing is waiting.
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.outgoing.is_empty() {
            return Some(self.now);
        }
        let neighbors = Some(self.neighbors.next_due()).filter(|&at| at != Instant::MAX);
        let fragments = Some(self.reassembly.next_due()).filter(|&at| at != Instant::MAX);
        let wheel = self.wheel.next_deadline().map(Instant::from_millis);
        let regular =
            [self.next_unlisted_check, self.next_probe, self.defense.next(), self.next_sweep()];
        [neighbors, fragments, wheel, self.next_reclaim].into_iter().chain(regular).flatten().min()
    }

    /// Moves the director's time on; it never goes backwards.
    pub(super) fn advance(&mut self, now: Instant) {
        if now <= self.now {
            return;
        }
        let far = now.saturating_since(self.now) > FAR_JUMP;
        if far {
            self.settle_through(now);
        }
        self.set_now(now);
        if far {
            self.settle();
        }
    }

    fn set_now(&mut self, now: Instant) {
        self.now = now;
        self.tick = now.as_millis() as u32;
    }

    /// Ends everything that is due, so that counts and templates are those of this moment.
    pub(super) fn settle(&mut self) {
        self.run_wheel(usize::MAX);
    }

    /// Goes to a moment far ahead in steps, each short enough that no age wraps.
    fn settle_through(&mut self, now: Instant) {
        while let Some(next) = self.wheel.next_deadline().map(Instant::from_millis) {
            if next >= now {
                break;
            }
            self.set_now(self.now.max(next));
            self.settle();
        }
    }

    #[inline]
    fn run_wheel(&mut self, budget: usize) -> usize {
        let now = self.now.as_millis();
        let mut done = 0;
        while done < budget {
            let Some((timer, at)) = self.wheel.pop_due(now) else { break };
            if let Some(soon) = self.wheel.upcoming() {
                // Of a template nothing is asked for: its number is above those of all connections.
                self.conns.prefetch_record(ConnId(soon));
            }
            done += 1;
            match timer.checked_sub(self.limits.connections_max) {
                None => self.connection_due(ConnId(timer), at),
                Some(template) => self.template_due(TemplateId(template), at),
            }
        }
        done
    }

    /// The wheel came to a connection: it was seen since, and is filed anew, or it ends.
    fn connection_due(&mut self, id: ConnId, at: u64) {
        let record = self.conns.hot(id);
        let timeout = self.timeouts.ticks(record.timeout_index());
        let ends = self.ends_at(record.last_seen(), timeout);
        if ends > at {
            self.wheel.file(connection_timer(id), ends);
        } else {
            self.end_connection(id);
        }
    }

    /// The wheel came to a template: it was used since, or goes on for 60 s because it controls
    /// connections, or it ends.
    fn template_due(&mut self, id: TemplateId, at: u64) {
        let template = self.templates.template(id);
        let ends = self.ends_at(template.last_used, template.timeout);
        if ends > at {
            self.templates.template_mut(id).deferred = false;
            self.wheel.file(self.template_timer(id), ends);
            return;
        }
        if template.holds() == 0 {
            let destination = template.dest;
            self.dests.at_mut(destination).template_ends();
            self.templates.remove(id);
            self.forget_announced(id);
            return;
        }
        let entry = self.templates.template_mut(id);
        if !entry.deferred {
            // A connection that ends in the same moment goes first, as in the kernel, whose later timer fires
            // first: the template then ends with it (scenario `long/persist-tie`).
            entry.deferred = true;
            self.wheel.file(self.template_timer(id), ends);
            return;
        }
        // As of its own end, whenever the wheel came to it.
        entry.deferred = false;
        entry.timeout = TEMPLATE_EXTENSION;
        entry.last_used = ends as u32;
        self.wheel.file(self.template_timer(id), ends + u64::from(TEMPLATE_EXTENSION));
        self.announce_extended(id);
    }

    /// Ends a connection now.
    pub(super) fn end_connection(&mut self, id: ConnId) {
        let record = self.conns.hot(id);
        let (destination, active) = (record.dest(), record.flags() & super::flags::INACTIVE == 0);
        if let Some(template) = self.conns.template(id) {
            self.templates.release(template);
        }
        self.dests.at_mut(destination).connection_ends(active);
        self.wheel.cancel(connection_timer(id));
        self.expect_no_answers(id);
        self.conns.remove(id);
    }

    /// Ends a template now, whatever it controls.
    pub(super) fn end_template(&mut self, id: TemplateId) {
        let destination = self.templates.template(id).dest;
        self.dests.at_mut(destination).template_ends();
        self.wheel.cancel(self.template_timer(id));
        self.templates.remove(id);
        self.forget_announced(id);
    }

    pub(super) fn template_timer(&self, id: TemplateId) -> u32 {
        self.limits.connections_max + id.0
    }

    /// Whether a connection has not ended at this moment, whether or not the wheel came to it.
    #[inline]
    pub(super) fn is_alive(&self, id: ConnId) -> bool {
        let record = self.conns.hot(id);
        let age = self.tick().wrapping_sub(record.last_seen());
        age < self.timeouts.ticks(record.timeout_index())
    }

    /// When something that was last seen at a tick ends, in milliseconds.
    fn ends_at(&self, last_seen: u32, timeout: u32) -> u64 {
        let now = self.now.as_millis();
        let age = (now as u32).wrapping_sub(last_seen);
        // In this order, because what was imported may have been seen before the clock began.
        (now + u64::from(timeout)).saturating_sub(u64::from(age))
    }

    /// What is left of a timeout at this moment.
    pub(super) fn time_left(&self, last_seen: u32, timeout: u32) -> Duration {
        let left = self.ends_at(last_seen, timeout).saturating_sub(self.now.as_millis());
        Duration::from_millis(left)
    }

    fn handle_neighbors(&mut self) {
        while let Some(due) = self.neighbors.pop_due(self.now) {
            match due {
                Due::Ask(neighbor) if self.was_used(neighbor) || self.is_needed(neighbor) => {
                    self.ask(neighbor);
                }
                Due::Ask(neighbor) => {
                    self.neighbors.forget(neighbor);
                }
                Due::Silent(neighbor) => self.give_up(neighbor),
            }
        }
        if self.next_reclaim.is_some_and(|at| at <= self.now) {
            self.next_reclaim = None;
            self.reclaim_neighbors();
        }
    }

    /// The table of neighbours is full: makes room within a second, however many packets ask for it.
    pub(super) fn want_room_for_neighbors(&mut self) {
        self.next_reclaim.get_or_insert(self.now + Duration::from_secs(1));
    }

    /// Forgets neighbours that no real server, or unbound one, needs and that no answer went to since the last time, and
    /// those of VLANs where nobody answers. Returns whether doing it again would change nothing.
    pub(super) fn reclaim_neighbors(&mut self) -> bool {
        self.neighbors.need_none();
        for (_, destination) in self.dests.iter().filter(|(_, d)| d.is_listed() || d.is_unbound()) {
            if let Hop::Via { neighbor, .. } = destination.hop {
                self.neighbors.at_mut(neighbor).needed = true;
            }
        }
        let mut in_vain = true;
        let mut from = 0;
        while let Some(index) = self.neighbors.next_known(from) {
            from = index.0 + 1;
            let entry = self.neighbors.at(index);
            let silent = entry.mac().is_none() && !entry.tags.is_empty();
            // One in a VLAN is needed with the untagged one of its address.
            let untagged = self.neighbors.find(entry.port, &VlanTags::NONE, entry.addr);
            let needed = untagged.is_some_and(|untagged| self.neighbors.at(untagged).needed);
            let used = core::mem::take(&mut self.neighbors.at_mut(index).used);
            in_vain &= !used;
            if silent || !(used || needed) {
                in_vain &= !self.neighbors.forget(index);
            }
        }
        in_vain
    }

    /// Whether an answer went to a neighbour since this was last asked, or a packet waits for it.
    fn was_used(&mut self, neighbor: NeighborIndex) -> bool {
        let entry = self.neighbors.at_mut(neighbor);
        core::mem::take(&mut entry.used) || entry.waiting.len() > 0
    }

    /// Whether a neighbour is the next hop of a real server in a service's list or of an unbound one, in any
    /// VLAN.
    fn is_needed(&self, neighbor: NeighborIndex) -> bool {
        let entry = self.neighbors.at(neighbor);
        self.dests.iter().any(|(_, d)| match d.hop {
            Hop::Via { port, neighbor } => {
                (d.is_listed() || d.is_unbound())
                    && port == entry.port
                    && self.neighbors.at(neighbor).addr == entry.addr
            }
            Hop::Local | Hop::Unreachable => false,
        })
    }

    fn handle_unlisted(&mut self) {
        while let Some(at) = self.next_unlisted_check.filter(|&at| at <= self.now) {
            let left = self.dests.check_unlisted(at);
            // At the end of time there is no next look.
            let next = Some(at + UNLISTED_CHECK).filter(|&next| next > at);
            self.next_unlisted_check = next.filter(|_| left);
        }
    }

    /// Asks again who else answers for the virtual addresses.
    fn handle_probes(&mut self) {
        let Some(at) = self.next_probe.filter(|&at| at <= self.now) else { return };
        self.probe_virtual_addresses();
        let every = self.neighborhood.probe_virtual;
        self.next_probe = every.map(|every| at.max(self.now) + every);
    }
}
