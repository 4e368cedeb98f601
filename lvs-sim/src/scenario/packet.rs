//! The packet part of the scenario language.

use lvs_core::addr::Family;

use super::address::{self, EXPANSION_MAX};
use super::error::{Mistake, Word, Words};
use super::{
    Body, Fragments, IcmpKind, Packet, PacketOptions, Quoted, SCTP_CHUNKS, Side, TCP_FLAGS, payload,
};

/// The longest payload: an IPv4 packet may have 65,535 bytes, headers included.
const PAYLOAD_MAX: usize = 65_000;

const KINDS: &[(&str, IcmpKind)] = &[
    ("unreach", IcmpKind::Unreach),
    ("toobig", IcmpKind::TooBig),
    ("ttl", IcmpKind::Ttl),
    ("quench", IcmpKind::Quench),
    ("redirect", IcmpKind::Redirect),
    ("param", IcmpKind::Param),
    ("echo", IcmpKind::Echo),
    ("echo-reply", IcmpKind::EchoReply),
];

/// Parses a packet and returns one for each address and port that its ranges stand for.
pub(super) fn packets(words: &mut Words<'_>) -> Result<Vec<Packet>, Mistake> {
    let mut prefix = String::new();
    let side = if words.skip("reply") {
        prefix.push_str("reply ");
        Side::Servers
    } else {
        Side::Clients
    };
    let fragmented = words.skip("frag");
    if fragmented {
        prefix.push_str("frag ");
    }
    let kind = words.expect("tcp, udp, sctp or icmp")?;
    let icmp = match kind.text {
        "icmp" => Some(icmp_kind(words.expect("a kind of ICMP message")?)?),
        "tcp" | "udp" | "sctp" => None,
        _ => return Err(unknown_action(kind)),
    };
    let ends = Ends::parse(words)?;
    let tail = Tail::parse(words, fragmented, icmp.is_some())?;
    let body = body(kind, icmp.map(|(_, kind)| kind), &tail, words)?;
    tail.check_parts()?;
    if ends.from.len().saturating_mul(ends.to.len()) > EXPANSION_MAX {
        return Err(Mistake::at(
            ends.at,
            format!("the ranges stand for more than {EXPANSION_MAX} packets"),
        ));
    }
    let head = match icmp {
        None => format!("{prefix}{}", kind.text),
        Some((word, _)) => format!("{prefix}icmp {word}"),
    };
    let quoting = match &body {
        Body::Icmp { quoted: Some(quoted), .. } => quoting_text(quoted),
        _ => String::new(),
    };
    let mut found = Vec::with_capacity(ends.from.len() * ends.to.len());
    for source in &ends.from {
        for destination in &ends.to {
            let between = match icmp {
                None => format!("{source} > {destination}"),
                Some(_) => {
                    let (a, b) = (source.addr, destination.addr);
                    format!("{} > {}", address::bracketed(a), address::bracketed(b))
                }
            };
            let text = format!("{head} {between}{}{quoting}", tail.text);
            found.push(Packet {
                text,
                side,
                source: *source,
                destination: *destination,
                body: body.clone(),
                fragments: fragmented.then(|| tail.fragments.clone()),
                data: tail.data.clone(),
                options: tail.options,
            });
        }
    }
    Ok(found)
}

/// Says what an action may be; also where the packet's kind is wrong.
pub(super) fn unknown_action(word: Word<'_>) -> Mistake {
    Mistake::at(
        word,
        format!(
            "'{}' is no action; expected ipvsadm, sysctl, mark, dump, sync, reply, frag, tcp, udp, sctp or icmp",
            word.text
        ),
    )
}

fn icmp_kind<'a>(word: Word<'a>) -> Result<(&'a str, IcmpKind), Mistake> {
    KINDS
        .iter()
        .find(|(name, _)| *name == word.text)
        .map(|&(_, kind)| (word.text, kind))
        .ok_or_else(|| {
            let names: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
            Mistake::at(
                word,
                format!(
                    "'{}' is no kind of ICMP message; expected {}",
                    word.text,
                    names.join(", ")
                ),
            )
        })
}

/// `SRC > DST`.
struct Ends<'a> {
    at: Word<'a>,
    from: Vec<lvs_core::flow::Endpoint>,
    to: Vec<lvs_core::flow::Endpoint>,
}

impl<'a> Ends<'a> {
    fn parse(words: &mut Words<'a>) -> Result<Ends<'a>, Mistake> {
        let at = words.expect("SOURCE > DESTINATION")?;
        let from = address::expand(at)?;
        let arrow = words.expect("'>' between source and destination")?;
        if arrow.text != ">" {
            return Err(Mistake::at(
                arrow,
                format!("'{}' where '>' should stand; write SOURCE > DESTINATION", arrow.text),
            ));
        }
        let destination = words.expect("a destination")?;
        let to = address::expand(destination)?;
        if Family::of(from[0].addr) != Family::of(to[0].addr) {
            return Err(Mistake::at(
                destination,
                "source and destination must be of one address family",
            ));
        }
        Ok(Ends { at, from, to })
    }
}

/// What follows the ends: flags or a chunk, and options.
struct Tail<'a> {
    /// The words as written, each with a space in front.
    text: String,
    flags: Option<Word<'a>>,
    options: PacketOptions,
    data: Option<Vec<u8>>,
    fragments: Fragments,
    send: Option<Word<'a>>,
    end: Option<Word<'a>>,
}

impl<'a> Tail<'a> {
    fn parse(words: &mut Words<'a>, fragmented: bool, icmp: bool) -> Result<Tail<'a>, Mistake> {
        let mut tail = Tail {
            text: String::new(),
            flags: None,
            options: PacketOptions::default(),
            data: None,
            fragments: Fragments::default(),
            send: None,
            end: None,
        };
        while let Some(next) = words.peek() {
            if icmp && next == "quoting" {
                break;
            }
            let Some(word) = words.take() else { break };
            tail.text.push(' ');
            tail.text.push_str(word.text);
            tail.end = Some(word);
            match word.text.find('=') {
                Some(at) => tail.option(word, word.part(0, at), word.rest(at + 1), fragmented)?,
                None if tail.flags.is_none() && !icmp => tail.flags = Some(word),
                None => {
                    return Err(Mistake::at(
                        word,
                        format!("'{}' is not understood; {OPTIONS}", word.text),
                    ));
                }
            }
        }
        Ok(tail)
    }

    fn option(
        &mut self,
        whole: Word<'a>,
        key: Word<'a>,
        value: Word<'a>,
        fragmented: bool,
    ) -> Result<(), Mistake> {
        let options = &mut self.options;
        match key.text {
            "data" => {
                let data = payload::bytes(value)?;
                if data.len() > PAYLOAD_MAX {
                    return Err(Mistake::at(
                        value,
                        format!("a payload has at most {PAYLOAD_MAX} bytes"),
                    ));
                }
                self.data = Some(data);
            }
            "len" => options.len = number(value, PAYLOAD_MAX as u64)? as usize,
            "ttl" => options.ttl = Some(number(value, 255)? as u8),
            "tos" => options.tos = Some(number(value, 255)? as u8),
            "id" => options.id = Some(number(value, 65_535)? as u16),
            "df" => options.df = Some(number(value, 1)? == 1),
            "seq" => options.seq = Some(number(value, u64::from(u32::MAX))? as u32),
            "ack" => options.ack = Some(number(value, u64::from(u32::MAX))? as u32),
            "csum" => options.bad_checksum = number(value, 1)? == 0,
            "code" => options.code = Some(number(value, 255)? as u8),
            "mtu" => options.mtu = Some(number(value, u64::from(u32::MAX))? as u32),
            "at" | "send" if !fragmented => {
                return Err(Mistake::at(
                    whole,
                    format!("'{}' needs frag in front of the packet", key.text),
                ));
            }
            "at" => self.fragments.at = numbers(value)?,
            "send" => {
                self.fragments.send = Some(numbers(value)?);
                self.send = Some(value);
            }
            _ => return Err(Mistake::at(key, format!("'{}' is no option; {OPTIONS}", key.text))),
        }
        Ok(())
    }

    /// Fragments can only be sent that the cuts make.
    fn check_parts(&self) -> Result<(), Mistake> {
        let (Some(send), Some(word)) = (&self.fragments.send, self.send) else { return Ok(()) };
        let parts = self.fragments.parts();
        match send.iter().find(|&&part| part >= parts) {
            None => Ok(()),
            Some(part) => Err(Mistake::at(
                word,
                format!("there is no part {part}; the cuts make the parts 0 to {}", parts - 1),
            )),
        }
    }
}

const OPTIONS: &str =
    "options are len=, data=, ttl=, tos=, id=, df=, seq=, ack=, csum=, code=, mtu=, at=, send=";

fn body(
    kind: Word<'_>,
    icmp: Option<IcmpKind>,
    tail: &Tail<'_>,
    words: &mut Words<'_>,
) -> Result<Body, Mistake> {
    if let Some(kind) = icmp {
        let quoted = if words.skip("quoting") { Some(Box::new(quoted(words)?)) } else { None };
        return Ok(Body::Icmp { kind, quoted });
    }
    match (kind.text, tail.flags) {
        ("udp", None) => Ok(Body::Udp),
        ("udp", Some(word)) => Err(Mistake::at(
            word,
            format!("'{}' is not understood; a datagram has no flags", word.text),
        )),
        ("tcp", Some(word)) => tcp_flags(word),
        ("sctp", Some(word)) => sctp_chunk(word),
        (_, _) => Err(Mistake::at(
            tail.end.unwrap_or(kind),
            if kind.text == "tcp" {
                "a tcp packet needs flags: letters of SAPFRUEW, or '.' for none"
            } else {
                "an sctp packet needs a chunk, such as INIT"
            },
        )),
    }
}

fn tcp_flags(word: Word<'_>) -> Result<Body, Mistake> {
    let mut flags = 0;
    for (at, letter) in word.text.char_indices() {
        if letter == '.' {
            continue;
        }
        match TCP_FLAGS.iter().position(|&flag| char::from(flag) == letter) {
            Some(bit) => flags |= 1 << bit,
            None => {
                return Err(Mistake::at(
                    word.rest(at),
                    format!(
                        "'{letter}' is no TCP flag; the letters are S A P F R U E W, '.' is none"
                    ),
                ));
            }
        }
    }
    Ok(Body::Tcp { flags })
}

fn sctp_chunk(word: Word<'_>) -> Result<Body, Mistake> {
    match SCTP_CHUNKS.iter().find(|(name, _)| *name == word.text) {
        Some(&(_, chunk)) => Ok(Body::Sctp { chunk }),
        None => {
            let names: Vec<_> = SCTP_CHUNKS.iter().map(|(name, _)| *name).collect();
            Err(Mistake::at(
                word,
                format!("'{}' is no SCTP chunk; expected {}", word.text, names.join(", ")),
            ))
        }
    }
}

/// What follows `quoting`: a packet, perhaps inside a tunnel. Of ranges only the first packet counts.
fn quoted(words: &mut Words<'_>) -> Result<Quoted, Mistake> {
    let tunnel = if words.skip("ipip") {
        let from = address::address(words.expect("the tunnel's source")?)?;
        let arrow = words.expect("'>' between source and destination")?;
        if arrow.text != ">" {
            return Err(Mistake::at(
                arrow,
                "expected '>' between the tunnel's source and destination",
            ));
        }
        let word = words.expect("the tunnel's destination")?;
        let to = address::address(word)?;
        if Family::of(from) != Family::of(to) {
            return Err(Mistake::at(word, "both ends of the tunnel must be of one address family"));
        }
        Some((from, to))
    } else {
        None
    };
    let packet = packets(words)?.swap_remove(0);
    Ok(Quoted { tunnel, packet })
}

fn quoting_text(quoted: &Quoted) -> String {
    match quoted.tunnel {
        None => format!(" quoting {}", quoted.packet.text),
        Some((from, to)) => format!(" quoting ipip {from} > {to} {}", quoted.packet.text),
    }
}

/// A number, decimal or with `0x`, up to `most`.
pub(super) fn number(word: Word<'_>, most: u64) -> Result<u64, Mistake> {
    let parsed = match word.text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => word.text.parse(),
    };
    match parsed {
        Ok(value) if value <= most => Ok(value),
        _ => Err(Mistake::at(word, format!("'{}' is not a number from 0 to {most}", word.text))),
    }
}

/// Numbers with commas between them.
fn numbers(word: Word<'_>) -> Result<Vec<usize>, Mistake> {
    let mut found = Vec::new();
    let mut from = 0;
    for piece in word.text.split(',') {
        let to = from + piece.len();
        found.push(number(word.part(from, to), 65_535)? as usize);
        from = to + 1;
    }
    Ok(found)
}
