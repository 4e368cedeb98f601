//! Several commands at one instant: what follows from all of them is done once.

use alloc::vec::Vec;

use super::Director;
use crate::command::ServiceKey;
use crate::ids::ServiceIndex;
use crate::sched::{Candidates, Change};

/// What is put off until the last of several commands was carried out.
#[derive(Debug, Default)]
pub(super) struct PutOff {
    /// Services that were deleted.
    deleted: Vec<ServiceKey>,
    /// Whether servers were deleted.
    servers_went: bool,
    /// Services whose scheduler looks at its list anew.
    schedulers: Vec<ServiceIndex>,
}

impl Director {
    /// Has `work` give several commands at one instant. What each of them would cost again is done once, when
    /// `work` is over: schedulers that make a table of their servers make it
    /// ([`Schedule::starts_anew`](crate::sched::Schedule::starts_anew)), and under `expire_nodest_conn`
    /// connections of deleted servers end (rule L2), but not of those that are back by then. No packet may be
    /// processed within.
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
    /// let servers = (2..250).map(|n| DestinationSpec::new(Endpoint::new([10, 1, 0, n].into(), 80)));
    /// director.together(|director| {
    ///     director.apply(Instant::ZERO, Command::AddService(ServiceSpec::new(key)))?;
    ///     for server in servers {
    ///         director.apply(Instant::ZERO, Command::AddDestination(key, server))?;
    ///     }
    ///     Ok::<(), lvs_core::command::ApplyError>(())
    /// })?;
    /// # Ok::<(), lvs_core::command::ApplyError>(())
    /// ```
    pub fn together<T>(&mut self, work: impl FnOnce(&mut Director) -> T) -> T {
        if self.put_off.is_some() {
            return work(self);
        }
        self.put_off = Some(PutOff::default());
        let result = work(self);
        self.catch_up();
        self.put_off = None;
        result
    }

    /// Does what was put off.
    pub(super) fn catch_up(&mut self) {
        let Some(put_off) = &mut self.put_off else { return };
        let PutOff { mut deleted, servers_went, mut schedulers } = core::mem::take(put_off);
        if !deleted.is_empty() {
            deleted.sort_unstable();
            self.dests.orphan(&deleted);
        }
        if servers_went {
            self.end_unlisted();
        }
        schedulers.sort_unstable_by_key(|index| index.0);
        schedulers.dedup();
        for index in schedulers {
            self.tell_at_once(index, Change::Several);
        }
    }

    /// A service was deleted, and its servers are unlisted.
    pub(super) fn service_went(&mut self, key: ServiceKey) {
        match &mut self.put_off {
            Some(put_off) => {
                put_off.deleted.push(key);
                put_off.servers_went = true;
            }
            None => {
                self.dests.orphan(&[key]);
                self.end_unlisted();
            }
        }
    }

    /// Servers were deleted.
    pub(super) fn servers_went(&mut self) {
        match &mut self.put_off {
            Some(put_off) => put_off.servers_went = true,
            None => self.end_unlisted(),
        }
    }

    /// Tells the scheduler of a service that its list has changed, now or when all changes are made.
    pub(super) fn tell_scheduler(&mut self, index: ServiceIndex, change: Change) {
        match &mut self.put_off {
            Some(put_off) if self.services.at(index).scheduler.starts_anew() => {
                if put_off.schedulers.last() != Some(&index) {
                    put_off.schedulers.push(index);
                }
            }
            _ => self.tell_at_once(index, change),
        }
    }

    fn tell_at_once(&mut self, index: ServiceIndex, change: Change) {
        // Its place may be free again by now.
        if let Some(service) = self.services.in_place_mut(index) {
            service.scheduler.changed(&Candidates::new(&service.list, &self.dests), change);
        }
    }

    /// Under `expire_nodest_conn` everything of a deleted server ends with it (rule L2).
    fn end_unlisted(&mut self) {
        if !self.tunables.expire_nodest_conn {
            return;
        }
        let mut from = 0;
        while let Some(id) = self.conns.next_live(from) {
            from = id.0 + 1;
            if !self.dests.at(self.conns.dest(id)).is_listed() && self.is_gone(id) {
                self.end_connection(id);
            }
        }
        let mut from = 0;
        while let Some(id) = self.templates.next_live(from) {
            from = id.0 + 1;
            let template = self.templates.template(id);
            if template.holds() == 0 && !self.dests.at(template.dest).is_listed() {
                self.end_template(id);
            }
        }
    }
}
