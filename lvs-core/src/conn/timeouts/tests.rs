use std::vec::Vec;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_number_in_use_keeps_its_value(
        max in 1..20u16,
        steps in prop::collection::vec((0..40u32, any::<u32>()), 1..100),
    ) {
        let mut timeouts = Timeouts::new(max);
        // Numbers with the values that they were given for.
        let mut used: Vec<(u16, u32)> = Vec::new();
        for (ticks, choice) in steps {
            match timeouts.intern(ticks) {
                Ok(index) => {
                    prop_assert!(used.iter().all(|&(i, t)| (i == index) == (t == ticks)));
                    if !used.contains(&(index, ticks)) {
                        used.push((index, ticks));
                    }
                }
                Err(TimeoutsFull { .. }) => {
                    prop_assert_eq!(timeouts.len(), usize::from(max));
                    let mut bits = choice;
                    used.retain(|_| {
                        bits = bits.rotate_right(1);
                        bits & 1 == 1
                    });
                    timeouts.collect(used.iter().map(|&(index, _)| index));
                    prop_assert_eq!(timeouts.len(), used.len());
                }
            }
            for &(index, ticks) in &used {
                prop_assert_eq!(timeouts.ticks(index), ticks);
            }
        }
    }
}

#[test]
fn a_number_never_given_has_no_time() {
    let timeouts = Timeouts::new(4);
    assert_eq!(timeouts.ticks(0), 0);
    assert_eq!(timeouts.ticks(u16::MAX), 0);
    assert!(timeouts.is_empty());
}

#[test]
fn numbers_that_mean_nothing_are_no_use() {
    let mut timeouts = Timeouts::new(1);
    timeouts.intern(5).unwrap();
    timeouts.collect([1, 77, u16::MAX]);
    assert!(timeouts.is_empty());
    assert!(timeouts.intern(6).is_ok());
}
