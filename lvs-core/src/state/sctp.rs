//! The transitions of SCTP (rule C10).

use super::State::{
    None as NO, SctpClosed as CL, SctpCookie as CO, SctpCookieEchoed as CE,
    SctpCookieReplied as CR, SctpCookieSent as CS, SctpCookieWait as CW, SctpEstablished as ES,
    SctpInit as IN, SctpInit1 as I1, SctpRejected as RJ, SctpShutdownAckSent as SA,
    SctpShutdownReceived as SR, SctpShutdownSent as SS,
};
use super::{Direction, State};
use crate::wire::sctp::Chunk;

/// The state that follows `state` on a packet whose telling chunk is `chunk`; most leave it as it is.
pub const fn sctp_step(state: State, direction: Direction, chunk: Chunk) -> State {
    match direction {
        Direction::Input => input(state, chunk),
        Direction::Output => output(state, chunk),
        Direction::InputOnly => input_only(state, chunk),
    }
}

const fn input(state: State, chunk: Chunk) -> State {
    match (chunk, state) {
        (Chunk::Data, NO) => ES,
        (Chunk::Init, NO) => I1,
        (Chunk::Init, I1 | RJ | CL) => IN,
        (Chunk::InitAck, NO | I1 | IN) => CW,
        (Chunk::InitAck, CW) => CO,
        (Chunk::CookieEcho, NO | CS) => CR,
        (Chunk::CookieEcho, I1) => IN,
        (Chunk::CookieAck, NO | CE) => ES,
        (Chunk::Shutdown, NO | ES) => SR,
        (Chunk::ShutdownAck, NO | SS | SA) => CL,
        (Chunk::ShutdownAck, I1) => IN,
        (Chunk::ShutdownComplete, NO | I1 | IN | SA) => CL,
        (Chunk::Error, NO | CE) => CL,
        (Chunk::Abort, CW) => RJ,
        (Chunk::Abort, _) => CL,
        _ => state,
    }
}

const fn output(state: State, chunk: Chunk) -> State {
    match (chunk, state) {
        (Chunk::Data, NO) => ES,
        (Chunk::Init, ES) => ES,
        (Chunk::Init, _) => CW,
        (Chunk::InitAck, NO | I1 | IN) => CS,
        (Chunk::CookieEcho, NO | I1 | IN | CS | CR | CW | CO) => CE,
        (Chunk::CookieAck, NO | I1 | IN | CS | CR | CW | CO | CE) => ES,
        (Chunk::Shutdown, NO | I1 | IN | CS | CR | CW | CO | CE | ES) => SS,
        (Chunk::ShutdownAck, NO | I1 | IN | CS | CR | SS | SR) => SA,
        (Chunk::ShutdownComplete, NO) => CL,
        (Chunk::Error, NO | I1 | IN | CS | CR) => CL,
        (Chunk::Abort, I1) => RJ,
        (Chunk::Abort, _) => CL,
        _ => state,
    }
}

const fn input_only(state: State, chunk: Chunk) -> State {
    match (chunk, state) {
        (Chunk::Data, NO | CW) => ES,
        (Chunk::Init, NO) => I1,
        (Chunk::Init, I1 | CS | CR | CW | RJ | CL) => IN,
        (Chunk::InitAck, NO | I1 | IN | CS | CR | CW) => CE,
        (Chunk::CookieEcho, NO | I1 | IN | CS | CR | CW) => ES,
        (Chunk::CookieAck, NO | CS | CR | CO | CE) => ES,
        (Chunk::Shutdown, NO | ES) => SR,
        (Chunk::ShutdownAck, NO | ES | SS | SA) => CL,
        (Chunk::ShutdownAck, I1) => IN,
        (Chunk::ShutdownComplete, NO | I1 | IN | CS | CR | SR | SA) => CL,
        (Chunk::Error, NO) => CL,
        (Chunk::Abort, CW) => RJ,
        (Chunk::Abort, _) => CL,
        _ => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_half_alone_establishes_an_association_by_its_cookie() {
        let walk = |chunks: &[Chunk]| {
            chunks.iter().fold(NO, |state, &chunk| sctp_step(state, Direction::InputOnly, chunk))
        };
        assert_eq!(walk(&[Chunk::Init]), I1);
        assert_eq!(walk(&[Chunk::Init, Chunk::CookieEcho]), ES);
        assert_eq!(walk(&[Chunk::Init, Chunk::CookieEcho, Chunk::Data]), ES);
        assert_eq!(walk(&[Chunk::Init, Chunk::CookieEcho, Chunk::Shutdown]), SR);
        assert_eq!(walk(&[Chunk::Init, Chunk::CookieEcho, Chunk::Abort, Chunk::Init]), IN);
    }

    #[test]
    fn both_halves_walk_through_the_handshake_and_the_shutdown() {
        let steps = [
            (Direction::Input, Chunk::Init, I1),
            (Direction::Output, Chunk::InitAck, CS),
            (Direction::Input, Chunk::CookieEcho, CR),
            (Direction::Output, Chunk::CookieAck, ES),
            (Direction::Input, Chunk::Data, ES),
            (Direction::Input, Chunk::Shutdown, SR),
            (Direction::Output, Chunk::ShutdownAck, SA),
            (Direction::Input, Chunk::ShutdownComplete, CL),
        ];
        let mut state = NO;
        for (direction, chunk, next) in steps {
            state = sctp_step(state, direction, chunk);
            assert_eq!(state, next, "{chunk:?}");
        }
    }
}
