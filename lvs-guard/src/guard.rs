//! The handle on the guard: as long as it lives, the table does.

use std::io;

use crate::error::{GuardError, Step};
use crate::netlink::Connection;
use crate::ruleset;
use crate::spec::GuardSpec;

/// The guard of this process in its network namespace. Dropping it removes the table.
#[derive(Debug)]
pub struct Guard {
    connection: Connection,
    table: String,
    /// Whether the table is there, because an earlier `apply` succeeded.
    made: bool,
}

/// What [`Guard::apply`] did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// Interfaces that are guarded now.
    pub guarded: Vec<String>,
    /// Interfaces that do not exist at present. Apply the spec again when they are there.
    pub missing: Vec<String>,
}

impl Guard {
    /// Opens the connection to the kernel. Nothing is hidden before [`Guard::apply`].
    ///
    /// The guard belongs to the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`GuardError::NoNftables`] if the kernel knows no netfilter netlink, [`GuardError::Netlink`] if
    /// there are no file descriptors left.
    pub fn open() -> Result<Guard, GuardError> {
        let connection = Connection::open()?;
        // No two sockets of a namespace have the same port number, so no two guards the same name.
        let table = format!("lvs-guard-{}", connection.port_number());
        Ok(Guard { connection, table, made: false })
    }

    /// The name of the nftables table, as `nft list tables` shows it.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Makes exactly `spec` be in force, in one step: no packet meets the old rules and the new ones
    /// half each. Interfaces that do not exist are left out and named in the answer. When an interface
    /// went away and came back, the same spec must be applied again.
    ///
    /// # Errors
    /// [`GuardError`]; then all is as it was before.
    pub fn apply(&mut self, spec: &GuardSpec) -> Result<Applied, GuardError> {
        let mut applied = self.sort_out(&spec.interfaces)?;
        loop {
            let batch = ruleset::replace(&self.table, self.made, &applied.guarded, spec);
            let error = match self.connection.commit(&batch) {
                Ok(()) => break,
                Err(error) => error,
            };
            // An interface may go away between the look at it and the transaction.
            let before = applied.guarded.len();
            applied = self.sort_out(&spec.interfaces)?;
            if applied.guarded.len() >= before {
                return Err(without_ingress_hook(error));
            }
        }
        self.made = true;
        Ok(applied)
    }

    /// Which of these interfaces exist, each once.
    fn sort_out(&self, interfaces: &[String]) -> Result<Applied, GuardError> {
        let mut applied = Applied::default();
        for name in interfaces {
            if applied.guarded.contains(name) || applied.missing.contains(name) {
                continue;
            }
            match self.connection.interface_exists(name) {
                Ok(true) => applied.guarded.push(name.clone()),
                Ok(false) => applied.missing.push(name.clone()),
                Err(source) => return Err(GuardError::Netlink { what: "interface", source }),
            }
        }
        Ok(applied)
    }
}

/// "No such thing" for an interface that is there means the type of chain.
fn without_ingress_hook(error: GuardError) -> GuardError {
    match error {
        GuardError::Refused { step: Step::Ingress(_), source }
            if source.kind() == io::ErrorKind::NotFound =>
        {
            GuardError::NoIngressHook
        }
        other => other,
    }
}
