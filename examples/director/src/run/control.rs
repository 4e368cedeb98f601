//! The control socket: what operators ask of a running director.

use std::path::Path;

use lvs_admin::ipvsadm::{DaemonRole, DaemonSpec};
use lvs_admin::listing::Rates;
use lvs_admin::rates::Estimators;
use lvs_admin::rules::Amendment;
use lvs_control::data::{About, Daemon};
use lvs_control::metrics::Metrics;
use lvs_control::replacement::Replacement;
use lvs_control::{Asker, Desk, Program, Refusal, transaction};
use lvs_core::command::{Command, ForwardingMethod, ServiceKey};
use lvs_core::director::Director;
use lvs_core::flow::Endpoint;
use lvs_core::ids::PortId;
use lvs_core::listing::ServiceCursor;
use lvs_core::time::Instant;

use crate::cli::RunArgs;

use super::configuration::Configuration;
use super::signals::Signals;
use super::{RunError, Runtime, port_named};

/// Services and servers whose rates are estimated between two bursts.
const RATES_PER_STEP: usize = 128;

/// The socket, if there is one, and what only its listings show.
#[derive(Debug, Default)]
pub(super) struct Control {
    desk: Option<Desk>,
    /// Answers as long as it is here.
    _metrics: Option<Metrics>,
    rates: Estimators,
    /// Where a round of estimates goes on.
    round: Option<ServiceCursor>,
}

impl Control {
    /// Opens what the command line asks for.
    pub(super) fn open(args: &RunArgs, signals: &Signals) -> Result<Control, RunError> {
        let desk = match &args.control {
            Some(path) => Desk::open(path, signals.waker())?,
            None if args.metrics.is_some() => Desk::new(signals.waker()),
            None => return Ok(Control::default()),
        };
        let metrics = args.metrics.map(|addr| Metrics::start(addr, desk.asker())).transpose()?;
        if let Some(metrics) = &metrics {
            tracing::info!("metrics at http://{}/metrics", metrics.addr());
        }
        Ok(Control { desk: Some(desk), _metrics: metrics, ..Control::default() })
    }

    /// Where live decisions are told.
    pub(super) fn desk(&mut self) -> Option<&mut Desk> {
        self.desk.as_mut()
    }

    /// What other threads ask the loop with, if it is asked at all.
    pub(super) fn asker(&self) -> Option<Asker> {
        self.desk.as_ref().map(Desk::asker)
    }

    /// When there is something to do without a request.
    pub(super) fn due(&self) -> Option<Instant> {
        self.desk.as_ref().map(|_| self.rates.due())
    }

    /// Where the socket is.
    pub(super) fn path(&self) -> Option<&Path> {
        self.desk.as_ref()?.path()
    }

    /// Goes on with estimating rates, a few services at a time. Returns whether to come back at once.
    fn estimate(&mut self, now: Instant, director: &mut Director) -> bool {
        if self.round.is_none() && now < self.rates.due() {
            return false;
        }
        if !director.tunables().run_estimation {
            self.rates.skip();
            self.round = None;
            return false;
        }
        let cursor = self.round.get_or_insert_default();
        let mut entries = Vec::new();
        let more = director.services_from(now, cursor, RATES_PER_STEP, &mut entries);
        entries.iter().for_each(|service| self.rates.observe_service(service));
        if !more {
            self.rates.end_round(&director.total());
            self.round = None;
        }
        more
    }
}

impl Runtime<'_> {
    /// Does one thing that was asked for. Returns whether to come back at once.
    pub(super) fn serve_control(&mut self, now: Instant) -> bool {
        let Some(mut desk) = self.control.desk.take() else { return false };
        let more = desk.serve(now, self);
        self.control.desk = Some(desk);
        self.control.estimate(now, &mut self.director) || more
    }

    /// Carries out commands, all or none, and has the host follow; or leaves all as it was.
    pub(super) fn transact(
        &mut self,
        commands: &[Command],
        configuration: Configuration,
    ) -> Result<(), RunError> {
        let plan = self.plan(&configuration);
        let before = (plan != self.takeover).then(|| self.takeover.clone());
        // The host first: what is new is hidden from it before the director handles it.
        let done = match &before {
            Some(_) => self.take_over(plan),
            None => Ok(()),
        };
        let now = self.now();
        let done = done.and_then(|()| {
            transaction::apply_all(&mut self.director, now, commands)
                .map_err(|stopped| RunError::Refused(stopped.error))
        });
        match done {
            Ok(()) => {
                self.configuration = configuration;
                if let Some(before) = before {
                    self.say_what_changed_hands(&before.virtuals);
                }
                Ok(())
            }
            Err(error) => {
                if let Some(before) = before
                    && let Err(error) = self.take_over(before)
                {
                    tracing::error!("going back to the rules of before: {error}");
                }
                Err(error)
            }
        }
    }

    /// Has the host follow what the director was told, if addresses are concerned.
    fn follow_director(&mut self) -> Result<(), RunError> {
        let now = self.now();
        let configuration = Configuration::of_director(&mut self.director, now);
        if configuration == self.configuration {
            return Ok(());
        }
        self.transact(&[], configuration)
    }

    /// Carries out changes, each by itself, then has the host follow them all at once. Returns what takes
    /// them back as well.
    fn try_changes(&mut self, now: Instant, commands: Vec<Command>) -> Tried {
        let mut tried = Tried::default();
        let masquerades = !self.configuration.answers.is_empty();
        for command in commands {
            tried.concern_host |= concerns_host(&command, masquerades);
            let inverse = transaction::inverse(&mut self.director, now, &command);
            let done = self.director.apply(now, command);
            if done.is_ok() {
                tried.undo.push(inverse);
            }
            tried.outcomes.push(done.map_err(Refusal::from));
        }
        tried
    }

    fn take_back(&mut self, now: Instant, undo: Vec<Vec<Command>>) {
        for command in undo.into_iter().rev().flatten() {
            if let Err(error) = self.director.apply(now, command) {
                tracing::error!("taking back a change: {error}");
            }
        }
    }
}

/// What came of changes.
#[derive(Default)]
struct Tried {
    outcomes: Vec<Result<(), Refusal>>,
    /// What takes each of those that were made back.
    undo: Vec<Vec<Command>>,
    concern_host: bool,
}

/// Whether addresses that the host must know of may change with a command; `masquerades` is whether there
/// are masqueraded servers.
fn concerns_host(command: &Command, masquerades: bool) -> bool {
    match command {
        Command::Zero(_) | Command::SetTimeouts(_) | Command::SetTunables(_) => false,
        Command::EditService(_) => masquerades,
        Command::EditDestination(_, spec) => {
            masquerades || spec.method == ForwardingMethod::Masquerade
        }
        _ => true,
    }
}

impl Program for Runtime<'_> {
    fn director(&mut self) -> &mut Director {
        &mut self.director
    }

    fn about(&self) -> About {
        let limits = self.director.limits();
        About {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: self.now().as_millis(),
            interfaces: self.names.clone(),
            daemons: self.daemons.asked().iter().map(|spec| spec.role.into()).collect(),
            rules: self.args.rules.as_ref().map(|path| path.display().to_string()),
            connections_max: limits.connections_max,
            templates_max: limits.templates_max,
        }
    }

    fn change(&mut self, now: Instant, commands: Vec<Command>) -> Vec<Result<(), Refusal>> {
        let tried = self.try_changes(now, commands.clone());
        if !tried.concern_host {
            return tried.outcomes;
        }
        let Err(error) = self.follow_director() else { return tried.outcomes };
        // The host does not follow all of them: which one is to blame is found one by one.
        self.take_back(now, tried.undo);
        if commands.len() == 1 {
            return vec![Err(Refusal::new(error.to_string()))];
        }
        commands.into_iter().flat_map(|command| self.change(now, vec![command])).collect()
    }

    fn amend(&mut self, now: Instant, amendment: &Amendment) -> Result<(), Refusal> {
        let port = |name: &str| port_named(&self.names, name);
        let commands = transaction::amendment(&self.director, amendment, port)?;
        let mut configuration = Configuration::of_director(&mut self.director, now);
        for command in &commands {
            if let Command::SetMarkRules(rules) = command {
                configuration.marks.clone_from(rules);
            }
        }
        self.transact(&commands, configuration).map_err(|error| Refusal::new(error.to_string()))
    }

    fn commit(&mut self, _now: Instant, replacement: &Replacement) -> Result<(), Refusal> {
        let done = self.take_place(replacement);
        done.map_err(|error| Refusal::new(format!("{error}; nothing was applied")))
    }

    fn rates(&self, key: &ServiceKey, server: Option<Endpoint>) -> Rates {
        self.control.rates.of(key, server)
    }

    fn total_rates(&self) -> Rates {
        self.control.rates.total()
    }

    fn interface(&self, port: PortId) -> Option<String> {
        self.names.get(port.index()).cloned()
    }

    fn start_daemon(&mut self, now: Instant, spec: &DaemonSpec) -> Result<(), Refusal> {
        let started = self.daemons.start(now, &mut self.director, spec);
        started.map_err(|error| Refusal::new(error.to_string()))
    }

    fn stop_daemon(&mut self, now: Instant, role: DaemonRole) -> Result<(), Refusal> {
        let stopped = self.daemons.stop(now, &mut self.director, role);
        stopped.map_err(|error| Refusal::new(error.to_string()))
    }

    fn daemons(&self, _now: Instant) -> Vec<Daemon> {
        self.daemons.list(&self.director)
    }
}
