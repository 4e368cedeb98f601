//! The lines of a scenario.

use std::path::Path;

use lvs_core::addr::{Family, Prefix};
use lvs_core::flow::Protocol;
use lvs_core::ids::{FwMark, L4Port};
use lvs_core::time::Instant;

use super::error::{Mistake, Word, Words};
use super::packet::{number, packets, unknown_action};
use super::{
    Action, Dump, Event, Mark, MarkProtocol, Scenario, ScenarioError, Side, address, sync,
};
use crate::net::NetworkBuilder;

impl Scenario {
    /// Parses the text of a scenario. `file` names it in errors and, without directory and `.lvs`, in
    /// the record.
    ///
    /// ```
    /// use lvs_sim::scenario::Scenario;
    /// let scenario = Scenario::parse("rr.lvs", "# round robin\n0 ipvsadm -A -t 10.0.0.1:80 -s rr\n\
    ///     0.5 tcp 192.0.2.7:40000-40002 > 10.0.0.1:80 S\n").unwrap();
    /// assert_eq!(scenario.title, "round robin");
    /// assert_eq!(scenario.events.len(), 4);
    ///
    /// let wrong = Scenario::parse("x.lvs", "0 tcp 192.0.2.7 > 10.0.0.1:80 Q\n").unwrap_err();
    /// assert!(wrong.to_string().starts_with("x.lvs:1:31: 'Q' is no TCP flag; "));
    /// ```
    ///
    /// # Errors
    /// The first mistake, with line and column.
    pub fn parse(file: &str, text: &str) -> Result<Scenario, ScenarioError> {
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            reader.line(index + 1, line).map_err(|mistake| mistake.in_file(file, index + 1))?;
        }
        let path = Path::new(file);
        let name = path.file_name().map_or(file.into(), |name| name.to_string_lossy());
        Ok(Scenario {
            name: name.strip_suffix(".lvs").unwrap_or(&name).to_owned(),
            title: reader.title,
            network: reader.network.finish(),
            engine: reader.engine,
            events: reader.events,
        })
    }
}

#[derive(Default)]
struct Reader {
    title: String,
    network: NetworkBuilder,
    engine: bool,
    events: Vec<Event>,
    last: Instant,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), Mistake> {
        if let Some(comment) = line.strip_prefix('#') {
            if self.title.is_empty() {
                self.title = comment.trim_start_matches(['#', ' ']).trim().to_owned();
            }
            return Ok(());
        }
        let line = line.split_once(" #").map_or(line, |(before, _)| before);
        let mut words = Words::of(line);
        let Some(first) = words.take() else { return Ok(()) };
        if first.text.starts_with('@') {
            return self.directive(first, &mut words);
        }
        let at = time(first)?;
        if at < self.last {
            return Err(Mistake::at(
                first,
                format!("time goes backwards; the line before is later than {}", first.text),
            ));
        }
        self.last = at;
        let what = words.clone().expect("an action")?;
        let actions = match what.text {
            "ipvsadm" => vec![self.ipvsadm(&mut words)?],
            "sysctl" => vec![sysctl(&mut words)?],
            "mark" => vec![self.mark(&mut words)?],
            "dump" => vec![dump(&mut words)?],
            "sync" => vec![Action::Sync(sync::datagram(&mut words)?)],
            "reply" | "frag" | "tcp" | "udp" | "sctp" | "icmp" => {
                let found = packets(&mut words)?;
                words.finish("TIME [reply] [frag] PACKET")?;
                found.into_iter().map(Action::Packet).collect()
            }
            _ => return Err(unknown_action(what)),
        };
        let time = first.text;
        self.events.extend(actions.into_iter().map(|action| Event {
            at,
            time: time.to_owned(),
            line: number,
            action,
        }));
        Ok(())
    }

    fn directive(&mut self, name: Word<'_>, words: &mut Words<'_>) -> Result<(), Mistake> {
        match name.text {
            "@vip" | "@novip" | "@server" | "@unreachable" | "@noneigh" => {
                let mut word = words.expect("an address")?;
                loop {
                    let addr = address::address(word)?;
                    match name.text {
                        "@vip" => self.network.vip(addr),
                        "@novip" => self.network.no_vip(addr),
                        "@server" => self.network.server(addr),
                        "@unreachable" => self.network.unreachable(addr),
                        _ => self.network.no_neighbor(addr),
                    }
                    match words.take() {
                        Some(next) => word = next,
                        None => return Ok(()),
                    }
                }
            }
            "@transparent" => {
                let mark = number(words.expect("a mark")?, u64::from(u32::MAX))? as u32;
                self.network.transparent(FwMark(mark));
                words.finish("@transparent MARK")
            }
            "@engine" => {
                let word = words.expect("an engine's name")?;
                if word.text != "sip" {
                    return Err(Mistake::at(
                        word,
                        format!("'{}' is no persistence engine; there is sip", word.text),
                    ));
                }
                self.engine = true;
                words.finish("@engine sip")
            }
            "@mtu" => {
                let side = match words.expect("client or server")? {
                    side if side.text.starts_with('c') => Side::Clients,
                    side if side.text.starts_with('s') => Side::Servers,
                    side => {
                        return Err(Mistake::at(
                            side,
                            format!("'{}' is no side; write client or server", side.text),
                        ));
                    }
                };
                let word = words.expect("an MTU")?;
                let mtu = number(word, 65_535)? as u32;
                if mtu < 68 {
                    return Err(Mistake::at(word, "an MTU is at least 68 bytes (RFC 791)"));
                }
                self.network.mtu(side, mtu);
                words.finish("@mtu client|server BYTES")
            }
            other => Err(Mistake::at(
                name,
                format!(
                    "{other} is no directive; there are @vip, @novip, @server, @noneigh, @unreachable, \
                     @mtu, @transparent and @engine"
                ),
            )),
        }
    }

    /// A command line is kept as it is; the addresses it names become part of the network.
    fn ipvsadm(&mut self, words: &mut Words<'_>) -> Result<Action, Mistake> {
        let mut line: Vec<String> = Vec::new();
        while let Some(word) = words.take() {
            line.push(word.text.to_owned());
        }
        for pair in line.windows(2) {
            let [option, value] = pair else { continue };
            let word = Word { text: value, column: 1 };
            let addr = || address::split(word).ok().and_then(|(host, _)| host.text.parse().ok());
            match option.as_str() {
                "-t" | "-u" | "--tcp-service" | "--udp-service" | "--sctp-service" => {
                    if let Some(addr) = addr() {
                        self.network.vip(addr);
                    }
                }
                "-r" | "--real-server" => {
                    if let Some(addr) = addr() {
                        self.network.server(addr);
                        if line.iter().any(|word| matches!(word.as_str(), "-i" | "--ipip")) {
                            self.network.tunnel_end(addr);
                        }
                    }
                }
                "--tun-port" => {
                    if let Ok(port) = value.parse() {
                        self.network.gue_port(port);
                    }
                }
                _ => {}
            }
        }
        Ok(Action::Ipvsadm(line))
    }

    fn mark(&mut self, words: &mut Words<'_>) -> Result<Action, Mistake> {
        let mut text = vec![words.expect("mark")?.text];
        let protocol_word = words.expect("tcp, udp, sctp, icmp or any")?;
        let protocol = match protocol_word.text {
            "tcp" => Some(MarkProtocol::Is(Protocol::TCP)),
            "udp" => Some(MarkProtocol::Is(Protocol::UDP)),
            "sctp" => Some(MarkProtocol::Is(Protocol::SCTP)),
            "icmp" => Some(MarkProtocol::Icmp),
            "any" => None,
            other => {
                return Err(Mistake::at(
                    protocol_word,
                    format!("'{other}' cannot be marked; write tcp, udp, sctp, icmp or any"),
                ));
            }
        };
        let target = words.expect("a destination")?;
        let value = words.expect("a mark")?;
        text.extend([protocol_word.text, target.text, value.text]);
        let mark = FwMark(number(value, u64::from(u32::MAX))? as u32);
        words.finish("TIME mark tcp|udp|sctp|icmp|any DESTINATION[:PORT] MARK")?;
        let (host, port) = address::split(target)?;
        let port = port.map(address::port).transpose()?.map(L4Port);
        if port.is_some() && !matches!(protocol, Some(MarkProtocol::Is(_))) {
            return Err(Mistake::at(target, "a port needs tcp, udp or sctp"));
        }
        let destination = if host.text.contains('/') {
            prefix(host)?
        } else {
            let addr = address::address(host)?;
            self.network.vip(addr);
            Prefix::host(addr)
        };
        Ok(Action::Mark(Mark { text: text.join(" "), protocol, destination, port, mark }))
    }
}

fn prefix(word: Word<'_>) -> Result<Prefix, Mistake> {
    let wrong = || {
        Mistake::at(
            word,
            format!("'{}' is not a prefix; write 10.0.0.0/24 or 2001:db8::/64", word.text),
        )
    };
    let (addr, len) = word.text.split_once('/').ok_or_else(wrong)?;
    let addr = addr.parse().map_err(|_| wrong())?;
    let len: u8 = len.parse().map_err(|_| wrong())?;
    if len > Family::of(addr).bits() {
        return Err(wrong());
    }
    Prefix::new(addr, len).ok_or_else(wrong)
}

fn sysctl(words: &mut Words<'_>) -> Result<Action, Mistake> {
    let _ = words.expect("sysctl")?;
    let word = words.expect("NAME=VALUE")?;
    words.finish("TIME sysctl NAME=VALUE")?;
    match word.text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            Ok(Action::Sysctl { name: name.to_owned(), value: value.to_owned() })
        }
        _ => Err(Mistake::at(word, format!("'{}' sets nothing; write NAME=VALUE", word.text))),
    }
}

fn dump(words: &mut Words<'_>) -> Result<Action, Mistake> {
    let _ = words.expect("dump")?;
    let word = words.expect("what to dump")?;
    words.finish("TIME dump WHAT")?;
    match Dump::ALL.iter().find(|dump| dump.name() == word.text) {
        Some(&dump) => Ok(Action::Dump(dump)),
        None => {
            let names: Vec<_> = Dump::ALL.iter().map(|dump| dump.name()).collect();
            Err(Mistake::at(
                word,
                format!("'{}' cannot be dumped; expected {}", word.text, names.join(", ")),
            ))
        }
    }
}

/// Seconds, decimal, exact to the nanosecond.
fn time(word: Word<'_>) -> Result<Instant, Mistake> {
    let wrong = || {
        Mistake::at(
            word,
            format!(
                "'{}' is not a time; a line begins with seconds, such as 0.5, or with @",
                word.text
            ),
        )
    };
    let (whole, fraction) = word.text.split_once('.').unwrap_or((word.text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(wrong());
    }
    if fraction.len() > 9 || whole.len() > 9 {
        return Err(Mistake::at(word, "at most nine digits before and after the point"));
    }
    let secs: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
    let nanos: u64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    Ok(Instant::from_nanos(secs * 1_000_000_000 + nanos))
}
