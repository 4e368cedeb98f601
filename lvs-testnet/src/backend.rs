//! What the tests of backends do, with the backend and at the far ends of its ports.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use lvs_core::io::conformance::PeerFrame;
use lvs_core::io::conformance::peer::{checksum_of, virtio_header};
use lvs_core::io::{Frame, FrameIo, Offload, Verdict};

use crate::offload::OffloadSocket;

/// EtherType for local experiments (IEEE 802 §9.2.4).
pub const EXPERIMENT: [u8; 2] = [0x88, 0xb5];

/// EtherType of IPv6, which the kernels of hosts send unasked.
const IPV6: [u8; 2] = [0x86, 0xdd];

/// An Ethernet frame for experiments, of at least 60 bytes.
pub fn experiment(to: [u8; 6], payload: &[u8]) -> Vec<u8> {
    let mut frame = [to.as_slice(), &[2, 0, 0, 0, 0, 0x77], &EXPERIMENT, payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// Whether a frame is one for experiments.
pub fn is_experiment(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&EXPERIMENT)
}

/// Exchanges until `count` frames that are not IPv6 were lent, and returns them as they were. They get the
/// verdict of `decide`.
///
/// # Panics
/// If the backend fails, or nothing comes for three seconds.
#[track_caller]
pub fn lent<I: FrameIo>(
    io: &mut I,
    count: usize,
    mut decide: impl FnMut(&mut Frame<'_>) -> Verdict,
) -> Vec<(Vec<u8>, Offload)> {
    let (mut seen, mut idle) = (Vec::new(), 0);
    while seen.len() < count {
        wait(io, Duration::from_millis(500));
        let report = io.exchange(&mut |burst| {
            for frame in burst.iter_mut().filter(|frame| frame.bytes().get(12..14) != Some(&IPV6)) {
                seen.push((frame.bytes().to_vec(), frame.offload));
                frame.verdict = decide(frame);
            }
        });
        let report = report.unwrap_or_else(|error| panic!("cannot exchange: {error}"));
        idle = if report.received == 0 { idle + 1 } else { 0 };
        assert!(idle < 6, "only {} of {count} frames arrived", seen.len());
    }
    seen
}

/// Waits, without a frame to come, until the backend has an event to tell, as `next` says.
///
/// # Panics
/// If the backend fails, or tells nothing within five seconds.
#[track_caller]
pub fn told<I: FrameIo, E>(io: &mut I, mut next: impl FnMut(&mut I) -> Option<E>) -> E {
    for _ in 0..50 {
        if let Some(event) = next(io) {
            return event;
        }
        wait(io, Duration::from_millis(100));
        io.exchange(&mut |_| {}).unwrap_or_else(|error| panic!("cannot exchange: {error}"));
    }
    panic!("no event within five seconds");
}

#[track_caller]
fn wait<I: FrameIo>(io: &mut I, timeout: Duration) {
    io.wait(Some(timeout)).unwrap_or_else(|error| panic!("cannot wait: {error}"));
}

/// Makes one end of a pair of sockets readable by writing to the other.
///
/// # Panics
/// If that is closed.
#[track_caller]
pub fn nudge(fd: &OwnedFd) {
    let stream = fd.as_fd().try_clone_to_owned().map(UnixStream::from);
    let written = stream.and_then(|mut stream| stream.write_all(b"!"));
    written.unwrap_or_else(|error| panic!("cannot write to a descriptor: {error}"));
}

/// The body of [`Harness::peer_send`](lvs_core::io::conformance::Harness::peer_send).
///
/// # Panics
/// As [`OffloadSocket::send`].
#[track_caller]
pub fn peer_send(peer: &OffloadSocket, frame: &[u8], offload: Offload) {
    peer.send(&virtio_header(&offload), frame);
}

/// The body of [`Harness::peer_receive`](lvs_core::io::conformance::Harness::peer_receive).
///
/// # Panics
/// As [`OffloadSocket::receive`].
#[track_caller]
pub fn peer_receive(peer: &mut OffloadSocket, at_least: usize) -> Vec<PeerFrame> {
    let deadline = Instant::now() + Duration::from_secs(3);
    let mut frames = Vec::new();
    loop {
        let is_enough = frames.len() >= at_least || Instant::now() >= deadline;
        let timeout = Duration::from_millis(if is_enough { 20 } else { 500 });
        match peer.receive(timeout) {
            // What the peer sent itself, and what the hosts' kernels say of their own.
            Some((_, seen)) if seen.outgoing || seen.bytes.get(12..14) == Some(&IPV6) => {}
            Some((header, seen)) => {
                let offload = Offload { checksum: checksum_of(&header), segments: None };
                frames.push(PeerFrame { bytes: seen.bytes, offload });
            }
            None if is_enough => return frames,
            None => {}
        }
    }
}
