//! A whole rules file in the place of what there is, prepared where no packet waits for it.
//!
//! The loop that owns the director gives a [`Survey`] in small steps. What the file changes, and the plan that
//! tells it, is worked out from that beside the loop: a [`Replacement`]. The loop then carries it out at one
//! instant, if the director is still as it was surveyed; else all begins anew.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Sender, bounded};
use lvs_admin::diff::{self, DaemonChange, Running, diff};
use lvs_admin::ipvsadm::DaemonSpec;
use lvs_admin::rules::Rules;
use lvs_core::command::{Command, MarkRule, Tunables};
use lvs_core::director::Director;
use lvs_core::ids::PortId;
use lvs_core::listing::{ServiceEntry, TimeoutsEntry};
use lvs_core::time::Instant;

use crate::data::Plan;
use crate::desk::{Asker, Order, Stopping};
use crate::plan::{daemon_steps, plan};
use crate::protocol::{Refusal, Reply};

/// How often a replacement is prepared beside the loop before it is prepared in one step of it, because others
/// change the director all the time.
const TRIES: usize = 3;
/// How long an answer is waited for at a time.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a director is configured to be.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Its services, with what they carry at present.
    pub services: Vec<ServiceEntry>,
    /// Its timeouts.
    pub timeouts: TimeoutsEntry,
    /// Its switches.
    pub tunables: Tunables,
    /// Its mark rules.
    pub mark_rules: Vec<MarkRule>,
    /// The names of its ports, in their order.
    pub interfaces: Vec<String>,
    /// The synchronisation daemons that run beside it.
    pub daemons: Vec<DaemonSpec>,
    /// [`Director::version`] when it was begun.
    pub version: u32,
}

impl Survey {
    /// All but the services. `around` has the names of the ports, and the synchronisation daemons.
    pub(crate) fn begin(director: &Director, around: (Vec<String>, Vec<DaemonSpec>)) -> Survey {
        let (interfaces, daemons) = around;
        Survey {
            services: Vec::new(),
            timeouts: director.timeouts(),
            tunables: *director.tunables(),
            mark_rules: director.mark_rules().to_vec(),
            interfaces,
            daemons,
            version: director.version(),
        }
    }

    /// All of it in one step. `around` has the names of the ports in their order, and the synchronisation
    /// daemons that run.
    pub fn of(
        director: &mut Director,
        now: Instant,
        around: (Vec<String>, Vec<DaemonSpec>),
    ) -> Survey {
        let services = director.services(now);
        Survey { services, ..Survey::begin(director, around) }
    }

    fn port(&self, name: &str) -> Option<PortId> {
        let place = self.interfaces.iter().position(|other| other == name)?;
        u16::try_from(place).ok().map(PortId)
    }
}

/// A rules file, and what makes a director what it says.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// The file.
    pub rules: Arc<Rules>,
    /// Its mark rules, with the director's ports.
    pub marks: Vec<MarkRule>,
    /// What is to be done, in this order.
    pub commands: Vec<Command>,
    /// What is to be done to synchronisation daemons, which are no part of the director.
    pub daemons: Vec<DaemonChange>,
    /// The same in an operator's words.
    pub plan: Plan,
    /// The version of the director that the commands are for.
    pub version: u32,
}

impl Replacement {
    /// Works out what makes a director that was surveyed what a file says.
    ///
    /// # Errors
    /// If the file names an interface that the director does not have.
    pub fn prepare(survey: &Survey, rules: Arc<Rules>) -> Result<Replacement, Refusal> {
        let status = lvs_admin::ipvsadm::STATUS_CHECK;
        let marks = rules.mark_rules(|name| survey.port(name)).map_err(|error| Refusal {
            status,
            message: format!("{error}\nnothing was applied"),
        })?;
        let running = Running {
            services: &survey.services,
            timeouts: survey.timeouts,
            tunables: survey.tunables,
            mark_rules: &survey.mark_rules,
            daemons: &survey.daemons,
        };
        let commands = diff(&running, &rules, &marks);
        let daemons = diff::daemons(&survey.daemons, rules.daemons());
        let mut plan = plan(&running, &commands);
        plan.steps.extend(daemon_steps(&daemons));
        plan.warnings = rules.warnings().iter().map(ToString::to_string).collect();
        Ok(Replacement { rules, marks, commands, daemons, plan, version: survey.version })
    }
}

/// What became of a replacement.
#[derive(Clone, Debug)]
pub enum Committed {
    /// The director is what the file says.
    Done,
    /// It was changed after it had been surveyed; nothing was done.
    Stale,
    /// It refused; nothing was done.
    Refused(Refusal),
}

/// Has the loop that `asker` asks become what a rules file says, and waits until that is done. Only the
/// carrying out is the loop's.
///
/// # Errors
/// What the director refuses; then nothing has changed.
pub fn replace_by(asker: &Asker, rules: Rules) -> Result<Plan, Refusal> {
    let mut carry = |order| {
        let replies = asker.ask(order).map_err(io::Error::other)?;
        let mut first = None;
        loop {
            let Some(reply) = replies.next_within(PATIENCE).map_err(io::Error::other)? else {
                continue;
            };
            let is_last = reply.is_last();
            first.get_or_insert(reply);
            if is_last {
                return Ok(first);
            }
        }
    };
    let done = replace(&mut carry, rules, false);
    done.unwrap_or_else(|error| Err(Refusal::new(error.to_string())))
}

/// Makes the director what a file says, or only tells what that takes. `carry` has an order carried out and
/// returns the first part of its answer.
///
/// # Errors
/// If `carry` fails. What the director refuses is in the result.
pub(crate) fn replace(
    carry: &mut dyn FnMut(Order) -> io::Result<Option<Reply>>,
    rules: Rules,
    dry_run: bool,
) -> io::Result<Result<Plan, Refusal>> {
    let rules = Arc::new(rules);
    for _ in 0..TRIES {
        let (to, surveyed) = bounded(1);
        if let Some(Reply::Refused(refusal)) = carry(Order::Survey(to))? {
            return Ok(Err(refusal));
        }
        let Ok(survey) = surveyed.try_recv() else { return Ok(Err(stopping())) };
        let mut prepared = match Replacement::prepare(&survey, Arc::clone(&rules)) {
            Ok(prepared) => prepared,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if dry_run {
            return Ok(Ok(prepared.plan));
        }
        let mut plan = std::mem::take(&mut prepared.plan);
        match commit(carry, Arc::new(prepared))? {
            Committed::Stale => {}
            Committed::Refused(refusal) => return Ok(Err(refusal)),
            Committed::Done => {
                plan.applied = true;
                return Ok(Ok(plan));
            }
        }
    }
    Ok(match carry(Order::Apply(rules))? {
        Some(Reply::Plan(plan)) => Ok(plan),
        Some(Reply::Refused(refusal)) => Err(refusal),
        _ => Err(stopping()),
    })
}

fn commit(
    carry: &mut dyn FnMut(Order) -> io::Result<Option<Reply>>,
    prepared: Arc<Replacement>,
) -> io::Result<Committed> {
    let (to, committed): (Sender<Committed>, _) = bounded(1);
    let refused = carry(Order::Commit(Arc::clone(&prepared), to))?;
    Ok(match (committed.try_recv(), refused) {
        (Ok(committed), _) => committed,
        (Err(_), Some(Reply::Refused(refusal))) => Committed::Refused(refusal),
        (Err(_), _) => Committed::Refused(stopping()),
    })
}

fn stopping() -> Refusal {
    Refusal::new(Stopping.to_string())
}

#[cfg(test)]
mod tests {
    use lvs_admin::names::NumericOnly;
    use lvs_admin::rules::Supported;
    use lvs_core::limits::Limits;

    use super::*;
    use crate::{Alone, Desk, Program};

    #[test]
    fn what_was_prepared_for_a_director_that_changed_meanwhile_is_prepared_anew() {
        let now = Instant::ZERO;
        let director = Director::new(Limits::small(), [1, 2]).unwrap();
        let mut program = Alone { director, interfaces: Vec::new() };
        let mut desk = Desk::new(|| {});
        let asker = desk.asker();
        let mut commits = 0;
        let mut carry = |order: Order| {
            if matches!(order, Order::Commit(..)) {
                commits += 1;
                if commits < 3 {
                    program.director().apply(now, Command::Zero(None)).unwrap();
                }
            }
            let replies = asker.ask(order).unwrap();
            while desk.serve(now, &mut program) {}
            Ok(replies.next_within(PATIENCE).unwrap())
        };
        let text = "-A -t 10.0.0.1:80\n-a -t 10.0.0.1:80 -r 10.1.0.2\n";
        let rules = || Rules::parse("f", text, &NumericOnly, &Supported::THIS_VERSION).unwrap();
        let plan = replace(&mut carry, rules(), false).unwrap().unwrap();
        assert_eq!((plan.steps.len(), plan.applied), (2, true));
        let again = replace(&mut carry, rules(), true).unwrap().unwrap();
        assert_eq!((again.steps.len(), again.applied), (0, false));
        assert_eq!(commits, 3);
        assert_eq!(program.director.services(now)[0].destinations.len(), 1);
    }
}
