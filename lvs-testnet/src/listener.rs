//! A TCP server inside a host: accepts, counts, hands each connection to a thread, ends on drop.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::net::Shutdown as SocketShutdown;

use crate::host::Host;

/// A listening TCP server.
#[derive(Debug)]
pub(crate) struct Listener {
    shared: Arc<Shared>,
    socket: Arc<TcpListener>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    accepted: AtomicU64,
    clients: Mutex<HashMap<IpAddr, u64>>,
    /// Connections that are open, so that dropping the server can end them.
    open: Mutex<HashMap<u64, TcpStream>>,
}

impl Listener {
    /// Listens on a port of all addresses of `host`, IPv4 and IPv6, and serves each connection by
    /// `serve` on a thread of its own. An error of `serve` ends that connection.
    ///
    /// # Panics
    /// If the port is taken.
    #[track_caller]
    pub(crate) fn start(
        host: &Host,
        port: u16,
        serve: impl Fn(&TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Listener {
        let name = host.name();
        let bound = host.enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)));
        let socket =
            bound.unwrap_or_else(|error| panic!("{name}: cannot listen on port {port}: {error}"));
        let socket = Arc::new(socket);
        let shared = Arc::new(Shared::default());
        let acceptor = {
            let (socket, shared, serve) =
                (Arc::clone(&socket), Arc::clone(&shared), Arc::new(serve));
            thread::spawn(move || {
                // Shutting the socket down makes `accept` fail, and ends the loop.
                while let Ok((stream, peer)) = socket.accept() {
                    let id = shared.count(peer);
                    let (shared, serve) = (Arc::clone(&shared), Arc::clone(&serve));
                    thread::spawn(move || shared.serve(id, stream, &*serve));
                }
            })
        };
        Listener { shared, socket, acceptor: Some(acceptor) }
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Connections accepted so far from one client address.
    pub(crate) fn connections_from(&self, client: IpAddr) -> u64 {
        lock(&self.shared.clients).get(&client).copied().unwrap_or(0)
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        lock(&self.shared.open).len()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&*self.socket, SocketShutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in lock(&self.shared.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    /// Counts a new connection and returns its number.
    fn count(&self, peer: SocketAddr) -> u64 {
        *lock(&self.clients).entry(peer.ip().to_canonical()).or_default() += 1;
        self.accepted.fetch_add(1, Ordering::SeqCst)
    }

    fn serve(&self, id: u64, stream: TcpStream, serve: &dyn Fn(&TcpStream) -> io::Result<()>) {
        if let Ok(copy) = stream.try_clone() {
            lock(&self.open).insert(id, copy);
        }
        // A client that goes away early is no concern of the server; the client's test sees it.
        let _ = serve(&stream);
        let _ = stream.shutdown(Shutdown::Write);
        lock(&self.open).remove(&id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
