//! `-L`, and who answers.

use lvs_admin::ipvsadm::{DaemonRole, ListRequest, ListWhat};
use lvs_admin::listing::{self, Header, Listing, Rates};
use lvs_core::command::ServiceKey;
use lvs_core::flow::Endpoint;
use lvs_core::listing::{ConnectionEntry, ServiceEntry};

use super::{Failure, Typed, json, unexpected};
use crate::ClientError;
use crate::data::{Daemon, DataError, Role, Service, Settings};
use crate::protocol::{Reply, Request};

impl Typed<'_, '_> {
    pub(super) fn list(&mut self, request: &ListRequest) -> Result<(), Failure> {
        if self.wants_json() {
            return json::list(self, request);
        }
        match request.what {
            ListWhat::Services => self.list_services(request),
            ListWhat::Connections => self.list_connections(request),
            ListWhat::Timeouts => {
                let mut text = String::new();
                written(listing::timeouts(&mut text, &self.settings()?.timeouts.into()));
                Ok(self.console.output.write_all(text.as_bytes())?)
            }
            ListWhat::Daemons => {
                let running = self.daemons()?.iter().map(Daemon::in_force).collect::<Vec<_>>();
                let mut text = String::new();
                written(listing::daemons(&mut text, &running));
                Ok(self.console.output.write_all(text.as_bytes())?)
            }
        }
    }

    fn list_services(&mut self, request: &ListRequest) -> Result<(), Failure> {
        let services = self.services(request.service)?;
        let entries = entries(&services)?;
        let rates = |key: &ServiceKey, server: Option<Endpoint>| rates(&services, key, server);
        let mut text = String::new();
        let listing = Listing::new(Header::default(), *request, self.console.names);
        written(listing.services_with_rates(&mut text, &entries, &rates));
        Ok(self.console.output.write_all(text.as_bytes())?)
    }

    /// Each part is written as it comes, so that a long table needs no memory here either.
    fn list_connections(&mut self, request: &ListRequest) -> Result<(), Failure> {
        self.client()?;
        let Some(mut client) = self.client.take() else { return Ok(()) };
        let listing = Listing::new(Header::default(), *request, self.console.names);
        let mut text = String::new();
        written(listing.connections_title(&mut text));
        for reply in client.ask(Request::Connections)? {
            let Reply::Connections(connections) = reply? else { continue };
            let entries: Result<Vec<ConnectionEntry>, DataError> =
                connections.iter().map(TryInto::try_into).collect();
            written(listing.connections(&mut text, &entries.map_err(nonsense)?));
            self.console.output.write_all(text.as_bytes())?;
            text.clear();
        }
        self.console.output.write_all(text.as_bytes())?;
        self.client = Some(client);
        Ok(())
    }

    /// Services, all or one.
    pub(super) fn services(&mut self, only: Option<ServiceKey>) -> Result<Vec<Service>, Failure> {
        let mut services = Vec::new();
        let only = only.map(Into::into);
        self.client()?.for_each(Request::Services { only }, |reply| {
            if let Reply::Services(more) = reply {
                services.extend(more);
            }
            Ok(())
        })?;
        Ok(services)
    }

    pub(super) fn settings(&mut self) -> Result<Settings, Failure> {
        match self.ask(Request::Settings)? {
            Some(Reply::Settings(settings)) => Ok(settings),
            other => Err(unexpected(other.as_ref())),
        }
    }
}

/// `lvsadm about`.
pub(super) fn about(typed: &mut Typed<'_, '_>, words: &[&str]) -> Result<(), Failure> {
    if let Some(word) = words.first() {
        return Err(Failure::usage(format!("unexpected argument {word}"), "about takes none"));
    }
    let about = match typed.ask(Request::About)? {
        Some(Reply::About(about)) => about,
        other => return Err(unexpected(other.as_ref())),
    };
    if typed.wants_json() {
        return json::print(typed, &about);
    }
    let seconds = about.uptime_ms / 1000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let output = &mut *typed.console.output;
    writeln!(output, "lvs-director {}, process {}", about.version, about.pid)?;
    writeln!(output, "running for {hours}:{minutes:02}:{:02}", seconds % 60)?;
    writeln!(output, "interfaces: {}", about.interfaces.join(" "))?;
    if !about.daemons.is_empty() {
        let role = |role: &Role| DaemonRole::from(*role).name();
        let roles: Vec<&str> = about.daemons.iter().map(role).collect();
        writeln!(output, "synchronisation: {}", roles.join(" and "))?;
    }
    writeln!(output, "rules file: {}", about.rules.as_deref().unwrap_or("none"))?;
    writeln!(
        output,
        "room for {} connections and {} templates",
        about.connections_max, about.templates_max
    )?;
    Ok(())
}

/// What came over the socket in the core's words.
pub(super) fn entries(services: &[Service]) -> Result<Vec<ServiceEntry>, Failure> {
    services.iter().map(TryInto::try_into).collect::<Result<_, _>>().map_err(nonsense)
}

pub(super) fn nonsense(error: DataError) -> Failure {
    ClientError::Nonsense(error.to_string()).into()
}

fn rates(services: &[Service], key: &ServiceKey, server: Option<Endpoint>) -> Rates {
    let service = services.iter().find(|service| service.spec.service == (*key).into());
    let found = service.and_then(|service| match server {
        None => Some(service.rates),
        Some(addr) => {
            let is_it = |s: &&crate::data::Server| {
                s.spec.address == addr.addr && s.spec.port == addr.port.0
            };
            service.servers.iter().find(is_it).map(|server| server.rates)
        }
    });
    found.unwrap_or_default().into()
}

/// Writing to a string does not fail.
pub(super) fn written(result: std::fmt::Result) {
    debug_assert!(result.is_ok(), "a String takes every text");
}
