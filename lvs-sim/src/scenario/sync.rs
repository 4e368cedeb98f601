//! Datagrams of connection synchronisation in the scenario language: what another director's master sends.
//!
//! They are written field by field, right or wrong, so that a scenario can show a backup what no encoder
//! would write. Therefore nothing here is shared with the program under test.

use std::net::IpAddr;

use lvs_core::addr::Family;

use super::SyncDatagram;
use super::address::{self, EXPANSION_MAX};
use super::error::{Mistake, Word, Words};
use super::packet::number;

/// The UDP port of a daemon's first thread, where none is named (`Documentation/networking/ipvs-sysctl.rst`
/// and ipvsadm's manual call it the default).
const PORT: u16 = 8848;

/// The longest UDP datagram over IPv4.
const DATAGRAM_MAX: usize = 65_507;

const USAGE: &str = "TIME sync [port=] [id=] [version=0|1] [count=] [total=] [spare=] \
                     PROTOCOL CLIENT > VIRTUAL > SERVER {field} { ; … }, or TIME sync [port=] raw HEX";

/// Parses a `sync` line from its second word on.
pub(super) fn datagram(words: &mut Words<'_>) -> Result<SyncDatagram, Mistake> {
    let first = words.expect("sync")?;
    let mut text = vec![first.text];
    let mut head = Head::default();
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let mut raw = None;
    while let Some(next) = words.peek() {
        let Some(word) = words.take() else { break };
        text.push(next);
        if next == "raw" {
            let mut bytes = Vec::new();
            while let Some(word) = words.take() {
                text.push(word.text);
                bytes.extend(hex(word)?);
            }
            raw = Some(bytes);
        } else if next != ";" && !head.takes(word)? {
            let fields = entry(word, words, &mut text)?;
            entries.extend(fields.bytes(head.version)?);
        }
    }
    let bytes = raw.unwrap_or_else(|| head.message(&entries));
    if bytes.len() > DATAGRAM_MAX {
        let message = format!("the datagram has more than {DATAGRAM_MAX} bytes");
        return Err(Mistake::at(first, message));
    }
    Ok(SyncDatagram { text: text.join(" "), port: head.port, bytes })
}

/// What stands before the entries.
#[derive(Debug)]
struct Head {
    port: u16,
    id: u8,
    version: u8,
    count: Option<u8>,
    total: Option<u16>,
    spare: u16,
}

impl Default for Head {
    fn default() -> Self {
        Head { port: PORT, id: 0, version: 1, count: None, total: None, spare: 0 }
    }
}

impl Head {
    /// Takes a word `NAME=VALUE` of the head; false if it is none.
    fn takes(&mut self, word: Word<'_>) -> Result<bool, Mistake> {
        let Some(at) = word.text.find('=') else { return Ok(false) };
        let value = word.rest(at + 1);
        match &word.text[..at] {
            "port" => self.port = number(value, 65_535)? as u16,
            "id" => self.id = number(value, 255)? as u8,
            "version" => self.version = number(value, 1)? as u8,
            "count" => self.count = Some(number(value, 255)? as u8),
            "total" => self.total = Some(number(value, 65_535)? as u16),
            "spare" => self.spare = number(value, 65_535)? as u16,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn message(&self, entries: &[Vec<u8>]) -> Vec<u8> {
        let mut body = Vec::new();
        for entry in entries {
            if self.version == 1 {
                body.resize(body.len().next_multiple_of(4), 0);
            }
            body.extend(entry);
        }
        let count = self.count.unwrap_or(entries.len() as u8);
        let header = if self.version == 1 { 8 } else { 4 };
        let [high, low] = self.total.unwrap_or((header + body.len()) as u16).to_be_bytes();
        let [spare_high, spare_low] = self.spare.to_be_bytes();
        let mut bytes = match self.version {
            1 => vec![0, self.id, high, low, count, 1, spare_high, spare_low],
            _ => vec![count, self.id, high, low],
        };
        bytes.extend(body);
        bytes
    }
}

/// An entry, before its ranges are expanded.
#[derive(Debug)]
struct Fields<'a> {
    at: Word<'a>,
    protocol: u8,
    ends: [Vec<lvs_core::flow::Endpoint>; 3],
    flags: u32,
    state: u16,
    timeout: u32,
    mark: u32,
    kind: Option<u8>,
    version: u8,
    size: Option<u16>,
    /// Options as they are written in version 1.
    options: Vec<u8>,
    /// Sequence data as they are written in version 0.
    sequences: Vec<u8>,
}

/// Parses an entry that begins with the word `protocol`, up to the next `;` or the end.
fn entry<'a>(
    protocol: Word<'a>,
    words: &mut Words<'a>,
    text: &mut Vec<&'a str>,
) -> Result<Fields<'a>, Mistake> {
    let number_of = match protocol.text {
        "ip" => 0,
        "tcp" => 6,
        "udp" => 17,
        "sctp" => 132,
        other if other.bytes().all(|b| b.is_ascii_digit()) => number(protocol, 255)? as u8,
        other => {
            let message =
                format!("'{other}' is neither a field nor a protocol; the line is {USAGE}");
            return Err(Mistake::at(protocol, message));
        }
    };
    let mut ends: [Vec<lvs_core::flow::Endpoint>; 3] = Default::default();
    for (place, ends) in ends.iter_mut().enumerate() {
        if place > 0 {
            let arrow = words.expect("'>' between client, virtual address and server")?;
            text.push(arrow.text);
            if arrow.text != ">" {
                let message =
                    format!("'{}' where '>' should stand; the line is {USAGE}", arrow.text);
                return Err(Mistake::at(arrow, message));
            }
        }
        let word = words.expect("CLIENT > VIRTUAL > SERVER")?;
        text.push(word.text);
        *ends = address::expand(word)?;
    }
    let mut fields = Fields {
        at: protocol,
        protocol: number_of,
        ends,
        flags: 0,
        state: 0,
        timeout: 0,
        mark: 0,
        kind: None,
        version: 0,
        size: None,
        options: Vec::new(),
        sequences: Vec::new(),
    };
    while let Some(next) = words.peek().filter(|&next| next != ";") {
        let Some(word) = words.take() else { break };
        text.push(next);
        fields.field(word)?;
    }
    Ok(fields)
}

impl Fields<'_> {
    fn field(&mut self, word: Word<'_>) -> Result<(), Mistake> {
        let at = word.text.find('=').unwrap_or(word.text.len());
        let value = || word.rest((at + 1).min(word.text.len()));
        let any = u64::from(u32::MAX);
        match &word.text[..at] {
            "flags" => self.flags = number(value(), any)? as u32,
            "state" => self.state = number(value(), 65_535)? as u16,
            "timeout" => self.timeout = number(value(), any)? as u32,
            "mark" => self.mark = number(value(), any)? as u32,
            "type" => self.kind = Some(number(value(), 255)? as u8),
            "ver" => self.version = number(value(), 15)? as u8,
            "size" => self.size = Some(number(value(), 4095)? as u16),
            "seqs" => {
                self.sequences = hex(value())?;
                self.options.extend([1, 24]);
                self.options.extend(&self.sequences);
            }
            "opt" => self.options.extend(option(value())?),
            _ => {
                return Err(Mistake::at(
                    word,
                    format!(
                        "'{}' is no field of an entry; there are flags=, state=, timeout=, mark=, type=, \
                         ver=, size=, seqs=HEX and opt=TYPE:[LENGTH:]HEX; ';' begins another entry",
                        word.text
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The entry for each combination of its ends.
    fn bytes(&self, version: u8) -> Result<Vec<Vec<u8>>, Mistake> {
        let [clients, virtuals, servers] = &self.ends;
        if clients.len().saturating_mul(virtuals.len()).saturating_mul(servers.len())
            > EXPANSION_MAX
        {
            let message = format!("the ranges stand for more than {EXPANSION_MAX} entries");
            return Err(Mistake::at(self.at, message));
        }
        let mut found = Vec::new();
        for client in clients {
            for virtual_end in virtuals {
                for server in servers {
                    let ends = [client, virtual_end, server];
                    if ends.iter().any(|end| Family::of(end.addr) != Family::of(client.addr)) {
                        let message = "the three addresses must be of one family";
                        return Err(Mistake::at(self.at, message));
                    }
                    found.push(match version {
                        0 => self.version_0(ends),
                        _ => self.version_1(ends),
                    });
                }
            }
        }
        Ok(found)
    }

    fn version_1(&self, ends: [&lvs_core::flow::Endpoint; 3]) -> Vec<u8> {
        let addresses: Vec<u8> = ends.iter().flat_map(|end| octets(end.addr)).collect();
        let is_v6 = u8::from(addresses.len() > 12);
        let whole = (24 + addresses.len() + self.options.len()) as u16;
        let size = self.size.unwrap_or(whole) & 0xfff | u16::from(self.version) << 12;
        let mut bytes = vec![self.kind.unwrap_or(is_v6), self.protocol];
        bytes.extend(size.to_be_bytes());
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.state.to_be_bytes());
        bytes.extend(ends.iter().flat_map(|end| end.port.0.to_be_bytes()));
        bytes.extend(self.mark.to_be_bytes());
        bytes.extend(self.timeout.to_be_bytes());
        bytes.extend(addresses);
        bytes.extend(&self.options);
        bytes
    }

    fn version_0(&self, ends: [&lvs_core::flow::Endpoint; 3]) -> Vec<u8> {
        let mut bytes = vec![0, self.protocol];
        bytes.extend(ends.iter().flat_map(|end| end.port.0.to_be_bytes()));
        bytes.extend(ends.iter().flat_map(|end| octets(end.addr)));
        bytes.extend((self.flags as u16).to_be_bytes());
        bytes.extend(self.state.to_be_bytes());
        bytes.extend(&self.sequences);
        bytes
    }
}

/// `TYPE:HEX`, or with another length than the data's `TYPE:LENGTH:HEX`.
fn option(word: Word<'_>) -> Result<Vec<u8>, Mistake> {
    let parts: Vec<&str> = word.text.split(':').collect();
    let part = |index: usize| {
        let from: usize = parts.iter().take(index).map(|part| part.len() + 1).sum();
        word.part(from, from + parts[index].len())
    };
    let (kind, length, data) = match parts.len() {
        2 => (part(0), None, hex(part(1))?),
        3 => (part(0), Some(number(part(1), 255)? as u8), hex(part(2))?),
        _ => return Err(Mistake::at(word, "an option is opt=TYPE:HEX or opt=TYPE:LENGTH:HEX")),
    };
    let mut bytes = vec![number(kind, 255)? as u8, length.unwrap_or(data.len() as u8)];
    bytes.extend(data);
    Ok(bytes)
}

fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}

/// Bytes, two hexadecimal digits each.
fn hex(word: Word<'_>) -> Result<Vec<u8>, Mistake> {
    let digits: Option<Vec<u8>> =
        word.text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        _ => Err(Mistake::at(word, format!("'{}' is not bytes in hexadecimal", word.text))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Scenario, SyncDatagram};

    fn parsed(line: &str) -> SyncDatagram {
        let scenario = Scenario::parse("s.lvs", &format!("1 {line}\n")).unwrap();
        match &scenario.events[0].action {
            Action::Sync(datagram) => datagram.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// A message that a Linux 6.1 master sent, and the same written as a line.
    #[test]
    fn an_entry_is_written_as_the_kernel_writes_it() {
        let sent = "0007005002010000000600240000008300019c40005000500000000000000384c00002070a0000010a010002\
                    000600240000018300049c4000500050000000000000\
                    0078c00002070a0000010a010002";
        let line = "sync id=7 tcp 192.0.2.7:40000 > 10.0.0.1:80 > 10.1.0.2:80 flags=0x83 state=1 timeout=900 ; \
                    tcp 192.0.2.7:40000 > 10.0.0.1:80 > 10.1.0.2:80 flags=0x183 state=4 timeout=120";
        let made = parsed(line);
        assert_eq!(made.bytes, parsed(&format!("sync raw {sent}")).bytes);
        assert_eq!((made.text.as_str(), made.port), (line, 8848));
    }

    #[test]
    fn entries_after_one_with_options_begin_at_a_multiple_of_four() {
        let line = "sync tcp 192.0.2.7:1 > 10.0.0.1:80 > 10.1.0.2:80 opt=0x49:01 ; \
                    tcp 192.0.2.7:2 > 10.0.0.1:80 > 10.1.0.2:80 opt=9:200:0102";
        let bytes = parsed(line).bytes;
        assert_eq!(bytes.len(), 8 + 39 + 1 + 40);
        assert_eq!(&bytes[8 + 36..8 + 40], [0x49, 1, 1, 0]);
        assert_eq!(&bytes[84..], [9, 200, 1, 2]);
    }

    #[test]
    fn a_range_stands_for_one_entry_each() {
        let bytes = parsed("sync id=9 udp [2001:db8::7]:1-3 > [2001:db8:1::1]:53 > [::5]:53").bytes;
        assert_eq!((bytes.len(), bytes[1], bytes[4]), (8 + 3 * 72, 9, 3));
        assert_eq!(bytes[8..12], [1, 17, 0, 72]);
    }

    #[test]
    fn the_old_form_has_neither_timeout_nor_mark() {
        let line = "sync id=7 version=0 total=9 tcp 192.0.2.7:1 > 10.0.0.1:80 > 10.1.0.2:80 flags=0x12345 \
                    state=2 timeout=7 mark=8";
        let bytes = parsed(line).bytes;
        assert_eq!(bytes[..6], [1, 7, 0, 9, 0, 6]);
        assert_eq!((bytes.len(), &bytes[24..]), (28, &[0x23, 0x45, 0, 2][..]));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (line, message) in [
            (
                "sync tcp 192.0.2.7:1 > 10.0.0.1:80",
                "x.lvs:1:37: the line ends too early; expected '>' b",
            ),
            ("sync raw 123", "x.lvs:1:12: '123' is not bytes in hexadecimal"),
            (
                "sync nonsense",
                "x.lvs:1:8: 'nonsense' is neither a field nor a protocol; the line is TIME sync",
            ),
            (
                "sync tcp 1.1.1.1:1 > [::1]:2 > 1.1.1.1:3",
                "x.lvs:1:8: the three addresses must be of one f",
            ),
            (
                "sync tcp 1.1.1.1:1 > 1.1.1.1:2 > 1.1.1.1:3 what=1",
                "x.lvs:1:46: 'what=1' is no field of an",
            ),
        ] {
            let error = Scenario::parse("x.lvs", &format!("1 {line}\n")).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
