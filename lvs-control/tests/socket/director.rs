//! A director that does nothing but answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock};

use lvs_admin::ipvsadm::{self, Action, DaemonRole, DaemonSpec};
use lvs_admin::listing::Rates;
use lvs_admin::names::NumericOnly;
use lvs_admin::rules::Amendment;
use lvs_control::console::Console;
use lvs_control::data::{About, Daemon};
use lvs_control::replacement::Replacement;
use lvs_control::server::Patience;
use lvs_control::{
    Asker, Client, Desk, Program, Refusal, Reply, Request, ServerError, transaction,
};
use lvs_core::command::{Command, ServiceKey};
use lvs_core::director::Director;
use lvs_core::flow::Endpoint;
use lvs_core::ids::PortId;
use lvs_core::limits::Limits;
use lvs_core::time::Instant;

/// How long anything may take on a machine that is slow and busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A director with no ports.
pub(crate) struct Alone {
    pub(crate) director: Director,
    /// Synchronisation daemons that are said to run.
    pub(crate) daemons: Vec<Daemon>,
}

impl Program for Alone {
    fn director(&mut self) -> &mut Director {
        &mut self.director
    }

    fn about(&self) -> About {
        About {
            version: "0".to_owned(),
            pid: std::process::id(),
            uptime_ms: 0,
            interfaces: vec!["eth0".to_owned()],
            daemons: Vec::new(),
            rules: None,
            connections_max: self.director.limits().connections_max,
            templates_max: self.director.limits().templates_max,
        }
    }

    fn change(&mut self, now: Instant, commands: Vec<Command>) -> Vec<Result<(), Refusal>> {
        let apply = |command| self.director.apply(now, command).map_err(Refusal::from);
        commands.into_iter().map(apply).collect()
    }

    fn amend(&mut self, now: Instant, amendment: &Amendment) -> Result<(), Refusal> {
        let port = |name: &str| (name == "eth0").then_some(PortId(0));
        let commands = transaction::amendment(&self.director, amendment, port)?;
        Ok(transaction::apply_all(&mut self.director, now, &commands).map_err(|e| e.error)?)
    }

    fn commit(&mut self, now: Instant, replacement: &Replacement) -> Result<(), Refusal> {
        let done = transaction::apply_all(&mut self.director, now, &replacement.commands);
        done.map_err(|stopped| stopped.error)?;
        self.daemons = replacement.rules.daemons().iter().map(started).collect();
        Ok(())
    }

    fn rates(&self, _: &ServiceKey, _: Option<Endpoint>) -> Rates {
        Rates { connections: 7, ..Rates::default() }
    }

    fn total_rates(&self) -> Rates {
        Rates::default()
    }

    fn interface(&self, _: PortId) -> Option<String> {
        Some("eth0".to_owned())
    }

    fn start_daemon(&mut self, _: Instant, spec: &DaemonSpec) -> Result<(), Refusal> {
        if self.asked().iter().any(|running| running.role == spec.role) {
            return Err(Refusal::new(ipvsadm::DAEMON_RUNS));
        }
        if spec.interface != "eth0" {
            return Err(Refusal::new(ipvsadm::NO_INTERFACE));
        }
        self.daemons.push(started(spec));
        self.daemons.sort_by_key(|daemon| DaemonRole::from(daemon.role));
        Ok(())
    }

    fn stop_daemon(&mut self, _: Instant, role: DaemonRole) -> Result<(), Refusal> {
        let before = self.daemons.len();
        self.daemons.retain(|daemon| daemon.role != role.into());
        match self.daemons.len() == before {
            true => Err(Refusal::new(ipvsadm::NO_DAEMON)),
            false => Ok(()),
        }
    }

    fn daemons(&self, _: Instant) -> Vec<Daemon> {
        self.daemons.clone()
    }
}

impl Alone {
    fn asked(&self) -> Vec<DaemonSpec> {
        self.daemons.iter().map(Daemon::asked).collect()
    }
}

/// A daemon at an interface of 1500 bytes that has done something.
fn started(spec: &DaemonSpec) -> Daemon {
    let mut daemon = Daemon::started(spec, 1500, 1);
    daemon.counters.messages = 3;
    daemon.counters.refused.insert("other-syncid".to_owned(), 2);
    daemon.counters.last_ago_ms = Some(2345);
    daemon
}

/// A path for a socket that goes when the test is over.
pub(crate) struct SocketPath(PathBuf);

impl SocketPath {
    pub(crate) fn new() -> SocketPath {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lvs-control-{}-{number}.sock", std::process::id());
        SocketPath(std::env::temp_dir().join(name))
    }
}

impl std::ops::Deref for SocketPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A loop with a director in it.
pub(crate) struct Running {
    pub(crate) path: SocketPath,
    stop: Arc<AtomicBool>,
    /// Turns of the loop so far.
    pub(crate) turns: Arc<AtomicU64>,
    pub(crate) asker: Asker,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start() -> Running {
        Running::start_with(&[], Patience::default())
    }

    pub(crate) fn start_with(lines: &[&str], patience: Patience) -> Running {
        let mut director = Director::new(Limits::small(), [1, 2]).unwrap();
        for line in lines {
            director.apply(Instant::ZERO, command(line)).unwrap();
        }
        Running::run(director, patience, SocketPath::new()).unwrap()
    }

    pub(crate) fn run(
        director: Director,
        patience: Patience,
        path: SocketPath,
    ) -> Result<Running, ServerError> {
        let stop = Arc::<AtomicBool>::default();
        let turns = Arc::<AtomicU64>::default();
        let (go, gone) = std::sync::mpsc::channel::<Desk>();
        let thread = std::thread::spawn({
            let (stop, turns) = (stop.clone(), turns.clone());
            move || {
                let Ok(mut desk) = gone.recv() else { return };
                let mut program = Alone { director, daemons: Vec::new() };
                while !stop.load(Ordering::SeqCst) {
                    let more = desk.serve(Instant::from_secs(1), &mut program);
                    turns.fetch_add(1, Ordering::SeqCst);
                    if !more {
                        std::thread::park_timeout(Duration::from_secs(1));
                    }
                }
            }
        });
        let waker = thread.thread().clone();
        let desk = Desk::open_with(&path, patience, move || waker.unpark())?;
        let asker = desk.asker();
        go.send(desk).expect("the thread waits for its desk");
        Ok(Running { path, stop, turns, asker, thread: Some(thread) })
    }

    /// How many connections it lists.
    pub(crate) fn count_connections(&self) -> usize {
        let mut count = 0;
        let take = |reply| {
            if let Reply::Connections(entries) = reply {
                count += entries.len();
            }
            Ok(())
        };
        self.client().for_each(Request::Connections, take).unwrap();
        count
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.path).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Types a command line at the socket: the exit status, what it printed, what it complained about.
    pub(crate) fn lvsadm(&self, line: &str, input: &str) -> (u8, String, String) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let status = Console {
            program: "lvsadm",
            socket: self.path.to_path_buf(),
            names: &NumericOnly,
            hints: true,
            input: &mut input.as_bytes(),
            output: &mut output,
            errors: &mut errors,
        }
        .run(&words);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status, text(output), text(errors))
    }

    /// Ends the loop, and the socket with it.
    pub(crate) fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A line of ipvsadm as a command.
pub(crate) fn command(line: &str) -> Command {
    let words: Vec<&str> = line.split_whitespace().collect();
    match ipvsadm::parse(&words, &NumericOnly) {
        Ok(Action::Change(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Clock::now() + PATIENCE;
    while !condition() {
        assert!(Clock::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
