//! The director on a thread of its own, in its namespace, behind AF_PACKET.

use std::net::IpAddr;
use std::thread::JoinHandle;
use std::time::Instant as Clock;

use crossbeam::channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use lvs_core::command::{ApplyError, Command, PortSpec};
use lvs_core::director::Director;
use lvs_core::ids::PortId;
use lvs_core::io::{FrameIo, until};
use lvs_core::limits::Limits;
use lvs_core::time::{Duration, Instant};
use lvs_io_afpacket::{AfPacket, interfaces};

use super::namespace::Namespace;
use crate::demo::{DemoError, VIP};

/// The longest that a question waits for the director to look up.
const WAIT_MAX: Duration = Duration::from_millis(5);
/// Timers between two bursts.
const TIMER_BUDGET: usize = 512;
/// What a veth carries.
const MTU: u32 = 1500;
/// The key of its tables: nobody attacks a demo.
const SEED: [u64; 2] = [0x6c76_7364, 0x656d_6f21];

type Question = Box<dyn FnOnce(&mut Director, Instant) + Send>;

/// A running director.
pub(super) struct DirectorThread {
    /// `None` once it is to stop.
    questions: Option<Sender<Question>>,
    thread: Option<JoinHandle<Result<(), DemoError>>>,
}

impl DirectorThread {
    /// Starts a director that has the virtual address and no service yet.
    pub(super) fn start(namespace: &Namespace) -> Result<DirectorThread, DemoError> {
        let namespace = namespace.share()?;
        let (questions, asked) = unbounded();
        let (ready, started) = bounded(1);
        let thread = std::thread::spawn(move || {
            let mut running = match Running::start(&namespace) {
                Ok(running) => running,
                Err(error) => {
                    let _nobody_waits = ready.send(Err(error));
                    return Ok(());
                }
            };
            let _nobody_waits = ready.send(Ok(()));
            running.forward(&asked)
        });
        match started.recv() {
            Ok(Ok(())) => Ok(DirectorThread { questions: Some(questions), thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(DemoError::DirectorGone),
        }
    }

    /// Asks the director between two bursts.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Director, Instant) -> T + Send + 'static,
    ) -> Result<T, DemoError> {
        let (answer, answered) = bounded(1);
        let question: Question = Box::new(move |director, now| {
            let _nobody_waits = answer.send(question(director, now));
        });
        let sent = self.questions.as_ref().is_some_and(|to| to.send(question).is_ok());
        if !sent {
            return Err(DemoError::DirectorGone);
        }
        answered.recv().map_err(|_| DemoError::DirectorGone)
    }
}

impl Drop for DirectorThread {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("lvs-director: the director stopped: {error}");
        }
    }
}

/// What the thread holds.
struct Running {
    clock: Clock,
    director: Director,
    io: AfPacket,
}

impl Running {
    fn start(namespace: &Namespace) -> Result<Running, DemoError> {
        namespace.move_in()?;
        let io =
            AfPacket::builder().port("eth0").build().map_err(|e| namespace.failed("receive", e))?;
        let eth0 = interfaces().into_iter().find(|interface| interface.name == "eth0");
        let eth0 = eth0.ok_or_else(|| namespace.failed("find eth0", "no such interface"))?;
        let director = Director::new(Limits::small(), SEED)
            .map_err(|error| namespace.failed("make a director", error))?;
        let mut running = Running { clock: Clock::now(), director, io };
        let port = PortSpec {
            id: PortId(0),
            mac: eth0.mac.unwrap_or_default(),
            mtu: MTU,
            addresses: eth0.addresses,
        };
        let vip = Command::AddLocal { addr: IpAddr::V4(VIP), answer: true };
        for command in [Command::SetPort(port), vip] {
            running
                .apply(command)
                .map_err(|error| namespace.failed("set the director up", error))?;
        }
        Ok(running)
    }

    fn apply(&mut self, command: Command) -> Result<(), ApplyError> {
        self.director.apply(self.now(), command)
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Forwards and answers questions until nobody can ask any more.
    fn forward(&mut self, asked: &Receiver<Question>) -> Result<(), DemoError> {
        let failed = |error| DemoError::Io(error);
        loop {
            let timeout = until(self.now(), self.director.next_deadline());
            self.io.wait(Some(timeout.map_or(WAIT_MAX, |t| t.min(WAIT_MAX)))).map_err(failed)?;
            let now = self.now();
            let director = &mut self.director;
            self.io.exchange(&mut |frames| director.process_burst(now, frames)).map_err(failed)?;
            director.handle_timers(now, TIMER_BUDGET);
            match asked.try_recv() {
                Ok(question) => question(director, now),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
            self.io.inject(&mut |frame| director.poll_transmit(now, frame)).map_err(failed)?;
        }
    }
}
