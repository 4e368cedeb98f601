//! One command line of ipvsadm: words in, an [`Action`] or a [`Refusal`] out.
//!
//! All commands and options of ipvsadm 1.31 are understood, with its defaults, its checks in its order,
//! its messages and its exit statuses. Whether a director can do what an action says is for the director
//! to answer.

mod daemon;
mod given;
mod help;
mod refusal;
mod scan;
pub mod table;
mod tunnel;

use lvs_core::command::{Command, ServiceKey};

pub use daemon::{
    DAEMON_RUNS, DaemonRole, DaemonSpec, MCAST_GROUP_DEFAULT, MCAST_INTERFACE_DEFAULT,
    MCAST_PORT_DEFAULT, MCAST_TTL_DEFAULT, NO_DAEMON, NO_INTERFACE,
};
pub use given::OptionWords;
pub use help::{VERSION_LINE, usage};
pub use refusal::{
    Refusal, RefusalKind, STATUS_CHECK, STATUS_NOT_LISTED, STATUS_REFUSED, apply_status,
};

use crate::names::Names;
use given::Given;
use scan::{ItemKind, Scanner};
use table::{Verb, VerbInfo};

/// What a command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Action {
    /// A change of the director: `-A -E -D -C -a -e -d -Z --set`.
    Change(Command),
    /// `-L`, or no word at all.
    List(ListRequest),
    /// `-S`: print the commands that make what there is.
    Save {
        /// `-n`.
        numeric: bool,
    },
    /// `-R`: read commands from standard input.
    Restore,
    /// `--start-daemon`.
    StartDaemon(DaemonSpec),
    /// `--stop-daemon`.
    StopDaemon {
        /// Which.
        role: DaemonRole,
        /// `--syncid`.
        sync_id: Option<u8>,
    },
    /// `-h`: print [`usage`].
    Help,
    /// `-v`: print [`VERSION_LINE`].
    Version,
}

/// What `-L` shall show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListRequest {
    /// The table.
    pub what: ListWhat,
    /// Of services: what to show beside each server.
    pub columns: Columns,
    /// Of connections: `--persistent-conn`, the columns of persistence engines.
    pub engine_columns: bool,
    /// `-n`: addresses and ports as numbers.
    pub numeric: bool,
    /// `--exact`: numbers in full.
    pub exact: bool,
    /// `--nosort`: the director's own order.
    pub unsorted: bool,
    /// Only this service.
    pub service: Option<ServiceKey>,
}

/// The tables of `-L`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ListWhat {
    /// Services and real servers.
    #[default]
    Services,
    /// `-c`: connections and templates.
    Connections,
    /// `--timeout`.
    Timeouts,
    /// `--daemon`.
    Daemons,
}

/// What a listing of services shows beside each server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Columns {
    /// Forwarding method, weight, active and inactive connections.
    #[default]
    Plain,
    /// `--stats`.
    Stats,
    /// `--rate`.
    Rate,
    /// `--thresholds`.
    Thresholds,
    /// `--persistent-conn`.
    PersistentConn,
    /// `--tun-info`.
    TunnelInfo,
}

/// Reads one command line, the program's name left out.
///
/// ```
/// use lvs_admin::{ipvsadm, names::NumericOnly};
///
/// let refusal = ipvsadm::parse(&["-A", "-t", "192.0.2.1"], &NumericOnly).unwrap_err();
/// assert_eq!(refusal.to_string(), "Zero port specified for non-persistent service");
/// assert_eq!(refusal.status(), 2);
/// ```
///
/// # Errors
/// A [`Refusal`]: ipvsadm's own message for the same line, its exit status, the word to blame and what
/// would be right.
pub fn parse<W: AsRef<str>>(words: &[W], names: &dyn Names) -> Result<Action, Refusal> {
    parse_located(words, names).map(|(action, _)| action)
}

/// Like [`parse`], and says in which words the options stood, for messages about what they mean.
///
/// # Errors
/// As for [`parse`].
pub fn parse_located<W: AsRef<str>>(
    words: &[W],
    names: &dyn Names,
) -> Result<(Action, OptionWords), Refusal> {
    let nowhere = OptionWords::default();
    if words.is_empty() {
        return Ok((Action::List(ListRequest::default()), nowhere));
    }
    let mut scanner = Scanner::new(words);
    let verb = match scanner.next() {
        Ok(Some(item)) => match item.kind {
            ItemKind::Verb(verb) => (verb, item.value, item.word),
            ItemKind::Option(_) => return Err(no_command(item.word)),
        },
        Ok(None) => return Err(no_command(0)),
        Err((_, word)) => return Err(no_command(word)),
    };
    match verb.0.id {
        Verb::Help => return Ok((Action::Help, nowhere)),
        Verb::Version => return Ok((Action::Version, nowhere)),
        _ => {}
    }
    let mut given = Given::new(names);
    given.role(verb.0.id, verb.1)?;
    let refuse = |(kind, word)| Refusal { kind, word: Some(word) };
    while let Some(item) = scanner.next().map_err(refuse)? {
        match item.kind {
            ItemKind::Verb(_) => {
                let word = scanner.word(item.word).to_owned();
                return Err(refuse((RefusalKind::SecondCommand(word), item.word)));
            }
            ItemKind::Option(option) => given.option(option, item.value, item.word)?,
        }
    }
    let bare: Vec<_> = scanner.bare.iter().map(|&index| (scanner.word(index), index)).collect();
    let seen = given.seen;
    action(verb.0, &bare, given, verb.2).map(|action| (action, seen))
}

fn no_command(word: usize) -> Refusal {
    Refusal { kind: RefusalKind::NoCommand, word: Some(word) }
}

/// Puts together what was given.
fn action(
    verb: &'static VerbInfo,
    bare: &[(&str, usize)],
    mut given: Given<'_>,
    word: usize,
) -> Result<Action, Refusal> {
    let used = if verb.id == Verb::Set { given.timeouts(bare, word)? } else { 0 };
    if let Some(&(text, word)) = bare.get(used) {
        let kind = RefusalKind::UnexpectedWord(text.to_owned());
        return Err(Refusal { kind, word: Some(word) });
    }
    given.check_options(verb, word)?;
    Ok(match verb.id {
        Verb::AddService => Action::Change(Command::AddService(given.service_spec()?)),
        Verb::EditService => Action::Change(Command::EditService(given.service_spec()?)),
        Verb::DeleteService => Action::Change(Command::DeleteService(given.key(word)?)),
        Verb::Clear => Action::Change(Command::Clear),
        Verb::AddServer => {
            let (key, spec) = given.destination_spec(word)?;
            Action::Change(Command::AddDestination(key, spec))
        }
        Verb::EditServer => {
            let (key, spec) = given.destination_spec(word)?;
            Action::Change(Command::EditDestination(key, spec))
        }
        Verb::DeleteServer => {
            let (key, addr) = given.destination_name(word)?;
            Action::Change(Command::DeleteDestination(key, addr))
        }
        Verb::Zero => Action::Change(Command::Zero(given.any_key())),
        Verb::Set => Action::Change(Command::SetTimeouts(given.set)),
        Verb::List => Action::List(given.list_request()?),
        Verb::Save => Action::Save { numeric: given.has(table::Label::Numeric) },
        Verb::Restore => Action::Restore,
        Verb::StartDaemon => Action::StartDaemon(given.daemon_spec(word)?),
        Verb::StopDaemon => given.stop_daemon(word)?,
        Verb::Help => Action::Help,
        Verb::Version => Action::Version,
    })
}

#[cfg(test)]
mod tests;
