//! All that is there, announced over and over (`sync_sweep_period`), so that a backup that comes late, or
//! that missed messages, knows it too.
//!
//! The kernel announces by packets alone, and a backup which was away learns of a quiet connection never. A
//! sweep walks the places of both tables evenly, so that it makes no bursts: a share of them is granted ten
//! times a second, and what is in those places is announced as the caller asks for it. What another master
//! announced is left to that one until a packet comes here.

use super::Director;
use super::announce::Announcer;
use crate::ids::{ConnId, TemplateId};
use crate::snapshot::Announcement;
use crate::time::{Duration, Instant};

/// How often a share of the places is granted.
const GRANT: Duration = Duration::from_millis(100);
/// How often that is in a second.
const GRANTS_PER_SECOND: u64 = 10;

/// How far a sweep is. Places are counted on and on: connections, templates, and again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sweep {
    place: u64,
    /// Up to where places are granted.
    granted: u64,
    /// Shares so far.
    grants: u64,
    next: Instant,
}

impl Director {
    /// When the next share is due; `None` if nothing is swept.
    pub(super) fn next_sweep(&self) -> Option<Instant> {
        let announcer = self.announcer.as_ref()?;
        (self.tunables.sync_sweep_period > 0).then_some(announcer.sweep.next)
    }

    /// Grants the share that is due.
    pub(super) fn grant_sweep(&mut self) {
        let (now, total) = (self.now, self.places());
        let period = u64::from(self.tunables.sync_sweep_period);
        let Some(announcer) = self.announcer.as_mut().filter(|_| period > 0) else { return };
        let sweep = &mut announcer.sweep;
        if sweep.next > now {
            return;
        }
        // A caller that was away has missed its share, and makes no burst of it.
        sweep.next = if sweep.next + GRANT > now { sweep.next + GRANT } else { now + GRANT };
        sweep.grants += 1;
        sweep.granted = sweep.grants * total / (period * GRANTS_PER_SECOND);
        // What nobody asked for in a whole period is told in the next one.
        sweep.place = sweep.place.max(sweep.granted.saturating_sub(total));
    }

    /// The next thing in the places that are granted.
    #[cold]
    pub(super) fn swept(&mut self) -> Option<Announcement> {
        let (total, connections) = (self.places(), u64::from(self.limits.connections_max));
        loop {
            let Sweep { place, granted, .. } = self.announcer.as_ref()?.sweep;
            if place >= granted {
                return None;
            }
            let (lap, at) = (place - place % total, place % total);
            let found = if at >= connections {
                let id = TemplateId((at - connections) as u32);
                self.sweep_to(place + 1)?;
                self.templates.is_live(id).then(|| self.tell_template(id)).flatten()
            } else if let Some(id) = self.conns.next_live(at as u32) {
                let here = lap + u64::from(id.0);
                if here >= granted {
                    self.sweep_to(granted)?;
                    return None;
                }
                self.sweep_to(here + 1)?;
                self.is_alive(id).then(|| self.tell_connection(id)).flatten()
            } else {
                self.sweep_to(granted.min(lap + connections))?;
                None
            };
            if found.is_some() {
                return found;
            }
        }
    }

    fn sweep_to(&mut self, place: u64) -> Option<()> {
        self.announcer.as_mut()?.sweep.place = place;
        Some(())
    }

    fn places(&self) -> u64 {
        u64::from(self.limits.connections_max) + u64::from(self.limits.templates_max)
    }

    fn tell_connection(&mut self, id: ConnId) -> Option<Announcement> {
        if !self.may_be_told(id) || self.was_heard_last(id) {
            return None;
        }
        self.note_told(id, 0);
        self.announcement_of(id)
    }

    fn tell_template(&mut self, id: TemplateId) -> Option<Announcement> {
        if !self.template_may_be_told(id) || self.template_was_heard_last(id) {
            return None;
        }
        self.note_template_told(id, 0);
        self.announcement_of_template(id)
    }
}

impl Announcer {
    /// Begins anew, with the first share due at once.
    pub(super) fn sweep_from(&mut self, now: Instant) {
        self.sweep = Sweep { next: now, ..Sweep::default() };
    }
}
