//! The side that answers: a thread that takes connections, and one for each of them.

mod connection;
mod conversation;
mod orders;
mod peer;
mod place;

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

pub use place::Place;

use crate::desk::Asker;
use crate::protocol::{Refusal, Reply};
use crate::wire;
use connection::Connection;
pub(crate) use conversation::{Conversation, Courier, Next};

/// Connections at a time. Further ones are told so and closed.
pub const CONNECTIONS_MAX: usize = 64;
/// Bytes that the requests of all connections may take together, beyond what each has of its own.
const REQUESTS_MAX: usize = 2 * crate::protocol::REQUEST_MAX;
/// How long the thread that takes connections rests when there are no descriptors left.
const REST: Duration = Duration::from_millis(100);
/// The stack of a connection's thread: reading a rules file needs most of it.
const STACK: usize = 1 << 20;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Somebody listens there.
    #[error("another director is running at {}; give this one a --control path of its own", .0.display())]
    Running(PathBuf),
    /// There is a file that is no socket.
    #[error("{} is in the way and no socket; remove it, or give another --control path", .0.display())]
    InTheWay(PathBuf),
    /// The path does not fit into the address of a socket.
    #[error("the path of the control socket is too long: {}; 107 bytes are possible", .0.display())]
    TooLong(PathBuf),
    /// Something else.
    #[error("cannot open the control socket {}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// How long the server waits for clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// For the whole of a request once it has begun, and for the first one to come.
    pub request: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For a reader to take any of its answer.
    pub reader: Duration,
}

impl Default for Patience {
    /// 10 s, 60 s and 30 s.
    fn default() -> Self {
        let [request, idle, reader] = [10, 60, 30].map(Duration::from_secs);
        Patience { request, idle, reader }
    }
}

/// What the threads share.
struct Shared {
    patience: Patience,
    asker: Asker,
    place: Arc<Place>,
    connections: AtomicUsize,
    /// Bytes of [`REQUESTS_MAX`] in use.
    requests: AtomicUsize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A control socket. It is removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    place: Arc<Place>,
    /// Closed to end the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts to take connections, whose requests `asker` takes to the director.
    ///
    /// # Errors
    /// If the system refuses a pipe or a thread.
    pub fn start(place: Place, patience: Patience, asker: Asker) -> Result<Server, ServerError> {
        let io = |source| ServerError::Io { path: place.path().to_owned(), source };
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| io(error.into()))?;
        let listener = place.listener().try_clone().map_err(io)?;
        let path = place.path().to_owned();
        let place = Arc::new(place);
        let shared = Arc::new(Shared {
            patience,
            asker,
            place: Arc::clone(&place),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        });
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&listener, &stopped, &shared))
            .map_err(|source| ServerError::Io { path, source })?;
        Ok(Server { place, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        self.place.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.place.give_up();
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the control socket failed");
        }
    }
}

/// Takes connections until the other end of `stopped` is closed.
fn accept(listener: &UnixListener, stopped: &OwnedFd, shared: &Arc<Shared>) {
    loop {
        let mut ready = [
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stopped.as_fd(), PollFlags::IN),
        ];
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return tracing::error!("the control socket cannot be waited for: {error}");
            }
        }
        if !ready[1].revents().is_empty() {
            return;
        }
        match listener.accept() {
            Ok((stream, _)) => begin(stream, shared),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::warn!("the control socket takes no connection: {error}");
                std::thread::sleep(REST);
            }
        }
    }
}

/// Gives a connection a thread, or tells it why not.
fn begin(stream: UnixStream, shared: &Arc<Shared>) {
    if let Err(refusal) = peer::check(&stream, &shared.place) {
        return refuse(&stream, refusal);
    }
    if shared.connections.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
        shared.connections.fetch_sub(1, Ordering::SeqCst);
        let message = format!("{CONNECTIONS_MAX} others are connected to the director; try again");
        return refuse(&stream, Refusal::new(message));
    }
    let place_taken = PlaceTaken(Arc::clone(shared));
    let thread = std::thread::Builder::new().name("control-conn".to_owned()).stack_size(STACK);
    let spawned = thread.spawn(move || {
        let shared = &place_taken.0;
        Connection::new(&stream, shared).serve();
    });
    if let Err(error) = spawned {
        tracing::warn!("no thread for a connection to the control socket: {error}");
    }
}

/// One of the [`CONNECTIONS_MAX`] places, given back when dropped.
struct PlaceTaken(Arc<Shared>);

impl Drop for PlaceTaken {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Says why, without waiting for a reader.
fn refuse(stream: &UnixStream, refusal: Refusal) {
    // A line of this length fits into every socket's buffer; nobody to tell, nothing to do.
    let told = stream
        .set_nonblocking(true)
        .and_then(|()| wire::write_line(&mut &*stream, &mut Vec::new(), &Reply::Refused(refusal)))
        .and_then(|()| (&*stream).flush());
    drop(told);
}
