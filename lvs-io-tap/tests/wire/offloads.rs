//! Frames that are not as on the wire: unfinished checksums, super-frames, and tags among them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lvs_core::io::conformance::peer::virtio_header;
use lvs_core::io::{Checksum, FrameIo, Offload, SegmentKind, Segments};
use lvs_testnet::backend::lent;
use lvs_testnet::{HttpServer, OffloadSocket, PacketSocket, digest_of_pattern, http};

use crate::common::{LEFT, Lab, RIGHT, across, datagram, frame};

const TRANSFER_LEN: u64 = 100_000_000;

/// What was seen of the frames that crossed.
#[derive(Default, Debug)]
struct Seen {
    frames: u64,
    super_frames: u64,
    unfinished: u64,
    longest: usize,
}

fn transfer_between(target: &str, mtu: u32) {
    let lab = Lab::new();
    for (host, interface, own) in [(&lab.left, "l0", 1), (&lab.right, "r0", 2)] {
        host.set_sysctl(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "0");
        host.ip(&format!("link set {interface} mtu {mtu}"));
        host.add_address(interface, &format!("10.1.0.{own}/24"));
        host.add_address(interface, &format!("fd01::{own}/64"));
        let number = own - 1;
        lab.director.ip(&format!("link set v{number} mtu {mtu}"));
    }
    let mut io = lab.open_with(|device| device.mtu(mtu), |builder| builder);
    let (target, stop): (SocketAddr, _) = (target.parse().unwrap(), AtomicBool::new(false));
    let _server = HttpServer::start(&lab.right, 80);
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let forwarder = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                io.wait(Some(Duration::from_millis(20))).unwrap();
                let report = io.exchange(&mut |burst| {
                    for frame in burst {
                        seen.frames += 1;
                        seen.super_frames += u64::from(frame.offload.segments.is_some());
                        let unfinished = matches!(frame.offload.checksum, Checksum::Partial { .. });
                        seen.unfinished += u64::from(unfinished);
                        seen.longest = seen.longest.max(frame.len());
                        frame.verdict = across(frame);
                    }
                });
                assert_eq!(report.unwrap().unsent, 0);
            }
        });
        let expected = digest_of_pattern(TRANSFER_LEN);
        let uploaded = lab.left.enter(|| http::upload(target, TRANSFER_LEN));
        let downloaded = lab.left.enter(|| http::download(target, TRANSFER_LEN));
        stop.store(true, Ordering::Relaxed);
        forwarder.join().unwrap();
        assert_eq!(uploaded.unwrap(), expected, "the upload was damaged");
        assert_eq!(downloaded.unwrap(), (TRANSFER_LEN, expected), "the download was damaged");
    });
    println!("{seen:?}");
    assert!(seen.super_frames > 1_000, "no super-frames crossed: {seen:?}");
    assert!(seen.unfinished >= seen.super_frames, "checksums were finished: {seen:?}");
    assert!(seen.longest > 60_000, "super-frames were short: {seen:?}");
    for port in [LEFT, RIGHT] {
        assert_eq!(io.counters(port).unwrap().refused, 0);
    }
}

#[test]
fn an_ipv4_transfer_crosses_as_super_frames_and_arrives_undamaged() {
    transfer_between("10.1.0.2:80", 1500);
}

#[test]
fn an_ipv6_transfer_in_jumbo_frames_crosses_as_super_frames_and_arrives_undamaged() {
    transfer_between("[fd01::2]:80", 9000);
}

#[test]
fn vlan_tags_cross_in_their_place() {
    let lab = Lab::new();
    let mut io = lab.open();
    let mut peer = PacketSocket::open(&lab.right, "r0");
    let sender = PacketSocket::open(&lab.left, "l0");
    let (dot1q, dot1ad) = ([0x81, 0x00, 0x60, 0x0a], [0x88, 0xa8, 0x00, 0x64]);
    for tags in [&[dot1q] as &[_], &[dot1ad], &[dot1ad, dot1q]] {
        let mut sent = frame(b"tagged");
        sent.splice(12..12, tags.concat());
        sender.send(&sent);
        assert_eq!(lent(&mut io, 1, across)[0].0, sent, "what the director sees of {tags:02x?}");
        let received = peer.receive_where(Duration::from_secs(2), |f| f.ends_with(&sent[14..]));
        assert_eq!(received.as_ref(), Some(&sent), "what arrives of {tags:02x?}");
    }
}

#[test]
fn datagrams_to_be_cut_cross_with_their_metadata() {
    let lab = Lab::new();
    let mut io = lab.open();
    let sender = OffloadSocket::open(&lab.left, "l0");
    let segments = Segments { kind: SegmentKind::Udp, size: 1000, header_len: 42, ecn: false };
    let checksum = Checksum::Partial { start: 34, offset: 6 };
    let offload = Offload { checksum, segments: Some(segments) };
    sender.send(&virtio_header(&offload), &datagram(2, 42 + 3_000));
    let seen = lent(&mut io, 1, across);
    if seen[0].1.segments.is_none() {
        println!("skipped: this kernel cuts datagrams itself (needs Linux 6.2)");
        return;
    }
    assert_eq!(seen[0].1, offload);
}
