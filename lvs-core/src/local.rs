//! The addresses that are the director's own or virtual: packets to them are looked at (rule P10).

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::flow::addr_words;
use crate::lookup::{Lookup, Words};

/// One local address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalAddress {
    pub(crate) addr: IpAddr,
    /// Set by command, as opposed to being a port's own.
    pub(crate) by_command: bool,
    /// The director answers ARP and neighbour solicitations for it.
    pub(crate) answer: bool,
    /// Ports that have it as their own.
    own: u32,
}

/// All local addresses.
#[derive(Debug)]
pub(crate) struct LocalAddresses {
    entries: Vec<LocalAddress>,
    lookup: Lookup,
    capacity: usize,
}

impl LocalAddresses {
    pub(crate) fn new(capacity: u32, seed: [u64; 2]) -> LocalAddresses {
        LocalAddresses {
            entries: Vec::with_capacity(capacity as usize),
            lookup: Lookup::new(capacity, seed),
            capacity: capacity as usize,
        }
    }

    /// Whether an address, as the words of a flow key, is local.
    #[inline(never)]
    pub(crate) fn contains(&self, words: Words) -> bool {
        self.lookup.find(&words).is_some()
    }

    /// Bytes that a table of this capacity takes.
    pub(crate) fn memory(capacity: u32) -> usize {
        capacity as usize * size_of::<LocalAddress>() + Lookup::memory(capacity)
    }

    pub(crate) fn find(&self, addr: IpAddr) -> Option<&LocalAddress> {
        self.lookup.find(&words(addr)).map(|i| &self.entries[i as usize])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &LocalAddress> {
        self.entries.iter()
    }

    /// How many more there is room for.
    pub(crate) fn room(&self) -> usize {
        self.capacity - self.entries.len()
    }

    /// Adds an address by command, or changes whether it is answered for. `false` if there is no room.
    pub(crate) fn add(&mut self, addr: IpAddr, answer: bool) -> bool {
        let Some(entry) = self.entry(addr) else { return false };
        (entry.by_command, entry.answer) = (true, answer);
        true
    }

    /// Takes a command's address away; a port's own address stays local.
    pub(crate) fn remove(&mut self, addr: IpAddr) -> bool {
        let Some(i) = self.lookup.find(&words(addr)) else { return false };
        let entry = &mut self.entries[i as usize];
        let was = entry.by_command;
        (entry.by_command, entry.answer) = (false, false);
        self.drop_if_unused(i);
        was
    }

    /// A port has this address. `false` if there is no room.
    pub(crate) fn add_own(&mut self, addr: IpAddr) -> bool {
        let Some(entry) = self.entry(addr) else { return false };
        entry.own += 1;
        true
    }

    /// A port no longer has this address.
    pub(crate) fn remove_own(&mut self, addr: IpAddr) {
        if let Some(i) = self.lookup.find(&words(addr)) {
            let entry = &mut self.entries[i as usize];
            entry.own = entry.own.saturating_sub(1);
            self.drop_if_unused(i);
        }
    }

    fn entry(&mut self, addr: IpAddr) -> Option<&mut LocalAddress> {
        let i = match self.lookup.find(&words(addr)) {
            Some(i) => i as usize,
            None if self.room() == 0 => return None,
            None => {
                let i = self.entries.len();
                self.lookup.insert(words(addr), i as u32);
                self.entries.push(LocalAddress { addr, by_command: false, answer: false, own: 0 });
                i
            }
        };
        self.entries.get_mut(i)
    }

    fn drop_if_unused(&mut self, i: u32) {
        let entry = self.entries[i as usize];
        if entry.own > 0 || entry.by_command {
            return;
        }
        self.lookup.remove(&words(entry.addr));
        self.entries.swap_remove(i as usize);
        if let Some(moved) = self.entries.get(i as usize) {
            self.lookup.insert(words(moved.addr), i);
        }
    }
}

fn words(addr: IpAddr) -> Words {
    let [high, low] = addr_words(addr);
    [high, low, u64::from(addr.is_ipv6())]
}
