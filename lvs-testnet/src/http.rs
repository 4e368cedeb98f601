//! A small HTTP/1.0 client, for what ApacheBench does not do: bodies with a known digest, chosen source
//! addresses, many connections under the test's control.
//!
//! The functions use the namespace of the calling thread: call them inside [`Host::enter`].
//!
//! [`Host::enter`]: crate::Host::enter

pub(crate) mod server;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::pattern::{Digest, write_pattern};

/// How long a client waits for a connection, and for each piece of an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// Connects, from `source` if given.
///
/// # Errors
/// Those of the system; after 10 s without an answer, `WouldBlock` or `TimedOut`.
pub fn connect(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    connect_from(target, source.map(|source| SocketAddr::new(source, 0)))
}

/// The same from an address and a port.
///
/// # Errors
/// As [`connect`]; `AddrInUse` if the port is taken.
pub fn connect_from(target: SocketAddr, source: Option<SocketAddr>) -> io::Result<TcpStream> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if let Some(source) = source {
        rustix::net::bind(&socket, &source)?;
    }
    // On Linux the send timeout bounds `connect` as well (socket(7)).
    set_socket_timeout(&socket, Timeout::Send, Some(TIMEOUT))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(TIMEOUT))?;
    rustix::net::connect(&socket, &target)?;
    Ok(TcpStream::from(socket))
}

/// Fetches a page.
///
/// # Errors
/// Those of the system, and `InvalidData` for an answer that is not HTTP.
pub fn fetch(target: SocketAddr, path: &str) -> io::Result<Response> {
    fetch_from(target, path, None)
}

/// Fetches a page from a chosen source address.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_from(target: SocketAddr, path: &str, source: Option<IpAddr>) -> io::Result<Response> {
    let mut stream = connect(target, source)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {target}\r\n\r\n")?;
    let (status, mut reader) = read_head(stream)?;
    let mut body = String::new();
    reader.read_to_string(&mut body)?;
    Ok(Response { status, body })
}

/// Downloads the first `len` bytes of the [`Pattern`](crate::Pattern) from an [`HttpServer`](crate::HttpServer) and
/// returns the number of bytes and their SHA-256.
///
/// # Errors
/// As [`fetch`].
pub fn download(target: SocketAddr, len: u64) -> io::Result<(u64, String)> {
    let mut stream = connect(target, None)?;
    write!(stream, "GET /big/{len} HTTP/1.0\r\nHost: {target}\r\n\r\n")?;
    let (status, mut reader) = read_head(stream)?;
    if status != 200 {
        return Err(malformed(&format!("status {status}")));
    }
    digest_of(&mut reader, u64::MAX)
}

/// Uploads the first `len` bytes of the [`Pattern`](crate::Pattern) to an [`HttpServer`](crate::HttpServer) and returns
/// the SHA-256 that the server computed.
///
/// # Errors
/// As [`fetch`].
pub fn upload(target: SocketAddr, len: u64) -> io::Result<String> {
    let mut stream = connect(target, None)?;
    write!(stream, "POST /upload HTTP/1.0\r\nHost: {target}\r\nContent-Length: {len}\r\n\r\n")?;
    write_pattern(&mut stream, len)?;
    let (status, mut reader) = read_head(stream)?;
    let mut body = String::new();
    reader.read_to_string(&mut body)?;
    if status == 200 { Ok(body.trim().to_owned()) } else { Err(malformed(&body)) }
}

/// Reads at most `len` bytes and returns how many there were and their SHA-256.
fn digest_of(reader: &mut impl Read, len: u64) -> io::Result<(u64, String)> {
    let mut digest = Digest::new();
    let mut buffer = vec![0u8; 64 * 1024];
    let mut total = 0;
    while total < len {
        let most = (len - total).min(buffer.len() as u64) as usize;
        let n = reader.read(&mut buffer[..most])?;
        if n == 0 {
            break;
        }
        digest.update(&buffer[..n]);
        total += n as u64;
    }
    Ok((total, digest.finish()))
}

/// Reads the status line and the headers of an answer.
fn read_head(stream: TcpStream) -> io::Result<(u16, BufReader<TcpStream>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| malformed(&line))?;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            return Ok((status, reader));
        }
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not the answer expected: {what:?}"))
}
