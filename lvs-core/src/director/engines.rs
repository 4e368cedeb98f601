//! Persistence engines at work: what a packet is remembered by, and the requests of real servers (rules
//! E1 to E5).

use super::forward::{Method, rewrite};
use super::inbound::Seen;
use super::open::template_key;
use super::{Director, flags};
use crate::command::{Persistence, ServiceKey};
use crate::drop::DropReason;
use crate::engine::EngineKey;
use crate::explain::{Event, Explain};
use crate::flow::{FlowKey, Protocol};
use crate::forward::translate::End;
use crate::ids::{DestIndex, FwMark, L4Port, ServiceIndex, TemplateId};
use crate::io::{Frame, Verdict};
use crate::parse::{Headers, L4};
use crate::state::{Direction, Signal};
use crate::store::{Cut, Parts};

/// Bytes of a UDP header.
const UDP_HEADER: usize = 8;

impl Director {
    /// What the service's engine reads in a packet; `None` if the service has none.
    ///
    /// # Errors
    /// If it reads nothing: the packet is dropped (rule E2), as is an ICMP error that would open a
    /// connection (rule I5), for the engine does not look into its quote.
    #[inline]
    pub(super) fn engine_reads<'f>(
        &self,
        frame: &'f Frame<'_>,
        headers: &Headers,
        service: ServiceIndex,
    ) -> Result<Option<EngineKey<'f>>, Verdict> {
        let Some(engine) = self.services.at(service).engine else { return Ok(None) };
        let payload = match headers.l4_header {
            L4::Udp => frame.bytes().get(usize::from(headers.l4) + UDP_HEADER..headers.end()),
            _ => None,
        };
        let read = payload.and_then(|payload| engine.read(headers.flow.protocol(), payload));
        read.map(Some).ok_or(Verdict::Drop(DropReason::NoEngineData))
    }

    /// A datagram of a masqueraded real server that answers nobody: if its service has an engine it opens a
    /// connection, so that it comes from the virtual address and its answer finds back (rule E4). `None`
    /// if it is an orphan like any other.
    pub(super) fn server_request<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        x: &mut X,
    ) -> Option<Verdict> {
        let sent = &seen.headers.flow;
        if sent.virtual_addr().is_multicast() || seen.headers.ttl <= 1 {
            return None;
        }
        // Of several services with this server the kernel asks the one it has had for the shortest time.
        let destination = self.dests.newest_masqueraded(sent.client(), Protocol::UDP)?;
        let service = self.dests.front(destination).service()?;
        let ServiceKey::Address { virt, .. } = self.services.at(service).spec.key else {
            return None;
        };
        let engine = self.services.at(service).engine;
        if virt.port == L4Port::ANY || engine.is_none() {
            return None;
        }
        let persistence = self.services.at(service).spec.persistence;
        // What it carries is only asked for where there is a template to be found by it.
        if persistence.is_some() && self.engine_reads(frame, seen.headers, service).is_err() {
            return None;
        }
        // A datagram that was read is cut anew, if it came in fragments.
        let parts = |cut: Cut| Cut { parts: Parts::default(), ..cut };
        let cut = seen.cut.map(|cut| if persistence.is_some() { parts(cut) } else { cut });
        let seen = &Seen { cut, ..*seen };
        let (leaving, too_big) = match self.leave_for_client(frame, seen) {
            Ok(found) => found,
            Err(verdict) => return Some(verdict),
        };
        self.settle();
        let flow = FlowKey::new(Protocol::UDP, sent.virt(), virt);
        let template = match persistence {
            None => None,
            Some(persistence) => {
                let read = self.engine_reads(frame, seen.headers, service).ok()?;
                match self.template_towards(&flow, (service, destination), persistence, read) {
                    Ok(template) => Some(template),
                    Err(verdict) => return Some(verdict),
                }
            }
        };
        if let Err(verdict) = self.open_backwards(seen, &flow, (service, destination), template, x)
        {
            return Some(verdict);
        }
        rewrite(frame, seen.headers, None, End::Source, virt);
        x.event(seen.n, || Event::Translated { from: sent.client(), to: virt });
        Some(self.send_to_client(frame, seen, &leaving, too_big, x))
    }

    /// The template that leads a client to this very real server; one that leads elsewhere is spoilt.
    fn template_towards(
        &mut self,
        flow: &FlowKey,
        (service, destination): (ServiceIndex, DestIndex),
        persistence: Persistence,
        read: Option<EngineKey<'_>>,
    ) -> Result<TemplateId, Verdict> {
        let key = template_key(&self.services.at(service).spec.key, &persistence, flow);
        if let Some(template) = self.templates.find(&key, read) {
            let leads_here = self.templates.template(template).dest == destination;
            if leads_here && self.template_is_good(destination) {
                return Ok(template);
            }
            self.templates.spoil(template);
        }
        let port = self.dests.at(destination).addr().port;
        self.new_template(&key, read, (destination, port), persistence, FwMark::NONE)
    }

    /// Opens a connection whose first packet is the real server's; under one-packet scheduling it is only
    /// counted.
    fn open_backwards<X: Explain>(
        &mut self,
        seen: &Seen<'_>,
        flow: &FlowKey,
        (service, destination): (ServiceIndex, DestIndex),
        template: Option<TemplateId>,
        x: &mut X,
    ) -> Result<(), Verdict> {
        let addr = self.dests.at(destination).addr();
        x.event(seen.n, || Event::Flow(*flow));
        if self.services.at(service).spec.one_packet {
            let tick = self.tick();
            if let Some(template) = template {
                let template = self.templates.template_mut(template);
                template.record_connection(tick);
                template.assured = true;
            }
        } else {
            let headers = Headers { flow: *flow, ..*seen.headers };
            let hash = self.conns.hash(flow);
            let opening = Seen { n: seen.n, headers: &headers, hash, hint: None, cut: None };
            // One with this client end and virtual end, of another real server, gives way.
            let ended = self.find_live(flow, hash, None);
            let mark = FwMark::NONE;
            let id =
                self.insert(&opening, ended, destination, Method::Masquerade, template, mark)?;
            x.event(seen.n, || Event::Opened { destination: addr });
            debug_assert!(self.conns.hot(id).flags() & flags::NO_OUTPUT == 0);
            self.step(seen.n, id, Direction::Output, Signal::Udp, true, x);
        }
        self.count_opened(service, destination);
        self.count_out(destination, seen.headers.ip_len);
        Ok(())
    }
}
