//! A director with nothing around it.

use lvs_admin::listing::Rates;
use lvs_admin::rules::Amendment;
use lvs_core::command::{Command, ServiceKey};
use lvs_core::director::Director;
use lvs_core::flow::Endpoint;
use lvs_core::ids::PortId;
use lvs_core::time::Instant;

use super::Program;
use crate::data::About;
use crate::protocol::Refusal;
use crate::replacement::Replacement;
use crate::transaction;

/// The [`Program`] of a director that needs nothing to follow its changes: no guard, no host, no rates. For
/// tests, and for directors whose surroundings never change.
#[derive(Debug)]
pub struct Alone {
    /// The director.
    pub director: Director,
    /// The names of its ports, in their order.
    pub interfaces: Vec<String>,
}

impl Alone {
    fn port(&self, name: &str) -> Option<PortId> {
        let place = self.interfaces.iter().position(|other| other == name)?;
        u16::try_from(place).ok().map(PortId)
    }
}

impl Program for Alone {
    fn director(&mut self) -> &mut Director {
        &mut self.director
    }

    fn about(&self) -> About {
        let limits = self.director.limits();
        About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: 0,
            interfaces: self.interfaces.clone(),
            daemons: Vec::new(),
            rules: None,
            connections_max: limits.connections_max,
            templates_max: limits.templates_max,
        }
    }

    fn change(&mut self, now: Instant, commands: Vec<Command>) -> Vec<Result<(), Refusal>> {
        let apply = |command| self.director.apply(now, command).map_err(Refusal::from);
        commands.into_iter().map(apply).collect()
    }

    fn amend(&mut self, now: Instant, amendment: &Amendment) -> Result<(), Refusal> {
        let port = |name: &str| self.port(name);
        let commands = transaction::amendment(&self.director, amendment, port)?;
        Ok(transaction::apply_all(&mut self.director, now, &commands).map_err(|e| e.error)?)
    }

    fn commit(&mut self, now: Instant, replacement: &Replacement) -> Result<(), Refusal> {
        if !replacement.daemons.is_empty() {
            return Err(Refusal::new("this director has no connection synchronisation"));
        }
        let done = transaction::apply_all(&mut self.director, now, &replacement.commands);
        done.map_err(|stopped| Refusal::new(format!("{stopped}; nothing was applied")))
    }

    fn rates(&self, _: &ServiceKey, _: Option<Endpoint>) -> Rates {
        Rates::default()
    }

    fn total_rates(&self) -> Rates {
        Rates::default()
    }

    fn interface(&self, port: PortId) -> Option<String> {
        self.interfaces.get(port.index()).cloned()
    }
}
