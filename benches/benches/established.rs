//! A packet of an established connection, whole: 64-byte frames in bursts of 32, flows in random order.
//!
//! Table fill: as many connections as it was made for (the director's has room for 5 % more). Working set: the
//! table, about 106 bytes a connection for the director, 75 to 85 for the limit; the ring of frames
//! (8 KiB) is in the cache. Refilling it is part of every line and has one of its own.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lvs_benches::limit::StagedLoop;
use lvs_benches::peer::Map;
use lvs_benches::ring::{BURST, Flags, Order, Ring, consecutive};
use lvs_benches::world::{MASQUERADED, World};

const SERVERS: u8 = 8;

fn benchmark(c: &mut Criterion) {
    let mut group = c.benchmark_group("established");
    group.throughput(Throughput::Elements(BURST as u64));
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    for flows in [1_000u32, 1_000_000] {
        let flows = flows.next_multiple_of(BURST as u32);
        let name = |line: &str| BenchmarkId::new(line, flows);
        let mut order = Order::random(flows);
        let mut ring = Ring::new(Flags::Ack);

        group.bench_function(name("refill"), |b| {
            b.iter(|| {
                let mut burst = ring.fill(order.next_burst());
                std::hint::black_box(&mut burst);
            });
        });

        let mut world = World::new(flows + flows / 20, "rr", SERVERS);
        world.establish(flows);
        group.bench_function(name("lvs burst of 32"), |b| {
            b.iter(|| world.burst(&mut ring.fill(order.next_burst())));
        });
        let stats = world.director.stats();
        assert_eq!(stats.received, stats.transmitted, "every frame was forwarded");
        drop(world);

        let mut world = World::masquerading(flows + flows / 20);
        world.establish(flows);
        group.bench_function(name("lvs masqueraded"), |b| {
            b.iter(|| world.burst(&mut ring.fill(order.next_burst())));
        });
        let mut answers = Ring::answers(MASQUERADED.0, MASQUERADED.1);
        group.bench_function(name("lvs masqueraded, answers"), |b| {
            b.iter(|| world.burst(&mut answers.fill(order.next_burst())));
        });
        let stats = world.director.stats();
        assert_eq!(stats.received, stats.transmitted, "every frame was forwarded");
        drop(world);

        let mut limit = StagedLoop::new(flows, SERVERS);
        for first in (0..flows).step_by(BURST) {
            limit.open(&mut ring.fill(&consecutive(first)), 0);
        }
        group.bench_function(name("limit staged loop of 32"), |b| {
            b.iter(|| limit.established(&mut ring.fill(order.next_burst()), 7));
        });
        drop(limit);

        let mut map = Map::new(flows, SERVERS);
        for first in (0..flows).step_by(BURST) {
            map.process(&mut ring.fill(&consecutive(first)), 0);
        }
        group.bench_function(name("peer hashbrown, one by one"), |b| {
            b.iter(|| map.process(&mut ring.fill(order.next_burst()), 7));
        });
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
