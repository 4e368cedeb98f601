//! What an operator should hear about without asking: other stations that answer ARP for a virtual
//! address, addresses that come to the host or leave it, tables that are full.

use std::net::IpAddr;

use lvs_core::command::Command;
use lvs_core::drop::DropReason;
use lvs_core::time::{Duration, Instant};

use super::Runtime;

/// How often the host's interfaces, addresses and routes are looked at.
const ADDRESSES_EVERY: Duration = Duration::from_secs(2);
/// When they are looked at after an interface came up.
const ADDRESSES_SOON: Duration = Duration::from_millis(100);
/// How often a full table is reported.
const FULL_EVERY: Duration = Duration::from_secs(60);
/// When the virtual addresses are announced once more after an interface came up: a switch may not yet
/// forward what is sent at once, as carrier and spanning tree take their time.
const ANNOUNCE_AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// What was noticed so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    conflicts: usize,
    next_addresses: Instant,
    next_full: Instant,
    refused: u64,
    /// When to announce again, earliest first.
    announcements: Vec<Instant>,
}

impl Watch {
    /// An interface came up at `now`.
    pub(super) fn came_up(&mut self, now: Instant) {
        self.announcements = ANNOUNCE_AGAIN.map(|after| now + after).to_vec();
        // Its addresses come a moment after it.
        self.next_addresses = now + ADDRESSES_SOON;
    }
}

/// Drops that mean that a limit is too small.
const FULL: [(DropReason, &str); 3] = [
    (DropReason::ConnectionTableFull, "--connections-max"),
    (DropReason::TemplateTableFull, "--templates-max"),
    (DropReason::StoreFull, "fewer packets to unresolved real servers"),
];

impl Runtime<'_> {
    pub(super) fn look_around(&mut self, now: Instant) {
        self.report_conflicts();
        self.report_full_tables(now);
        self.repeat_announcements(now);
        if now >= self.watch.next_addresses {
            self.watch.next_addresses = now + ADDRESSES_EVERY;
            self.follow_host();
            self.daemons.follow_interfaces();
            self.daemons.compare_ports(self.director.tunables());
        }
    }

    fn report_conflicts(&mut self) {
        if self.args.no_arp {
            // Whoever else has an address has it by the will of whoever moves them.
            return;
        }
        let conflicts = self.director.conflicts();
        for conflict in &conflicts[self.watch.conflicts.min(conflicts.len())..] {
            let interface = &self.names[conflict.port.index()];
            let (mac, addr) = (conflict.mac, conflict.addr);
            let (asked, remedy) = match addr {
                IpAddr::V4(_) => (
                    "ARP",
                    "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2, and \
                     keep the address on lo"
                        .to_owned(),
                ),
                IpAddr::V6(_) => (
                    "neighbour solicitations",
                    format!("ip -6 addr add {addr}/128 dev lo, and take it off every other interface"),
                ),
            };
            tracing::warn!(
                "{mac} answers {asked} for the virtual address {addr} on {interface}: clients may pass \
                 this director by. If it is a real server, run there: lvs-director realserver --vip {addr} \
                 --apply; or: {remedy}"
            );
        }
        self.watch.conflicts = conflicts.len();
    }

    fn repeat_announcements(&mut self, now: Instant) {
        if self.watch.announcements.first().is_none_or(|at| now < *at) {
            return;
        }
        self.watch.announcements.remove(0);
        // Setting a port announces every address that the director answers for.
        for port in &self.takeover.ports {
            if let Err(error) = self.director.apply(now, Command::SetPort(port.clone())) {
                tracing::warn!("{error}");
            }
        }
    }

    fn report_full_tables(&mut self, now: Instant) {
        if now < self.watch.next_full {
            return;
        }
        let stats = self.director.stats();
        let refused: u64 = FULL.iter().map(|(reason, _)| stats.dropped(*reason)).sum();
        if refused == self.watch.refused {
            return;
        }
        self.watch.refused = refused;
        self.watch.next_full = now + FULL_EVERY;
        for (reason, remedy) in FULL.iter().filter(|(reason, _)| stats.dropped(*reason) > 0) {
            tracing::warn!("{} drops: {reason}; raise {remedy}", stats.dropped(*reason));
        }
    }
}
