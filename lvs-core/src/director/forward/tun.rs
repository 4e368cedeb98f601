//! Tunnels: the packet leaves inside another one, addressed to the real server.

use super::{Leaving, Way, ethertype, packet_len, set_addresses, transport_len};
use crate::addr::Family;
use crate::command::{ForwardingMethod, Tunnel};
use crate::director::Director;
use crate::director::cut::finish_checksum;
use crate::director::fragments::is_too_big;
use crate::director::inbound::Seen;
use crate::drop::DropReason;
use crate::explain::Explain;
use crate::forward::tunnel::{self, Outer};
use crate::ids::DestIndex;
use crate::io::{Frame, SegmentKind, Verdict};
use crate::parse::{Headers, L4};
use crate::store::Cut;
use crate::wire::icmp::IcmpError;
use crate::wire::{ethernet, ipv4, ipv6};

/// The smallest MTU of an IPv4 link (RFC 791 §3.2); a tunnel that leaves less is none.
const MTU_MIN_V4: u32 = 68;
/// The longest IP packet.
const IP_LEN_MAX: u32 = 0xffff;

/// What a tunnel has room for.
struct Room {
    /// Of the outer packet.
    family: Family,
    /// The longest outer packet.
    outer_mtu: u32,
    overhead: u32,
    /// Whether the packet inside must not be fragmented, and is asked.
    dont_fragment: bool,
}

impl Director {
    /// Sends a packet through its destination's tunnel (rules F1 to F4, F6, F7).
    #[inline(never)]
    pub(super) fn forward_tunnel<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        way: &Way,
        x: &mut X,
    ) -> Result<Verdict, Verdict> {
        let headers = seen.headers;
        let Leaving { port, neighbor, link } = self.leave(frame, seen, way, x)?;
        if !can_be_segmented(frame, headers) {
            return Err(Verdict::Drop(DropReason::TunnelSuperFrame));
        }
        let to = self.dests.at(way.destination).addr().addr;
        let Some(from) = self.routes.own_address(port, to) else {
            let (kind, reason) = (IcmpError::HostUnreachable, DropReason::NoRoute);
            return Err(self.refuse_to_forward(frame, headers, way, kind, reason));
        };
        let tunnel = self.tunnel_of(way.destination);
        let now = self.now;
        let outer_mtu = self.dests.at_mut(way.destination).path_mtu(link.mtu, now);
        let dont_fragment = headers.dont_fragment && self.tunables.pmtu_disc;
        let overhead = tunnel::overhead(Family::of(to), tunnel) as u32;
        let room = Room { family: Family::of(to), outer_mtu, overhead, dont_fragment };
        let cut = match self.fit(frame, seen, &room) {
            Ok(cut) => cut,
            Err(Some(kind)) => {
                let reason = DropReason::TooBig;
                return Err(self.refuse_to_forward(frame, headers, way, kind, reason));
            }
            Err(None) => return Err(Verdict::Drop(DropReason::TooBig)),
        };
        let Some(neighbor) = self.neighbor_in_vlan(frame, headers, port, neighbor) else {
            return Err(Verdict::Drop(DropReason::NeighborQueueFull));
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
        encapsulate(frame, headers, keeps_tags, &outer).map_err(Verdict::Drop)?;
        let mac = self.mac_of(neighbor, seen, port, x);
        if cut.is_some() {
            return Err(self.cut_later(frame, neighbor, cut));
        }
        let Some(mac) = mac else {
            return Err(self.wait_for_neighbor(frame, neighbor, None));
        };
        set_addresses(frame, &link, mac);
        Ok(Verdict::Transmit(port))
    }

    /// How a packet leaves through a tunnel, in pieces or (`None`) whole; or why it does not, which the sender is
    /// told unless no packet could.
    fn fit(
        &mut self,
        frame: &Frame<'_>,
        seen: &Seen<'_>,
        room: &Room,
    ) -> Result<Option<Cut>, Option<IcmpError>> {
        let Room { family, outer_mtu, overhead, dont_fragment } = *room;
        let headers = seen.headers;
        let mtu = outer_mtu.saturating_sub(overhead);
        let least = match family {
            Family::V4 => MTU_MIN_V4,
            Family::V6 => ipv6::MTU_MIN as u32 - overhead,
        };
        let (len, is_super) = (packet_len(frame, headers), frame.offload.segments.is_some());
        if mtu < least || len + overhead > IP_LEN_MAX {
            return Err(None);
        }
        let (refused, may_be_long) = match seen.cut {
            Some(came) => (is_too_big(headers, &came, mtu, dont_fragment), true),
            None => {
                let long = len > mtu;
                // What is still to be cut into segments is not cut into pieces besides.
                (long && (headers.family == Family::V6 || dont_fragment || is_super), long)
            }
        };
        if refused {
            if is_super && !dont_fragment {
                return Err(None);
            }
            return Err(Some(IcmpError::TooBig { mtu }));
        }
        if is_super {
            return Ok(Some(Cut::segments()));
        }
        if !may_be_long {
            return Ok(None);
        }
        let outer = Cut::outer(outer_mtu, self.next_long_ident());
        Ok(Some(match seen.cut {
            Some(came) => cut_of_whole(came, headers.family, outer, room),
            None => outer,
        }))
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

/// How the outer packet of one that came in fragments is cut: no longer than those, its own headers included
/// (rule F9). Where the families differ the kernel forgets their length.
fn cut_of_whole(came: Cut, inner: Family, outer: Cut, room: &Room) -> Cut {
    let Room { family, overhead, .. } = *room;
    let ip_len = match family {
        Family::V4 => ipv4::HEADER_LEN,
        Family::V6 => ipv6::HEADER_LEN,
    };
    let mut cut = Cut { parts: came.parts, ..outer };
    if inner == family {
        (cut.whole, cut.mtu) = (came.whole.min(outer.whole), came.mtu.min(outer.mtu));
    }
    if cut.parts.first > 0 {
        // What stands in front of the first piece now is part of what it carries.
        let more = came.front + (overhead as usize - ip_len) as u16;
        cut.parts.first = cut.parts.first.saturating_add(more);
    }
    cut
}

/// Whether a frame, if it is a super-frame, can be cut into segments.
fn can_be_segmented(frame: &Frame<'_>, headers: &Headers) -> bool {
    let Some(segments) = frame.offload.segments else { return true };
    let kind = match (headers.l4_header, headers.family) {
        (L4::Tcp { .. }, Family::V4) => SegmentKind::Tcp4,
        (L4::Tcp { .. }, Family::V6) => SegmentKind::Tcp6,
        (L4::Udp, _) => SegmentKind::Udp,
        _ => return false,
    };
    segments.kind == kind && segments.size > 0
}

/// Puts the outer headers around the packet in a frame. The Ethernet addresses stay as they are, so that
/// errors about a packet that waits find back; tags stay if asked for.
fn encapsulate(
    frame: &mut Frame<'_>,
    headers: &Headers,
    keeps_tags: bool,
    outer: &Outer,
) -> Result<(), DropReason> {
    if let Some(segments) = &mut frame.offload.segments {
        // What the backend says may be rounded; a segment repeats exactly these.
        segments.header_len = headers.l4 + transport_len(headers) as u16;
    } else {
        finish_checksum(frame, headers);
    }
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
    let end = frame.offload.segments.map_or(frame.len(), |segments| {
        frame.len().min(usize::from(segments.header_len) + usize::from(segments.size))
    });
    let bytes = frame.bytes_mut();
    ethernet::emit_header(bytes, dst, src, &tags, ethertype(family));
    // Of a super-frame these are the headers of its first segment.
    tunnel::emit(&mut bytes[link_len..end], outer, headers.family);
    Ok(())
}
