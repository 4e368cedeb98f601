//! The backup's side: datagrams become connections.

use core::fmt;

use lvs_core::director::Director;
use lvs_core::snapshot::{Heard, ImportError};
use lvs_core::time::Instant;

use crate::Refusal;
use crate::message::{EntryError, Message, MessageError};

/// What a backup is started with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// `--syncid`: the group that it belongs to; 0 belongs to all.
    pub syncid: u8,
}

/// What a backup did so far. Every datagram is in `messages` or in one of those that end with `_refused`,
/// every entry that a header tells of in one of the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Datagrams of the backup's group.
    pub messages: u64,
    /// Datagrams of other groups.
    pub syncid_refused: u64,
    /// Datagrams that are no messages.
    pub malformed_refused: u64,
    /// Entries that are new here and have their server.
    pub taken: u64,
    /// Entries that are new here and whose server is in no service.
    pub unbound: u64,
    /// Entries that brought up to date what was here.
    pub updated: u64,
    /// Entries that brought up to date what was unbound here, and bound it.
    pub bound: u64,
    /// Entries in whose favour another server's gave way.
    pub replaced: u64,
    /// Late ends of what another server has now.
    pub superseded: u64,
    /// Entries that cannot be read.
    pub malformed: u64,
    /// Entries behind one that cannot be read.
    pub lost: u64,
    /// Entries with an unknown option that must not be skipped.
    pub option: u64,
    /// Entries of protocols without connections here.
    pub protocol: u64,
    /// Entries in states that the protocol does not have, or of unknown forwarding methods.
    pub state: u64,
    /// Entries of one-packet connections, or without a client's port.
    pub kind: u64,
    /// Entries of persistence engines that are not here.
    pub engine: u64,
    /// Entries that found a table of the director full.
    pub full: u64,
    /// Entries that contradict themselves.
    pub invalid: u64,
}

impl Counters {
    /// The names and values, in the order above, for listings.
    pub fn named(&self) -> [(&'static str, u64); 18] {
        [
            ("messages", self.messages),
            ("syncid_refused", self.syncid_refused),
            ("malformed_refused", self.malformed_refused),
            ("taken", self.taken),
            ("unbound", self.unbound),
            ("updated", self.updated),
            ("bound", self.bound),
            ("replaced", self.replaced),
            ("superseded", self.superseded),
            ("malformed", self.malformed),
            ("lost", self.lost),
            ("option", self.option),
            ("protocol", self.protocol),
            ("state", self.state),
            ("kind", self.kind),
            ("engine", self.engine),
            ("full", self.full),
            ("invalid", self.invalid),
        ]
    }

    /// Entries that changed something.
    pub fn accepted(&self) -> u64 {
        self.taken + self.unbound + self.updated + self.bound + self.replaced
    }

    /// Entries that changed nothing, but for [late ends](Self::superseded).
    pub fn refused(&self) -> u64 {
        let unread = self.malformed + self.lost + self.option;
        unread + self.protocol + self.state + self.kind + self.engine + self.full + self.invalid
    }
}

/// Why a datagram was refused as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It is no message.
    Malformed(MessageError),
    /// It is of another group.
    SyncId {
        /// That group.
        theirs: u8,
        /// The backup's.
        ours: u8,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Malformed(error) => error.fmt(f),
            Refused::SyncId { theirs, ours } => {
                write!(f, "the message is of syncid {theirs}, and this backup has {ours}")
            }
        }
    }
}

impl core::error::Error for Refused {}

/// Why the first entry of a datagram that was refused was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Complaint {
    /// It cannot be read.
    Entry(EntryError),
    /// It means nothing here.
    Refusal(Refusal),
    /// The director does not take it.
    Import(ImportError),
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Complaint::Entry(error) => error.fmt(f),
            Complaint::Refusal(error) => error.fmt(f),
            Complaint::Import(error) => error.fmt(f),
        }
    }
}

/// What became of a datagram of the backup's group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// Entries that its header tells of.
    pub entries: u8,
    /// Of these, entries that changed something.
    pub accepted: u8,
    /// Why the first that was refused was, for the log.
    pub complaint: Option<Complaint>,
}

/// A backup of connection synchronisation; [the crate's page](crate) has an example.
#[derive(Clone, Debug)]
pub struct Backup {
    settings: Settings,
    counters: Counters,
    last_heard: Option<Instant>,
}

impl Backup {
    /// A backup that has heard nothing yet.
    pub fn new(settings: Settings) -> Backup {
        Backup { settings, counters: Counters::default(), last_heard: None }
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes a datagram into a director, entry by entry.
    ///
    /// # Errors
    /// If the datagram as a whole is refused; then nothing has changed but a counter.
    pub fn take(
        &mut self,
        now: Instant,
        director: &mut Director,
        datagram: &[u8],
    ) -> Result<Taken, Refused> {
        let message = Message::decode(datagram).map_err(|error| {
            self.counters.malformed_refused += 1;
            Refused::Malformed(error)
        })?;
        let (theirs, ours) = (message.syncid(), self.settings.syncid);
        if ours != 0 && theirs != ours {
            self.counters.syncid_refused += 1;
            return Err(Refused::SyncId { theirs, ours });
        }
        self.counters.messages += 1;
        self.last_heard = Some(now);
        let mut taken = Taken { entries: message.count(), ..Taken::default() };
        let version = message.version();
        let mut entries = message.entries();
        for entry in entries.by_ref() {
            let heard = entry
                .map_err(Complaint::Entry)
                .and_then(|entry| entry.announcement(version).map_err(Complaint::Refusal))
                .and_then(|given| {
                    director.take_announcement(now, &given).map_err(Complaint::Import)
                });
            match heard {
                Ok(heard) => {
                    *self.counter_of(heard) += 1;
                    taken.accepted += u8::from(heard != Heard::Superseded);
                }
                Err(complaint) => {
                    *self.counter_against(complaint) += 1;
                    taken.complaint.get_or_insert(complaint);
                }
            }
        }
        self.counters.lost += u64::from(entries.lost());
        Ok(taken)
    }

    /// What it did so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// When the last message of its group came.
    pub fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }

    fn counter_of(&mut self, heard: Heard) -> &mut u64 {
        let counters = &mut self.counters;
        match heard {
            Heard::Taken => &mut counters.taken,
            Heard::Unbound => &mut counters.unbound,
            Heard::Updated => &mut counters.updated,
            Heard::Bound => &mut counters.bound,
            Heard::Replaced => &mut counters.replaced,
            Heard::Superseded => &mut counters.superseded,
        }
    }

    fn counter_against(&mut self, complaint: Complaint) -> &mut u64 {
        let counters = &mut self.counters;
        match complaint {
            Complaint::Entry(EntryError::UnknownOption(_)) => &mut counters.option,
            Complaint::Entry(_) => &mut counters.malformed,
            Complaint::Refusal(Refusal::Protocol(_)) => &mut counters.protocol,
            Complaint::Refusal(Refusal::State(_) | Refusal::Method(_)) => &mut counters.state,
            Complaint::Refusal(Refusal::OnePacket | Refusal::NoClientPort) => &mut counters.kind,
            Complaint::Refusal(Refusal::Engine) => &mut counters.engine,
            Complaint::Import(ImportError::Limit(_) | ImportError::Timeouts) => &mut counters.full,
            Complaint::Import(_) => &mut counters.invalid,
        }
    }
}

#[cfg(test)]
mod tests;
