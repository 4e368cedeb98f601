//! Asking the desk from another thread of the same program.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{Answer, Answers, Job, Order};
use crate::protocol::Reply;

/// Orders that may wait for the loop.
const JOBS_MAX: usize = 64;
/// Parts of an answer that may wait for a reader.
const ANSWERS_MAX: usize = 16;

/// Takes orders to the loop that owns the director, from any thread.
#[derive(Clone)]
pub struct Asker {
    jobs: Sender<Job>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").finish_non_exhaustive()
    }
}

/// The director is stopping: nobody answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the director is stopping")]
pub struct Stopping;

impl Asker {
    /// An asker and what the desk takes its orders from. `wake` must make the loop look.
    pub(super) fn new(wake: Arc<dyn Fn() + Send + Sync>) -> (Asker, Receiver<Job>) {
        let (jobs, waiting) = bounded(JOBS_MAX);
        (Asker { jobs, wake }, waiting)
    }

    /// Gives an order; waits only where many others have.
    ///
    /// # Errors
    /// If nobody answers any more.
    pub fn ask(&self, order: Order) -> Result<Replies, Stopping> {
        let (sender, parts) = bounded(ANSWERS_MAX);
        let answers = Answers::new(sender);
        let waiting = Arc::clone(&answers.waiting);
        self.jobs.send(Job { order, answers }).map_err(|_| Stopping)?;
        (self.wake)();
        Ok(Replies { parts, waiting, wake: Arc::clone(&self.wake) })
    }
}

/// The parts of an answer as they come.
pub struct Replies {
    parts: Receiver<Answer>,
    waiting: Arc<AtomicBool>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

impl Replies {
    /// The next part; `None` if none came within `wait`. The last one says so itself.
    ///
    /// # Errors
    /// If nobody answers any more.
    pub fn next_within(&self, wait: Duration) -> Result<Option<Reply>, Stopping> {
        let answer = match self.parts.recv_timeout(wait) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => return Err(Stopping),
        };
        if self.waiting.swap(false, Ordering::SeqCst) {
            (self.wake)();
        }
        Ok(Some(answer.into_reply()))
    }

    /// Whether the next part has yet to come.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}
