//! A small ring of slots that is refilled before each burst, as a network card would.
//!
//! Slots stay in the cache, so that what is measured is the table and not the ring; the cost of refilling
//! is a line of its own, to be subtracted.

use lvs_core::ids::PortId;
use lvs_core::io::Frame;

/// Frames in a burst.
pub const BURST: usize = 32;
/// Bytes of a frame: the smallest on a wire, without its check sequence padded to a cache line.
pub const FRAME_LEN: usize = 64;
/// Free bytes in front.
const HEADROOM: usize = 128;
const SLOT: usize = 256;

/// The director's MAC address.
pub const DIRECTOR: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The virtual address.
pub const VIRTUAL: [u8; 4] = [192, 0, 2, 1];

/// TCP flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flags {
    /// A connection begins.
    Syn = 0x02,
    /// It goes on.
    Ack = 0x10,
}

/// The slots of one burst.
#[derive(Debug)]
pub struct Ring {
    slots: Box<[[u8; SLOT]; BURST]>,
    pattern: Pattern,
}

/// What the frames of all flows have in common.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    template: [u8; FRAME_LEN],
    /// Sum of the template's IPv4 header.
    sum: u32,
    /// Where the client's address and port stand.
    client_at: (usize, usize),
}

/// The client of a flow: an address for every 16 flows, and its port.
#[inline(always)]
pub fn client(flow: u32) -> ([u8; 4], u16) {
    ((0x0b00_0000 + (flow >> 4)).to_be_bytes(), 1024 + (flow & 15) as u16 * 997)
}

impl Ring {
    /// A ring of TCP segments to the virtual address.
    pub fn new(flags: Flags) -> Ring {
        Ring::of(Pattern::requests(flags, DIRECTOR, VIRTUAL))
    }

    /// A ring of what a masqueraded real server answers.
    pub fn answers(server: [u8; 4], port: u16) -> Ring {
        let Pattern { mut template, .. } = Pattern::requests(Flags::Ack, DIRECTOR, VIRTUAL);
        template[26..30].copy_from_slice(&server);
        template[30..34].fill(0);
        template[34..36].copy_from_slice(&port.to_be_bytes());
        template[36..38].fill(0);
        Ring::of(Pattern::of(template, (30, 36)))
    }

    fn of(pattern: Pattern) -> Ring {
        Ring { slots: Box::new([[0; SLOT]; BURST]), pattern }
    }

    /// One frame of each flow, with right IPv4 header checksums.
    #[inline(always)]
    pub fn fill(&mut self, flows: &[u32; BURST]) -> [Frame<'_>; BURST] {
        let mut slots = self.slots.iter_mut();
        flows.map(|flow| {
            let slot = slots.next().expect("as many slots as flows");
            self.pattern.write(flow, &mut slot[HEADROOM..HEADROOM + FRAME_LEN]);
            Frame::new(slot, HEADROOM, FRAME_LEN, PortId(0))
        })
    }
}

impl Pattern {
    /// TCP segments to port 80 of an address.
    pub fn requests(flags: Flags, station: [u8; 6], addr: [u8; 4]) -> Pattern {
        let mut template = [0; FRAME_LEN];
        template[0..6].copy_from_slice(&station);
        template[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 9, 8, 0]);
        template[14..24].copy_from_slice(&[0x45, 0, 0, 50, 0, 0, 0x40, 0, 64, 6]);
        template[30..34].copy_from_slice(&addr);
        template[36..38].copy_from_slice(&80u16.to_be_bytes());
        template[46..48].copy_from_slice(&[0x50, flags as u8]);
        Pattern::of(template, (26, 34))
    }

    fn of(template: [u8; FRAME_LEN], client_at: (usize, usize)) -> Pattern {
        let words = template[14..34].chunks_exact(2);
        let sum = words.map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        Pattern { template, sum, client_at }
    }

    /// The frame of a flow, with a right IPv4 header checksum.
    ///
    /// # Panics
    /// If `frame` does not have [`FRAME_LEN`] bytes.
    #[inline(always)]
    pub fn write(&self, flow: u32, frame: &mut [u8]) {
        let (addr_at, port_at) = self.client_at;
        frame.copy_from_slice(&self.template);
        let (addr, port) = client(flow);
        frame[addr_at..addr_at + 4].copy_from_slice(&addr);
        frame[port_at..port_at + 2].copy_from_slice(&port.to_be_bytes());
        let [a, b, c, d] = addr.map(u32::from);
        let sum = self.sum + (a << 8 | b) + (c << 8 | d);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Flows in random order, again and again: 2^20 numbers below `flows`, read in sequence.
#[derive(Debug)]
pub struct Order {
    flows: Vec<[u32; BURST]>,
    next: usize,
}

impl Order {
    /// A fixed random order.
    pub fn random(flows: u32) -> Order {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = || {
            // xorshift64*: good enough to defeat every prefetcher.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            let high = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
            ((high * u64::from(flows)) >> 32) as u32
        };
        let flows = (0..(1 << 20) / BURST).map(|_| core::array::from_fn(|_| draw())).collect();
        Order { flows, next: 0 }
    }

    /// The flows of the next burst.
    #[inline(always)]
    pub fn next_burst(&mut self) -> &[u32; BURST] {
        self.next = if self.next + 1 == self.flows.len() { 0 } else { self.next + 1 };
        &self.flows[self.next]
    }
}

/// The flows `first` to `first + BURST - 1`.
#[inline(always)]
pub fn consecutive(first: u32) -> [u32; BURST] {
    core::array::from_fn(|i| first + i as u32)
}
