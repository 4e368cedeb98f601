//! Tunnels: the packet leaves inside another one, addressed to the real server.

use super::{Leaving, Way, ethertype};
use crate::addr::Family;
use crate::command::{ForwardingMethod, Tunnel};
use crate::director::cut::finish_checksum;
use crate::director::inbound::Seen;
use crate::director::{Director, Link};
use crate::drop::DropReason;
use crate::explain::{Event, Explain};
use crate::forward::tunnel::{self, Outer};
use crate::ids::DestIndex;
use crate::io::{Frame, Verdict};
use crate::parse::Headers;
use crate::store::Cut;
use crate::wire::icmp::IcmpError;
use crate::wire::{ethernet, ipv6};

/// The smallest MTU of an IPv4 link (RFC 791 §3.2); a tunnel that leaves less is none.
const MTU_MIN_V4: u32 = 68;
/// The longest IP packet.
const IP_LEN_MAX: u32 = 0xffff;

impl Director {
    /// Sends a packet through its destination's tunnel (rules F1 to F4, F6, F7).
    #[inline(never)]
    pub(super) fn forward_tunnel<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        way: &Way,
        x: &mut X,
    ) -> Verdict {
        let headers = seen.headers;
        let leaving = match self.leave(frame, seen, way, x) {
            Ok(leaving) => leaving,
            Err(verdict) => return verdict,
        };
        let Leaving { port, neighbor, link } = leaving;
        if frame.offload.segments.is_some() {
            return Verdict::Drop(DropReason::TunnelSuperFrame);
        }
        let to = self.dests.at(way.destination).addr().addr;
        let Some(from) = self.routes.own_address(port, to) else {
            let (kind, reason) = (IcmpError::HostUnreachable, DropReason::NoRoute);
            return self.refuse_to_forward(frame, headers, way, kind, reason);
        };
        let tunnel = self.tunnel_of(way.destination);
        let now = self.now;
        let outer_mtu = self.dests.at_mut(way.destination).path_mtu(link.mtu, now);
        let overhead = tunnel::overhead(Family::of(to), tunnel) as u32;
        let mtu = outer_mtu.saturating_sub(overhead);
        let least = if to.is_ipv4() { MTU_MIN_V4 } else { ipv6::MTU_MIN as u32 - overhead };
        let too_big = headers.ip_len > mtu;
        let dont_fragment = headers.dont_fragment && self.tunables.pmtu_disc;
        let may_be_cut = headers.family == Family::V4 && !dont_fragment;
        if mtu < least || headers.ip_len + overhead > IP_LEN_MAX {
            return Verdict::Drop(DropReason::TooBig);
        }
        if too_big && !may_be_cut {
            let kind = IcmpError::TooBig { mtu };
            return self.refuse_to_forward(frame, headers, way, kind, DropReason::TooBig);
        }
        let Some(neighbor) = self.neighbor_in_vlan(frame, headers, port, neighbor) else {
            return Verdict::Drop(DropReason::NeighborQueueFull);
        };
        // An IPv6 packet may be cut nowhere, but its IPv4 outer one may (rule F7).
        let dont_fragment = dont_fragment && headers.family == Family::V4;
        let outer = Outer {
            src: from,
            dst: to,
            tunnel,
            ttl: headers.ttl - 1,
            tos: tunnel::outer_tos(headers.tos),
            dont_fragment,
            ident: if dont_fragment { 0 } else { self.next_ident() },
            flow_hash: seen.hash,
        };
        let keeps_tags = frame.port() == port;
        if let Err(reason) = encapsulate(frame, headers, keeps_tags, &outer) {
            return Verdict::Drop(reason);
        }
        if too_big {
            let ident = self.next_long_ident();
            return self.cut_later(frame, neighbor, Some(Cut { mtu: outer_mtu, ident }));
        }
        let Some(mac) = self.neighbors.at(neighbor).mac() else {
            x.event(seen.n, || Event::WaitsForNeighbor(port));
            return self.wait_for_neighbor(frame, neighbor, None);
        };
        set_addresses(frame, &link, mac);
        Verdict::Transmit(port)
    }

    /// The kind of a destination's tunnel. A connection keeps its method, but the kind is the
    /// destination's present one; of a destination that has none any more it is IPIP, as in the kernel.
    fn tunnel_of(&self, destination: DestIndex) -> Tunnel {
        match self.dests.at(destination).method() {
            ForwardingMethod::Tunnel(tunnel) => tunnel,
            ForwardingMethod::DirectRoute | ForwardingMethod::Masquerade => Tunnel::IpIp,
        }
    }

    /// An identification for the pieces of an IPv6 packet.
    fn next_long_ident(&mut self) -> u32 {
        u32::from(self.next_ident()) << 16 | u32::from(self.next_ident())
    }
}

fn set_addresses(frame: &mut Frame<'_>, link: &Link, mac: crate::addr::MacAddr) {
    let bytes = frame.bytes_mut();
    ethernet::set_dst(bytes, mac);
    ethernet::set_src(bytes, link.mac);
}

/// Puts the outer headers around the packet in a frame. The Ethernet addresses stay as they are, so that
/// errors about a packet that waits find back; tags stay if asked for.
fn encapsulate(
    frame: &mut Frame<'_>,
    headers: &Headers,
    keeps_tags: bool,
    outer: &Outer,
) -> Result<(), DropReason> {
    finish_checksum(frame, headers);
    // Ethernet padding behind the packet is none of the inner packet's.
    if !frame.set_len(headers.end()) {
        return Err(DropReason::SlotTooSmall);
    }
    let (dst, src) = (ethernet::dst(frame.bytes()), ethernet::src(frame.bytes()));
    let family = Family::of(outer.dst);
    let tags = if keeps_tags { headers.tags } else { ethernet::VlanTags::NONE };
    let l3 = usize::from(headers.l3);
    let link_len = ethernet::HEADER_LEN + tags.bytes_len();
    // Even without its tags a frame grows: an outer header is longer than two tags.
    let more = link_len + tunnel::overhead(family, outer.tunnel) - l3;
    frame.prepend(more).map_err(|_| DropReason::NoHeadroom)?;
    let bytes = frame.bytes_mut();
    ethernet::emit_header(bytes, dst, src, &tags, ethertype(family));
    tunnel::emit(&mut bytes[link_len..], outer, headers.family);
    Ok(())
}
