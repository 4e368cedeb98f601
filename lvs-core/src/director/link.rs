//! ARP and neighbour discovery: answering for virtual addresses, learning neighbours, and finding
//! stations that answer for an address that is ours.

use core::net::{IpAddr, Ipv6Addr};

use super::Director;
use crate::addr::{Family, MacAddr};
use crate::drop::{DropReason, PassReason};
use crate::flow::Protocol;
use crate::io::{Frame, Verdict};
use crate::listing::AddressConflict;
use crate::neighbor::NeighborIndex;
use crate::parse::{Headers, L4};
use crate::wire::arp::{ArpOp, ArpPacket};
use crate::wire::ethernet::{self, VlanTags};
use crate::wire::ndp::{self, NdpMessage};

/// Conflicts that are remembered.
pub(super) const CONFLICTS_MAX: usize = 64;

const NEIGHBOR_SOLICIT: u8 = 135;
const NEIGHBOR_ADVERT: u8 = 136;

/// Whether a packet has to be looked at as a neighbour message.
pub(super) fn may_be_neighbor_message(headers: &Headers) -> bool {
    // RFC 6980 §5: none comes in fragments.
    headers.protocol == Protocol::ICMPV6
        && headers.family == Family::V6
        && headers.fragment.is_none()
        && matches!(headers.l4_header, L4::Icmp { kind: NEIGHBOR_SOLICIT | NEIGHBOR_ADVERT, .. })
}

impl Director {
    pub(super) fn arp(&mut self, frame: &mut Frame<'_>, tags: &VlanTags, l3: u16) -> Verdict {
        let packet = match ArpPacket::parse(&frame.bytes()[usize::from(l3)..]) {
            Ok(packet) => packet,
            Err(reason) => return Verdict::Drop(reason),
        };
        let Some(link) = self.link(frame.port()).copied() else {
            return Verdict::Pass(PassReason::Arp);
        };
        if packet.sender_mac == link.mac {
            return Verdict::Pass(PassReason::Arp);
        }
        if !packet.is_probe() {
            self.hear(frame, tags, packet.sender_ip.into(), packet.sender_mac);
        }
        let asked = packet.op == ArpOp::Request && self.answers_for(packet.target_ip.into());
        if !asked || packet.is_gratuitous() {
            return Verdict::Pass(PassReason::Arp);
        }
        let reply = packet.reply(link.mac);
        let len = ethernet::HEADER_LEN + tags.bytes_len() + crate::wire::arp::LEN;
        if !frame.set_len(len) {
            return Verdict::Drop(DropReason::SlotTooSmall);
        }
        reply.emit_frame(frame.bytes_mut(), packet.sender_mac, tags);
        Verdict::Reply(frame.port())
    }

    pub(super) fn neighbor_message(&mut self, frame: &mut Frame<'_>, headers: &Headers) -> Verdict {
        let l3 = usize::from(headers.l3);
        let packet = &frame.bytes()[l3..headers.end().min(frame.len())];
        let message = match ndp::parse(packet, usize::from(headers.l4) - l3) {
            Ok(message) => message,
            Err(reason) => return Verdict::Drop(reason),
        };
        match message {
            NdpMessage::Solicit { target, source, source_mac } => {
                if let Some(mac) = source_mac {
                    self.hear(frame, &headers.tags, source.into(), mac);
                }
                self.answer_solicitation(frame, headers, target, source)
            }
            NdpMessage::Advert { target, mac: Some(mac), .. } => {
                self.hear(frame, &headers.tags, target.into(), mac);
                Verdict::Pass(PassReason::Ndp)
            }
            _ => Verdict::Pass(PassReason::Ndp),
        }
    }

    fn answer_solicitation(
        &mut self,
        frame: &mut Frame<'_>,
        headers: &Headers,
        target: Ipv6Addr,
        source: Ipv6Addr,
    ) -> Verdict {
        let Some(link) = self.link(frame.port()).copied() else {
            return Verdict::Pass(PassReason::Ndp);
        };
        if !self.answers_for(target.into()) {
            return Verdict::Pass(PassReason::Ndp);
        }
        let advert = ndp::Advert::answer(target, link.mac, source);
        let to = if source.is_unspecified() {
            ndp::multicast_mac(ndp::ALL_NODES)
        } else {
            ethernet::src(frame.bytes())
        };
        // The advertisement is longer than a solicitation without options.
        if !frame.set_len(usize::from(headers.l3) + ndp::LEN) {
            return Verdict::Drop(DropReason::SlotTooSmall);
        }
        let bytes = frame.bytes_mut();
        let at = ethernet::emit_header(bytes, to, link.mac, &headers.tags, ethernet::IPV6);
        let len = advert.emit(&mut bytes[at..]);
        frame.set_len(at + len);
        frame.offload = crate::io::Offload::default();
        Verdict::Reply(frame.port())
    }

    /// A station said that an address is its own.
    fn hear(&mut self, frame: &Frame<'_>, tags: &VlanTags, addr: IpAddr, mac: MacAddr) {
        let port = frame.port();
        if self.locals.find(addr).is_some_and(|local| local.by_command) {
            self.note_conflict(AddressConflict { addr, mac, port, count: 1 });
        }
        if let Some(neighbor) = self.neighbors.find(port, &tags.without_priority(), addr) {
            self.neighbors.learn(neighbor, mac, self.now);
            self.release(neighbor);
        }
    }

    fn note_conflict(&mut self, conflict: AddressConflict) {
        if self.links.iter().flatten().any(|link| link.mac == conflict.mac) {
            return;
        }
        let same = |c: &AddressConflict| {
            (c.addr, c.mac, c.port) == (conflict.addr, conflict.mac, conflict.port)
        };
        match self.conflicts.iter().position(same) {
            Some(known) => self.conflicts[known].count += 1,
            None if self.conflicts.len() < CONFLICTS_MAX => self.conflicts.push(conflict),
            None => {}
        }
    }

    fn answers_for(&self, addr: IpAddr) -> bool {
        self.locals.find(addr).is_some_and(|local| local.answer)
    }

    /// Sends the packets that waited for a neighbour.
    fn release(&mut self, neighbor: NeighborIndex) {
        while let Some(parcel) = self.neighbors.at_mut(neighbor).waiting.pop(&self.store) {
            if !self.send_stored(parcel, neighbor) {
                self.lose_absorbed(DropReason::StoreFull);
            }
        }
    }
}
