//! The HTTP server that stands for a real server's service.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{digest_of, write_pattern};
use crate::host::Host;
use crate::listener::Listener;

/// The longest line of a request that is read, in bytes.
const LINE_MAX: u64 = 8 * 1024;

/// An HTTP/1.0 server on a host; it ends when dropped.
///
/// | request | answer |
/// | --- | --- |
/// | `GET /` | the host's name |
/// | `GET /big/N` | the first N bytes of the [`Pattern`](crate::Pattern) |
/// | `POST …` | the SHA-256 of the body |
#[derive(Debug)]
pub struct HttpServer {
    name: String,
    requests: Arc<AtomicU64>,
    listener: Listener,
}

impl HttpServer {
    /// Serves a port on all addresses of `host`.
    ///
    /// # Panics
    /// If the port is taken.
    #[track_caller]
    pub fn start(host: &Host, port: u16) -> HttpServer {
        let name = host.name().to_owned();
        let requests = Arc::new(AtomicU64::new(0));
        let (served, counted) = (name.clone(), Arc::clone(&requests));
        let listener = Listener::start(host, port, move |stream| serve(stream, &served, &counted));
        HttpServer { name, requests, listener }
    }

    /// The name that `GET /` answers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Requests received so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Connections accepted so far, also those on which no request came.
    pub fn connections(&self) -> u64 {
        self.listener.connections()
    }

    /// Connections accepted so far from one client address.
    pub fn connections_from(&self, client: IpAddr) -> u64 {
        self.listener.connections_from(client)
    }
}

/// Serves the one request of a connection.
fn serve(stream: &TcpStream, name: &str, requests: &AtomicU64) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let request = line(&mut reader)?;
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let mut body_len = 0;
    loop {
        let header = line(&mut reader)?;
        let Some((field, value)) = header.split_once(':') else { break };
        if field.eq_ignore_ascii_case("content-length") {
            body_len = value.trim().parse().unwrap_or(0);
        } else if field.eq_ignore_ascii_case("expect") {
            (&mut &*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
    }
    // Counted before the answer, so that whoever has the answer finds it counted.
    requests.fetch_add(1, Ordering::SeqCst);
    let big = path.strip_prefix("/big/").and_then(|number| number.parse::<u64>().ok());
    match (method, path, big) {
        ("GET", "/", _) => answer(stream, "200 OK", &format!("{name}\n")),
        ("GET", _, Some(len)) => {
            head(stream, "200 OK", len, "")?;
            write_pattern(stream, len)
        }
        ("POST", ..) => match digest_of(&mut reader, body_len)? {
            (len, digest) if len == body_len => answer(stream, "200 OK", &format!("{digest}\n")),
            (len, _) => answer(stream, "400 Bad Request", &format!("{len} of {body_len} bytes\n")),
        },
        _ => answer(stream, "404 Not Found", "/, /big/N, or POST\n"),
    }
}

/// Reads one line without its end.
fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    io::Read::take(reader, LINE_MAX).read_line(&mut text)?;
    text.truncate(text.trim_end().len());
    Ok(text)
}

fn answer(stream: &TcpStream, status: &str, body: &str) -> io::Result<()> {
    head(stream, status, body.len() as u64, body)
}

/// Sends the head of an answer and, in the same write, `start`, the first part of its body.
fn head(mut stream: &TcpStream, status: &str, len: u64, start: &str) -> io::Result<()> {
    let head = format!("HTTP/1.0 {status}\r\nContent-Length: {len}\r\n\r\n{start}");
    stream.write_all(head.as_bytes())
}
