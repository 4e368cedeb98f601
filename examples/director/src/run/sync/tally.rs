//! What the threads of daemons count, and what is in their way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Counters that a daemon's thread writes and the loop reads. They outlive the thread.
#[derive(Debug)]
pub(super) struct Tally {
    began: Instant,
    messages: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    too_long: AtomicU64,
    /// Milliseconds from the beginning to the last message, and 1; 0 before the first.
    last: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally {
            began: Instant::now(),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            too_long: AtomicU64::new(0),
            last: AtomicU64::new(0),
            trouble: Mutex::new(None),
        }
    }

    /// A message was sent, or came.
    pub(super) fn count(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last.store(self.elapsed_ms() + 1, Ordering::Relaxed);
    }

    /// A message was not sent, or found no room.
    pub(super) fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// A message was longer than it may be.
    pub(super) fn refuse_length(&self) {
        self.too_long.fetch_add(1, Ordering::Relaxed);
    }

    /// Something is in the way. Whether that is news.
    pub(super) fn hinder(&self, trouble: &str) -> bool {
        let mut known = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let news = known.as_deref() != Some(trouble);
        if news {
            *known = Some(trouble.to_owned());
        }
        news
    }

    /// Nothing is in the way. What was, if anything.
    pub(super) fn relieve(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    pub(super) fn too_long(&self) -> u64 {
        self.too_long.load(Ordering::Relaxed)
    }

    /// Milliseconds since the last message.
    pub(super) fn last_ago_ms(&self) -> Option<u64> {
        let last = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.elapsed_ms().saturating_sub(last))
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
