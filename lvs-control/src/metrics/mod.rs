//! Numbers for Prometheus, at an address of their own.
//!
//! One thread answers one request after the other, each with a page that it asks the director's loop for as
//! any client does. So a page costs the packets no more than a listing, however often and by however many
//! it is asked for, and a reader that does not read holds up the other readers at most for [`PATIENCE`].

mod http;
mod page;
mod sync;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::data::{About, Daemon, Service, Totals};
use crate::desk::{Asker, Order, Stopping};
use crate::protocol::Reply;

pub use page::{SERVERS_MAX, page};

/// How long one reader may take to ask and to read.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// How long the director may take for each part of a page.
const WAIT: Duration = Duration::from_secs(5);
/// What the page is: the text of OpenMetrics, which Prometheus asks for first.
const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
#[error("cannot answer for metrics at {addr}: {source}; give --metrics another ADDRESS:PORT")]
pub struct MetricsError {
    addr: SocketAddr,
    source: io::Error,
}

/// Answers `GET /metrics` until it is dropped.
#[derive(Debug)]
pub struct Metrics {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Metrics {
    /// Listens at an address; port 0 is any that is free.
    ///
    /// # Errors
    /// If the address cannot be had, or no thread.
    pub fn start(addr: SocketAddr, asker: Asker) -> Result<Metrics, MetricsError> {
        let failed = |source| MetricsError { addr, source };
        let listener = TcpListener::bind(addr).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || serve(&listener, &stopping, &asker))
            .map_err(failed)?;
        Ok(Metrics { addr, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The thread waits for a reader: this is the last one.
        let mut addr = self.addr;
        if addr.ip().is_unspecified() {
            addr.set_ip(match addr {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let woken = TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok();
        if woken && let Some(thread) = self.thread.take() {
            // A reader being answered is given its time.
            drop(thread.join());
        }
    }
}

fn serve(listener: &TcpListener, stop: &AtomicBool, asker: &Asker) {
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let answered = stream.and_then(|stream| answer(&stream, asker));
        match answered {
            Ok(()) => {}
            Err(error) if is_system(&error) => {
                tracing::warn!("metrics: {error}");
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(error) => tracing::debug!("a reader of the metrics: {error}"),
        }
    }
}

/// Whether the fault is this machine's, not a reader's: it is out of descriptors.
fn is_system(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error).is_some_and(|errno| matches!(errno, Errno::MFILE | Errno::NFILE))
}

fn answer(stream: &TcpStream, asker: &Asker) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let response = match http::target(stream, until)? {
        Ok(target) if matches!(target.as_str(), "/metrics" | "/") => match gather(asker) {
            Ok((about, totals, services, daemons)) => {
                http::Response::ok(CONTENT, page(&about, &totals, &services, &daemons))
            }
            Err(error) => http::Response::error("503 Service Unavailable", &error.to_string()),
        },
        Ok(_) => http::Response::error("404 Not Found", "the numbers are at /metrics"),
        Err(response) => response,
    };
    response.send(stream, Instant::now() + PATIENCE)
}

/// Why a page cannot be made.
#[derive(Debug, thiserror::Error)]
enum GatherError {
    #[error(transparent)]
    Stopping(#[from] Stopping),
    #[error("the director does not answer")]
    Silent,
}

/// What a page is made of.
type Gathered = (About, Totals, Vec<Service>, Vec<Daemon>);

fn gather(asker: &Asker) -> Result<Gathered, GatherError> {
    let (mut about, mut totals, mut services) = (None, None, Vec::new());
    let mut daemons = Vec::new();
    let orders = [Order::About, Order::Totals, Order::Services(None), Order::Daemons];
    for order in orders {
        let replies = asker.ask(order)?;
        loop {
            match replies.next_within(WAIT)?.ok_or(GatherError::Silent)? {
                Reply::About(what) => about = Some(what),
                Reply::Totals(what) => totals = Some(*what),
                Reply::Services(more) => services.extend(more),
                Reply::Daemons(running) => daemons = running,
                reply if reply.is_last() => break,
                _ => {}
            }
        }
    }
    match (about, totals) {
        (Some(about), Some(totals)) => Ok((about, totals, services, daemons)),
        _ => Err(GatherError::Silent),
    }
}
