//! Where requests meet the director: one small step between two bursts.

mod alone;
mod asker;
mod inline;
mod listings;
mod questions;
mod traces;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::{Receiver, Sender, TrySendError};
use lvs_admin::ipvsadm::{self, DaemonRole, DaemonSpec};
use lvs_admin::listing::Rates;
use lvs_admin::rules::{Amendment, Rules};
use lvs_core::command::{Command, ServiceKey};
use lvs_core::director::Director;
use lvs_core::engine::EngineData;
use lvs_core::explain::Question;
use lvs_core::flow::{Endpoint, FlowKey};
use lvs_core::ids::PortId;
use lvs_core::io::Frame;
use lvs_core::listing::{ConnectionEntry, ServiceEntry};
use lvs_core::state::Signal;
use lvs_core::time::Instant;

use crate::data::{self, About, Totals};
use crate::protocol::{Refusal, Reply};
use crate::replacement::{Committed, Replacement, Survey};
use crate::server::{Patience, Place, Server, ServerError};
pub use alone::Alone;
pub use asker::{Asker, Replies, Stopping};
use listings::{Listing, Surveying};
use traces::Traces;
pub use traces::{TraceFilter, TracedBurst};

/// Changes carried out in one step.
const CHANGES_PER_STEP: usize = 32;

/// What runs a director, and what there is besides: interfaces, the guard, a rules file.
pub trait Program {
    /// The director.
    fn director(&mut self) -> &mut Director;

    /// Who this is.
    fn about(&self) -> About;

    /// Carries out changes in order, each by itself, with all that follows from them. One that is refused
    /// changes nothing and does not keep the next from being tried.
    fn change(&mut self, now: Instant, commands: Vec<Command>) -> Vec<Result<(), Refusal>>;

    /// Changes mark rules and switches.
    ///
    /// # Errors
    /// If one is refused; then nothing has changed.
    fn amend(&mut self, now: Instant, amendment: &Amendment) -> Result<(), Refusal>;

    /// Becomes what a rules file says, by commands that were prepared for the director as it is.
    ///
    /// # Errors
    /// If anything is refused; then nothing has changed.
    fn commit(&mut self, now: Instant, replacement: &Replacement) -> Result<(), Refusal>;

    /// What goes through a service, or to one of its servers, in a second.
    fn rates(&self, key: &ServiceKey, server: Option<Endpoint>) -> Rates;

    /// What goes through all services together, in a second.
    fn total_rates(&self) -> Rates;

    /// The name of the interface that a port is.
    fn interface(&self, port: PortId) -> Option<String>;

    /// Starts a synchronisation daemon.
    ///
    /// # Errors
    /// If its role is taken, its interface is not there, or its socket cannot be had. A program without
    /// synchronisation refuses all.
    fn start_daemon(&mut self, now: Instant, spec: &DaemonSpec) -> Result<(), Refusal> {
        let _ = (now, spec);
        Err(Refusal::new("this director has no connection synchronisation"))
    }

    /// Stops a synchronisation daemon.
    ///
    /// # Errors
    /// If none of this role runs.
    fn stop_daemon(&mut self, now: Instant, role: DaemonRole) -> Result<(), Refusal> {
        let _ = (now, role);
        Err(Refusal::new(ipvsadm::NO_DAEMON))
    }

    /// The synchronisation daemons that run, the master first.
    fn daemons(&self, now: Instant) -> Vec<data::Daemon> {
        let _ = now;
        Vec::new()
    }
}

/// What a job asks for: a request, checked and in the core's words.
#[derive(Debug)]
#[non_exhaustive]
pub enum Order {
    /// Who is there.
    About,
    /// Changes, each by itself.
    Change(Vec<Command>),
    /// Services.
    Services(Option<ServiceKey>),
    /// Connections and templates.
    Connections,
    /// Timeouts, switches, marks.
    Settings,
    /// What is counted beside services.
    Totals,
    /// What would become of a packet.
    Explain {
        /// Where it comes from and goes to.
        flow: FlowKey,
        /// What it says.
        signal: Signal,
        /// What a persistence engine would read in it.
        data: Option<Box<EngineData>>,
        /// Where it comes in.
        interface: Option<String>,
    },
    /// Packets as they are decided about.
    Trace {
        /// Which.
        filter: TraceFilter,
        /// How many; absent without end.
        packets: Option<u64>,
    },
    /// What was dropped.
    Drops,
    /// One connection or template.
    Connection(FlowKey),
    /// What keeps a real server of a service at work.
    Forecast(ServiceKey, Endpoint),
    /// Start a synchronisation daemon.
    StartDaemon(DaemonSpec),
    /// Stop one.
    StopDaemon(DaemonRole),
    /// Those that run.
    Daemons,
    /// Changes of mark rules and switches.
    Amend(Amendment),
    /// What the director is configured to be, taken a few servers at a time.
    Survey(Sender<Survey>),
    /// What was prepared for the director as it was surveyed.
    Commit(Arc<Replacement>, Sender<Committed>),
    /// A whole rules file, prepared and carried out in one step.
    Apply(Arc<Rules>),
}

/// A part of an answer, as the director's loop gives it: to make text of it is the business of a thread.
#[derive(Debug)]
#[non_exhaustive]
pub enum Answer {
    /// Services, each with the rates of itself and of its servers.
    Services(Vec<(ServiceEntry, ServiceRates)>),
    /// Connections and templates.
    Connections(Vec<ConnectionEntry>),
    /// Packets that were decided about.
    Traced(TracedBurst),
    /// Everything else.
    Reply(Reply),
}

impl Answer {
    /// The answer in the protocol's words.
    pub fn into_reply(self) -> Reply {
        match self {
            Answer::Reply(reply) => reply,
            Answer::Traced(burst) => Reply::Traced(burst.into_data()),
            Answer::Connections(entries) => {
                Reply::Connections(entries.iter().map(data::Connection::from).collect())
            }
            Answer::Services(entries) => Reply::Services(
                entries.iter().map(|(entry, rates)| rates.given_to(entry)).collect(),
            ),
        }
    }
}

/// The rates of a service and, in their order, of its servers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServiceRates {
    /// The service's.
    pub service: Rates,
    /// Those of its servers.
    pub servers: Vec<Rates>,
}

impl ServiceRates {
    /// A listing's entry as data, with these rates.
    fn given_to(&self, entry: &ServiceEntry) -> data::Service {
        let mut service = data::Service::new(entry, &|_, _| Default::default());
        service.rates = self.service.into();
        for (server, rates) in service.servers.iter_mut().zip(&self.servers) {
            server.rates = (*rates).into();
        }
        service
    }
}

/// An order, and where its answer goes.
#[derive(Debug)]
pub struct Job {
    /// What is asked for.
    pub order: Order,
    /// Where the answer goes.
    pub answers: Answers,
}

/// Where the parts of an answer go.
#[derive(Clone, Debug)]
pub struct Answers {
    sender: Sender<Answer>,
    /// Set while the loop waits for room; whoever makes some wakes it.
    pub(crate) waiting: Arc<AtomicBool>,
}

/// What became of a part of an answer.
#[derive(Debug)]
pub enum Sent {
    /// It is on its way.
    Taken,
    /// There is no room; try again when the loop is woken.
    Full(Answer),
    /// Whoever asked is gone.
    Gone,
}

impl Answers {
    pub(crate) fn new(sender: Sender<Answer>) -> Answers {
        Answers { sender, waiting: Arc::default() }
    }

    /// Sends a part of the answer, without waiting.
    pub fn send(&self, answer: Answer) -> Sent {
        match self.sender.try_send(answer) {
            Ok(()) => Sent::Taken,
            Err(TrySendError::Disconnected(_)) => Sent::Gone,
            Err(TrySendError::Full(answer)) => {
                self.waiting.store(true, Ordering::SeqCst);
                // Room may have been made before the other side could see the flag.
                match self.sender.try_send(answer) {
                    Ok(()) => Sent::Taken,
                    Err(TrySendError::Disconnected(_)) => Sent::Gone,
                    Err(TrySendError::Full(answer)) => Sent::Full(answer),
                }
            }
        }
    }
}

/// Something that takes several steps.
#[derive(Debug)]
struct Task {
    work: Work,
    answers: Answers,
    /// Parts that found no room yet, in order: at most the last of an answer and its end.
    held: VecDeque<Answer>,
}

#[derive(Debug)]
enum Work {
    Change {
        commands: VecDeque<Command>,
        outcomes: Vec<Option<Refusal>>,
    },
    List(Box<Listing>),
    Survey(Box<Surveying>),
    /// Only what is held is left.
    Over,
}

/// The requests that a director's loop has yet to answer.
///
/// The loop calls [`serve`](Desk::serve) after every burst. Each call takes one new request or does one step
/// of one that is under way: some dozen lines of a listing, some dozen changes.
#[derive(Debug)]
pub struct Desk {
    jobs: Receiver<Job>,
    tasks: VecDeque<Task>,
    traces: Traces,
    asker: Asker,
    /// Keeps the socket; it goes with the desk.
    server: Option<Server>,
}

impl Desk {
    /// A desk without a socket, for [askers](Desk::asker) alone. `wake` is called from other threads when
    /// there is something to do, and must make the loop call [`serve`](Desk::serve).
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Desk {
        let (asker, jobs) = Asker::new(Arc::new(wake));
        Desk { jobs, tasks: VecDeque::new(), traces: Traces::default(), asker, server: None }
    }

    /// Opens a socket and a desk for it; `wake` as for [`new`](Desk::new).
    ///
    /// # Errors
    /// If the socket cannot be had.
    pub fn open(path: &Path, wake: impl Fn() + Send + Sync + 'static) -> Result<Desk, ServerError> {
        Desk::open_with(path, Patience::default(), wake)
    }

    /// The same with other bounds of time.
    ///
    /// # Errors
    /// If the socket cannot be had.
    pub fn open_with(
        path: &Path,
        patience: Patience,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Desk, ServerError> {
        let desk = Desk::new(wake);
        let server = Server::start(Place::take(path)?, patience, desk.asker())?;
        Ok(Desk { server: Some(server), ..desk })
    }

    /// What other threads of the program ask with.
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Where the socket is.
    pub fn path(&self) -> Option<&Path> {
        self.server.as_ref().map(Server::path)
    }

    /// Has a director decide about a burst, and tells of it whoever traces. As long as nobody does this is
    /// [`Director::process_burst`].
    #[inline]
    pub fn process_burst(
        &mut self,
        now: Instant,
        director: &mut Director,
        frames: &mut [Frame<'_>],
    ) {
        match self.traces.is_empty() {
            true => director.process_burst(now, frames),
            false => self.traces.process_burst(now, director, frames),
        }
    }

    /// Does one step, if there is something to do. Returns whether to come back at once.
    pub fn serve(&mut self, now: Instant, program: &mut dyn Program) -> bool {
        // New requests first: they are short, and what takes long goes on in turns.
        self.traces.pulse(now);
        if let Ok(job) = self.jobs.try_recv() {
            if let Order::Trace { filter, packets } = job.order {
                let names = program.about().interfaces;
                self.traces.begin(now, (filter, packets), names, job.answers);
            } else if let Some(task) = begin(now, job, program) {
                self.tasks.push_back(task);
            }
            return true;
        }
        for _ in 0..self.tasks.len() {
            let Some(mut task) = self.tasks.pop_front() else { break };
            match task.step(now, program) {
                Step::Went => {
                    self.tasks.push_back(task);
                    return true;
                }
                Step::Waits => self.tasks.push_back(task),
                Step::Over => return true,
            }
        }
        false
    }
}

/// What a step of a task did.
enum Step {
    Went,
    /// There is no room for its answer.
    Waits,
    Over,
}

/// Answers an order at once, or makes a task of it.
fn begin(now: Instant, job: Job, program: &mut dyn Program) -> Option<Task> {
    let Job { order, answers } = job;
    let reply = match order {
        Order::About => Ok(Some(Reply::About(program.about()))),
        Order::Change(commands) => {
            let outcomes = Vec::with_capacity(commands.len());
            let work = Work::Change { commands: commands.into(), outcomes };
            return Some(Task { work, answers, held: VecDeque::new() });
        }
        Order::Services(only) => {
            let work = Work::List(Box::new(Listing::services(only)));
            return Some(Task { work, answers, held: VecDeque::new() });
        }
        Order::Connections => {
            let work = Work::List(Box::new(Listing::connections()));
            return Some(Task { work, answers, held: VecDeque::new() });
        }
        Order::Settings => Ok(Some(Reply::Settings(listings::settings(program)))),
        Order::Totals => {
            let rates = program.total_rates().into();
            Ok(Some(Reply::Totals(Box::new(Totals::of(program.director(), rates)))))
        }
        Order::Explain { flow, signal, data, interface } => {
            let question = Question { port: PortId(0), flow, signal, data: data.map(|read| *read) };
            questions::explain(now, program, question, interface.as_deref()).map(Some)
        }
        // The desk itself answers.
        Order::Trace { .. } => Ok(None),
        Order::Drops => Ok(Some(questions::drops(now, program))),
        Order::Connection(key) => questions::connection(now, program, &key).map(Some),
        Order::Forecast(key, server) => {
            let work = Work::List(Box::new(Listing::forecast(key, server)));
            return Some(Task { work, answers, held: VecDeque::new() });
        }
        Order::StartDaemon(spec) => program.start_daemon(now, &spec).map(|()| None),
        Order::StopDaemon(role) => program.stop_daemon(now, role).map(|()| None),
        Order::Daemons => Ok(Some(Reply::Daemons(program.daemons(now)))),
        Order::Amend(amendment) => program.amend(now, &amendment).map(|()| None),
        Order::Survey(to) => {
            let work = Work::Survey(Box::new(Surveying::begin(now, program, to)));
            return Some(Task { work, answers, held: VecDeque::new() });
        }
        Order::Commit(replacement, to) => {
            let done = match replacement.version == program.director().version() {
                false => Committed::Stale,
                true => match program.commit(now, &replacement) {
                    Ok(()) => Committed::Done,
                    Err(refusal) => Committed::Refused(refusal),
                },
            };
            // Whoever asked has room for it, or is gone.
            let _gone = to.try_send(done);
            Ok(None)
        }
        Order::Apply(rules) => apply(now, program, rules).map(Some),
    };
    let replies = match reply {
        Ok(Some(reply)) => vec![reply, Reply::Done],
        Ok(None) => vec![Reply::Done],
        Err(refusal) => vec![Reply::Refused(refusal)],
    };
    let mut task =
        Task { work: Work::Over, answers, held: replies.into_iter().map(Answer::Reply).collect() };
    (!task.send_held()).then_some(task)
}

/// Prepares and carries out a whole rules file.
fn apply(now: Instant, program: &mut dyn Program, rules: Arc<Rules>) -> Result<Reply, Refusal> {
    let around = listings::around(now, program);
    let survey = Survey::of(program.director(), now, around);
    let mut replacement = Replacement::prepare(&survey, rules)?;
    program.commit(now, &replacement)?;
    replacement.plan.applied = true;
    Ok(Reply::Plan(replacement.plan))
}

impl Task {
    /// Sends what is held. Returns whether nothing is left to do for it.
    fn send_held(&mut self) -> bool {
        while let Some(answer) = self.held.pop_front() {
            match self.answers.send(answer) {
                Sent::Taken => {}
                Sent::Full(answer) => {
                    self.held.push_front(answer);
                    return false;
                }
                Sent::Gone => {
                    self.held.clear();
                    // Changes that were asked for are made, listings are not.
                    if matches!(self.work, Work::List(_) | Work::Survey(_)) {
                        self.work = Work::Over;
                    }
                }
            }
        }
        matches!(self.work, Work::Over)
    }

    fn step(&mut self, now: Instant, program: &mut dyn Program) -> Step {
        if self.send_held() {
            return Step::Over;
        }
        if !self.held.is_empty() {
            return Step::Waits;
        }
        match &mut self.work {
            Work::Change { commands, outcomes } => {
                let some = commands.drain(..commands.len().min(CHANGES_PER_STEP)).collect();
                outcomes.extend(program.change(now, some).into_iter().map(Result::err));
                if commands.is_empty() {
                    let outcomes = Reply::Outcomes(std::mem::take(outcomes));
                    self.held.extend([outcomes, Reply::Done].map(Answer::Reply));
                    self.work = Work::Over;
                }
            }
            Work::List(listing) => {
                let (answers, more) = listing.step(now, program);
                self.held.extend(answers);
                if !more {
                    self.work = Work::Over;
                }
            }
            Work::Survey(surveying) => {
                if !surveying.step(now, program) {
                    self.held.push_back(Answer::Reply(Reply::Done));
                    self.work = Work::Over;
                }
            }
            Work::Over => {}
        }
        if self.send_held() { Step::Over } else { Step::Went }
    }
}
