//! Frames that are not as on the wire: unfinished checksums, super-frames, tags in side data.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::common::{Forwarder, LEFT, Lab, RIGHT, frame, next_event};
use lvs_core::addr::MacAddr;
use lvs_core::io::conformance::peer::virtio_header;
use lvs_core::io::{Checksum, Frame, Offload, SegmentKind, Segments, Verdict};
use lvs_io_afpacket::Event;
use lvs_testnet::backend::{EXPERIMENT, lent};
use lvs_testnet::{HttpServer, OffloadSocket, PacketSocket, digest_of_pattern, http};

const TRANSFER_LEN: u64 = 100_000_000;

fn transfer_between(target: &str) {
    let (lab, stop) = (Lab::new(), AtomicBool::new(false));
    lab.add_addresses();
    let target: SocketAddr = target.parse().unwrap();
    let _server = HttpServer::start(&lab.right, 80);
    std::thread::scope(|scope| {
        let forwarder = Forwarder::start(&lab, &stop, scope);
        let expected = digest_of_pattern(TRANSFER_LEN);
        let uploaded = lab.left.enter(|| http::upload(target, TRANSFER_LEN)).unwrap();
        assert_eq!(uploaded, expected, "the upload was damaged");
        let downloaded = lab.left.enter(|| http::download(target, TRANSFER_LEN)).unwrap();
        assert_eq!(downloaded, (TRANSFER_LEN, expected), "the download was damaged");
        let (mut io, seen) = forwarder.stop();
        println!("{seen:?}");
        assert!(seen.super_frames > 1_000, "no super-frames crossed: {seen:?}");
        assert!(seen.unfinished >= seen.super_frames, "checksums were finished: {seen:?}");
        for port in [LEFT, RIGHT] {
            let counters = io.counters(port).unwrap();
            assert_eq!((counters.truncated, counters.refused), (0, 0), "{counters:?}");
        }
    });
}

#[test]
fn an_ipv4_transfer_crosses_as_super_frames_and_arrives_undamaged() {
    transfer_between("10.1.0.2:80");
}

#[test]
fn an_ipv6_transfer_crosses_as_super_frames_and_arrives_undamaged() {
    transfer_between("[fd01::2]:80");
}

fn to_the_right(frame: &mut Frame<'_>) -> Verdict {
    let _ = frame;
    Verdict::Transmit(RIGHT)
}

fn tagged(to: MacAddr, tags: &[[u8; 4]]) -> Vec<u8> {
    let mut tagged = frame(to, b"tagged");
    tagged.splice(12..12, tags.concat());
    tagged
}

#[test]
fn vlan_tags_that_the_kernel_takes_out_are_put_back() {
    let lab = Lab::new();
    let mut io = lab.open();
    let mut peer = PacketSocket::open(&lab.right, "r0");
    let sender = PacketSocket::open(&lab.left, "l0");
    let dot1q = [0x81, 0x00, 0x60, 0x0a];
    let dot1ad = [0x88, 0xa8, 0x00, 0x64];
    for tags in [&[dot1q] as &[_], &[dot1ad], &[dot1ad, dot1q], &[dot1q, dot1q]] {
        let sent = tagged(lab.mac("d0"), tags);
        sender.send(&sent);
        let seen = lent(&mut io, 1, to_the_right);
        assert_eq!(seen[0].0, sent, "what the director sees of {tags:02x?}");
        let received = peer.receive_where(Duration::from_secs(2), |f| f.ends_with(&sent[14..]));
        assert_eq!(received.as_ref(), Some(&sent), "what arrives of {tags:02x?}");
    }
}

#[test]
fn a_tagged_super_frame_keeps_its_tag_and_its_metadata_moves_with_it() {
    let lab = Lab::new();
    let mut io = lab.open();
    let sender = OffloadSocket::open(&lab.left, "l0");
    let mut peer = OffloadSocket::open(&lab.right, "r0");
    let (sent, offload) = tagged_super_frame(lab.mac("d0"));
    sender.send(&virtio_header(&offload), &sent);
    let seen = lent(&mut io, 1, to_the_right);
    assert_eq!(seen[0].1, offload);
    assert!(seen[0].0 == sent, "the frame was damaged");
    let received = std::iter::from_fn(|| peer.receive(Duration::from_secs(2)))
        .find(|(_, seen)| !seen.outgoing && seen.bytes[12..14] == [0x81, 0])
        .expect("the super-frame did not arrive");
    assert!(received.1.bytes == sent, "the frame arrived damaged");
    assert_eq!(received.0[1], 1, "it arrived as a super-frame");
}

/// 16 segments of 1,000 bytes behind a tag, as a TCP on a VLAN would send them.
fn tagged_super_frame(to: MacAddr) -> (Vec<u8>, Offload) {
    let payload = vec![0x5a; 16_000];
    let total = (40 + payload.len()) as u16;
    let mut ip = [0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 1, 0, 1, 10, 1, 0, 2];
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    let checksum = !sum(&ip, 0);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    let mut tcp = [0; 20];
    tcp[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
    tcp[12..14].copy_from_slice(&[0x50, 0x10]);
    let pseudo = sum(&ip[12..20], 6 + u32::from(total) - 20);
    tcp[16..18].copy_from_slice(&pseudo.to_be_bytes());
    let ethernet = [to.0.as_slice(), &[2, 0, 0, 0, 0, 0x77], &[0x81, 0, 0, 5, 8, 0]].concat();
    let segments = Segments { kind: SegmentKind::Tcp4, size: 1_000, header_len: 58, ecn: false };
    let checksum = Checksum::Partial { start: 38, offset: 16 };
    let frame = [ethernet, ip.to_vec(), tcp.to_vec(), payload].concat();
    (frame, Offload { checksum, segments: Some(segments) })
}

fn sum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum = start + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[test]
fn big_tcp_is_refused_and_told_once_with_the_command_that_ends_it() {
    let lab = Lab::new();
    lab.add_addresses();
    for (host, interface) in [(&lab.left, "l0"), (&lab.right, "r0")] {
        host.ip(&format!("link set dev {interface} gso_max_size 180000 gro_max_size 180000"));
    }
    for interface in ["d0", "d1"] {
        let ip = format!("link set dev {interface} gso_max_size 180000 gro_max_size 180000");
        lab.director.ip(&ip);
    }
    let stop = AtomicBool::new(false);
    let _server = HttpServer::start(&lab.right, 80);
    std::thread::scope(|scope| {
        let forwarder = Forwarder::start(&lab, &stop, scope);
        // The transfer stalls whenever TCP builds a frame that is too long; the kernel then sends less
        // at once, so how far it gets is not the point.
        let client = scope.spawn(|| {
            lab.left.enter(|| {
                let target: SocketAddr = "[fd01::2]:80".parse().unwrap();
                let _ = http::upload(target, 20_000_000);
            });
        });
        client.join().unwrap();
        let (mut io, _) = forwarder.stop();
        let refused = io.counters(LEFT).unwrap().refused;
        assert!(refused > 0, "no frame was too long; does this kernel have BIG TCP?");
        let event = next_event(&mut io);
        assert!(matches!(event, Event::BigTcp { port: LEFT, .. }), "{event:?}");
        assert!(event.to_string().contains("ip link set dev d0 gro_max_size 65536"), "{event}");
        assert_eq!(io.next_event(), None, "told once");
    });
}

#[test]
fn a_frame_as_long_as_frames_can_be_is_lent_whole() {
    let lab = Lab::new();
    for (host, interface) in
        [(&lab.left, "l0"), (&lab.director, "d0"), (&lab.director, "d1"), (&lab.right, "r0")]
    {
        host.ip(&format!("link set dev {interface} mtu 65535"));
    }
    let mut io = lab.open();
    let sender = PacketSocket::open(&lab.left, "l0");
    let mut peer = PacketSocket::open(&lab.right, "r0");
    let tag = [0x81, 0, 0, 7];
    for len in [1_514, 9_230, 9_300, 20_000, 65_549] {
        let mut sent = frame(lab.mac("d0"), &[]);
        sent.splice(12..12, tag);
        sent.extend((sent.len()..len).map(|i| i as u8));
        assert_eq!(sent[16..18], EXPERIMENT);
        sender.send(&sent);
        let seen = lent(&mut io, 1, to_the_right);
        assert!(seen[0].0 == sent, "the frame of {len} bytes was damaged");
        let received = peer.receive_where(Duration::from_secs(2), |f| f[12..14] == tag[..2]);
        assert!(received == Some(sent), "the frame of {len} bytes did not arrive");
    }
}
