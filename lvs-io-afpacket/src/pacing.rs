//! When to sleep a little before looking: bursts under load, no delay without.
//!
//! The ring wakes a sleeper at each frame. That is right for a lone frame and wrong under load, where
//! the sleeper would be woken for one frame at a time and the cost of waking be paid for each. So once
//! frames come faster than [`BUSY_RATE`], `wait` naps for [`NAP`] before it looks, as a network card
//! that moderates its interrupts, and ends the nap's use as soon as they come slower than
//! [`CALM_RATE`].

use std::time::{Duration, Instant};

/// Frames a second above which bursts are let grow.
const BUSY_RATE: u64 = 80_000;
/// Frames a second below which each frame is looked at when it comes.
const CALM_RATE: u64 = 40_000;
/// How long a burst may grow. At [`CALM_RATE`] that is 6 frames, so that the nap is worth its delay.
pub(crate) const NAP: Duration = Duration::from_micros(150);
/// Over how long the rate is measured, at least.
const WINDOW: Duration = Duration::from_millis(1);

const _: () = assert!(CALM_RATE < BUSY_RATE, "between the two rates nothing changes");

/// The rate of the last frames, and what follows from it.
#[derive(Debug)]
pub(crate) struct Pacing {
    busy: bool,
    frames: u64,
    since: Instant,
}

impl Pacing {
    pub(crate) fn new(now: Instant) -> Pacing {
        Pacing { busy: false, frames: 0, since: now }
    }

    /// Counts frames received.
    pub(crate) fn count(&mut self, frames: usize) {
        self.frames += frames as u64;
    }

    /// Whether frames come so fast that a burst should be let grow.
    pub(crate) fn is_busy(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
            let rate = self.frames.saturating_mul(1_000_000) / micros;
            self.busy = rate >= if self.busy { CALM_RATE } else { BUSY_RATE };
            self.frames = 0;
            self.since = now;
        }
        self.busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `per_ms` frames a millisecond for 10 ms.
    fn feed(pacing: &mut Pacing, now: &mut Instant, per_ms: usize) -> bool {
        let mut busy = false;
        for _ in 0..10 {
            *now += WINDOW;
            pacing.count(per_ms);
            busy = pacing.is_busy(*now);
        }
        busy
    }

    #[test]
    fn a_lone_frame_never_waits_for_others() {
        let mut now = Instant::now();
        let mut pacing = Pacing::new(now);
        assert!(!feed(&mut pacing, &mut now, 1));
        assert!(!feed(&mut pacing, &mut now, 79));
    }

    #[test]
    fn bursts_grow_under_load_until_it_is_half_of_what_began_it() {
        let mut now = Instant::now();
        let mut pacing = Pacing::new(now);
        assert!(feed(&mut pacing, &mut now, 81));
        assert!(feed(&mut pacing, &mut now, 41));
        assert!(!feed(&mut pacing, &mut now, 39));
    }

    #[test]
    fn a_pause_ends_the_load() {
        let mut now = Instant::now();
        let mut pacing = Pacing::new(now);
        assert!(feed(&mut pacing, &mut now, 500));
        now += Duration::from_secs(1);
        assert!(!pacing.is_busy(now));
    }
}
