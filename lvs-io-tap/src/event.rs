//! What an operator should hear about.

use std::fmt;

use lvs_core::ids::PortId;

/// Something that happened to a port. Events wait in the backend until
/// [`Tap::next_event`](crate::Tap::next_event) takes them; `Display` gives a line for a log.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The device was set down, or is down because nobody may set it up. Nothing arrives or leaves until it
    /// is up.
    PortDown {
        /// The port.
        port: PortId,
        /// Its device.
        device: String,
    },
    /// The device was deleted. It is made anew.
    PortGone {
        /// The port.
        port: PortId,
        /// Its device.
        device: String,
    },
    /// The port works again.
    PortUp {
        /// The port.
        port: PortId,
        /// Its device.
        device: String,
        /// Whether it is a new device of the same name; bridges, addresses and routes of the old one are
        /// gone.
        reopened: bool,
    },
    /// The device was deleted and cannot be made anew. It is tried again.
    ReopenFailed {
        /// The port.
        port: PortId,
        /// The device.
        device: String,
        /// Why, and what to do.
        error: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::PortDown { port, device } => {
                write!(f, "port {} is down: `ip link set dev {device} up`", port.0)
            }
            Event::PortGone { port, device } => {
                write!(f, "port {}: TAP device {device} was deleted", port.0)
            }
            Event::PortUp { port, device, reopened: false } => {
                write!(f, "port {}: TAP device {device} is up again", port.0)
            }
            Event::PortUp { port, device, reopened: true } => write!(
                f,
                "port {}: TAP device {device} was made anew; what the old one was connected to is not yet \
                 connected to it, unless the director was told its bridge",
                port.0
            ),
            Event::ReopenFailed { port, device, error } => {
                write!(f, "port {}: TAP device {device} is gone, and: {error}", port.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_down_is_told_with_the_command_that_sets_it_up() {
        let event = Event::PortDown { port: PortId(1), device: "lvs1".to_owned() };
        assert_eq!(event.to_string(), "port 1 is down: `ip link set dev lvs1 up`");
    }
}
