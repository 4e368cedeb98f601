//! Waiting: for frames, a deadline, a wake-up, and for interfaces to come back.

use std::time::{Duration, Instant};

use lvs_core::io::Readiness;
use lvs_io_linux::Found;

use crate::AfPacket;
use crate::error::Error;
use crate::link::Link;
use crate::pacing::NAP;

/// How often a port that does not work looks whether it can again.
const REVIVE_INTERVAL: Duration = Duration::from_millis(250);
/// Under load the descriptors are looked at this often, though the rings alone would do.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
/// How often `poll` may promise a frame that is not there before the queues are emptied. Between the two
/// is [`PHANTOM_PAUSE`], in which a frame that is being written is done.
const PHANTOMS_MAX: u32 = 50;
const PHANTOM_PAUSE: Duration = Duration::from_micros(50);

impl AfPacket {
    /// The body of [`wait`](lvs_core::io::FrameIo::wait).
    pub(crate) fn wait_for_frames(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<Readiness, Error> {
        let mut now = Instant::now();
        let deadline = timeout.and_then(|timeout| now.checked_add(timeout));
        let left = |now: Instant| deadline.map(|at| at.saturating_duration_since(now));
        if self.pacing.is_busy(now) && !self.has_full_burst() {
            let nap = left(now).map_or(NAP, |left| left.min(NAP));
            if !nap.is_zero() && self.poll(false, Some(nap))? == Found::Woken {
                return Ok(Readiness::Woken);
            }
            now = Instant::now();
        } else if now.saturating_duration_since(self.polled_at) >= POLL_INTERVAL
            && self.has_frames()
            && self.poll(false, Some(Duration::ZERO))? == Found::Woken
        {
            return Ok(Readiness::Woken);
        }
        loop {
            if self.revive_ports(now) {
                return Ok(Readiness::Woken);
            }
            if self.has_frames() {
                self.phantoms = 0;
                return Ok(Readiness::Frames);
            }
            let sleep = match (left(now), self.all_up()) {
                (left, true) => left,
                (left, false) => Some(left.map_or(REVIVE_INTERVAL, |l| l.min(REVIVE_INTERVAL))),
            };
            match self.poll(true, sleep)? {
                Found::Woken => return Ok(Readiness::Woken),
                Found::Frames => self.suspect_phantom(),
                Found::Nothing => {}
            }
            now = Instant::now();
            if left(now) == Some(Duration::ZERO) {
                let ready = self.has_frames();
                return Ok(if ready { Readiness::Frames } else { Readiness::Deadline });
            }
        }
    }

    fn has_frames(&self) -> bool {
        self.rings.iter().any(|ring| ring.is_ready(0))
    }

    fn has_full_burst(&self) -> bool {
        let last = usize::from(self.caps.burst_max) - 1;
        self.rings.iter().any(|ring| ring.is_ready(last))
    }

    fn all_up(&self) -> bool {
        self.links.iter().all(Link::is_up)
    }

    /// Sleeps until something happens to the wake descriptor or a port's socket, or, if `for_frames`,
    /// there is a frame.
    fn poll(&mut self, for_frames: bool, timeout: Option<Duration>) -> Result<Found, Error> {
        let AfPacket { sleeper, links, events, .. } = self;
        // The socket of an interface that is gone has nothing to tell.
        let fds = links.iter().map(|link| (!link.is_gone()).then(|| link.fd()));
        let found = sleeper.sleep(fds, for_frames, timeout);
        self.polled_at = Instant::now();
        let found = found.map_err(Error::Wait)?;
        let told = events.waiting();
        for (is_troubled, link) in sleeper.troubled().zip(links) {
            if is_troubled {
                link.note_trouble(events);
            }
        }
        Ok(if events.waiting() > told { Found::Woken } else { found })
    }

    /// Ports that do not work look whether they can again. Returns whether there is something to tell.
    fn revive_ports(&mut self, now: Instant) -> bool {
        if self.all_up() || now.saturating_duration_since(self.revived_at) < REVIVE_INTERVAL {
            return false;
        }
        self.revived_at = now;
        let told = self.events.waiting();
        for (link, ring) in self.links.iter_mut().zip(&mut self.rings) {
            if !link.is_up()
                && let Some(new) = link.revive(&mut self.events)
            {
                *ring = new;
            }
        }
        self.events.waiting() > told
    }

    /// `poll` says that there is a frame; if the rings say otherwise it is being written at this moment,
    /// or the queue of long frames holds one that has lost its slot, which would make us spin.
    fn suspect_phantom(&mut self) {
        if self.has_frames() {
            return;
        }
        self.phantoms += 1;
        if self.phantoms > PHANTOMS_MAX {
            self.phantoms = 0;
            for link in &self.links {
                link.drain();
            }
        } else if self.phantoms > 1 {
            std::thread::sleep(PHANTOM_PAUSE);
        }
    }
}
