//! Waiting: for frames, a deadline, a wake-up, and for devices to come back.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use lvs_core::io::Readiness;

use crate::Tap;
use crate::error::Error;
use crate::port::State;
use crate::sys;

/// How often it is looked whether devices are up and what their MTU is, and devices that were deleted are
/// made anew: nothing tells of a device that is set down.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Bytes read from the wake descriptor at once.
const WAKE_READ_LEN: usize = 512;

/// What a `poll` found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Nothing,
    Frames,
    Woken,
}

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
        let of = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        self.polled.clear();
        // A negative descriptor is skipped. The queues of a device that is gone have nothing to tell.
        self.polled.push(of(self.wake.as_ref().map_or(-1, AsRawFd::as_raw_fd)));
        for port in &self.ports {
            let is_gone = port.state == State::Gone;
            let fds = port.queues.iter().map(|queue| if is_gone { -1 } else { queue.as_raw_fd() });
            self.polled.extend(fds.map(of));
        }
        match sys::poll(&mut self.polled, timeout) {
            Ok(0) => return Ok(Found::Nothing),
            Ok(_) => {}
            // A signal: whoever handles it wants to be woken.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Found::Woken),
            Err(error) => return Err(Error::Wait(error)),
        }
        let told = self.events.queue.len();
        let mut found = Found::Nothing;
        let mut polled = self.polled[1..].iter();
        for port in &mut self.ports {
            for polled in polled.by_ref().take(port.queues.len()) {
                if polled.revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0 {
                    port.look(&mut self.events);
                } else if polled.revents & libc::POLLIN != 0 {
                    found = Found::Frames;
                }
            }
        }
        if self.polled[0].revents != 0 {
            self.read_wake_fd();
            found = Found::Woken;
        }
        Ok(if self.events.queue.len() > told { Found::Woken } else { found })
    }

    /// Empties the wake descriptor, and forgets it when its far end is closed.
    fn read_wake_fd(&mut self) {
        let Some(wake) = &self.wake else { return };
        match rustix::io::read(wake, &mut [0; WAKE_READ_LEN]) {
            Ok(1..) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Ok(0) | Err(_) => self.wake = None,
        }
    }

    /// Looks from time to time what became of the devices. Returns whether there is something to tell.
    fn look_at_ports(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.looked_at) < LOOK_INTERVAL {
            return false;
        }
        self.looked_at = now;
        let told = self.events.queue.len();
        for port in &mut self.ports {
            port.look(&mut self.events);
            port.revive(&mut self.events);
        }
        self.events.queue.len() > told
    }
}
