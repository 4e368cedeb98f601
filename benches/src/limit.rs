//! The least work that forwarding by a connection table can be: parse, find, count, rewrite, in the same
//! stages as the director and with nothing else.
//!
//! No checksums, TTL, IPv6, timeouts, states, services or neighbours. Buckets of one cache line with eight
//! 32-bit fingerprints and indexes, one cache line for each connection: two misses a packet, both asked
//! for a burst ahead. What a director costs above this is what its features cost.

use lvs_core::io::Frame;

use crate::ring::BURST;
use crate::{bare_key, rewrite};

const SLOTS: usize = 8;

#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
struct Bucket {
    fingerprints: [u32; SLOTS],
    places: [u32; SLOTS],
}

#[repr(C, align(64))]
#[derive(Clone, Copy, Default, Debug)]
struct Connection {
    key: [u64; 2],
    dest: u32,
    packets: u64,
    bytes: u64,
    last_seen: u64,
}

const _: () = assert!(size_of::<Bucket>() == 64 && size_of::<Connection>() == 64, "one line each");

/// A table without deletion.
#[derive(Debug)]
pub struct StagedLoop {
    buckets: Vec<Bucket>,
    connections: Vec<Connection>,
    macs: Vec<[u8; 6]>,
    /// Connections by the timer slot they were filed in.
    timers: Vec<Vec<u32>>,
    turn: u32,
}

#[inline(always)]
fn hash(key: &[u64; 2]) -> u64 {
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let seed = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
    fold(fold(key[0] ^ seed[0], key[1] ^ seed[1]), seed[0])
}

#[inline(always)]
fn fingerprint(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}

/// Asks for a line without waiting for it.
#[inline(always)]
fn prefetch<T>(line: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the pointer comes from a reference, and a prefetch changes nothing that a program can see.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(line).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = core::hint::black_box(line);
}

impl StagedLoop {
    /// An empty table for `capacity` connections, at most three quarters full.
    pub fn new(capacity: u32, servers: u8) -> StagedLoop {
        let capacity = capacity as usize;
        let empty = Bucket { fingerprints: [0; SLOTS], places: [0; SLOTS] };
        let mut connections = Vec::with_capacity(capacity + 1);
        connections.push(Connection::default());
        StagedLoop {
            buckets: vec![empty; (capacity / 6).next_power_of_two()],
            connections,
            macs: (0..servers).map(|n| [2, 0, 0, 0, 1, n]).collect(),
            timers: (0..256).map(|_| Vec::with_capacity(capacity / 200 + BURST)).collect(),
            turn: 0,
        }
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.buckets.fill(Bucket { fingerprints: [0; SLOTS], places: [0; SLOTS] });
        self.connections.truncate(1);
        self.timers.iter_mut().for_each(Vec::clear);
    }

    /// Forwards a burst whose flows are all in the table.
    #[inline(never)]
    pub fn established(&mut self, burst: &mut [Frame<'_>; BURST], now: u64) {
        let mut keys = [[0; 2]; BURST];
        let mut hashes = [0; BURST];
        let mut places = [0; BURST];
        for (i, frame) in burst.iter().enumerate() {
            keys[i] = bare_key(frame.bytes()).unwrap_or_default();
            hashes[i] = hash(&keys[i]);
            prefetch(self.bucket(hashes[i]));
        }
        for i in 0..BURST {
            places[i] = self.candidate(hashes[i]);
            prefetch(&self.connections[places[i] as usize]);
        }
        for (i, frame) in burst.iter_mut().enumerate() {
            let connection = &mut self.connections[places[i] as usize];
            if connection.key != keys[i] {
                let Some(place) = self.find(&keys[i], hashes[i]) else { continue };
                places[i] = place;
            }
            let connection = &mut self.connections[places[i] as usize];
            connection.packets += 1;
            connection.bytes += 50;
            connection.last_seen = now;
            rewrite(frame.bytes_mut(), &self.macs[connection.dest as usize]);
        }
    }

    /// Forwards a burst whose flows are new: miss, next server in turn, insert, file in a timer slot.
    #[inline(never)]
    pub fn open(&mut self, burst: &mut [Frame<'_>; BURST], now: u64) {
        let mut keys = [[0; 2]; BURST];
        let mut hashes = [0; BURST];
        for (i, frame) in burst.iter().enumerate() {
            keys[i] = bare_key(frame.bytes()).unwrap_or_default();
            hashes[i] = hash(&keys[i]);
            prefetch(self.bucket(hashes[i]));
        }
        for (i, frame) in burst.iter_mut().enumerate() {
            if self.find(&keys[i], hashes[i]).is_some() {
                continue;
            }
            self.turn = if self.turn as usize + 1 == self.macs.len() { 0 } else { self.turn + 1 };
            let place = self.insert(&keys[i], hashes[i]);
            self.timers[now as usize & 255].push(place);
            rewrite(frame.bytes_mut(), &self.macs[self.turn as usize]);
        }
    }

    #[inline(always)]
    fn bucket(&self, hash: u64) -> &Bucket {
        &self.buckets[hash as usize & (self.buckets.len() - 1)]
    }

    /// The first connection with the right fingerprint, or 0.
    #[inline(always)]
    fn candidate(&self, hash: u64) -> u32 {
        let mut at = hash as usize;
        loop {
            let bucket = &self.buckets[at & (self.buckets.len() - 1)];
            let mut hits = 0u32;
            for i in 0..SLOTS {
                hits |= u32::from(bucket.fingerprints[i] == fingerprint(hash)) << i;
            }
            if hits != 0 {
                return bucket.places[hits.trailing_zeros() as usize];
            }
            if bucket.fingerprints[SLOTS - 1] == 0 {
                return 0;
            }
            at += 1;
        }
    }

    fn find(&self, key: &[u64; 2], hash: u64) -> Option<u32> {
        let mut at = hash as usize;
        loop {
            let bucket = &self.buckets[at & (self.buckets.len() - 1)];
            for i in 0..SLOTS {
                let place = bucket.places[i];
                if bucket.fingerprints[i] == fingerprint(hash)
                    && self.connections[place as usize].key == *key
                {
                    return Some(place);
                }
            }
            if bucket.fingerprints[SLOTS - 1] == 0 {
                return None;
            }
            at += 1;
        }
    }

    #[inline(always)]
    fn insert(&mut self, key: &[u64; 2], hash: u64) -> u32 {
        let place = self.connections.len() as u32;
        let dest = self.turn;
        self.connections.push(Connection { key: *key, dest, packets: 1, ..Default::default() });
        let mut at = hash as usize;
        loop {
            let mask = self.buckets.len() - 1;
            let bucket = &mut self.buckets[at & mask];
            if let Some(i) = bucket.fingerprints.iter().position(|&fingerprint| fingerprint == 0) {
                bucket.fingerprints[i] = fingerprint(hash);
                bucket.places[i] = place;
                return place;
            }
            at += 1;
        }
    }
}
