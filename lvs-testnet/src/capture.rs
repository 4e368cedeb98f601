//! Recording what is on an interface, in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::describe::describe;
use crate::host::Host;
use crate::packet::{PacketSocket, Seen};

/// How long the recorder waits for a frame before it looks whether it should end.
const STOP_INTERVAL: Duration = Duration::from_millis(20);

/// How long a recorder that is told to end goes on reading while there is always one more frame.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A recording of an interface, both directions.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    recorder: Option<JoinHandle<Vec<Seen>>>,
}

impl Capture {
    /// Records every frame from now on.
    ///
    /// # Panics
    /// If there is no such interface.
    #[track_caller]
    pub fn start(host: &Host, interface: &str) -> Capture {
        Capture::start_where(host, interface, |_| true)
    }

    /// Records the frames that `keep` accepts. For a long transfer, keep what the test asks about.
    ///
    /// # Panics
    /// If there is no such interface.
    #[track_caller]
    pub fn start_where(
        host: &Host,
        interface: &str,
        keep: impl Fn(&Seen) -> bool + Send + 'static,
    ) -> Capture {
        let mut socket = PacketSocket::open(host, interface);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let recorder = thread::spawn(move || {
            let mut frames = Vec::new();
            let mut until = None;
            while until.is_none_or(|until| Instant::now() < until) {
                // The flag is read before the wait: once it is set, what was on the interface until
                // then is in the socket already, and a quiet interval means that all of it was read.
                let last = stopped.load(Ordering::SeqCst);
                if last && until.is_none() {
                    until = Some(Instant::now() + DRAIN_TIMEOUT);
                }
                match socket.receive(STOP_INTERVAL) {
                    Some(seen) if keep(&seen) => frames.push(seen),
                    Some(_) => {}
                    None if last => break,
                    None => {}
                }
            }
            frames
        });
        Capture { stop, recorder: Some(recorder) }
    }

    /// Ends the recording and returns its frames in order.
    ///
    /// # Panics
    /// If the recorder panicked.
    #[track_caller]
    pub fn stop(mut self) -> Vec<Seen> {
        self.stop.store(true, Ordering::SeqCst);
        let recorder = self.recorder.take().expect("the recorder is only taken here");
        recorder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Ends the recording and returns each frame as a line of text, see [`describe`], behind `<` for
    /// frames that came in and `>` for those that the host sent.
    ///
    /// # Panics
    /// If the recorder panicked.
    #[track_caller]
    pub fn stop_and_describe(self) -> Vec<String> {
        let line = |seen: &Seen| {
            format!("{} {}", if seen.outgoing { '>' } else { '<' }, describe(&seen.bytes))
        };
        self.stop().iter().map(line).collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(recorder) = self.recorder.take() {
            let _ = recorder.join();
        }
    }
}
