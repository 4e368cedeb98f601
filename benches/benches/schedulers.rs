//! One choice of each scheduler, with 8 and 100 servers of weights 1 to 4 that hold 1000 connections.
//!
//! A scheduler is asked within a director, where it sees real destinations: a scheduler of our own, registered
//! under another name, asks the one to be measured as often as the benchmark wants. Working set: the
//! service's destinations.

use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lvs_benches::ring::{BURST, Flags, Ring, consecutive};
use lvs_benches::world::World;
use lvs_core::command::SchedulerFlags;
use lvs_core::sched::{Candidates, Change, Request, SCHEDULERS, Schedule, SchedulerInfo};

/// What is measured, how often it is to be asked for the next connection, and how long that took.
struct Probe {
    scheduler: &'static str,
    picks: u64,
    elapsed: Duration,
}

static PROBE: Mutex<Probe> = Mutex::new(Probe { scheduler: "", picks: 1, elapsed: Duration::ZERO });

const PROBED: SchedulerInfo = SchedulerInfo {
    name: "probed",
    summary: "asks another scheduler several times and takes the time",
    make: |flags, candidates| Box::new(Probed::new(flags, candidates)),
};

#[derive(Debug)]
struct Probed {
    inner: Box<dyn Schedule>,
}

impl Probed {
    fn new(flags: SchedulerFlags, candidates: &Candidates<'_>) -> Probed {
        let name = PROBE.lock().expect("nobody panics with it").scheduler;
        let info = lvs_core::sched::by_name(name).expect("it is in the table");
        Probed { inner: (info.make)(flags, candidates) }
    }
}

impl Schedule for Probed {
    fn pick(&mut self, candidates: &Candidates<'_>, request: &Request<'_>) -> Option<usize> {
        let mut probe = PROBE.lock().expect("nobody panics with it");
        let start = Instant::now();
        let mut picked = None;
        for _ in 0..probe.picks {
            picked = black_box(self.inner.pick(black_box(candidates), request));
        }
        probe.elapsed = start.elapsed();
        picked
    }

    fn changed(&mut self, candidates: &Candidates<'_>, change: Change) {
        self.inner.changed(candidates, change);
    }
}

fn ask(picks: u64) {
    PROBE.lock().expect("nobody panics with it").picks = picks;
}

fn benchmark(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduler pick");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    group.sample_size(30);
    for info in SCHEDULERS {
        for servers in [8u8, 100] {
            PROBE.lock().expect("nobody panics with it").scheduler = info.name;
            let mut world = World::with_scheduler(1 << 20, PROBED, servers);
            let mut ring = Ring::new(Flags::Syn);
            for first in (0..1000).step_by(BURST) {
                world.burst(&mut ring.fill(&consecutive(first)));
            }
            let mut flow = 1_000_000;
            let name = format!("lvs {}", info.name);
            group.bench_function(BenchmarkId::new(name, servers), |b| {
                b.iter_custom(|picks| {
                    ask(picks);
                    flow += 1;
                    world.burst(&mut ring.fill(&consecutive(flow))[..1]);
                    ask(1);
                    PROBE.lock().expect("nobody panics with it").elapsed
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
