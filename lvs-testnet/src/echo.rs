//! Servers for long connections and for datagrams.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::host::Host;
use crate::listener::Listener;

/// How often a UDP server looks whether it should end.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// A TCP server that greets with a line, its host's name, and then sends back what it gets. It ends,
/// with its connections, when dropped.
#[derive(Debug)]
pub struct TcpEcho {
    listener: Listener,
}

impl TcpEcho {
    /// Serves a port on all addresses of `host`.
    ///
    /// # Panics
    /// If the port is taken.
    #[track_caller]
    pub fn start(host: &Host, port: u16) -> TcpEcho {
        let greeting = format!("{}\n", host.name());
        let listener = Listener::start(host, port, move |mut stream| {
            stream.set_nodelay(true)?;
            stream.write_all(greeting.as_bytes())?;
            let mut buffer = vec![0u8; 64 * 1024];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok(()),
                    n => stream.write_all(&buffer[..n])?,
                }
            }
        });
        TcpEcho { listener }
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.listener.connections()
    }

    /// Connections accepted so far from one client address.
    pub fn connections_from(&self, client: IpAddr) -> u64 {
        self.listener.connections_from(client)
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.listener.open()
    }
}

/// A UDP server that sends each datagram back behind its host's name and a colon.
#[derive(Debug)]
pub struct UdpEcho {
    stop: Arc<AtomicBool>,
    datagrams: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl UdpEcho {
    /// Serves one address of `host`: the VIP, so that answers come from it.
    ///
    /// # Panics
    /// If the address cannot be bound.
    #[track_caller]
    pub fn start(host: &Host, address: SocketAddr) -> UdpEcho {
        let bound = host.enter(|| -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind(address)?;
            socket.set_read_timeout(Some(STOP_INTERVAL))?;
            Ok(socket)
        });
        let socket =
            bound.unwrap_or_else(|error| panic!("{}: cannot bind {address}: {error}", host.name()));
        let (stop, datagrams) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let prefix = format!("{}:", host.name()).into_bytes();
        let thread = {
            let (stop, datagrams) = (Arc::clone(&stop), Arc::clone(&datagrams));
            thread::spawn(move || {
                let mut buffer = vec![0u8; 64 * 1024];
                while !stop.load(Ordering::SeqCst) {
                    // A timeout, or the ICMP error of an earlier answer, is no reason to end.
                    let Ok((n, peer)) = socket.recv_from(&mut buffer) else { continue };
                    datagrams.fetch_add(1, Ordering::SeqCst);
                    let _ = socket.send_to(&[&prefix, &buffer[..n]].concat(), peer);
                }
            })
        };
        UdpEcho { stop, datagrams, thread: Some(thread) }
    }

    /// Datagrams received so far.
    pub fn datagrams(&self) -> u64 {
        self.datagrams.load(Ordering::SeqCst)
    }
}

impl Drop for UdpEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
