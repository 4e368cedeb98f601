//! What goes wrong in real life: each time counted and told, and the rest goes on.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use lvs_core::io::{FrameIo, Readiness, Verdict};
use lvs_io_tap::Event;
use lvs_testnet::PacketSocket;
use lvs_testnet::backend::{is_experiment, lent, nudge};

use crate::common::{LEFT, Lab, RIGHT, across, frame, next_event};

fn send_some(lab: &Lab, count: usize) {
    let sender = PacketSocket::open(&lab.left, "l0");
    for number in 0..count {
        sender.send(&frame(&[number as u8]));
    }
}

#[test]
fn a_device_that_is_set_down_and_up_goes_on() {
    let lab = Lab::new();
    let mut io = lab.open();
    lab.director.ip("link set d1 down");
    assert_eq!(next_event(&mut io), Event::PortDown { port: RIGHT, interface: "d1".to_owned() });
    send_some(&lab, 3);
    lent(&mut io, 3, across);
    let counters = io.counters(RIGHT).unwrap();
    assert_eq!((counters.port_down, counters.transmitted), (3, 0), "{counters:?}");
    lab.director.ip("link set d1 up");
    let (port, interface) = (RIGHT, "d1".to_owned());
    assert_eq!(next_event(&mut io), Event::PortUp { port, interface, reopened: false });
    lab.wait_until_forwarding();
    let mut peer = PacketSocket::open(&lab.right, "r0");
    send_some(&lab, 3);
    lent(&mut io, 3, across);
    assert!(peer.receive_where(Duration::from_secs(2), is_experiment).is_some());
}

#[test]
fn a_device_that_is_deleted_is_made_anew_in_its_bridge() {
    let lab = Lab::new();
    let mut io = lab.open();
    lab.director.ip("link del d1");
    // The tests' own thread is in another namespace; a program stays in the one it started in.
    let events = lab.director.enter(|| [next_event(&mut io), next_event(&mut io)]);
    let (port, interface) = (RIGHT, "d1".to_owned());
    assert_eq!(events[0], Event::PortGone { port, interface: interface.clone() });
    assert_eq!(events[1], Event::PortUp { port, interface, reopened: true });
    lab.wait_until_forwarding();
    let mut peer = PacketSocket::open(&lab.right, "r0");
    send_some(&lab, 3);
    lent(&mut io, 3, across);
    assert!(peer.receive_where(Duration::from_secs(2), is_experiment).is_some());
    assert_eq!(io.counters(RIGHT).unwrap().reopened, 1);
}

#[test]
fn a_device_that_cannot_be_made_anew_is_told_once_and_tried_again() {
    let lab = Lab::new();
    let mut io = lab.open();
    lab.director.ip("link del br1");
    lab.director.ip("link del d1");
    lab.director.enter(|| {
        assert!(matches!(next_event(&mut io), Event::PortGone { .. }));
        let Event::ReopenFailed { error, .. } = next_event(&mut io) else { panic!("not told") };
        assert!(error.starts_with("cannot make TAP device d1 a port of br1"), "{error}");
        let patience = Instant::now() + Duration::from_millis(800);
        while Instant::now() < patience {
            io.wait(Some(Duration::from_millis(100))).unwrap();
            assert_eq!(io.next_event(), None, "told again");
        }
    });
    send_some(&lab, 2);
    lent(&mut io, 2, across);
    assert_eq!(io.counters(RIGHT).unwrap().port_down, 2);
    lab.director.ip("link add br1 type bridge");
    let event = lab.director.enter(|| next_event(&mut io));
    assert!(matches!(event, Event::PortUp { reopened: true, .. }), "{event}");
}

#[test]
fn frames_that_find_the_queue_full_are_counted() {
    let lab = Lab::new();
    let mut io = lab.open();
    lab.director.ip("link set d0 txqueuelen 500");
    send_some(&lab, 800);
    let counters = lab.director.enter(|| io.counters(LEFT)).unwrap();
    assert!((200..=300).contains(&counters.kernel_drops), "{counters:?}");
    lent(&mut io, 800 - counters.kernel_drops as usize, across);
}

#[test]
fn frames_longer_than_the_mtu_do_not_leave_and_the_mtu_may_change() {
    let lab = Lab::new();
    let mut io = lab.open();
    let long = |io: &mut lvs_io_tap::Tap| {
        let mut once = true;
        let sent = io.inject(&mut |empty| {
            empty.replace(&frame(&[7; 3_000]));
            empty.verdict = Verdict::Transmit(RIGHT);
            std::mem::take(&mut once)
        });
        sent.unwrap()
    };
    assert_eq!(long(&mut io), 0);
    assert_eq!(io.counters(RIGHT).unwrap().transmit_error, 1);
    lab.director.ip("link set d1 mtu 9000");
    let deadline = Instant::now() + Duration::from_secs(5);
    while io.interface(RIGHT).unwrap().mtu != 9000 {
        assert!(Instant::now() < deadline, "the new MTU is not seen");
        io.wait(Some(Duration::from_millis(50))).unwrap();
    }
    assert_eq!(long(&mut io), 1);
}

#[test]
fn wait_is_woken_by_the_descriptor_that_is_there_for_it() {
    let lab = Lab::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut io = lab.open_with(|device| device, |builder| builder.wake_fd(theirs.into()));
    let ours = ours.into();
    nudge(&ours);
    assert_eq!(io.wait(None).unwrap(), Readiness::Woken);
    drop(ours);
    // A closed far end is forgotten: it must not wake for ever.
    assert_eq!(io.wait(None).unwrap(), Readiness::Woken);
    assert_eq!(io.wait(Some(Duration::from_millis(1))).unwrap(), Readiness::Deadline);
}
