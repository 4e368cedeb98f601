//! Signals of a real server, and a descriptor that wakes it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

/// What was asked for since it was last looked at.
#[derive(Debug)]
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    list: Arc<AtomicBool>,
    wake: OwnedFd,
}

impl Signals {
    /// Installs the handlers. SIGHUP ends it as well: a terminal that is closed must not leave changes.
    pub(super) fn install() -> io::Result<Signals> {
        let (stop, list) = (Arc::default(), Arc::default());
        let flags = rustix::pipe::PipeFlags::NONBLOCK | rustix::pipe::PipeFlags::CLOEXEC;
        let (wake, writer) = rustix::pipe::pipe_with(flags)?;
        for (signal, flag) in [(SIGTERM, &stop), (SIGINT, &stop), (SIGHUP, &stop), (SIGUSR1, &list)]
        {
            // The flag first: whoever wakes must see it.
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Signals { stop, list, wake })
    }

    pub(super) fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn take_list(&self) -> bool {
        let asked = self.list.swap(false, Ordering::Relaxed);
        if asked {
            // Otherwise the descriptor would wake again at once.
            let _ = rustix::io::read(&self.wake, &mut [0u8; 64]);
        }
        asked
    }

    /// Readable after a signal.
    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Waits for a signal, at most `timeout`.
    pub(super) fn wait(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&self.wake, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
