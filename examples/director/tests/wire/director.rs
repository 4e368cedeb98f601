//! A director under test: the binary running on the director's host of a network.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lvs_testnet::{Ab, AbReport, Host, Net, Output, Process, Signal, http};

/// The binary under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_lvs-director");

/// The program that speaks to it.
pub(crate) const LVSADM: &str = env!("CARGO_BIN_EXE_lvsadm");

/// How long anything may take on a machine that is slow and busy. Only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The last line that a director logs when it starts.
const STARTED: &str = "forwarding on ";

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until `find` finds something.
///
/// # Panics
/// If it does not.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Says that it is done when it goes, also if a test fails meanwhile.
pub(crate) struct Done<'a>(pub(crate) &'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A rules file that goes when it is no longer needed.
pub(crate) struct RulesFile {
    path: PathBuf,
}

impl RulesFile {
    pub(crate) fn new(text: &str) -> RulesFile {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}.rules", std::process::id());
        let file = RulesFile { path: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name) };
        file.write(text);
        file
    }

    pub(crate) fn write(&self, text: &str) {
        std::fs::write(&self.path, text)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", self.path.display()));
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().expect("the target folder's name is UTF-8")
    }
}

impl Drop for RulesFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A path for a control socket, of which the file goes when it is no longer needed.
pub(crate) struct SocketPath(PathBuf);

impl SocketPath {
    pub(crate) fn new() -> SocketPath {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // The target folder's name may be too long for a socket.
        let name = format!("lvs-wire-{}-{number}.sock", std::process::id());
        SocketPath(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("the folder's name is UTF-8")
    }

    /// `lvsadm` with the words of `line`, which reads `input`.
    #[track_caller]
    pub(crate) fn lvsadm_reading(&self, line: &str, input: &str) -> Admin {
        let mut child = std::process::Command::new(LVSADM)
            .args(["--socket", self.path()])
            .args(line.split_whitespace())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{LVSADM}: {error}"));
        let mut stdin = child.stdin.take().expect("it is piped");
        // Whoever does not read its input closes it.
        let _ = io::Write::write_all(&mut stdin, input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().unwrap_or_else(|error| panic!("lvsadm: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Admin {
            status: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// `lvsadm` with the words of `line`.
    #[track_caller]
    pub(crate) fn lvsadm(&self, line: &str) -> Admin {
        self.lvsadm_reading(line, "")
    }

    /// The same; it succeeds and has nothing to complain about. Returns what it printed.
    #[track_caller]
    pub(crate) fn done(&self, line: &str) -> String {
        let admin = self.lvsadm(line);
        assert_eq!((admin.status, admin.stderr.as_str()), (Some(0), ""), "lvsadm {line}");
        admin.stdout
    }

    /// `lvsadm` with the words of `line`, for commands that go on until they have seen enough.
    #[track_caller]
    pub(crate) fn start(&self, net: &Net, line: &str) -> Process {
        let words = [LVSADM, "--socket", self.path()].into_iter();
        net.director().start(&words.chain(line.split_whitespace()).collect::<Vec<_>>())
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What came of a command line of `lvsadm`.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running director. It is killed when dropped; of a test that fails it prints its log.
pub(crate) struct Director {
    process: Option<Process>,
    rules: RulesFile,
}

impl Director {
    /// Starts a director on the director's host of `net`, on all its arms, and waits until it forwards.
    #[track_caller]
    pub(crate) fn start(net: &Net, rules: &str) -> Director {
        Director::start_with(net, rules, &[])
    }

    /// The same with more options.
    #[track_caller]
    pub(crate) fn start_with(net: &Net, rules: &str, options: &[&str]) -> Director {
        let two_armed = net.director().ip("-o link show").contains(": eth1");
        let arms = ["--interface", "eth0", "--interface", "eth1"];
        let arms = if two_armed { &arms[..] } else { &arms[..2] };
        Director::start_on(net.director(), rules, &[arms, options].concat())
    }

    /// Starts a director on any host; `options` name the interfaces.
    #[track_caller]
    pub(crate) fn start_on(host: &Host, rules: &str, options: &[&str]) -> Director {
        let rules = RulesFile::new(rules);
        let command = [&[PROGRAM, "run", "--rules", rules.path()], options].concat();
        let process = host.start(&command);
        process.wait_for(STARTED, PATIENCE);
        Director { process: Some(process), rules }
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it is only taken by what consumes the director")
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> String {
        self.process().stderr()
    }

    /// Waits for a whole line with one of `wanted` in what is logged from byte `start` on, and returns
    /// that part of the log.
    #[track_caller]
    pub(crate) fn wait_for_log_from(&self, start: usize, wanted: &[&str]) -> String {
        wait_for(&format!("one of {wanted:?} in the log"), || {
            let log = self.log().split_off(start);
            let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
            wanted.iter().any(|wanted| whole.contains(wanted)).then_some(log)
        })
    }

    /// Sends a signal.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// Puts other rules in the file, has them applied, and returns what was logged about it.
    #[track_caller]
    pub(crate) fn reload(&self, rules: &str) -> String {
        self.rules.write(rules);
        let start = self.log().len();
        self.signal(Signal::HUP);
        self.wait_for_log_from(start, &[" applied: ", "going on with the old rules"])
    }

    /// Has the listings printed and waits for them.
    #[track_caller]
    pub(crate) fn listing(&self) -> Listing {
        let start = self.process().stdout().len();
        self.signal(Signal::USR1);
        wait_for("the end of the listing", || {
            let text = self.process().stdout().split_off(start);
            let end = text.find("Connections and templates listed: ")?;
            text[end..].contains('\n').then_some(Listing { text })
        })
    }

    /// Stops it as an operator does, and returns what it printed at the end.
    #[track_caller]
    pub(crate) fn stop(self) -> Stopped {
        self.stop_by(Signal::TERM)
    }

    /// The same by another signal.
    #[track_caller]
    pub(crate) fn stop_by(mut self, signal: Signal) -> Stopped {
        self.signal(signal);
        let process = self.process.take().expect("nobody has taken it yet");
        let output = process.finish(PATIENCE).expect_success();
        Stopped { totals: Totals::last_in(&output.stdout), output }
    }

    /// Kills it and waits for its end.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        let process = self.process.take().expect("nobody has taken it yet");
        assert_eq!(process.finish(PATIENCE).status.code(), None);
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        if let Some(process) = self.process.as_ref().filter(|_| thread::panicking()) {
            eprintln!("the director's log:\n{}", process.stderr());
        }
    }
}

/// What a director printed in the end.
pub(crate) struct Stopped {
    pub(crate) totals: Totals,
    pub(crate) output: Output,
}

/// What the director did with client packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Totals {
    pub(crate) connections: u64,
    pub(crate) packets_in: u64,
    pub(crate) bytes_in: u64,
}

impl Totals {
    #[track_caller]
    fn last_in(text: &str) -> Totals {
        let line = text.lines().rfind(|line| line.starts_with("Totals: "));
        let line = line.unwrap_or_else(|| panic!("no totals in:\n{text}"));
        let numbers: Vec<u64> =
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [connections, packets_in, bytes_in, ..] = numbers[..] else {
            panic!("not the totals expected: {line}")
        };
        Totals { connections, packets_in, bytes_in }
    }
}

/// What a director prints on SIGUSR1.
pub(crate) struct Listing {
    pub(crate) text: String,
}

/// A real server's line in the listing of services.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Server {
    pub(crate) weight: u64,
    pub(crate) active: u64,
    pub(crate) inactive: u64,
}

impl Listing {
    pub(crate) fn totals(&self) -> Totals {
        Totals::last_in(&self.text)
    }

    /// The first line about a real server: weight, active and inactive connections.
    #[track_caller]
    pub(crate) fn server(&self, server: SocketAddr) -> Server {
        let line = self.text.lines().find(|line| line.starts_with(&format!("  -> {server} ")));
        let words = line.map(|line| line.split_whitespace().skip(3));
        let numbers: Vec<u64> =
            words.into_iter().flatten().filter_map(|word| word.parse().ok()).collect();
        let [weight, active, inactive] = numbers[..] else {
            panic!("no real server {server} in:\n{}", self.text)
        };
        Server { weight, active, inactive }
    }

    /// The connections and templates, a line each.
    pub(crate) fn connections(&self) -> Vec<&str> {
        let lines = self.text.lines().skip_while(|line| !line.starts_with("pro expire"));
        lines.skip(1).take_while(|line| !line.starts_with("Connections and")).collect()
    }

    /// The templates: they have no client port.
    pub(crate) fn templates(&self) -> Vec<&str> {
        let of_any_port = |line: &&str| {
            line.split_whitespace().nth(3).is_some_and(|client| client.ends_with(":0"))
        };
        self.connections().into_iter().filter(of_any_port).collect()
    }
}

/// The lines of a service with equal real servers behind it. `service` is what follows `-A`, such as
/// `-t 10.77.0.200:80 -s wlc -p`. ipvsadm wants a port behind every IPv6 address, and for a mark service
/// in IPv6 the option -6 on every line.
pub(crate) fn rules(service: &str, servers: impl IntoIterator<Item = IpAddr>) -> String {
    let mut words = service.split_whitespace();
    let (Some(kind), Some(virt)) = (words.next(), words.next()) else {
        panic!("{service:?} names no service")
    };
    let (mark, port) = match virt.rsplit_once(':') {
        Some((_, port)) => ("", port),
        None => (" -6", "0"),
    };
    let mut text = format!("-A {service}\n");
    for addr in servers {
        let _ = match addr {
            IpAddr::V4(addr) => writeln!(text, "-a {kind} {virt} -r {addr} -g"),
            IpAddr::V6(addr) => writeln!(text, "-a {kind} {virt}{mark} -r [{addr}]:{port} -g"),
        };
    }
    text
}

/// The IPv4 addresses of all real servers.
pub(crate) fn servers4(net: &Net) -> impl Iterator<Item = IpAddr> {
    (0..net.servers().len()).map(|i| net.server4(i))
}

/// The IPv6 addresses of all real servers.
pub(crate) fn servers6(net: &Net) -> impl Iterator<Item = IpAddr> {
    (0..net.servers().len()).map(|i| net.server6(i))
}

/// The name of the real server that answers a page, asked for from `source`.
#[track_caller]
pub(crate) fn page_from(net: &Net, target: SocketAddr, source: Option<IpAddr>) -> String {
    let page = net.client().enter(|| http::fetch_from(target, "/", source));
    let page = page.unwrap_or_else(|error| panic!("no page from {target}: {error}"));
    assert_eq!(page.status, 200, "{}", page.body);
    page.body.trim_end().to_owned()
}

/// The name of the real server that answers a page.
#[track_caller]
pub(crate) fn page(net: &Net, target: SocketAddr) -> String {
    page_from(net, target, None)
}

/// A connection that is held open, to a [`lvs_testnet::TcpEcho`].
pub(crate) struct Held {
    /// The name of the real server that took it.
    pub(crate) server: String,
    reader: BufReader<TcpStream>,
}

impl Held {
    /// Opens a connection from the client and waits for the greeting: then the director has seen the
    /// handshake to its end.
    #[track_caller]
    pub(crate) fn open(net: &Net, target: SocketAddr, source: Option<IpAddr>) -> Held {
        let opened = net.client().enter(|| Held::greeted(http::connect(target, source)?));
        opened.unwrap_or_else(|error| panic!("no connection to {target}: {error}"))
    }

    /// The same from an address and a port of the client's.
    #[track_caller]
    pub(crate) fn open_from(net: &Net, target: SocketAddr, source: SocketAddr) -> Held {
        let connect = || http::connect_from(target, Some(source));
        let opened = net.client().enter(|| Held::greeted(connect()?));
        opened.unwrap_or_else(|error| panic!("no connection {source} to {target}: {error}"))
    }

    fn greeted(stream: TcpStream) -> io::Result<Held> {
        let mut reader = BufReader::new(stream);
        let mut server = String::new();
        reader.read_line(&mut server)?;
        Ok(Held { server: server.trim_end().to_owned(), reader })
    }

    /// Sends something, and waits for nothing.
    #[track_caller]
    pub(crate) fn send(&mut self, text: &str) {
        let sent = io::Write::write_all(self.reader.get_mut(), text.as_bytes());
        sent.unwrap_or_else(|error| panic!("the connection to {} broke: {error}", self.server));
    }

    /// Sends a line and waits until it comes back.
    #[track_caller]
    pub(crate) fn echo(&mut self, text: &str) {
        self.send(text);
        let mut back = vec![0; text.len()];
        let done = self.reader.read_exact(&mut back);
        done.unwrap_or_else(|error| panic!("the connection to {} broke: {error}", self.server));
        assert_eq!(String::from_utf8_lossy(&back), text);
    }
}

/// ApacheBench from the client; every request is answered and none fails.
#[track_caller]
pub(crate) fn load(
    net: &Net,
    requests: u32,
    target: SocketAddr,
    source: Option<IpAddr>,
) -> AbReport {
    let mut ab = Ab::new(requests, 50, &format!("http://{target}/"));
    if let Some(source) = source {
        ab = ab.from(source);
    }
    let report = ab.run(net.client());
    assert_eq!(
        (report.complete, report.failed, report.non_2xx),
        (requests, 0, 0),
        "{}",
        report.text
    );
    report
}

/// Connects until the client is told that the host is unreachable. On a machine so busy that it loses
/// its patience before, it tries again.
#[track_caller]
pub(crate) fn wait_until_unreachable(net: &Net, target: SocketAddr) {
    wait_until(&format!("{target} is unreachable"), || {
        let tried = net.client().enter(|| http::connect(target, None));
        tried.is_err_and(|error| error.kind() == io::ErrorKind::HostUnreachable)
    });
}
