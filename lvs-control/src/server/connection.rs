//! One connection of the socket: a conversation with time limits, in a thread of its own.

use std::io::{self, BufReader, BufWriter};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::conversation::{Conversation, Courier, Next};
use super::{REQUESTS_MAX, Shared};
use crate::desk::{Order, Stopping};
use crate::protocol::{Refusal, Reply};

/// How often a quiet answer is held against a client that may be gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Bytes that each connection may use without asking.
const OWN: usize = 64 << 10;

pub(super) struct Connection<'s> {
    conversation: Conversation<BufReader<Patient<'s>>, BufWriter<&'s UnixStream>>,
    stream: &'s UnixStream,
    shared: &'s Shared,
    /// Bytes of the common room that the present request takes.
    claimed: usize,
}

impl<'s> Connection<'s> {
    pub(super) fn new(stream: &'s UnixStream, shared: &'s Shared) -> Connection<'s> {
        let request = shared.patience.request;
        let patient = Patient { stream, until: Instant::now() + request, request };
        let writer = BufWriter::with_capacity(OWN, stream);
        let conversation = Conversation::new(BufReader::new(patient), writer);
        Connection { conversation, stream, shared, claimed: 0 }
    }

    /// Answers requests until the client leaves, takes too long, or sends what is none.
    pub(super) fn serve(mut self) {
        let set = self
            .stream
            .set_nonblocking(false)
            .and_then(|()| self.stream.set_write_timeout(Some(self.shared.patience.reader)));
        if set.is_err() {
            return;
        }
        while let Ok(Next::Request) = self.request() {
            self.release();
            let idle = Instant::now() + self.shared.patience.idle;
            self.conversation.reader.get_mut().until = idle;
        }
    }

    fn request(&mut self) -> io::Result<Next> {
        let (shared, claimed) = (self.shared, &mut self.claimed);
        let mut courier = AtLoop { stream: self.stream, shared };
        self.conversation.request(&mut courier, &mut |len| claim(shared, claimed, len))
    }

    fn release(&mut self) {
        self.shared.requests.fetch_sub(std::mem::take(&mut self.claimed), Ordering::SeqCst);
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

/// Takes orders to the loop in its thread.
struct AtLoop<'s> {
    stream: &'s UnixStream,
    shared: &'s Shared,
}

impl Courier for AtLoop<'_> {
    fn carry(
        &mut self,
        order: Order,
        take: &mut dyn FnMut(Reply, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        let stopping = |Stopping| Reply::Refused(Refusal::new(Stopping.to_string()));
        let replies = match self.shared.asker.ask(order) {
            Ok(replies) => replies,
            Err(error) => return take(stopping(error), true),
        };
        loop {
            let reply = match replies.next_within(LOOK_EVERY) {
                Ok(Some(reply)) => reply,
                Ok(None) if self.is_gone() => return Err(io::ErrorKind::ConnectionAborted.into()),
                Ok(None) => continue,
                Err(error) => return take(stopping(error), true),
            };
            let is_last = reply.is_last();
            take(reply, is_last || replies.is_empty())?;
            if is_last {
                return Ok(());
            }
        }
    }
}

impl AtLoop<'_> {
    /// Whether the client has closed its side.
    fn is_gone(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let mut byte = [0];
        let looked = recv(self.stream, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        match looked {
            Ok((0, _)) => true,
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => false,
            Err(_) => true,
        }
    }
}

/// Takes room for a request that is `len` bytes long so far, in large steps.
fn claim(shared: &Shared, claimed: &mut usize, len: usize) -> io::Result<()> {
    let wanted = len.saturating_sub(OWN).next_multiple_of(OWN);
    if wanted <= *claimed {
        return Ok(());
    }
    let more = wanted - *claimed;
    if shared.requests.fetch_add(more, Ordering::SeqCst) + more > REQUESTS_MAX {
        shared.requests.fetch_sub(more, Ordering::SeqCst);
        return Err(io::Error::other("too many long requests come at once; try again"));
    }
    *claimed = wanted;
    Ok(())
}

/// A stream that is read until a certain time.
struct Patient<'s> {
    stream: &'s UnixStream,
    until: Instant,
    /// How long a request may take once it has begun.
    request: Duration,
}

impl io::Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
        }
        self.stream.set_read_timeout(Some(left))?;
        match (&mut &*self.stream).read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"))
            }
            Ok(read) => {
                // The rest of a request that has begun is to come soon, however long it was idle before.
                self.until = self.until.min(Instant::now() + self.request);
                Ok(read)
            }
            other => other,
        }
    }
}
