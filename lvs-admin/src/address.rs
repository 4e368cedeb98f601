//! Addresses with ports, and numbers, read as ipvsadm reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lvs_core::flow::Protocol;

use crate::names::Names;

/// A host with the port that was given with it, if one was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// The address.
    pub addr: IpAddr,
    /// The port.
    pub port: Option<u16>,
}

impl HostPort {
    /// Reads `host`, `host:port`, an IPv6 address by itself, or `[IPv6]:port`.
    ///
    /// A bracketed address needs its port (rule A2 of the recorded kernel). IPv4 addresses may have
    /// fewer than four parts, and parts in octal or hexadecimal, as inet_aton(3) has it. Names of hosts
    /// and ports go through `names`. `None` if there is no such address or port.
    ///
    /// ```
    /// use lvs_admin::{address::HostPort, names::NumericOnly};
    /// use lvs_core::flow::Protocol;
    ///
    /// let read = |text| HostPort::parse(text, Protocol::TCP, &NumericOnly);
    /// assert_eq!(read("10.0.0.1:80").unwrap().port, Some(80));
    /// assert_eq!(read("2001:db8::1").unwrap().port, None);
    /// assert_eq!(read("[2001:db8::1]:80").unwrap().port, Some(80));
    /// assert_eq!(read("[2001:db8::1]"), None);
    /// ```
    pub fn parse(text: &str, protocol: Protocol, names: &dyn Names) -> Option<HostPort> {
        if let Some(rest) = text.strip_prefix('[') {
            let (addr, port) = rest.split_once("]:")?;
            let addr = IpAddr::V6(addr.parse::<Ipv6Addr>().ok()?);
            return Some(HostPort { addr, port: Some(port_number(port, protocol, names)?) });
        }
        if let Ok(addr) = text.parse::<Ipv6Addr>() {
            return Some(HostPort { addr: IpAddr::V6(addr), port: None });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port_number(port, protocol, names)?)),
            None => (text, None),
        };
        let addr = match ipv4(host) {
            Some(addr) => IpAddr::V4(addr),
            None if host.is_empty() => return None,
            None => names.address(host)?,
        };
        Some(HostPort { addr, port })
    }
}

/// A port by number, 0 to 65535, or by name.
pub fn port_number(text: &str, protocol: Protocol, names: &dyn Names) -> Option<u16> {
    match number(text, 0, u16::MAX.into()) {
        Some(port) => u16::try_from(port).ok(),
        None => names.port(text, protocol),
    }
}

/// A decimal number between `least` and `most`; blanks before it and a sign are allowed, as strtol(3)
/// has it, anything after it is not.
pub fn number(text: &str, least: i64, most: i64) -> Option<i64> {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse::<i64>().ok().filter(|n| (least..=most).contains(n))
}

/// An IPv4 address as inet_aton(3) reads it: one to four parts, the last of which fills what is left.
pub fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut value: u32 = 0;
    let mut parts = text.split('.').peekable();
    let mut before = 0;
    while let Some(part) = parts.next() {
        let part = radix_number(part)?;
        if parts.peek().is_none() {
            let left = 32 - 8 * before;
            return (u64::from(part) >> left == 0).then(|| Ipv4Addr::from_bits(value | part));
        }
        if part > 255 || before == 3 {
            return None;
        }
        value |= part << (24 - 8 * before);
        before += 1;
    }
    None
}

/// A number of C: decimal, `0` octal or `0x` hexadecimal, at most 32 bits.
pub fn radix_number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{NumericOnly, Services};

    fn read(text: &str) -> Option<(String, Option<u16>)> {
        let parsed = HostPort::parse(text, Protocol::TCP, &Services::well_known())?;
        Some((parsed.addr.to_string(), parsed.port))
    }

    #[test]
    fn addresses_are_read_as_ipvsadm_reads_them() {
        let good = [
            ("10.0.0.1", "10.0.0.1", None),
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("10.0.0.1:080", "10.0.0.1", Some(80)),
            ("10.0.0.1:+80", "10.0.0.1", Some(80)),
            ("10.0.0.1:http", "10.0.0.1", Some(80)),
            ("10.1:80", "10.0.0.1", Some(80)),
            ("10.1.2:80", "10.1.0.2", Some(80)),
            ("010.0.0.1:80", "8.0.0.1", Some(80)),
            ("0x0a.0.0.1:80", "10.0.0.1", Some(80)),
            ("167772161:80", "10.0.0.1", Some(80)),
            ("2001:db8::1", "2001:db8::1", None),
            ("2001:db8::1:80", "2001:db8::1:80", None),
            ("[2001:db8::1]:http", "2001:db8::1", Some(80)),
            ("[2001:db8::1]:0", "2001:db8::1", Some(0)),
        ];
        for (text, addr, port) in good {
            assert_eq!(read(text), Some((addr.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let bad = [
            "",
            ":80",
            "10.0.0.300:80",
            "10.0.0.1:",
            "10.0.0.1:65536",
            "10.0.0.1:-1",
            "10.0.0.1:0x50",
            "10.0.0.1:80:90",
            "10.0.0.1:nosuch",
            "nosuch.invalid:80",
            "[2001:db8::1]",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "[2001:db8::1:80",
            "2001:db8::1]:80",
            "fe80::1%lo:80",
            "[10.0.0.1]:80",
            "1.2.3.4.5",
            "10.0.0.+1",
            "0x",
            "4294967296",
            "09.0.0.1",
        ];
        for text in bad {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(HostPort::parse("10.0.0.1:http", Protocol::TCP, &NumericOnly), None);
    }

    #[test]
    fn numbers_stop_at_their_bounds() {
        assert_eq!(number("65536", 0, 65535), None);
        assert_eq!(number(" 5", 0, 9), Some(5));
        assert_eq!(number("-3", -9, 9), Some(-3));
        for text in ["", "5 ", "+", "--5", "99999999999999999999999", "٣"] {
            assert_eq!(number(text, i64::MIN, i64::MAX), None, "{text}");
        }
    }
}
