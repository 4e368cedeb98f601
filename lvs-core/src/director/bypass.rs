//! Transparent caches: marked packets to foreign addresses that are looked at as if they were local, and
//! the way past a service without real servers (rule P11).

use core::net::IpAddr;

use super::forward::{Method, Way};
use super::inbound::Seen;
use super::open::Bound;
use super::{Director, flags};
use crate::command::{DestinationSpec, ForwardingMethod};
use crate::dest::{Destination, Hop};
use crate::drop::DropReason;
use crate::flow::{Endpoint, FlowKey};
use crate::ids::{ConnId, DestIndex, FwMark, PortId, ServiceIndex};
use crate::io::Verdict;
use crate::parse::{Headers, L4};

impl Director {
    /// Whether a packet to a foreign address is delivered locally because of its mark.
    #[cold]
    pub(super) fn is_delivered_by_mark(&self, port: PortId, headers: &Headers) -> bool {
        self.mark_delivers(port, &headers.flow)
    }

    /// Whether the mark of a flow has its packets delivered locally, whatever their destination.
    pub(super) fn mark_delivers(&self, port: PortId, flow: &FlowKey) -> bool {
        let mark = self.marks.mark_of(port, flow);
        mark != FwMark::NONE && self.delivered_marks.contains(&(flow.family(), mark))
    }

    /// Whether a packet that found no real server goes on to its own destination.
    pub(super) fn may_bypass(&self, seen: &Seen<'_>, service: ServiceIndex) -> bool {
        let headers = seen.headers;
        !matches!(headers.l4_header, L4::Icmp { .. }) && self.bypasses(headers.dst(), service)
    }

    /// The same of any packet but one of ICMP.
    pub(super) fn bypasses(&self, to: IpAddr, service: ServiceIndex) -> bool {
        self.tunables.cache_bypass
            && self.services.at(service).spec.key.mark() != FwMark::NONE
            && !to.is_multicast()
            && self.locals.find(to).is_none()
    }

    /// Opens a connection that has no real server; a datagram of a one-packet service goes without.
    pub(super) fn open_bypass(
        &mut self,
        seen: &Seen<'_>,
        service: ServiceIndex,
        one_packet: bool,
        ended: Option<ConnId>,
        mark: FwMark,
    ) -> Result<Bound, Verdict> {
        let destination = self.nowhere(service, seen)?;
        if one_packet {
            let way =
                Way { destination, method: Method::Bypass, own_port: false, connected: false };
            return Ok(Bound::OnePacket(way));
        }
        let id = self.insert(seen, ended, destination, Method::Bypass, None, mark)?;
        Ok(Bound::Connection(id))
    }

    /// Whether a connection goes past its service's real servers.
    #[cold]
    pub(super) fn is_bypass(&self, id: ConnId) -> bool {
        self.conns.hot(id).flags() & flags::METHOD == flags::BYPASS
    }

    /// Where a packet that bypasses the real servers goes next.
    #[cold]
    pub(super) fn hop_past_servers(&mut self, headers: &Headers) -> Hop {
        self.hop_to(headers.dst())
    }

    /// The destination that stands for none, unlisted for ever: 0.0.0.0:0, as listings show it.
    fn nowhere(&mut self, service: ServiceIndex, seen: &Seen<'_>) -> Result<DestIndex, Verdict> {
        let key = self.services.at(service).spec.key;
        let addr = Endpoint::new(seen.headers.family.unspecified(), 0);
        if let Some(found) = self.dests.find_unlisted(&key, addr) {
            return Ok(found);
        }
        let method = ForwardingMethod::DirectRoute;
        let spec = DestinationSpec { weight: 0, method, ..DestinationSpec::new(addr) };
        let index = self.dests.insert(Destination::new(spec, key, service));
        let index = index.ok_or(Verdict::Drop(DropReason::DestinationTableFull))?;
        self.unlist(index);
        Ok(index)
    }
}
