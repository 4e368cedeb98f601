//! *Explain*: the path of a packet as data, from the code that decides it.
//!
//! The director is generic over an [`Explain`]. With [`Silent`], the default, the calls compile to
//! nothing; with an explainer attached the same code hands out an [`Event`] for each step.
//!
//! [The manual](crate::manual::verdicts) has an example.

use crate::command::ServiceKey;
use crate::dest::Hop;
use crate::drop::{DropReason, PassReason};
use crate::engine::EngineData;
use crate::flow::{Endpoint, FlowKey};
use crate::ids::{FwMark, PortId};
use crate::state::{Signal, State};
use crate::time::Duration;

/// Whether a destination was chosen, and if not, why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Eligibility {
    /// The scheduler's choice.
    Chosen,
    /// Could have been chosen.
    Eligible,
    /// Weight 0.
    Quiesced,
    /// Full (rule S14).
    Overloaded,
}

/// Why an existing connection was not used for its packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rescheduled {
    /// A SYN met an ended connection (`conn_reuse_mode`, rule C5).
    Reused,
    /// A SYN met a connection of a quiesced server (`expire_nodest_conn`, rule C6).
    Quiesced,
    /// The server was deleted (`expire_nodest_conn`, rules L2, L3).
    Deleted,
}

/// One step on the way of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// It is a fragment and waits for the others of its packet (rule F9).
    FragmentHeld {
        /// Where it belongs, in bytes.
        offset: u32,
        /// Bytes of the packet that are there now, headers not counted.
        held: u32,
    },
    /// It was the last one missing: from here on the whole packet is spoken of.
    Reassembled {
        /// How many fragments it came in.
        fragments: u32,
        /// Length of the IP packet in bytes.
        len: u32,
    },
    /// What the packet is.
    Flow(FlowKey),
    /// It belongs to a connection of this destination.
    ConnectionFound {
        /// The connection's destination.
        destination: Endpoint,
        /// Its state before the packet.
        state: State,
    },
    /// No connection has this key.
    ConnectionMissing,
    /// There is a connection, but the packet is scheduled anew.
    Rescheduled(Rescheduled),
    /// A rule set this mark.
    Marked(FwMark),
    /// It matches this service.
    Service(ServiceKey),
    /// It matches no service.
    NoService,
    /// It matches a service but may not open a connection (rules P1, P6, P7).
    MayNotOpen,
    /// A template sends the client to this destination.
    TemplateHit {
        /// The template's destination.
        destination: Endpoint,
        /// Connections it controls.
        holds: u32,
    },
    /// No template for this client.
    TemplateMissing {
        /// The key that was looked for.
        key: FlowKey,
    },
    /// The client's template could not be used any more: its server is deleted, or quiesced under
    /// `expire_quiescent_template` (rules R8, R9).
    TemplateSpoilt {
        /// The template's destination.
        destination: Endpoint,
    },
    /// A destination the scheduler looked at.
    Candidate {
        /// Its address.
        destination: Endpoint,
        /// Its weight.
        weight: u32,
        /// Its active connections.
        active: u32,
        /// Its inactive connections.
        inactive: u32,
        /// What became of it.
        eligibility: Eligibility,
    },
    /// The scheduler found no destination.
    NoDestination,
    /// There is none, but it goes on to where it was sent, past the real servers (rule P11).
    Bypassed,
    /// Which destination is chosen cannot be told without choosing: the scheduler has no
    /// [`duplicate`](crate::sched::Schedule::duplicate). Only
    /// [`Director::explain_flow`](crate::director::Director::explain_flow) says so.
    Unforeseeable,
    /// A connection was opened.
    Opened {
        /// Its destination.
        destination: Endpoint,
    },
    /// The connection's state after the packet.
    State {
        /// Before.
        from: State,
        /// After.
        to: State,
        /// How long it lasts without another packet.
        timeout: Duration,
    },
    /// One end of it was rewritten: the virtual one to the real server's, or in an answer back.
    Translated {
        /// What it was.
        from: Endpoint,
        /// What it is now.
        to: Endpoint,
    },
    /// Where it is sent.
    Forward(Hop),
    /// It waits for a neighbour's address.
    WaitsForNeighbor(PortId),
    /// It was dropped.
    Dropped(DropReason),
    /// It was left to the host.
    Passed(PassReason),
}

/// A packet that nobody has sent: for [`Director::explain_flow`](crate::director::Director::explain_flow).
///
/// It is whole, fits into every link, and lives long enough to be forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// The port it would come in by; mark rules may ask for it.
    pub port: PortId,
    /// Where it would come from and go to.
    pub flow: FlowKey,
    /// What it would say to the state of a connection; [`Signal::opening`] for the first one of a connection.
    pub signal: Signal,
    /// What a [persistence engine](crate::engine) would read in it.
    pub data: Option<EngineData>,
}

/// Takes the events of packets. `frame` is the frame's place in the burst.
pub trait Explain {
    /// One step; `event` is only called by explainers that want it.
    fn event(&mut self, frame: usize, event: impl FnOnce() -> Event);

    /// Whether events are wanted at all, for where a loop would be walked to make them.
    #[inline(always)]
    fn listens(&self) -> bool {
        true
    }
}

/// Explains nothing, at no cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Explain for Silent {
    #[inline(always)]
    fn event(&mut self, _: usize, _: impl FnOnce() -> Event) {}

    #[inline(always)]
    fn listens(&self) -> bool {
        false
    }
}

impl<F: FnMut(usize, Event)> Explain for F {
    fn event(&mut self, frame: usize, event: impl FnOnce() -> Event) {
        self(frame, event());
    }
}
