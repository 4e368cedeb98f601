//! Neighbours: which Ethernet address an IP address has, on which port and in which VLAN.
//!
//! Requests, their repetition and their end follow the kernel: three requests one second apart, then
//! whoever waited is told that the host is unreachable (rule F11). A resolved neighbour is confirmed
//! anew every 30 s while its old address stays in use, so that no packet waits.
//!
//! Where there is nobody to ask, a command tells:
//!
//! ```
//! # use lvs_core::{addr::MacAddr, command::{Command, PortSpec}, director::Director, ids::PortId, limits::Limits};
//! # use lvs_core::time::Instant;
//! # let mut director = Director::new(Limits::small(), [1, 2])?;
//! # let (id, mac) = (PortId(0), MacAddr([2, 0, 0, 0, 0, 1]));
//! # director.apply(Instant::ZERO, Command::SetPort(PortSpec { id, mac, mtu: 1500, addresses: vec![] }))?;
//! let (addr, mac) = ("10.1.0.2".parse()?, MacAddr([2, 0, 0, 0, 1, 2]));
//! director.apply(Instant::ZERO, Command::SetNeighbor { port: PortId(0), addr, mac })?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::addr::MacAddr;
use crate::flow::addr_words;
use crate::ids::PortId;
use crate::lookup::{Lookup, Words};
use crate::store::Queue;
use crate::time::{Duration, Instant};
use crate::wire::ethernet::VlanTags;

/// Between two requests (`retrans_time`, 1 s).
const RETRANSMIT: Duration = Duration::from_secs(1);
/// Requests before a neighbour counts as silent (`mcast_solicit`, `ucast_solicit`).
const REQUESTS: u8 = 3;
/// How long an answer is believed (`base_reachable_time`, 30 s).
const REACHABLE: Duration = Duration::from_secs(30);

/// A neighbour's place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborIndex(pub(crate) u32);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Never asked.
    Unknown,
    /// Asked, and no address known.
    Incomplete { requests: u8, next: Instant },
    /// Known until then.
    Reachable { until: Instant },
    /// Known, being asked again.
    Confirming { requests: u8, next: Instant },
    /// Did not answer.
    Silent,
    /// Set by command.
    Permanent,
}

/// One neighbour.
#[derive(Clone, Debug)]
pub(crate) struct Neighbor {
    pub(crate) port: PortId,
    pub(crate) tags: VlanTags,
    pub(crate) addr: IpAddr,
    mac: MacAddr,
    state: State,
    /// Packets that wait for the address.
    pub(crate) waiting: Queue,
    /// An answer of a real server went to it, for which it is kept a while.
    pub(crate) used: bool,
    /// A real server needs it; only good while room is made.
    pub(crate) needed: bool,
}

impl Neighbor {
    /// The Ethernet address, where one is known.
    #[inline]
    pub(crate) fn mac(&self) -> Option<MacAddr> {
        match self.state {
            State::Reachable { .. } | State::Confirming { .. } | State::Permanent => Some(self.mac),
            State::Unknown | State::Incomplete { .. } | State::Silent => None,
        }
    }
}

/// What is to be done about a neighbour whose time has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Ask (again); unicast to the address where it is known.
    Ask(NeighborIndex),
    /// It stayed silent: whoever waits is to be told.
    Silent(NeighborIndex),
}

/// All neighbours.
#[derive(Debug)]
pub(crate) struct Neighbors {
    entries: Vec<Neighbor>,
    lookup: Lookup,
    capacity: usize,
    /// Places that were forgotten.
    free: Vec<u32>,
    /// No neighbour's time comes before this.
    next_due: Instant,
    /// Changes with the Ethernet address of any neighbour.
    version: u32,
}

impl Neighbors {
    pub(crate) fn new(capacity: u32, seed: [u64; 2]) -> Neighbors {
        Neighbors {
            entries: Vec::with_capacity(capacity as usize),
            lookup: Lookup::new(capacity, seed),
            capacity: capacity as usize,
            free: Vec::with_capacity(capacity as usize),
            next_due: Instant::MAX,
            version: 0,
        }
    }

    /// Bytes that a table of this capacity takes.
    pub(crate) fn memory(capacity: u32) -> usize {
        let each = size_of::<Neighbor>() + size_of::<u32>();
        capacity as usize * each + Lookup::memory(capacity)
    }

    #[inline]
    pub(crate) fn at(&self, index: NeighborIndex) -> &Neighbor {
        &self.entries[index.0 as usize]
    }

    pub(crate) fn at_mut(&mut self, index: NeighborIndex) -> &mut Neighbor {
        &mut self.entries[index.0 as usize]
    }

    pub(crate) fn find(
        &self,
        port: PortId,
        tags: &VlanTags,
        addr: IpAddr,
    ) -> Option<NeighborIndex> {
        self.lookup.find(&words(port, tags, addr)).map(NeighborIndex)
    }

    /// The neighbour, made if it is new; `None` if there is no room.
    pub(crate) fn find_or_add(
        &mut self,
        port: PortId,
        tags: &VlanTags,
        addr: IpAddr,
    ) -> Option<NeighborIndex> {
        if let Some(found) = self.find(port, tags, addr) {
            return Some(found);
        }
        let tags = tags.without_priority();
        let (mac, state, waiting) = (MacAddr::default(), State::Unknown, Queue::EMPTY);
        let entry = Neighbor { port, tags, addr, mac, state, waiting, used: false, needed: false };
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                index
            }
            None if self.entries.len() == self.capacity => return None,
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        self.lookup.insert(words(port, &tags, addr), index);
        Some(NeighborIndex(index))
    }

    /// A number that changes with the Ethernet address of any neighbour, also where one is lost.
    #[inline]
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// Forgets a neighbour that nobody needs, unless packets wait for it or it was set for good.
    /// Returns whether its place is free now.
    pub(crate) fn forget(&mut self, index: NeighborIndex) -> bool {
        let entry = &mut self.entries[index.0 as usize];
        if entry.state == State::Permanent || entry.waiting.len() > 0 {
            return false;
        }
        entry.state = State::Unknown;
        self.version = self.version.wrapping_add(1);
        let words = words(entry.port, &entry.tags, entry.addr);
        let known = self.lookup.find(&words) == Some(index.0);
        if known {
            self.lookup.remove(&words);
            self.free.push(index.0);
        }
        known
    }

    /// Before it is found out anew which ones are needed.
    pub(crate) fn need_none(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.needed = false);
    }

    /// The first neighbour from a place on that is not forgotten.
    pub(crate) fn next_known(&self, from: u32) -> Option<NeighborIndex> {
        let mut entries = self.entries.iter().enumerate().skip(from as usize);
        entries.find_map(|(i, entry)| {
            let known = self.lookup.find(&words(entry.port, &entry.tags, entry.addr));
            (known == Some(i as u32)).then_some(NeighborIndex(i as u32))
        })
    }

    /// Sets an address for good.
    pub(crate) fn set_permanent(&mut self, index: NeighborIndex, mac: MacAddr) {
        let entry = self.at_mut(index);
        (entry.mac, entry.state) = (mac, State::Permanent);
        self.version = self.version.wrapping_add(1);
    }

    /// Somebody needs the address. Returns whether a request is to be sent now.
    pub(crate) fn want(&mut self, index: NeighborIndex, now: Instant) -> bool {
        let entry = &mut self.entries[index.0 as usize];
        match entry.state {
            State::Unknown | State::Silent => {
                let next = now + RETRANSMIT;
                entry.state = State::Incomplete { requests: 1, next };
                self.next_due = self.next_due.min(next);
                true
            }
            _ => false,
        }
    }

    /// An answer or another message told the neighbour's address. Only neighbours that are known by
    /// name learn, so that strangers cannot fill the table. Returns whether it was news.
    pub(crate) fn learn(&mut self, index: NeighborIndex, mac: MacAddr, now: Instant) -> bool {
        let entry = &mut self.entries[index.0 as usize];
        if entry.state == State::Permanent || mac.is_group() {
            return false;
        }
        let news = entry.mac() != Some(mac);
        let until = now + REACHABLE;
        (entry.mac, entry.state) = (mac, State::Reachable { until });
        self.next_due = self.next_due.min(until);
        self.version = self.version.wrapping_add(u32::from(news));
        news
    }

    /// When the next neighbour's time comes, at the earliest.
    pub(crate) fn next_due(&self) -> Instant {
        self.next_due
    }

    /// The next neighbour whose time has come, moved on to its next state.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Due> {
        if now < self.next_due {
            return None;
        }
        let mut next_due = Instant::MAX;
        for i in 0..self.entries.len() {
            let index = NeighborIndex(i as u32);
            let entry = &mut self.entries[i];
            let (state, due) = step(entry.state, now, index);
            entry.state = state;
            if due.is_some() {
                self.version = self.version.wrapping_add(u32::from(state == State::Silent));
                return due;
            }
            next_due = next_due.min(due_at(state));
        }
        self.next_due = next_due;
        None
    }
}

/// The state after `now`, and what is to be done on the way there.
fn step(state: State, now: Instant, index: NeighborIndex) -> (State, Option<Due>) {
    match state {
        State::Reachable { until } if until <= now => {
            let next = until + RETRANSMIT;
            (State::Confirming { requests: 1, next }, Some(Due::Ask(index)))
        }
        State::Incomplete { requests, next } if next <= now && requests < REQUESTS => {
            let next = next + RETRANSMIT;
            (State::Incomplete { requests: requests + 1, next }, Some(Due::Ask(index)))
        }
        State::Confirming { requests, next } if next <= now && requests < REQUESTS => {
            let next = next + RETRANSMIT;
            (State::Confirming { requests: requests + 1, next }, Some(Due::Ask(index)))
        }
        State::Incomplete { next, .. } | State::Confirming { next, .. } if next <= now => {
            (State::Silent, Some(Due::Silent(index)))
        }
        _ => (state, None),
    }
}

fn due_at(state: State) -> Instant {
    match state {
        State::Incomplete { next, .. } | State::Confirming { next, .. } => next,
        State::Reachable { until } => until,
        State::Unknown | State::Silent | State::Permanent => Instant::MAX,
    }
}

fn words(port: PortId, tags: &VlanTags, addr: IpAddr) -> Words {
    let [high, low] = addr_words(addr);
    let mut tail = u64::from(port.0) | u64::from(addr.is_ipv6()) << 16;
    for (i, (_, tci)) in tags.iter().enumerate() {
        tail |= (u64::from(tci & 0xfff) | 0x1000) << (20 + 13 * i);
    }
    [high, low, tail]
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2));
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn one() -> (Neighbors, NeighborIndex) {
        let mut all = Neighbors::new(4, [1, 2]);
        let index = all.find_or_add(PortId(0), &VlanTags::NONE, SERVER).unwrap();
        (all, index)
    }

    #[test]
    fn a_silent_neighbor_is_asked_three_times_a_second_apart() {
        let (mut all, index) = one();
        assert!(all.want(index, Instant::from_secs(10)));
        assert!(!all.want(index, Instant::from_secs(10)), "already asked");
        assert_eq!(all.pop_due(Instant::from_millis(10_900)), None);
        assert_eq!(all.pop_due(Instant::from_secs(11)), Some(Due::Ask(index)));
        assert_eq!(all.pop_due(Instant::from_secs(11)), None);
        assert_eq!(all.pop_due(Instant::from_secs(12)), Some(Due::Ask(index)));
        assert_eq!(all.pop_due(Instant::from_secs(13)), Some(Due::Silent(index)));
        assert_eq!(all.pop_due(Instant::from_secs(20)), None);
        assert!(all.want(index, Instant::from_secs(20)), "asked anew for the next packet");
    }

    #[test]
    fn an_old_address_stays_in_use_while_it_is_confirmed() {
        let (mut all, index) = one();
        all.want(index, Instant::ZERO);
        assert!(all.learn(index, MAC, Instant::ZERO));
        assert_eq!(all.pop_due(Instant::from_secs(30)), Some(Due::Ask(index)));
        assert_eq!(all.at(index).mac(), Some(MAC));
        assert!(!all.learn(index, MAC, Instant::from_secs(31)));
        assert_eq!(all.pop_due(Instant::from_secs(60)), None);
        for _ in 0..3 {
            assert_eq!(all.pop_due(Instant::from_secs(90)), Some(Due::Ask(index)));
        }
        assert_eq!(all.pop_due(Instant::from_secs(90)), Some(Due::Silent(index)));
        assert_eq!(all.at(index).mac(), None);
    }

    #[test]
    fn a_forgotten_neighbor_makes_room() {
        let mut all = Neighbors::new(1, [1, 2]);
        let index = all.find_or_add(PortId(0), &VlanTags::NONE, SERVER).unwrap();
        let other = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 3));
        assert_eq!(all.find_or_add(PortId(0), &VlanTags::NONE, other), None);
        all.forget(index);
        all.forget(index);
        assert_eq!(all.next_known(0), None);
        assert!(all.find_or_add(PortId(0), &VlanTags::NONE, other).is_some());
        assert_eq!(all.find(PortId(0), &VlanTags::NONE, SERVER), None);
    }

    #[test]
    fn the_same_address_in_another_vlan_is_another_neighbor() {
        let (mut all, index) = one();
        let other = all.find_or_add(PortId(1), &VlanTags::NONE, SERVER).unwrap();
        assert_ne!(index, other);
        assert_eq!(all.find(PortId(0), &VlanTags::NONE, SERVER), Some(index));
    }
}
