//! Sending a packet on: what all forwarding methods share, and which one a connection has.
//!
//! A forwarding method is one file beside this one and one line in `Director::forward`.

use core::net::IpAddr;

use super::cut::finish_checksum;
use super::fragments::is_too_big;
use super::inbound::Seen;
use super::{Director, Link};
use crate::addr::{Family, MacAddr};
use crate::command::ForwardingMethod;
use crate::dest::Hop;
use crate::drop::{DropReason, PassReason};
use crate::explain::{Event, Explain};
use crate::ids::{DestIndex, PortId};
use crate::io::{Frame, Verdict};
use crate::neighbor::NeighborIndex;
use crate::parse::{Headers, L4};
use crate::store::Cut;
use crate::wire::ethernet::VlanTags;
use crate::wire::icmp::{self, ErrorSpec, IcmpError};
use crate::wire::{ethernet, ipv4, ipv6, udp};

pub(super) mod dr;
mod nat;
mod tun;

pub(super) use nat::{rewrite, rewrite_plain};

/// The forwarding method of a connection: two bits of its flags. It keeps the one that it was made with,
/// whatever becomes of its destination (rule L5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Method {
    /// `-g`.
    Direct,
    /// `-i`.
    Tunnel,
    /// To no real server but to where the packet was sent (rule P11).
    Bypass,
    /// `-m`.
    Masquerade,
}

impl Method {
    /// The method of new connections to a destination.
    pub(super) fn of(method: ForwardingMethod) -> Method {
        match method {
            ForwardingMethod::DirectRoute => Method::Direct,
            ForwardingMethod::Tunnel(_) => Method::Tunnel,
            ForwardingMethod::Masquerade => Method::Masquerade,
        }
    }
}

/// Where a packet goes and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) destination: DestIndex,
    pub(super) method: Method,
    /// Whether the real server is reached on the virtual port, whichever its destination has.
    pub(super) own_port: bool,
    /// Whether the packet has a connection, or was scheduled alone.
    pub(super) connected: bool,
}

/// What the first hop of a packet that may leave is.
pub(super) struct Leaving {
    pub(super) port: PortId,
    /// On untagged links; see [`Director::neighbor_in_vlan`].
    pub(super) neighbor: NeighborIndex,
    pub(super) link: Link,
}

impl Director {
    /// Sends a packet on its way, in the kernel's order: route, TTL, size, neighbour. What a method gives as an
    /// error is a verdict that ends this way early.
    // Not left to the compiler: as a call it takes thirty instructions more.
    #[inline(always)]
    pub(super) fn forward<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        way: &Way,
        x: &mut X,
    ) -> Verdict {
        let sent = match way.method {
            Method::Direct | Method::Bypass => self.forward_direct(frame, seen, way, x),
            // Nobody said which kind of tunnel (rule Z2).
            Method::Tunnel if self.dests.at(way.destination).is_unbound() => {
                Err(Verdict::Drop(DropReason::UnboundTunnel))
            }
            Method::Tunnel => self.forward_tunnel(frame, seen, way, x),
            Method::Masquerade => self.forward_masqueraded(frame, seen, way, x),
        };
        let (Ok(verdict) | Err(verdict)) = sent;
        verdict
    }

    /// The first half of sending a packet on: its route and its TTL, which goes down (rules F1, F11, F12).
    #[inline(always)]
    fn leave<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        way: &Way,
        x: &mut X,
    ) -> Result<Leaving, Verdict> {
        let headers = seen.headers;
        let hop = match way.method {
            Method::Bypass => self.hop_past_servers(headers),
            Method::Direct | Method::Tunnel | Method::Masquerade => {
                self.dests.at(way.destination).hop
            }
        };
        x.event(seen.n, || Event::Forward(hop));
        let (port, neighbor) = match hop {
            Hop::Via { port, neighbor } => (port, neighbor),
            Hop::Local => return Err(Verdict::Pass(PassReason::LocalDestination)),
            Hop::Unreachable => {
                let (kind, reason) = (IcmpError::HostUnreachable, DropReason::NoRoute);
                return Err(self.refuse_to_forward(frame, headers, way, kind, reason));
            }
        };
        if headers.ttl <= 1 {
            let (kind, reason) = (IcmpError::TimeExceeded, DropReason::TtlExceeded);
            return Err(self.refuse_to_forward(frame, headers, way, kind, reason));
        }
        let packet = &mut frame.bytes_mut()[usize::from(headers.l3)..];
        match headers.family {
            Family::V4 => ipv4::decrement_ttl(packet),
            Family::V6 => ipv6::decrement_hop_limit(packet),
        };
        let Some(link) = self.link(port).copied() else {
            return Err(Verdict::Drop(DropReason::PortDown));
        };
        Ok(Leaving { port, neighbor, link })
    }

    /// The size of a packet that grows no more: whether it is too big for its link, and leaves in pieces.
    #[inline(always)]
    fn fit_link(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        way: &Way,
        mtu: u32,
    ) -> Result<bool, Verdict> {
        let (too_big, may_be_cut) = cut_rule(frame, seen, mtu);
        if too_big && !may_be_cut {
            let (kind, reason) = (IcmpError::TooBig { mtu }, DropReason::TooBig);
            return Err(self.refuse_to_forward(frame, seen.headers, way, kind, reason));
        }
        Ok(too_big)
    }

    /// The second half, for a packet that leaves as it is now: its neighbour, and the addresses of the
    /// frame; that of the neighbour is returned. A packet that is too big leaves in pieces.
    #[inline(always)]
    pub(super) fn depart<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        leaving: &Leaving,
        too_big: bool,
        x: &mut X,
    ) -> Result<MacAddr, Verdict> {
        let (headers, port) = (seen.headers, leaving.port);
        let Some(neighbor) = self.neighbor_in_vlan(frame, headers, port, leaving.neighbor) else {
            return Err(Verdict::Drop(DropReason::NeighborQueueFull));
        };
        let mac = self.mac_of(neighbor, seen, port, x);
        if too_big {
            finish_checksum(frame, headers);
            return Err(self.cut_later(frame, neighbor, seen.cut));
        }
        let Some(mac) = mac else {
            return Err(self.wait_for_neighbor(frame, neighbor, None));
        };
        address(frame, &headers.tags, port, &leaving.link, mac);
        Ok(mac)
    }

    /// The address of a packet's neighbour; that there is none yet is told.
    #[inline(always)]
    fn mac_of<X: Explain>(
        &self,
        neighbor: NeighborIndex,
        seen: &Seen<'_>,
        port: PortId,
        x: &mut X,
    ) -> Option<MacAddr> {
        let mac = self.neighbors.at(neighbor).mac();
        if mac.is_none() {
            x.event(seen.n, || Event::WaitsForNeighbor(port));
        }
        mac
    }

    /// Answers a packet of a connection with an ICMP error, which counts as an outgoing packet of the
    /// connection (rules F3, I4); not where the server knows another virtual end than the error quotes.
    #[cold]
    pub(super) fn refuse_to_forward(
        &mut self,
        frame: &mut Frame<'_>,
        headers: &Headers,
        way: &Way,
        kind: IcmpError,
        reason: DropReason,
    ) -> Verdict {
        let verdict = self.answer_error(frame, headers, kind, reason);
        let counts = way.connected && way.method != Method::Masquerade;
        if counts && matches!(verdict, Verdict::Reply(_)) {
            let bytes = frame.len() - usize::from(headers.l3);
            self.count_out(way.destination, bytes as u32);
        }
        verdict
    }

    /// The neighbour as seen from the packet's VLAN: tags are kept on the port they came in by.
    #[inline]
    pub(super) fn neighbor_in_vlan(
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

    /// Keeps a packet until its neighbour's address is known; of too many the oldest goes (rule F11).
    pub(super) fn wait_for_neighbor(
        &mut self,
        frame: &Frame<'_>,
        neighbor: NeighborIndex,
        cut: Option<Cut>,
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
        self.store.set_cut(parcel, cut);
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
        match self.error_source(headers) {
            Some(src) => self.answer_error_from(src, frame, headers, kind, reason),
            None => Verdict::Drop(reason),
        }
    }

    /// The same from any address.
    pub(super) fn answer_error_from(
        &mut self,
        src: IpAddr,
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
        let dst = headers.src();
        let spec = ErrorSpec { src, dst, kind, ident: self.next_ident() };
        match turn_into_error(frame, headers, link.mac, &spec) {
            Ok(()) => Verdict::Reply(frame.port()),
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// The address an error about a packet is sent from: the one the packet was sent to. Where that is not
    /// local (packets delivered by their mark) IPv4 sends none, IPv6 sends from an address of its own,
    /// as in the kernel.
    fn error_source(&self, headers: &Headers) -> Option<IpAddr> {
        let dst = headers.dst();
        match headers.family {
            _ if self.locals.find(dst).is_some() => Some(dst),
            Family::V4 => None,
            Family::V6 => {
                let (port, _) = self.routes.towards(headers.src())?;
                self.routes.own_address(port, headers.src())
            }
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
    mac: MacAddr,
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

/// Whether a packet is too big for a link and, if so, may leave in pieces: IPv4 without DF. One that came in
/// fragments is taken for too big, as it leaves in pieces in any case (rule F9).
#[inline]
pub(super) fn cut_rule(frame: &Frame<'_>, seen: &Seen<'_>, mtu: u32) -> (bool, bool) {
    let headers = seen.headers;
    if let Some(cut) = seen.cut {
        return (true, !is_too_big(headers, &cut, mtu, headers.dont_fragment));
    }
    let too_big = packet_len(frame, headers) > mtu;
    let whole = frame.offload.segments.is_none() && !headers.dont_fragment;
    (too_big, headers.family == Family::V4 && whole)
}

/// The longest IP packet that a frame will be on the wire: for a super-frame that of one segment.
fn packet_len(frame: &Frame<'_>, headers: &Headers) -> u32 {
    let Some(segments) = frame.offload.segments else { return headers.ip_len };
    u32::from(headers.l4 - headers.l3) + transport_len(headers) + u32::from(segments.size)
}

/// Bytes of the transport header of what a super-frame may hold.
fn transport_len(headers: &Headers) -> u32 {
    match headers.l4_header {
        L4::Tcp { header_len, .. } => u32::from(header_len),
        _ => udp::HEADER_LEN as u32,
    }
}

/// Writes the MAC addresses of the next hop; tags are left behind where the packet changes its port.
#[inline]
fn address(frame: &mut Frame<'_>, tags: &VlanTags, port: PortId, link: &Link, mac: MacAddr) {
    if !tags.is_empty() && frame.port() != port {
        frame.trim_front(tags.bytes_len());
    }
    set_addresses(frame, link, mac);
}

#[inline]
fn set_addresses(frame: &mut Frame<'_>, link: &Link, mac: MacAddr) {
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
