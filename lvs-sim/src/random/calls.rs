//! Calls in random scenarios: services with the persistence engine `sip`, and requests of their servers.
//!
//! It has dice of its own, so that a scenario without calls is the same as ever.

use super::dice::Dice;
use super::world::{CALLED, Kind, Service, client};

/// Makes a scenario's dice differ from those of everything else.
const OWN: u64 = 0x63_61_6c_6c;

/// What datagrams carry: Call-IDs, and what is none.
const MESSAGES: &[&str] = &[
    r"data=x\r\ni:a\r\n",
    r"data=x\r\ni:a\r\n",
    r"data=x\r\nCall-ID:\sb@c\r\n\r\n",
    r"data=x\r\nCall-ID:\sb@c\r\n\r\n",
    r"data=\ncall-id\s:\r\n\sd\n",
    r"data=x\r\ni:a;b\r\n",
    r"data=x\r\nCall-ID:\sa",
    "len=4",
];

/// The part of calls in a scenario.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    dice: Dice,
    /// Whether there are any.
    pub(super) there: bool,
    requests: u32,
}

impl Calls {
    /// One scenario in four has some.
    pub(super) fn new(seed: u64) -> Calls {
        let mut dice = Dice::new(seed ^ OWN);
        let there = dice.one_in(4);
        Calls { dice, there, requests: 0 }
    }

    /// None.
    pub(super) fn none(self) -> Calls {
        Calls { there: false, ..self }
    }

    /// Kinds of services that are called, at time 0.
    pub(super) fn kinds(&mut self) -> Vec<&'static Kind> {
        if !self.there {
            return Vec::new();
        }
        let first = self.dice.pick(CALLED);
        let second = self.dice.pick(CALLED);
        match self.dice.one_in(2) && first.option != second.option {
            true => vec![first, second],
            false => vec![first],
        }
    }

    /// A datagram for a service that is called, or of one of its servers, at most steps.
    pub(super) fn message(&mut self, services: &[Service]) -> Option<String> {
        let called: Vec<&Service> = services.iter().filter(|service| service.kind.called).collect();
        if called.is_empty() || self.dice.one_in(3) {
            return None;
        }
        let dice = &mut self.dice;
        let service = *dice.pick(&called);
        let client = client(dice, service.kind.v6);
        if dice.one_in(4) {
            let number = service.number(dice);
            let server = service.own_family_server(number)?;
            // A request to a client's port that has a connection would make another with the same ends, if
            // that is another server's (rule E4).
            self.requests += 1;
            let port = 46_000 + self.requests;
            return Some(format!("reply udp {server} > {client}:{port} {}", message(dice)));
        }
        let port = 41_000 + dice.below(6);
        Some(format!("udp {client}:{port} > {} {}", dice.word(service.kind.towards), message(dice)))
    }
}

/// What a datagram carries.
pub(super) fn message(dice: &mut Dice) -> &'static str {
    dice.word(MESSAGES)
}
