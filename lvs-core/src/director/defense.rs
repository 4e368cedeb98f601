//! The three defences against floods, looked at once a second: `secure_tcp`, `drop_entry`, `drop_packet`.
//!
//! Each has a level: 0 never, 3 always, and 1 or 2 when memory is short; the director moves between 1
//! (waiting) and 2 (at work) by itself, as the kernel does. The kernel's memory is that of the machine
//! and counts in pages; a director's is its connection table and counts in free places. So `amemthresh`
//! is here the number of free places below which memory is short, at most half of the table.

use super::Director;
use crate::ids::{ConnId, TemplateId};
use crate::state::State;
use crate::time::{Duration, Instant};

/// How often the director looks at the defences, as the kernel does.
const EVERY: Duration = Duration::from_secs(1);
/// `drop_entry` looks at one of so many places a second.
const SHARE: u32 = 32;
/// An entry that was quiet for so long may be dropped, in ticks.
const QUIET: u32 = 60_000;
/// Entries with more packets than this are not dropped.
const PACKETS_MOST: usize = 8;

/// Which defences are at work.
#[derive(Clone, Debug)]
pub(super) struct Defense {
    secure_tcp: bool,
    drop_entry: bool,
    /// Every so many packets that would open a connection one is dropped; 0 drops none.
    drop_rate: u32,
    drop_counter: u32,
    /// How many more entries with so many packets are spared, by the number of packets.
    spared: [u8; PACKETS_MOST + 1],
    random: u64,
    next: Option<Instant>,
}

impl Defense {
    pub(super) fn new(seed: [u64; 2]) -> Defense {
        Defense {
            secure_tcp: false,
            drop_entry: false,
            drop_rate: 0,
            drop_counter: 0,
            spared: [0; PACKETS_MOST + 1],
            random: seed[0] ^ seed[1].rotate_left(32) | 1,
            next: None,
        }
    }

    /// Whether SYNs lead to SYNACK.
    #[inline]
    pub(super) fn secure_tcp(&self) -> bool {
        self.secure_tcp
    }

    /// When to look again; `None` while every level is 0.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether a packet that would open a connection is dropped: every so many-th, the first included.
    #[inline]
    pub(super) fn drops_packet(&mut self) -> bool {
        if self.drop_rate == 0 {
            return false;
        }
        self.drop_counter = self.drop_counter.saturating_sub(1);
        if self.drop_counter > 0 {
            return false;
        }
        self.drop_counter = self.drop_rate;
        true
    }

    /// Whether the next packet that would open a connection is dropped.
    pub(super) fn would_drop_packet(&self) -> bool {
        self.drop_rate != 0 && self.drop_counter <= 1
    }

    /// Whether a quiet entry with so many packets is dropped: of those with n packets every n-th.
    fn drops_quiet(&mut self, packets: u32) -> bool {
        let Some(spared) = self.spared.get_mut(packets as usize) else { return false };
        if packets == 0 {
            return false;
        }
        *spared = spared.saturating_sub(1);
        if *spared > 0 {
            return false;
        }
        *spared = packets as u8;
        true
    }

    /// A number below `most` (xorshift; nothing depends on its quality).
    fn random_below(&mut self, most: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (((self.random >> 32) * u64::from(most)) >> 32) as u32
    }
}

impl Director {
    /// The levels were set, or a second has passed: which defences are at work from now on.
    pub(super) fn review_defense(&mut self) {
        let free = self.conns.capacity() - self.conns.len();
        // A table is not short of places before it is half full, however small it is.
        let least = self.tunables.amemthresh.min(self.conns.capacity() / 2);
        let short = free < least;
        let tunables = &mut self.tunables;
        self.defense.secure_tcp = at_work(&mut tunables.secure_tcp, short);
        self.defense.drop_entry = at_work(&mut tunables.drop_entry, short);
        let automatic = tunables.drop_packet != 3;
        if !at_work(&mut tunables.drop_packet, short) {
            self.defense.drop_rate = 0;
        } else if automatic {
            // The scarcer the places, the more packets are dropped; the counter starts over.
            self.defense.drop_rate = least / (least - free);
            self.defense.drop_counter = self.defense.drop_rate;
        } else {
            self.defense.drop_rate = tunables.am_droprate;
        }
        let any = tunables.secure_tcp | tunables.drop_entry | tunables.drop_packet != 0;
        self.defense.next = any.then(|| self.now + EVERY);
    }

    /// The regular look.
    pub(super) fn handle_defense(&mut self) {
        if self.defense.next.is_none_or(|at| at > self.now) {
            return;
        }
        self.review_defense();
        if self.defense.drop_entry {
            self.drop_entries();
        }
    }

    /// Ends entries that are probably of a flood, of a random share of the table.
    fn drop_entries(&mut self) {
        self.settle();
        let places = self.conns.capacity();
        for _ in 0..places.div_ceil(SHARE) {
            let id = ConnId(self.defense.random_below(places));
            if self.conns.next_live(id.0) == Some(id) && self.may_drop(id) {
                let template = self.conns.template(id);
                self.end_connection(id);
                if let Some(template) = template {
                    self.drop_template(template);
                }
            }
        }
        let places = self.templates.capacity();
        for _ in 0..places.div_ceil(SHARE) {
            let id = TemplateId(self.defense.random_below(places));
            if self.templates.is_live(id) {
                self.drop_template(id);
            }
        }
    }

    /// Ends a template that controls nothing and of which no connection was ever established.
    fn drop_template(&mut self, id: TemplateId) {
        let template = self.templates.template(id);
        if template.holds() == 0 && !template.assured {
            self.end_template(id);
        }
    }

    /// Half-open connections go, and quiet ones of few packets; all others stay.
    fn may_drop(&mut self, id: ConnId) -> bool {
        let record = self.conns.hot(id);
        let quiet = self.tick().wrapping_sub(record.last_seen()) >= QUIET;
        match State::from_byte(record.state()) {
            State::SynRecv | State::SynAck | State::SctpInit1 | State::SctpInit => true,
            State::Established | State::SctpEstablished | State::Udp if quiet => {
                self.defense.drops_quiet(record.packets())
            }
            _ => false,
        }
    }
}

/// Whether a defence of this level is at work; the automatic level becomes 2 while memory is short, else 1.
fn at_work(level: &mut u8, short: bool) -> bool {
    if matches!(level, 1 | 2) {
        *level = if short { 2 } else { 1 };
    }
    *level >= 2
}
