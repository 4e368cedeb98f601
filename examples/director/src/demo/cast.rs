//! Chance: which clients play, and which ports they use. All of it follows from the seed.

use std::net::Ipv4Addr;

use fastrand::Rng;

/// The first ephemeral port, as Linux chooses them (`ip_local_port_range`).
const PORT_MIN: u16 = 32_768;
/// The last one.
const PORT_MAX: u16 = 60_999;

/// The most connections of a step.
const PORTS: usize = 64;

/// The players of one step.
#[derive(Debug)]
pub(super) struct Cast {
    rng: Rng,
    clients: Vec<Ipv4Addr>,
}

impl Cast {
    pub(super) fn new(seed: u64, step: u64) -> Cast {
        let mut rng = Rng::with_seed(seed ^ (step + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // Addresses of two digits keep the columns of the listings straight.
        let mut clients: Vec<Ipv4Addr> =
            (1..=99).map(|host| Ipv4Addr::new(192, 168, 7, host)).collect();
        rng.shuffle(&mut clients);
        Cast { rng, clients }
    }

    /// Clients that have not played in this step yet.
    pub(super) fn clients<const N: usize>(&mut self) -> [Ipv4Addr; N] {
        // INVARIANT: no step has more than a few dozen.
        std::array::from_fn(|_| self.clients.pop().expect("a step has fewer than 99 clients"))
    }

    /// Ports to connect from, each once.
    pub(super) fn ports(&mut self) -> Vec<u16> {
        let mut ports = self.rng.choose_multiple(PORT_MIN..=PORT_MAX, PORTS);
        self.rng.shuffle(&mut ports);
        ports
    }

    pub(super) fn number(&mut self) -> u64 {
        self.rng.u64(..)
    }
}
