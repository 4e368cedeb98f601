//! What a connection is made of: the hot record of one line, and the cold data beside it.

use core::fmt;

use crate::flow::{FlowKey, Protocol};
use crate::ids::{DestIndex, FwMark, TemplateId};

/// One cache line of the connection table's [`Region`](super::Region).
#[repr(C, align(64))]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line(pub [u64; 8]);

impl Line {
    /// A line of zeros: a bucket without entries, a record without a connection.
    pub const ZERO: Line = Line([0; 8]);
}

const _: () =
    assert!(size_of::<Line>() == 64 && align_of::<Line>() == 64, "a line is a cache line");

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({:#018x?})", self.0)
    }
}

/// Word 4: the record holds a connection.
pub(super) const LIVE: u64 = 1 << 47;
/// Word 4: the connection has a second entry in the index.
pub(super) const ALIASED: u64 = 1 << 46;
/// Word 4: the bits that belong to the key.
const KEY_TAIL: u64 = (1 << 46) - 1;

const W_TAIL: usize = 4;
const W_DEST_SEEN: usize = 5;
const W_STATE_PACKETS: usize = 6;
const W_BYTES: usize = 7;

/// The hot record of a connection, to read.
///
/// ```text
/// word 0-3  client and virtual address, as in FlowKey
/// word 4    bits 0-45 the rest of the key, 46 second index entry, 47 live,
///           48-63 index of the timeout among the values in use
/// word 5    low half destination's index, high half tick of the last packet
/// word 6    bits 0-7 state, 8-15 flags, 16-31 generation, high half packets
/// word 7    bytes
/// ```
///
/// A record that holds no connection is zero but for its generation.
#[derive(Clone, Copy)]
pub struct Hot<'a>(pub(super) &'a Line);

impl Hot<'_> {
    /// The flow.
    #[inline]
    pub fn key(&self) -> FlowKey {
        let [a, b, c, d, tail, ..] = self.0.0;
        FlowKey([a, b, c, d, tail & KEY_TAIL])
    }

    /// The protocol of the flow.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        Protocol((self.0.0[W_TAIL] >> 32) as u8)
    }

    /// Whether the record holds the connection of this flow.
    #[inline]
    pub(super) fn holds(&self, key: &FlowKey) -> bool {
        let w = &self.0.0;
        // One branch instead of five: the words are in one line, so that loading all is free.
        (w[0] ^ key.0[0])
            | (w[1] ^ key.0[1])
            | (w[2] ^ key.0[2])
            | (w[3] ^ key.0[3])
            | ((w[W_TAIL] & (KEY_TAIL | LIVE)) ^ (key.0[4] | LIVE))
            == 0
    }

    /// Whether the record holds the connection of this flow and that has this timeout: [`holds`](Self::holds)
    /// and [`timeout_index`](Self::timeout_index) in one comparison.
    #[inline(always)]
    pub(super) fn holds_with(&self, key: &FlowKey, timeout: u16) -> bool {
        let w = &self.0.0;
        let tail = key.0[4] | LIVE | u64::from(timeout) << 48;
        (w[W_TAIL] ^ tail) & !ALIASED == 0
            && (w[0] ^ key.0[0]) | (w[1] ^ key.0[1]) | (w[2] ^ key.0[2]) | (w[3] ^ key.0[3]) == 0
    }

    /// Whether the connection is in this state and its flags are these as far as `mask` goes, in one
    /// comparison.
    #[inline(always)]
    pub(crate) fn is_in(&self, state: u8, mask: u8, flags: u8) -> bool {
        let mask = 0xff | u64::from(mask) << 8;
        self.0.0[W_STATE_PACKETS] & mask == u64::from(state) | u64::from(flags) << 8
    }

    /// Whether the record holds a connection at all.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.0.0[W_TAIL] & LIVE != 0
    }

    /// Whether the connection has a second entry in the index.
    #[inline]
    pub fn is_aliased(&self) -> bool {
        self.0.0[W_TAIL] & ALIASED != 0
    }

    /// Which of the [timeouts in use](super::Timeouts) the connection has.
    #[inline]
    pub fn timeout_index(&self) -> u16 {
        (self.0.0[W_TAIL] >> 48) as u16
    }

    /// The connection's destination.
    #[inline]
    pub fn dest(&self) -> DestIndex {
        DestIndex(self.0.0[W_DEST_SEEN] as u32)
    }

    /// The tick of the last packet.
    #[inline]
    pub fn last_seen(&self) -> u32 {
        (self.0.0[W_DEST_SEEN] >> 32) as u32
    }

    /// The state, in the numbers of whoever steps it.
    #[inline]
    pub fn state(&self) -> u8 {
        self.0.0[W_STATE_PACKETS] as u8
    }

    /// Flags that packets look at, in the meaning of whoever sets them.
    #[inline]
    pub fn flags(&self) -> u8 {
        (self.0.0[W_STATE_PACKETS] >> 8) as u8
    }

    /// How many connections the record has held, modulo 65,536: tells a connection from a later one in
    /// the same place.
    #[inline]
    pub fn generation(&self) -> u16 {
        (self.0.0[W_STATE_PACKETS] >> 16) as u16
    }

    /// Packets from the client; stays at `u32::MAX` once it is there.
    #[inline]
    pub fn packets(&self) -> u32 {
        (self.0.0[W_STATE_PACKETS] >> 32) as u32
    }

    /// Bytes from the client.
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.0.0[W_BYTES]
    }
}

impl fmt::Debug for Hot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hot")
            .field("key", &self.key())
            .field("live", &self.is_live())
            .field("timeout_index", &self.timeout_index())
            .field("dest", &self.dest())
            .field("last_seen", &self.last_seen())
            .field("state", &self.state())
            .field("flags", &self.flags())
            .field("generation", &self.generation())
            .field("packets", &self.packets())
            .field("bytes", &self.bytes())
            .finish()
    }
}

/// The hot record of a connection, to write. The key and the generation are the table's own.
pub struct HotMut<'a>(pub(super) &'a mut Line);

impl HotMut<'_> {
    /// The same record, to read.
    #[inline]
    pub fn read(&self) -> Hot<'_> {
        Hot(self.0)
    }

    /// Sets which of the [timeouts in use](super::Timeouts) the connection has.
    #[inline]
    pub fn set_timeout_index(&mut self, index: u16) {
        let word = &mut self.0.0[W_TAIL];
        *word = *word & (u64::MAX >> 16) | u64::from(index) << 48;
    }

    /// Sets the destination.
    #[inline]
    pub fn set_dest(&mut self, dest: DestIndex) {
        set_low(&mut self.0.0[W_DEST_SEEN], dest.0);
    }

    /// Sets the tick of the last packet.
    #[inline]
    pub fn set_last_seen(&mut self, tick: u32) {
        set_high(&mut self.0.0[W_DEST_SEEN], tick);
    }

    /// Sets the state.
    #[inline]
    pub fn set_state(&mut self, state: u8) {
        let word = &mut self.0.0[W_STATE_PACKETS];
        *word = *word & !0xff | u64::from(state);
    }

    /// Sets the flags.
    #[inline]
    pub fn set_flags(&mut self, flags: u8) {
        let word = &mut self.0.0[W_STATE_PACKETS];
        *word = *word & !0xff00 | u64::from(flags) << 8;
    }

    /// Sets the number of packets.
    #[inline]
    pub fn set_packets(&mut self, packets: u32) {
        set_high(&mut self.0.0[W_STATE_PACKETS], packets);
    }

    /// Sets the number of bytes.
    #[inline]
    pub fn set_bytes(&mut self, bytes: u64) {
        self.0.0[W_BYTES] = bytes;
    }

    /// Counts a packet of `bytes` bytes seen at `now_tick`: all that an established connection's packet
    /// writes.
    #[inline]
    pub fn record_packet(&mut self, now_tick: u32, bytes: u32) {
        self.set_last_seen(now_tick);
        let packets = &mut self.0.0[W_STATE_PACKETS];
        // The count is the upper half: where it is full, the sum would not fit.
        *packets = packets.checked_add(1 << 32).unwrap_or(*packets);
        self.0.0[W_BYTES] = self.0.0[W_BYTES].wrapping_add(u64::from(bytes));
    }

    /// Makes the record hold a new connection; the generation goes on.
    pub(super) fn open(&mut self, key: &FlowKey) {
        debug_assert_eq!(key.0[4] & !KEY_TAIL, 0, "a key's free bits must be zero");
        let generation = self.read().generation().wrapping_add(1);
        let [a, b, c, d, tail] = key.0;
        self.0.0 = [a, b, c, d, tail | LIVE, 0, u64::from(generation) << 16, 0];
    }

    /// Makes the record hold none.
    pub(super) fn close(&mut self) {
        let generation = self.read().generation();
        *self.0 = Line::ZERO;
        self.0.0[W_STATE_PACKETS] = u64::from(generation) << 16;
    }

    /// Notes whether the connection has a second entry in the index.
    pub(super) fn set_aliased(&mut self, aliased: bool) {
        let word = &mut self.0.0[W_TAIL];
        *word = if aliased { *word | ALIASED } else { *word & !ALIASED };
    }
}

impl fmt::Debug for HotMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

/// What only opening, closing, the timer and listings need of a connection: 16 bytes, four to a line.
///
/// ```text
/// word 0    low half template's number plus one (0: none), high half mark
/// word 1    low half tick of its opening, high half flags
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cold {
    /// The template that controls the connection.
    pub template: Option<TemplateId>,
    /// The mark of the packet that opened it.
    pub mark: FwMark,
    /// The tick at which it was opened.
    pub created: u32,
    /// Flags, in the meaning of whoever sets them.
    pub flags: u32,
}

/// Words of cold data for a connection.
pub(super) const COLD_WORDS: usize = 2;
/// Connections whose cold data shares a line.
pub(super) const COLD_PER_LINE: usize = 8 / COLD_WORDS;
const _: () = assert!(COLD_WORDS * 8 <= 24, "cold data is at most 24 bytes a connection");

impl Cold {
    /// The words that stand for it in the region.
    #[inline]
    pub(super) fn to_words(self) -> [u64; COLD_WORDS] {
        let template = self.template.map_or(0, |id| u64::from(id.0) + 1);
        [
            template & 0xffff_ffff | u64::from(self.mark.0) << 32,
            u64::from(self.created) | u64::from(self.flags) << 32,
        ]
    }

    /// What the words of the region stand for.
    #[inline]
    pub(super) fn from_words([a, b]: [u64; COLD_WORDS]) -> Cold {
        Cold {
            template: (a as u32).checked_sub(1).map(TemplateId),
            mark: FwMark((a >> 32) as u32),
            created: b as u32,
            flags: (b >> 32) as u32,
        }
    }
}

#[inline]
fn set_low(word: &mut u64, value: u32) {
    *word = *word & !0xffff_ffff | u64::from(value);
}

#[inline]
fn set_high(word: &mut u64, value: u32) {
    *word = *word & 0xffff_ffff | u64::from(value) << 32;
}
