//! Every shipped scenario with its command lines and listings driven through the socket: the record is that of
//! a replay, byte for byte.
//!
//! A client types each line at a console, a server's thread takes it, and the desk answers from the director of
//! the replay, in virtual time. Arguments that are no options select scenarios by a part of their name.

use std::fs;
use std::io::empty;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use lvs_admin::ipvsadm::{DaemonRole, DaemonSpec};
use lvs_admin::listing::Rates;
use lvs_admin::names::Services;
use lvs_admin::rules::Amendment;
use lvs_control::console::Console;
use lvs_control::data::{About, Daemon};
use lvs_control::replacement::Replacement;
use lvs_control::{Desk, Program, Refusal};
use lvs_core::command::{Command, ServiceKey};
use lvs_core::director::Director;
use lvs_core::flow::Endpoint;
use lvs_core::ids::PortId;
use lvs_core::time::Instant;
use lvs_sim::player::{Operator, PlayOptions, Ran, Site, play, play_with};
use lvs_sim::scenario::Scenario;

/// The director of a replay, as the desk sees it.
struct Replayed<'p>(Site<'p>);

impl Program for Replayed<'_> {
    fn director(&mut self) -> &mut Director {
        self.0.director
    }

    fn about(&self) -> About {
        About {
            version: String::new(),
            pid: 0,
            uptime_ms: self.0.now.as_millis(),
            interfaces: Vec::new(),
            daemons: Vec::new(),
            rules: None,
            connections_max: 0,
            templates_max: 0,
        }
    }

    fn change(&mut self, now: Instant, commands: Vec<Command>) -> Vec<Result<(), Refusal>> {
        let apply = |command| self.0.director.apply(now, command).map_err(Refusal::from);
        commands.into_iter().map(apply).collect()
    }

    fn amend(&mut self, _: Instant, _: &Amendment) -> Result<(), Refusal> {
        Err(Refusal::new("the scenario does this itself"))
    }

    fn commit(&mut self, _: Instant, _: &Replacement) -> Result<(), Refusal> {
        Err(Refusal::new("no scenario does this"))
    }

    fn start_daemon(&mut self, now: Instant, spec: &DaemonSpec) -> Result<(), Refusal> {
        let Site { director, daemons, .. } = &mut self.0;
        daemons.start(now, director, spec).map_err(Refusal::new)
    }

    fn stop_daemon(&mut self, now: Instant, role: DaemonRole) -> Result<(), Refusal> {
        let Site { director, daemons, .. } = &mut self.0;
        daemons.stop(now, director, role).map_err(Refusal::new)
    }

    fn daemons(&self, _: Instant) -> Vec<Daemon> {
        let running = self.0.daemons.running().into_iter();
        running.map(|(spec, mtu, ports)| Daemon::started(spec, mtu, ports.into())).collect()
    }

    fn rates(&self, key: &ServiceKey, server: Option<Endpoint>) -> Rates {
        self.0.rates.of(key, server)
    }

    fn total_rates(&self) -> Rates {
        self.0.rates.total()
    }

    fn interface(&self, _: PortId) -> Option<String> {
        Some("clients".to_owned())
    }
}

/// Types command lines at a socket.
struct AtSocket {
    desk: Desk,
    path: PathBuf,
}

impl AtSocket {
    fn open() -> AtSocket {
        let name = format!("lvs-conformance-{}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let waiting = std::thread::current();
        let desk =
            Desk::open(&path, move || waiting.unpark()).unwrap_or_else(|error| panic!("{error}"));
        AtSocket { desk, path }
    }

    fn type_in(path: &Path, words: &[&str]) -> Ran {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let status = Console {
            program: "ipvsadm",
            socket: path.to_owned(),
            // What the player knows.
            names: &Services::well_known(),
            hints: false,
            input: &mut empty(),
            output: &mut output,
            errors: &mut errors,
        }
        .run(words);
        let text = |bytes| String::from_utf8(bytes).expect("listings are text");
        Ran { status, output: text(output), errors: text(errors) }
    }
}

impl Operator for AtSocket {
    fn run(&mut self, site: Site<'_>, words: &[&str]) -> Ran {
        let (now, path, desk) = (site.now, &self.path, &mut self.desk);
        let mut ran = std::thread::scope(|scope| {
            let loop_thread = std::thread::current();
            let typed = scope.spawn(move || {
                let ran = AtSocket::type_in(path, words);
                loop_thread.unpark();
                ran
            });
            let mut program = Replayed(site);
            while !typed.is_finished() {
                if !desk.serve(now, &mut program) {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
            }
            typed.join().expect("the console does not panic")
        });
        if words == ["-Sn"] {
            // What ipvsadm-restore would leave out as well.
            let kept = ran.output.lines().filter(|line| !line.starts_with('#'));
            ran.output = kept.map(|line| format!("{line}\n")).collect();
        }
        ran
    }
}

fn main() -> ExitCode {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/scenarios");
    let mut operator = AtSocket::open();
    let (mut same, mut different) = (0, 0);
    for path in scenarios(&dir) {
        let name = path.strip_prefix(&dir).unwrap_or(&path).display().to_string();
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let scenario = Scenario::parse(&name, &text).unwrap_or_else(|error| panic!("{error}"));
        let options = PlayOptions::default();
        let replayed = play(&scenario, &options).unwrap_or_else(|error| panic!("{error}"));
        let typed = play_with(&scenario, &options, &mut operator);
        let typed = typed.unwrap_or_else(|error| panic!("{error}"));
        if replayed.as_str() == typed.as_str() {
            same += 1;
            continue;
        }
        different += 1;
        println!("{name} DIFFERS");
        let lines = replayed.as_str().lines().zip(typed.as_str().lines());
        for (replayed, typed) in lines.filter(|(replayed, typed)| replayed != typed).take(5) {
            println!("  replayed: {replayed}\n  typed:    {typed}");
        }
    }
    println!("{same} scenarios are the same through the socket, {different} differ");
    if different > 0 || same == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// All scenarios, those in folders included.
fn scenarios(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.unwrap_or_else(|error| panic!("{error}")).path();
        if path.is_dir() {
            found.extend(scenarios(&path));
        } else if path.extension().is_some_and(|extension| extension == "lvs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
