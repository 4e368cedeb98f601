//! `lvsadm`: ipvsadm's command line, typed at a running director.
//!
//! Every command and option of ipvsadm means here what it means there, with the same listings, messages and
//! exit statuses. Beside them stand a few commands of our own, each a word without a dash, in
//! [`COMMANDS`]: ipvsadm takes none, so no old command line changes its meaning.

mod apply;
mod complete;
mod drain;
mod json;
mod list;
mod manual;
mod options;
mod restore;
mod save;
mod steps;
mod sync;
#[cfg(feature = "top")]
mod top;
mod trace;
mod why;

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use lvs_admin::ipvsadm::{self, Action, Refusal as Wrong, STATUS_CHECK, STATUS_REFUSED};
use lvs_admin::names::Names;
use lvs_core::command::Command;

pub use options::{OWN_OPTIONS, OwnOption};

use crate::data::Change;
use crate::protocol::{Reply, Request};
use crate::{Client, ClientError, ConnectError};
use options::Own;

/// Where a command line comes from and where its output goes.
pub struct Console<'a> {
    /// What the program is called.
    pub program: &'a str,
    /// The director's socket, if no option names another.
    pub socket: PathBuf,
    /// Names of hosts and ports.
    pub names: &'a dyn Names,
    /// Whether to say below a refusal what would be right. ipvsadm does not.
    pub hints: bool,
    /// Standard input.
    pub input: &'a mut dyn BufRead,
    /// Standard output.
    pub output: &'a mut dyn Write,
    /// Standard error.
    pub errors: &'a mut dyn Write,
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// A command of our own: a word without a dash.
#[derive(Clone, Copy, Debug)]
pub struct OwnCommand {
    /// The word.
    pub name: &'static str,
    /// What may follow it.
    pub usage: &'static str,
    /// What it does, for help texts.
    pub help: &'static str,
    /// Words that may stand behind it, for completions.
    pub words: &'static [&'static str],
    /// Options that it takes, for completions.
    pub options: &'static [OwnOption],
    /// Does it with the words that follow.
    pub run: fn(&mut Typed<'_, '_>, &[&str]) -> Result<(), Failure>,
}

const PROTOCOLS: &[&str] = &["tcp", "udp", "sctp"];
const MARK_COMMANDS: &[&str] = &[
    "-t",
    "mangle",
    "-A",
    "-I",
    "-D",
    "-F",
    "-L",
    "-S",
    "PREROUTING",
    "-d",
    "-s",
    "-p",
    "-i",
    "-j",
    "MARK",
    "--dport",
    "--sport",
    "--set-mark",
    "-m",
    "multiport",
    "--dports",
    "--sports",
];

const fn option(long: &'static str, value: Option<&'static str>, help: &'static str) -> OwnOption {
    OwnOption { long, value, help }
}

const APPLY: &[OwnOption] = &[option("--dry-run", None, "only tell what would be changed")];
const EXPLAIN: &[OwnOption] = &[
    option("--flags", Some("LETTERS"), "the flags of the TCP segment: letters of F, S, R, P, A, U"),
    option("--call-id", Some("ID"), "the Call-ID of the SIP message that a UDP packet carries"),
    option("--in", Some("INTERFACE"), "where the packet comes in"),
];
const TRACE: &[OwnOption] = &[
    option("--client", Some("ADDR[:PORT]"), "only packets from there"),
    option("--vip", Some("ADDR[:PORT]"), "only packets to there"),
    option("--server", Some("ADDR[:PORT]"), "only packets that go to this real server"),
    option("--drops", None, "only packets that are dropped"),
    option("-c", Some("N"), "end after so many packets"),
];
const DRAIN: &[OwnOption] =
    &[option("--deadline", Some("TIME"), "cut off what is left by then, such as 90s, 10m, 2h")];

/// Every command of our own.
#[rustfmt::skip]
pub const COMMANDS: &[OwnCommand] = &[
    OwnCommand { name: "apply", usage: "FILE [--dry-run]", help: "become what a rules file says, all of it or nothing; print what that changes", words: &[], options: APPLY, run: apply::apply },
    OwnCommand { name: "iptables", usage: "-t mangle -A|-I|-D PREROUTING … -j MARK --set-mark N, -F, -L or -S", help: "add, remove or list rules that set the mark of IPv4 packets", words: MARK_COMMANDS, options: &[], run: apply::iptables },
    OwnCommand { name: "ip6tables", usage: "-t mangle -A|-I|-D PREROUTING … -j MARK --set-mark N, -F, -L or -S", help: "the same for IPv6", words: MARK_COMMANDS, options: &[], run: apply::ip6tables },
    OwnCommand { name: "sysctl", usage: "[net.ipv4.vs.NAME=VALUE …]", help: "set switches, or list them", words: &[], options: &[], run: apply::sysctl },
    OwnCommand { name: "about", usage: "", help: "say which director answers", words: &[], options: &[], run: list::about },
    OwnCommand { name: "explain", usage: "tcp|udp|sctp CLIENT:PORT VIP:PORT [--flags LETTERS] [--call-id ID] [--in INTERFACE]", help: "tell where a packet would go now, and why; nothing changes", words: PROTOCOLS, options: EXPLAIN, run: why::explain },
    OwnCommand { name: "trace", usage: "[tcp|udp|sctp] [--client ADDR[:PORT]] [--vip ADDR[:PORT]] [--server ADDR[:PORT]] [--drops] [-c N]", help: "show what is decided about packets as they come", words: PROTOCOLS, options: TRACE, run: trace::trace },
    #[cfg(feature = "top")]
    OwnCommand { name: "top", usage: "", help: "show services and real servers at work, with rates, history and drops, on the whole terminal", words: &[], options: &[], run: top::top },
    OwnCommand { name: "drops", usage: "", help: "list dropped frames by reason, with the last of each", words: &[], options: &[], run: why::drops },
    OwnCommand { name: "connection", usage: "tcp|udp|sctp CLIENT[:PORT] VIP:PORT", help: "show one connection, or one template, with everything known of it", words: PROTOCOLS, options: &[], run: why::connection },
    OwnCommand { name: "drain", usage: "VIP:PORT SERVER[:PORT] [--deadline TIME]", help: "send a real server no new clients, wait until its connections have ended, then remove it", words: &[], options: DRAIN, run: drain::drain },
    OwnCommand { name: "sync", usage: "", help: "show the synchronisation daemons with what they sent, took and refused", words: &[], options: &[], run: sync::sync },
    OwnCommand { name: "completions", usage: "bash|zsh|fish", help: "print what makes a shell complete command lines", words: &["bash", "zsh", "fish"], options: &[], run: complete::completions },
    OwnCommand { name: "man", usage: "", help: "print the manual page, for man -l", words: &[], options: &[], run: manual::manual },
];

/// Why a command line failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// What is wrong; empty if there is nothing more to say.
    pub message: String,
    /// What would be right; may be empty.
    pub hint: String,
}

impl Failure {
    /// A failure of our own checks, with exit status 2.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { status: STATUS_CHECK, message: message.into(), hint: hint.into() }
    }

    /// A failure with exit status 255.
    pub fn refused(message: impl Into<String>) -> Failure {
        Failure { status: STATUS_REFUSED, message: message.into(), hint: String::new() }
    }
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Failure {
        let hint = wrong.hint().to_owned();
        Failure { status: wrong.status(), message: wrong.to_string(), hint }
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        Failure::refused(error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure { status: error.status(), message: error.to_string(), hint: String::new() }
    }
}

impl From<io::Error> for Failure {
    /// Nobody reads any more, as when a listing goes to `head`: nothing to say about that.
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::refused(""),
            _ => Failure::refused(format!("cannot write: {error}")),
        }
    }
}

/// A command line being carried out.
#[derive(Debug)]
pub struct Typed<'c, 'a> {
    /// Where it was typed.
    pub console: &'c mut Console<'a>,
    own: Own,
    client: Option<Client>,
}

impl Console<'_> {
    /// Carries out a command line, the program's name left out. Returns the exit status.
    pub fn run<W: AsRef<str>>(&mut self, words: &[W]) -> u8 {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let done = match Own::take(&words) {
            Ok((own, words)) => {
                let mut typed = Typed { console: self, own, client: None };
                typed.carry_out(&words)
            }
            Err(failure) => Err(failure),
        };
        let flushed = self.output.flush().map_err(Failure::from);
        match done.and(flushed) {
            Ok(()) => 0,
            Err(failure) => {
                self.tell(&failure);
                failure.status
            }
        }
    }

    fn tell(&mut self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        // Where nobody can be told, the exit status remains.
        let mut told = writeln!(self.errors, "{}", failure.message);
        if self.hints && !failure.hint.is_empty() {
            told = told.and_then(|()| writeln!(self.errors, "    {}", failure.hint));
        }
        drop(told);
    }
}

impl Typed<'_, '_> {
    fn carry_out(&mut self, words: &[&str]) -> Result<(), Failure> {
        if let Some((name, rest)) = words.split_first()
            && let Some(command) = COMMANDS.iter().find(|command| command.name == *name)
        {
            return (command.run)(self, rest);
        }
        self.ipvsadm(words).map_err(|failure| match words.first() {
            Some(word) if !word.starts_with('-') => Failure { hint: meant(word), ..failure },
            _ => failure,
        })
    }

    /// A command line of ipvsadm's.
    pub(super) fn ipvsadm(&mut self, words: &[&str]) -> Result<(), Failure> {
        match ipvsadm::parse(words, self.console.names)? {
            Action::Change(command) => self.change(command),
            Action::List(request) => self.list(&request),
            Action::Save { numeric } => self.save(numeric),
            Action::Restore => self.restore(),
            Action::Help => {
                let text = self.usage();
                Ok(self.console.output.write_all(text.as_bytes())?)
            }
            Action::Version => Ok(writeln!(self.console.output, "{}", ipvsadm::VERSION_LINE)?),
            Action::StartDaemon(spec) => self.start_daemon(&spec),
            Action::StopDaemon { role, .. } => self.stop_daemon(role),
            _ => Err(Failure::refused("this command is not available in this version")),
        }
    }

    /// The connection to the director, made when it is first needed.
    pub fn client(&mut self) -> Result<&mut Client, Failure> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(self.own.socket.as_deref().unwrap_or(&self.console.socket))?,
        };
        Ok(self.client.insert(client))
    }

    /// Asks, and expects one part as an answer.
    pub fn ask(&mut self, request: Request) -> Result<Option<Reply>, Failure> {
        let mut first = None;
        self.client()?.for_each(request, |reply| {
            first.get_or_insert(reply);
            Ok(())
        })?;
        Ok(first)
    }

    /// Whether `--json` was given.
    pub fn wants_json(&self) -> bool {
        self.own.json
    }

    fn change(&mut self, command: Command) -> Result<(), Failure> {
        let change = Change::try_from(&command).map_err(|e| Failure::refused(e.to_string()))?;
        self.carry(change)
    }

    /// Has one change carried out.
    pub(super) fn carry(&mut self, change: Change) -> Result<(), Failure> {
        match self.ask(Request::Change { changes: vec![change] })? {
            Some(Reply::Outcomes(outcomes)) => match outcomes.into_iter().next().flatten() {
                Some(refusal) => Err(ClientError::Refused(refusal).into()),
                None => Ok(()),
            },
            other => Err(unexpected(other.as_ref())),
        }
    }

    fn usage(&self) -> String {
        let mut text = ipvsadm::usage(self.console.program);
        text.push_str("\nOf its own:\n");
        for command in COMMANDS {
            let line = format!("{} {} {}", self.console.program, command.name, command.usage);
            text += &format!("  {}\n        {}\n", line.trim_end(), command.help);
        }
        for option in OWN_OPTIONS {
            let names = format!("{} {}", option.long, option.value.unwrap_or_default());
            text += &format!("  {names:<34} {}\n", option.help);
        }
        text
    }
}

/// What was probably meant by a word that is no command.
fn meant(word: &str) -> String {
    let names = || COMMANDS.iter().map(|command| command.name);
    match names().min_by_key(|name| distance(word, name)) {
        Some(name) if distance(word, name) <= 2 => format!("did you mean {name}?"),
        _ => {
            let names: Vec<&str> = names().collect();
            format!("its words are {}; commands of ipvsadm begin with a dash", names.join(", "))
        }
    }
}

/// How many letters must be put in, left out or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.chars().enumerate() {
            let changed = corner + usize::from(from != to);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row.pop().unwrap_or_default()
}

/// An answer that the request does not have.
fn unexpected(reply: Option<&Reply>) -> Failure {
    let what = match reply {
        None => "it is empty".to_owned(),
        Some(reply) => format!("{reply:?}").chars().take(80).collect(),
    };
    ClientError::Nonsense(what).into()
}
