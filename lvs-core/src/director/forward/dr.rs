//! Direct routing: the packet leaves as it came, one hop older, to the real server's Ethernet address.

use super::{Leaving, Way, address, packet_len};
use crate::addr::Family;
use crate::director::Director;
use crate::director::cut::finish_checksum;
use crate::director::inbound::Seen;
use crate::drop::DropReason;
use crate::explain::{Event, Explain};
use crate::io::{Frame, Verdict};
use crate::parse::Headers;
use crate::wire::icmp::IcmpError;

impl Director {
    /// Sends a packet by direct routing (rules F1, F8, F11).
    #[inline(always)]
    pub(super) fn forward_direct<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        way: &Way,
        x: &mut X,
    ) -> Verdict {
        let headers = seen.headers;
        let Leaving { port, neighbor, link } = match self.leave(frame, seen, way, x) {
            Ok(leaving) => leaving,
            Err(verdict) => return verdict,
        };
        let too_big = packet_len(frame, headers) > link.mtu;
        if too_big && !may_be_cut(frame, headers) {
            let kind = IcmpError::TooBig { mtu: link.mtu };
            return self.refuse_to_forward(frame, headers, way, kind, DropReason::TooBig);
        }
        let Some(neighbor) = self.neighbor_in_vlan(frame, headers, port, neighbor) else {
            return Verdict::Drop(DropReason::NeighborQueueFull);
        };
        if too_big {
            finish_checksum(frame, headers);
            return self.cut_later(frame, neighbor, None);
        }
        let Some(mac) = self.neighbors.at(neighbor).mac() else {
            x.event(seen.n, || Event::WaitsForNeighbor(port));
            return self.wait_for_neighbor(frame, neighbor, None);
        };
        address(frame, &headers.tags, port, &link, mac);
        Verdict::Transmit(port)
    }
}

/// Whether a packet that is too big may leave in pieces: IPv4 without DF.
fn may_be_cut(frame: &Frame<'_>, headers: &Headers) -> bool {
    headers.family == Family::V4 && frame.offload.segments.is_none() && !headers.dont_fragment
}
