//! Opening a connection: mark, service, template or scheduler, table.

use super::forward::{Method, Way};
use super::inbound::Seen;
use super::{Director, flags, lifetimes, timers};
use crate::command::{Persistence, ServiceKey};
use crate::conn::Cold;
use crate::drop::{DropReason, PassReason};
use crate::engine::EngineKey;
use crate::explain::{Eligibility, Event, Explain};
use crate::flow::{Endpoint, FlowKey, Protocol};
use crate::ids::{ConnId, DestIndex, FwMark, L4Port, ServiceIndex, TemplateId};
use crate::io::{Frame, Verdict};
use crate::persist::mark_address;
use crate::sched::{Candidates, Request};
use crate::state::Signal;
use crate::wire::icmp::IcmpError;
use crate::wire::sctp::Chunk;

/// What a packet was bound to.
pub(super) enum Bound {
    /// A connection.
    Connection(ConnId),
    /// A destination for this packet alone (`-o`, rule S15).
    OnePacket(Way),
}

impl Director {
    /// Opens a connection for a packet that has none.
    pub(super) fn open_marked<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        signal: Signal,
        ended: Option<ConnId>,
        x: &mut X,
    ) -> Result<Bound, Verdict> {
        let mark = self.marks.mark_of(frame.port(), &seen.headers.flow);
        self.open(frame, seen, (signal, mark), ended, x)
    }

    /// Opens a connection for a packet that has none, or that an ICMP error is about; `mark` is that of what
    /// came in. `ended` is one with the same key that is to give way; it still counts while the scheduler
    /// compares loads, as in the kernel.
    pub(super) fn open<X: Explain>(
        &mut self,
        frame: &mut Frame<'_>,
        seen: &Seen<'_>,
        (signal, mark): (Signal, FwMark),
        ended: Option<ConnId>,
        x: &mut X,
    ) -> Result<Bound, Verdict> {
        // Loads and templates must be those of this moment, not of the last timer call.
        self.settle();
        let service = self.admit(seen, signal, mark, x)?;
        let flow = &seen.headers.flow;
        if self.conns.len() == self.conns.capacity() && ended.is_none() {
            return Err(Verdict::Drop(DropReason::ConnectionTableFull));
        }
        let spec = &self.services.at(service).spec;
        let one_packet = spec.one_packet && flow.protocol() == Protocol::UDP;
        let found = match spec.persistence {
            Some(persistence) => self
                .by_template(frame, seen, (service, mark), persistence, x)?
                .map(|(destination, template)| (destination, Some(template))),
            None if spec.key.mark() == FwMark::NONE && flow.virtual_port() != spec.key.port() => {
                None
            }
            None => self.schedule(seen, service, x).map(|destination| (destination, None)),
        };
        let Some((destination, template)) = found else {
            if self.may_bypass(seen, service) {
                x.event(seen.n, || Event::Bypassed);
                return self.open_bypass(seen, service, one_packet, ended, mark);
            }
            return Err(self.refuse(frame, seen, service));
        };
        self.count_opened(service, destination);
        x.event(seen.n, || Event::Opened { destination: self.dests.at(destination).addr() });
        if one_packet {
            let way = self.open_one_packet(destination, template, flow.virtual_port());
            return Ok(Bound::OnePacket(way));
        }
        let method = Method::of(self.dests.at(destination).method());
        self.insert(seen, ended, destination, method, template, mark).map(Bound::Connection)
    }

    /// A connection that ends with its only packet: a full server is noticed, no count stays, and the
    /// template is restarted as by every connection (rule R14).
    fn open_one_packet(
        &mut self,
        destination: DestIndex,
        template: Option<TemplateId>,
        virtual_port: L4Port,
    ) -> Way {
        self.dests.at_mut(destination).connection_begins();
        self.dests.at_mut(destination).connection_ends(false);
        if let Some(template) = template {
            let tick = self.tick();
            self.templates.template_mut(template).record_connection(tick);
            self.announce_one_packet(template);
        }
        let method = Method::of(self.dests.at(destination).method());
        let own_port = self.keeps_port(destination, template.is_some(), virtual_port);
        Way { destination, method, own_port, connected: false }
    }

    /// The service of a packet that has no connection, if it may open one.
    fn admit<X: Explain>(
        &mut self,
        seen: &Seen<'_>,
        signal: Signal,
        mark: FwMark,
        x: &mut X,
    ) -> Result<ServiceIndex, Verdict> {
        if let Signal::Sctp(chunks) = signal
            && chunks.first().is_none()
        {
            return Err(Verdict::Drop(DropReason::SctpTruncated));
        }
        let flow = &seen.headers.flow;
        if mark != FwMark::NONE {
            x.event(seen.n, || Event::Marked(mark));
        }
        let Some(service) = self.services.find(mark, flow.protocol(), flow.virt()) else {
            x.event(seen.n, || Event::NoService);
            return Err(Verdict::Pass(PassReason::NoService));
        };
        x.event(seen.n, || Event::Service(self.services.at(service).spec.key));
        if !self.may_open(signal) {
            x.event(seen.n, || Event::MayNotOpen);
            return Err(Verdict::Pass(PassReason::NotScheduled));
        }
        if self.defense.drops_packet() {
            return Err(Verdict::Drop(DropReason::Defense));
        }
        // Rule P6, behind the defence as in the kernel.
        if flow.client_port() == L4Port::FTP_DATA {
            x.event(seen.n, || Event::MayNotOpen);
            return Err(Verdict::Pass(PassReason::NotScheduled));
        }
        Ok(service)
    }

    /// Rules P1 and P2: TCP opens with SYN and without RST, or with anything but RST under `sloppy_tcp`;
    /// SCTP with INIT, or with anything but ABORT under `sloppy_sctp`.
    pub(super) fn may_open(&self, signal: Signal) -> bool {
        match signal {
            Signal::Tcp(flags) => (self.tunables.sloppy_tcp || flags.syn()) && !flags.rst(),
            Signal::Udp => true,
            Signal::Sctp(chunks) => match chunks.first() {
                Some(Chunk::Init) => true,
                first => self.tunables.sloppy_sctp && first != Some(Chunk::Abort),
            },
        }
    }

    /// Follows the client's template, or has the scheduler choose and makes one; `None` if no destination
    /// is to be had.
    fn by_template<X: Explain>(
        &mut self,
        frame: &Frame<'_>,
        seen: &Seen<'_>,
        (service, mark): (ServiceIndex, FwMark),
        persistence: Persistence,
        x: &mut X,
    ) -> Result<Option<(DestIndex, TemplateId)>, Verdict> {
        let service_key = self.services.at(service).spec.key;
        let read = self.engine_reads(frame, seen.headers, service)?;
        let key = template_key(&service_key, &persistence, &seen.headers.flow);
        if let Some(template) = self.templates.find(&key, read) {
            let destination = self.templates.template(template).dest;
            let addr = self.dests.at(destination).addr();
            if self.template_is_good(destination) {
                let holds = self.templates.template(template).holds();
                x.event(seen.n, || Event::TemplateHit { destination: addr, holds });
                return Ok(Some((destination, template)));
            }
            x.event(seen.n, || Event::TemplateSpoilt { destination: addr });
            self.templates.spoil(template);
        } else {
            x.event(seen.n, || Event::TemplateMissing { key });
        }
        let Some(destination) = self.schedule(seen, service, x) else {
            return Ok(None);
        };
        let with_port = seen.headers.flow.virtual_port() == service_key.port()
            && service_key.port() != L4Port::FTP;
        let port = if with_port { self.dests.at(destination).addr().port } else { L4Port::ANY };
        let template = self.new_template(&key, read, (destination, port), persistence, mark)?;
        Ok(Some((destination, template)))
    }

    /// Makes a template.
    pub(super) fn new_template(
        &mut self,
        key: &FlowKey,
        read: Option<EngineKey<'_>>,
        (destination, port): (DestIndex, L4Port),
        persistence: Persistence,
        mark: FwMark,
    ) -> Result<TemplateId, Verdict> {
        let Ok(template) = self.templates.insert(key, read) else {
            return Err(Verdict::Drop(DropReason::TemplateTableFull));
        };
        let timeout = lifetimes::ticks(persistence.timeout);
        let tick = self.tick();
        let entry = self.templates.template_mut(template);
        (entry.dest, entry.dest_port) = (destination, port);
        (entry.timeout, entry.last_used, entry.created) = (timeout, tick, tick);
        entry.mark = mark;
        self.dests.at_mut(destination).template_begins();
        self.wheel.file(self.template_timer(template), self.now.as_millis() + u64::from(timeout));
        Ok(template)
    }

    /// Whether a template's destination may still be used (rules R7 to R10).
    pub(super) fn template_is_good(&self, destination: DestIndex) -> bool {
        let destination = self.dests.at(destination);
        let quiesced = self.tunables.expire_quiescent_template && destination.weight() == 0;
        destination.is_listed() && !quiesced
    }

    fn schedule<X: Explain>(
        &mut self,
        seen: &Seen<'_>,
        service: ServiceIndex,
        x: &mut X,
    ) -> Option<DestIndex> {
        let service = self.services.at_mut(service);
        let candidates = Candidates::new(&service.list, &self.dests);
        let request = Request { flow: &seen.headers.flow, now: self.now };
        let chosen = service.scheduler.pick(&candidates, &request);
        tell_choice(seen.n, &candidates, chosen, x);
        chosen.and_then(|position| service.list.get(position).copied())
    }

    /// No destination is to be had: port unreachable for TCP and UDP alike (rule S12), but a service on
    /// port 21 leaves other ports to the host (rule P7).
    fn refuse(&mut self, frame: &mut Frame<'_>, seen: &Seen<'_>, service: ServiceIndex) -> Verdict {
        let port = self.services.at(service).port();
        if port == L4Port::FTP && seen.headers.flow.virtual_port() != port {
            return Verdict::Pass(PassReason::NotScheduled);
        }
        self.answer_error(
            frame,
            seen.headers,
            IcmpError::PortUnreachable,
            DropReason::NoDestination,
        )
    }

    /// Puts a connection into the table, in place of one that ended.
    pub(super) fn insert(
        &mut self,
        seen: &Seen<'_>,
        ended: Option<ConnId>,
        destination: DestIndex,
        method: Method,
        template: Option<TemplateId>,
        mark: FwMark,
    ) -> Result<ConnId, Verdict> {
        let (method, one_way) = match method {
            Method::Direct => (0, true),
            Method::Tunnel => (flags::TUNNEL, true),
            Method::Masquerade => (flags::MASQUERADE, false),
            Method::Bypass => (flags::BYPASS, false),
        };
        let own_port = method & flags::METHOD != flags::BYPASS
            && self.keeps_port(destination, template.is_some(), seen.headers.flow.virtual_port());
        if let Some(old) = ended {
            self.end_connection(old);
        }
        let Ok(id) = self.conns.insert(&seen.headers.flow, seen.hash) else {
            return Err(Verdict::Drop(DropReason::ConnectionTableFull));
        };
        let no_output = if one_way { flags::NO_OUTPUT } else { 0 };
        let own_port = if own_port { flags::OWN_PORT } else { 0 };
        let tick = self.tick();
        let mut record = self.conns.hot_mut(id);
        record.set_dest(destination);
        record.set_last_seen(tick);
        record.set_timeout_index(self.lifetimes.new);
        record.set_flags(flags::INACTIVE | no_output | method | own_port);
        self.conns.set_cold(id, Cold { template, mark, created: tick, flags: 0 });
        if method == flags::MASQUERADE {
            self.expect_answers(id);
        }
        self.dests.at_mut(destination).connection_begins();
        if let Some(template) = template {
            // A new connection restarts the template's own timeout (rule R3).
            self.templates.hold(template);
            self.templates.template_mut(template).record_connection(tick);
        }
        debug_assert!(!self.wheel.is_filed(timers::connection_timer(id)));
        Ok(id)
    }

    /// Whether the real server is reached on the virtual port: where its destination has none, and where a
    /// template leads a port there that is not its service's (rules P7, R1).
    pub(super) fn keeps_port(
        &self,
        destination: DestIndex,
        has_template: bool,
        virtual_port: L4Port,
    ) -> bool {
        let destination = self.dests.at(destination);
        let other_port = has_template && virtual_port != destination.service_key.port();
        destination.addr().port == L4Port::ANY || other_port
    }

    pub(super) fn count_opened(&mut self, service: ServiceIndex, destination: DestIndex) {
        self.dests.front_mut(destination).counters.connections += 1;
        self.services.counters_mut(service).connections += 1;
        self.stats.total.connections += 1;
    }
}

/// Tells of every destination what became of it.
pub(super) fn tell_choice<X: Explain>(
    n: usize,
    candidates: &Candidates<'_>,
    chosen: Option<usize>,
    x: &mut X,
) {
    let heard = if x.listens() { candidates.len() } else { 0 };
    for (position, d) in candidates.iter().take(heard) {
        x.event(n, || Event::Candidate {
            destination: d.addr(),
            weight: d.weight(),
            active: d.active(),
            inactive: d.inactive(),
            eligibility: match () {
                () if chosen == Some(position) => Eligibility::Chosen,
                () if d.weight() == 0 => Eligibility::Quiesced,
                () if d.overloaded() => Eligibility::Overloaded,
                () => Eligibility::Eligible,
            },
        });
    }
    if chosen.is_none() {
        x.event(n, || Event::NoDestination);
    }
}

/// The key under which a client is remembered (rule R1).
pub(super) fn template_key(
    service: &ServiceKey,
    persistence: &Persistence,
    flow: &FlowKey,
) -> FlowKey {
    let client =
        Endpoint { addr: persistence.granularity.apply(flow.client_addr()), port: L4Port::ANY };
    let virt = flow.virt();
    if virt.port == service.port() {
        let port = if virt.port == L4Port::FTP { L4Port::ANY } else { virt.port };
        return FlowKey::new(flow.protocol(), client, Endpoint { addr: virt.addr, port });
    }
    match *service {
        ServiceKey::Mark { mark, family } => {
            let addr = mark_address(mark, family);
            FlowKey::new(Protocol::IP, client, Endpoint { addr, port: L4Port::ANY })
        }
        ServiceKey::Address { .. } => {
            let any = Endpoint { addr: virt.addr, port: L4Port::ANY };
            FlowKey::new(flow.protocol(), client, any)
        }
    }
}
