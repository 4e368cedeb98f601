//! What an operator should hear about.

use std::fmt;

use lvs_core::ids::PortId;

/// Something that happened to a port. Events wait in the backend until
/// [`AfPacket::next_event`](crate::AfPacket::next_event) takes them; `Display` gives a line for a log.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The interface was set down, or was down at the start. Nothing arrives or leaves until it is up.
    PortDown {
        /// The port.
        port: PortId,
        /// Its interface.
        interface: String,
    },
    /// The interface disappeared. It is looked for by name, and the port reopened when it is back.
    PortGone {
        /// The port.
        port: PortId,
        /// The name that is looked for.
        interface: String,
    },
    /// The port works again.
    PortUp {
        /// The port.
        port: PortId,
        /// Its interface.
        interface: String,
        /// Whether it is a new interface of the same name; its index and MAC address may differ.
        reopened: bool,
    },
    /// The interface is back, but the port could not be opened on it. It is tried again.
    ReopenFailed {
        /// The port.
        port: PortId,
        /// The interface.
        interface: String,
        /// Why, and what to do.
        error: String,
    },
    /// A frame longer than any frame can be was refused: IPv6 BIG TCP is on. Told once per port.
    BigTcp {
        /// The port that it came in by.
        port: PortId,
        /// Its interface.
        interface: String,
        /// Bytes of the frame.
        len: usize,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::PortDown { port, interface } => {
                write!(f, "port {} is down: `ip link set dev {interface} up`", port.0)
            }
            Event::PortGone { port, interface } => {
                write!(f, "port {}: interface {interface} is gone; waiting for its return", port.0)
            }
            Event::PortUp { port, interface, reopened: false } => {
                write!(f, "port {}: interface {interface} is up again", port.0)
            }
            Event::PortUp { port, interface, reopened: true } => {
                write!(f, "port {}: interface {interface} is back, port reopened", port.0)
            }
            Event::ReopenFailed { port, interface, error } => {
                write!(f, "port {}: interface {interface} is back, but: {error}", port.0)
            }
            Event::BigTcp { port, interface, len } => write!(
                f,
                "port {}: refused a frame of {len} bytes (BIG TCP); such frames are dropped until: \
                 `ip link set dev {interface} gro_max_size 65536 gso_max_size 65536`, and the same \
                 gso_max_size on the interface of a sender on this machine",
                port.0
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big_tcp_names_the_command_that_ends_it() {
        let event = Event::BigTcp { port: PortId(1), interface: "eth1".to_owned(), len: 180_000 };
        assert!(event.to_string().contains("ip link set dev eth1 gro_max_size 65536"), "{event}");
    }
}
