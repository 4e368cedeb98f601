//! Sleeping until a port has a frame or trouble, or somebody wakes the loop.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use crate::sys;

/// Bytes read from the wake descriptor at once.
const WAKE_READ_LEN: usize = 512;

/// What ended a sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Its time was over, or a port has [trouble](Sleeper::troubled).
    Nothing,
    /// A port has a frame.
    Frames,
    /// The wake descriptor, or a signal: whoever handles it wants to be woken.
    Woken,
}

/// Sleeps on the descriptors of the ports, and on one that wakes.
#[derive(Debug)]
pub struct Sleeper {
    wake: Option<OwnedFd>,
    /// That of the wake descriptor, then those of the ports; kept for their memory.
    polled: Vec<libc::pollfd>,
}

impl Sleeper {
    /// With the descriptor that ends a sleep when it is readable. It is read empty, and forgotten when its
    /// far end is closed.
    pub fn new(wake: Option<OwnedFd>) -> Sleeper {
        Sleeper { wake, polled: Vec::new() }
    }

    /// Sleeps until something happens to the wake descriptor or a port's, or, if `for_frames`, there is a
    /// frame, at most for `timeout`; without one it sleeps without end. `None` in the place of a descriptor is
    /// one that has nothing to tell.
    ///
    /// # Errors
    /// If the system refuses to let us wait.
    pub fn sleep<'a>(
        &mut self,
        fds: impl Iterator<Item = Option<BorrowedFd<'a>>>,
        for_frames: bool,
        timeout: Option<Duration>,
    ) -> io::Result<Found> {
        // A negative descriptor is skipped.
        let of = |fd: Option<BorrowedFd<'_>>, events| libc::pollfd {
            fd: fd.map_or(-1, |fd| fd.as_raw_fd()),
            events,
            revents: 0,
        };
        let events = if for_frames { libc::POLLIN } else { 0 };
        self.polled.clear();
        self.polled.push(of(self.wake.as_ref().map(AsFd::as_fd), libc::POLLIN));
        self.polled.extend(fds.map(|fd| of(fd, events)));
        match sys::poll(&mut self.polled, timeout) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Found::Woken),
            Err(error) => return Err(error),
        }
        if self.polled[0].revents != 0 {
            self.read_wake_fd();
            return Ok(Found::Woken);
        }
        let is_readable = |polled: &libc::pollfd| polled.revents & libc::POLLIN != 0;
        Ok(if self.polled.iter().any(is_readable) { Found::Frames } else { Found::Nothing })
    }

    /// For each descriptor of the last sleep, in their order, whether it has an error or its far end is gone.
    pub fn troubled(&self) -> impl Iterator<Item = bool> {
        let trouble = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
        self.polled.iter().skip(1).map(move |polled| polled.revents & trouble != 0)
    }

    /// Empties the wake descriptor, and forgets it when its far end is closed.
    fn read_wake_fd(&mut self) {
        let Some(wake) = &self.wake else { return };
        match rustix::io::read(wake, &mut [0; WAKE_READ_LEN]) {
            Ok(1..) | Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(0) | Err(_) => self.wake = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn a_wake_up_is_found_once_and_a_closed_one_is_forgotten() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut sleeper = Sleeper::new(Some(theirs.into()));
        let mut sleep = || sleeper.sleep(std::iter::empty(), true, AT_ONCE).unwrap();
        assert_eq!(sleep(), Found::Nothing);
        ours.write_all(b"!!").unwrap();
        assert_eq!([sleep(), sleep()], [Found::Woken, Found::Nothing]);
        drop(ours);
        assert_eq!([sleep(), sleep()], [Found::Woken, Found::Nothing]);
    }

    #[test]
    fn frames_are_found_only_when_asked_for_and_trouble_always() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut sleeper = Sleeper::new(None);
        ours.write_all(b"!").unwrap();
        let fds = || [None, Some(theirs.as_fd())].into_iter();
        assert_eq!(sleeper.sleep(fds(), true, AT_ONCE).unwrap(), Found::Frames);
        assert_eq!(sleeper.sleep(fds(), false, AT_ONCE).unwrap(), Found::Nothing);
        assert!(sleeper.troubled().eq([false, false]));
        drop(ours);
        assert_eq!(sleeper.sleep(fds(), false, AT_ONCE).unwrap(), Found::Nothing);
        assert!(sleeper.troubled().eq([false, true]));
    }
}
