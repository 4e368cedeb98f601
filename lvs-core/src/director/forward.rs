//! Sending a packet on: TTL, size, next hop, MAC addresses; and the ICMP errors where that fails.

use super::inbound::Seen;
use super::{Director, Link};
use crate::addr::Family;
use crate::dest::Hop;
use crate::drop::{DropReason, PassReason};
use crate::explain::{Event, Explain};
use crate::ids::{DestIndex, PortId};
use crate::io::{Frame, Verdict};
use crate::neighbor::NeighborIndex;
use crate::parse::{Headers, L4};
use crate::wire::ethernet::VlanTags;
use crate::wire::icmp::{self, ErrorSpec, IcmpError};
use crate::wire::{ethernet, ipv4, ipv6, udp};

impl Director {
    /// Sends a packet to its destination by direct routing, in the kernel's order: route, TTL, size,
    /// neighbour (rules F1, F8, F11).
    pub(super) fn forward<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        destination: DestIndex,
        x: &mut X,
    ) -> Verdict {
        let headers = seen.headers;
        let hop = self.dests.at(destination).hop;
        x.event(seen.n, || Event::Forward(hop));
        let (port, neighbor) = match hop {
            Hop::Via { port, neighbor } => (port, neighbor),
            Hop::Local => return Verdict::Pass(PassReason::LocalDestination),
            Hop::Unreachable => {
                return self.answer_error(
                    frame,
                    headers,
                    IcmpError::HostUnreachable,
                    DropReason::NoRoute,
                );
            }
        };
        if headers.ttl <= 1 {
            let reason = DropReason::TtlExceeded;
            return self.answer_error(frame, headers, IcmpError::TimeExceeded, reason);
        }
        let packet = &mut frame.bytes_mut()[usize::from(headers.l3)..];
        match headers.family {
            Family::V4 => ipv4::decrement_ttl(packet),
            Family::V6 => ipv6::decrement_hop_limit(packet),
        };
        let Some(link) = self.link(port).copied() else {
            return Verdict::Drop(DropReason::PortDown);
        };
        let too_big = packet_len(frame, headers) > link.mtu;
        if too_big && !self.may_be_cut(frame, headers) {
            let kind = IcmpError::TooBig { mtu: link.mtu };
            return self.answer_error(frame, headers, kind, DropReason::TooBig);
        }
        let Some(neighbor) = self.neighbor_in_vlan(frame, headers, port, neighbor) else {
            return Verdict::Drop(DropReason::NeighborQueueFull);
        };
        if too_big {
            return self.cut_later(frame, headers, neighbor);
        }
        let Some(mac) = self.neighbors.at(neighbor).mac() else {
            x.event(seen.n, || Event::WaitsForNeighbor(port));
            return self.wait_for_neighbor(frame, neighbor);
        };
        address(frame, &headers.tags, port, &link, mac);
        Verdict::Transmit(port)
    }

    /// The neighbour as seen from the packet's VLAN: tags are kept on the port they came in by.
    #[inline]
    fn neighbor_in_vlan(
        &mut self,
        frame: &Frame<'_>,
        headers: &Headers,
        port: PortId,
        untagged: NeighborIndex,
    ) -> Option<NeighborIndex> {
        if headers.tags.is_empty() || frame.port() != port {
            return Some(untagged);
        }
        let addr = self.neighbors.at(untagged).addr;
        let found = self.neighbors.find_or_add(port, &headers.tags, addr);
        if found.is_none() {
            self.want_room_for_neighbors();
        }
        found
    }

    /// Whether a packet that is too big may leave in pieces: IPv4 without DF, or with `pmtu_disc=0`.
    fn may_be_cut(&self, frame: &Frame<'_>, headers: &Headers) -> bool {
        headers.family == Family::V4
            && frame.offload.segments.is_none()
            && !(headers.dont_fragment && self.tunables.pmtu_disc)
    }

    /// Keeps a packet until its neighbour's address is known; of too many the oldest goes (rule F11).
    pub(super) fn wait_for_neighbor(
        &mut self,
        frame: &Frame<'_>,
        neighbor: NeighborIndex,
    ) -> Verdict {
        if self.neighbors.want(neighbor, self.now) {
            self.ask(neighbor);
        }
        let most = self.limits.waiting_per_neighbor;
        let entry = self.neighbors.at_mut(neighbor);
        if entry.waiting.len() >= most {
            if let Some(oldest) = entry.waiting.pop(&self.store) {
                self.store.free(oldest);
                self.lose_absorbed(DropReason::NeighborQueueFull);
            } else {
                return Verdict::Drop(DropReason::NeighborQueueFull);
            }
        }
        let Some(parcel) = self.store.put(frame) else {
            return Verdict::Drop(DropReason::StoreFull);
        };
        self.neighbors.at_mut(neighbor).waiting.push(&mut self.store, parcel);
        Verdict::Absorb
    }

    /// Answers a packet with an ICMP error from the address it was sent to, paced; where that may not be,
    /// drops it for `reason`.
    pub(super) fn answer_error(
        &mut self,
        frame: &mut Frame<'_>,
        headers: &Headers,
        kind: IcmpError,
        reason: DropReason,
    ) -> Verdict {
        let to_group = ethernet::dst(frame.bytes()).is_group();
        let Some(link) = self.link(frame.port()).copied() else { return Verdict::Drop(reason) };
        if to_group || !headers.may_be_answered_with_error() {
            return Verdict::Drop(reason);
        }
        // "Too big" is not paced, as path MTU discovery must not stall (`icmp_ratemask`).
        let paced = !matches!(kind, IcmpError::TooBig { .. });
        if paced && !self.pacer.allow(self.now, headers.src()) {
            self.stats.icmp_suppressed += 1;
            return Verdict::Drop(reason);
        }
        let (src, dst) = (headers.dst(), headers.src());
        let spec = ErrorSpec { src, dst, kind, ident: self.next_ident() };
        match turn_into_error(frame, headers, link.mac, &spec) {
            Ok(()) => Verdict::Reply(frame.port()),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    pub(super) fn next_ident(&mut self) -> u16 {
        self.ident = self.ident.wrapping_add(1);
        self.ident
    }
}

/// Puts the headers of an ICMP error in front of the packet in a frame, cut to what may be quoted, and
/// sends it back where it came from. The quote stays where it is; the headers take headroom.
pub(super) fn turn_into_error(
    frame: &mut Frame<'_>,
    headers: &Headers,
    mac: crate::addr::MacAddr,
    spec: &ErrorSpec,
) -> Result<(), DropReason> {
    let back_to = ethernet::src(frame.bytes());
    let header_len = icmp::error_header_len(headers.family);
    let l3 = usize::from(headers.l3);
    let quote =
        (frame.len() - l3).min(headers.ip_len as usize).min(icmp::quote_len_max(headers.family));
    frame.prepend(header_len).map_err(|_| DropReason::NoHeadroom)?;
    let ethertype = ethertype(headers.family);
    ethernet::emit_header(frame.bytes_mut(), back_to, mac, &headers.tags, ethertype);
    let len = icmp::wrap_error(&mut frame.bytes_mut()[l3..], spec, quote);
    frame.set_len(l3 + len);
    frame.offload = crate::io::Offload::default();
    Ok(())
}

/// The longest IP packet that a frame will be on the wire: for a super-frame that of one segment.
fn packet_len(frame: &Frame<'_>, headers: &Headers) -> u32 {
    let Some(segments) = frame.offload.segments else { return headers.ip_len };
    let transport = match headers.l4_header {
        L4::Tcp { header_len, .. } => u32::from(header_len),
        _ => udp::HEADER_LEN as u32,
    };
    u32::from(headers.l4 - headers.l3) + transport + u32::from(segments.size)
}

/// Writes the MAC addresses of the next hop; tags are left behind where the packet changes its port.
#[inline]
fn address(
    frame: &mut Frame<'_>,
    tags: &VlanTags,
    port: PortId,
    link: &Link,
    mac: crate::addr::MacAddr,
) {
    if !tags.is_empty() && frame.port() != port {
        frame.trim_front(tags.bytes_len());
    }
    let bytes = frame.bytes_mut();
    ethernet::set_dst(bytes, mac);
    ethernet::set_src(bytes, link.mac);
}

pub(super) const fn ethertype(family: Family) -> u16 {
    match family {
        Family::V4 => ethernet::IPV4,
        Family::V6 => ethernet::IPV6,
    }
}
