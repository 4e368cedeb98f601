//! How long a connection lasts in each state, as indexes into the table of timeouts in use.

use crate::command::TimeoutsSpec;
use crate::conn::Timeouts;
use crate::listing::TimeoutsEntry;
use crate::state::{NEW_TIMEOUT, State};
use crate::time::Duration;

/// The timeout of each state.
#[derive(Debug)]
pub(super) struct Lifetimes {
    durations: [Duration; State::COUNT],
    indexes: [u16; State::COUNT],
    /// The same in ticks; 0 while the short way is closed, so that nothing is young enough for it.
    ticks: [u32; State::COUNT],
    closed: bool,
    /// Of a connection whose first packet has not been through the state table.
    pub(super) new: u16,
    /// Of a connection that is to end at once.
    pub(super) ending: u16,
}

impl Lifetimes {
    pub(super) fn new(timeouts: &mut Timeouts) -> Lifetimes {
        let mut lifetimes = Lifetimes {
            durations: [Duration::ZERO; State::COUNT],
            indexes: [0; State::COUNT],
            ticks: [0; State::COUNT],
            closed: false,
            new: intern(timeouts, NEW_TIMEOUT),
            ending: intern(timeouts, Duration::from_millis(1)),
        };
        for byte in 0..State::COUNT {
            let state = State::from_byte(byte as u8);
            lifetimes.set(timeouts, state, state.default_timeout());
        }
        lifetimes
    }

    #[inline]
    pub(super) fn index(&self, state: State) -> u16 {
        self.indexes[state as usize]
    }

    /// A state's timeout for the short way, as its index and in ticks.
    #[inline]
    pub(super) fn of(&self, state: State) -> (u16, u32) {
        (self.indexes[state as usize], self.ticks[state as usize])
    }

    /// Opens or closes the short way for all packets. It asks how old a connection is in any case, so that
    /// closing it costs open ones nothing.
    pub(super) fn open_short_way(&mut self, open: bool) {
        self.closed = !open;
        for (duration, slot) in self.durations.iter().zip(&mut self.ticks) {
            *slot = if self.closed { 0 } else { ticks(*duration) };
        }
    }

    pub(super) fn duration(&self, state: State) -> Duration {
        self.durations[state as usize]
    }

    /// `--set`: what is not given stays; connections change at their next packet (rule C8).
    pub(super) fn apply(&mut self, timeouts: &mut Timeouts, spec: TimeoutsSpec) {
        let settable = [
            (State::Established, spec.tcp),
            (State::FinWait, spec.tcp_fin),
            (State::Udp, spec.udp),
        ];
        for (state, timeout) in settable {
            if let Some(timeout) = timeout {
                self.set(timeouts, state, timeout);
            }
        }
    }

    pub(super) fn entry(&self) -> TimeoutsEntry {
        TimeoutsEntry {
            tcp: self.duration(State::Established),
            tcp_fin: self.duration(State::FinWait),
            udp: self.duration(State::Udp),
        }
    }

    /// Every index in use here, for the sweep of the table of timeouts.
    pub(super) fn in_use(&self) -> impl Iterator<Item = u16> + '_ {
        self.indexes.iter().copied().chain([self.new, self.ending])
    }

    fn set(&mut self, timeouts: &mut Timeouts, state: State, timeout: Duration) {
        self.durations[state as usize] = timeout;
        self.indexes[state as usize] = intern(timeouts, timeout);
        self.ticks[state as usize] = if self.closed { 0 } else { ticks(timeout) };
    }
}

/// The caller sees to it that there is room: see `Director::make_room_for_timeouts`.
fn intern(timeouts: &mut Timeouts, timeout: Duration) -> u16 {
    timeouts.intern(ticks(timeout)).expect("INVARIANT: room was made for new timeouts")
}

/// A duration in ticks of a millisecond; at most the 31 days that ipvsadm allows.
pub(super) fn ticks(duration: Duration) -> u32 {
    const MOST: u128 = 31 * 24 * 3600 * 1000;
    duration.as_millis().min(MOST) as u32
}
