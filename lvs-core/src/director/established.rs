//! A plain packet of an established connection: found, forwarded as the one before it, counted. Nothing is
//! decided here that was not decided before for the same connection and destination; wherever something
//! has to be, the packet goes the long way, untouched.

use super::forward::{dr, rewrite_plain};
use super::{Director, flags};
use crate::explain::{Event, Explain};
use crate::flow::Protocol;
use crate::ids::{ConnId, PortId};
use crate::io::Frame;
use crate::parse::Plain;
use crate::state::{Direction, State, tcp_step, tcp_step_secure};
use crate::wire::tcp::TcpFlags;

impl Director {
    /// Forwards a packet whose connection lives and keeps its state and timeout, along its destination's
    /// trail; tells the port. `None` if it cannot be so, and nothing has happened.
    ///
    /// A SYN always goes the long way: it may open the connection anew.
    #[inline(always)]
    pub(super) fn pass_established<X: Explain>(
        &mut self,
        n: usize,
        frame: &mut Frame<'_>,
        packet: &Plain,
        hint: Option<ConnId>,
        x: &mut X,
    ) -> Option<PortId> {
        self.pass_along::<{ flags::DIRECT }, X>(n, frame, packet, hint, x)
    }

    /// The same for a connection that is masqueraded. Packets of others come here only on their way to the
    /// long way.
    #[inline(never)]
    pub(super) fn pass_masqueraded<X: Explain>(
        &mut self,
        n: usize,
        frame: &mut Frame<'_>,
        packet: &Plain,
        hint: Option<ConnId>,
        x: &mut X,
    ) -> Option<PortId> {
        self.pass_along::<{ flags::MASQUERADE }, X>(n, frame, packet, hint, x)
    }

    #[inline(always)]
    fn pass_along<const METHOD: u8, X: Explain>(
        &mut self,
        n: usize,
        frame: &mut Frame<'_>,
        packet: &Plain,
        hint: Option<ConnId>,
        x: &mut X,
    ) -> Option<PortId> {
        let (tick, version) = (self.tick(), self.trail_version());
        let state = steady_state(packet)?;
        let (timeout, ticks) = self.lifetimes.of(state);
        let mut record = self.conns.hot_of(hint?, &packet.flow, timeout)?;
        let now = record.read();
        let age = tick.wrapping_sub(now.last_seen());
        if !now.is_in(state as u8, flags::METHOD, METHOD) || age >= ticks {
            return None;
        }
        let (destination, own_port) = (now.dest(), now.flags() & flags::OWN_PORT != 0);
        let front = self.dests.front_mut(destination);
        let service = front.service()?;
        let trail = front.trail.fresh_for(packet.ip_len, version)?;
        if frame.offload.segments.is_some() || !dr::follow(frame, packet.flow.family(), trail) {
            return None;
        }

        let bytes = u64::from(packet.ip_len);
        let port = trail.port();
        front.counters.count_in(bytes);
        self.services.counters_mut(service).count_in(bytes);
        self.stats.total.count_in(bytes);
        record.record_packet(tick, packet.ip_len);
        x.event(n, || Event::Flow(packet.flow));
        let addr = || self.dests.at(destination).addr();
        x.event(n, || Event::ConnectionFound { destination: addr(), state });
        let timeout = || self.lifetimes.duration(state);
        x.event(n, || Event::State { from: state, to: state, timeout: timeout() });
        x.event(n, || Event::Forward(self.dests.at(destination).hop));
        if METHOD == flags::MASQUERADE {
            let from = packet.flow.virt();
            let to = self.dests.at(destination).server_end(own_port, from.port);
            rewrite_plain(frame, packet, to);
            x.event(n, || Event::Translated { from, to });
        }
        Some(port)
    }
}

/// The state that a packet from the client leaves as it is, whether the server's half is seen or not: an
/// ACK that of an established connection, UDP its only one. Others change it, or come seldom.
#[inline(always)]
fn steady_state(packet: &Plain) -> Option<State> {
    const STEP: TcpFlags =
        TcpFlags::RST.union(TcpFlags::SYN).union(TcpFlags::FIN).union(TcpFlags::ACK);
    const _: () = assert!(matches!(
        (
            tcp_step(State::Established, Direction::Input, TcpFlags::ACK),
            tcp_step(State::Established, Direction::InputOnly, TcpFlags::ACK),
            tcp_step_secure(State::Established, Direction::Input, TcpFlags::ACK),
            tcp_step_secure(State::Established, Direction::InputOnly, TcpFlags::ACK),
        ),
        (State::Established, State::Established, State::Established, State::Established)
    ));
    match packet.flow.protocol() {
        Protocol::TCP => (packet.flags.0 & STEP.0 == TcpFlags::ACK.0).then_some(State::Established),
        _ => Some(State::Udp),
    }
}

#[cfg(test)]
mod tests;
