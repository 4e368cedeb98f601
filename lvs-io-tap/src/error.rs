//! What can go wrong for the backend as a whole, in words that tell an operator what to do.

use std::io;

use crate::sys::CLONE_DEVICE;
use crate::{MTU_MAX, MTU_MIN, QUEUES_MAX};

/// Why a backend could not be built, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The builder was given no device.
    #[error("no TAP device was named: name at least one")]
    NoPorts,
    /// The builder was given a device twice.
    #[error("TAP device {0} was named twice: each port needs a device of its own")]
    DuplicatePort(String),
    /// The builder was given more devices than can be numbered.
    #[error("{0} TAP devices are too many: at most 65,535")]
    TooManyPorts(usize),
    /// No interface can have that name.
    #[error(
        "`{name}` is no name for an interface: {why}; write 1 to 15 bytes without blanks, `/`, `:` and `%`, \
         such as lvs0"
    )]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The MTU is not one that a TAP device can have.
    #[error("an MTU of {mtu} bytes for TAP device {name} is out of range: {MTU_MIN} to {MTU_MAX}")]
    BadMtu {
        /// The device.
        name: String,
        /// The MTU asked for.
        mtu: u32,
    },
    /// There cannot be so many queues.
    #[error("{queues} queues for TAP device {name} are out of range: 1 to {QUEUES_MAX}")]
    BadQueues {
        /// The device.
        name: String,
        /// How many were asked for.
        queues: u16,
    },
    /// The kernel has no TAP devices, or the program does not see where they come from.
    #[error(
        "cannot make TAP device {name}: there is no {CLONE_DEVICE}; `modprobe tun`, or give the container \
         the device (`--device {CLONE_DEVICE}`)"
    )]
    NoTun {
        /// The device.
        name: String,
    },
    /// The process may not do this.
    #[error(
        "cannot {what} {name}: CAP_NET_ADMIN is missing: run as root, or `setcap cap_net_admin+ep PROGRAM`, \
         or let root make the device beforehand for this user: `ip tuntap add dev {name} mode tap vnet_hdr \
         user NAME && ip link set {name} up`"
    )]
    NoPermission {
        /// The device.
        name: String,
        /// What was tried.
        what: &'static str,
    },
    /// Another process has the device open.
    #[error(
        "TAP device {name} is in use by another process: stop that one, or choose another name (a device \
         has one user, unless it was made with multi_queue)"
    )]
    Busy {
        /// The device.
        name: String,
    },
    /// There is an interface of that name, and it is something else.
    #[error(
        "interface {name} is there already and is no TAP device: choose another name; a network card is \
         used with AF_PACKET instead"
    )]
    NotATap {
        /// The name.
        name: String,
    },
    /// The device was made for one queue.
    #[error(
        "TAP device {name} has one queue only, {queues} were asked for: ask for one, or make it anew with \
         `ip tuntap del dev {name} mode tap; ip tuntap add dev {name} mode tap multi_queue`"
    )]
    NotMultiQueue {
        /// The device.
        name: String,
        /// How many queues were asked for.
        queues: u16,
    },
    /// The bridge that the device is to be a port of does not exist or is no bridge.
    #[error(
        "cannot make TAP device {name} a port of {bridge}: {source}; `ip link add {bridge} type bridge && ip \
         link set {bridge} up` makes a bridge"
    )]
    Bridge {
        /// The device.
        name: String,
        /// The bridge.
        bridge: String,
        /// What the system said.
        source: io::Error,
    },
    /// The device is a port of another bridge than it is to be.
    #[error(
        "TAP device {name} is a port of another bridge than {bridge}: name that one, or `ip link set {name} \
         master {bridge}`"
    )]
    OtherBridge {
        /// The device.
        name: String,
        /// The bridge asked for.
        bridge: String,
    },
    /// Any other refusal of the system.
    #[error("TAP device {name}: cannot {what}: {source}")]
    System {
        /// The device.
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
    /// The error of something tried on a device.
    pub(crate) fn system(name: &str, what: &'static str, source: io::Error) -> Error {
        let name = name.to_owned();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Error::NoPermission { name, what },
            _ => Error::System { name, what, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let denied = io::Error::from_raw_os_error(libc::EPERM);
        let error = Error::system("lvs0", "make TAP device", denied).to_string();
        assert!(error.starts_with("cannot make TAP device lvs0: CAP_NET_ADMIN"), "{error}");
        assert!(error.contains("ip tuntap add dev lvs0 mode tap"), "{error}");
        let error = Error::BadMtu { name: "lvs0".to_owned(), mtu: 99 }.to_string();
        assert!(error.ends_with("out of range: 1280 to 65521"), "{error}");
    }
}
