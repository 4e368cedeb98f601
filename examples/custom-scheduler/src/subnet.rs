//! `subnet`: all clients of a network go to one real server, without a template to remember it.

use std::net::IpAddr;

use lvs_core::sched::{Candidates, Request, Schedule, SchedulerInfo};

/// What the director is told.
pub(crate) const INFO: SchedulerInfo = SchedulerInfo {
    name: "subnet",
    summary: "Client network: clients of one /24 or /56 share a server; few move when servers change.",
    make: |_, _| Box::new(Subnet),
};

/// Rendezvous hashing: each pair of network and server has a number, and the server with the largest
/// takes the network. A server that goes gives up its own networks and no other moves; one that comes
/// takes its share from all. It remembers nothing, so that two directors decide alike.
#[derive(Debug)]
struct Subnet;

impl Schedule for Subnet {
    /// It remembers nothing, so that another one foretells what it will choose (`lvsadm explain`).
    fn duplicate(&self) -> Option<Box<dyn Schedule>> {
        Some(Box::new(Subnet))
    }

    fn pick(&mut self, candidates: &Candidates<'_>, request: &Request<'_>) -> Option<usize> {
        let network = network(request.flow.client_addr());
        let eligible = candidates.iter().filter(|(_, d)| d.is_eligible());
        let scored = eligible.map(|(position, d)| {
            let server = bits(d.addr().addr) ^ u128::from(d.addr().port.0) << 112;
            (position, score(mix(network ^ mix(server)), d.weight()))
        });
        scored.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(position, _)| position)
    }
}

/// The client's /24, or /56 for IPv6, as a site gets it (RFC 6177).
fn network(client: IpAddr) -> u128 {
    match client {
        IpAddr::V4(_) => bits(client) >> 8,
        IpAddr::V6(_) => bits(client) >> 72,
    }
}

fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

/// A hash of 64 bits: the finalizer of SplitMix64 over both halves.
fn mix(bits: u128) -> u128 {
    let step = |z: u64| {
        let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    };
    let high = step((bits >> 64) as u64 ^ 0x9e37_79b9_7f4a_7c15);
    u128::from(step(high ^ bits as u64))
}

/// The number of a pair. With `-weight / ln(u)`, `u` even between 0 and 1, each server is largest for a
/// share of the networks that is its share of all weights (Schindelhauer and Schomaker, 2005).
fn score(hash: u128, weight: u32) -> f64 {
    let unit = ((hash as u64 >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(weight) / unit.ln()
}
