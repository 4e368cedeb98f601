//! Addresses and ports of the scenario language, single or in ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lvs_core::flow::Endpoint;

use super::error::{Mistake, Word};

/// How many packets one line may stand for.
pub(super) const EXPANSION_MAX: usize = 1 << 16;

/// Splits `ADDR`, `ADDR:PORT`, `[ADDR]` and `[ADDR]:PORT` into address and port. A word with several
/// colons and no brackets is an IPv6 address by itself.
pub(super) fn split<'a>(word: Word<'a>) -> Result<(Word<'a>, Option<Word<'a>>), Mistake> {
    let text = word.text;
    if text.starts_with('[') {
        let Some(end) = text.find(']') else {
            return Err(Mistake::at(
                word,
                format!("'{text}' lacks the closing bracket; write [IPv6]:PORT"),
            ));
        };
        let host = word.part(1, end);
        return match text[end + 1..].strip_prefix(':') {
            Some(_) => Ok((host, Some(word.rest(end + 2)))),
            None if end + 1 == text.len() => Ok((host, None)),
            None => Err(Mistake::at(
                word.rest(end + 1),
                format!("'{}' after the bracket; only :PORT may follow", &text[end + 1..]),
            )),
        };
    }
    match text.find(':') {
        Some(at) if !text[at + 1..].contains(':') => {
            Ok((word.part(0, at), Some(word.rest(at + 1))))
        }
        _ => Ok((word, None)),
    }
}

/// One address, without a port; brackets are allowed.
pub(super) fn address(word: Word<'_>) -> Result<IpAddr, Mistake> {
    let text = word.text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(word.text);
    text.parse().map_err(|_| bad_address(word))
}

fn bad_address(word: Word<'_>) -> Mistake {
    Mistake::at(
        word,
        format!(
            "'{}' is not an address; write 192.0.2.7, 192.0.2.7-9, [2001:db8::7] or [2001:db8::7-9]",
            word.text
        ),
    )
}

/// A port number.
pub(super) fn port(word: Word<'_>) -> Result<u16, Mistake> {
    word.text.parse().map_err(|_| {
        Mistake::at(word, format!("'{}' is not a port; write a number from 0 to 65535", word.text))
    })
}

/// Every address and port that a word stands for, the ports changing fastest.
pub(super) fn expand(word: Word<'_>) -> Result<Vec<Endpoint>, Mistake> {
    let (host, ports) = split(word)?;
    let hosts = hosts(host)?;
    let (first, last) = match ports {
        None => (0, 0),
        Some(ports) => match ports.text.find('-') {
            None => {
                let single = port(ports)?;
                (single, single)
            }
            Some(at) => (port(ports.part(0, at))?, port(ports.rest(at + 1))?),
        },
    };
    if first > last {
        return Err(Mistake::at(word, "the range of ports counts down; write the lower one first"));
    }
    let count = usize::from(last - first) + 1;
    if hosts.len().saturating_mul(count) > EXPANSION_MAX {
        return Err(Mistake::at(
            word,
            format!("the ranges stand for more than {EXPANSION_MAX} packets"),
        ));
    }
    Ok(hosts
        .into_iter()
        .flat_map(|addr| (first..=last).map(move |port| Endpoint::new(addr, port)))
        .collect())
}

/// The addresses of `ADDR` or `ADDR-LAST`, where LAST counts in the last byte or group.
fn hosts(word: Word<'_>) -> Result<Vec<IpAddr>, Mistake> {
    let Some(at) = word.text.rfind('-') else {
        return Ok(vec![word.text.parse().map_err(|_| bad_address(word))?]);
    };
    let first: IpAddr = word.part(0, at).text.parse().map_err(|_| bad_address(word))?;
    let last = word.rest(at + 1);
    let (from, to) = match first {
        IpAddr::V4(addr) => {
            (u16::from(addr.octets()[3]), last.text.parse::<u8>().ok().map(u16::from))
        }
        IpAddr::V6(addr) => (addr.segments()[7], u16::from_str_radix(last.text, 16).ok()),
    };
    let Some(to) = to else {
        return Err(Mistake::at(
            last,
            format!(
                "'{}' does not end a range; write the last byte (IPv4) or group (IPv6, hex)",
                last.text
            ),
        ));
    };
    if from > to {
        return Err(Mistake::at(
            word,
            "the range of addresses counts down; write the lower one first",
        ));
    }
    Ok((from..=to).map(|n| with_last(first, n)).collect())
}

/// `addr` with another last byte (IPv4) or group (IPv6).
fn with_last(addr: IpAddr, n: u16) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => {
            let [a, b, c, _] = addr.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, n as u8))
        }
        IpAddr::V6(addr) => {
            let mut segments = addr.segments();
            segments[7] = n;
            IpAddr::V6(Ipv6Addr::from(segments))
        }
    }
}

/// An address as a scenario writes it where no port follows: IPv6 in brackets.
pub(super) fn bracketed(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(addr) => addr.to_string(),
        IpAddr::V6(addr) => format!("[{addr}]"),
    }
}
