//! The states of a connection and how long each lasts.
//!
//! Sources: the kernel's tables as described in the rules C1 to C11, recorded by the scenarios
//! `tcp-states-one-way-all`, `tcp-states-dr`, `tcp-states-nat`, `udp-basic` and `timeouts-set`.

use crate::flow::Protocol;
use crate::time::Duration;
use crate::wire::tcp::TcpFlags;

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
}

impl State {
    /// How many states there are.
    pub const COUNT: usize = State::Udp as usize + 1;

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
        }
    }

    /// Whether a connection in this state counts as active (rule C4).
    pub const fn is_active(self) -> bool {
        matches!(self, State::Established | State::SynSent | State::SynRecv | State::SynAck)
    }

    /// The timeout unless `--set` changed it.
    pub const fn default_timeout(self) -> Duration {
        Duration::from_secs(match self {
            State::None => 2,
            State::Established => 900,
            State::SynSent | State::FinWait | State::TimeWait | State::Listen | State::SynAck => {
                120
            }
            State::SynRecv | State::CloseWait => 60,
            State::Close => 10,
            State::LastAck => 30,
            State::Udp => 300,
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

/// The state that follows `state` on a TCP segment.
///
/// Of several flags RST counts before SYN, FIN and ACK; a segment with none of them closes (rule C2).
#[inline]
pub const fn tcp_step(state: State, direction: Direction, flags: TcpFlags) -> State {
    NEXT[direction as usize][column(flags)][state as usize]
}

/// RST, SYN, FIN and ACK of a segment as a number below 16.
#[inline]
const fn column(flags: TcpFlags) -> usize {
    const _: () = assert!(TcpFlags::RST.0 | TcpFlags::SYN.0 | TcpFlags::FIN.0 == 7);
    const _: () = assert!(TcpFlags::ACK.0 >> 1 == 8);
    (flags.0 & 7 | flags.0 >> 1 & 8) as usize
}

/// Every step worked out, so that a segment costs one look: for each direction and combination of flags
/// the state that follows each state.
const NEXT: [[[State; 16]; 16]; 3] = {
    let mut next = [[[State::Close; 16]; 16]; 3];
    let tables = [&INPUT, &OUTPUT, &INPUT_ONLY];
    let mut direction = 0;
    while direction < 3 {
        let mut bits = 0;
        while bits < 256 {
            let flags = TcpFlags(bits as u8);
            if let Some(row) = row(flags) {
                let mut state = 0;
                while state < TCP_STATES {
                    next[direction][column(flags)][state] = tables[direction][row][state];
                    state += 1;
                }
            }
            bits += 1;
        }
        direction += 1;
    }
    next
};

/// The row of the tables that a segment's flags choose.
const fn row(flags: TcpFlags) -> Option<usize> {
    if flags.rst() {
        Some(3)
    } else if flags.syn() {
        Some(0)
    } else if flags.fin() {
        Some(1)
    } else if flags.ack() {
        Some(2)
    } else {
        None
    }
}

/// The state that follows on a packet of a protocol without states of its own.
#[inline]
pub const fn other_step(protocol: Protocol) -> State {
    match protocol {
        Protocol::UDP => State::Udp,
        _ => State::None,
    }
}

use State::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI,
    SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};

/// The states of TCP, which come first.
const TCP_STATES: usize = 11;
/// Rows SYN, FIN, ACK, RST; columns the TCP states in the order of [`State`].
type Transitions = [[State; TCP_STATES]; 4];

#[rustfmt::skip]
const INPUT: Transitions = [
    /*        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA */
    /* SYN */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    /* FIN */ [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
    /* ACK */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    /* RST */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
];

#[rustfmt::skip]
const OUTPUT: Transitions = [
    /*        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA */
    /* SYN */ [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
    /* FIN */ [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    /* ACK */ [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    /* RST */ [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
];

#[rustfmt::skip]
const INPUT_ONLY: Transitions = [
    /*        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA */
    /* SYN */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
    /* FIN */ [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
    /* ACK */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
    /* RST */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

const _: () = assert!(SA as usize == TCP_STATES - 1, "TCP states must index the columns");

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the conformance rules, client's half only: each state with what S, A, FA, R make.
    #[test]
    fn a_one_way_connection_follows_the_recorded_table() {
        let (s, a, fa, r) = (TcpFlags(0x02), TcpFlags(0x10), TcpFlags(0x11), TcpFlags(0x04));
        let rows = [
            (SR, SR, ES, TW, SR),
            (ES, ES, ES, FW, CL),
            (FW, SR, FW, FW, CL),
            (TW, SR, TW, TW, CL),
            (CL, SR, CL, CL, CL),
        ];
        for (state, on_s, on_a, on_fa, on_r) in rows {
            let step = |flags| tcp_step(state, Direction::InputOnly, flags);
            assert_eq!(
                [step(s), step(a), step(fa), step(r)],
                [on_s, on_a, on_fa, on_r],
                "{state:?}"
            );
            assert_eq!(step(TcpFlags(0)), CL, "{state:?} without flags");
        }
    }

    #[test]
    fn a_state_survives_being_stored_as_a_byte() {
        for state in State::ALL {
            assert_eq!(State::from_byte(state as u8), state);
        }
        assert_eq!(State::from_byte(255), State::None);
    }
}
