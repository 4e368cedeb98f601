//! As much HTTP as a scraper needs: one `GET` a connection, with an end to everybody's patience.
//!
//! The servers at hand either bring a runtime of their own or give a slow reader a thread for as long as it
//! likes; parsing is left to `httparse`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// The longest request, in bytes.
const REQUEST_MAX: usize = 8192;
/// The most header fields in it.
const FIELDS_MAX: usize = 64;

/// What is sent back.
#[derive(Debug)]
pub(super) struct Response {
    status: &'static str,
    content: &'static str,
    body: String,
}

impl Response {
    pub(super) fn ok(content: &'static str, body: String) -> Response {
        Response { status: "200 OK", content, body }
    }

    pub(super) fn error(status: &'static str, message: &str) -> Response {
        let content = "text/plain; charset=utf-8";
        Response { status, content, body: format!("{message}\n") }
    }

    /// Sends it and ends the connection.
    pub(super) fn send(&self, mut stream: &TcpStream, until: Instant) -> io::Result<()> {
        let Response { status, content, body } = self;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        for bytes in [head.as_bytes(), body.as_bytes()] {
            // A write ends at its timeout with what it has written, so each is given what is left.
            let mut rest = bytes;
            while !rest.is_empty() {
                stream.set_write_timeout(Some(left(until)?))?;
                let written = stream.write(rest)?;
                rest = &rest[written..];
            }
        }
        stream.shutdown(Shutdown::Write)
    }
}

/// Reads a request: what it asks for, or what is to be said to it.
pub(super) fn target(
    mut stream: &TcpStream,
    until: Instant,
) -> io::Result<Result<String, Response>> {
    let mut bytes = [0; REQUEST_MAX];
    let mut len = 0;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(&bytes[..len]) {
            Ok(httparse::Status::Complete(_)) => {
                let path = request.path.unwrap_or_default();
                let path = path.split(['?', '#']).next().unwrap_or_default().to_owned();
                return Ok(match request.method {
                    Some("GET") => Ok(path),
                    _ => Err(Response::error("405 Method Not Allowed", "only GET is answered")),
                });
            }
            Ok(httparse::Status::Partial) if len < bytes.len() => {}
            Ok(httparse::Status::Partial) => {
                let status = "431 Request Header Fields Too Large";
                return Ok(Err(Response::error(status, "the request is too long")));
            }
            Err(error) => {
                let message = format!("this is no HTTP request: {error}");
                return Ok(Err(Response::error("400 Bad Request", &message)));
            }
        }
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(&mut bytes[len..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => len += read,
        }
    }
}

/// What is left until a moment; an error if it is over.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}
