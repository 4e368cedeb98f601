//! What can fail on a host, and what to do about it.

use std::io;

/// Why a host could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process may not change the network.
    #[error(
        "{what}: this needs the capability {capability}: run as root, or in a container with \
         `--cap-add {short}`"
    )]
    NotPermitted {
        /// What was tried.
        what: String,
        /// The capability, such as `CAP_NET_ADMIN`.
        capability: &'static str,
        /// The capability in the words of container runtimes.
        short: &'static str,
    },
    /// `/proc/sys` cannot be written, as in most containers.
    #[error(
        "{what}: /proc/sys is mounted read-only here; set it where the container is started (`--sysctl` of \
         its runtime) or on the host"
    )]
    ReadOnly {
        /// The command that was to be done.
        what: String,
    },
    /// There is no `/dev/net/tun`.
    #[error(
        "there is no /dev/net/tun, which the decapsulator needs: `modprobe tun`, or start the container \
         with `--device /dev/net/tun`; or let the kernel's own modules open tunnels (--kernel)"
    )]
    NoTun,
    /// The device's name is taken.
    #[error(
        "there is a device {name} already: a decapsulator is running on this host. One is enough for all \
         virtual addresses: stop it, and start it with every --vip and --tun"
    )]
    DeviceTaken {
        /// The name.
        name: String,
    },
    /// The UDP port of GUE is taken.
    #[error(
        "UDP port {port} is taken: another program, or the kernel's fou module, receives GUE already \
         (see `ss -lunp` and `ip fou show`); stop it, or have the director use another port (--gue-port)"
    )]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// A program failed.
    #[error("`{command}` failed: {reason}")]
    Command {
        /// The command.
        command: String,
        /// What it said.
        reason: String,
    },
    /// The kernel refused something else.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    /// What the system means by `source` when `what` was tried.
    pub(crate) fn system(what: impl Into<String>, source: io::Error) -> Error {
        let what = what.into();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                Error::NotPermitted { what, capability: "CAP_NET_ADMIN", short: "NET_ADMIN" }
            }
            Some(libc::EROFS) => Error::ReadOnly { what },
            _ => Error::System { what, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: i32) -> String {
        Error::system("ip address add 192.0.2.80/32 dev lo", io::Error::from_raw_os_error(code))
            .to_string()
    }

    #[test]
    fn a_refusal_says_what_was_tried_and_what_to_do() {
        let text = said(libc::EPERM);
        assert!(text.contains("192.0.2.80/32") && text.contains("--cap-add NET_ADMIN"), "{text}");
        assert!(said(libc::EROFS).contains("--sysctl"));
        assert!(said(libc::ENODEV).contains("No such device"));
    }
}
