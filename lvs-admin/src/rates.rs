//! Rates as the kernel estimates them: every two seconds the average moves a quarter of the way to what
//! the last two seconds had (rule T4).

use std::collections::HashMap;

use lvs_core::command::ServiceKey;
use lvs_core::flow::Endpoint;
use lvs_core::listing::ServiceEntry;
use lvs_core::stats::Counters;
use lvs_core::time::{Duration, Instant};

use crate::listing::Rates;

/// How often the averages move.
pub const PERIOD: Duration = Duration::from_secs(2);

/// A service, or one of its servers; `None` is the director's totals.
type Subject = Option<(ServiceKey, Option<Endpoint>)>;

/// The averages of everything that is counted.
///
/// ```
/// use lvs_admin::rates::Estimators;
/// use lvs_core::stats::Counters;
///
/// let mut estimators = Estimators::default();
/// estimators.tick(&[], &Counters { packets_in: 100, ..Counters::default() });
/// assert_eq!(estimators.total().packets_in, 12);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Estimators {
    subjects: HashMap<Subject, Estimator>,
    next: Option<Instant>,
    /// The number of the round under way.
    round: u64,
}

/// Averages with a binary fraction, as the kernel keeps them: connections, packets in and out, bytes in
/// and out.
#[derive(Clone, Copy, Debug, Default)]
struct Estimator {
    /// The round after the last one that it was looked at in; 0 before the first.
    looked_at: u64,
    last: [u64; 5],
    average: [i64; 5],
}

/// Bits of the fraction of each average.
const FRACTION: [u32; 5] = [10, 10, 10, 5, 5];

impl Estimators {
    /// When the averages move next.
    pub fn due(&self) -> Instant {
        self.next.unwrap_or(Instant::ZERO + PERIOD)
    }

    /// Moves all averages; what is no longer there is forgotten.
    pub fn tick(&mut self, services: &[ServiceEntry], total: &Counters) {
        services.iter().for_each(|service| self.observe_service(service));
        self.end_round(total);
    }

    /// Moves the averages of one service and of its servers: a part of a round, for directors whose
    /// services are read in chunks. A service that is cut, its servers in several chunks, counts once.
    pub fn observe_service(&mut self, service: &ServiceEntry) {
        let key = service.spec.key;
        self.observe(Some((key, None)), &service.counters);
        for server in &service.destinations {
            self.observe(Some((key, Some(server.spec.addr))), &server.counters);
        }
    }

    /// Ends a round after all services were observed: moves the averages of the totals, and forgets
    /// services and servers that were not observed in it.
    pub fn end_round(&mut self, total: &Counters) {
        self.observe(None, total);
        self.next = Some(self.due() + PERIOD);
        self.round += 1;
        let round = self.round;
        self.subjects.retain(|_, estimator| estimator.looked_at == round);
    }

    /// Lets a round pass in which nothing is estimated (rule T5).
    pub fn skip(&mut self) {
        self.next = Some(self.due() + PERIOD);
        self.round += 1;
    }

    /// The rates of a service or of one of its servers.
    pub fn of(&self, key: &ServiceKey, server: Option<Endpoint>) -> Rates {
        self.rates(&Some((*key, server)))
    }

    /// The rates of everything.
    pub fn total(&self) -> Rates {
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
        if estimator.looked_at > self.round {
            return;
        }
        estimator.looked_at = self.round + 1;
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
