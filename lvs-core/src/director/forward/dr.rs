//! Direct routing: the packet leaves as it came, one hop older, to the real server's Ethernet address.

use super::{Leaving, Way};
use crate::addr::{Family, MacAddr};
use crate::dest::Trail;
use crate::director::Director;
use crate::director::inbound::Seen;
use crate::explain::Explain;
use crate::io::{Frame, Verdict};
use crate::parse::Headers;
use crate::wire::{ethernet, ipv4, ipv6};

impl Director {
    /// Sends a packet by direct routing (rules F1, F8, F11).
    #[inline(always)]
    pub(super) fn forward_direct<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        way: &Way,
        x: &mut X,
    ) -> Result<Verdict, Verdict> {
        let leaving = self.leave(frame, seen, way, x)?;
        let too_big = self.fit_link(frame, seen, way, leaving.link.mtu)?;
        let mac = self.depart(frame, seen, &leaving, too_big, x)?;
        self.lay_trail(seen.headers, way, &leaving, mac);
        Ok(Verdict::Transmit(leaving.port))
    }

    /// Lets the next packet follow this one, which left for its destination's neighbour.
    #[inline(always)]
    pub(super) fn lay_trail(
        &mut self,
        headers: &Headers,
        way: &Way,
        leaving: &Leaving,
        mac: MacAddr,
    ) {
        if headers.tags.is_empty() {
            let Leaving { port, link, .. } = leaving;
            let trail = Trail::new(self.trail_version(), *port, link.mac, mac, link.mtu);
            self.dests.front_mut(way.destination).trail = trail;
        }
    }

    /// A number that changes with everything that a [`Trail`] is made of.
    #[inline]
    pub(in crate::director) fn trail_version(&self) -> u32 {
        // Both only count up, so that their sum is another as soon as one of them is.
        self.commands.wrapping_add(self.neighbors.version())
    }
}

/// Does to an untagged frame what leads it along a trail; unless its TTL ends here: then `false`, and
/// nothing is changed.
#[inline(always)]
pub(in crate::director) fn follow(frame: &mut Frame<'_>, family: Family, trail: &Trail) -> bool {
    const L3: usize = ethernet::HEADER_LEN;
    let Some(start) = frame.head_mut::<{ L3 + ipv4::HEADER_LEN }>() else { return false };
    let ttl = match family {
        Family::V4 => start[L3 + ipv4::field::TTL],
        Family::V6 => start[L3 + ipv6::field::HOP_LIMIT],
    };
    if ttl <= 1 {
        return false;
    }
    match family {
        Family::V4 => ipv4::decrement_ttl(&mut start[L3..]),
        Family::V6 => ipv6::decrement_hop_limit(&mut start[L3..]),
    };
    ethernet::set_addresses(start, trail.macs());
    true
}
