//! Masquerading: the packet leaves for the real server with the server's address and port in the place of
//! the virtual ones. What comes back is the matter of `replies.rs`.

use super::Way;
use crate::addr::Family;
use crate::dest::Hop;
use crate::director::Director;
use crate::director::icmp::quoted;
use crate::director::inbound::Seen;
use crate::drop::DropReason;
use crate::explain::{Event, Explain};
use crate::flow::Endpoint;
use crate::forward::translate::{End, Quote, Transport, translate, translate_error};
use crate::ids::L4Port;
use crate::io::{Checksum, Frame, Verdict};
use crate::parse::{Headers, L4, Plain, Quoted};
use crate::wire::{ethernet, ipv4, ipv6};

impl Director {
    /// Sends a packet to a real server by masquerading (rules F1, F8, F11, P9).
    ///
    /// As in the kernel the packet is rewritten when nothing can refuse it any more, so that an error
    /// quotes what the client sent.
    #[inline(never)]
    pub(super) fn forward_masqueraded<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        way: &Way,
        x: &mut X,
    ) -> Result<Verdict, Verdict> {
        if self.dests.at(way.destination).hop == Hop::Local {
            if self.dests.at(way.destination).addr().addr.is_loopback() {
                return Err(Verdict::Drop(DropReason::LoopbackDestination));
            }
            self.masquerade(frame, seen, way, x);
        }
        let leaving = self.leave(frame, seen, way, x)?;
        let too_big = self.fit_link(frame, seen, way, leaving.link.mtu)?;
        self.masquerade(frame, seen, way, x);
        let mac = self.depart(frame, seen, &leaving, too_big, x)?;
        self.lay_trail(seen.headers, way, &leaving, mac);
        Ok(Verdict::Transmit(leaving.port))
    }

    /// Rewrites the virtual end of a packet to the real server's.
    fn masquerade<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        way: &Way,
        x: &mut X,
    ) {
        let headers = seen.headers;
        let error = match headers.l4_header {
            L4::Icmp { .. } => quoted(frame, headers),
            _ => None,
        };
        // The error quotes an answer, which came from the virtual end.
        let from = error.map_or(headers.flow.virt(), |quoted| quoted.flow.client());
        let to = self.server_end(way, from.port);
        rewrite(frame, headers, error.as_ref(), End::Destination, to);
        x.event(seen.n, || Event::Translated { from, to });
    }

    /// The real server's end of the packets that go a way.
    pub(in crate::director) fn server_end(&self, way: &Way, virtual_port: L4Port) -> Endpoint {
        self.dests.at(way.destination).server_end(way.own_port, virtual_port)
    }
}

/// Rewrites the virtual end of a plain packet.
#[inline]
pub(in crate::director) fn rewrite_plain(frame: &mut Frame<'_>, packet: &Plain, to: Endpoint) {
    const L3: usize = ethernet::HEADER_LEN;
    let at = match packet.flow.family() {
        Family::V4 => ipv4::HEADER_LEN,
        Family::V6 => ipv6::HEADER_LEN,
    };
    let unfinished = matches!(frame.offload.checksum,
        Checksum::Partial { start, .. } if usize::from(start) == L3 + at);
    let transport = Transport { protocol: packet.flow.protocol(), at, unfinished };
    let end = L3 + packet.ip_len as usize;
    translate(&mut frame.bytes_mut()[L3..end], transport, End::Destination, to);
}

/// Rewrites one end of a packet or, if it is an error, the same end of it and the other one of its quote.
pub(in crate::director) fn rewrite(
    frame: &mut Frame<'_>,
    headers: &Headers,
    error: Option<&Quoted>,
    end: End,
    to: Endpoint,
) {
    let at = usize::from(headers.l4 - headers.l3);
    let unfinished = matches!(frame.offload.checksum,
        Checksum::Partial { start, .. } if start == headers.l4);
    let packet = usize::from(headers.l3)..headers.end().min(frame.len());
    let packet = &mut frame.bytes_mut()[packet];
    match error {
        None => {
            translate(packet, Transport { protocol: headers.protocol, at, unfinished }, end, to);
        }
        Some(quoted) => {
            let quote = Quote { icmp_at: at, transport_at: quoted.l4, unfinished };
            translate_error(packet, quote, end, to);
        }
    }
}
