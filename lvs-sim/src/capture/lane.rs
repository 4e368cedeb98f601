//! One director that a capture goes through.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lvs_admin::rules::Rules;
use lvs_core::addr::{MacAddr, Prefix};
use lvs_core::command::{Command, Neighborhood, PortSpec, RouteSpec};
use lvs_core::director::Director;
use lvs_core::explain::Event;
use lvs_core::flow::{Endpoint, FlowKey};
use lvs_core::ids::PortId;
use lvs_core::io::mem::{MemConfig, MemIo};
use lvs_core::io::{FrameIo, Verdict};
use lvs_core::time::Instant;

use super::{CaptureError, CaptureOptions};
use crate::net::station_mac;

/// Where the capture comes in.
const IN: PortId = PortId(0);
/// Where the real servers are.
const OUT: PortId = PortId(1);
/// The director's addresses on both.
const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 1, 1])];
/// Captures hold super-frames that a network card cuts or has put together; they are no reason for an
/// ICMP error.
const MTU: u32 = 65_535;

/// A director with the rules in force, and what became of the last frame.
pub(super) struct Lane {
    director: Director,
    io: MemIo,
    /// The steps of the last frame.
    pub(super) events: Vec<Event>,
    verdict: Option<Verdict>,
}

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It went to this server.
    Server(Endpoint),
    /// It was answered with an ICMP error.
    Refused,
    /// It is a fragment and waits for the others of its packet.
    Held,
    /// It was dropped, for the reason of this name.
    Dropped(&'static str),
    /// It was left to the host, for the reason of this name.
    Left(&'static str),
}

impl std::fmt::Display for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fate::Server(server) => write!(f, "{server}"),
            Fate::Refused => f.write_str("refused"),
            Fate::Held => f.write_str("held"),
            Fate::Dropped(reason) => write!(f, "dropped ({reason})"),
            Fate::Left(reason) => write!(f, "left to the host ({reason})"),
        }
    }
}

impl Lane {
    pub(super) fn new(rules: &Rules, options: &CaptureOptions) -> Result<Lane, CaptureError> {
        let mut director = Director::new(options.limits, options.seed)?;
        for command in commands(rules, options)? {
            director
                .apply(Instant::ZERO, command.clone())
                .map_err(|error| CaptureError::Rules(format!("{error} ({command:?})")))?;
        }
        let config = MemConfig { burst_max: 1, ..MemConfig::default() };
        Ok(Lane { director, io: MemIo::with_config(config), events: Vec::new(), verdict: None })
    }

    /// Lends a frame to the director at its own time; what is sent because of it, or became due since
    /// the last one, goes to `sent`.
    pub(super) fn feed(&mut self, now: Instant, frame: &[u8], mut sent: impl FnMut(&[u8])) {
        self.run_timers(now, &mut sent);
        self.events.clear();
        self.verdict = None;
        let mut frame = frame.to_vec();
        // Whoever it was sent to, the packet is what counts; groups stay groups.
        if frame.len() >= 6 && frame[0] & 1 == 0 {
            frame[..6].copy_from_slice(&MACS[0].0);
        }
        self.io.push(IN, &frame);
        let Lane { director, events, verdict, io } = self;
        let Ok(_) = io.exchange(&mut |frames| {
            let mut explain = |_: usize, event: Event| events.push(event);
            director.process_burst_explained(now, frames, &mut explain);
            *verdict = frames.first().map(|frame| frame.verdict);
        });
        self.flush(now, &mut sent);
    }

    fn run_timers(&mut self, now: Instant, sent: &mut impl FnMut(&[u8])) {
        if self.director.next_deadline().is_some_and(|due| due <= now) {
            self.director.handle_timers(now, usize::MAX);
            self.flush(now, sent);
        }
    }

    fn flush(&mut self, now: Instant, sent: &mut impl FnMut(&[u8])) {
        let director = &mut self.director;
        let Ok(_) = self.io.inject(&mut |frame| director.poll_transmit(now, frame));
        for port in [IN, OUT] {
            self.io.sent(port).iter().for_each(|frame| sent(&frame.bytes));
        }
        self.io.passed();
        self.io.dropped();
    }

    pub(super) fn director(&mut self) -> &mut Director {
        &mut self.director
    }

    /// The flow of the last frame, if it was one that could be scheduled.
    pub(super) fn flow(&self) -> Option<FlowKey> {
        self.events.iter().find_map(|event| match event {
            Event::Flow(flow) => Some(*flow),
            _ => None,
        })
    }

    /// What became of the last frame.
    pub(super) fn fate(&self) -> Fate {
        let server = self.events.iter().rev().find_map(|event| match event {
            Event::Opened { destination } | Event::ConnectionFound { destination, .. } => {
                Some(*destination)
            }
            _ => None,
        });
        // What became of a packet whose fragments were kept is told besides.
        let told = self.events.iter().rev().find_map(|event| match event {
            Event::FragmentHeld { .. } => Some(Fate::Held),
            Event::Passed(reason) => Some(Fate::Left(reason.name())),
            _ => None,
        });
        if let (Some(Verdict::Absorb), Some(fate)) = (self.verdict, told) {
            return fate;
        }
        match (self.verdict, server) {
            (Some(Verdict::Transmit(_) | Verdict::Absorb), Some(server)) => Fate::Server(server),
            (Some(Verdict::Transmit(_) | Verdict::Absorb | Verdict::Reply(_)), _) => Fate::Refused,
            (Some(Verdict::Drop(reason)), _) => Fate::Dropped(reason.name()),
            (Some(Verdict::Pass(reason)), _) => Fate::Left(reason.name()),
            (None, _) => Fate::Dropped("not received"),
        }
    }
}

/// What makes a fresh director the one of the rules: two ports, every server a known neighbour behind the
/// second, every virtual address local.
fn commands(rules: &Rules, options: &CaptureOptions) -> Result<Vec<Command>, CaptureError> {
    let quiet = Neighborhood { resolve_ahead: false, probe_virtual: None };
    let mut commands = vec![Command::SetNeighborhood(quiet)];
    commands.extend([IN, OUT].map(|id| {
        let mac = MACS[id.index()];
        Command::SetPort(PortSpec { id, mac, mtu: MTU, addresses: Vec::new() })
    }));
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    commands.push(Command::SetRoutes(
        everywhere
            .into_iter()
            .filter_map(|addr| Prefix::new(addr, 0))
            .map(|prefix| RouteSpec { prefix, port: Some(OUT), via: None })
            .collect(),
    ));
    let local: BTreeSet<IpAddr> =
        rules.virtual_addresses().into_iter().chain(options.addresses.iter().copied()).collect();
    let servers: BTreeSet<IpAddr> =
        rules.services().iter().flat_map(|s| &s.destinations).map(|d| d.addr.addr).collect();
    commands.extend(
        servers.iter().filter(|addr| !local.contains(addr)).map(|&addr| Command::SetNeighbor {
            port: OUT,
            addr,
            mac: station_mac(addr),
        }),
    );
    commands.extend(local.into_iter().map(|addr| Command::AddLocal { addr, answer: false }));
    // A capture has no interfaces; a rule for one of them is taken to mean where the capture was made.
    let rules =
        rules.commands(|_| Some(IN)).map_err(|error| CaptureError::Rules(error.to_string()))?;
    commands.extend(rules);
    Ok(commands)
}
