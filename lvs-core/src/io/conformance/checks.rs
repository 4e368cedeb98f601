//! The checks, one for each thing that the contract promises.

use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec::Vec;

use super::{Harness, IN, OUT, exchange_once, frames, numbers, pump, settle_down};
use crate::drop::{DropReason, PassReason};
use crate::ids::PortId;
use crate::io::{FrameIo, Offload, Readiness, Verdict};

/// A check and its name.
pub(super) type Check<H> = (&'static str, fn(&mut H));

/// Every check, in the order of the contract's points.
pub(super) fn all<H: Harness>() -> [Check<H>; 14] {
    [
        ("1: without frames decide is not called", idle),
        ("1: bursts are not empty and not too long", bursts),
        ("2: a frame without a verdict is dropped", undecided),
        ("3: the promised headroom can be used", headroom),
        ("4: verdicts are carried out in order", order),
        ("4: a full transmit ring drops and counts", full),
        ("5: unwinding returns every slot", unwinding),
        ("6: wait keeps to its timeout", waiting),
        ("7: own transmissions are not seen", own_transmissions),
        ("8: a full burst asks for another poll", more),
        ("9: a port that does not exist is not an error", no_such_port),
        ("9: a frame that cannot be sent is not an error", refused),
        ("inject sends until there is no more", inject),
        ("offload metadata crosses the backend", offload),
    ]
}

fn send<H: Harness>(harness: &mut H, port: PortId, numbers: core::ops::Range<u32>) {
    let to = harness.mac(port);
    for number in numbers {
        let frame = frames::numbered(to, number, 60 + number as usize % 900);
        harness.peer_send(port, &frame, Offload::default());
    }
}

fn idle<H: Harness>(harness: &mut H) {
    settle_down(harness, &mut |number, _| panic!("point 1: frame {number} out of nowhere"));
}

fn bursts<H: Harness>(harness: &mut H) {
    let count = u32::from(harness.io().caps().burst_max) * 2 + 1;
    send(harness, IN, 0..count);
    let mut seen = Vec::new();
    let tally = pump(harness, count, &mut |number, frame| {
        assert_eq!(frame.port(), IN, "the frame came in by another port");
        seen.push(number);
        frame.verdict = Verdict::Pass(PassReason::NotIp);
    });
    assert_eq!(tally.passed, count + tally.foreign);
    assert!(seen.iter().copied().eq(0..count), "frames were lost or lent out of order: {seen:?}");
}

fn undecided<H: Harness>(harness: &mut H) {
    send(harness, IN, 0..5);
    let tally = pump(harness, 5, &mut |_, _| {});
    assert_eq!(tally.dropped, 5, "point 2: undecided frames count as dropped");
    assert!(numbers(&harness.peer_receive(OUT, 0)).is_empty(), "point 2: a frame was sent");
    assert!(numbers(&harness.peer_receive(IN, 0)).is_empty(), "point 2: a frame was sent");
}

fn headroom<H: Harness>(harness: &mut H) {
    let promised = usize::from(harness.io().caps().headroom_min);
    let to = harness.mac(OUT);
    send(harness, IN, 0..3);
    pump(harness, 3, &mut |_, frame| {
        let mut ethernet = [0; 14];
        ethernet.copy_from_slice(&frame.bytes()[..14]);
        ethernet[..6].copy_from_slice(&to.0);
        let front = frame.prepend(promised).expect("point 3: the promise does not hold");
        front.fill(0xa5);
        // A backend may look at the header, so the grown frame has one where it now begins.
        if promised >= 14 {
            front[..14].copy_from_slice(&ethernet);
        }
        frame.verdict = Verdict::Transmit(OUT);
    });
    let received = harness.peer_receive(OUT, 3);
    assert_eq!(numbers(&received), [0, 1, 2], "point 3: grown frames did not arrive");
    for frame in received.iter().filter(|f| frames::number_of(&f.bytes).is_some()) {
        let front = &frame.bytes[14.min(promised)..promised];
        assert!(front.iter().all(|&b| b == 0xa5), "point 3: the headroom was overwritten");
        let rest = &frame.bytes[promised + 14..];
        let number = frames::number_of(&frame.bytes).expect("checked above");
        let sent = frames::numbered(to, number, 60 + number as usize % 900);
        assert_eq!(rest, &sent[14..], "point 3: the frame was damaged");
    }
}

fn order<H: Harness>(harness: &mut H) {
    let count = 200;
    send(harness, IN, 0..count);
    let tally = pump(harness, count, &mut |number, frame| {
        frame.verdict = match number % 5 {
            0 | 1 => Verdict::Transmit(OUT),
            2 => Verdict::Reply(IN),
            3 => Verdict::Drop(DropReason::NoRoute),
            _ => Verdict::Absorb,
        };
    });
    assert_eq!((tally.transmitted, tally.dropped), (count / 5 * 3, count / 5));
    let out = numbers(&harness.peer_receive(OUT, count as usize / 5 * 2));
    assert!(out.iter().copied().eq((0..count).filter(|n| n % 5 < 2)), "point 4: sent {out:?}");
    let back = numbers(&harness.peer_receive(IN, count as usize / 5));
    assert!(back.iter().copied().eq((0..count).filter(|n| n % 5 == 2)), "point 4: sent {back:?}");
}

fn full<H: Harness>(harness: &mut H) {
    harness.clog(OUT);
    let (to, count) = (harness.mac(IN), 64);
    for number in 0..count {
        harness.peer_send(IN, &frames::numbered(to, number, 1000), Offload::default());
    }
    let tally = pump(harness, count, &mut |_, frame| frame.verdict = Verdict::Transmit(OUT));
    assert!(tally.unsent >= count - 32, "point 4: only {} frames were refused", tally.unsent);
    assert_eq!(tally.transmitted + tally.unsent, count);
    let out = numbers(&harness.peer_receive(OUT, 0));
    harness.unclog(OUT);
    let later = numbers(&harness.peer_receive(OUT, 0));
    assert!(out.len() + later.len() <= tally.transmitted as usize, "point 4: a drop was sent");
    send(harness, IN, 1000..1003);
    let tally = pump(harness, 3, &mut |_, frame| frame.verdict = Verdict::Transmit(OUT));
    assert_eq!(tally.transmitted, 3, "point 4: the ring stayed full");
    let out = numbers(&harness.peer_receive(OUT, 3));
    assert_eq!(out, [1000, 1001, 1002], "point 4: refused frames were queued, or new ones lost");
}

fn unwinding<H: Harness>(harness: &mut H) {
    let burst_max = u32::from(harness.io().caps().burst_max);
    for round in 0..40 {
        send(harness, IN, round * burst_max..(round + 1) * burst_max);
        let mut lent = 0;
        while lent < burst_max {
            let ready = harness.io().wait(Some(super::PATIENCE)).expect("wait");
            assert_eq!(ready, Readiness::Frames, "point 5: slots were lost in round {round}");
            let io = harness.io();
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                io.exchange(&mut |burst| {
                    let own = burst.iter().filter(|f| frames::number_of(f.bytes()).is_some());
                    lent += own.count() as u32;
                    burst[0].verdict = Verdict::Transmit(OUT);
                    // Not `panic!`: its message in the log would look like a failure.
                    std::panic::resume_unwind(std::boxed::Box::new("unwinding on purpose"));
                })
            }));
            assert!(unwound.is_err() || lent == 0, "point 5: the unwinding was swallowed");
        }
    }
    assert!(numbers(&harness.peer_receive(OUT, 0)).is_empty(), "point 5: a frame was sent");
    send(harness, IN, 7..8);
    pump(harness, 1, &mut |number, _| assert_eq!(number, 7, "point 5: a frame was lent again"));
}

fn waiting<H: Harness>(harness: &mut H) {
    settle_down(harness, &mut |_, _| {});
    let started = std::time::Instant::now();
    let _ = harness.io().wait(Some(Duration::ZERO)).expect("wait");
    let _ = harness.io().wait(Some(Duration::from_millis(20))).expect("wait");
    assert!(started.elapsed() < super::PATIENCE, "point 6: wait overslept");
    send(harness, IN, 0..1);
    let ready = harness.io().wait(Some(super::PATIENCE)).expect("wait");
    assert_eq!(ready, Readiness::Frames);
}

fn own_transmissions<H: Harness>(harness: &mut H) {
    send(harness, IN, 0..20);
    pump(harness, 20, &mut |number, frame| {
        frame.verdict = if number % 2 == 0 { Verdict::Transmit(OUT) } else { Verdict::Reply(IN) };
    });
    let (to, mut left) = (harness.mac(IN), 5);
    let injected = harness.io().inject(&mut |frame| {
        if left == 0 {
            return false;
        }
        left -= 1;
        assert!(frame.replace(&frames::numbered(to, 900 + left, 100)));
        frame.verdict = Verdict::Transmit(IN);
        true
    });
    assert_eq!(injected.expect("inject"), 5);
    settle_down(harness, &mut |number, _| panic!("point 7: own frame {number} came back"));
}

fn more<H: Harness>(harness: &mut H) {
    // `pump` waits only after an exchange that lent nothing; here the rule itself is followed: wait
    // unless `more`. With frames left behind by a wrong `more`, `wait` must still say so.
    let count = u32::from(harness.io().caps().burst_max) * 3;
    send(harness, IN, 0..count);
    let (mut lent, mut more) = (0, false);
    while lent < count {
        if !more {
            let ready = harness.io().wait(Some(super::PATIENCE)).expect("wait");
            assert_eq!(ready, Readiness::Frames, "point 8: {lent} of {count} frames, no `more`");
        }
        let report = harness.io().exchange(&mut |burst| {
            lent += burst.iter().filter(|f| frames::number_of(f.bytes()).is_some()).count() as u32;
        });
        more = report.expect("exchange").more;
    }
}

fn no_such_port<H: Harness>(harness: &mut H) {
    send(harness, IN, 0..4);
    let nowhere = PortId(harness.io().caps().ports);
    let tally = pump(harness, 4, &mut |number, frame| {
        frame.verdict = Verdict::Transmit(if number % 2 == 0 { nowhere } else { OUT });
    });
    assert_eq!((tally.unsent, tally.transmitted), (2, 2), "point 9");
    assert_eq!(numbers(&harness.peer_receive(OUT, 2)), [1, 3], "point 9");
}

fn refused<H: Harness>(harness: &mut H) {
    let (to, len) = (harness.mac(OUT), harness.refused_len());
    let mut number = 0;
    let injected = harness.io().inject(&mut |frame| {
        if number == 9 {
            return false;
        }
        assert!(frame.replace(&frames::numbered(to, number, 200)));
        if number % 3 == 1 {
            assert!(frame.set_len(len), "an empty slot must take {len} bytes");
        }
        frame.verdict = Verdict::Transmit(OUT);
        number += 1;
        true
    });
    assert_eq!(injected.expect("inject"), 6, "point 9: refused frames count as not sent");
    let out = numbers(&harness.peer_receive(OUT, 6));
    assert_eq!(out, [0, 2, 3, 5, 6, 8], "point 9: the frames behind a refused one must go out");
    // An empty frame and one shorter than its header are refused like the long one.
    send(harness, IN, 0..3);
    let tally = pump(harness, 3, &mut |number, frame| {
        if number == 1 {
            frame.trim_front(frame.len());
        }
        frame.verdict = Verdict::Transmit(OUT);
    });
    assert_eq!((tally.transmitted, tally.unsent), (2, 1), "point 9: an empty frame");
    assert_eq!(numbers(&harness.peer_receive(OUT, 2)), [0, 2]);
}

fn inject<H: Harness>(harness: &mut H) {
    let count = u32::from(harness.io().caps().burst_max) * 2 + 3;
    let (to, mut number, mut sent) = (harness.mac(OUT), 0, 0);
    let injected = harness.io().inject(&mut |frame| {
        assert!(frame.is_empty(), "inject offers empty frames");
        assert_eq!(frame.verdict, Verdict::Drop(DropReason::Undecided), "point 2");
        if number == count {
            return false;
        }
        assert!(frame.replace(&frames::numbered(to, number, 60)));
        // One in ten is filled but left without a verdict: dropped.
        if number % 10 != 9 {
            frame.verdict = Verdict::Transmit(OUT);
            sent += 1;
        }
        number += 1;
        true
    });
    assert_eq!(number, count, "inject must go on while there is room");
    assert_eq!(injected.expect("inject"), sent);
    let out = numbers(&harness.peer_receive(OUT, sent as usize));
    assert!(out.iter().copied().eq((0..count).filter(|n| n % 10 != 9)), "injected {out:?}");
    let nothing = harness.io().inject(&mut |_| false);
    assert_eq!(nothing.expect("inject"), 0);
}

fn offload<H: Harness>(harness: &mut H) {
    if !harness.io().caps().offloads {
        return;
    }
    let to = harness.mac(IN);
    let (datagram, unfinished) = frames::unfinished_udp(to, 1);
    harness.peer_send(IN, &datagram, unfinished);
    let (size, count) = (1000, 12);
    let (super_frame, segments) = frames::super_frame(to, 2, size, count);
    harness.peer_send(IN, &super_frame, segments);
    exchange_offloaded(harness, segments);
    let mut payload = 0;
    while payload < usize::from(size * count) {
        let received = harness.peer_receive(OUT, 1);
        assert!(!received.is_empty(), "only {payload} bytes of the super-frame arrived");
        for frame in received {
            let Some(number) = frames::number_of(&frame.bytes) else { continue };
            let sound = frames::checksum_is_sound(&frame.bytes, &frame.offload);
            assert!(sound, "the checksum of frame {number} was damaged");
            if number == 2 {
                payload += frame.bytes.len() - frames::TCP_HEADERS;
            }
        }
    }
    assert_eq!(payload, usize::from(size * count), "the super-frame was not cut right");
}

fn exchange_offloaded<H: Harness>(harness: &mut H, segments: Offload) {
    let mut lent = 0;
    while lent < 2 {
        let ready = harness.io().wait(Some(super::PATIENCE)).expect("wait");
        assert_eq!(ready, Readiness::Frames, "frames with metadata did not arrive");
        lent += exchange_once(harness, &mut super::Tally::default(), &mut |number, frame| {
            let sound = frames::checksum_is_sound(frame.bytes(), &frame.offload);
            assert!(sound, "frame {number} was lent with a wrong checksum: {:?}", frame.offload);
            if number == 2 {
                assert_eq!(frame.offload.segments, segments.segments, "the super-frame's metadata");
            }
            frame.verdict = Verdict::Transmit(OUT);
        });
    }
}
