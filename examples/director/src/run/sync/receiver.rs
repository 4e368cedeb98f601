//! The thread that hears a backup's messages.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::Wake;
use super::tally::Tally;

/// Messages that may wait for the director's loop; further ones are lost, and counted.
const WAITING_MAX: usize = 256;
/// Messages taken from one socket before the next one is looked at.
const AT_ONCE: usize = 32;
/// How long the thread rests when the system gives errors in place of messages.
const REST: Duration = Duration::from_millis(100);

/// A message, and who sent it.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) from: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

/// Hears until it is dropped.
#[derive(Debug)]
pub(super) struct Receiver {
    heard: channel::Receiver<Heard>,
    /// Closed to end the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Starts the thread, which calls `wake` when something has come.
    pub(super) fn start(
        sockets: Vec<UdpSocket>,
        max_len: u16,
        tally: Arc<Tally>,
        wake: Wake,
    ) -> io::Result<Receiver> {
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let (sender, heard) = channel::bounded(WAITING_MAX);
        let ears = Ears { sockets, max_len, tally, sender, wake };
        let thread = std::thread::Builder::new()
            .name("sync-backup".to_owned())
            .spawn(move || ears.listen(&stopped))?;
        Ok(Receiver { heard, stop: Some(stop), thread: Some(thread) })
    }

    /// The next message, if one has come.
    pub(super) fn next(&self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }

    /// Whether nothing has come that was not taken.
    pub(super) fn is_empty(&self) -> bool {
        self.heard.is_empty()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the synchronisation's backup failed");
        }
    }
}

/// What the thread has.
struct Ears {
    sockets: Vec<UdpSocket>,
    max_len: u16,
    tally: Arc<Tally>,
    sender: channel::Sender<Heard>,
    wake: Wake,
}

impl Ears {
    /// Listens until the other end of `stopped` is closed.
    fn listen(&self, stopped: &OwnedFd) {
        // One byte more than a message may have shows that it has.
        let mut buffer = vec![0; usize::from(self.max_len) + 1];
        loop {
            let sockets = self.sockets.iter().map(AsFd::as_fd).chain([stopped.as_fd()]);
            let mut ready: Vec<PollFd<'_>> =
                sockets.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            match poll(&mut ready, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    self.hinder(&error.into());
                    continue;
                }
            }
            let events: Vec<bool> = ready.iter().map(|fd| !fd.revents().is_empty()).collect();
            if events.last() == Some(&true) {
                return;
            }
            let ready = self.sockets.iter().zip(events).filter(|(_, ready)| *ready);
            let taken: usize = ready.map(|(socket, _)| self.take(socket, &mut buffer)).sum();
            if taken > 0 {
                (self.wake)();
            }
        }
    }

    /// Takes some messages from a socket; how many were handed over.
    fn take(&self, socket: &UdpSocket, buffer: &mut [u8]) -> usize {
        let mut taken = 0;
        for _ in 0..AT_ONCE {
            match socket.recv_from(buffer) {
                Ok((len, _)) if len > usize::from(self.max_len) => self.tally.refuse_length(),
                Ok((len, from)) => {
                    self.tally.count(len);
                    self.tally.relieve();
                    let heard = Heard { from, bytes: buffer[..len].to_vec() };
                    match self.sender.try_send(heard) {
                        Ok(()) => taken += 1,
                        Err(_) => self.tally.lose(),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.hinder(&error);
                    break;
                }
            }
        }
        taken
    }

    fn hinder(&self, error: &io::Error) {
        if self.tally.hinder(&format!("cannot receive: {error}")) {
            tracing::warn!("synchronisation: the backup cannot receive: {error}");
        }
        std::thread::sleep(REST);
    }
}
