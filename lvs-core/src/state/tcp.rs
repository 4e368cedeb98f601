//! The transitions of TCP (rules C1 to C5, C9).

use super::State::{
    Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA, Listen as LI,
    SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
};
use super::{Direction, State};
use crate::wire::tcp::TcpFlags;

/// The state that follows `state` on a TCP segment.
///
/// Of several flags RST counts before SYN, FIN and ACK; a segment with none of them closes (rule C2).
#[inline]
pub const fn tcp_step(state: State, direction: Direction, flags: TcpFlags) -> State {
    NEXT[direction as usize][column(flags)][state as usize & 15]
}

/// The same under `secure_tcp` (rule C9), where a SYN leads to SYNACK.
#[inline]
pub const fn tcp_step_secure(state: State, direction: Direction, flags: TcpFlags) -> State {
    NEXT_SECURE[direction as usize][column(flags)][state as usize & 15]
}

/// RST, SYN, FIN and ACK of a segment as a number below 16.
#[inline]
const fn column(flags: TcpFlags) -> usize {
    const _: () = assert!(TcpFlags::RST.0 | TcpFlags::SYN.0 | TcpFlags::FIN.0 == 7);
    const _: () = assert!(TcpFlags::ACK.0 >> 1 == 8);
    (flags.0 & 7 | flags.0 >> 1 & 8) as usize
}

/// For each direction and combination of flags the state that follows each state.
type Steps = [[[State; 16]; 16]; 3];

/// Every step worked out, so that a segment costs one look.
const NEXT: Steps = worked_out([&INPUT, &OUTPUT, &INPUT_ONLY]);
const NEXT_SECURE: Steps = worked_out([&INPUT_SECURE, &OUTPUT_SECURE, &INPUT_ONLY_SECURE]);

const fn worked_out(tables: [&Transitions; 3]) -> Steps {
    let mut next = [[[State::Close; 16]; 16]; 3];
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
}

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

#[rustfmt::skip]
const INPUT_SECURE: Transitions = [
    /*        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA */
    /* SYN */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA],
    /* FIN */ [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA],
    /* ACK */ [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA],
    /* RST */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
];

#[rustfmt::skip]
const OUTPUT_SECURE: Transitions = [
    /*        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA */
    /* SYN */ [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA],
    /* FIN */ [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
    /* ACK */ [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
    /* RST */ [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
];

#[rustfmt::skip]
const INPUT_ONLY_SECURE: Transitions = [
    /*        NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA */
    /* SYN */ [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA],
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
    fn under_secure_tcp_a_syn_waits_in_synack_for_two_minutes() {
        let step = |state, flags| tcp_step_secure(state, Direction::InputOnly, TcpFlags(flags));
        assert_eq!(step(State::None, 0x02), SA);
        assert_eq!(SA.default_timeout(), crate::time::Duration::from_secs(120));
        assert_eq!(step(SA, 0x10), ES);
        assert_eq!(step(SR, 0x02), SR);
        assert_eq!(
            tcp_step_secure(SA, Direction::Input, TcpFlags(0x10)),
            SA,
            "the server's half is awaited"
        );
    }
}
