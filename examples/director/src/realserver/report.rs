//! What a real server says.

use std::collections::BTreeSet;

use anstream::{eprintln, println};
use anstyle::{AnsiColor, Style};
use lvs_realserver::{Change, Outcome, Plan, Refusal, Spec, Standing, Stats, Undone, commands};

use super::args::RealServerArgs;

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default();

/// Names what it is about.
pub(super) fn title(spec: &Spec) {
    println!("real server of {}", description(spec));
}

fn description(spec: &Spec) -> String {
    let vips: Vec<String> = spec.virtuals().iter().map(ToString::to_string).collect();
    let kinds: Vec<String> = spec.kinds().iter().map(ToString::to_string).collect();
    let by = if kinds.is_empty() { "direct routing".to_owned() } else { kinds.join(" and ") };
    format!("{} by {by}", vips.join(" and "))
}

fn line(style: Style, word: &str, text: &str) {
    println!("  {style}{word:<9}{style:#} {text}");
}

/// A line under another.
fn below(text: &str) {
    println!("  {:<9} {text}", "");
}

/// Everything that was looked at.
pub(super) fn findings(plan: &Plan) {
    for finding in &plan.findings {
        match &finding.standing {
            Standing::Right => line(GREEN, "right", &finding.what),
            Standing::Wrong(change) => {
                line(RED, "wrong", &finding.what);
                below(&change.command());
            }
            Standing::Idle => line(RED, "wrong", &finding.what),
            Standing::Blocked(remedy) => {
                line(RED, "person", &finding.what);
                below(remedy);
            }
            Standing::Advice(remedy) => {
                line(YELLOW, "perhaps", &finding.what);
                below(remedy);
            }
            _ => {}
        }
    }
}

/// How much is wrong, as a sentence.
pub(super) fn summary(plan: &Plan) -> String {
    let is_wrong = |standing: &Standing| !matches!(standing, Standing::Right | Standing::Advice(_));
    let wrong = plan.findings.iter().filter(|finding| is_wrong(&finding.standing)).count();
    let verb = if wrong == 1 { "thing is" } else { "things are" };
    format!("{wrong} {verb} wrong")
}

/// What is right already and so is left, at the end as well.
pub(super) fn rights(plan: &Plan) {
    for finding in &plan.findings {
        match &finding.standing {
            Standing::Right => line(GREEN, "right", &finding.what),
            Standing::Advice(remedy) => {
                line(YELLOW, "perhaps", &finding.what);
                below(remedy);
            }
            _ => {}
        }
    }
}

/// What was changed.
pub(super) fn changes(word: &str, changes: &[Change]) {
    for change in changes {
        line(YELLOW, word, &change.command());
    }
}

/// That everything is done.
pub(super) fn serving(args: &RealServerArgs, opens: bool) {
    if opens {
        let from: Vec<String> = args
            .director
            .iter()
            .map(|d| {
                if d.is_host() { d.addr().to_string() } else { format!("{}/{}", d.addr(), d.len()) }
            })
            .collect();
        if from.is_empty() {
            line(
                YELLOW,
                "opens",
                "tunnelled packets from anybody; name the directors to keep others out: --director ADDRESS",
            );
        } else {
            line(GREEN, "opens", &format!("tunnelled packets from {}", from.join(", ")));
        }
    }
    println!("ready; SIGTERM or Ctrl-C takes back what was changed");
}

/// How many packets were opened and dropped.
pub(super) fn counts(stats: &Stats) {
    println!("opened {} packets, {} bytes", stats.opened, stats.bytes);
    for (reason, count) in stats.refusals() {
        println!("dropped {count}: {reason}");
    }
    for (count, what) in [
        (stats.unreadable, "too long, or without outer addresses"),
        (stats.not_taken, "not taken by the host"),
    ] {
        if count > 0 {
            println!("dropped {count}: {what}");
        }
    }
}

/// What was taken back.
pub(super) fn undone(undone: Vec<Undone>) {
    for Undone { change, result } in undone {
        let command = change.undo().unwrap_or_default();
        match result {
            Ok(Outcome::Back) => line(GREEN, "back", &command),
            Ok(_) => line(
                YELLOW,
                "left",
                &format!("somebody changed it meanwhile, so this was not done: {command}"),
            ),
            Err(error) => eprintln!("lvs-director: not taken back: {error}"),
        }
    }
}

/// What was told already, so that nothing is told every two seconds.
#[derive(Debug, Default)]
pub(super) struct Drops {
    told: BTreeSet<Refusal>,
    complaints: BTreeSet<String>,
}

impl Drops {
    /// Tells of a reason when a packet is first dropped for it.
    pub(super) fn tell(&mut self, stats: &Stats) {
        for (reason, _) in stats.refusals() {
            if self.told.insert(reason) {
                line(YELLOW, "drops", &format!("tunnelled packets that are {reason}"));
            }
        }
    }

    /// Complains once.
    pub(super) fn complain(&mut self, what: &str) {
        if self.complaints.insert(what.to_owned()) {
            eprintln!("lvs-director: {what}");
        }
    }
}

/// What somebody did to the host meanwhile that is not for us to change.
pub(super) fn blocked(plan: &Plan, drops: &mut Drops) {
    for finding in &plan.findings {
        if let Standing::Blocked(remedy) = &finding.standing {
            drops.complain(&format!("{}\n  {remedy}", finding.what));
        }
    }
}

/// The commands to type, and those that take them back.
pub(super) fn print_commands(args: &RealServerArgs, spec: &Spec) {
    println!("# real server of {}; as root", description(spec));
    let changes = commands(spec);
    for change in &changes {
        println!("{}", change.command());
    }
    if !spec.kinds().is_empty() {
        println!("# a kernel without these modules needs a program to open tunnels:");
        println!("# {}", args.with_action("--apply"));
    }
    println!("\n# back (to what the settings were, if not this)");
    for undo in changes.iter().rev().filter_map(Change::undo) {
        println!("# {undo}");
    }
}
