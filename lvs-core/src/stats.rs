//! Plain counters. One writer, no atomics in the path.
//!
//! [The manual](crate::manual::promises) adds them up: every frame is in exactly one.

use crate::drop::{DropReason, PassReason};

/// What went through a service or to a real server (`--stats`).
///
/// Bytes are the IP total length as received, IPv6 with its header (rule A6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Connections opened.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets from real servers that the director saw.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes from real servers that the director saw.
    pub bytes_out: u64,
}

impl Counters {
    /// Counts one packet from a client.
    pub(crate) fn count_in(&mut self, bytes: u64) {
        self.packets_in += 1;
        self.bytes_in += bytes;
    }

    /// Takes off what `others` counted.
    pub(crate) fn subtract(&mut self, others: &Counters) {
        let Counters { connections, packets_in, packets_out, bytes_in, bytes_out } = *others;
        self.connections = self.connections.saturating_sub(connections);
        self.packets_in = self.packets_in.saturating_sub(packets_in);
        self.packets_out = self.packets_out.saturating_sub(packets_out);
        self.bytes_in = self.bytes_in.saturating_sub(bytes_in);
        self.bytes_out = self.bytes_out.saturating_sub(bytes_out);
    }

    /// Counts one packet from a real server.
    pub(crate) fn count_out(&mut self, bytes: u64) {
        self.packets_out += 1;
        self.bytes_out += bytes;
    }
}

/// The director's own counters: every frame it was lent is in exactly one of passed, dropped,
/// transmitted, replied or absorbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Frames lent.
    pub received: u64,
    /// Frames forwarded.
    pub transmitted: u64,
    /// Frames answered in their own slot.
    pub replied: u64,
    /// Frames taken into a store, to leave later by `poll_transmit`: they wait for a neighbour or for the
    /// other fragments of their packet, or leave in pieces.
    pub absorbed: u64,
    /// Packets put together from fragments.
    pub reassembled: u64,
    /// Frames of the director's own, or taken from a store, handed out by `poll_transmit`.
    pub originated: u64,
    /// ICMP errors that pacing held back.
    pub icmp_suppressed: u64,
    /// Frames dropped, by [`DropReason::index`].
    pub dropped: [u64; DropReason::COUNT],
    /// Frames left to the host, by [`PassReason::index`].
    pub passed: [u64; PassReason::COUNT],
    /// Totals over all services; [`Director::total`](crate::director::Director::total) is what listings show.
    pub total: Counters,
}

impl Default for Stats {
    fn default() -> Self {
        Stats {
            received: 0,
            transmitted: 0,
            replied: 0,
            absorbed: 0,
            reassembled: 0,
            originated: 0,
            icmp_suppressed: 0,
            dropped: [0; DropReason::COUNT],
            passed: [0; PassReason::COUNT],
            total: Counters::default(),
        }
    }
}

impl Stats {
    /// Frames dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason.index()]
    }

    /// Frames left to the host for `reason`.
    pub fn passed(&self, reason: PassReason) -> u64 {
        self.passed[reason.index()]
    }

    /// Frames dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Frames left to the host for any reason.
    pub fn passed_total(&self) -> u64 {
        self.passed.iter().sum()
    }
}
