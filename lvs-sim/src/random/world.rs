//! What a random scenario is about: services, their real servers, clients.

use std::net::IpAddr;

use super::dice::Dice;

/// The schedulers that are used, flags included.
const SCHEDULERS: &[&str] = &[
    "rr",
    "wrr",
    "lc",
    "wlc",
    "sed",
    "nq",
    "fo",
    "ovf",
    "lblc",
    "lblcr",
    "dh",
    "sh",
    "sh -b sh-fallback",
    "sh -b sh-port",
    "sh -b sh-fallback,sh-port",
    "mh",
    "mh -b mh-fallback",
    "mh -b mh-port",
    "mh -b mh-fallback,mh-port",
];

/// What a server that is not reached by direct routing may be edited to and fro between. A server that
/// is reached by direct routing stays so: after an edit the kernel may lose packets of its old
/// connections (rule L5, `DEVIATIONS.md`).
const INDIRECT: &[&str] = &[
    "-i",
    "-i",
    "-i --tun-type gue --tun-port 6080",
    "-i --tun-type gue --tun-port 5555 --tun-csum",
    "-i --tun-type gue --tun-port 6080 --tun-remcsum",
    "-i --tun-type gre",
    "-i --tun-type gre --tun-csum",
    "-m",
];

/// A kind of service.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Kind {
    /// As in `-t 10.0.0.1:80`.
    pub(super) option: &'static str,
    pub(super) v6: bool,
    /// The protocols of its packets.
    pub(super) protocols: &'static [&'static str],
    /// Virtual addresses and ports of its packets.
    pub(super) towards: &'static [&'static str],
    /// Lines that the scenario begins with: marks, more local addresses.
    pub(super) setup: &'static [&'static str],
    /// Whether it has a persistence engine most of the time.
    pub(super) called: bool,
}

const fn kind(
    option: &'static str,
    protocols: &'static [&'static str],
    towards: &'static [&'static str],
) -> Kind {
    Kind { option, v6: false, protocols, towards, setup: &[], called: false }
}

const fn called(option: &'static str, towards: &'static [&'static str]) -> Kind {
    Kind { called: true, ..kind(option, UDP, towards) }
}

const TCP: &[&str] = &["tcp"];
const UDP: &[&str] = &["udp"];
const SCTP: &[&str] = &["sctp"];

pub(super) const KINDS: &[Kind] = &[
    kind("-t 10.0.0.1:80", TCP, &["10.0.0.1:80"]),
    kind("-t 10.0.0.1:80", TCP, &["10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:81"]),
    kind("-t 10.0.0.2:443", TCP, &["10.0.0.2:443"]),
    kind("-u 10.0.0.1:53", UDP, &["10.0.0.1:53"]),
    kind("--sctp-service 10.0.0.1:9", SCTP, &["10.0.0.1:9"]),
    Kind { v6: true, ..kind("-t [2001:db8:1::1]:80", TCP, &["[2001:db8:1::1]:80"]) },
    Kind { v6: true, ..kind("-u [2001:db8:1::1]:53", UDP, &["[2001:db8:1::1]:53"]) },
    Kind { v6: true, ..kind("--sctp-service [2001:db8:1::1]:9", SCTP, &["[2001:db8:1::1]:9"]) },
    // Any port of a persistent service.
    kind("-t 10.0.0.7:0", TCP, &["10.0.0.7:80", "10.0.0.7:8080"]),
    kind("-u 10.0.0.7:0", UDP, &["10.0.0.7:53", "10.0.0.7:500"]),
    Kind {
        v6: true,
        ..kind("-t [2001:db8:1::7]:0", TCP, &["[2001:db8:1::7]:80", "[2001:db8:1::7]:81"])
    },
    // FTP, whose service takes other ports as well (rule P7).
    kind("-t 10.0.0.4:21", TCP, &["10.0.0.4:21", "10.0.0.4:21", "10.0.0.4:20", "10.0.0.4:2000"]),
    // Marks: ports of one protocol, all of an address, and a prefix of which one address is local.
    Kind {
        setup: &["mark tcp 10.0.0.5:80 5", "mark tcp 10.0.0.6:81 5"],
        ..kind("-f 5", TCP, &["10.0.0.5:80", "10.0.0.6:81"])
    },
    Kind {
        setup: &["mark any 10.0.0.8 6"],
        ..kind("-f 6", &["tcp", "udp"], &["10.0.0.8:80", "10.0.0.8:53"])
    },
    Kind {
        setup: &["@vip 10.0.3.1", "mark udp 10.0.3.0/24 7"],
        ..kind("-f 7", UDP, &["10.0.3.1:53", "10.0.3.1:53", "10.0.3.2:53"])
    },
    // The mark of packets that an address service would take as well.
    Kind { setup: &["mark tcp 10.0.0.1:80 8"], ..kind("-f 8", TCP, &["10.0.0.1:80"]) },
    Kind {
        v6: true,
        setup: &["mark tcp [2001:db8:1::5]:80 9", "mark udp [2001:db8:1::5] 9"],
        ..kind("-f 9 -6", &["tcp", "udp"], &["[2001:db8:1::5]:80"])
    },
];

/// Kinds of services that SIP calls are made to.
pub(super) const CALLED: &[Kind] = &[
    called("-u 10.0.0.9:5060", &["10.0.0.9:5060"]),
    called("-u 10.0.0.9:5060", &["10.0.0.9:5060"]),
    called("-u 10.0.0.10:0", &["10.0.0.10:5060", "10.0.0.10:5061"]),
    Kind { v6: true, ..called("-u [2001:db8:1::9]:5060", &["[2001:db8:1::9]:5060"]) },
    Kind {
        setup: &["mark any 10.0.0.11 11"],
        ..called("-f 11", &["10.0.0.11:5060", "10.0.0.11:5061"])
    },
];

/// A service of a scenario.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) kind: &'static Kind,
    /// How its servers are reached: numbers from 2 on.
    reached: Vec<Reached>,
}

/// How a server is reached, for as long as the scenario lasts.
#[derive(Clone, Copy, Debug)]
enum Reached {
    Direct,
    /// By tunnels and NAT, with the service's port.
    Indirect,
    /// By tunnels over the other IP version.
    Across,
    /// By NAT, with a port of its own.
    Nat,
    /// It is the director itself.
    Local,
}

impl Service {
    pub(super) fn new(dice: &mut Dice, kind: &'static Kind) -> Service {
        use Reached::{Across, Direct, Indirect, Local, Nat};
        let from: &[Reached] = match dice.below(5) {
            0 | 1 => &[Direct],
            2 => &[Nat],
            3 => &[Indirect],
            _ => &[Direct, Direct, Indirect, Indirect, Across, Nat, Nat, Local],
        };
        Service { kind, reached: (0..6).map(|_| *dice.pick(from)).collect() }
    }

    /// Has no server of another address family than its own.
    pub(super) fn stay_in_family(&mut self) {
        for reached in &mut self.reached {
            if matches!(reached, Reached::Across) {
                *reached = Reached::Indirect;
            }
        }
    }

    /// Reaches a server in another way.
    pub(super) fn reach_otherwise(&mut self, dice: &mut Dice, number: u32) {
        if let Some(reached) = self.reached.get_mut(number as usize - 2) {
            *reached = *dice.pick(&[Reached::Direct, Reached::Indirect]);
        }
    }

    fn port(&self) -> &'static str {
        match self.kind.option.rsplit_once(':') {
            Some((_, port)) => port,
            None => "0",
        }
    }

    /// Whether it must be persistent (rule R13).
    fn has_every_port(&self) -> bool {
        self.kind.option.ends_with(":0")
    }

    /// A number of one of its servers.
    pub(super) fn number(&self, dice: &mut Dice) -> u32 {
        dice.below(self.reached.len() as u32) + 2
    }

    /// A server as commands name it.
    pub(super) fn server(&self, number: u32) -> String {
        let port = match self.reached(number) {
            Reached::Nat => "8080",
            _ => self.port(),
        };
        let v6 = match self.reached(number) {
            Reached::Across => !self.kind.v6,
            Reached::Local => return format!("127.0.0.1:{port}"),
            _ => self.kind.v6,
        };
        if v6 {
            format!("[2001:db8:2::{number}]:{port}")
        } else {
            format!("10.1.0.{number}:{port}")
        }
    }

    /// A server of the service's own address family that is not the director itself.
    pub(super) fn own_family_server(&self, number: u32) -> Option<String> {
        match self.reached(number) {
            Reached::Across | Reached::Local => None,
            _ => Some(self.server(number)),
        }
    }

    fn reached(&self, number: u32) -> Reached {
        self.reached.get(number as usize - 2).copied().unwrap_or(Reached::Direct)
    }

    /// A command line about a server: `-a`, `-e` or `-d`.
    pub(super) fn server_line(&self, dice: &mut Dice, verb: &str, number: u32) -> String {
        let mut text = format!("ipvsadm {verb} {} -r {}", self.kind.option, self.server(number));
        if verb == "-d" {
            return text;
        }
        let method = match self.reached(number) {
            Reached::Direct | Reached::Local => "-g",
            Reached::Nat => "-m",
            Reached::Indirect => dice.word(INDIRECT),
            Reached::Across => dice.word(&INDIRECT[..INDIRECT.len() - 1]),
        };
        let weight = dice.word(&["1", "1", "1", "2", "3", "5", "0"]);
        text += &format!(" {method} -w {weight}");
        if dice.one_in(6) {
            text += dice.word(&[" -x 2", " -x 4 -y 2", " -x 3 -y 1", " -x 1"]);
        }
        text
    }

    /// A command line about the service: `-A` or `-E`.
    pub(super) fn line(&self, dice: &mut Dice, verb: &str) -> String {
        let mut text = format!("ipvsadm {verb} {} -s {}", self.kind.option, dice.word(SCHEDULERS));
        let often = if self.kind.called { !dice.one_in(6) } else { dice.one_in(3) };
        let persistent = self.has_every_port() || often;
        if persistent {
            text += dice.word(&[" -p 3", " -p 5", " -p 300", " -p"]);
            if dice.one_in(3) {
                text += match self.kind.v6 {
                    true => dice.word(&[" -M 64", " -M 48"]),
                    false => dice.word(&[" -M 255.255.255.0", " -M 0.0.0.0"]),
                };
            }
        }
        if self.kind.called && !dice.one_in(6) {
            text += " --pe sip";
        }
        if self.kind.protocols.contains(&"udp") && dice.one_in(if persistent { 8 } else { 3 }) {
            text += " -o";
        }
        text
    }

    /// The lines that make the service, with some of its servers.
    pub(super) fn lines(&self, dice: &mut Dice) -> Vec<String> {
        let mut lines = vec![self.line(dice, "-A")];
        for number in 2..4 + dice.below(4) {
            lines.push(self.server_line(dice, "-a", number));
        }
        lines
    }
}

/// A client's address.
pub(super) fn client(dice: &mut Dice, v6: bool) -> &'static str {
    match v6 {
        false => dice.word(&["192.0.2.7", "192.0.2.8", "198.51.100.9"]),
        true => dice.word(&["[2001:db8:9::7]", "[2001:db8:9::8]", "[2001:db8:a::9]"]),
    }
}

/// An address as a scenario writes it.
pub(super) fn written(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(addr) => addr.to_string(),
        IpAddr::V6(addr) => format!("[{addr}]"),
    }
}
