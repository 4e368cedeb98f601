//! Waiting: for frames, a deadline, a wake-up, and for devices to come back.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use lvs_core::io::Readiness;
use lvs_io_linux::Found;

use crate::Tap;
use crate::error::Error;

/// How often it is looked whether devices are up and what their MTU is, and devices that were deleted are
/// made anew: nothing tells of a device that is set down.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

impl Tap {
    /// The body of [`wait`](lvs_core::io::FrameIo::wait).
    pub(crate) fn wait_for_frames(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<Readiness, Error> {
        let mut now = Instant::now();
        let deadline = timeout.and_then(|timeout| now.checked_add(timeout));
        let left = |now: Instant| deadline.map(|at| at.saturating_duration_since(now));
        loop {
            if self.look_at_ports(now) {
                return Ok(Readiness::Woken);
            }
            let sleep = left(now).map_or(LOOK_INTERVAL, |left| left.min(LOOK_INTERVAL));
            match self.poll(sleep)? {
                Found::Woken => return Ok(Readiness::Woken),
                Found::Frames => return Ok(Readiness::Frames),
                Found::Nothing => {}
            }
            now = Instant::now();
            if left(now) == Some(Duration::ZERO) {
                return Ok(Readiness::Deadline);
            }
        }
    }

    /// Sleeps until something happens to the wake descriptor or a queue.
    fn poll(&mut self, timeout: Duration) -> Result<Found, Error> {
        let Tap { sleeper, ports, events, .. } = self;
        // The queues of a device that is gone have nothing to tell.
        let fds = ports.iter().flat_map(|port| {
            port.queues.iter().map(|queue| (!port.is_gone()).then(|| queue.as_fd()))
        });
        let found = sleeper.sleep(fds, true, Some(timeout)).map_err(Error::Wait)?;
        let told = events.waiting();
        let mut troubled = sleeper.troubled();
        for port in ports {
            for _ in troubled.by_ref().take(port.queues.len()).filter(|is_troubled| *is_troubled) {
                port.look(events);
            }
        }
        Ok(if events.waiting() > told { Found::Woken } else { found })
    }

    /// Looks from time to time what became of the devices. Returns whether there is something to tell.
    fn look_at_ports(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.looked_at) < LOOK_INTERVAL {
            return false;
        }
        self.looked_at = now;
        let told = self.events.waiting();
        for port in &mut self.ports {
            port.look(&mut self.events);
            port.revive(&mut self.events);
        }
        self.events.waiting() > told
    }
}
