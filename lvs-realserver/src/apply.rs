//! Changes a host, and takes the changes back.

use std::io;
use std::process::Command;

use lvs_core::addr::Prefix;

use crate::change::Change;
use crate::error::Error;
use crate::netlink::RouteSocket;
use crate::plan::Plan;
use crate::sysctl::Sysctl;

/// Changes that were made, to be taken back.
///
/// Dropping it takes them back, newest first; [`Applied::undo`] does, and says how it went.
#[derive(Debug, Default)]
pub struct Applied {
    done: Vec<Change>,
}

/// How taking back a change went.
#[derive(Debug)]
pub struct Undone {
    /// The change.
    pub change: Change,
    /// Whether it was taken back.
    pub result: Result<Outcome, Error>,
}

/// What became of a change that was to be taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is as before.
    Back,
    /// Somebody else changed it meanwhile, so it was left.
    ChangedByOthers,
}

impl Applied {
    /// Nothing changed yet.
    pub fn new() -> Applied {
        Applied::default()
    }

    /// Makes the changes of a plan, in its order, and remembers them. What is right is no change, so it
    /// is not taken back either. Returns the changes made.
    ///
    /// # Errors
    /// The first change that the system refuses; those before it are made, and remembered.
    pub fn apply(&mut self, plan: &Plan) -> Result<Vec<Change>, Error> {
        let mut made = Vec::new();
        for change in plan.changes() {
            make(change)?;
            made.push(change.clone());
            // What others undid and this made again is taken back once.
            self.done.retain(|done| done.undo().is_none() || done.undo() != change.undo());
            self.done.push(change.clone());
        }
        Ok(made)
    }

    /// The changes that will be taken back, oldest first.
    pub fn changes(&self) -> &[Change] {
        &self.done
    }

    /// Takes everything back, newest first, and goes on where something cannot be.
    pub fn undo(mut self) -> Vec<Undone> {
        self.take_back()
    }

    fn take_back(&mut self) -> Vec<Undone> {
        let changes = std::mem::take(&mut self.done);
        let with_undo = changes.into_iter().rev().filter(|change| change.undo().is_some());
        with_undo.map(|change| Undone { result: unmake(&change), change }).collect()
    }
}

impl Drop for Applied {
    fn drop(&mut self) {
        self.take_back();
    }
}

fn make(change: &Change) -> Result<(), Error> {
    let failed = |source| Error::system(change.command(), source);
    match change {
        Change::Address { device, prefix } => add_address(device, *prefix).map_err(failed),
        Change::Sysctl { name, to, .. } => name.write(*to).map_err(failed),
        Change::Run { command, .. } => run(command),
    }
}

/// Takes a change back, unless somebody else has changed the same thing since.
fn unmake(change: &Change) -> Result<Outcome, Error> {
    let failed = |source| Error::system(change.undo().unwrap_or_default(), source);
    match change {
        Change::Address { device, prefix } => remove_address(device, *prefix).map_err(failed),
        Change::Sysctl { name, from, to } => reset(name, *from, *to).map_err(failed),
        Change::Run { undo, .. } => run(undo).map(|()| Outcome::Back),
    }
}

fn add_address(device: &str, prefix: Prefix) -> io::Result<()> {
    let mut socket = RouteSocket::open()?;
    match socket.add_address(index_of(device)?, prefix) {
        // Somebody was faster: it is there, which is what was wanted.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        done => done,
    }
}

fn remove_address(device: &str, prefix: Prefix) -> io::Result<Outcome> {
    let mut socket = RouteSocket::open()?;
    match socket.remove_address(index_of(device)?, prefix) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {
            Ok(Outcome::ChangedByOthers)
        }
        done => done.map(|()| Outcome::Back),
    }
}

fn reset(name: &Sysctl, from: i64, to: i64) -> io::Result<Outcome> {
    if name.read() != Some(to) {
        return Ok(Outcome::ChangedByOthers);
    }
    name.write(from).map(|()| Outcome::Back)
}

/// The number of a device in the namespace of the calling thread.
pub(crate) fn index_of(device: &str) -> io::Result<u32> {
    let kind = rustix::net::SocketType::DGRAM;
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, kind, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, device)?)
}

fn run(command: &[String]) -> Result<(), Error> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let failed = |reason| Error::Command { command: command.join(" "), reason };
    let output = Command::new(program).args(arguments).output().map_err(|error| {
        let package = if program == "modprobe" { "kmod" } else { "iproute2" };
        failed(match error.kind() {
            io::ErrorKind::NotFound => format!("{program} is not installed (Debian: {package})"),
            _ => error.to_string(),
        })
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(failed(if said.is_empty() { output.status.to_string() } else { said }))
}
