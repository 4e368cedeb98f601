//! One line of a rules file.

use lvs_core::addr::Family;
use lvs_core::command::{Command, ServiceKey};

use super::error::Fault;
use super::iptables::{self, MarkLine};
use super::model::Model;
use super::supported::Supported;
use super::sysctl::{self, Setting};
use crate::ipvsadm::{self, Action, DaemonRole, DaemonSpec, Refusal, RefusalKind};
use crate::names::Names;
use crate::words::Word;

/// What a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuleLine {
    /// A command of ipvsadm.
    Command(Command),
    /// An `iptables … -j MARK` line.
    Mark(MarkLine),
    /// A `sysctl` line.
    Settings(Vec<Setting>),
    /// `--start-daemon`.
    StartDaemon(DaemonSpec),
    /// `--stop-daemon`.
    StopDaemon(DaemonRole),
}

/// Reads a line, and applies it to the model of what the lines before it make.
pub(super) fn parse(
    words: &[Word],
    names: &dyn Names,
    supported: &Supported,
    model: &mut Model,
) -> Result<RuleLine, Fault> {
    let first = words.first().map_or("", |word| word.text.as_str());
    let program = first.rsplit('/').next().unwrap_or(first);
    if is_setting(first) {
        return sysctl::parse(words, 0).map(RuleLine::Settings);
    }
    match program {
        "ipvsadm" | "lvsadm" => command(words, 1, names, supported, model),
        _ if first.starts_with('-') => command(words, 0, names, supported, model),
        "iptables" | "iptables-nft" | "iptables-legacy" => {
            iptables::parse(Family::V4, words, names).map(RuleLine::Mark)
        }
        "ip6tables" | "ip6tables-nft" | "ip6tables-legacy" => {
            iptables::parse(Family::V6, words, names).map(RuleLine::Mark)
        }
        "sysctl" => sysctl::parse(words, 1).map(RuleLine::Settings),
        _ => Err(unknown(first)),
    }
}

/// Whether a word is the name of a setting, as a line of sysctl.conf begins.
fn is_setting(word: &str) -> bool {
    word.starts_with("net.") || word.starts_with("net/")
}

fn unknown(first: &str) -> Fault {
    let help = match first {
        "sudo" | "exec" | "nohup" => "leave it out: a rules file is read, not run".to_owned(),
        "COMMIT" | "*mangle" => {
            "write iptables -t mangle -A PREROUTING … in place of iptables-save's lines".to_owned()
        }
        "virtual_server" | "real_server" => {
            "this is keepalived's language; write ipvsadm's lines: -A and -a".to_owned()
        }
        _ => "a line is one of ipvsadm, iptables, ip6tables and sysctl, or begins with -A, -a, \
              -E, -e, -D, -d, -C, --set or --start-daemon"
            .to_owned(),
    };
    Fault::new(0, format!("'{first}' is no command of a rules file"), help)
}

/// A line of ipvsadm, whose options begin at the word `first`.
fn command(
    words: &[Word],
    first: usize,
    names: &dyn Names,
    supported: &Supported,
    model: &mut Model,
) -> Result<RuleLine, Fault> {
    let options = &words[first..];
    let fault = |fault: Fault| Fault { word: fault.word + first, ..fault };
    if options.is_empty() {
        return Err(Fault::new(0, "a command is missing", RefusalKind::NoCommand.hint()));
    }
    let (action, given) = match ipvsadm::parse_located(options, names) {
        Ok(parsed) => parsed,
        Err(refusal) => {
            model.excuse(service_of(options, names));
            return Err(fault(explain(&refusal, options)));
        }
    };
    let command = match action {
        Action::Change(command @ Command::Zero(_)) => {
            drop(command);
            return Err(not_a_rule(first, "-Z zeroes counters", options));
        }
        Action::Change(command) => command,
        Action::List(_) => return Err(not_a_rule(first, "-L prints a listing", options)),
        Action::Save { .. } => return Err(not_a_rule(first, "-S prints the rules", options)),
        Action::Restore => return Err(not_a_rule(first, "-R reads rules", options)),
        Action::StartDaemon(spec) => {
            let started = model.start_daemon(&spec, words[0].place.line);
            return started.map(|()| RuleLine::StartDaemon(spec)).map_err(fault);
        }
        Action::StopDaemon { role, .. } => {
            return model.stop_daemon(role).map(|()| RuleLine::StopDaemon(role)).map_err(fault);
        }
        Action::Help | Action::Version => {
            return Err(not_a_rule(first, "-h and -v print a text", options));
        }
    };
    let applied = model.apply(&command, &given, words[0].place.line);
    match supported.fault(&command, &given) {
        Some(found) => Err(fault(found)),
        None => applied.map(|()| RuleLine::Command(command)).map_err(fault),
    }
}

/// The service that a refused `-A` would have defined, if that much of it can be read.
fn service_of(options: &[Word], names: &dyn Names) -> Option<ServiceKey> {
    let verb = options.first().map_or("", |word| word.text.as_str());
    if !verb.starts_with("-A") && verb != "--add-service" {
        return None;
    }
    let texts = |from: usize, to| options.get(from..to).unwrap_or_default().iter();
    (1..options.len()).find_map(|from| {
        // With `-6` after a mark; in two words; in one.
        [from + 3, from + 2, from + 1].into_iter().find_map(|to| {
            let zero = std::iter::once("-Z").chain(texts(from, to).map(|word| word.text.as_str()));
            match ipvsadm::parse(&zero.collect::<Vec<_>>(), names) {
                Ok(Action::Change(Command::Zero(key))) => key,
                _ => None,
            }
        })
    })
}

fn not_a_rule(word: usize, what: &str, options: &[Word]) -> Fault {
    let typed = options.first().map_or("", |word| word.text.as_str());
    let help = format!("type {typed} at the running director; a rules file says what shall be");
    Fault::new(word, format!("{what}, which is no rule"), help)
}

/// ipvsadm's refusal, with the word it is about if its text leaves that out.
fn explain(refusal: &Refusal, options: &[Word]) -> Fault {
    let word = refusal.word.unwrap_or(0);
    let text = options.get(word).map_or("", |word| word.text.as_str());
    let message = match &refusal.kind {
        RefusalKind::NoCommand => format!("'{text}' is no command"),
        kind @ (RefusalKind::ServiceAddress
        | RefusalKind::ServerAddress
        | RefusalKind::Netmask
        | RefusalKind::PrefixLength
        | RefusalKind::Weight
        | RefusalKind::UpperThreshold
        | RefusalKind::LowerThreshold
        | RefusalKind::TunnelType
        | RefusalKind::TunnelPort) => format!("{kind}: '{text}'"),
        kind => kind.to_string(),
    };
    let help = match &refusal.kind {
        RefusalKind::UnknownOption(option) => unknown_option(option),
        kind => kind.hint().to_owned(),
    };
    Fault::new(word, message, help)
}

/// What was probably meant by an option that does not exist.
fn unknown_option(option: &str) -> String {
    let name = option.split('=').next().unwrap_or(option);
    let Some(name) = name.strip_prefix("--").filter(|name| name.len() > 1) else {
        return RefusalKind::UnknownOption(String::new()).hint().to_owned();
    };
    let mut long = ipvsadm::table::OPTIONS.iter().map(|option| option.long);
    match long.find(|long| long.starts_with(name)) {
        Some(long) => format!("long options are written out in full: --{long}"),
        None => RefusalKind::UnknownOption(String::new()).hint().to_owned(),
    }
}
