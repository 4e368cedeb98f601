//! What an operator should hear about.

use std::collections::VecDeque;
use std::fmt;

use lvs_core::ids::PortId;

/// The most events that wait to be taken; older ones make room.
const EVENTS_MAX: usize = 256;

/// Something that happened to a port. Events wait in the backend until its `next_event` takes them; `Display`
/// gives a line for a log.
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
    /// The interface disappeared. A network card is waited for by its name, a TAP device is made anew.
    PortGone {
        /// The port.
        port: PortId,
        /// Its interface.
        interface: String,
    },
    /// The port works again.
    PortUp {
        /// The port.
        port: PortId,
        /// Its interface.
        interface: String,
        /// Whether it is a new interface of the same name. Its index and MAC address may differ; addresses,
        /// routes and bridges of the old one are gone, but for a bridge that the backend was told.
        reopened: bool,
    },
    /// The interface is gone or new, and the port could not be opened on it. It is tried again.
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
            Event::PortGone { port, interface } => write!(
                f,
                "port {}: interface {interface} is gone; the port is reopened as soon as it can be",
                port.0
            ),
            Event::PortUp { port, interface, reopened: false } => {
                write!(f, "port {}: interface {interface} is up again", port.0)
            }
            Event::PortUp { port, interface, reopened: true } => write!(
                f,
                "port {}: reopened on a new interface {interface}; what others had given the old one, such \
                 as addresses, routes or a bridge, it does not have",
                port.0
            ),
            Event::ReopenFailed { port, interface, error } => {
                write!(f, "port {}: cannot be reopened on interface {interface}: {error}", port.0)
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

/// Events that wait to be taken, at most 256: older ones make room.
#[derive(Debug, Default)]
pub struct Events {
    queue: VecDeque<Event>,
}

impl Events {
    /// Adds an event behind the others.
    pub fn push(&mut self, event: Event) {
        if self.queue.len() == EVENTS_MAX {
            self.queue.pop_front();
        }
        self.queue.push_back(event);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}

/// Takes the events, the oldest first.
impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.queue.pop_front()
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

    #[test]
    fn a_port_that_is_down_is_told_with_the_command_that_sets_it_up() {
        let event = Event::PortDown { port: PortId(1), interface: "lvs1".to_owned() };
        assert_eq!(event.to_string(), "port 1 is down: `ip link set dev lvs1 up`");
    }

    #[test]
    fn events_that_nobody_takes_make_room_for_later_ones() {
        let mut events = Events::default();
        for number in 0..EVENTS_MAX as u16 + 3 {
            events.push(Event::PortDown { port: PortId(number), interface: String::new() });
        }
        assert_eq!(events.waiting(), EVENTS_MAX);
        assert!(matches!(events.next(), Some(Event::PortDown { port: PortId(3), .. })));
    }
}
