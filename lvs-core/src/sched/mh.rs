//! `mh`: Maglev hashing.

use alloc::boxed::Box;
use alloc::vec;

use super::{Candidates, Change, Request, Schedule, SchedulerInfo, load};

/// Slots of the table: a prime.
const SLOTS: usize = 4093;
/// Bits that a server's turns in a round are cut to.
const TURN_BITS: u32 = 6;
/// The keys of the two hashes.
const KEY_FIRST: u64 = 2_654_435_761;
const KEY_SECOND: u64 = 2_654_446_892;
const NONE: u32 = u32::MAX;

pub(super) const INFO: SchedulerInfo = SchedulerInfo {
    name: "mh",
    summary: "Maglev hashing: by the client's address, and few clients move when servers come and go.",
    make: |flags, candidates| {
        let (fallback, with_port) = (flags.flag_1, flags.flag_2);
        let slots = vec![NONE; SLOTS].into_boxed_slice();
        let mut maglev = Maglev { slots, fallback, with_port };
        maglev.changed(candidates, Change::Edited(0));
        Box::new(maglev)
    },
};

/// Every server walks the table in an order of its own and takes free slots in turn, more turns for more
/// weight. The weight that counts is the last one that was not 0, so quiescing a server moves nobody
/// else's clients (rule S11; Eisenbud et al., "Maglev", NSDI 2016, §3.4).
#[derive(Clone, Debug)]
struct Maglev {
    /// The position of each slot's server.
    slots: Box<[u32]>,
    fallback: bool,
    with_port: bool,
}

/// A server's walk through the table.
struct Walk {
    position: u32,
    at: usize,
    skip: usize,
    turns: u32,
}

impl Schedule for Maglev {
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(self.clone()))
    }

    fn pick(&mut self, candidates: &Candidates<'_>, request: &Request<'_>) -> Option<usize> {
        let port = if self.with_port { u32::from(request.flow.client_port().0) } else { 0 };
        let client = load::fold(request.flow.client_addr()).wrapping_add(port);
        let slot = |offset: u32| hash(client.wrapping_add(offset), KEY_FIRST) as usize % SLOTS;
        let server = |slot: usize| Some(self.slots[slot]).filter(|&p| p != NONE);
        let usable = |position: u32| candidates.at(position as usize).is_eligible();
        let first = slot(0);
        let position = server(first)?;
        if usable(position) {
            return Some(position as usize);
        }
        if !self.fallback {
            return None;
        }
        (0..SLOTS)
            .map_while(|off| server(slot(((off + first) % SLOTS) as u32)))
            .find(|&position| usable(position))
            .map(|position| position as usize)
    }

    fn starts_anew(&self) -> bool {
        true
    }

    fn changed(&mut self, candidates: &Candidates<'_>, _: Change) {
        self.slots.fill(NONE);
        let weights = || candidates.iter().map(|(_, d)| d.last_weight()).filter(|&w| w > 0);
        let (Some(step), Some(most)) = (weights().reduce(gcd), weights().max()) else { return };
        let shift = (u32::BITS - (most / step).leading_zeros()).saturating_sub(TURN_BITS);
        let mut walks: vec::Vec<Walk> = candidates
            .iter()
            .filter(|(_, d)| d.last_weight() > 0)
            .map(|(position, d)| {
                let own = load::fold_server(d).wrapping_add(u32::from(d.addr().port.0));
                Walk {
                    position: position as u32,
                    at: hash(own, KEY_FIRST) as usize % SLOTS,
                    skip: hash(own, KEY_SECOND) as usize % (SLOTS - 1) + 1,
                    turns: ((d.last_weight() / step) >> shift).max(1),
                }
            })
            .collect();
        let mut free = SLOTS;
        loop {
            for walk in &mut walks {
                for _ in 0..walk.turns {
                    while self.slots[walk.at] != NONE {
                        walk.at = (walk.at + walk.skip) % SLOTS;
                    }
                    self.slots[walk.at] = walk.position;
                    free -= 1;
                    if free == 0 {
                        return;
                    }
                }
            }
        }
    }
}

fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The lower half of SipHash-1-3 (Aumasson and Bernstein, 2012, with fewer rounds) of a 32-bit number in
/// little-endian order, both words of the key alike.
fn hash(number: u32, key: u64) -> u32 {
    let mut v = [
        0x736f_6d65_7073_6575 ^ key,
        0x646f_7261_6e64_6f6d ^ key,
        0x6c79_6765_6e65_7261 ^ key,
        0x7465_6462_7974_6573 ^ key,
    ];
    // One block: the length in the top byte, the number below.
    let block = 4 << 56 | u64::from(number);
    v[3] ^= block;
    round(&mut v);
    v[0] ^= block;
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    (v[0] ^ v[1] ^ v[2] ^ v[3]) as u32
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}
