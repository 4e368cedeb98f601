//! Between what messages carry and what a director announces.

use core::fmt;

use lvs_core::engine::{self, EngineData};
use lvs_core::flow::Protocol;
use lvs_core::snapshot::{Announced, Announcement, Method};
use lvs_core::state::State;
use lvs_core::time::Duration;

use crate::message::{Engine, Entry, Flags, Version};

/// Why an entry that can be read means nothing to a backup. Others of the same datagram do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// A connection of another protocol than TCP, UDP and SCTP.
    Protocol(Protocol),
    /// A state that the protocol, or a template, does not have.
    State(u16),
    /// A forwarding method that there is not.
    Method(u8),
    /// A connection of one packet, which ended with it.
    OnePacket,
    /// The client's port is not known: an FTP data connection, which is not followed here.
    NoClientPort,
    /// A template of a persistence engine that is not here.
    Engine,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Protocol(protocol) => {
                write!(f, "connections of protocol {} cannot be taken", protocol.0)
            }
            Refusal::State(state) => write!(f, "the protocol has no state {state}"),
            Refusal::Method(method) => write!(f, "there is no forwarding method {method}"),
            Refusal::OnePacket => f.write_str("a connection of one packet has ended"),
            Refusal::NoClientPort => {
                f.write_str("connections without a client's port are not followed")
            }
            Refusal::Engine => f.write_str("the persistence engine is not there"),
        }
    }
}

impl core::error::Error for Refusal {}

impl<'a> Entry<'a> {
    /// What a director announces as an entry of a message.
    pub fn of(announcement: &'a Announcement) -> Entry<'a> {
        let Announcement { protocol, client, virt, server, kind, .. } = *announcement;
        let method = match announcement.method {
            Method::Tunnel => Flags::TUNNEL,
            Method::Masquerade => Flags::MASQUERADE,
            Method::Bypass => Flags::BYPASS,
            // The only other one, and the one that needs the least of the other side.
            _ => Flags::DIRECT,
        };
        let (template, state) = match kind {
            Announced::Connection(state) => (0, number_of(protocol, state)),
            Announced::Template { assured } => (Flags::TEMPLATE, assured.into()),
        };
        let no_output = if announcement.answered { 0 } else { Flags::NO_OUTPUT };
        let inactive = if announcement.inactive { Flags::INACTIVE } else { 0 };
        let relayed = if announcement.relayed { Flags::RELAYED } else { 0 };
        Entry {
            flags: Flags(method | template | no_output | inactive | relayed),
            state,
            mark: announcement.mark,
            timeout: u32::try_from(announcement.timeout.as_secs()).unwrap_or(u32::MAX),
            engine: announcement
                .engine
                .as_ref()
                .map(|read| Engine { name: read.engine().name().as_bytes(), data: read.data() }),
            ..Entry::new(protocol, client, virt, server)
        }
    }

    /// What the entry of a message of this version announces. Sequence data is left out: of the programs inside a connection that would
    /// need it none is followed here.
    ///
    /// # Errors
    /// If it means nothing here.
    pub fn announcement(&self, version: Version) -> Result<Announcement, Refusal> {
        let flags = self.flags;
        // In version 1 the flag is none of a backup's business (rule Z9).
        if version == Version::Zero && flags.any(Flags::ONE_PACKET) {
            return Err(Refusal::OnePacket);
        }
        if flags.any(Flags::NO_CLIENT_PORT) {
            return Err(Refusal::NoClientPort);
        }
        let engine = self.engine.map_or(Ok(None), |engine| engine_data(&engine))?;
        let kind = match flags.any(Flags::TEMPLATE) {
            true if self.state > 1 => return Err(Refusal::State(self.state)),
            true => Announced::Template { assured: self.state == 1 },
            false => Announced::Connection(state_of(self.protocol, self.state)?),
        };
        let method = match flags.0 & Flags::METHOD {
            Flags::MASQUERADE => Method::Masquerade,
            Flags::TUNNEL => Method::Tunnel,
            // To the host itself a packet goes without a change too.
            Flags::DIRECT | Flags::LOCAL => Method::DirectRoute,
            Flags::BYPASS => Method::Bypass,
            other => return Err(Refusal::Method(other as u8)),
        };
        Ok(Announcement {
            protocol: self.protocol,
            client: self.client,
            virt: self.virt,
            server: self.server,
            method,
            kind,
            answered: !flags.any(Flags::NO_OUTPUT),
            inactive: flags.any(Flags::INACTIVE),
            relayed: flags.any(Flags::RELAYED),
            engine: engine.filter(|_| flags.any(Flags::TEMPLATE)),
            mark: self.mark,
            timeout: Duration::from_secs(self.timeout.into()),
        })
    }
}

/// What an engine of ours read; a name without data is looked past, as by the kernel.
fn engine_data(engine: &Engine<'_>) -> Result<Option<EngineData>, Refusal> {
    if engine.data.is_empty() {
        return Ok(None);
    }
    let name = core::str::from_utf8(engine.name).ok();
    let known = name.and_then(engine::Engine::of_name).ok_or(Refusal::Engine)?;
    EngineData::new(known, engine.data).ok_or(Refusal::Engine).map(Some)
}

/// TCP's states as the kernel numbers them.
const TCP: [State; 11] = [
    State::None,
    State::Established,
    State::SynSent,
    State::SynRecv,
    State::FinWait,
    State::TimeWait,
    State::Close,
    State::CloseWait,
    State::LastAck,
    State::Listen,
    State::SynAck,
];

/// SCTP's.
const SCTP: [State; 14] = [
    State::None,
    State::SctpInit1,
    State::SctpInit,
    State::SctpCookieSent,
    State::SctpCookieReplied,
    State::SctpCookieWait,
    State::SctpCookie,
    State::SctpCookieEchoed,
    State::SctpEstablished,
    State::SctpShutdownSent,
    State::SctpShutdownReceived,
    State::SctpShutdownAckSent,
    State::SctpRejected,
    State::SctpClosed,
];

/// The states of a protocol by their numbers; `None` for a protocol without connections.
fn states_of(protocol: Protocol) -> Option<&'static [State]> {
    match protocol {
        Protocol::TCP => Some(&TCP),
        Protocol::UDP => Some(&[State::Udp]),
        Protocol::SCTP => Some(&SCTP),
        _ => None,
    }
}

fn state_of(protocol: Protocol, number: u16) -> Result<State, Refusal> {
    let states = states_of(protocol).ok_or(Refusal::Protocol(protocol))?;
    states.get(usize::from(number)).copied().ok_or(Refusal::State(number))
}

fn number_of(protocol: Protocol, state: State) -> u16 {
    let position = states_of(protocol).and_then(|all| all.iter().position(|&one| one == state));
    // A datagram connection without a packet of its own is in no state yet, and in the kernel in its only one.
    position.unwrap_or(0) as u16
}
