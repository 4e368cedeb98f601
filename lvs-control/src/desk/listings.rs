//! Listings in steps.

use lvs_admin::diff::Running;
use lvs_admin::listing;
use lvs_admin::rules::TUNABLES;
use lvs_core::command::{ApplyError, ServiceKey};
use lvs_core::flow::Endpoint;
use lvs_core::listing::{Cursor, Forecast, ServiceCursor, ServiceEntry};
use lvs_core::time::Instant;

use super::{Answer, Program, ServiceRates};
use crate::data::Settings;
use crate::protocol::{Refusal, Reply};

/// Connections listed in one step: less work than a burst of frames.
const CONNECTIONS: usize = 64;
/// Services and servers listed in one step; the servers of one service stay together.
const SERVERS: usize = 128;

/// A listing under way.
#[derive(Debug)]
pub(super) enum Listing {
    One(ServiceKey),
    Services(ServiceCursor),
    Connections(Cursor),
    Forecast(ServiceKey, Endpoint, Cursor, Forecast),
}

impl Listing {
    pub(super) fn services(only: Option<ServiceKey>) -> Listing {
        only.map_or(Listing::Services(ServiceCursor::default()), Listing::One)
    }

    pub(super) fn connections() -> Listing {
        Listing::Connections(Cursor::default())
    }

    pub(super) fn forecast(key: ServiceKey, server: Endpoint) -> Listing {
        Listing::Forecast(key, server, Cursor::default(), Forecast::default())
    }

    /// The next part, with the end of the answer behind the last; and whether there is more.
    pub(super) fn step(&mut self, now: Instant, program: &mut dyn Program) -> (Vec<Answer>, bool) {
        let (answer, more) = match self {
            Listing::One(key) => match program.director().service(now, key) {
                Some(entry) => (Answer::Services(vec![rated(entry, program)]), false),
                None => {
                    let refusal = Refusal {
                        status: lvs_admin::ipvsadm::STATUS_NOT_LISTED,
                        message: ApplyError::NoSuchService.to_string(),
                    };
                    return (vec![Answer::Reply(Reply::Refused(refusal))], false);
                }
            },
            Listing::Services(cursor) => {
                let mut entries = Vec::new();
                let more = program.director().services_from(now, cursor, SERVERS, &mut entries);
                let rated = entries.into_iter().map(|entry| rated(entry, program)).collect();
                (Answer::Services(rated), more)
            }
            Listing::Connections(cursor) => {
                let mut entries = Vec::with_capacity(CONNECTIONS);
                let more = program.director().connections(now, cursor, CONNECTIONS, &mut entries);
                (Answer::Connections(entries), more)
            }
            Listing::Forecast(key, server, cursor, forecast) => {
                let server = (&*key, *server);
                if program.director().forecast(now, server, cursor, CONNECTIONS, forecast) {
                    return (Vec::new(), true);
                }
                (Answer::Reply(Reply::Forecast((*forecast).into())), false)
            }
        };
        let mut answers = vec![answer];
        if !more {
            answers.push(Answer::Reply(Reply::Done));
        }
        (answers, more)
    }
}

fn rated(entry: ServiceEntry, program: &dyn Program) -> (ServiceEntry, ServiceRates) {
    let key = &entry.spec.key;
    let servers = entry.destinations.iter();
    let rates = ServiceRates {
        service: program.rates(key, None),
        servers: servers.map(|server| program.rates(key, Some(server.spec.addr))).collect(),
    };
    (entry, rates)
}

/// Timeouts, switches and marks.
pub(super) fn settings(program: &mut dyn Program) -> Settings {
    let director = program.director();
    let timeouts = director.timeouts();
    let tunables = *director.tunables();
    let mark_rules = director.mark_rules().to_vec();
    let running =
        Running { services: &[], timeouts, tunables, mark_rules: &mark_rules, daemons: &[] };
    let sysctls = TUNABLES.iter().map(|info| (info.name.to_owned(), (info.get)(&tunables)));
    Settings {
        timeouts: timeouts.into(),
        sysctls: sysctls.collect(),
        marks: listing::mark_lines(&running, &|port| program.interface(port)),
    }
}
