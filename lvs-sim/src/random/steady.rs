//! When the kernel's own answer varies, and how a scenario keeps away from it.
//!
//! The kernel's timers fire late, up to an eighth of the timeout (rule T1), and how late depends on the
//! phase of a clock; its counters are read from a copy that is two seconds old at most (rule T3). What
//! stands in such a time proves nothing.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration as Span;

use lvs_core::addr::Family;
use lvs_core::listing::ConnectionEntry;

use crate::player::{EntryName, Moment, moments};
use crate::scenario::{Action, Dump, Scenario};

/// How much earlier than written an entry may end, and how much later an event may be played, in seconds.
const ROOM: f64 = 0.6;
/// How much the time that an entry has left may be off in a listing, in seconds (the tolerance is 1).
const LATE: f64 = 0.5;
/// How long an entry may still count that a packet or command ended: until the next tick of the kernel's timers.
const TICK: f64 = 0.05;
/// How long the copy of the counters may be old, with room for an event played late (rule T3).
const STATISTICS: f64 = 2.5;
/// When a deleted server that nothing refers to is forgotten, its counters with it: two minutes after
/// the next minute of a clock that starts with the first deletion.
const FORGOTTEN: std::ops::Range<f64> = 110.0..260.0;

/// Whether no event stands where the kernel's own answer varies.
///
/// Between an entry's timeout and timeout · 1.125 + 0.2 s there is no event at all. Counters are read a
/// while after they moved. No server is added again about the time when the kernel forgets it.
pub fn is_steady(scenario: &Scenario) -> bool {
    entries_if_steady(scenario).is_some()
}

/// The entries that a scenario leaves, if it is steady.
pub(super) fn entries_if_steady(scenario: &Scenario) -> Option<Vec<ConnectionEntry>> {
    let moments = moments(scenario).ok()?;
    let mut timers = Timers::default();
    let mut counted = 0.0;
    let mut ended = f64::NEG_INFINITY;
    let mut deleted = Vec::new();
    // A server was deleted while the copy of its counters was old, and that copy remains.
    let mut stale = false;
    for moment in &moments {
        let now = Span::from_nanos(moment.at.as_nanos()).as_secs_f64();
        timers.pass(now, moment);
        let Some(event) = moment.event else { continue };
        if now > 0.0 && (timers.undecided || timers.is_due(now)) {
            return None;
        }
        if matches!(event.action, Action::Packet(_)) && now - ended < TICK {
            return None;
        }
        if has_ended(moment) {
            ended = now;
        }
        timers.restart(now, moment);
        let old = now - counted < STATISTICS;
        match effect(&event.action) {
            Effect::Lists if timers.late() > LATE => return None,
            Effect::Reads if old => return None,
            // The servers' counters become zero, as the copy has it, when they are added again.
            Effect::Orphans if old || stale => return None,
            Effect::Orphans => deleted.push(now),
            Effect::Adds if deleted.iter().any(|at| FORGOTTEN.contains(&(now - at))) => {
                return None;
            }
            Effect::Deletes => {
                deleted.push(now);
                stale |= old;
            }
            _ => {}
        }
        if matches!(event.action, Action::Packet(_) | Action::Ipvsadm(_)) {
            counted = now;
        }
    }
    Some(moments.into_iter().last().map(|moment| moment.after).unwrap_or_default())
}

/// Whether the event ended an entry, or put another one in its place.
fn has_ended(moment: &Moment<'_>) -> bool {
    moment.before.iter().any(|old| {
        let same = moment.after.iter().find(|new| name(new) == name(old));
        same.is_none_or(|new| new.age < old.age)
    })
}

/// What an event has to do with the kernel's clocks.
enum Effect {
    /// It shows how much time entries have left.
    Lists,
    /// It looks at counters.
    Reads,
    /// It adds a server.
    Adds,
    /// It deletes a server.
    Deletes,
    /// It deletes services.
    Orphans,
    None,
}

fn effect(action: &Action) -> Effect {
    match action {
        Action::Dump(Dump::Conns | Dump::Engines) => Effect::Lists,
        Action::Dump(Dump::Stats | Dump::Proc | Dump::Rates) => Effect::Reads,
        Action::Ipvsadm(words) => match words.get(1).map(String::as_str) {
            Some("-Z") => Effect::Reads,
            Some("-a") => Effect::Adds,
            Some("-d") => Effect::Deletes,
            Some("-D" | "-C") => Effect::Orphans,
            _ => Effect::None,
        },
        _ => Effect::None,
    }
}

/// A stretch of time in which the kernel ends an entry.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: f64,
    to: f64,
}

impl Window {
    fn contains(self, time: f64) -> bool {
        (self.from..=self.to).contains(&time)
    }

    fn overlaps(self, other: Window) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

/// The end of an entry, and by how much later the kernel may end it.
#[derive(Clone, Copy, Debug)]
struct Life {
    end: f64,
    slack: f64,
    /// How much later than known it may have begun.
    late: f64,
}

impl Life {
    fn window(self) -> Window {
        Window { from: self.end - ROOM, to: self.end + self.slack + ROOM }
    }
}

/// The timers of a scenario's entries.
#[derive(Debug, Default)]
struct Timers {
    lives: HashMap<EntryName, Life>,
    /// The windows that are over.
    past: Vec<(EntryName, Window)>,
    /// A template and a connection ended at times that do not say which was first. Whether the template
    /// was extended (rule R4) is then the clock's choice, and so is all that follows.
    undecided: bool,
}

impl Timers {
    /// Looks at the entries as they are when an event begins: what changed since the last one was changed
    /// by timers.
    fn pass(&mut self, now: f64, moment: &Moment<'_>) {
        for entry in &moment.before {
            let (name, end) = (name(entry), now + entry.expires.as_secs_f64());
            let Some(life) = self.lives.get(&name).copied() else { continue };
            if (life.end - end).abs() > 0.01 {
                // The kernel starts the extension when its timer fires, which may have been late.
                let (late, slack) = (life.slack, life.slack + slack(end - life.end));
                self.over(name, life);
                self.lives.insert(name, Life { end, slack, late });
            }
        }
        let mut over: Vec<_> =
            self.lives.iter().filter(|(_, life)| life.window().to < now).collect();
        over.sort_by(|(_, a), (_, b)| a.end.total_cmp(&b.end));
        let over: Vec<_> = over.into_iter().map(|(&name, &life)| (name, life)).collect();
        for (name, life) in over {
            self.lives.remove(&name);
            self.over(name, life);
        }
    }

    fn over(&mut self, name: EntryName, life: Life) {
        let window = life.window();
        let (client, _, template, ..) = name;
        let family = Family::of(client.addr);
        self.undecided |= self.past.iter().any(|(other, past)| {
            other.2 != template && Family::of(other.0.addr) == family && past.overlaps(window)
        });
        self.past.push((name, window));
    }

    /// How much later than known an entry that is there may have begun.
    fn late(&self) -> f64 {
        self.lives.values().map(|life| life.late).fold(0.0, f64::max)
    }

    /// Whether an entry ends about now.
    fn is_due(&self, now: f64) -> bool {
        self.lives.values().any(|life| life.window().contains(now))
    }

    /// Looks at the entries as the event left them.
    fn restart(&mut self, now: f64, moment: &Moment<'_>) {
        for entry in &moment.after {
            let (name, left) = (name(entry), entry.expires.as_secs_f64());
            let fresh = Life { end: now + left, slack: slack(left), late: 0.0 };
            let life = self.lives.entry(name).or_insert(fresh);
            if (life.end - fresh.end).abs() > 0.01 {
                *life = fresh;
            }
        }
    }
}

fn name(entry: &ConnectionEntry) -> EntryName {
    let read = entry.engine.as_deref().map(|read| {
        let mut hasher = DefaultHasher::new();
        read.data().hash(&mut hasher);
        hasher.finish()
    });
    (entry.client, entry.virt, entry.template, entry.protocol, read)
}

/// How late a timer of that many seconds may fire (rule T1).
fn slack(seconds: f64) -> f64 {
    seconds / 8.0 + 0.2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(text: &str) -> bool {
        is_steady(&Scenario::parse("x.lvs", text).unwrap())
    }

    #[test]
    fn an_event_at_the_end_of_an_entry_is_not_steady() {
        let at = |at: &str| {
            steady(&format!(
                "0 ipvsadm -A -u 10.0.0.1:53 -s rr\n0 ipvsadm -a -u 10.0.0.1:53 -r 10.1.0.2 -g\n\
                 0 ipvsadm --set 0 0 4\n1 udp 192.0.2.7:1 > 10.0.0.1:53\n{at} dump conns\n"
            ))
        };
        assert!(at("4.2") && !at("4.6") && !at("5.6") && at("6.4"));
    }

    #[test]
    fn the_packet_after_one_that_replaced_an_entry_waits_for_a_tick() {
        let at = |at: &str| {
            steady(&format!(
                "0 ipvsadm -A -t 10.0.0.1:80 -s wlc\n0 ipvsadm -a -t 10.0.0.1:80 -r 10.1.0.2 -g\n\
                 1 tcp 192.0.2.7:1 > 10.0.0.1:80 S\n1.1 tcp 192.0.2.7:1 > 10.0.0.1:80 A\n\
                 1.2 tcp 192.0.2.7:1 > 10.0.0.1:80 R\n1.5 tcp 192.0.2.7:1 > 10.0.0.1:80 S\n\
                 {at} tcp 192.0.2.8:1 > 10.0.0.1:80 S\n"
            ))
        };
        assert!(!at("1.5") && at("1.6"));
    }

    #[test]
    fn counters_are_not_read_while_the_kernels_copy_of_them_is_old() {
        let at = |at: &str| {
            steady(&format!(
                "0 ipvsadm -A -t 10.0.0.1:80 -s rr\n1 tcp 192.0.2.7:1 > 10.0.0.1:80 S\n{at}\n"
            ))
        };
        assert!(!at("3 dump stats") && at("3.6 dump stats") && at("3 dump conns"));
        assert!(!at("3 ipvsadm -Z"));
    }

    #[test]
    fn what_follows_a_race_of_a_template_with_its_connection_is_not_steady() {
        // The template ends at 66 s and the connection at 61 s, but perhaps only at 68 s.
        let at = |at: &str| {
            steady(&format!(
                "0 ipvsadm -A -t 10.0.0.1:80 -s rr -p 5\n0 ipvsadm -a -t 10.0.0.1:80 -r 10.1.0.2 -g\n\
                 1 tcp 192.0.2.7:1 > 10.0.0.1:80 S\n{at}\n"
            ))
        };
        assert!(at("50 dump services") && !at("100 dump services"));
        // The template was extended at 6 s, perhaps later.
        assert!(!at("50 dump conns"));
    }

    #[test]
    fn a_server_is_not_added_again_when_the_kernel_is_about_to_forget_it() {
        let at = |at: &str| {
            steady(&format!(
                "0 ipvsadm -A -t 10.0.0.1:80 -s rr\n0 ipvsadm -a -t 10.0.0.1:80 -r 10.1.0.2 -g\n\
                 1 ipvsadm -d -t 10.0.0.1:80 -r 10.1.0.2\n{at} ipvsadm -a -t 10.0.0.1:80 -r 10.1.0.2 -g\n"
            ))
        };
        assert!(at("50") && !at("130") && at("300"));
    }
}
