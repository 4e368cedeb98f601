//! Rates as the kernel estimates them: every two seconds the average moves a quarter of the way to what
//! the last two seconds had (rule T4).

use std::collections::HashMap;

use lvs_admin::listing::Rates;
use lvs_core::command::ServiceKey;
use lvs_core::flow::Endpoint;
use lvs_core::listing::ServiceEntry;
use lvs_core::stats::Counters;
use lvs_core::time::{Duration, Instant};

/// How often the averages move.
pub(super) const PERIOD: Duration = Duration::from_secs(2);

/// A service, or one of its servers; `None` the director's totals.
type Subject = Option<(ServiceKey, Option<Endpoint>)>;

/// The averages of everything that is counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Estimators {
    subjects: HashMap<Subject, Estimator>,
    next: Option<Instant>,
}

/// Averages with a binary fraction, as the kernel keeps them: connections, packets in and out, bytes in
/// and out.
#[derive(Clone, Copy, Debug, Default)]
struct Estimator {
    last: [u64; 5],
    average: [i64; 5],
}

/// Bits of the fraction of each average.
const FRACTION: [u32; 5] = [10, 10, 10, 5, 5];

impl Estimators {
    /// When the averages move next.
    pub(super) fn due(&self) -> Instant {
        self.next.unwrap_or(Instant::ZERO + PERIOD)
    }

    /// Moves the averages.
    pub(super) fn tick(&mut self, services: &[ServiceEntry], total: &Counters) {
        self.next = Some(self.due() + PERIOD);
        self.observe(None, total);
        for service in services {
            let key = service.spec.key;
            self.observe(Some((key, None)), &service.counters);
            for server in &service.destinations {
                self.observe(Some((key, Some(server.spec.addr))), &server.counters);
            }
        }
    }

    /// The rates of a service or of one of its servers.
    pub(super) fn of(&self, key: &ServiceKey, server: Option<Endpoint>) -> Rates {
        self.rates(&Some((*key, server)))
    }

    /// The rates of everything.
    pub(super) fn total(&self) -> Rates {
        self.rates(&None)
    }

    fn rates(&self, subject: &Subject) -> Rates {
        let average = self.subjects.get(subject).map_or([0; 5], |estimator| estimator.average);
        let [connections, packets_in, packets_out, bytes_in, bytes_out] =
            std::array::from_fn(|i| {
                // A little less than a half is added, so that exactly a half is cut off.
                let rounding = (1 << (FRACTION[i] - 1)) - 1;
                u64::try_from((average[i] + rounding) >> FRACTION[i]).unwrap_or(0)
            });
        Rates { connections, packets_in, packets_out, bytes_in, bytes_out }
    }

    fn observe(&mut self, subject: Subject, counters: &Counters) {
        let Counters { connections, packets_in, packets_out, bytes_in, bytes_out } = *counters;
        let present = [connections, packets_in, packets_out, bytes_in, bytes_out];
        let estimator = self.subjects.entry(subject).or_default();
        for (i, &count) in present.iter().enumerate() {
            // A counter that was zeroed begins anew.
            let since = count.checked_sub(estimator.last[i]).unwrap_or(count);
            // What a period of two seconds had, as a rate of one.
            let rate = i64::try_from(since).unwrap_or(i64::MAX >> 11) << (FRACTION[i] - 1);
            estimator.average[i] += (rate - estimator.average[i]) >> 2;
        }
        estimator.last = present;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_packets_at_once_fade_by_a_quarter_every_two_seconds() {
        let mut estimators = Estimators::default();
        let total = Counters { packets_in: 100, bytes_in: 10_000, ..Counters::default() };
        let seen: Vec<_> = (0..4)
            .map(|_| {
                estimators.tick(&[], &total);
                let rates = estimators.total();
                (rates.packets_in, rates.bytes_in)
            })
            .collect();
        // Rule T4; scenario loose/rates shows the second.
        assert_eq!(seen, [(12, 1250), (9, 937), (7, 703), (5, 527)]);
        assert_eq!(estimators.due(), Instant::from_secs(10));
    }
}
