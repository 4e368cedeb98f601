//! Whether a port works, and what is told of it.

use std::fmt::Display;

use lvs_core::ids::PortId;

use crate::event::{Event, Events};

/// Whether a port works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortState {
    /// It works.
    Up,
    /// Its interface is set down; it works again as soon as that is up.
    Down,
    /// Its interface is gone, and with it what the port was opened on.
    Gone,
}

/// What is known of a port's state. Each change is told once.
#[derive(Debug)]
pub struct PortWatch {
    port: PortId,
    state: PortState,
    /// The last [`Event::ReopenFailed`], so that it is not repeated.
    last_failure: Option<String>,
}

impl PortWatch {
    /// Of a port that was opened; one that is down is told.
    pub fn new(port: PortId, interface: &str, is_up: bool, events: &mut Events) -> PortWatch {
        let state = if is_up { PortState::Up } else { PortState::Down };
        if state == PortState::Down {
            events.push(Event::PortDown { port, interface: interface.to_owned() });
        }
        PortWatch { port, state, last_failure: None }
    }

    /// The port.
    #[inline]
    pub fn port(&self) -> PortId {
        self.port
    }

    /// Whether the port works, as far as is known.
    #[inline]
    pub fn state(&self) -> PortState {
        self.state
    }

    /// Notes what the interface was found to be, and tells it if it is new. A port that is gone stays so
    /// until it is [reopened](Self::reopened), whatever has its interface's name.
    pub fn note(&mut self, state: PortState, interface: &str, events: &mut Events) {
        if state == self.state || self.state == PortState::Gone {
            return;
        }
        self.state = state;
        let (port, interface) = (self.port, interface.to_owned());
        events.push(match state {
            PortState::Up => Event::PortUp { port, interface, reopened: false },
            PortState::Down => Event::PortDown { port, interface },
            PortState::Gone => Event::PortGone { port, interface },
        });
    }

    /// Notes and tells that the port was opened on a new interface.
    pub fn reopened(&mut self, interface: &str, is_up: bool, events: &mut Events) {
        self.last_failure = None;
        let (port, interface) = (self.port, interface.to_owned());
        let (state, event) = if is_up {
            (PortState::Up, Event::PortUp { port, interface, reopened: true })
        } else {
            (PortState::Down, Event::PortDown { port, interface })
        };
        self.state = state;
        events.push(event);
    }

    /// Tells why the port could not be reopened as it was, unless that was the last reason told.
    pub fn reopen_failed(&mut self, interface: &str, error: &dyn Display, events: &mut Events) {
        let error = error.to_string();
        if self.last_failure.as_ref() != Some(&error) {
            self.last_failure = Some(error.clone());
            let (port, interface) = (self.port, interface.to_owned());
            events.push(Event::ReopenFailed { port, interface, error });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_what_is_gone_stays_so_until_it_is_reopened() {
        let mut events = Events::default();
        let mut watch = PortWatch::new(PortId(0), "eth0", true, &mut events);
        watch.note(PortState::Gone, "eth0", &mut events);
        watch.note(PortState::Gone, "eth0", &mut events);
        watch.note(PortState::Up, "eth0", &mut events);
        assert_eq!(watch.state(), PortState::Gone);
        let interface = "eth0".to_owned();
        assert_eq!(events.next(), Some(Event::PortGone { port: PortId(0), interface }));
        watch.reopened("eth0", true, &mut events);
        assert!(matches!(events.next(), Some(Event::PortUp { reopened: true, .. })));
        assert_eq!(events.next(), None);
    }

    #[test]
    fn a_failure_is_repeated_only_when_another_came_between() {
        let mut events = Events::default();
        let mut watch = PortWatch::new(PortId(0), "eth0", true, &mut events);
        for error in ["one", "one", "two", "one"] {
            watch.reopen_failed("eth0", &error, &mut events);
        }
        assert_eq!(events.waiting(), 3);
    }
}
