//! `lvs-director run`: the loop, and all that happens around it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant as Clock;

use lvs_core::command::{ApplyError, Command};
use lvs_core::director::Director;
use lvs_core::drop::PassReason;
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, FrameIo, Verdict, until};
use lvs_core::limits::{LimitError, Limits};
use lvs_core::time::{Duration, Instant};
use lvs_core::wire::ndp;
use lvs_guard::Guard;
use lvs_io_afpacket::Event;

use crate::cli::RunArgs;
use crate::rules::{self, RulesError};

mod answer;
mod backend;
mod configuration;
mod control;
mod masquerade;
mod printer;
mod reload;
mod routes;
mod segment_limit;
mod signals;
pub(crate) mod station;
mod sync;
mod takeover;
mod watch;

use answer::HostAnswers;
use backend::{Backend, BackendError};
use configuration::Configuration;
use control::Control;
use masquerade::forward_hidden;
use printer::Printer;
pub(crate) use routes::OwnRoute;
pub(crate) use segment_limit::SegmentLimit;
use signals::Signals;
use sync::Daemons;
use takeover::Takeover;
use watch::Watch;

/// Connections and templates that the timers look at between two bursts.
const TIMER_BUDGET: usize = 512;
/// The longest sleep: how late a change of the host's addresses is noticed at the latest.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Why a director cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error(transparent)]
    Rule(#[from] lvs_admin::rules::RuleError),
    #[error(transparent)]
    Replacement(#[from] lvs_control::Refusal),
    #[error(transparent)]
    Io(#[from] BackendError),
    #[error("{0}")]
    Guard(#[from] lvs_guard::GuardError),
    #[error("limits: {0}")]
    Limits(#[from] LimitError),
    #[error(transparent)]
    Control(#[from] lvs_control::ServerError),
    #[error(transparent)]
    Metrics(#[from] lvs_control::metrics::MetricsError),
    #[error(transparent)]
    Route(#[from] routes::RouteError),
    #[error("cannot catch signals: {0}")]
    Signals(std::io::Error),
    #[error("{0}")]
    Daemon(#[from] sync::DaemonError),
    #[error("the rules were refused: {0}")]
    Refused(#[from] ApplyError),
}

/// A running director with everything it holds on to.
struct Runtime<'a> {
    args: &'a RunArgs,
    clock: Clock,
    director: Director,
    io: Backend,
    /// The names of the ports.
    names: Vec<String>,
    guard: Option<Guard>,
    takeover: Takeover,
    /// The rules in force.
    configuration: Configuration,
    control: Control,
    /// Connection synchronisation.
    daemons: Daemons,
    /// Where no host sees the packets and `--silent` is not given.
    answers: Option<HostAnswers>,
    watch: Watch,
    printer: Printer,
}

/// Starts a director and runs it until a signal stops it.
pub(crate) fn run(args: &RunArgs) -> Result<(), RunError> {
    start_log(args);
    let rules = args.rules.as_deref().map(rules::read).transpose()?.unwrap_or_default();
    let limits = Limits {
        connections_max: args.connections_max,
        templates_max: args.templates_max,
        engine_templates_max: args.engine_templates_max,
        ..Limits::default()
    };
    limits.check()?;
    let (signals, wake) = Signals::install().map_err(RunError::Signals)?;
    let io = Backend::open(args, wake)?;
    let control = Control::open(args, &signals)?;
    // At the far end of a TAP device there is no host to hide from, or to answer.
    let guarded = args.tap.is_empty() && !args.no_guard;
    let alone = guarded || !args.tap.is_empty();
    let mut runtime = Runtime {
        args,
        clock: Clock::now(),
        director: Director::new(limits, random_seed())?,
        io,
        names: args.port_names(),
        guard: if guarded { Some(Guard::open()?) } else { None },
        takeover: Takeover::default(),
        configuration: Configuration::default(),
        control,
        daemons: Daemons::new(Arc::new(signals.waker())),
        answers: (alone && !args.silent).then(|| HostAnswers::new(&limits)),
        watch: Watch::default(),
        printer: Printer::start(),
    };
    let marks = rules.mark_rules(|name| port_named(&runtime.names, name))?;
    let plan = runtime.plan(&Configuration::of_rules(&rules, &marks));
    routes::check(&args.route, &runtime.names, &plan.ports)?;
    runtime.take_over(plan)?;
    let limits = args.mss.iter().map(|limit| limit.0).collect();
    runtime.director.apply(Instant::ZERO, Command::SetMssLimits(limits))?;
    runtime.replace(rules)?;
    runtime.say_what_was_taken_over();
    let ended = runtime.forward(&signals);
    runtime.stop();
    ended
}

impl Runtime<'_> {
    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Forwards until a signal asks to stop. Signals and listings get their turn after every burst, so
    /// that no load keeps them out.
    fn forward(&mut self, signals: &Signals) -> Result<(), RunError> {
        let mut busy = false;
        while !signals.stop() {
            let now = self.now();
            let timeout = if busy { Duration::ZERO } else { self.time_to_sleep(now) };
            self.io.wait(Some(timeout))?;
            if signals.take_reload() {
                self.reload();
            }
            if signals.take_list() {
                self.printer.list(now, &mut self.director);
            }
            self.take_events();
            let more = self.burst()?;
            let now = self.now();
            let listing = self.printer.advance(now, &mut self.director);
            let asked = self.serve_control(now);
            let heard = self.daemons.serve(now, &mut self.director);
            busy = more || listing || asked || heard;
            self.look_around(now);
        }
        Ok(())
    }

    fn time_to_sleep(&self, now: Instant) -> Duration {
        let due = [self.director.next_deadline(), self.control.due(), self.daemons.due(now)];
        let until_due = due.into_iter().filter_map(|due| until(now, due)).min();
        until_due.map_or(WAIT_MAX, |due| due.min(WAIT_MAX))
    }

    /// One burst in and out. Returns whether more frames are waiting.
    fn burst(&mut self) -> Result<bool, RunError> {
        let now = self.now();
        let (director, takeover) = (&mut self.director, &self.takeover);
        let guarded = self.guard.is_some();
        let mut answers = self.answers.as_mut();
        let mut desk = self.control.desk();
        let report = self.io.exchange(&mut |frames| {
            match &mut desk {
                Some(desk) => desk.process_burst(now, director, frames),
                None => director.process_burst(now, frames),
            }
            if guarded {
                for frame in frames.iter_mut() {
                    forward_hidden(now, director, takeover, frame);
                }
            }
            let Some(answers) = &mut answers else { return };
            for frame in frames.iter_mut().filter(|frame| may_need_answer(frame)) {
                answers.answer(now, director, takeover, frame);
            }
        })?;
        self.director.handle_timers(now, TIMER_BUDGET);
        let director = &mut self.director;
        self.io.inject(&mut |frame| director.poll_transmit(now, frame))?;
        Ok(report.more)
    }

    /// Tells the director about ports and virtual addresses, hides the services from the host, joins the
    /// groups of IPv6 addresses.
    fn take_over(&mut self, takeover: Takeover) -> Result<(), RunError> {
        let now = self.now();
        if let Some(guard) = &mut self.guard {
            let applied = guard.apply(&takeover.guard)?;
            for name in applied.missing {
                tracing::warn!("interface {name} is gone; it will be guarded when it is back");
            }
        }
        for command in takeover.commands() {
            self.director.apply(now, command)?;
        }
        let old = std::mem::replace(&mut self.takeover, takeover);
        for gone in old.virtuals.iter().map(|v| v.addr) {
            if !self.takeover.is_local(gone) {
                self.director.apply(now, Command::RemoveLocal(gone))?;
                self.groups_of(gone).for_each(|(port, group)| {
                    log_failure(self.io.leave_multicast(port, group));
                });
            }
        }
        for virt in self.takeover.virtuals.iter().filter(|v| v.answer) {
            for (port, group) in self.groups_of(virt.addr) {
                log_failure(self.io.join_multicast(port, group));
            }
        }
        Ok(())
    }

    /// The solicited-node group of an IPv6 address on every port: real network cards deliver only groups
    /// that were joined.
    fn groups_of(
        &self,
        addr: IpAddr,
    ) -> impl Iterator<Item = (PortId, lvs_core::addr::MacAddr)> + use<> {
        let ports = self.names.len() as u16;
        let group = match addr {
            IpAddr::V4(_) => None,
            IpAddr::V6(addr) => Some(ndp::multicast_mac(ndp::solicited_node(addr))),
        };
        group.into_iter().flat_map(move |group| (0..ports).map(move |p| (PortId(p), group)))
    }

    fn take_events(&mut self) {
        while let Some(event) = self.io.next_event() {
            tracing::warn!("{event}");
            // Also an interface that was only down may have been given another MAC address meanwhile.
            if matches!(event, Event::PortUp { .. }) {
                self.renew();
            }
        }
    }

    fn stop(self) {
        let now = self.now();
        let Runtime { guard, printer, mut director, takeover, daemons, .. } = self;
        daemons.finish(now, &mut director);
        if let Some(guard) = guard {
            let table = guard.table().to_owned();
            drop(guard);
            tracing::info!("guard {table} removed");
        }
        for virt in takeover.virtuals.iter().filter(|v| v.answer) {
            tracing::info!("virtual address {} is given up", virt.addr);
        }
        tracing::info!("stopped; {} connections were open", director.connection_count());
        printer.finish(director.stats());
    }
}

/// Whether nobody but the director would answer a frame that is left to the host.
fn may_need_answer(frame: &Frame<'_>) -> bool {
    matches!(
        frame.verdict,
        Verdict::Pass(
            PassReason::NoService
                | PassReason::NotScheduled
                | PassReason::NoServices
                | PassReason::Icmp
                | PassReason::OtherProtocol
        )
    )
}

fn port_named(names: &[String], name: &str) -> Option<PortId> {
    names.iter().position(|port| port == name).map(|i| PortId(i as u16))
}

fn log_failure(done: Result<(), BackendError>) {
    if let Err(error) = done {
        tracing::warn!("{error}");
    }
}

fn start_log(args: &RunArgs) {
    use std::io::IsTerminal;
    let level: tracing::Level = args.log_level.into();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_max_level(level)
        .without_time()
        .init();
}

/// Keys for the hash tables that no client can know.
fn random_seed() -> [u64; 2] {
    use std::hash::{BuildHasher, RandomState};
    [RandomState::new().hash_one(0u8), RandomState::new().hash_one(1u8)]
}
