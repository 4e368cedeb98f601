//! The states of a connection and how long each lasts.
//!
//! Sources: the kernel's tables as described in the rules C1 to C11, recorded by the scenarios
//! `tcp-states-one-way-all`, `tcp-states-dr`, `tcp-states-nat`, `secure-tcp`, `sctp-basic`, `sctp-states`, `udp-basic`
//! and `timeouts-set`.
//!
//! ```
//! use lvs_core::state::{Direction, State, tcp_step};
//! use lvs_core::wire::tcp::TcpFlags;
//!
//! let opened = tcp_step(State::None, Direction::InputOnly, TcpFlags::SYN);
//! let established = tcp_step(opened, Direction::InputOnly, TcpFlags::ACK);
//! assert_eq!((opened, established), (State::SynRecv, State::Established));
//! assert_eq!(established.default_timeout().as_secs(), 900);
//! ```

use crate::flow::Protocol;
use crate::time::Duration;
use crate::wire::sctp::Chunks;
use crate::wire::tcp::TcpFlags;

mod sctp;
mod tcp;

pub use sctp::sctp_step;
pub use tcp::{tcp_step, tcp_step_secure};

/// The state of a connection. TCP states come first, so that they index the transition table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum State {
    /// No packet has been through the state table yet.
    None,
    /// Data may flow.
    Established,
    /// A real server opened towards the client.
    SynSent,
    /// The client's SYN was seen.
    SynRecv,
    /// One side sent FIN.
    FinWait,
    /// Both sides sent FIN, or FIN came before the connection was established.
    TimeWait,
    /// RST, or a segment without flags.
    Close,
    /// The client's FIN of a connection whose other half is seen too.
    CloseWait,
    /// Waiting for the last ACK.
    LastAck,
    /// A server listens.
    Listen,
    /// SYN under `secure_tcp`.
    SynAck,
    /// UDP has only one.
    Udp,
    /// The client's INIT was seen.
    SctpInit1,
    /// An INIT was seen again, or what follows it without what comes between.
    SctpInit,
    /// The server answered INIT ACK.
    SctpCookieSent,
    /// The client's COOKIE ECHO was seen.
    SctpCookieReplied,
    /// A server opened towards the client.
    SctpCookieWait,
    /// The client answered the server's INIT.
    SctpCookie,
    /// A COOKIE ECHO of the server's.
    SctpCookieEchoed,
    /// Data may flow in an association.
    SctpEstablished,
    /// The server sent SHUTDOWN.
    SctpShutdownSent,
    /// The client sent SHUTDOWN.
    SctpShutdownReceived,
    /// The server answered SHUTDOWN ACK.
    SctpShutdownAckSent,
    /// The server answered INIT with ABORT.
    SctpRejected,
    /// The association ended.
    SctpClosed,
}

impl State {
    /// How many states there are.
    pub const COUNT: usize = State::SctpClosed as usize + 1;

    #[cfg(test)]
    const ALL: [State; State::COUNT] = [
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
        State::Udp,
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

    /// The state stored as `byte` in a connection; `None` for a byte no state has.
    #[inline]
    pub fn from_byte(byte: u8) -> State {
        // A match that the compiler knows for what it is, a comparison, where an array would be read.
        match byte {
            1 => State::Established,
            2 => State::SynSent,
            3 => State::SynRecv,
            4 => State::FinWait,
            5 => State::TimeWait,
            6 => State::Close,
            7 => State::CloseWait,
            8 => State::LastAck,
            9 => State::Listen,
            10 => State::SynAck,
            11 => State::Udp,
            12 => State::SctpInit1,
            13 => State::SctpInit,
            14 => State::SctpCookieSent,
            15 => State::SctpCookieReplied,
            16 => State::SctpCookieWait,
            17 => State::SctpCookie,
            18 => State::SctpCookieEchoed,
            19 => State::SctpEstablished,
            20 => State::SctpShutdownSent,
            21 => State::SctpShutdownReceived,
            22 => State::SctpShutdownAckSent,
            23 => State::SctpRejected,
            24 => State::SctpClosed,
            _ => State::None,
        }
    }

    /// The name as listings print it.
    pub const fn name(self) -> &'static str {
        match self {
            State::None => "NONE",
            State::Established => "ESTABLISHED",
            State::SynSent => "SYN_SENT",
            State::SynRecv => "SYN_RECV",
            State::FinWait => "FIN_WAIT",
            State::TimeWait => "TIME_WAIT",
            State::Close => "CLOSE",
            State::CloseWait => "CLOSE_WAIT",
            State::LastAck => "LAST_ACK",
            State::Listen => "LISTEN",
            State::SynAck => "SYNACK",
            State::Udp => "UDP",
            State::SctpInit1 => "INIT1",
            State::SctpInit => "INIT",
            State::SctpCookieSent => "C-SENT",
            State::SctpCookieReplied => "C-REPLIED",
            State::SctpCookieWait => "C-WAIT",
            State::SctpCookie => "COOKIE",
            State::SctpCookieEchoed => "C-ECHOED",
            State::SctpEstablished => "ESTABLISHED",
            State::SctpShutdownSent => "S-SENT",
            State::SctpShutdownReceived => "S-RECEIVED",
            State::SctpShutdownAckSent => "S-ACK-SENT",
            State::SctpRejected => "REJECTED",
            State::SctpClosed => "CLOSED",
        }
    }

    /// Whether a connection in this state counts as active (rule C4); of SCTP only established ones do.
    pub const fn is_active(self) -> bool {
        matches!(
            self,
            State::Established
                | State::SynSent
                | State::SynRecv
                | State::SynAck
                | State::SctpEstablished
        )
    }

    /// Whether the connection is established, which makes its template assured (rule R2).
    pub const fn is_established(self) -> bool {
        matches!(self, State::Established | State::SctpEstablished)
    }

    /// The timeout unless `--set` changed it.
    pub const fn default_timeout(self) -> Duration {
        Duration::from_secs(match self {
            State::None => 2,
            State::Established | State::SctpEstablished => 900,
            State::SynSent | State::FinWait | State::TimeWait | State::Listen | State::SynAck => {
                120
            }
            State::SynRecv | State::CloseWait => 60,
            State::Close => 10,
            State::LastAck => 30,
            State::Udp => 300,
            // Rule C10; a second more than RFC 9260's RTO.Max where the kernel adds one.
            State::SctpInit1 | State::SctpRejected => 4,
            State::SctpInit
            | State::SctpCookieSent
            | State::SctpCookieReplied
            | State::SctpCookieWait
            | State::SctpCookie
            | State::SctpCookieEchoed
            | State::SctpShutdownSent
            | State::SctpShutdownReceived
            | State::SctpShutdownAckSent
            | State::SctpClosed => 61,
        })
    }
}

/// A new connection's timeout until its first packet has been through the state table.
pub const NEW_TIMEOUT: Duration = Duration::from_secs(3);

/// Which side a packet came from, as far as the director can know the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Direction {
    /// From the client; the director sees the answers too.
    Input,
    /// From the real server.
    Output,
    /// From the client; no answer has ever been seen (DR, TUN).
    InputOnly,
}

/// What a packet says to the state of its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// A TCP segment with these flags.
    Tcp(TcpFlags),
    /// A UDP datagram.
    Udp,
    /// An SCTP packet with these chunks.
    Sctp(Chunks),
}

impl Signal {
    /// Of the first packet of a connection of a protocol; `None` for one that has no connections.
    pub const fn opening(protocol: Protocol) -> Option<Signal> {
        match protocol {
            Protocol::TCP => Some(Signal::Tcp(TcpFlags::SYN)),
            Protocol::UDP => Some(Signal::Udp),
            Protocol::SCTP => Some(Signal::Sctp(Chunks::INIT)),
            _ => None,
        }
    }

    /// Whether the packet begins a connection anew, so that one which ended gives way (rule C5).
    pub fn begins(self) -> bool {
        match self {
            Signal::Tcp(flags) => flags.syn(),
            Signal::Udp => false,
            Signal::Sctp(chunks) => chunks.first() == Chunks::INIT.first(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_being_stored_as_a_byte() {
        for state in State::ALL {
            assert_eq!(State::from_byte(state as u8), state);
        }
        assert_eq!(State::from_byte(255), State::None);
    }
}
