//! The thread that sends a master's messages.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{self, Receiver};

use super::socket::{Link, address};
use super::tally::Tally;

/// Messages that may wait for the thread; further ones wait in the master's own queue.
const WAITING_MAX: usize = 64;

/// A message, and the offset of its port.
type Message = (u8, Vec<u8>);

/// Sends what it is given until it is dropped. Then it sends what waits.
#[derive(Debug)]
pub(super) struct Sender {
    queue: Option<channel::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// Starts the thread, which sends to a group, from a port on.
    pub(super) fn start(
        socket: UdpSocket,
        (group, port): (IpAddr, u16),
        link: &Link,
        tally: Arc<Tally>,
    ) -> io::Result<Sender> {
        let (queue, waiting) = channel::bounded(WAITING_MAX);
        let link = link.clone();
        let thread = std::thread::Builder::new()
            .name("sync-master".to_owned())
            .spawn(move || send_all(&socket, (group, port), &link, &waiting, &tally))?;
        Ok(Sender { queue: Some(queue), thread: Some(thread) })
    }

    /// Whether there is room for a message.
    pub(super) fn has_room(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.is_full())
    }

    /// Gives a message to the thread; `false` if there is no room.
    pub(super) fn send(&self, message: Message) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.try_send(message).is_ok())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.queue.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the synchronisation's master failed");
        }
    }
}

fn send_all(
    socket: &UdpSocket,
    (group, port): (IpAddr, u16),
    link: &Link,
    waiting: &Receiver<Message>,
    tally: &Tally,
) {
    for (offset, bytes) in waiting {
        // INVARIANT: the last port was checked when the daemon was started.
        let port = port.saturating_add(offset.into());
        match socket.send_to(&bytes, address(group, port, link)) {
            Ok(_) => {
                tally.count(bytes.len());
                if tally.relieve().is_some() {
                    tracing::info!("synchronisation: the master sends again on {}", link.name);
                }
            }
            Err(error) => {
                tally.lose();
                if tally.hinder(&format!("cannot send: {error}")) {
                    tracing::warn!("synchronisation: the master on {}: {error}", link.name);
                }
            }
        }
    }
}
