//! `lvs-director realserver`: what a real server's host needs, checked, applied or printed.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use lvs_realserver::{
    Applied, Decapsulator, DecapsulatorConfig, Error, Host, Opener, Plan, Spec, SpecError, plan,
};

mod args;
mod report;
mod signals;

pub(crate) use args::RealServerArgs;
use signals::Signals;

/// How often the host is looked at again, for what others undid.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What packets are at most where no interface tells.
const MTU_DEFAULT: u32 = 1500;

/// Why a real server is not one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RealServerError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error("{0}")]
    Host(#[from] Error),
    #[error("cannot catch signals: {0}")]
    Signals(io::Error),
    #[error("{0}")]
    Wrong(String),
}

impl RealServerError {
    /// Whether the command line is wrong.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, RealServerError::Spec(_))
    }
}

/// Checks, applies or prints.
pub(crate) fn real_server(args: &RealServerArgs) -> Result<(), RealServerError> {
    let spec = args.spec()?;
    if args.print {
        report::print_commands(args, &spec);
        return Ok(());
    }
    if args.apply { apply(args, &spec) } else { check(args, &spec) }
}

fn check(args: &RealServerArgs, spec: &Spec) -> Result<(), RealServerError> {
    let plan = plan(spec, &Host::observe(spec)?);
    report::title(spec);
    report::findings(&plan);
    if plan.is_right() {
        return Ok(());
    }
    let summary = report::summary(&plan);
    Err(RealServerError::Wrong(if plan.is_blocked() {
        format!("{summary}; what is marked `person` is for you to decide")
    } else {
        format!(
            "{summary}; this puts it right, as long as it runs:\n  {}",
            args.with_action("--apply")
        )
    }))
}

/// A real server that was made one.
struct Serving<'a> {
    spec: &'a Spec,
    applied: Applied,
    decapsulator: Option<Decapsulator>,
    next_look: Instant,
    drops: report::Drops,
}

fn apply(args: &RealServerArgs, spec: &Spec) -> Result<(), RealServerError> {
    let signals = Signals::install().map_err(RealServerError::Signals)?;
    let host = Host::observe(spec)?;
    let found = plan(spec, &host);
    report::title(spec);
    if found.is_blocked() {
        report::findings(&found);
        return Err(RealServerError::Wrong(
            "nothing was changed: what is marked `person` is for you to decide".to_owned(),
        ));
    }
    let mut serving = Serving {
        spec,
        applied: Applied::new(),
        decapsulator: None,
        next_look: Instant::now() + LOOK_EVERY,
        drops: report::Drops::default(),
    };
    let served = serving.start(args, &host, &found).and_then(|()| serving.serve(&signals));
    serving.stop();
    served
}

impl Serving<'_> {
    fn start(
        &mut self,
        args: &RealServerArgs,
        host: &Host,
        found: &Plan,
    ) -> Result<(), RealServerError> {
        if self.spec.opener() == Some(Opener::Own) {
            let config = DecapsulatorConfig {
                kinds: self.spec.kinds().to_vec(),
                virtuals: self.spec.virtuals().to_vec(),
                directors: args.director.clone(),
                mtu: mtu(args, host),
            };
            self.decapsulator = Some(Decapsulator::start(&config)?);
        }
        report::rights(found);
        // The device is there now.
        let found = plan(self.spec, &Host::observe(self.spec)?);
        let made = self.applied.apply(&found);
        report::changes("changed", self.applied.changes());
        made?;
        report::serving(args, self.decapsulator.is_some());
        Ok(())
    }

    fn serve(&mut self, signals: &Signals) -> Result<(), RealServerError> {
        while !signals.stop() {
            let left = self.next_look.saturating_duration_since(Instant::now());
            match &mut self.decapsulator {
                Some(decapsulator) => decapsulator.step(signals.wake().as_fd(), left)?,
                None => signals.wait(left).map_err(RealServerError::Signals)?,
            }
            if signals.take_list()
                && let Some(decapsulator) = &self.decapsulator
            {
                report::counts(decapsulator.stats());
            }
            if Instant::now() >= self.next_look {
                self.next_look = Instant::now() + LOOK_EVERY;
                self.look_again();
            }
        }
        Ok(())
    }

    /// Puts right what somebody else undid, and tells what is dropped.
    fn look_again(&mut self) {
        if let Some(decapsulator) = &self.decapsulator {
            self.drops.tell(decapsulator.stats());
        }
        let found = match Host::observe(self.spec) {
            Ok(host) => plan(self.spec, &host),
            Err(error) => return self.drops.complain(&error.to_string()),
        };
        if found.is_blocked() {
            report::blocked(&found, &mut self.drops);
        }
        match self.applied.apply(&found) {
            Ok(made) => report::changes("again", &made),
            Err(error) => self.drops.complain(&error.to_string()),
        }
    }

    fn stop(self) {
        // Before the decapsulator ends, so that a check in between does not find half of it.
        report::undone(self.applied.undo());
        if let Some(decapsulator) = self.decapsulator {
            report::counts(decapsulator.stats());
        }
    }
}

/// The largest MTU of the interfaces that packets may come in by.
fn mtu(args: &RealServerArgs, host: &Host) -> u32 {
    let names = &args.interface;
    let meant = host.interfaces.iter().filter(|interface| {
        interface.has_arp
            && !interface.is_loopback
            && interface.is_up
            && (names.is_empty() || names.contains(&interface.name))
    });
    meant.map(|interface| interface.mtu).max().filter(|mtu| *mtu > 0).unwrap_or(MTU_DEFAULT)
}
