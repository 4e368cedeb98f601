//! What can go wrong for the backend as a whole, in words that tell an operator what to do.

use std::io;

use lvs_core::ids::PortId;

/// What is missing when the kernel refuses a packet socket.
const CAPABILITIES: &str = "CAP_NET_RAW is missing: run as root, or \
     `setcap cap_net_raw,cap_net_admin+ep PROGRAM`, or under `unshare --user --map-root-user --net`";

/// Why a backend could not be built, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The builder was given no port.
    #[error("no interface was named: name at least one port")]
    NoPorts,
    /// The builder was given an interface twice.
    #[error("interface {0} was named twice: each port needs an interface of its own")]
    DuplicatePort(String),
    /// The builder was given more ports than can be numbered.
    #[error("{0} interfaces are too many: at most 65,535")]
    TooManyPorts(usize),
    /// There is no such port.
    #[error("there is no port {}: the backend has {ports}", port.0)]
    NoSuchPort {
        /// The port asked for.
        port: PortId,
        /// How many there are.
        ports: usize,
    },
    /// There is no interface of that name.
    #[error("no interface named {name}; there are: {}", list(present))]
    NoSuchInterface {
        /// The name.
        name: String,
        /// The names there are.
        present: Vec<String>,
    },
    /// The interface carries something else than Ethernet frames, or is the loopback, which would bring
    /// every frame sent back as a received one.
    #[error(
        "interface {name} is not an Ethernet interface (hardware type {kind}): \
         use a network card, bridge, bond, veth or TAP"
    )]
    NotEthernet {
        /// The name.
        name: String,
        /// The kernel's number for its hardware (`ARPHRD_…`).
        kind: u16,
    },
    /// The process may not open packet sockets.
    #[error("cannot receive from interface {name}: {CAPABILITIES}")]
    NoPermission {
        /// The interface.
        name: String,
    },
    /// There is too little memory for a ring.
    #[error(
        "no memory for a receive ring of {ring_bytes} bytes on interface {name}: \
         ask for a smaller ring, or free memory"
    )]
    NoMemory {
        /// The interface.
        name: String,
        /// Bytes asked for.
        ring_bytes: usize,
    },
    /// Any other refusal of the system.
    #[error("interface {name}: cannot {what}: {source}")]
    System {
        /// The interface.
        name: String,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The system refuses to let us wait.
    #[error("cannot wait for frames: {0}")]
    Wait(#[source] io::Error),
}

impl Error {
    /// The error of something tried on an interface.
    pub(crate) fn system(name: &str, what: &'static str, source: io::Error) -> Error {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Error::NoPermission { name: name.to_owned() },
            _ => Error::System { name: name.to_owned(), what, source },
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let present = vec!["lo".to_owned(), "eth0".to_owned()];
        let error = Error::NoSuchInterface { name: "eth9".to_owned(), present };
        assert_eq!(error.to_string(), "no interface named eth9; there are: lo, eth0");
        let denied = io::Error::from_raw_os_error(libc::EPERM);
        let error = Error::system("eth0", "open a packet socket", denied);
        assert!(error.to_string().contains("setcap cap_net_raw"), "{error}");
    }
}
