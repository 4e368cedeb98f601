//! Conversations without a socket: both sides in one thread.

use std::io::{self, BufRead, Write};
use std::time::Duration;

use lvs_core::time::Instant;

use super::{Asker, Desk, Order, Program};
use crate::protocol::Reply;
use crate::server::{Conversation, Courier, Next};

impl Desk {
    /// Answers the requests that `input` holds as a connection to the socket has them answered, with the
    /// steps of the loop in between, all in this thread: for tests, for fuzzing, and for programs whose
    /// requests come in some other way. Returns how many were answered.
    ///
    /// A request that is none ends the conversation after its refusal, as at the socket. So does a
    /// [trace](crate::Request::Trace): its packets come by, if at all, while nobody is in here.
    ///
    /// # Errors
    /// If `input` cannot be read or `output` not be written.
    pub fn converse(
        &mut self,
        now: Instant,
        program: &mut dyn Program,
        input: &mut dyn BufRead,
        output: &mut dyn Write,
    ) -> io::Result<u64> {
        let mut answered = 0;
        let asker = self.asker();
        let mut courier = InTurns { now, program, desk: self, asker, unfinished: false };
        let mut conversation = Conversation::new(input, output);
        loop {
            match conversation.request(&mut courier, &mut |_| Ok(())) {
                Ok(Next::Request) => answered += 1,
                Ok(Next::Close) => return Ok(answered),
                Err(_) if courier.unfinished => return Ok(answered),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Serves the desk until the answer is whole.
struct InTurns<'d> {
    now: Instant,
    program: &'d mut dyn Program,
    desk: &'d mut Desk,
    asker: Asker,
    /// An answer has begun that nothing here will end: that of a trace.
    unfinished: bool,
}

impl Courier for InTurns<'_> {
    fn carry(
        &mut self,
        order: Order,
        take: &mut dyn FnMut(Reply, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        let stopping = |error| io::Error::other(error);
        let replies = self.asker.ask(order).map_err(stopping)?;
        loop {
            let more = self.desk.serve(self.now, self.program);
            while let Some(reply) = replies.next_within(Duration::ZERO).map_err(stopping)? {
                let is_last = reply.is_last();
                take(reply, is_last || replies.is_empty())?;
                if is_last {
                    return Ok(());
                }
            }
            if !more {
                self.unfinished = true;
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }
}
