//! `lvsadm trace`: decisions shown as they are made, without getting in the way.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lvs_testnet::{HttpServer, Net, PacketSocket, Process, Signal, http};

use crate::director::{
    Director, Done, LVSADM, PATIENCE, SocketPath, load, page, rules, servers4, wait_for, wait_until,
};
use crate::numbers::Stats;
use crate::why::{martian, syn};

/// Traces that a director takes at a time.
const TRACES_MAX: usize = 8;

fn target(net: &Net) -> SocketAddr {
    SocketAddr::new(net.vip4(0), 80)
}

/// A port that is traced too, to see that a trace has begun.
fn knock(net: &Net) -> SocketAddr {
    SocketAddr::new(net.vip4(0), 81)
}

/// Web servers behind port 80, and nobody at all on port 81.
struct Traced {
    net: Net,
    _servers: Vec<HttpServer>,
    socket: SocketPath,
    director: Director,
}

impl Traced {
    fn new(servers: usize) -> Traced {
        let net = Net::one_armed(servers);
        let _servers = net.servers().iter().map(|host| HttpServer::start(host, 80)).collect();
        let socket = SocketPath::new();
        let text = rules(&format!("-t {} -s rr", target(&net)), servers4(&net));
        let director = Director::start_with(&net, &text, &["--control", socket.path()]);
        Traced { net, _servers, socket, director }
    }

    /// A trace that has begun: it has shown a packet of what is knocked at.
    #[track_caller]
    fn begin(&self, filter: &str) -> Process {
        let trace = self.socket.start(&self.net, &format!("trace {filter}"));
        self.wait_until_begun(&trace);
        trace
    }

    #[track_caller]
    fn wait_until_begun(&self, trace: &Process) {
        wait_until("the trace has begun", || {
            self.knock();
            trace.stdout().contains(&format!(" to {} => ", knock(&self.net)))
        });
    }

    fn knock(&self) {
        let refused = self.net.client().enter(|| http::connect(knock(&self.net), None));
        assert!(refused.is_err(), "nobody is there");
    }

    /// Does something while packets come that may be told.
    fn while_knocking<T>(&self, body: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    self.knock();
                }
            });
            let _done = Done(&done);
            body()
        })
    }

    /// Ends a trace as an operator does.
    fn interrupt(trace: Process) -> String {
        trace.signal(Signal::INT);
        trace.finish(PATIENCE).stdout
    }
}

/// What a trace prints next.
fn read_some(story: &mut impl Read) -> String {
    let mut buffer = vec![0; 1 << 16];
    let read = story.read(&mut buffer).expect("a pipe can be read");
    assert_ne!(read, 0, "the trace has ended");
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

/// The first line of each decision that was printed.
fn decisions(story: &str) -> Vec<&str> {
    story.lines().filter(|line| line.contains(" => ")).collect()
}

/// Packets that were too fast to be told of.
fn missed(story: &str) -> u64 {
    let lines = story.lines().filter(|line| line.ends_with(" more came too fast"));
    lines.filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).sum()
}

/// Packets told of, by where they went.
fn by_outcome(story: &str) -> BTreeMap<String, u64> {
    let mut outcomes = BTreeMap::new();
    for line in decisions(story) {
        let (_, outcome) = line.split_once(" => ").expect("it was looked for");
        let server = outcome.split(',').next().unwrap_or_default();
        *outcomes.entry(server.to_owned()).or_default() += 1;
    }
    outcomes
}

#[test]
fn a_trace_tells_of_every_packet_the_server_whose_counters_show_it() {
    let traced = Traced::new(3);
    let net = &traced.net;
    let trace = traced.begin(&format!("tcp --vip {}", net.vip4(0)));
    let only_first = format!("trace --server {}:80", net.server4(0));
    let only_first = traced.socket.start(net, &only_first);
    for _ in 0..9 {
        page(net, target(net));
    }
    let service = format!("TCP {}", target(net));
    let told = || {
        let story = trace.stdout();
        let served = format!(" to {} => ", target(net));
        let lines = story.lines().filter(|line| line.contains(&served));
        let told = by_outcome(&lines.map(|line| format!("{line}\n")).collect::<String>());
        (told, missed(&story))
    };
    // What is not told is at least counted.
    let stats = wait_for("all packets are told", || {
        let (stats, (told, missed)) = (Stats::of(&traced.socket), told());
        (told.values().sum::<u64>() + missed == stats.service(&service)[1]).then_some(stats)
    });
    let ((told, missed), story) = (told(), trace.stdout());
    for i in 0..3 {
        let server = SocketAddr::new(net.server4(i), 80);
        let [connections, packets, ..] = stats.server(&service, server.ip());
        assert_eq!(connections, 3);
        let of_server = told.get(&format!("to {server}")).copied().unwrap_or(0);
        assert!(
            (packets.saturating_sub(missed)..=packets).contains(&of_server),
            "{server}: {packets}\n{story}"
        );
        let opened = format!("    a connection to {server} is opened\n");
        let opened = story.matches(&opened).count() as u64;
        assert!((connections.saturating_sub(missed)..=connections).contains(&opened), "{story}");
    }
    let knocked = decisions(&story).into_iter().filter(|line| !line.contains(" => to "));
    let of_host = format!(" to {} => left to the director's host (no-service)", knock(net));
    assert!(knocked.into_iter().all(|line| line.ends_with(&of_host)), "{story}");
    // Who asked for one server was told of one.
    let first = by_outcome(&Traced::interrupt(only_first));
    let name = format!("to {}:80", net.server4(0));
    assert!(first.keys().all(|outcome| *outcome == name), "{first:?}");
    Traced::interrupt(trace);
}

#[test]
fn a_trace_of_so_many_packets_ends_by_itself_under_load() {
    let traced = Traced::new(2);
    let net = &traced.net;
    net.add_client_address(1);
    let done = AtomicBool::new(false);
    let filters = [
        (String::new(), 10),
        (format!("tcp --vip {}", target(net)), 100),
        (format!("--client {}", net.client4(1)), 25),
        (format!("tcp --client {} --server {}:80", net.client4(0), net.server4(1)), 40),
    ];
    let stories: Vec<String> = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                load(net, 500, target(net), None);
                load(net, 500, target(net), Some(net.client4(1)));
            }
        });
        let _done = Done(&done);
        let told = filters.iter().map(|(filter, packets)| {
            let trace = traced.socket.start(net, &format!("trace {filter} -c {packets}"));
            let output = trace.finish(PATIENCE).expect_success();
            assert_eq!(output.stderr, "");
            output.stdout
        });
        told.collect()
    });
    for ((filter, packets), story) in filters.iter().zip(&stories) {
        assert_eq!(decisions(story).len(), *packets, "trace {filter}:\n{story}");
    }
    let of_client = format!(" eth0 TCP {}:", net.client4(1));
    assert!(decisions(&stories[2]).iter().all(|line| line.contains(&of_client)), "{}", stories[2]);
    let to_server = format!(" => to {}:80", net.server4(1));
    assert!(decisions(&stories[3]).iter().all(|line| line.contains(&to_server)), "{}", stories[3]);
    // Whom the traces named, the counters show.
    let stats = Stats::of(&traced.socket);
    for outcome in stories[1..].iter().flat_map(|story| by_outcome(story).into_keys()) {
        let server: SocketAddr = outcome.strip_prefix("to ").unwrap().parse().unwrap();
        assert!(stats.server(&format!("TCP {}", target(net)), server.ip())[0] > 0);
    }
}

#[test]
fn a_trace_of_drops_tells_nothing_else() {
    let traced = Traced::new(1);
    let net = &traced.net;
    let trace = traced.socket.start(net, "trace --drops");
    let wire = PacketSocket::open(net.client(), "eth0");
    let nonsense = syn(net, martian(50_000), target(net));
    wait_until("nonsense is told", || {
        page(net, target(net));
        wire.send(&nonsense);
        !decisions(&trace.stdout()).is_empty()
    });
    let story = Traced::interrupt(trace);
    let reasons = decisions(&story).into_iter().filter_map(|line| line.split_once(" eth0 "));
    let reasons: Vec<&str> = reasons.map(|(_, what)| what).collect();
    let wanted = "a frame that makes no sense => dropped (martian-address)";
    assert!(!reasons.is_empty() && reasons.iter().all(|what| *what == wanted), "{story}");
}

#[test]
fn an_interrupted_trace_leaves_the_director_as_before_and_its_place_to_others() {
    let traced = Traced::new(2);
    let net = &traced.net;
    for _ in 0..2 {
        let traces: Vec<Process> =
            (0..TRACES_MAX).map(|_| traced.socket.start(net, "trace tcp")).collect();
        traces.iter().for_each(|trace| traced.wait_until_begun(trace));
        let one_more = traced.socket.lvsadm("trace");
        assert_eq!(one_more.status, Some(255));
        assert_eq!(one_more.stderr, format!("{TRACES_MAX} traces run already; end one\n"));
        for trace in traces {
            Traced::interrupt(trace);
        }
        // A director notices who has gone when it next has something to tell.
        wait_until("there is room again", || {
            traced.knock();
            let trace = traced.socket.start(net, "trace -c 1");
            wait_until("it ends", || {
                traced.knock();
                let (told, refused) = (trace.stdout(), trace.stderr());
                told.contains(" => ") || refused.contains("traces run already")
            });
            trace.finish(PATIENCE).status.success()
        });
    }
    let before = Stats::of(&traced.socket).service(&format!("TCP {}", target(net)))[0];
    load(net, 500, target(net), None);
    let after = Stats::of(&traced.socket).service(&format!("TCP {}", target(net)))[0];
    assert!(after - before >= 500);
    let stopped = traced.director.stop().output;
    assert!(!stopped.stdout.contains("dropped:"), "{}", stopped.stdout);
    assert!(!stopped.stderr.contains("WARN"), "{}", stopped.stderr);
}

#[test]
fn a_trace_whose_reader_has_stopped_reading_stops_no_traffic() {
    let traced = Traced::new(2);
    let net = &traced.net;
    let mut trace = Command::new(LVSADM)
        .args(["--socket", traced.socket.path(), "trace"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut story = trace.stdout.take().unwrap();
    // It has begun once there is something to read; more is not read.
    let mut text = traced.while_knocking(|| read_some(&mut story));
    // Far more than pipe, socket and channel take.
    load(net, 10_000, target(net), None);
    // Others are told meanwhile.
    let other = traced.begin("tcp");
    assert!(Traced::interrupt(other).contains(" => "));
    // Who reads on is told how much was missed.
    traced.while_knocking(|| {
        while !text.contains(" more came too fast\n") {
            text += &read_some(&mut story);
        }
    });
    // The test's own child, by its handle.
    trace.kill().unwrap();
    trace.wait().unwrap();
    let stopped = traced.director.stop().output;
    assert!(!stopped.stdout.contains("dropped:"), "{}", stopped.stdout);
}
