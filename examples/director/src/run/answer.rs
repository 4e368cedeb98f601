//! Answers in the host's place to packets that the guard hides from it and that belong to no connection.

use lvs_core::command::IcmpPacing;
use lvs_core::director::Director;
use lvs_core::io::Frame;
use lvs_core::limits::Limits;
use lvs_core::pace::Pacer;
use lvs_core::parse::{Parsed, parse_super};
use lvs_core::time::Instant;
use lvs_host::StandIn;

use super::takeover::Takeover;

/// Stands in for the host's stack on the director's ports.
#[derive(Debug)]
pub(super) struct HostAnswers {
    host: StandIn,
}

impl HostAnswers {
    pub(super) fn new(limits: &Limits) -> HostAnswers {
        let pacer = Pacer::new(limits.paced_clients, IcmpPacing::default());
        HostAnswers { host: StandIn::new(pacer) }
    }

    /// Turns a frame that is left to the host into the host's answer, if the host cannot see it. The
    /// answer moves the connection's state as any outgoing packet does (rule C7).
    pub(super) fn answer(
        &mut self,
        now: Instant,
        director: &mut Director,
        takeover: &Takeover,
        frame: &mut Frame<'_>,
    ) {
        let Parsed::Ip(headers) = parse_super(frame.bytes()) else { return };
        let (addr, port) = (headers.dst(), headers.flow.virtual_port());
        if !takeover.hides(headers.protocol, addr, port) {
            return;
        }
        let Some(spec) = takeover.ports.iter().find(|port| port.id == frame.port()) else { return };
        if self.host.answer(now, frame, &headers, spec.mac).is_some() {
            director.observe_output(now, frame);
        }
    }
}
