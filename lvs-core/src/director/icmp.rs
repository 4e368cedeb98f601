//! ICMP errors that come in: about a connection's packets they go to its real server (rules I1, I4, I5),
//! about a tunnel's outer packets they become errors about the inner ones (rule F5).

use super::forward::{Method, Way};
use super::inbound::Seen;
use super::open::Bound;
use super::{Director, timers};
use crate::addr::Family;
use crate::command::ForwardingMethod;
use crate::dest::Hop;
use crate::drop::{DropReason, PassReason};
use crate::explain::{Event, Explain};
use crate::flow::FlowKey;
use crate::forward::tunnel::{self, Inside};
use crate::ids::{ConnId, DestIndex};
use crate::io::{Checksum, Frame, Offload, Verdict};
use crate::parse::{Headers, Quoted, parse_quoted};
use crate::state::{Signal, State};
use crate::wire::ethernet::{self, VlanTags};
use crate::wire::icmp::{self, ErrorSpec, IcmpError};
use crate::wire::{checksum, ipv4};

const LEAVE: Verdict = Verdict::Pass(PassReason::Icmp);

/// Code 4 of "destination unreachable": fragmentation needed (RFC 1191 §4).
const FRAGMENTATION_NEEDED: u8 = 4;
/// What an MTU must exceed for IPIP's header to be taken off it (rule F5): the least MTU and that header.
const MTU_WITH_OUTER: u32 = 68 + ipv4::HEADER_LEN as u32;

/// An ICMP error about a packet inside a tunnel.
struct TunnelError {
    inside: Inside,
    /// The connection of the packet inside.
    connection: ConnId,
    flow: FlowKey,
    /// Where the packet inside begins, in bytes from the start of the frame.
    at: usize,
}

impl Director {
    /// Where an ICMP message goes, if it is an error about a connection.
    #[inline(never)]
    pub(super) fn bind_error<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        kind: u8,
        x: &mut X,
    ) -> Result<Way, Verdict> {
        let headers = seen.headers;
        if !is_steered(headers.family, kind) {
            return Err(LEAVE);
        }
        if let Some(error) = self.tunnel_error(frame, headers) {
            return Err(self.take_tunnel_error(frame, headers, kind, &error));
        }
        let Some(quoted) = quoted(frame, headers) else { return Err(LEAVE) };
        if let Some(id) = self.answered_quote(&quoted) {
            // About the client's packet: it goes to the host, and counts as an answer (rule I4).
            self.count_out(self.conns.dest(id), headers.ip_len);
            return Err(LEAVE);
        }
        let flow = quoted.flow.reversed();
        let hash = self.conns.hash(&flow);
        x.event(seen.n, || Event::Flow(flow));
        let Some(id) = self.find_live(&flow, hash, None) else {
            x.event(seen.n, || Event::ConnectionMissing);
            return self.open_for_error(frame, seen, &flow, hash, x);
        };
        x.event(seen.n, || Event::ConnectionFound {
            destination: self.dests.at(self.conns.dest(id)).addr(),
            state: State::from_byte(self.conns.hot(id).state()),
        });
        if !has_good_checksum(frame, headers) {
            return Err(Verdict::Drop(DropReason::IcmpChecksum));
        }
        let way = self.way_of(id);
        self.count_error(id, &way);
        self.count_in(way.destination, headers.ip_len);
        Ok(way)
    }

    /// An error that goes on to a real server as it is counts among its connection's packets (rule Y2).
    fn count_error(&mut self, id: ConnId, way: &Way) {
        if way.method != Method::Masquerade {
            let mut record = self.conns.hot_mut(id);
            let packets = record.read().packets().saturating_add(1);
            record.set_packets(packets);
        }
    }

    /// Opens a connection for an error that has none (`schedule_icmp`, rule I5): it stays in no state
    /// until its first packet.
    fn open_for_error<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        flow: &FlowKey,
        hash: u64,
        x: &mut X,
    ) -> Result<Way, Verdict> {
        // As if the client's first packet had come.
        let opening = Signal::opening(flow.protocol()).filter(|_| self.tunables.schedule_icmp);
        let Some(signal) = opening else { return Err(LEAVE) };
        if !has_good_checksum(frame, seen.headers) {
            return Err(Verdict::Drop(DropReason::IcmpChecksum));
        }
        let headers = Headers { flow: *flow, protocol: flow.protocol(), ..*seen.headers };
        let opening = Seen { n: seen.n, headers: &headers, hash, hint: None, cut: None };
        // The mark is the error's (`icmp-schedule-marks`).
        let mark = self.marks.mark_of(frame.port(), &seen.headers.flow);
        let way = match self.open(frame, &opening, (signal, mark), None, x)? {
            Bound::OnePacket(way) => way,
            Bound::Connection(id) => {
                let ticks = self.timeouts.ticks(self.lifetimes.new);
                let deadline = self.now.as_millis() + u64::from(ticks);
                self.wheel.file(timers::connection_timer(id), deadline);
                let way = self.way_of(id);
                self.count_error(id, &way);
                way
            }
        };
        self.count_in(way.destination, seen.headers.ip_len);
        Ok(way)
    }

    /// Whether an error is about a packet of one of our tunnels.
    fn tunnel_error(&self, frame: &Frame<'_>, headers: &Headers) -> Option<TunnelError> {
        let quote = quote(frame, headers);
        let inside = tunnel::look_inside(quote)?;
        self.locals.find(inside.src)?;
        let quoted = parse_quoted(&quote[inside.at..], inside.family).filter(has_ports)?;
        let flow = quoted.flow;
        let connection = self.find_live(&flow, self.conns.hash(&flow), None)?;
        let way = self.way_of(connection);
        let ours = way.method == Method::Tunnel
            && self.dests.at(way.destination).addr().addr == inside.dst;
        let at = usize::from(headers.l4) + icmp::HEADER_LEN + inside.at;
        (ours && self.is_tunnelled_to(&inside)).then_some(TunnelError {
            inside,
            connection,
            flow,
            at,
        })
    }

    /// Whether some service has a real server there that is now reached by a tunnel of that kind
    /// (`tun-icmp-kind`).
    fn is_tunnelled_to(&self, inside: &Inside) -> bool {
        self.dests.iter().any(|(_, d)| {
            let ForwardingMethod::Tunnel(tunnel) = d.method() else { return false };
            d.is_listed() && d.addr().addr == inside.dst && inside.through.is_of(tunnel)
        })
    }

    /// An error about the outer packet of a tunnel. The path's MTU is remembered; of an IPv4 packet in
    /// IPv4 the client is told, as in the kernel. All others are left to the host.
    fn take_tunnel_error(
        &mut self,
        frame: &mut Frame<'_>,
        headers: &Headers,
        kind: u8,
        error: &TunnelError,
    ) -> Verdict {
        if !has_good_checksum(frame, headers) {
            return Verdict::Drop(DropReason::IcmpChecksum);
        }
        let Some(message) = frame.bytes()[usize::from(headers.l4)..].first_chunk::<8>() else {
            return LEAVE;
        };
        let (code, rest) =
            (message[icmp::field::CODE], [message[4], message[5], message[6], message[7]]);
        let rest = u32::from_be_bytes(rest);
        let destination = self.conns.dest(error.connection);
        let too_big = match headers.family {
            Family::V4 => kind == icmp::v4::UNREACHABLE && code == FRAGMENTATION_NEEDED,
            Family::V6 => kind == icmp::v6::TOO_BIG,
        };
        let mut spec = IcmpError::Reported { kind, code, rest };
        if too_big {
            // RFC 1191 §4: of the four bytes IPv4 uses two.
            let mtu = if headers.family == Family::V4 { rest & 0xffff } else { rest };
            let told = self.note_path_mtu(destination, mtu);
            let rest = if told > MTU_WITH_OUTER { told - ipv4::HEADER_LEN as u32 } else { told };
            spec = IcmpError::Reported { kind, code, rest };
        }
        if (headers.family, error.inside.family) != (Family::V4, Family::V4) {
            return LEAVE;
        }
        let inner = &frame.bytes()[error.at..];
        let may_be_cut = inner[ipv4::field::FRAGMENT] & (ipv4::DONT_FRAGMENT >> 8) as u8 == 0;
        if too_big && may_be_cut {
            return Verdict::Drop(DropReason::TunnelErrorNoted);
        }
        let client = error.flow.client_addr();
        if !too_big && !self.pacer.allow(self.now, client) {
            self.stats.icmp_suppressed += 1;
            return Verdict::Drop(DropReason::TunnelErrorNoted);
        }
        self.tell_client(frame, headers, error, destination, spec)
    }

    /// Sends an error about the packet inside a tunnel from the virtual address to the client.
    fn tell_client(
        &mut self,
        frame: &mut Frame<'_>,
        headers: &Headers,
        error: &TunnelError,
        destination: DestIndex,
        kind: IcmpError,
    ) -> Verdict {
        let (src, dst) = (error.flow.virtual_addr(), error.flow.client_addr());
        let route = self.routes.towards(dst);
        let Some((port, link)) = route.and_then(|(port, _)| Some((port, *self.link(port)?))) else {
            return Verdict::Drop(DropReason::NoRoute);
        };
        let next = route.map_or(dst, |(_, next)| next);
        let Some(neighbor) = self.neighbors.find_or_add(port, &VlanTags::NONE, next) else {
            return Verdict::Drop(DropReason::NeighborQueueFull);
        };
        let quote_len = headers.end().min(frame.len()) - error.at;
        // The kernel counts what it took out of the tunnel's error as well as the error that it sends.
        self.count_out(destination, quote_len as u32);
        let in_front = ethernet::HEADER_LEN + icmp::error_header_len(Family::V4);
        // The error that is answered is longer in front of the quote than its answer.
        frame.trim_front(error.at - in_front);
        let mac = self.neighbors.at(neighbor).mac();
        let to = mac.unwrap_or(link.mac);
        let spec = ErrorSpec { src, dst, kind, ident: self.next_ident() };
        let bytes = frame.bytes_mut();
        let l3 = ethernet::emit_header(bytes, to, link.mac, &VlanTags::NONE, ethernet::IPV4);
        let quote_len = quote_len.min(icmp::quote_len_max(Family::V4));
        let len = icmp::wrap_error(&mut bytes[l3..], &spec, quote_len);
        frame.set_len(l3 + len);
        frame.offload = Offload::default();
        self.count_out(destination, len as u32);
        match mac {
            Some(_) => Verdict::Transmit(port),
            None => self.wait_for_neighbor(frame, neighbor, None),
        }
    }

    /// Remembers the MTU of the path to a real server, in all services it is in, and returns what a
    /// client is told.
    fn note_path_mtu(&mut self, destination: DestIndex, mtu: u32) -> u32 {
        let (addr, hop) = (self.dests.at(destination).addr().addr, self.dests.at(destination).hop);
        let Hop::Via { port, .. } = hop else { return mtu };
        let link = self.link(port).map_or(mtu, |link| link.mtu);
        let now = self.now;
        let before = self.dests.at(destination).path;
        let told = self.dests.at_mut(destination).note_path_mtu(mtu, link, now);
        if self.dests.at(destination).path != before {
            let others = self.dests.iter_mut();
            for (_, other) in others.filter(|(i, d)| *i != destination && d.addr().addr == addr) {
                other.note_path_mtu(mtu, link, now);
            }
        }
        told
    }

    /// Notes what an ICMPv6 error says about a path, where no IPv6 service asks for more.
    #[cold]
    pub(super) fn overhear_error(&mut self, frame: &mut Frame<'_>, headers: &Headers, kind: u8) {
        if headers.fragment.is_none()
            && headers.family == Family::V6
            && kind == icmp::v6::TOO_BIG
            && let Some(error) = self.tunnel_error(frame, headers)
        {
            self.take_tunnel_error(frame, headers, kind, &error);
        }
    }
}

/// Whether errors of this type are looked at (rule I1): in IPv4 not redirects and parameter problems, in
/// IPv6 all.
pub(super) fn is_steered(family: Family, kind: u8) -> bool {
    match family {
        Family::V4 => matches!(
            kind,
            icmp::v4::UNREACHABLE | icmp::v4::SOURCE_QUENCH | icmp::v4::TIME_EXCEEDED
        ),
        Family::V6 => icmp::is_error(family, kind),
    }
}

/// Whether a quote is of a packet's beginning.
fn has_ports(quoted: &Quoted) -> bool {
    quoted.fragment.unwrap_or(0) == 0
}

/// The packet that an ICMP error quotes, if it has ports.
pub(super) fn quoted(frame: &Frame<'_>, headers: &Headers) -> Option<Quoted> {
    parse_quoted(quote(frame, headers), headers.family).filter(has_ports)
}

/// What an ICMP error quotes.
fn quote<'f>(frame: &'f Frame<'_>, headers: &Headers) -> &'f [u8] {
    let end = headers.end().min(frame.len());
    frame.bytes().get(usize::from(headers.l4) + icmp::HEADER_LEN..end).unwrap_or_default()
}

/// Whether an ICMP error's own checksum is right. That of an ICMPv6 error is left to the real server, as
/// in the kernel.
pub(super) fn has_good_checksum(frame: &Frame<'_>, headers: &Headers) -> bool {
    let end = headers.end().min(frame.len());
    headers.family == Family::V6
        || frame.offload.checksum != Checksum::Unknown
        || checksum::of(&frame.bytes()[usize::from(headers.l4)..end]) == 0
}
