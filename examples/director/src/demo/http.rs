//! The little HTTP/1.1 that the shop and its clients speak.

use std::net::Ipv4Addr;

/// The most headers of a message.
const HEADERS_MAX: usize = 16;

/// What a client asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// Who asks, from the cookie.
    pub(super) shopper: String,
}

/// What a server answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    /// Who answered.
    pub(super) server: Ipv4Addr,
    pub(super) body: String,
}

pub(super) fn request(method: &str, path: &str, shopper: &str) -> Vec<u8> {
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nCookie: shopper={shopper}\r\nContent-Length: 0\r\n\r\n",
        super::VIP
    );
    text.into_bytes()
}

pub(super) fn response(status: &str, server: Ipv4Addr, body: &str) -> Vec<u8> {
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nX-Real-Server: {server}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    text.into_bytes()
}

/// Reads a request; `None` while it is not complete. With it comes its length in bytes.
pub(super) fn parse_request(bytes: &[u8]) -> Result<Option<(Request, usize)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(len) = head.parse(bytes)? else { return Ok(None) };
    let cookie = header(head.headers, "Cookie").unwrap_or_default();
    let request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        path: head.path.unwrap_or_default().to_owned(),
        shopper: cookie.strip_prefix("shopper=").unwrap_or_default().to_owned(),
    };
    Ok(Some((request, len)))
}

/// Reads a response; `None` while it is not complete.
pub(super) fn parse_response(bytes: &[u8]) -> Result<Option<Response>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(len) = head.parse(bytes)? else { return Ok(None) };
    let body_len = header(head.headers, "Content-Length").and_then(|text| text.parse().ok());
    let body_len: usize = body_len.ok_or(httparse::Error::HeaderValue)?;
    let server = header(head.headers, "X-Real-Server").and_then(|text| text.parse().ok());
    let server = server.ok_or(httparse::Error::HeaderValue)?;
    let Some(body) = bytes.get(len..).and_then(|rest| rest.get(..body_len)) else {
        return Ok(None);
    };
    let body = String::from_utf8_lossy(body).into_owned();
    Ok(Some(Response { status: head.code.unwrap_or_default(), server, body }))
}

fn header(headers: &[httparse::Header<'_>], name: &str) -> Option<String> {
    let found = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    Some(String::from_utf8_lossy(found.value).into_owned())
}
