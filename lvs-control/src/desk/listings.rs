//! Listings in steps.

use crossbeam::channel::Sender;
use lvs_admin::diff::Running;
use lvs_admin::ipvsadm::DaemonSpec;
use lvs_admin::listing;
use lvs_admin::rules::TUNABLES;
use lvs_core::command::{ApplyError, ServiceKey};
use lvs_core::flow::Endpoint;
use lvs_core::listing::{Cursor, Forecast, ServiceCursor, ServiceEntry};
use lvs_core::time::Instant;

use super::{Answer, Program, ServiceRates};
use crate::data::{self, Settings};
use crate::protocol::{Refusal, Reply};
use crate::replacement::Survey;

/// Connections listed in one step: less work than a burst of frames.
const CONNECTIONS: usize = 64;
/// Services and servers listed in one step.
const SERVERS: usize = 128;

/// A listing under way.
#[derive(Debug)]
pub(super) enum Listing {
    Services(ServicesListing),
    Connections(Cursor),
    Forecast(ServiceKey, Endpoint, Cursor, Forecast),
}

impl Listing {
    pub(super) fn services(only: Option<ServiceKey>) -> Listing {
        Listing::Services(ServicesListing { only, ..ServicesListing::default() })
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
            Listing::Services(listing) => match listing.step(now, program) {
                Ok((entries, more)) if entries.is_empty() && more => return (Vec::new(), true),
                Ok((entries, more)) => (Answer::Services(entries), more),
                Err(refusal) => return (vec![Answer::Reply(Reply::Refused(refusal))], false),
            },
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

/// Services are read a few servers at a time and sent when they are whole.
#[derive(Debug, Default)]
pub(super) struct ServicesListing {
    only: Option<ServiceKey>,
    cursor: ServiceCursor,
    /// A service some of whose servers have yet to be read.
    cut: Option<(ServiceEntry, ServiceRates)>,
}

type Rated = Vec<(ServiceEntry, ServiceRates)>;

impl ServicesListing {
    fn step(&mut self, now: Instant, program: &mut dyn Program) -> Result<(Rated, bool), Refusal> {
        let (cursor, mut entries) = (&mut self.cursor, Vec::new());
        let director = program.director();
        let more = match &self.only {
            None => director.services_from(now, cursor, SERVERS, &mut entries),
            Some(key) => director
                .service_from(now, key, cursor, SERVERS, &mut entries)
                .ok_or_else(not_there)?,
        };
        let mut whole = Vec::with_capacity(entries.len() + 1);
        for entry in entries {
            let rates = rates(&entry, program);
            match &mut self.cut {
                Some((cut, known)) if cut.spec.key == entry.spec.key => {
                    cut.destinations.extend(entry.destinations);
                    known.servers.extend(rates.servers);
                }
                cut => whole.extend(cut.replace((entry, rates))),
            }
        }
        if !self.cursor.is_within() {
            whole.extend(self.cut.take());
        }
        Ok((whole, more))
    }
}

/// A survey under way.
#[derive(Debug)]
pub(super) struct Surveying {
    survey: Option<Survey>,
    cursor: ServiceCursor,
    to: Sender<Survey>,
}

impl Surveying {
    pub(super) fn begin(now: Instant, program: &mut dyn Program, to: Sender<Survey>) -> Surveying {
        let around = around(now, program);
        let survey = Some(Survey::begin(program.director(), around));
        Surveying { survey, cursor: ServiceCursor::default(), to }
    }

    /// Goes on; returns whether there is more.
    pub(super) fn step(&mut self, now: Instant, program: &mut dyn Program) -> bool {
        let Some(survey) = &mut self.survey else { return false };
        let (cursor, director) = (&mut self.cursor, program.director());
        // A director that was changed meanwhile refuses what comes of it.
        if director.services_from(now, cursor, SERVERS, &mut survey.services) {
            return true;
        }
        if let Some(survey) = self.survey.take() {
            // Whoever asked has room for it, or is gone.
            let _gone = self.to.try_send(survey);
        }
        false
    }
}

/// The names of the ports, and the synchronisation daemons.
pub(super) fn around(now: Instant, program: &dyn Program) -> (Vec<String>, Vec<DaemonSpec>) {
    (program.about().interfaces, program.daemons(now).iter().map(data::Daemon::asked).collect())
}

fn not_there() -> Refusal {
    Refusal {
        status: lvs_admin::ipvsadm::STATUS_NOT_LISTED,
        message: ApplyError::NoSuchService.to_string(),
    }
}

fn rates(entry: &ServiceEntry, program: &dyn Program) -> ServiceRates {
    let key = &entry.spec.key;
    let servers = entry.destinations.iter();
    ServiceRates {
        service: program.rates(key, None),
        servers: servers.map(|server| program.rates(key, Some(server.spec.addr))).collect(),
    }
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
