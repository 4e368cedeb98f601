//! Programs that run on a host.

use std::fmt::Write as _;
use std::io::Read;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a running program is looked at for its end.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// What a program printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command, with the host's name.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// The output itself, of a command that must not fail.
    ///
    /// # Panics
    /// If the command failed; the message has all it printed.
    #[track_caller]
    pub fn expect_success(self) -> Output {
        assert!(
            self.status.success(),
            "{} failed, {}\n{}{}",
            self.command,
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// A program running on a host; killed when dropped.
#[derive(Debug)]
pub struct Process {
    command: String,
    child: Child,
    printed: Arc<Printed>,
}

impl Process {
    pub(crate) fn new(command: String, mut child: Child) -> Process {
        let printed = Arc::new(Printed::default());
        printed.follow(child.stdout.take(), Stream::Out);
        printed.follow(child.stderr.take(), Stream::Error);
        Process { command, child, printed }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed to its standard output so far.
    pub fn stdout(&self) -> String {
        text(&self.printed.lock().out)
    }

    /// What it has printed to its standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.printed.lock().error)
    }

    /// Waits until the program has printed `wanted`, on either stream.
    ///
    /// # Panics
    /// If it has not within `timeout`, or ends without; the message has all it printed.
    #[track_caller]
    pub fn wait_for(&self, wanted: &str, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut seen = self.printed.lock();
        while !(text(&seen.out).contains(wanted) || text(&seen.error).contains(wanted)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || seen.open == 0 {
                let why = if seen.open == 0 { "ended" } else { "is silent" };
                let printed = seen.show();
                drop(seen);
                panic!("{} {why}; waited for {wanted:?}; it printed:\n{printed}", self.command);
            }
            let waited = self.printed.changed.wait_timeout(seen, left);
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If the program has ended.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal)
            .unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.command));
    }

    /// Whether the program still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the end of the program.
    ///
    /// # Panics
    /// If it is still running after `timeout`; it is killed then.
    #[track_caller]
    pub fn finish(mut self, timeout: Duration) -> Output {
        let deadline = Instant::now() + timeout;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => thread::sleep(POLL_INTERVAL),
                Ok(None) => panic!(
                    "{} still runs after {timeout:?}; it printed:\n{}",
                    self.command,
                    self.printed.lock().show()
                ),
                Err(error) => panic!("cannot wait for {}: {error}", self.command),
            }
        };
        let seen = self.printed.wait_for_end(deadline);
        let (stdout, stderr) = (text(&seen.out), text(&seen.error));
        drop(seen);
        Output { command: self.command.clone(), status, stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the program has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program has printed so far.
#[derive(Debug, Default)]
struct Printed {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Seen {
    out: Vec<u8>,
    error: Vec<u8>,
    /// Streams that have not ended.
    open: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stream {
    Out,
    Error,
}

impl Printed {
    /// Reads a stream to its end on a thread of its own.
    fn follow(self: &Arc<Self>, stream: Option<impl Read + Send + 'static>, which: Stream) {
        let Some(mut stream) = stream else { return };
        self.lock().open += 1;
        let printed = Arc::clone(self);
        thread::spawn(move || {
            let mut buffer = [0u8; 4096];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                let mut seen = printed.lock();
                match which {
                    Stream::Out => seen.out.extend_from_slice(&buffer[..n]),
                    Stream::Error => seen.error.extend_from_slice(&buffer[..n]),
                }
                drop(seen);
                printed.changed.notify_all();
            }
            printed.lock().open -= 1;
            printed.changed.notify_all();
        });
    }

    /// Waits until both streams have ended. A grandchild may keep them open: then what is there counts.
    fn wait_for_end(&self, deadline: Instant) -> MutexGuard<'_, Seen> {
        let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(2));
        let waited = self.changed.wait_timeout_while(self.lock(), left, |seen| seen.open > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn show(&self) -> String {
        let mut shown = text(&self.out);
        let _ = write!(shown, "{}", text(&self.error));
        shown
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
