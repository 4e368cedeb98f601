//! Live decisions, told to whoever watches.
//!
//! While nobody watches, a burst costs one look at an empty list. While somebody does, the director tells the steps of
//! each frame into a buffer; those of the frames that are asked for go off as they are, and become text in
//! another thread. What finds no room is counted and gone: the loop waits for nobody.

use std::net::SocketAddr;
use std::sync::Arc;

use lvs_core::director::Director;
use lvs_core::explain::Event;
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::PortId;
use lvs_core::io::Frame;
use lvs_core::listing::NextHop;
use lvs_core::time::{Duration, Instant};
use serde::{Deserialize, Serialize};

use super::{Answer, Answers, Sent};
use crate::data::{Flow, PacketStep, Traced, TracedPacket};
use crate::protocol::{Refusal, Reply};

/// How many may watch at a time.
const TRACES_MAX: usize = 8;
/// Steps of one burst that are kept; what comes behind is not told.
const EVENTS_MAX: usize = 4096;
/// Packets of one burst that are told to one who watches.
const PACKETS_MAX: usize = 32;
/// How often something is sent even if there is nothing to tell, so that it is noticed who has gone.
const PULSE: Duration = Duration::from_secs(1);

/// Which packets are to be told. What is absent matches everything; port 0 matches every port.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TraceFilter {
    /// The protocol's name: `tcp`, `udp`, `sctp`.
    pub protocol: Option<String>,
    /// Where it came from.
    pub client: Option<SocketAddr>,
    /// Where it was sent.
    #[serde(rename = "virtual")]
    pub virt: Option<SocketAddr>,
    /// The real server that it goes to.
    pub server: Option<SocketAddr>,
    /// Only what is dropped.
    #[serde(default)]
    pub drops: bool,
}

impl TraceFilter {
    /// Whether a packet with these steps is asked for. One whose flow is not known is, if it was dropped and
    /// nothing but drops, or nothing at all, is asked for.
    fn matches(&self, events: &[Event]) -> bool {
        let dropped = events.iter().any(|event| matches!(event, Event::Dropped(_)));
        if self.drops && !dropped {
            return false;
        }
        let flow = events.iter().find_map(|event| match event {
            Event::Flow(key) => Some(Flow::from(key)),
            _ => None,
        });
        let Some(flow) = flow else {
            let any = TraceFilter { drops: self.drops, ..TraceFilter::default() } == *self;
            return any && dropped;
        };
        let wanted = [(self.client, flow.client), (self.virt, flow.virt)];
        wanted.iter().all(|(wanted, is)| wanted.is_none_or(|wanted| covers(wanted, *is)))
            && self.protocol.as_ref().is_none_or(|name| is_named(flow.protocol, name))
            && self.server.is_none_or(|server| events.iter().any(|event| goes_to(event, server)))
    }
}

fn is_named(protocol: Protocol, name: &str) -> bool {
    protocol.name().is_some_and(|own| own.eq_ignore_ascii_case(name))
}

fn covers(wanted: SocketAddr, is: SocketAddr) -> bool {
    wanted.ip() == is.ip() && (wanted.port() == 0 || wanted.port() == is.port())
}

fn goes_to(event: &Event, server: SocketAddr) -> bool {
    let covers = |end: &Endpoint| covers(server, SocketAddr::new(end.addr, end.port.0));
    match event {
        Event::ConnectionFound { destination, .. } | Event::Opened { destination } => {
            covers(destination)
        }
        _ => false,
    }
}

/// Packets of one burst as the loop hands them on.
#[derive(Debug)]
pub struct TracedBurst {
    at: Instant,
    names: Arc<[String]>,
    packets: Vec<RawPacket>,
    lost: u64,
}

#[derive(Debug)]
struct RawPacket {
    port: PortId,
    events: Vec<(Event, Option<NextHop>)>,
}

impl TracedBurst {
    /// The same in the protocol's words.
    pub(super) fn into_data(self) -> Traced {
        let name = |port: PortId| self.names.get(port.index()).cloned();
        let packets = self.packets.iter().map(|packet| TracedPacket {
            at_ms: self.at.as_millis(),
            interface: name(packet.port).unwrap_or_default(),
            steps: packet
                .events
                .iter()
                .map(|(event, next)| PacketStep::leading(event, *next, &name))
                .collect(),
        });
        Traced { packets: packets.collect(), lost: self.lost }
    }
}

/// One who watches.
#[derive(Debug)]
struct Trace {
    filter: TraceFilter,
    /// Packets still to be told; `None` without end.
    left: Option<u64>,
    lost: u64,
    last: Instant,
    answers: Answers,
}

/// All who watch.
#[derive(Debug, Default)]
pub(super) struct Traces {
    all: Vec<Trace>,
    names: Arc<[String]>,
    events: Vec<(usize, Event)>,
}

impl Traces {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Begins to tell, or says why not.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        (filter, left): (TraceFilter, Option<u64>),
        names: Vec<String>,
        answers: Answers,
    ) {
        if self.all.len() == TRACES_MAX {
            let refusal = Refusal::new(format!("{TRACES_MAX} traces run already; end one"));
            // An answer that nobody has begun to read has room for one part.
            let _refused = answers.send(Answer::Reply(Reply::Refused(refusal)));
            return;
        }
        self.names = names.into();
        self.events.reserve(EVENTS_MAX);
        self.all.push(Trace { filter, left, lost: 0, last: now, answers });
    }

    /// Has a burst decided about, and tells of it.
    #[cold]
    pub(super) fn process_burst(
        &mut self,
        now: Instant,
        director: &mut Director,
        frames: &mut [Frame<'_>],
    ) {
        self.events.clear();
        let events = &mut self.events;
        let mut note = |n: usize, event: Event| {
            if events.len() < EVENTS_MAX {
                events.push((n, event));
            }
        };
        director.process_burst_explained(now, frames, &mut note);
        for trace in &mut self.all {
            trace.tell(now, &self.events, &self.names, director, frames);
        }
    }

    /// Sends a sign of life, ends what is over, forgets who has gone.
    pub(super) fn pulse(&mut self, now: Instant) {
        if !self.all.is_empty() {
            let names = Arc::clone(&self.names);
            self.all.retain_mut(|trace| trace.goes_on(now, &names));
        }
    }
}

impl Trace {
    fn tell(
        &mut self,
        now: Instant,
        events: &[(usize, Event)],
        names: &Arc<[String]>,
        director: &Director,
        frames: &[Frame<'_>],
    ) {
        let mut packets = Vec::new();
        let mut plain = Vec::new();
        for of_one in events.chunk_by(|(a, _), (b, _)| a == b) {
            plain.clear();
            plain.extend(of_one.iter().map(|(_, event)| *event));
            let frame = of_one.first().and_then(|(n, _)| frames.get(*n));
            let Some(frame) = frame.filter(|_| self.filter.matches(&plain)) else { continue };
            let most = self.left.map_or(PACKETS_MAX as u64, |left| left.min(PACKETS_MAX as u64));
            if packets.len() as u64 >= most {
                self.lost += u64::from(self.left.is_none_or(|left| left > most));
                continue;
            }
            let with_hops = plain.iter().map(|event| match event {
                Event::Forward(hop) => (*event, director.next_hop(*hop)),
                _ => (*event, None),
            });
            packets.push(RawPacket { port: frame.port(), events: with_hops.collect() });
        }
        if !packets.is_empty() {
            self.send(now, packets, names);
        }
    }

    /// Returns whether somebody is there.
    fn send(&mut self, now: Instant, packets: Vec<RawPacket>, names: &Arc<[String]>) -> bool {
        let count = packets.len() as u64;
        let names = Arc::clone(names);
        let burst = TracedBurst { at: now, names, packets, lost: self.lost };
        match self.answers.send(Answer::Traced(burst)) {
            Sent::Taken => {
                (self.lost, self.last) = (0, now);
                self.left = self.left.map(|left| left.saturating_sub(count));
                true
            }
            Sent::Full(_) => {
                self.lost += count;
                true
            }
            Sent::Gone => false,
        }
    }

    fn goes_on(&mut self, now: Instant, names: &Arc<[String]>) -> bool {
        if self.left == Some(0) {
            return matches!(self.answers.send(Answer::Reply(Reply::Done)), Sent::Full(_));
        }
        now.saturating_since(self.last) < PULSE || self.send(now, Vec::new(), names)
    }
}
