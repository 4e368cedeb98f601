//! Persistence templates: which real server a client keeps.
//!
//! A template is made for a client's first connection to a persistent service and leads its next
//! ones to the same real server. It has a time of its own: only new connections prolong it (rule R3), and
//! while it controls connections it is extended when its time ends (rules R4, R5). Those rules are the
//! director's; here is the table.
//!
//! ```
//! use lvs_core::flow::{Endpoint, FlowKey, Protocol};
//! use lvs_core::persist::TemplateTable;
//!
//! let mut templates = TemplateTable::new(16, 0, [1, 2]);
//! let client = Endpoint::new("192.0.2.0".parse()?, 0); // masked, without a port
//! let key = FlowKey::new(Protocol::TCP, client, Endpoint::new("198.51.100.1".parse()?, 80));
//! let id = templates.insert(&key, None)?;
//! assert_eq!(templates.find(&key, None), Some(id));
//! templates.spoil(id);
//! assert_eq!(templates.find(&key, None), None, "it lives on, but leads nobody");
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::addr::Family;
use crate::conn::index::Index;
use crate::conn::{FlowHash, Full, Line};
use crate::engine::EngineKey;
use crate::flow::FlowKey;
use crate::ids::{DestIndex, FwMark, L4Port, TemplateId};

mod notes;

use notes::{NoteId, Notes};

/// The virtual and the destination port that a spoilt template is listed with (rule R8).
pub const SPOILT_PORT: L4Port = L4Port(0xffff);

/// The address that stands for a mark in the key of a template (rule R1): mark 1 is `0.0.0.1` for an IPv4
/// client and `0:1::` for an IPv6 one, as the kernel lists it.
pub const fn mark_address(mark: FwMark, family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(mark.0)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits((mark.0 as u128) << 96)),
    }
}

/// A persistence template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Template {
    key: FlowKey,
    /// The client's real server.
    pub dest: DestIndex,
    /// The server's port; 0 for port-0, FTP and mark services.
    pub dest_port: L4Port,
    /// How long it lasts after a new connection, in ticks of 1 ms; its own, whatever becomes of the
    /// service (rule R6).
    pub timeout: u32,
    /// The tick from which the timeout counts: of the last new connection, or the last extension.
    pub last_used: u32,
    /// Whether one of its connections got established (rule R2).
    pub assured: bool,
    /// The mark of the packet that made it.
    pub mark: FwMark,
    /// The tick at which it was made.
    pub created: u32,
    /// Connections that it led to the server so far; stays at `u32::MAX` once it is there.
    pub connections: u32,
    /// Whether its end was put off once behind what ends in the same moment.
    pub deferred: bool,
    /// Whether a master of synchronisation announced it, and no packet made it.
    pub told: bool,
    holds: u32,
    note: NoteId,
    state: State,
}

/// What is in a place of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing; the next free place.
    Free(Option<u32>),
    /// A template that its key finds.
    Findable,
    /// A template that no key finds any more.
    Spoilt,
}

impl Template {
    const NONE: Template = Template {
        key: FlowKey::EMPTY,
        dest: DestIndex(0),
        dest_port: L4Port::ANY,
        timeout: 0,
        last_used: 0,
        assured: false,
        mark: FwMark::NONE,
        created: 0,
        connections: 0,
        deferred: false,
        told: false,
        holds: 0,
        note: NoteId::NONE,
        state: State::Free(None),
    };

    /// The key: protocol, masked client with port 0, virtual address and port. See [`TemplateTable`].
    pub fn key(&self) -> FlowKey {
        self.key
    }

    /// The connections that it controls now.
    pub fn holds(&self) -> u32 {
        self.holds
    }

    /// Whether no new connection finds it (rule R8).
    pub fn is_spoilt(&self) -> bool {
        self.state == State::Spoilt
    }

    /// Notes a new connection at `now_tick`: the timeout starts over (rule R3).
    pub fn record_connection(&mut self, now_tick: u32) {
        self.last_used = now_tick;
        self.connections = self.connections.saturating_add(1);
    }
}

/// The persistence templates of a director; fixed capacity, no allocation after construction.
///
/// The key of a template is a [`FlowKey`] whose client is masked with the service's granularity and has
/// port 0, and whose virtual end is one of (rule R1)
///
/// * protocol, virtual address and port of the service,
/// * protocol, virtual address and port 0 for a service of port 0 and for FTP,
/// * protocol `IP`, [the mark as an address](mark_address) and port 0 for a service of a mark.
///
/// The key carries the address family, so that an IPv4 and an IPv6 service of the same mark have
/// different templates. Where the service has a [persistence engine](crate::engine), what that read belongs
/// to the key.
pub struct TemplateTable {
    templates: Vec<Template>,
    notes: Notes,
    lines: Vec<Line>,
    index: Index,
    hash: FlowHash,
    /// The first free place among those used before.
    free: Option<u32>,
    /// The first place never used.
    fresh: u32,
    len: u32,
}

impl TemplateTable {
    /// An empty table for exactly `capacity` templates, of which `noted` may be those of a persistence
    /// engine; `seed` keys the hash.
    pub fn new(capacity: u32, noted: u32, seed: [u64; 2]) -> TemplateTable {
        let buckets = Index::lines_needed(capacity);
        TemplateTable {
            templates: vec![Template::NONE; capacity as usize],
            notes: Notes::new(noted),
            lines: vec![Line::ZERO; buckets as usize],
            index: Index::new(buckets),
            hash: FlowHash::new(seed),
            free: None,
            fresh: 0,
            len: 0,
        }
    }

    /// Bytes that a table of this capacity takes.
    pub(crate) fn memory(capacity: u32, noted: u32) -> usize {
        let lines = Index::lines_needed(capacity) as usize;
        capacity as usize * size_of::<Template>() + lines * size_of::<Line>() + Notes::memory(noted)
    }

    /// The template that new connections with this key, and with what an engine read, use; never a spoilt
    /// one.
    pub fn find(&self, key: &FlowKey, read: Option<EngineKey<'_>>) -> Option<TemplateId> {
        self.index
            .search(&self.lines, self.hash_of(key, read), |place| {
                let template = &self.templates[place as usize];
                template.key == *key && self.notes.get(template.note) == read
            })
            .map(TemplateId)
    }

    /// Makes a template whose other fields are zero, to be filled in by the caller. There must be none with
    /// this key, except spoilt ones.
    ///
    /// # Errors
    /// [`Full`] if `capacity` templates are there, spoilt ones included, or all that may be of an engine.
    ///
    /// # Panics
    /// In debug builds, if there is one with this key.
    pub fn insert(
        &mut self,
        key: &FlowKey,
        read: Option<EngineKey<'_>>,
    ) -> Result<TemplateId, Full> {
        debug_assert_eq!(self.find(key, read), None, "{key:?} has a template");
        let id = self.place(key, read, State::Findable)?;
        let hash = self.hash_of(key, read);
        self.index.insert(&mut self.lines, hash, id.0);
        Ok(id)
    }

    /// The same for a template that is spoilt from the start; its key has [`SPOILT_PORT`] already.
    ///
    /// # Errors
    /// [`Full`], as for [`insert`](TemplateTable::insert).
    pub(crate) fn insert_spoilt(
        &mut self,
        key: &FlowKey,
        read: Option<EngineKey<'_>>,
    ) -> Result<TemplateId, Full> {
        self.place(key, read, State::Spoilt)
    }

    /// The first template with this key for which an engine read something, whatever that is. It walks
    /// the table: for questions of operators.
    pub(crate) fn find_read(&self, key: &FlowKey) -> Option<TemplateId> {
        (0..self.fresh).map(TemplateId).find(|&id| {
            let template = &self.templates[id.index()];
            self.is_live(id) && template.key == *key && template.note != NoteId::NONE
        })
    }

    /// Whether there is room for another template, or one of an engine.
    pub(crate) fn has_room(&self, noted: bool) -> bool {
        self.len < self.capacity() && (!noted || self.notes.has_room())
    }

    /// What an engine read for a template; `None` for one of a service without an engine.
    ///
    /// # Panics
    /// If the table has no such place; in debug builds, if it holds no template.
    pub fn read_of(&self, id: TemplateId) -> Option<EngineKey<'_>> {
        self.notes.get(self.template(id).note)
    }

    fn place(
        &mut self,
        key: &FlowKey,
        read: Option<EngineKey<'_>>,
        state: State,
    ) -> Result<TemplateId, Full> {
        let note = match read {
            None => NoteId::NONE,
            Some(read) => {
                let full = Full { capacity: self.capacity() };
                if self.len == self.capacity() {
                    return Err(full);
                }
                self.notes.keep(read).ok_or(full)?
            }
        };
        let place = self.take_place()?;
        self.templates[place as usize] = Template { key: *key, note, state, ..Template::NONE };
        self.len += 1;
        Ok(TemplateId(place))
    }

    fn hash_of(&self, key: &FlowKey, read: Option<EngineKey<'_>>) -> u64 {
        let hash = self.hash.of(key);
        read.map_or(hash, |read| self.hash.with(hash, read.data()))
    }

    /// Removes a template.
    ///
    /// # Panics
    /// In debug builds, if there is none or it controls connections, which would be left with a template
    /// that is another client's some time later.
    pub fn remove(&mut self, id: TemplateId) {
        debug_assert!(self.is_live(id), "{id:?} is no template");
        debug_assert_eq!(self.templates[id.index()].holds, 0, "{id:?} controls connections");
        match self.templates[id.index()].state {
            State::Free(_) => return,
            State::Findable => self.unindex(id),
            State::Spoilt => {}
        }
        let template = &mut self.templates[id.index()];
        template.state = State::Free(self.free);
        self.notes.discard(core::mem::replace(&mut template.note, NoteId::NONE));
        self.free = Some(id.0);
        self.len -= 1;
    }

    /// Makes a template unfindable (rule R8): it lives on until its time ends, listed with
    /// [`SPOILT_PORT`] as virtual and destination port, and another can be made with its key. Nothing
    /// happens if it is spoilt already.
    ///
    /// # Panics
    /// In debug builds, if there is none.
    pub fn spoil(&mut self, id: TemplateId) {
        debug_assert!(self.is_live(id), "{id:?} is no template");
        if self.templates[id.index()].state != State::Findable {
            return;
        }
        self.unindex(id);
        let template = &mut self.templates[id.index()];
        template.state = State::Spoilt;
        template.dest_port = SPOILT_PORT;
        template.key = FlowKey::new(
            template.key.protocol(),
            template.key.client(),
            crate::flow::Endpoint { port: SPOILT_PORT, ..template.key.virt() },
        );
    }

    /// Counts a connection that the template controls.
    ///
    /// # Panics
    /// In debug builds, if there is no such template.
    pub fn hold(&mut self, id: TemplateId) {
        debug_assert!(self.is_live(id), "{id:?} is no template");
        self.templates[id.index()].holds += 1;
    }

    /// Counts a connection off that the template controlled.
    ///
    /// # Panics
    /// In debug builds, if there is no such template or it controls none.
    pub fn release(&mut self, id: TemplateId) {
        debug_assert!(self.is_live(id), "{id:?} is no template");
        let holds = &mut self.templates[id.index()].holds;
        debug_assert!(*holds > 0, "{id:?} controls no connection");
        *holds = holds.saturating_sub(1);
    }

    /// A template.
    ///
    /// # Panics
    /// If the table has no such place; in debug builds, if it holds no template.
    pub fn template(&self, id: TemplateId) -> &Template {
        debug_assert!(self.is_live(id), "{id:?} is no template");
        &self.templates[id.index()]
    }

    /// A template, to write.
    ///
    /// # Panics
    /// If the table has no such place; in debug builds, if it holds no template.
    pub fn template_mut(&mut self, id: TemplateId) -> &mut Template {
        debug_assert!(self.is_live(id), "{id:?} is no template");
        &mut self.templates[id.index()]
    }

    /// Whether a place holds a template; `false` for one that the table does not have.
    pub fn is_live(&self, id: TemplateId) -> bool {
        self.templates.get(id.index()).is_some_and(|t| !matches!(t.state, State::Free(_)))
    }

    /// The first template at place `from` or behind, for walks in chunks.
    pub fn next_live(&self, from: u32) -> Option<TemplateId> {
        (from..self.fresh).map(TemplateId).find(|&id| self.is_live(id))
    }

    /// The templates in the table, spoilt ones included.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most templates that it holds.
    pub fn capacity(&self) -> u32 {
        self.templates.len() as u32
    }

    fn unindex(&mut self, id: TemplateId) {
        let template = &self.templates[id.index()];
        let hash = self.hash_of(&template.key, self.notes.get(template.note));
        let found = self.index.remove(&mut self.lines, hash, id.0);
        debug_assert!(found, "{id:?} is not in the index");
    }

    fn take_place(&mut self) -> Result<u32, Full> {
        if let Some(place) = self.free {
            if let State::Free(next) = self.templates[place as usize].state {
                self.free = next;
            }
            return Ok(place);
        }
        if self.fresh == self.capacity() {
            return Err(Full { capacity: self.capacity() });
        }
        self.fresh += 1;
        Ok(self.fresh - 1)
    }
}

impl fmt::Debug for TemplateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemplateTable")
            .field("len", &self.len)
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
