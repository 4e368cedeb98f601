//! The table as most programs would write it: a hash map from the key to a place in an array, one packet
//! after the other.

use hashbrown::HashMap;
use lvs_core::io::Frame;

use crate::{bare_key, rewrite};

/// What is kept of a connection.
#[derive(Clone, Copy, Default, Debug)]
struct Connection {
    dest: u32,
    packets: u64,
    bytes: u64,
    last_seen: u64,
}

/// hashbrown with foldhash.
#[derive(Debug)]
pub struct Map {
    places: HashMap<[u64; 2], u32, foldhash::fast::RandomState>,
    connections: Vec<Connection>,
    macs: Vec<[u8; 6]>,
}

impl Map {
    /// An empty map for `capacity` connections.
    pub fn new(capacity: u32, servers: u8) -> Map {
        let capacity = capacity as usize;
        Map {
            places: HashMap::with_capacity_and_hasher(capacity, Default::default()),
            connections: Vec::with_capacity(capacity),
            macs: (0..servers).map(|n| [2, 0, 0, 0, 1, n]).collect(),
        }
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.places.clear();
        self.connections.clear();
    }

    /// Forwards frames; a new flow goes to the next server in turn.
    #[inline(never)]
    pub fn process(&mut self, burst: &mut [Frame<'_>], now: u64) {
        for frame in burst {
            let Some(key) = bare_key(frame.bytes()) else { continue };
            let place = *self.places.entry(key).or_insert_with(|| {
                let place = self.connections.len() as u32;
                let dest = place % self.macs.len() as u32;
                self.connections.push(Connection { dest, ..Default::default() });
                place
            });
            let connection = &mut self.connections[place as usize];
            connection.packets += 1;
            connection.bytes += 50;
            connection.last_seen = now;
            rewrite(frame.bytes_mut(), &self.macs[connection.dest as usize]);
        }
    }
}
