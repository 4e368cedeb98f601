//! `-R`: commands from standard input.

use std::io::{BufRead as _, Read as _};

use lvs_admin::ipvsadm::{self, Action};
use lvs_admin::words;

use super::save::OURS;
use super::{Failure, Typed, unexpected};
use crate::ClientError;
use crate::data::Change;
use crate::protocol::{Reply, Request};

/// Changes sent in one request.
const AT_ONCE: usize = 256;
/// The longest line, in bytes.
const LINE_MAX: u64 = 64 << 10;

/// What a line says.
enum Line {
    Nothing,
    Change(Box<Change>),
    Other(Vec<String>),
}

impl Typed<'_, '_> {
    /// Reads lines and carries them out in order, as ipvsadm does: a line that is wrong ends it, and what was
    /// done until then stays; a change that the director refuses is told and the next is tried; the exit
    /// status is that of the last line. Comments are passed over, all but our own of `-S`.
    pub(super) fn restore(&mut self) -> Result<(), Failure> {
        let mut changes = Vec::new();
        let mut status = 0;
        let mut number = 0;
        while let Some(text) = self.next_line()? {
            number += 1;
            match self.line(&text) {
                Ok(Line::Nothing) => {}
                Ok(Line::Change(change)) => {
                    changes.push(*change);
                    if changes.len() == AT_ONCE {
                        status = self.send(&mut changes)?.unwrap_or(status);
                    }
                }
                Ok(Line::Other(words)) => {
                    self.send(&mut changes)?;
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    status = match self.carry_out(&words) {
                        Ok(()) => 0,
                        Err(failure) => {
                            self.console.tell(&failure);
                            failure.status
                        }
                    };
                }
                Err(mut failure) => {
                    self.send(&mut changes)?;
                    failure.hint = format!("line {number}: {}", failure.hint);
                    return Err(failure);
                }
            }
        }
        status = self.send(&mut changes)?.unwrap_or(status);
        match status {
            0 => Ok(()),
            // It was told already.
            status => Err(Failure { status, ..Failure::refused("") }),
        }
    }

    /// Sends what was gathered and tells what was refused; returns the status of the last, if there is one.
    fn send(&mut self, changes: &mut Vec<Change>) -> Result<Option<u8>, Failure> {
        if changes.is_empty() {
            return Ok(None);
        }
        let changes = std::mem::take(changes);
        let outcomes = match self.ask(Request::Change { changes })? {
            Some(Reply::Outcomes(outcomes)) => outcomes,
            other => return Err(unexpected(other.as_ref())),
        };
        let mut status = None;
        for outcome in outcomes {
            status = Some(outcome.as_ref().map_or(0, |refusal| refusal.status));
            if let Some(refusal) = outcome {
                self.console.tell(&ClientError::Refused(refusal).into());
            }
        }
        Ok(status)
    }

    fn next_line(&mut self) -> Result<Option<String>, Failure> {
        let mut bytes = Vec::new();
        let mut limited = (&mut *self.console.input).take(LINE_MAX);
        limited
            .read_until(b'\n', &mut bytes)
            .map_err(|error| Failure::refused(format!("cannot read standard input: {error}")))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() as u64 == LINE_MAX {
            return Err(Failure::usage(format!("a line is longer than {LINE_MAX} bytes"), ""));
        }
        let text = String::from_utf8(bytes);
        Ok(Some(text.map_err(|_| Failure::usage("a line is no UTF-8 text", ""))?))
    }

    fn line(&self, text: &str) -> Result<Line, Failure> {
        let text = text.strip_prefix(OURS).unwrap_or(text);
        let words = match words::lines(text).next() {
            None => return Ok(Line::Nothing),
            Some(Err(error)) => {
                return Err(Failure::usage(error.kind.to_string(), error.kind.help()));
            }
            Some(Ok(words)) => words,
        };
        let mut words: Vec<String> = words.into_iter().map(|word| word.text).collect();
        let program = words[0].rsplit('/').next().unwrap_or_default();
        if matches!(program, "ipvsadm" | "lvsadm") {
            words.remove(0);
        }
        match words.first().map(String::as_str) {
            Some(first) if !first.starts_with('-') => return Ok(Line::Other(words)),
            _ => {}
        }
        match ipvsadm::parse(&words, self.console.names)? {
            Action::Change(command) => {
                let change = Change::try_from(&command);
                Ok(Line::Change(Box::new(change.map_err(|e| Failure::refused(e.to_string()))?)))
            }
            Action::Restore => Err(Failure::usage("-R within -R", "leave the line out")),
            _ => Ok(Line::Other(words)),
        }
    }
}
