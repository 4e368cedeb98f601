//! The first packet of a connection, whole: miss, service, scheduler (rr, 8 servers), insert, timer; and the end
//! of a connection by its timer.
//!
//! 64-byte SYN frames in bursts of 32, clients in sequence. The table begins empty and is emptied, off the
//! clock, when it is full. Working set: that table.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lvs_benches::limit::StagedLoop;
use lvs_benches::peer::Map;
use lvs_benches::ring::{BURST, Flags, Ring, consecutive};
use lvs_benches::world::World;
use lvs_core::io::Frame;

const SERVERS: u8 = 8;

/// The time of `bursts` bursts of new flows, `capacity` of them at most before `empty` is called.
fn time<T>(
    table: &mut T,
    (bursts, capacity): (u64, u32),
    open: impl Fn(&mut T, &mut [Frame<'_>; BURST], u64),
    empty: impl Fn(&mut T),
) -> Duration {
    let mut ring = Ring::new(Flags::Syn);
    let per_round = u64::from(capacity) / BURST as u64;
    let (mut left, mut elapsed) = (bursts, Duration::ZERO);
    while left > 0 {
        let round = left.min(per_round);
        let start = Instant::now();
        for n in 0..round {
            open(table, &mut ring.fill(&consecutive(n as u32 * BURST as u32)), n);
        }
        elapsed += start.elapsed();
        empty(table);
        left -= round;
    }
    elapsed
}

fn benchmark(c: &mut Criterion) {
    let mut group = c.benchmark_group("new connection");
    group.throughput(Throughput::Elements(BURST as u64));
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    group.sample_size(20);
    for capacity in [1u32 << 16, 1 << 20] {
        let name = |line: &str| BenchmarkId::new(line, capacity);
        group.bench_function(name("refill"), |b| {
            let black_box = |_: &mut (), burst: &mut [Frame<'_>; BURST], _| {
                std::hint::black_box(burst);
            };
            b.iter_custom(|bursts| time(&mut (), (bursts, capacity), black_box, |()| ()));
        });
        let mut world = World::new(capacity, "rr", SERVERS);
        let open = |world: &mut World, burst: &mut [Frame<'_>; BURST], _| world.burst(burst);
        let empty = |world: &mut World| {
            world.expire_all();
        };
        group.bench_function(name("lvs burst of 32"), |b| {
            b.iter_custom(|bursts| time(&mut world, (bursts, capacity), open, empty));
        });
        let stats = world.director.stats();
        assert_eq!(stats.total.connections, stats.transmitted, "every frame opened a connection");
        drop(world);

        let mut limit = StagedLoop::new(capacity, SERVERS);
        group.bench_function(name("limit staged loop of 32"), |b| {
            let run = (capacity, StagedLoop::open, StagedLoop::clear);
            b.iter_custom(|bursts| time(&mut limit, (bursts, run.0), run.1, run.2));
        });
        drop(limit);

        let mut map = Map::new(capacity, SERVERS);
        let open = |map: &mut Map, burst: &mut [Frame<'_>; BURST], n| map.process(burst, n);
        group.bench_function(name("peer hashbrown, one by one"), |b| {
            b.iter_custom(|bursts| time(&mut map, (bursts, capacity), open, Map::clear));
        });
    }
    group.finish();
    expiry(c);
}

/// The end of a connection by its timer, 256 at a time.
fn expiry(c: &mut Criterion) {
    let mut group = c.benchmark_group("expiry");
    group.throughput(Throughput::Elements(BURST as u64));
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    group.sample_size(20);
    for capacity in [1u32 << 16, 1 << 20] {
        let mut world = World::new(capacity, "rr", SERVERS);
        let mut ring = Ring::new(Flags::Syn);
        group.bench_function(BenchmarkId::new("lvs by timer", capacity), |b| {
            b.iter_custom(|bursts| {
                let rounds = bursts.div_ceil(u64::from(capacity) / BURST as u64);
                let mut elapsed = Duration::ZERO;
                for _ in 0..rounds {
                    for first in (0..capacity).step_by(BURST) {
                        world.burst(&mut ring.fill(&consecutive(first)));
                    }
                    elapsed += world.expire_all();
                }
                let expired = rounds * u64::from(capacity) / BURST as u64;
                elapsed.mul_f64(bursts as f64 / expired as f64)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
