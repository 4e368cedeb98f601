use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const IDS: u32 = 24;

/// The wheel as a sorted list: deadlines with the order of filing, and the present.
#[derive(Default)]
struct Model {
    filed: Vec<(u64, u64, u32)>,
    filings: u64,
    now: u64,
}

impl Model {
    fn file(&mut self, id: u32, deadline: u64) {
        self.cancel(id);
        let deadline = deadline.clamp(self.now, self.now.saturating_add(u64::from(u32::MAX)));
        self.filings += 1;
        self.filed.push((deadline, self.filings, id));
        self.filed.sort();
    }

    fn cancel(&mut self, id: u32) {
        self.filed.retain(|&(_, _, other)| other != id);
    }

    fn pop_due(&mut self, now: u64) -> Option<(u32, u64)> {
        let now = now.max(self.now);
        match self.filed.first() {
            Some(&(deadline, _, id)) if deadline <= now => {
                self.filed.remove(0);
                self.now = deadline;
                Some((id, deadline))
            }
            _ => {
                self.now = now;
                None
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Files an entry so many ms after the time of the step.
    File(u32, i64),
    Cancel(u32),
    /// Lets time pass and takes out all that is due; one entry in so many is filed again, so many ms
    /// after its deadline.
    Drain {
        pass: u64,
        again: usize,
        later: u64,
    },
    /// Lets time pass and takes out one entry.
    Pop(u64),
    /// Calls at a time in the past.
    Back(u64),
}

/// Spans of all magnitudes.
fn span() -> impl Strategy<Value = u64> {
    (0..36u32).prop_flat_map(|bits| 0..1u64 << bits)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..IDS, span()).prop_map(|(id, span)| Op::File(id, span as i64)),
        1 => (0..IDS, span()).prop_map(|(id, span)| Op::File(id, -(span as i64))),
        2 => (0..IDS).prop_map(Op::Cancel),
        3 => (span(), 1..5usize, span())
            .prop_map(|(pass, again, later)| Op::Drain { pass, again, later }),
        2 => span().prop_map(Op::Pop),
        1 => span().prop_map(Op::Back),
    ]
}

fn start() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        span(),
        // Just before the wheel's top level comes round, and before the end of time.
        (0..2000u64).prop_map(|before| (1 << 36) - before),
        (0..1u64 << 34).prop_map(|before| u64::MAX - before),
        any::<u64>(),
    ]
}

fn agree(wheel: &TimerWheel, model: &Model) {
    for id in 0..IDS {
        let filed = model.filed.iter().find(|f| f.2 == id).map(|f| f.0);
        assert_eq!(wheel.deadline(id), filed, "entry {id}");
        assert_eq!(wheel.is_filed(id), filed.is_some());
    }
    assert_eq!(wheel.len() as usize, model.filed.len());
    let earliest = model.filed.first().map(|f| f.0);
    match (wheel.next_deadline(), earliest) {
        (None, None) => {}
        (Some(next), Some(earliest)) => assert!(next <= earliest, "{next} is after {earliest}"),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn the_wheel_does_what_a_sorted_list_does(
        start in start(),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut wheel = TimerWheel::new(IDS, start);
        let mut model = Model { now: start, ..Model::default() };
        let mut now = start;
        for op in ops {
            match op {
                Op::File(id, after) => {
                    let deadline = now.saturating_add_signed(after);
                    wheel.file(id, deadline);
                    model.file(id, deadline);
                }
                Op::Cancel(id) => {
                    wheel.cancel(id);
                    model.cancel(id);
                }
                Op::Drain { pass, again, later } => {
                    now = now.saturating_add(pass);
                    let mut count = 0;
                    let mut last = 0;
                    loop {
                        let popped = wheel.pop_due(now);
                        prop_assert_eq!(popped, model.pop_due(now));
                        let Some((id, deadline)) = popped else { break };
                        prop_assert!(last <= deadline && deadline <= now.max(start));
                        last = deadline;
                        count += 1;
                        if count % again == 0 && count < 100 {
                            wheel.file(id, deadline.saturating_add(later));
                            model.file(id, deadline.saturating_add(later));
                        }
                    }
                }
                Op::Pop(pass) => {
                    now = now.saturating_add(pass);
                    prop_assert_eq!(wheel.pop_due(now), model.pop_due(now));
                }
                Op::Back(by) => {
                    let past = now.saturating_sub(by);
                    prop_assert_eq!(wheel.pop_due(past), model.pop_due(past));
                }
            }
            agree(&wheel, &model);
        }
    }

    #[test]
    fn waking_at_next_deadline_finds_every_entry_on_time_and_soon(
        start in start(),
        spans in prop::collection::vec(span(), 1..20),
    ) {
        let mut wheel = TimerWheel::new(IDS, start);
        for (id, &span) in spans.iter().enumerate() {
            wheel.file(id as u32, start.saturating_add(span));
        }
        let (mut calls, mut before) = (0, None);
        while let Some(wake) = wheel.next_deadline() {
            calls += 1;
            prop_assert!(before < Some(wake), "a call at its time must bring the wheel on");
            before = Some(wake);
            while let Some((id, deadline)) = wheel.pop_due(wake) {
                let wanted = start.saturating_add(spans[id as usize].min(u64::from(u32::MAX)));
                prop_assert_eq!((deadline, wake), (wanted, wanted), "entry {} is late or early", id);
            }
        }
        prop_assert!(calls <= 6 * spans.len(), "{calls} calls for {} entries", spans.len());
    }
}

#[test]
fn entries_of_one_millisecond_come_out_in_the_order_of_filing() {
    let mut wheel = TimerWheel::new(100, 0);
    for id in [7, 3, 99, 0, 42] {
        wheel.file(id, 300_000);
    }
    wheel.file(3, 300_000);
    wheel.cancel(99);
    let out: Vec<u32> = core::iter::from_fn(|| wheel.pop_due(400_000)).map(|(id, _)| id).collect();
    assert_eq!(out, [7, 0, 42, 3]);
}

#[test]
fn what_is_filed_during_a_drain_takes_its_place_in_the_order() {
    let mut wheel = TimerWheel::new(4, 0);
    wheel.file(0, 100);
    wheel.file(1, 5_000_000);
    assert_eq!(wheel.pop_due(10_000_000), Some((0, 100)));
    wheel.file(0, 4_999_999);
    wheel.file(2, 5_000_001);
    wheel.file(3, 50); // before the present, which is 100
    let out: Vec<_> = core::iter::from_fn(|| wheel.pop_due(10_000_000)).collect();
    assert_eq!(out, [(3, 100), (0, 4_999_999), (1, 5_000_000), (2, 5_000_001)]);
}

#[test]
fn a_jump_of_centuries_takes_no_longer_than_a_step() {
    let mut wheel = TimerWheel::new(2, 0);
    for century in 1..10_000 {
        wheel.file(0, wheel.elapsed + 60_000);
        let now = century * 100 * 365 * 86_400_000;
        assert!(wheel.pop_due(now).is_some());
        assert_eq!(wheel.pop_due(now), None);
        assert_eq!(wheel.next_deadline(), None);
    }
}

#[test]
fn a_deadline_beyond_the_span_comes_out_early_to_be_filed_again() {
    let mut wheel = TimerWheel::new(1, 1_000);
    wheel.file(0, u64::MAX);
    assert_eq!(wheel.pop_due(u64::MAX), Some((0, 1_000 + u64::from(u32::MAX))));
}
