//! From bytes to the flow key: 64-byte TCP frames of 1024 flows, all in the cache (64 KiB).

use std::hint::black_box;
use std::net::Ipv6Addr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use lvs_benches::bare_key;
use lvs_benches::ring::{BURST, Flags, Ring, consecutive};
use lvs_core::parse::{Parsed, parse};

const FRAMES: u32 = 1024;

fn ipv4() -> Vec<Vec<u8>> {
    let mut ring = Ring::new(Flags::Ack);
    let bursts = (0..FRAMES).step_by(BURST);
    bursts.flat_map(|first| ring.fill(&consecutive(first)).map(|f| f.bytes().to_vec())).collect()
}

fn ipv6() -> Vec<Vec<u8>> {
    let virt = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
    let frame = |n: u16| {
        let client = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n / 16);
        let mut frame = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1])
            .ipv6(client.octets(), virt.octets(), 64)
            .tcp(1024 + n % 16, 80, 1, 1000)
            .write(&mut frame, &[])
            .expect("writing to a vector does not fail");
        frame
    };
    (0..FRAMES as u16).map(frame).collect()
}

/// What a director needs, by etherparse's slices (which do not check the IPv4 checksum).
fn by_etherparse(frame: &[u8]) -> Option<(u128, u128, u16, u16)> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (src, dst) = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let word = |octets| u128::from(u32::from_be_bytes(octets));
            (word(header.source()), word(header.destination()))
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header();
            (u128::from_be_bytes(header.source()), u128::from_be_bytes(header.destination()))
        }
        _ => return None,
    };
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            Some((src, dst, tcp.source_port(), tcp.destination_port()))
        }
        _ => None,
    }
}

fn benchmark(c: &mut Criterion) {
    for (name, frames) in [("parse ipv4 tcp", ipv4()), ("parse ipv6 tcp", ipv6())] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(frames.len() as u64));
        group.bench_function("lvs parse", |b| {
            b.iter(|| {
                for frame in &frames {
                    match parse(black_box(frame)) {
                        Parsed::Ip(headers) => drop(black_box(headers)),
                        other => panic!("{other:?}"),
                    }
                }
            });
        });
        group.bench_function("peer etherparse", |b| {
            b.iter(|| {
                for frame in &frames {
                    black_box(by_etherparse(black_box(frame)).expect("TCP"));
                }
            });
        });
        if bare_key(&frames[0]).is_some() {
            group.bench_function("limit by hand, no checksum", |b| {
                b.iter(|| {
                    for frame in &frames {
                        black_box(bare_key(black_box(frame)).expect("TCP"));
                    }
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
