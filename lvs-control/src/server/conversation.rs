//! Requests in, answers out, over any two streams.

use std::io::{self, BufRead, Write};

use lvs_admin::rules::Rules;

use super::orders::{Asked, asked, understand};
use crate::desk::Order;
use crate::protocol::{REQUEST_MAX, Refusal, Reply};
use crate::replacement::replace;
use crate::wire::{self, ReadError};

/// Takes orders to the director and brings back what it says.
pub(crate) trait Courier {
    /// Has an order carried out. `take` gets each part of the answer, and whether the next one has yet to
    /// come.
    ///
    /// # Errors
    /// If there will be no whole answer, or `take` fails.
    fn carry(
        &mut self,
        order: Order,
        take: &mut dyn FnMut(Reply, bool) -> io::Result<()>,
    ) -> io::Result<()>;
}

/// What is left to do after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Request,
    Close,
}

/// One client's requests and their answers.
pub(crate) struct Conversation<R, W> {
    pub(super) reader: R,
    pub(super) writer: W,
}

impl<R: BufRead, W: Write> Conversation<R, W> {
    pub(crate) fn new(reader: R, writer: W) -> Conversation<R, W> {
        Conversation { reader, writer }
    }

    /// One request with its answer; `room` is asked before more than so many bytes of it are kept. An error
    /// is the end of the connection, told already if possible.
    pub(crate) fn request(
        &mut self,
        courier: &mut dyn Courier,
        room: &mut dyn FnMut(usize) -> io::Result<()>,
    ) -> io::Result<Next> {
        let mut line = Vec::new();
        match wire::read_line(&mut self.reader, &mut line, REQUEST_MAX, room) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Next::Close),
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Ok(Next::Close);
            }
            Err(error) => {
                let message = match &error {
                    ReadError::TooLong(longest) => {
                        format!("the request is longer than {longest} bytes; send it in parts")
                    }
                    other => format!("no whole request came: {other}"),
                };
                self.reply(&Reply::Refused(Refusal::new(message)))?;
                return Ok(Next::Close);
            }
        }
        let request = match understand(&line) {
            Ok(request) => request,
            Err(refusal) => {
                self.reply(&Reply::Refused(refusal))?;
                return Ok(Next::Close);
            }
        };
        drop(line);
        match asked(request) {
            Ok(Asked::Order(order)) => self.answer(courier, order)?,
            Ok(Asked::Replace { rules, dry_run }) => self.replace(courier, *rules, dry_run)?,
            Err(refusal) => self.reply(&Reply::Refused(refusal))?,
        }
        Ok(Next::Request)
    }

    /// Has an order carried out and sends on what comes back.
    fn answer(&mut self, courier: &mut dyn Courier, order: Order) -> io::Result<()> {
        let (writer, mut scratch) = (&mut self.writer, Vec::new());
        courier.carry(order, &mut |reply, last_for_now| {
            wire::write_line(writer, &mut scratch, &reply)?;
            if last_for_now { writer.flush() } else { Ok(()) }
        })?;
        self.writer.flush()
    }

    /// Has a whole rules file take the place of what there is, and sends the plan.
    fn replace(
        &mut self,
        courier: &mut dyn Courier,
        rules: Rules,
        dry_run: bool,
    ) -> io::Result<()> {
        let mut carry = |order| {
            let mut first = None;
            courier.carry(order, &mut |reply, _| {
                first.get_or_insert(reply);
                Ok(())
            })?;
            Ok(first)
        };
        match replace(&mut carry, rules, dry_run)? {
            Ok(plan) => {
                self.reply(&Reply::Plan(plan))?;
                self.reply(&Reply::Done)
            }
            Err(refusal) => self.reply(&Reply::Refused(refusal)),
        }
    }

    fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        wire::write_line(&mut self.writer, &mut Vec::new(), reply)?;
        self.writer.flush()
    }
}
