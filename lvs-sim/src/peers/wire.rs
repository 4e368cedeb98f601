//! The wire: frames under way, and the switch that knows which station has which Ethernet address.

use std::collections::{BTreeMap, VecDeque};

use lvs_core::addr::MacAddr;
use lvs_core::time::{Duration, Instant};
use lvs_core::wire::ethernet;

/// Who is plugged in where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plug {
    Director,
    Station(usize),
}

/// An Ethernet segment. All frames take the same time, so they arrive in the order they were sent.
#[derive(Debug)]
pub(super) struct Wire {
    latency: Duration,
    under_way: VecDeque<UnderWay>,
    plugs: BTreeMap<MacAddr, Plug>,
    pulled: Vec<Plug>,
}

#[derive(Debug)]
struct UnderWay {
    due: Instant,
    to: Vec<Plug>,
    frame: Vec<u8>,
}

impl Wire {
    pub(super) fn new(latency: Duration) -> Wire {
        let latency = latency.max(Duration::from_micros(1));
        Wire { latency, under_way: VecDeque::new(), plugs: BTreeMap::new(), pulled: Vec::new() }
    }

    /// Plugs a station in.
    pub(super) fn plug(&mut self, mac: MacAddr, plug: Plug) {
        self.plugs.insert(mac, plug);
    }

    /// Pulls a plug or puts it back. What is under way to a pulled one still arrives.
    pub(super) fn pull(&mut self, plug: Plug, pulled: bool) {
        self.pulled.retain(|other| *other != plug);
        if pulled {
            self.pulled.push(plug);
        }
    }

    /// Takes a frame from a station. One that is for nobody is lost, as on a real segment.
    pub(super) fn send(&mut self, now: Instant, from: Plug, frame: Vec<u8>) {
        if frame.len() < ethernet::HEADER_LEN || self.pulled.contains(&from) {
            return;
        }
        let station = ethernet::dst(&frame);
        let mut to: Vec<Plug> = match station.is_group() {
            true => self.plugs.values().copied().filter(|plug| *plug != from).collect(),
            false => self.plugs.get(&station).copied().into_iter().collect(),
        };
        to.retain(|plug| !self.pulled.contains(plug));
        if !to.is_empty() {
            self.under_way.push_back(UnderWay { due: now + self.latency, to, frame });
        }
    }

    /// When the next frame arrives.
    pub(super) fn due(&self) -> Option<Instant> {
        self.under_way.front().map(|next| next.due)
    }

    /// The next frame that has arrived by now, with the stations it has arrived at.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<(Vec<Plug>, Vec<u8>)> {
        if self.due()? > now {
            return None;
        }
        let next = self.under_way.pop_front()?;
        Some((next.to, next.frame))
    }
}
