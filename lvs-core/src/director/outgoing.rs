//! Frames that are not the one lent: requests, announcements, packets that waited, pieces, errors about
//! packets that waited in vain.

use alloc::collections::VecDeque;
use core::net::IpAddr;

use super::Director;
use super::cut;
use super::forward::{ethertype, turn_into_error};
use super::segments;
use crate::addr::{Family, MacAddr};
use crate::drop::{DropReason, PassReason};
use crate::forward::tunnel;
use crate::ids::PortId;
use crate::io::{Frame, Offload, Verdict};
use crate::neighbor::NeighborIndex;
use crate::parse::{Parsed, parse_cut_off, parse_super};
use crate::store::{Cut, Parcel};
use crate::wire::arp::ArpPacket;
use crate::wire::ethernet::{self, VlanTags};
use crate::wire::icmp::{self, ErrorSpec, IcmpError};
use crate::wire::{ipv6, ndp};

/// One frame to be made, or several.
#[derive(Clone, Copy, Debug)]
enum Outgoing {
    /// Ask a neighbour for its address.
    Ask(NeighborIndex),
    /// Ask who else has a virtual address.
    Probe(PortId, IpAddr),
    /// Tell the link that a virtual address is here.
    Announce(PortId, IpAddr),
    /// A packet that waited for its neighbour.
    Stored(Parcel, NeighborIndex),
    /// The rest of a packet that leaves in pieces, from this byte of its payload on.
    Pieces(Parcel, NeighborIndex, u32),
    /// The rest of a super-frame that leaves through a tunnel as segments, from this one on.
    Segments(Parcel, NeighborIndex, u16),
    /// Host unreachable, about a packet that waited in vain.
    Unreachable(Parcel),
    /// A frame that is ready, by this port.
    Ready(Parcel, PortId),
    /// The rest of a packet that was kept and is the host's after all, from this byte of its payload on.
    ToHost(Parcel, PassReason, u32),
}

/// What waits to be sent, in a fixed number of places.
#[derive(Debug)]
pub(super) struct OutgoingQueue {
    queue: VecDeque<Outgoing>,
    capacity: usize,
}

impl OutgoingQueue {
    pub(super) fn new(capacity: u32) -> OutgoingQueue {
        let capacity = capacity as usize;
        OutgoingQueue { queue: VecDeque::with_capacity(capacity), capacity }
    }

    /// Bytes that a queue of this capacity takes.
    pub(super) fn memory(capacity: u32) -> usize {
        capacity as usize * size_of::<Outgoing>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn push(&mut self, outgoing: Outgoing) -> bool {
        let fits = self.queue.len() < self.capacity;
        if fits {
            self.queue.push_back(outgoing);
        }
        fits
    }
}

impl Director {
    /// Fills `frame` with the next frame of the director's own and sets its verdict; `false` if there is
    /// none. Call it until then, with empty frames that have headroom.
    ///
    /// The verdict is `Transmit`; or `Pass`, for fragments that were kept and turn out to be the host's,
    /// which [`Frame::port`] then says the port of.
    pub fn poll_transmit(&mut self, now: crate::time::Instant, frame: &mut Frame<'_>) -> bool {
        self.advance(now);
        while let Some(outgoing) = self.outgoing.queue.pop_front() {
            frame.set_len(0);
            frame.offload = Offload::default();
            let made = match outgoing {
                Outgoing::ToHost(parcel, reason, offset) => self
                    .make_piece_for_host(frame, parcel, reason, offset as usize)
                    .map(|()| Verdict::Pass(reason)),
                outgoing => self.make(outgoing, frame).map(Verdict::Transmit),
            };
            match made {
                Ok(verdict) => {
                    self.stats.originated += 1;
                    frame.verdict = verdict;
                    return true;
                }
                Err(reason) => frame.verdict = Verdict::Drop(reason),
            }
        }
        false
    }

    /// Takes notice of a packet that the director's own host sends: it may move a connection's state,
    /// as a RST of a local real server does (rule C7).
    ///
    /// What a local real server behind masquerading sends is rewritten, if the caller sends what is in
    /// `frame` afterwards; its length stays.
    pub fn observe_output(&mut self, now: crate::time::Instant, frame: &mut Frame<'_>) {
        self.advance(now);
        if let Parsed::Ip(headers) = parse_super(frame.bytes()) {
            self.observe(frame, &headers);
        }
    }

    /// Asks for a neighbour's address.
    pub(super) fn ask(&mut self, neighbor: NeighborIndex) {
        self.outgoing.push(Outgoing::Ask(neighbor));
    }

    /// Sends a stored packet; in pieces if it is too big for the link. Returns `false`, and forgets the
    /// packet, if too much waits to be sent already.
    #[must_use]
    pub(super) fn send_stored(&mut self, parcel: Parcel, neighbor: NeighborIndex) -> bool {
        let port = self.neighbors.at(neighbor).port;
        let mtu = self.piece_mtu(parcel, port) as usize;
        let most = self.store.cut(parcel).map_or(mtu, |cut| mtu.min(cut.whole as usize));
        let whole = self.store.offload(parcel).segments.is_some()
            || self.store.len(parcel) <= most + ethernet::HEADER_LEN
            || !self.is_longer_than(parcel, most);
        let outgoing = if self.store.cut(parcel).is_some_and(|cut| cut.segments) {
            Outgoing::Segments(parcel, neighbor, 0)
        } else if whole {
            Outgoing::Stored(parcel, neighbor)
        } else {
            Outgoing::Pieces(parcel, neighbor, 0)
        };
        self.push_parcel(outgoing, parcel)
    }

    /// Sends a frame as it is, from a copy; `false` if there is no room.
    pub(super) fn send_copy(&mut self, frame: &Frame<'_>, port: PortId) -> bool {
        let Some(parcel) = self.store.put(frame) else { return false };
        self.push_parcel(Outgoing::Ready(parcel, port), parcel)
    }

    /// Leaves a kept packet to the host after all, from a copy; `false` if there is no room.
    pub(super) fn return_to_host(
        &mut self,
        frame: &Frame<'_>,
        cut: Cut,
        reason: PassReason,
    ) -> bool {
        let Some(parcel) = self.store.put(frame) else { return false };
        self.store.set_cut(parcel, Some(cut));
        self.push_parcel(Outgoing::ToHost(parcel, reason, 0), parcel)
    }

    /// A neighbour stayed silent: each sender that waits is told (rule F11).
    pub(super) fn give_up(&mut self, neighbor: NeighborIndex) {
        while let Some(parcel) = self.neighbors.at_mut(neighbor).waiting.pop(&self.store) {
            if !self.push_parcel(Outgoing::Unreachable(parcel), parcel) {
                self.lose_absorbed(DropReason::StoreFull);
            }
        }
    }

    /// Tells every link that a virtual address is here.
    pub(super) fn announce(&mut self, addr: IpAddr) {
        for i in 0..self.routes.ports().len() {
            let port = self.routes.ports()[i].id;
            self.outgoing.push(Outgoing::Announce(port, addr));
        }
    }

    /// Asks on every link who else has one of the virtual addresses.
    pub(super) fn probe_virtual_addresses(&mut self) {
        for port in self.routes.ports() {
            for local in self.locals.iter().filter(|local| local.by_command) {
                self.outgoing.push(Outgoing::Probe(port.id, local.addr));
            }
        }
    }

    /// A packet that was absorbed in an earlier burst is dropped after all.
    pub(super) fn lose_absorbed(&mut self, reason: DropReason) {
        self.stats.absorbed -= 1;
        self.count_drop(reason, None, None);
    }

    fn push_parcel(&mut self, outgoing: Outgoing, parcel: Parcel) -> bool {
        let fits = self.outgoing.push(outgoing);
        if !fits {
            self.store.free(parcel);
        }
        fits
    }

    fn make(&mut self, outgoing: Outgoing, frame: &mut Frame<'_>) -> Result<PortId, DropReason> {
        match outgoing {
            Outgoing::Ask(neighbor) => {
                let entry = self.neighbors.at(neighbor);
                let (port, tags, addr, mac) = (entry.port, entry.tags, entry.addr, entry.mac());
                self.make_request(frame, port, &tags, addr, mac)
            }
            Outgoing::Probe(port, addr) => {
                self.make_request(frame, port, &VlanTags::NONE, addr, None)
            }
            Outgoing::Announce(port, addr) => self.make_announcement(frame, port, addr),
            Outgoing::Stored(parcel, neighbor) => {
                let made = self
                    .copy_stored(frame, parcel)
                    .and_then(|()| self.address(frame, parcel, neighbor));
                self.store.free(parcel);
                made
            }
            Outgoing::Pieces(parcel, neighbor, offset) => {
                self.make_piece(frame, parcel, neighbor, offset as usize)
            }
            Outgoing::Segments(parcel, neighbor, number) => {
                self.make_segment(frame, parcel, neighbor, number)
            }
            Outgoing::Unreachable(parcel) => {
                let port = self.store.port(parcel);
                let made = self
                    .copy_quote(frame, parcel)
                    .and_then(|()| self.make_unreachable(frame, port));
                self.store.free(parcel);
                made
            }
            Outgoing::Ready(parcel, port) => {
                let made = self.copy_stored(frame, parcel).map(|()| port);
                self.store.free(parcel);
                made
            }
            // `poll_transmit` makes these itself.
            Outgoing::ToHost(..) => Err(DropReason::Undecided),
        }
    }

    /// An ARP request or neighbour solicitation; to the whole link, or to `mac` to confirm it.
    fn make_request(
        &self,
        frame: &mut Frame<'_>,
        port: PortId,
        tags: &VlanTags,
        addr: IpAddr,
        mac: Option<MacAddr>,
    ) -> Result<PortId, DropReason> {
        let link = self.link(port).ok_or(DropReason::PortDown)?;
        let own = self.routes.own_address(port, addr).filter(|own| *own != addr);
        frame_of(frame, REQUEST_LEN)?;
        let len = match addr {
            IpAddr::V4(target) => {
                let request = match own {
                    Some(IpAddr::V4(own)) => ArpPacket::request(link.mac, own, target),
                    _ => ArpPacket::probe(link.mac, target),
                };
                request.emit_frame(frame.bytes_mut(), mac.unwrap_or(MacAddr::BROADCAST), tags)
            }
            IpAddr::V6(target) => {
                let source = match own {
                    Some(IpAddr::V6(own)) => own,
                    _ => core::net::Ipv6Addr::UNSPECIFIED,
                };
                let group = ndp::solicited_node(target);
                let dst = if mac.is_some() { target } else { group };
                let to = mac.unwrap_or(ndp::multicast_mac(group));
                let bytes = frame.bytes_mut();
                let at = ethernet::emit_header(bytes, to, link.mac, tags, ethernet::IPV6);
                let solicit = ndp::Solicit { target, source, source_mac: link.mac, dst };
                at + solicit.emit(&mut bytes[at..])
            }
        };
        frame.set_len(len);
        Ok(port)
    }

    fn make_announcement(
        &self,
        frame: &mut Frame<'_>,
        port: PortId,
        addr: IpAddr,
    ) -> Result<PortId, DropReason> {
        let link = self.link(port).ok_or(DropReason::PortDown)?;
        frame_of(frame, REQUEST_LEN)?;
        let none = VlanTags::NONE;
        let len = match addr {
            IpAddr::V4(addr) => {
                let packet = ArpPacket::gratuitous(link.mac, addr);
                packet.emit_frame(frame.bytes_mut(), MacAddr::BROADCAST, &none)
            }
            IpAddr::V6(addr) => {
                let bytes = frame.bytes_mut();
                let to = ndp::multicast_mac(ndp::ALL_NODES);
                let at = ethernet::emit_header(bytes, to, link.mac, &none, ethernet::IPV6);
                at + ndp::Advert::unsolicited(addr, link.mac).emit(&mut bytes[at..])
            }
        };
        frame.set_len(len);
        Ok(port)
    }

    /// Copies as much of a packet as there is room for, which an error about it quotes.
    fn copy_quote(&self, frame: &mut Frame<'_>, parcel: Parcel) -> Result<(), DropReason> {
        frame_of(frame, self.store.len(parcel).min(frame.capacity()))?;
        self.store.read(parcel, 0, frame.bytes_mut());
        Ok(())
    }

    fn copy_stored(&self, frame: &mut Frame<'_>, parcel: Parcel) -> Result<(), DropReason> {
        frame_of(frame, self.store.len(parcel))?;
        self.store.read(parcel, 0, frame.bytes_mut());
        frame.offload = self.store.offload(parcel);
        Ok(())
    }

    fn make_piece(
        &mut self,
        frame: &mut Frame<'_>,
        parcel: Parcel,
        neighbor: NeighborIndex,
        offset: usize,
    ) -> Result<PortId, DropReason> {
        let mtu = self.piece_mtu(parcel, self.neighbors.at(neighbor).port);
        let next = cut::piece(&self.store, parcel, mtu, offset, frame);
        let made = match next {
            Ok(_) => self.address(frame, parcel, neighbor),
            Err(reason) => Err(reason),
        };
        match next {
            Ok(Some(next)) if made.is_ok() => {
                let rest = Outgoing::Pieces(parcel, neighbor, next as u32);
                self.outgoing.queue.push_front(rest);
            }
            _ => self.store.free(parcel),
        }
        made
    }

    fn make_segment(
        &mut self,
        frame: &mut Frame<'_>,
        parcel: Parcel,
        neighbor: NeighborIndex,
        number: u16,
    ) -> Result<PortId, DropReason> {
        let ident = self.next_ident();
        let next = segments::write(&self.store, parcel, number, ident, frame);
        let made = next.and_then(|_| self.address(frame, parcel, neighbor));
        match next {
            Ok(Some(next)) if made.is_ok() => {
                self.outgoing.queue.push_front(Outgoing::Segments(parcel, neighbor, next));
            }
            _ => self.store.free(parcel),
        }
        made
    }

    /// The next piece of a packet for the host, or the whole where that is no longer than it may be.
    fn make_piece_for_host(
        &mut self,
        frame: &mut Frame<'_>,
        parcel: Parcel,
        reason: PassReason,
        offset: usize,
    ) -> Result<(), DropReason> {
        frame.set_port(self.store.port(parcel));
        let cut = self.store.cut(parcel);
        let most = cut.map_or(usize::MAX, |cut| cut.whole as usize);
        if !self.is_longer_than(parcel, most) {
            let made = self.copy_stored(frame, parcel);
            self.store.free(parcel);
            return made;
        }
        let next = cut::piece(&self.store, parcel, cut.map_or(0, |cut| cut.mtu), offset, frame);
        match next {
            Ok(Some(next)) => {
                let rest = Outgoing::ToHost(parcel, reason, next as u32);
                self.outgoing.queue.push_front(rest);
            }
            _ => self.store.free(parcel),
        }
        next.map(|_| ())
    }

    /// Writes the MAC addresses of the next hop; tags stay on the port they came in by.
    fn address(
        &self,
        frame: &mut Frame<'_>,
        parcel: Parcel,
        neighbor: NeighborIndex,
    ) -> Result<PortId, DropReason> {
        let entry = self.neighbors.at(neighbor);
        let mac = entry.mac().ok_or(DropReason::NeighborSilent)?;
        let link = self.link(entry.port).ok_or(DropReason::PortDown)?;
        let (tags, ..) = ethernet::tags(frame.bytes()).map_err(|_| DropReason::VlanTruncated)?;
        if self.store.port(parcel) != entry.port {
            frame.trim_front(tags.bytes_len());
        }
        let bytes = frame.bytes_mut();
        ethernet::set_dst(bytes, mac);
        ethernet::set_src(bytes, link.mac);
        Ok(entry.port)
    }

    /// Host unreachable from the director's own address (rule F11).
    fn make_unreachable(
        &mut self,
        frame: &mut Frame<'_>,
        port: PortId,
    ) -> Result<PortId, DropReason> {
        const REASON: DropReason = DropReason::NeighborSilent;
        let whole = frame.len();
        let tunnelled = self.unwrap_tunnel(frame);
        let outer_len = whole - frame.len();
        let Parsed::Ip(headers) = parse_cut_off(frame.bytes()) else { return Err(REASON) };
        if tunnelled.is_some_and(|outer| (outer, headers.family) != (Family::V4, Family::V4)) {
            // Of these the kernel learns only from the outer packet, which was its own.
            return Err(REASON);
        }
        let (headers, masqueraded) = self.untranslate(frame, headers);
        let link = self.link(port).copied().ok_or(DropReason::PortDown)?;
        if !headers.may_be_answered_with_error() {
            return Err(REASON);
        }
        if !self.pacer.allow(self.now, headers.src()) {
            self.stats.icmp_suppressed += 1;
            return Err(REASON);
        }
        let dst = headers.src();
        // The kernel tells itself about the outer packet, and the client from the virtual address (F5).
        // An IPv6 one comes from the virtual address in any case.
        let from_own = tunnelled.is_none() && !masqueraded && headers.family == Family::V4;
        let own = self.routes.own_address(port, dst).filter(|_| from_own);
        let src = own.unwrap_or(headers.dst());
        let ident = self.next_ident();
        let spec = ErrorSpec { src, dst, kind: IcmpError::HostUnreachable, ident };
        turn_into_error(frame, &headers, link.mac, &spec)?;
        if !masqueraded {
            // As everything that the host sends about a connection's packet, it counts as an answer.
            let hash = self.conns.hash(&headers.flow);
            if let Some(id) = self.find_live(&headers.flow, hash, None) {
                let (bytes, destination) =
                    (frame.len() - usize::from(headers.l3), self.conns.dest(id));
                self.count_out(destination, bytes as u32);
                if tunnelled.is_some() {
                    // And so does what the kernel took out of the error that it told itself.
                    let quoted = icmp::quote_len_max(headers.family).saturating_sub(outer_len);
                    self.count_out(destination, headers.ip_len.min(quoted as u32));
                }
            }
        }
        Ok(port)
    }

    /// Takes the outer headers of one of our tunnels off; returns their family, `None` if there are none.
    fn unwrap_tunnel(&self, frame: &mut Frame<'_>) -> Option<Family> {
        let (tags, _, l3) = ethernet::tags(frame.bytes()).ok()?;
        let inside = tunnel::look_inside(&frame.bytes()[l3..])?;
        if !self.routes.is_own(inside.src) {
            return None;
        }
        let (dst, src) = (ethernet::dst(frame.bytes()), ethernet::src(frame.bytes()));
        frame.trim_front(inside.at);
        ethernet::emit_header(frame.bytes_mut(), dst, src, &tags, ethertype(inside.family));
        Some(Family::of(inside.src))
    }

    /// The longest IP packet in which a stored one may leave by a port.
    fn piece_mtu(&self, parcel: Parcel, port: PortId) -> u32 {
        let link = self.link(port).map_or(u32::MAX, |link| link.mtu);
        self.store.cut(parcel).map_or(link, |cut| cut.mtu.min(link))
    }

    /// Whether the IP packet in a stored frame is longer than `mtu`.
    fn is_longer_than(&self, parcel: Parcel, mtu: usize) -> bool {
        let mut head = [0; 64];
        self.store.read(parcel, 0, &mut head);
        match ethernet::tags(&head) {
            Ok((_, kind, l3)) if kind == ethertype(Family::V4) => {
                usize::from(u16::from_be_bytes([head[l3 + 2], head[l3 + 3]])) > mtu
            }
            // Of IPv6 only our own outer packets may be cut, and what came in fragments.
            Ok((.., l3)) if self.store.cut(parcel).is_some() => {
                let payload_len = u16::from_be_bytes([head[l3 + 4], head[l3 + 5]]);
                ipv6::HEADER_LEN + usize::from(payload_len) > mtu
            }
            _ => false,
        }
    }
}

/// Bytes that hold any request or announcement with its tags.
const REQUEST_LEN: usize = ethernet::HEADER_LEN + 8 + ndp::LEN;

fn frame_of(frame: &mut Frame<'_>, len: usize) -> Result<(), DropReason> {
    if frame.set_len(len) { Ok(()) } else { Err(DropReason::SlotTooSmall) }
}
