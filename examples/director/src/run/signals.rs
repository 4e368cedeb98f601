//! Signals as flags, and a descriptor that wakes the backend when one comes.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

/// What was asked for since it was last looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    list: Arc<AtomicBool>,
    /// Wakes the backend.
    wake: Option<Arc<OwnedFd>>,
}

impl Signals {
    /// Installs the handlers; the descriptor becomes readable with each signal.
    pub(super) fn install() -> io::Result<(Signals, OwnedFd)> {
        let mut signals = Signals::default();
        let flags = [
            (SIGTERM, &signals.stop),
            (SIGINT, &signals.stop),
            (SIGHUP, &signals.reload),
            (SIGUSR1, &signals.list),
        ];
        let (reader, writer) = rustix::pipe::pipe_with(
            rustix::pipe::PipeFlags::NONBLOCK | rustix::pipe::PipeFlags::CLOEXEC,
        )?;
        for (signal, flag) in flags {
            // The flag first: whoever wakes must see it.
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        signals.wake = Some(Arc::new(writer));
        Ok((signals, reader))
    }

    /// Wakes the backend from another thread, as a signal does.
    pub(super) fn waker(&self) -> impl Fn() + Send + Sync + use<> {
        let wake = self.wake.clone();
        move || {
            // A pipe that is full wakes as well.
            let _full = wake.as_ref().map(|wake| rustix::io::write(wake, &[0]));
        }
    }

    pub(super) fn stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }

    pub(super) fn take_list(&self) -> bool {
        self.list.swap(false, Ordering::Relaxed)
    }
}
