//! What would become of a packet: the way of one that nobody has sent, told without a trace.
//!
//! The methods here take the director as it is, `&self`, so that they can change nothing; whatever they have in
//! common with a packet's real way they share with it. That both tell the same is a property test
//! (`tests/foretell.rs`).

use super::forward::{Method, Way};
use super::open::{tell_choice, template_key};
use super::{Director, flags};
use crate::command::Persistence;
use crate::dest::Hop;
use crate::drop::{DropReason, PassReason};
use crate::engine::EngineData;
use crate::explain::{Event, Explain, Question, Rescheduled};
use crate::flow::{FlowKey, Protocol};
use crate::ids::{DestIndex, FwMark, L4Port, ServiceIndex};
use crate::sched::{Candidates, Request};
use crate::state::{Direction, Signal, State};
use crate::time::Instant;

/// The packet's way ends here, and the last event has said how.
struct Ended;

/// Where a packet would be sent, and the state that it would leave.
struct Foreseen {
    way: Way,
    /// What the state table is asked; a datagram that is scheduled alone has no state.
    state: Option<(State, Direction)>,
}

impl Director {
    /// Tells `explain` what would become of a packet of a client's at `now`, step by step, as
    /// [`process_burst_explained`](Director::process_burst_explained) would tell it. Nothing changes: no
    /// scheduler moves on, no template begins, nothing is counted. As with any listing, what has ended
    /// by `now` is cleared away first.
    ///
    /// A packet that would be answered with an ICMP error ends with [`Event::NoDestination`] or
    /// [`Event::Forward`] to [`Hop::Unreachable`]; whether pacing would hold the answer back is not told.
    ///
    /// ```
    /// use lvs_core::command::{Command, DestinationSpec, ServiceKey, ServiceSpec};
    /// use lvs_core::explain::{Event, Question};
    /// use lvs_core::flow::{Endpoint, FlowKey, Protocol};
    /// use lvs_core::ids::PortId;
    /// use lvs_core::state::Signal;
    /// # use lvs_core::{director::Director, limits::Limits, time::Instant};
    /// # let mut director = Director::new(Limits::small(), [1, 2])?;
    /// # let now = Instant::ZERO;
    ///
    /// let virt = Endpoint::new("192.0.2.80".parse()?, 80);
    /// let key = ServiceKey::Address { protocol: Protocol::TCP, virt };
    /// director.apply(now, Command::AddLocal { addr: virt.addr, answer: true })?;
    /// director.apply(now, Command::AddService(ServiceSpec::new(key)))?;
    /// let server = DestinationSpec::new(Endpoint::new("10.1.0.2".parse()?, 80));
    /// director.apply(now, Command::AddDestination(key, server.clone()))?;
    ///
    /// let client = Endpoint::new("198.51.100.7".parse()?, 40_000);
    /// let flow = FlowKey::new(Protocol::TCP, client, virt);
    /// let signal = Signal::opening(Protocol::TCP).expect("TCP has connections");
    /// let mut events = Vec::new();
    /// let question = Question { port: PortId(0), flow, signal, data: None };
    /// director.explain_flow(now, &question, &mut |_, event| events.push(event));
    /// assert!(events.contains(&Event::Opened { destination: server.addr }));
    /// assert_eq!(director.connection_count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain_flow<X: Explain>(&mut self, now: Instant, question: &Question, explain: &mut X) {
        self.advance(now);
        self.settle();
        self.foretell(question, explain);
    }

    fn foretell<X: Explain>(&self, question: &Question, x: &mut X) {
        let Question { port, flow, signal, .. } = question;
        let local = self.locals.contains(flow.virtual_words());
        if !local && !self.mark_delivers(*port, flow) {
            return x.event(0, || Event::Passed(PassReason::NotLocal));
        }
        if self.dormant {
            return x.event(0, || Event::Passed(PassReason::BackupOnly));
        }
        if !self.looks_at(flow.family()) {
            return x.event(0, || Event::Passed(PassReason::NoServices));
        }
        x.event(0, || Event::Flow(*flow));
        let Ok(Foreseen { way, state }) = self.foretell_bound(question, x) else { return };
        if let Some((from, direction)) = state {
            let to = self.next_state(from, direction, *signal);
            x.event(0, || Event::State { from, to, timeout: self.lifetimes.duration(to) });
        }
        self.foretell_forward(flow, &way, x);
    }

    /// Its connection, or the opening of one.
    fn foretell_bound<X: Explain>(
        &self,
        question: &Question,
        x: &mut X,
    ) -> Result<Foreseen, Ended> {
        let Question { flow, signal, .. } = question;
        let Some(id) = self.find_live(flow, self.conns.hash(flow), None) else {
            x.event(0, || Event::ConnectionMissing);
            return self.foretell_opening(question, false, x);
        };
        let destination = self.conns.hot(id).dest();
        let from = State::from_byte(self.conns.hot(id).state());
        x.event(0, || Event::ConnectionFound {
            destination: self.dests.at(destination).addr(),
            state: from,
        });
        if signal.begins()
            && let Some(why) = self.rescheduled(id)
        {
            x.event(0, || Event::Rescheduled(why));
            return self.foretell_opening(question, true, x);
        }
        if self.dests.front(destination).service().is_none() && self.is_gone(id) {
            if !self.tunables.expire_nodest_conn {
                return self.foretell_drop(DropReason::DestinationGone, x);
            }
            x.event(0, || Event::Rescheduled(Rescheduled::Deleted));
            return self.foretell_opening(question, true, x);
        }
        let direction = match self.conns.hot(id).flags() & flags::NO_OUTPUT {
            0 => Direction::Input,
            _ => Direction::InputOnly,
        };
        Ok(Foreseen { way: self.way_of(id), state: Some((from, direction)) })
    }

    /// `replaces` is whether a connection with the same key gives way.
    fn foretell_opening<X: Explain>(
        &self,
        question: &Question,
        replaces: bool,
        x: &mut X,
    ) -> Result<Foreseen, Ended> {
        let (flow, mark) = (&question.flow, self.marks.mark_of(question.port, &question.flow));
        let service = self.foretell_admission(question, mark, x)?;
        if self.conns.len() == self.conns.capacity() && !replaces {
            return self.foretell_drop(DropReason::ConnectionTableFull, x);
        }
        let spec = &self.services.at(service).spec;
        let one_packet = spec.one_packet && flow.protocol() == Protocol::UDP;
        let other_port = spec.key.mark() == FwMark::NONE && flow.virtual_port() != spec.key.port();
        let found = match spec.persistence {
            Some(persistence) => self.foretell_template(question, service, persistence, x)?,
            None if other_port => None,
            None => self.foretell_choice(flow, service, x)?,
        };
        let Some(destination) = found else {
            return self.foretell_refusal(flow, service, x);
        };
        x.event(0, || Event::Opened { destination: self.dests.at(destination).addr() });
        let method = Method::of(self.dests.at(destination).method());
        let has_template = spec.persistence.is_some();
        let own_port = self.keeps_port(destination, has_template, flow.virtual_port());
        let way = Way { destination, method, own_port, connected: !one_packet };
        let direction = match method {
            Method::Direct | Method::Tunnel => Direction::InputOnly,
            Method::Masquerade | Method::Bypass => Direction::Input,
        };
        Ok(Foreseen { way, state: (!one_packet).then_some((State::None, direction)) })
    }

    /// Its service, if it may open a connection.
    fn foretell_admission<X: Explain>(
        &self,
        question: &Question,
        mark: FwMark,
        x: &mut X,
    ) -> Result<ServiceIndex, Ended> {
        let Question { flow, signal, .. } = question;
        if let Signal::Sctp(chunks) = signal
            && chunks.first().is_none()
        {
            return self.foretell_drop(DropReason::SctpTruncated, x);
        }
        if mark != FwMark::NONE {
            x.event(0, || Event::Marked(mark));
        }
        let Some(service) = self.services.find(mark, flow.protocol(), flow.virt()) else {
            x.event(0, || Event::NoService);
            x.event(0, || Event::Passed(PassReason::NoService));
            return Err(Ended);
        };
        x.event(0, || Event::Service(self.services.at(service).spec.key));
        let may_open = self.may_open(*signal);
        if may_open && self.defense.would_drop_packet() {
            return self.foretell_drop(DropReason::Defense, x);
        }
        if !may_open || flow.client_port() == L4Port::FTP_DATA {
            x.event(0, || Event::MayNotOpen);
            x.event(0, || Event::Passed(PassReason::NotScheduled));
            return Err(Ended);
        }
        Ok(service)
    }

    fn foretell_template<X: Explain>(
        &self,
        question: &Question,
        service: ServiceIndex,
        persistence: Persistence,
        x: &mut X,
    ) -> Result<Option<DestIndex>, Ended> {
        let flow = &question.flow;
        let engine = self.services.at(service).engine;
        let read = question
            .data
            .as_ref()
            .map(EngineData::as_key)
            .filter(|read| Some(read.engine()) == engine && flow.protocol() == Protocol::UDP);
        if engine.is_some() && read.is_none() {
            return self.foretell_drop(DropReason::NoEngineData, x);
        }
        let key = template_key(&self.services.at(service).spec.key, &persistence, flow);
        if let Some(template) = self.templates.find(&key, read) {
            let (destination, holds) =
                (self.templates.template(template).dest, self.templates.template(template).holds());
            let addr = self.dests.at(destination).addr();
            if self.template_is_good(destination) {
                x.event(0, || Event::TemplateHit { destination: addr, holds });
                return Ok(Some(destination));
            }
            x.event(0, || Event::TemplateSpoilt { destination: addr });
        } else {
            x.event(0, || Event::TemplateMissing { key });
        }
        let chosen = self.foretell_choice(flow, service, x)?;
        if chosen.is_some() && !self.templates.has_room(read.is_some()) {
            return self.foretell_drop(DropReason::TemplateTableFull, x);
        }
        Ok(chosen)
    }

    /// What the service's scheduler would choose: a duplicate of it is asked.
    fn foretell_choice<X: Explain>(
        &self,
        flow: &FlowKey,
        service: ServiceIndex,
        x: &mut X,
    ) -> Result<Option<DestIndex>, Ended> {
        let service = self.services.at(service);
        let Some(mut scheduler) = service.scheduler.duplicate() else {
            x.event(0, || Event::Unforeseeable);
            return Err(Ended);
        };
        let candidates = Candidates::new(&service.list, &self.dests);
        let chosen = scheduler.pick(&candidates, &Request { flow, now: self.now });
        tell_choice(0, &candidates, chosen, x);
        Ok(chosen.and_then(|position| service.list.get(position).copied()))
    }

    /// No destination is to be had.
    fn foretell_refusal<X: Explain>(
        &self,
        flow: &FlowKey,
        service: ServiceIndex,
        x: &mut X,
    ) -> Result<Foreseen, Ended> {
        if self.bypasses(flow.virtual_addr(), service) {
            x.event(0, || Event::Bypassed);
            return Err(Ended);
        }
        let port = self.services.at(service).port();
        if port == L4Port::FTP && flow.virtual_port() != port {
            x.event(0, || Event::Passed(PassReason::NotScheduled));
        }
        Err(Ended)
    }

    /// Route and neighbour.
    fn foretell_forward<X: Explain>(&self, flow: &FlowKey, way: &Way, x: &mut X) {
        if way.method == Method::Bypass {
            return x.event(0, || Event::Bypassed);
        }
        if way.method == Method::Tunnel && self.dests.at(way.destination).is_unbound() {
            return x.event(0, || Event::Dropped(DropReason::UnboundTunnel));
        }
        let hop = self.dests.at(way.destination).hop;
        let masqueraded = way.method == Method::Masquerade;
        let to = self.server_end(way, flow.virtual_port());
        if masqueraded && hop == Hop::Local {
            if to.addr.is_loopback() {
                return x.event(0, || Event::Dropped(DropReason::LoopbackDestination));
            }
            x.event(0, || Event::Translated { from: flow.virt(), to });
        }
        x.event(0, || Event::Forward(hop));
        let (port, neighbor) = match hop {
            Hop::Via { port, neighbor } => (port, neighbor),
            Hop::Local => return x.event(0, || Event::Passed(PassReason::LocalDestination)),
            Hop::Unreachable => return,
        };
        if self.link(port).is_none() {
            return x.event(0, || Event::Dropped(DropReason::PortDown));
        }
        if masqueraded {
            x.event(0, || Event::Translated { from: flow.virt(), to });
        }
        if self.neighbors.at(neighbor).mac().is_none() {
            x.event(0, || Event::WaitsForNeighbor(port));
        }
    }

    fn foretell_drop<T, X: Explain>(&self, reason: DropReason, x: &mut X) -> Result<T, Ended> {
        x.event(0, || Event::Dropped(reason));
        Err(Ended)
    }
}
