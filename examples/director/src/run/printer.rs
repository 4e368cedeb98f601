//! Listings on standard output, written by a thread of their own so that a slow reader never holds up a
//! packet.

use std::fmt::Write as _;
use std::io::Write as _;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use lvs_admin::ipvsadm::{Columns, ListRequest, ListWhat};
use lvs_admin::listing::{self, Header, Listing};
use lvs_admin::names::NumericOnly;
use lvs_core::director::Director;
use lvs_core::listing::Cursor;
use lvs_core::stats::Stats;
use lvs_core::time::Instant;

/// Pieces of text that may wait for the reader.
const WAITING_MAX: usize = 64;
/// Connections listed between two bursts.
const CHUNK: usize = 256;

/// Prints listings piece by piece.
#[derive(Debug)]
pub(super) struct Printer {
    pieces: Sender<String>,
    thread: JoinHandle<()>,
    /// A listing of connections under way, and how many of them it holds so far.
    cursor: Option<(Cursor, usize)>,
    /// A piece that found no room yet.
    held: Option<String>,
}

impl Printer {
    pub(super) fn start() -> Printer {
        let (pieces, waiting): (Sender<String>, Receiver<String>) = bounded(WAITING_MAX);
        let thread = std::thread::spawn(move || {
            for piece in waiting {
                // Nobody reads any more: nothing to be done about it here.
                let mut out = std::io::stdout().lock();
                let _gone = out.write_all(piece.as_bytes()).and_then(|()| out.flush());
            }
        });
        Printer { pieces, thread, cursor: None, held: None }
    }

    /// Begins to print all listings; one that is under way is finished first.
    pub(super) fn list(&mut self, now: Instant, director: &mut Director) {
        if self.cursor.is_some() || self.held.is_some() {
            return;
        }
        let mut text = String::new();
        let services = director.services(now);
        for columns in [Columns::Plain, Columns::Stats, Columns::PersistentConn] {
            let request = ListRequest { columns, numeric: true, ..ListRequest::default() };
            let listing = Listing::new(Header::default(), request, &NumericOnly);
            infallible(listing.services(&mut text, &services));
            text.push('\n');
        }
        infallible(listing::timeouts(&mut text, &director.timeouts()));
        text.push('\n');
        write_stats(&mut text, director.stats());
        text.push('\n');
        infallible(connections().connections_title(&mut text));
        self.cursor = Some((Cursor::default(), 0));
        self.send(text);
    }

    /// Goes on with a listing of connections, if there is one and room for more. Returns whether to come
    /// back at once.
    pub(super) fn advance(&mut self, now: Instant, director: &mut Director) -> bool {
        if let Some(held) = self.held.take() {
            self.send(held);
        }
        if self.held.is_some() {
            // A slow reader is no reason not to sleep.
            return false;
        }
        let Some((mut cursor, listed)) = self.cursor.take() else { return false };
        let (mut entries, mut text) = (Vec::with_capacity(CHUNK), String::new());
        let more = director.connections(now, &mut cursor, CHUNK, &mut entries);
        infallible(connections().connections(&mut text, &entries));
        let listed = listed + entries.len();
        if more {
            self.cursor = Some((cursor, listed));
        } else {
            // Whoever reads along, a person or a script, sees that this was all.
            infallible(writeln!(text, "Connections and templates listed: {listed}"));
        }
        self.send(text);
        more && self.held.is_none()
    }

    /// Prints the totals and waits until all is written.
    pub(super) fn finish(self, stats: &Stats) {
        let mut text = String::new();
        write_stats(&mut text, stats);
        let Printer { pieces, thread, held, .. } = self;
        for piece in held.into_iter().chain([text]) {
            if pieces.send(piece).is_err() {
                break;
            }
        }
        drop(pieces);
        if thread.join().is_err() {
            tracing::error!("the thread that prints listings failed");
        }
    }

    fn send(&mut self, piece: String) {
        match self.pieces.try_send(piece) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(piece)) => self.held = Some(piece),
        }
    }
}

fn connections() -> Listing<'static> {
    let what = ListWhat::Connections;
    let request = ListRequest { what, numeric: true, ..ListRequest::default() };
    Listing::new(Header::default(), request, &NumericOnly)
}

/// What the director did with every frame it saw, reasons with a count of 0 left out.
fn write_stats(text: &mut String, stats: &Stats) {
    let total = &stats.total;
    let head = writeln!(
        text,
        "Frames: {} received, {} transmitted, {} replied, {} kept for later, {} originated, {} left to \
         the host, {} dropped\nTotals: {} connections, {} packets and {} bytes in, {} packets and {} \
         bytes out",
        stats.received,
        stats.transmitted,
        stats.replied,
        stats.absorbed,
        stats.originated,
        stats.passed_total(),
        stats.dropped_total(),
        total.connections,
        total.packets_in,
        total.bytes_in,
        total.packets_out,
        total.bytes_out,
    );
    infallible(head);
    let passed = lvs_core::drop::PassReason::ALL
        .iter()
        .map(|reason| ("left to the host", reason.name(), stats.passed(*reason)));
    let dropped = lvs_core::drop::DropReason::ALL
        .iter()
        .map(|reason| ("dropped", reason.name(), stats.dropped(*reason)));
    for (what, name, count) in passed.chain(dropped).filter(|(.., count)| *count > 0) {
        infallible(writeln!(text, "  {what}: {name} {count}"));
    }
}

/// A `String` takes everything that is written to it.
fn infallible(written: std::fmt::Result) {
    written.expect("INVARIANT: writing to a string cannot fail");
}
