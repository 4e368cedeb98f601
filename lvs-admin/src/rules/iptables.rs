//! `iptables … -t mangle -A PREROUTING … -j MARK --set-mark N` lines: the way operators join ports,
//! addresses and protocols in one virtual service.

use std::net::{IpAddr, Ipv4Addr};

use lvs_core::addr::{Family, Granularity, Prefix};
use lvs_core::command::MarkRule;
use lvs_core::flow::Protocol;
use lvs_core::ids::{FwMark, L4Port};

use super::error::Fault;
use crate::address::{port_number, radix_number};
use crate::names::Names;
use crate::words::Word;

/// The rules of one line: several where it lists several addresses or ports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarkLine {
    /// The rules, their port of the director not yet filled in.
    pub rules: Vec<MarkRule>,
    /// `-i`: the interface that packets must come in by.
    pub interface: Option<String>,
}

/// What a line of iptables that an operator types does to the mark rules of its family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MarkChange {
    /// `-A`: adds rules behind the others.
    Append(MarkLine),
    /// `-I`: adds rules in front of the rule with this number, from 1.
    Insert(usize, MarkLine),
    /// `-D` and a rule: takes it away.
    Delete(MarkLine),
    /// `-D` and a number, from 1, among the rules of the family.
    DeleteNumber(Family, usize),
    /// `-F`: takes all rules of the family away.
    Flush(Family),
}

/// How many addresses or ports a list may have; iptables allows 15 ports.
const LIST_MAX: usize = 15;
/// How many rules a line may make: lists in all of its four places would make 50,625.
const RULES_MAX: usize = 256;

/// What may stand in a line, and what it wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Table,
    Append,
    Insert,
    Delete,
    Flush,
    OtherCommand,
    Protocol,
    Source,
    Destination,
    Interface,
    Match,
    Jump,
    SourcePort,
    DestinationPort,
    SourcePorts,
    DestinationPorts,
    Mark,
    XMark,
    Comment,
    Wait,
}

/// The option of a word without its value, whether the value is wanted.
fn part(option: &str) -> Option<Part> {
    Some(match option {
        "-t" | "--table" => Part::Table,
        "-A" | "--append" => Part::Append,
        "-I" | "--insert" => Part::Insert,
        "-D" | "--delete" => Part::Delete,
        "-F" | "--flush" => Part::Flush,
        "-R" | "--replace" | "-N" | "--new-chain" | "-X" | "--delete-chain" | "-P" | "--policy"
        | "-C" | "--check" | "-L" | "--list" | "-S" | "--list-rules" | "-Z" | "--zero" | "-E" => {
            Part::OtherCommand
        }
        "-p" | "--protocol" | "--proto" => Part::Protocol,
        "-s" | "--source" | "--src" => Part::Source,
        "-d" | "--destination" | "--dst" => Part::Destination,
        "-i" | "--in-interface" => Part::Interface,
        "-m" | "--match" => Part::Match,
        "-j" | "--jump" => Part::Jump,
        "--sport" | "--source-port" => Part::SourcePort,
        "--dport" | "--destination-port" => Part::DestinationPort,
        "--sports" | "--source-ports" => Part::SourcePorts,
        "--dports" | "--destination-ports" => Part::DestinationPorts,
        "--set-mark" => Part::Mark,
        "--set-xmark" => Part::XMark,
        "--comment" => Part::Comment,
        "-w" | "--wait" => Part::Wait,
        _ => return None,
    })
}

type Ports = (L4Port, L4Port);

struct Line<'a> {
    /// Whether it is typed, not of a file: then it may do more than add.
    typed: bool,
    command: Part,
    /// The number behind the chain.
    number: Option<usize>,
    /// The first word that belongs to a rule.
    of_rule: Option<usize>,
    family: Family,
    words: &'a [Word],
    names: &'a dyn Names,
    table: bool,
    chain: bool,
    jump: bool,
    multiport: bool,
    protocol: Option<Protocol>,
    sources: Vec<Prefix>,
    destinations: Vec<Prefix>,
    interface: Option<String>,
    /// The texts of ports wait for the protocol that their names depend on.
    source_ports: Option<(Part, &'a str, usize)>,
    destination_ports: Option<(Part, &'a str, usize)>,
    mark: Option<FwMark>,
}

/// Reads the words of a line of a file, the program's name being the first.
pub(super) fn parse(family: Family, words: &[Word], names: &dyn Names) -> Result<MarkLine, Fault> {
    let mut line = Line::new(false, family, words, names);
    line.read()?;
    line.finish()
}

/// Reads the words of a line that was typed, the program's name being the first.
pub(super) fn parse_typed(
    family: Family,
    words: &[Word],
    names: &dyn Names,
) -> Result<MarkChange, Fault> {
    let mut line = Line::new(true, family, words, names);
    line.read()?;
    let (command, number) = (line.command, line.number);
    let whole = match (command, number) {
        (Part::Flush, _) => Some(MarkChange::Flush(family)),
        (Part::Delete, Some(number)) => Some(MarkChange::DeleteNumber(family, number)),
        _ => None,
    };
    if let Some(change) = whole {
        if let Some(index) = line.of_rule {
            let help = "give the command and nothing else, or -D PREROUTING with a whole rule";
            return Err(Fault::new(index, "this does not go with that command", help));
        }
        missing(line.table, "-t mangle", "such as -t mangle -F PREROUTING")?;
        return Ok(change);
    }
    let rules = line.finish()?;
    Ok(match command {
        Part::Insert => MarkChange::Insert(number.unwrap_or(1), rules),
        Part::Delete => MarkChange::Delete(rules),
        _ => MarkChange::Append(rules),
    })
}

impl<'a> Line<'a> {
    fn new(typed: bool, family: Family, words: &'a [Word], names: &'a dyn Names) -> Line<'a> {
        Line {
            typed,
            command: Part::Append,
            number: None,
            of_rule: None,
            family,
            words,
            names,
            table: false,
            chain: false,
            jump: false,
            multiport: false,
            protocol: None,
            sources: Vec::new(),
            destinations: Vec::new(),
            interface: None,
            source_ports: None,
            destination_ports: None,
            mark: None,
        }
    }

    fn read(&mut self) -> Result<(), Fault> {
        let mut next = 1;
        while let Some(word) = self.words.get(next) {
            let index = next;
            next += 1;
            let (option, attached) = split(&word.text);
            let Some(part) = part(option) else { return Err(unknown(&word.text, index)) };
            if part == Part::Wait {
                // Waiting for iptables' lock means nothing here; its seconds are passed over too.
                let seconds = self.words.get(next).is_some_and(|w| w.text.parse::<u32>().is_ok());
                next += usize::from(attached.is_none() && seconds);
                continue;
            }
            self.check_command(part, option, index)?;
            if part == Part::Flush && attached.is_none() && !self.has_value(next) {
                (self.command, self.chain) = (part, true);
                continue;
            }
            let (value, value_index) = match (attached, self.words.get(next)) {
                (Some(value), _) => (value, index),
                (None, Some(value)) => {
                    next += 1;
                    (value.text.as_str(), next - 1)
                }
                (None, None) => {
                    return Err(Fault::new(index, format!("{option}: missing argument"), ""));
                }
            };
            if value == "!" {
                return Err(negated(value_index));
            }
            self.take(part, value, value_index)?;
            if matches!(part, Part::Insert | Part::Delete)
                && let Some(number) = self.words.get(next).and_then(|word| word.text.parse().ok())
            {
                if number == 0 {
                    return Err(Fault::new(
                        next,
                        "there is no rule 0",
                        "rules are numbered from 1",
                    ));
                }
                self.number = Some(number);
                next += 1;
            }
            if !matches!(
                part,
                Part::Table | Part::Append | Part::Insert | Part::Delete | Part::Flush
            ) {
                self.of_rule.get_or_insert(index);
            }
        }
        Ok(())
    }

    /// Refuses commands that make no sense where this line stands.
    fn check_command(&self, part: Part, option: &str, index: usize) -> Result<(), Fault> {
        let help = match part {
            Part::Insert | Part::Delete | Part::Flush if self.typed => return Ok(()),
            Part::OtherCommand if self.typed => "the commands here are -A, -I, -D, -F, -L and -S",
            Part::Insert | Part::Delete | Part::Flush | Part::OtherCommand => {
                "write -A PREROUTING; all rules of the file together replace the old ones"
            }
            _ => return Ok(()),
        };
        Err(Fault::new(index, format!("{option} cannot be used here"), help))
    }

    fn has_value(&self, index: usize) -> bool {
        self.words.get(index).is_some_and(|word| !word.text.starts_with('-'))
    }

    fn take(&mut self, part: Part, value: &'a str, index: usize) -> Result<(), Fault> {
        match part {
            Part::Table => {
                self.table = true;
                expect(value, "mangle", index, "table", "only -t mangle sets marks in time")
            }
            Part::Append | Part::Insert | Part::Delete | Part::Flush => {
                if self.chain {
                    let help = "one command in a line, such as -A PREROUTING";
                    return Err(Fault::new(index, "a second command", help));
                }
                (self.command, self.chain) = (part, true);
                let help = "only -A PREROUTING: packets are marked as they come in";
                expect(value, "PREROUTING", index, "chain", help)
            }
            Part::Jump => {
                self.jump = true;
                expect(value, "MARK", index, "target", "only -j MARK --set-mark N is known here")
            }
            Part::Match => self.matching(value, index),
            Part::Protocol => {
                self.protocol = protocol(value, index)?;
                Ok(())
            }
            Part::Source => once(self.sources.is_empty(), "-s", index)
                .and_then(|()| self.prefixes(value, index))
                .map(|prefixes| self.sources = prefixes),
            Part::Destination => once(self.destinations.is_empty(), "-d", index)
                .and_then(|()| self.prefixes(value, index))
                .map(|prefixes| self.destinations = prefixes),
            Part::Interface => {
                if value.is_empty() || value.ends_with('+') {
                    let help = "write one line for each interface";
                    return Err(Fault::new(index, format!("no interface: '{value}'"), help));
                }
                self.interface = Some(value.to_owned());
                Ok(())
            }
            Part::SourcePort | Part::SourcePorts => {
                self.source_ports = Some((part, value, index));
                Ok(())
            }
            Part::DestinationPort | Part::DestinationPorts => {
                self.destination_ports = Some((part, value, index));
                Ok(())
            }
            Part::Mark | Part::XMark => {
                self.mark = Some(mark(value, index)?);
                Ok(())
            }
            Part::Comment | Part::Wait | Part::OtherCommand => Ok(()),
        }
    }

    fn matching(&mut self, value: &str, index: usize) -> Result<(), Fault> {
        match value {
            "tcp" | "udp" | "sctp" | "comment" => Ok(()),
            "multiport" => {
                self.multiport = true;
                Ok(())
            }
            _ => {
                let help = "only the matches tcp, udp, sctp, multiport and comment are known here";
                Err(Fault::new(index, format!("match '{value}' cannot be used here"), help))
            }
        }
    }

    /// A list of addresses, each with a prefix length or a mask.
    fn prefixes(&self, text: &str, index: usize) -> Result<Vec<Prefix>, Fault> {
        let prefixes: Vec<_> =
            text.split(',').map(|text| self.prefix(text, index)).collect::<Result<_, _>>()?;
        at_most(prefixes, index, "addresses")
    }

    fn prefix(&self, text: &str, index: usize) -> Result<Prefix, Fault> {
        let (host, len) = match text.split_once('/') {
            Some((host, len)) => (host, Some(len)),
            None => (text, None),
        };
        let addr = host.parse::<IpAddr>().ok().or_else(|| self.names.address(host));
        let Some(addr) = addr else {
            let help = "ADDRESS, ADDRESS/LENGTH or ADDRESS/MASK";
            return Err(Fault::new(index, format!("no such address: '{text}'"), help));
        };
        if Family::of(addr) != self.family {
            let (here, there) = match self.family {
                Family::V4 => ("iptables", "ip6tables"),
                Family::V6 => ("ip6tables", "iptables"),
            };
            let message = format!("{addr} is no address for {here}");
            return Err(Fault::new(index, message, format!("write {there} for it")));
        }
        let len = match len {
            None => Some(self.family.bits()),
            Some(len) => prefix_length(len, self.family),
        };
        let prefix = len.and_then(|len| Prefix::new(Granularity::Prefix(len).apply(addr), len));
        prefix.ok_or_else(|| {
            let help = format!(
                "a prefix length from 0 to {}, or a netmask without gaps",
                self.family.bits()
            );
            Fault::new(index, format!("illegal prefix '{text}'"), help)
        })
    }

    fn finish(self) -> Result<MarkLine, Fault> {
        let help =
            "iptables -t mangle -A PREROUTING -d VIP -p tcp --dport PORT -j MARK --set-mark N";
        missing(self.table, "-t mangle", help)?;
        missing(self.chain, "-A PREROUTING", help)?;
        missing(self.jump, "-j MARK", help)?;
        missing(self.mark.is_some(), "--set-mark N", help)?;
        let source_ports = self.ports(self.source_ports)?;
        let destination_ports = self.ports(self.destination_ports)?;
        let lists = [
            self.sources.len(),
            self.destinations.len(),
            source_ports.len(),
            destination_ports.len(),
        ];
        let count = lists.iter().map(|len| len.max(&1)).product::<usize>();
        if count > RULES_MAX {
            let message = format!("the lists of this line make {count} rules");
            let help = format!("at most {RULES_MAX} in a line; use prefixes and ranges of ports");
            return Err(Fault::new(0, message, help));
        }
        let mut rules = Vec::with_capacity(count);
        for source in each(&self.sources) {
            for destination in each(&self.destinations) {
                for source_ports in each(&source_ports) {
                    for destination_ports in each(&destination_ports) {
                        rules.push(MarkRule {
                            family: self.family,
                            source,
                            destination,
                            protocol: self.protocol,
                            source_ports,
                            destination_ports,
                            port: None,
                            mark: self.mark.unwrap_or_default(),
                        });
                    }
                }
            }
        }
        Ok(MarkLine { rules, interface: self.interface })
    }

    /// The ports of `--dport`, `--dports` and their like.
    fn ports(&self, given: Option<(Part, &str, usize)>) -> Result<Vec<Ports>, Fault> {
        let Some((part, text, index)) = given else { return Ok(Vec::new()) };
        let protocol = match self.protocol {
            Some(protocol @ (Protocol::TCP | Protocol::UDP | Protocol::SCTP)) => protocol,
            _ => {
                let help = "give -p tcp, -p udp or -p sctp with it";
                return Err(Fault::new(index, "a port belongs to a protocol", help));
            }
        };
        if !matches!(part, Part::SourcePorts | Part::DestinationPorts) {
            return Ok(vec![self.port_range(text, protocol, index)?]);
        }
        if !self.multiport {
            let help = "write -m multiport before it";
            return Err(Fault::new(index, "lists of ports need the match multiport", help));
        }
        let ports: Vec<_> = text
            .split(',')
            .map(|text| self.port_range(text, protocol, index))
            .collect::<Result<_, _>>()?;
        at_most(ports, index, "ports")
    }

    /// `N`, `N:M`, `N:` or `:M`.
    fn port_range(&self, text: &str, protocol: Protocol, index: usize) -> Result<Ports, Fault> {
        let read = |text: &str, open: u16| match text {
            "" => Some(open),
            text => port_number(text, protocol, self.names),
        };
        let range = match text.split_once(':') {
            Some((first, last)) => read(first, 0).zip(read(last, u16::MAX)),
            None => port_number(text, protocol, self.names).map(|port| (port, port)),
        };
        match range {
            Some((first, last)) if first <= last => Ok((L4Port(first), L4Port(last))),
            Some(_) => {
                let help = "the lower port comes first";
                Err(Fault::new(index, format!("illegal port range '{text}'"), help))
            }
            None => {
                let help = "a port is a number from 0 to 65535 or a name, a range is FIRST:LAST";
                Err(Fault::new(index, format!("illegal port '{text}'"), help))
            }
        }
    }
}

fn missing(given: bool, what: &str, help: &str) -> Result<(), Fault> {
    match given {
        true => Ok(()),
        false => Err(Fault::new(0, format!("{what} is missing"), help)),
    }
}

/// Each of a list, or `None` once: "any" is one case.
fn each<T: Copy>(list: &[T]) -> impl Iterator<Item = Option<T>> {
    let any = list.is_empty().then_some(None);
    any.into_iter().chain(list.iter().copied().map(Some))
}

fn at_most<T>(list: Vec<T>, index: usize, what: &str) -> Result<Vec<T>, Fault> {
    if list.len() <= LIST_MAX {
        return Ok(list);
    }
    let message = format!("{} {what} in one list", list.len());
    Err(Fault::new(index, message, format!("at most {LIST_MAX}; write more lines")))
}

fn once(first: bool, option: &str, index: usize) -> Result<(), Fault> {
    if first {
        return Ok(());
    }
    Err(Fault::new(index, format!("multiple {option} specified"), "list them with commas"))
}

fn expect(value: &str, wanted: &str, index: usize, what: &str, help: &str) -> Result<(), Fault> {
    if value == wanted {
        return Ok(());
    }
    Err(Fault::new(index, format!("{what} '{value}' cannot be used here"), help))
}

/// An option's word and the value attached to it.
fn split(word: &str) -> (&str, Option<&str>) {
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (word, None),
        };
    }
    match word.char_indices().nth(2) {
        Some((end, _)) if word.starts_with('-') => (&word[..end], Some(&word[end..])),
        _ => (word, None),
    }
}

fn unknown(text: &str, index: usize) -> Fault {
    match text {
        "!" => negated(index),
        "--or-mark" | "--and-mark" | "--xor-mark" => {
            Fault::new(index, format!("{text} cannot be used here"), "use --set-mark")
        }
        _ => {
            let help = "known are -t -A -d -s -p -i -m -j --dport --sport --dports --sports \
                        --set-mark --set-xmark";
            Fault::new(index, format!("{text}: unknown option of iptables here"), help)
        }
    }
}

fn negated(index: usize) -> Fault {
    let help =
        "write a line for what shall be marked; of several lines that match, the last counts";
    Fault::new(index, "! (all but this) cannot be used here", help)
}

fn protocol(text: &str, index: usize) -> Result<Option<Protocol>, Fault> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "all" | "0" => None,
        "tcp" => Some(Protocol::TCP),
        "udp" => Some(Protocol::UDP),
        "sctp" => Some(Protocol::SCTP),
        "icmp" => Some(Protocol::ICMP),
        "icmpv6" | "ipv6-icmp" => Some(Protocol::ICMPV6),
        number => match number.parse::<u8>() {
            Ok(number) => Some(Protocol(number)),
            Err(_) => {
                let help = "tcp, udp, sctp, all or a number from 0 to 255";
                return Err(Fault::new(index, format!("unknown protocol '{text}'"), help));
            }
        },
    })
}

/// `N` or `N/0xffffffff`: the director's marks have no parts.
fn mark(text: &str, index: usize) -> Result<FwMark, Fault> {
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (value, Some(mask)),
        None => (text, None),
    };
    let Some(value) = radix_number(value) else {
        let help = "a mark is a number from 0 to 4294967295, or 0x and hexadecimal";
        return Err(Fault::new(index, format!("illegal mark '{text}'"), help));
    };
    match mask.map(radix_number) {
        None | Some(Some(u32::MAX)) => Ok(FwMark(value)),
        Some(_) => {
            let help = "a mark is set as a whole: leave the mask out";
            Err(Fault::new(index, format!("illegal mask of a mark '{text}'"), help))
        }
    }
}

/// A prefix length, or the netmask that says the same.
fn prefix_length(text: &str, family: Family) -> Option<u8> {
    if let Ok(len) = text.parse::<u8>() {
        return Some(len);
    }
    let bits = match family {
        Family::V4 => u128::from(text.parse::<Ipv4Addr>().ok()?.to_bits()) << 96,
        Family::V6 => text.parse::<std::net::Ipv6Addr>().ok()?.to_bits(),
    };
    let len = bits.leading_ones();
    (bits.count_ones() == len).then(|| u8::try_from(len).ok()).flatten()
}
