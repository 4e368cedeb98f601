//! The director's own host: what it does with the frames that the director leaves to it.
//!
//! Packets to a local address reach its stack, which answers where nobody listens (RST, port unreachable,
//! echo reply); all others are forwarded.

mod forward;
mod fragments;
pub(crate) mod sysctl;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{EtherType, Ethernet2Header};
use lvs_core::command::IcmpPacing;
use lvs_core::drop::PassReason;
use lvs_core::flow::Protocol;
use lvs_core::io::mem::PassedFrame;
use lvs_core::io::{Frame, HEADROOM_DEFAULT, Verdict};
use lvs_core::pace::Pacer;
use lvs_core::parse::{Parsed, parse};
use lvs_core::time::Instant;
use lvs_host::{StandIn, concerns_the_host};

use crate::net::Network;
use crate::scenario::Side;
use forward::Trouble;
use fragments::Fragments;
use sysctl::Sysctls;

const ETHERNET: usize = 14;

/// The host.
#[derive(Debug)]
pub(crate) struct Host<'n> {
    network: &'n Network,
    pub(crate) sysctls: Sysctls,
    stand_in: StandIn,
    fragments: Fragments,
    ident: u16,
}

/// What the host did with a frame.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Handled {
    /// Its own stack got the packet.
    pub(crate) delivered: bool,
    /// What it sent.
    pub(crate) sent: Vec<HostFrame>,
}

/// A frame that the host sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HostFrame {
    pub(crate) side: Side,
    pub(crate) bytes: Vec<u8>,
    /// Made by the host itself, not forwarded: the director takes notice of it (rule C7).
    pub(crate) own: bool,
}

impl<'n> Host<'n> {
    pub(crate) fn new(network: &'n Network) -> Host<'n> {
        // The recordings were made without pacing.
        let unpaced = IcmpPacing { enabled: false, ..IcmpPacing::default() };
        let stand_in = StandIn::new(Pacer::new(1, unpaced));
        Host {
            network,
            sysctls: Sysctls::default(),
            stand_in,
            fragments: Fragments::default(),
            ident: 0x8000,
        }
    }

    /// Whether a frame passes the host's checks that stand before everything else: nobody else may use
    /// the host's own addresses, unless `accept_local` says so; and where the host does not forward, what
    /// is for others ends here, the answers of masqueraded servers included.
    pub(crate) fn accepts(&self, side: Side, frame: &[u8]) -> bool {
        let Some((source, destination)) = ends(frame) else { return true };
        let network = self.network;
        let spoofs = source.is_ipv4() && network.is_local(source);
        let for_us = network.is_local(destination)
            || network.is_broadcast(destination)
            || destination.is_multicast()
            || network.transparent().is_some();
        (!spoofs || self.sysctls.accepts_local(side))
            && (for_us || self.sysctls.forwards(destination.is_ipv6()))
    }

    /// Takes a frame that the director left to the host.
    pub(crate) fn take(&mut self, now: Instant, passed: &PassedFrame) -> Handled {
        let (side, frame) = (Side::of(passed.port), passed.bytes.as_slice());
        let Some((source, destination)) = ends(frame) else { return Handled::default() };
        let packet = &frame[ETHERNET..];
        if passed.reason == PassReason::FragmentTimeout {
            return self.tell_of_timeout(side, packet, (source, destination));
        }
        if self.network.is_local(destination) {
            let Some(frame) = self.fragments.whole(frame) else { return Handled::default() };
            return self.deliver(now, side, passed.reason, &frame);
        }
        if self.network.is_broadcast(destination) {
            // It reaches the stack, which answers nothing that was sent to everybody.
            return Handled { delivered: is_known(packet), sent: Vec::new() };
        }
        if self.network.transparent().is_some() && concerns_the_host(passed.reason) {
            // Delivered by its mark. Nothing is sent from an address that is not the host's own.
            return Handled { delivered: is_known(packet), sent: Vec::new() };
        }
        if destination.is_multicast() || !self.sysctls.forwards(destination.is_ipv6()) {
            return Handled::default();
        }
        let sent = match forward::forward(self.network, packet, destination) {
            Ok((side, mac, packet)) => Some(framed(side, mac, &packet, false)),
            Err(trouble) => {
                self.ident = self.ident.wrapping_add(1);
                forward::error(side, packet, trouble, self.ident)
                    .and_then(|error| self.route(source, &error))
            }
        };
        Handled { delivered: false, sent: sent.into_iter().collect() }
    }

    /// Tells the sender that the other fragments of its packet did not come. One that is to be forwarded was
    /// on its way already.
    fn tell_of_timeout(
        &mut self,
        side: Side,
        packet: &[u8],
        (source, destination): (IpAddr, IpAddr),
    ) -> Handled {
        self.ident = self.ident.wrapping_add(1);
        let own = self.network.is_local(destination).then_some(destination);
        let about = match own {
            Some(_) => packet.to_vec(),
            None => match forward::forward(self.network, packet, destination) {
                Ok((_, _, packet)) => packet,
                Err(_) => return Handled::default(),
            },
        };
        let trouble = Trouble::FragmentTimeout { from: own };
        let sent = forward::error(side, &about, trouble, self.ident)
            .and_then(|error| self.route(source, &error));
        Handled { delivered: false, sent: sent.into_iter().collect() }
    }

    /// Hands a packet to the host's stack.
    fn deliver(&mut self, now: Instant, side: Side, reason: PassReason, frame: &[u8]) -> Handled {
        let packet = &frame[ETHERNET..];
        let delivered = is_known(packet);
        let answer = self.answer(now, side, reason, frame).and_then(|answer| {
            let (_, to) = ends(&answer)?;
            self.route(to, &answer[ETHERNET..])
        });
        Handled { delivered, sent: answer.into_iter().collect() }
    }

    /// What the stack answers, as a frame back to where the packet came from.
    fn answer(
        &mut self,
        now: Instant,
        side: Side,
        reason: PassReason,
        frame: &[u8],
    ) -> Option<Vec<u8>> {
        let mut slot = vec![0; HEADROOM_DEFAULT + frame.len()];
        slot[HEADROOM_DEFAULT..].copy_from_slice(frame);
        let mut frame = Frame::new(&mut slot, HEADROOM_DEFAULT, frame.len(), side.port());
        frame.verdict = Verdict::Pass(reason);
        let Parsed::Ip(headers) = parse(frame.bytes()) else { return None };
        self.stand_in.answer(now, &mut frame, &headers, side.mac())?;
        Some(frame.bytes().to_vec())
    }

    /// A packet of the host's own, sent where its route leads.
    fn route(&self, to: IpAddr, packet: &[u8]) -> Option<HostFrame> {
        let (side, mac) = self.network.route(to)?;
        Some(framed(side, mac.0, packet, true))
    }
}

fn framed(side: Side, mac: [u8; 6], packet: &[u8], own: bool) -> HostFrame {
    let ether_type = if packet[0] >> 4 == 6 { EtherType::IPV6 } else { EtherType::IPV4 };
    let header = Ethernet2Header { source: side.mac().0, destination: mac, ether_type };
    let bytes = [&header.to_bytes()[..], packet].concat();
    HostFrame { side, bytes, own }
}

/// Source and destination of the IP packet in a frame.
fn ends(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let packet = frame.get(ETHERNET..)?;
    let v4 = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets).into())
    };
    let v6 = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets).into())
    };
    match (frame[12], frame[13]) {
        (0x08, 0x00) => Some((v4(12)?, v4(16)?)),
        (0x86, 0xdd) => Some((v6(8)?, v6(24)?)),
        _ => None,
    }
}

/// Whether the stack has a module for the packet's protocol; others are refused before they count as
/// delivered.
fn is_known(packet: &[u8]) -> bool {
    let (at, icmp) = match packet.first().map(|byte| byte >> 4) {
        Some(4) => (9, Protocol::ICMP),
        _ => (6, Protocol::ICMPV6),
    };
    let protocol = packet.get(at).copied().map(Protocol);
    protocol.is_some_and(|protocol| [icmp, Protocol::TCP, Protocol::UDP].contains(&protocol))
}
