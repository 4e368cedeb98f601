//! What goes wrong in real life: each time counted and told, and the rest goes on.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::common::{LEFT, Lab, RIGHT, frame, next_event};
use lvs_core::addr::MacAddr;
use lvs_core::io::{FrameIo, Readiness, Verdict};
use lvs_io_afpacket::{AfPacket, Error, Event, interfaces};
use lvs_testnet::PacketSocket;
use lvs_testnet::backend::{is_experiment, lent, nudge};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

fn send_some(lab: &Lab, count: usize) {
    let sender = PacketSocket::open(&lab.left, "l0");
    let to = lab.mac("d0");
    for number in 0..count {
        sender.send(&frame(to, &[number as u8]));
    }
}

#[test]
fn a_frame_that_the_kernel_refuses_does_not_keep_back_those_behind_it() {
    let lab = Lab::new();
    let mut io = lab.open();
    let mut peer = PacketSocket::open(&lab.right, "r0");
    let to = lab.mac("r0");
    let mut number = 0;
    let sent = io.inject(&mut |empty| {
        let len = if number == 3 || number == 4 { 3_000 } else { 100 };
        let bytes = frame(to, &[number; 50]);
        empty.replace(&bytes);
        empty.set_len(len);
        empty.verdict = Verdict::Transmit(RIGHT);
        number += 1;
        number <= 8
    });
    assert_eq!(sent.unwrap(), 6, "eight frames, two of them longer than the MTU");
    let counters = io.counters(RIGHT).unwrap();
    assert_eq!((counters.transmitted, counters.transmit_error), (6, 2));
    let received =
        std::iter::from_fn(|| peer.receive_where(Duration::from_millis(300), is_experiment));
    let numbers: Vec<u8> = received.map(|frame| frame[14]).collect();
    assert_eq!(numbers, [0, 1, 2, 5, 6, 7]);
}

#[test]
fn frames_that_find_the_ring_full_are_counted() {
    let lab = Lab::new();
    let mut io = lab.open_with(|builder| builder.ring_bytes(0));
    send_some(&lab, 1_000);
    let counters = io.counters(LEFT).unwrap();
    assert!(counters.kernel_drops > 500, "{counters:?}");
    let kept = 1_000 - counters.kernel_drops as usize;
    lent(&mut io, kept, |_| Verdict::Transmit(RIGHT));
    // The ring takes frames again, and no drop is counted twice.
    send_some(&lab, 10);
    lent(&mut io, 10, |_| Verdict::Transmit(RIGHT));
    assert!(io.counters(LEFT).unwrap().kernel_drops <= counters.kernel_drops + 5);
}

#[test]
fn a_full_queue_is_told_apart_from_other_refusals() {
    let lab = Lab::new();
    let mut io = lab.open();
    let shaper = "tc qdisc replace dev d1 root tbf rate 8kbit burst 1600 limit 3000";
    lab.director.run(&shaper.split(' ').collect::<Vec<_>>()).expect_success();
    send_some(&lab, 200);
    lent(&mut io, 200, |frame| {
        frame.set_len(1_000);
        Verdict::Transmit(RIGHT)
    });
    let counters = io.counters(RIGHT).unwrap();
    assert!(counters.transmit_full > 150, "{counters:?}");
    assert_eq!(counters.transmit_error, 0, "{counters:?}");
}

#[test]
fn a_port_whose_interface_is_set_down_and_up_goes_on() {
    let lab = Lab::new();
    let mut io = lab.open();
    lab.director.ip("link set d1 down");
    let interface = || "d1".to_owned();
    assert_eq!(next_event(&mut io), Event::PortDown { port: RIGHT, interface: interface() });
    send_some(&lab, 3);
    lent(&mut io, 3, |_| Verdict::Transmit(RIGHT));
    assert_eq!(io.counters(RIGHT).unwrap().port_down, 3);
    sleeps(&mut io, Duration::from_millis(600));

    lab.director.ip("link set d1 up");
    let up = Event::PortUp { port: RIGHT, interface: interface(), reopened: false };
    assert_eq!(next_event(&mut io), up);
    let mut peer = PacketSocket::open(&lab.right, "r0");
    send_some(&lab, 3);
    lent(&mut io, 3, |_| Verdict::Transmit(RIGHT));
    assert!(peer.receive_where(Duration::from_secs(2), is_experiment).is_some());
    assert_eq!(io.counters(RIGHT).unwrap().reopened, 0);
}

#[test]
fn a_port_whose_interface_is_deleted_and_made_again_is_reopened() {
    let lab = Lab::new();
    let mut io = lab.open();
    let group = MacAddr([0x33, 0x33, 0xff, 1, 2, 3]);
    io.join_multicast(LEFT, group).unwrap();
    // Ports are reopened in the namespace of the thread that waits.
    lab.director.enter(|| {
        let interface = || "d0".to_owned();
        lab.director.ip("link del d0");
        assert_eq!(next_event(&mut io), Event::PortGone { port: LEFT, interface: interface() });
        let refused = io.inject(&mut one_frame(lab.mac("d1"), LEFT));
        assert_eq!(refused.unwrap(), 0);
        assert_eq!(io.counters(LEFT).unwrap().port_down, 1);
        sleeps(&mut io, Duration::from_millis(700));

        lab.connect(&lab.left, "l0", "d0");
        loop {
            match next_event(&mut io) {
                Event::PortUp { port: LEFT, reopened: true, .. } => break,
                // Made, but not yet up.
                Event::PortDown { port: LEFT, .. } => {}
                Event::PortUp { port: LEFT, reopened: false, .. } => break,
                other => panic!("{other:?}"),
            }
        }
        send_some(&lab, 3);
        lent(&mut io, 3, |_| Verdict::Transmit(RIGHT));
        assert_eq!(io.counters(LEFT).unwrap().reopened, 1);
        assert_eq!(io.interface(LEFT).unwrap().mac, Some(lab.mac("d0")));
        assert!(lab.director.ip("maddr show dev d0").contains(&group.to_string()));
    });
}

fn one_frame(
    to: MacAddr,
    port: lvs_core::ids::PortId,
) -> impl FnMut(&mut lvs_core::io::Frame<'_>) -> bool {
    let mut left = 1;
    move |empty| {
        empty.replace(&frame(to, &[9]));
        empty.verdict = Verdict::Transmit(port);
        left -= 1;
        left >= 0
    }
}

/// Waits for a while in which only the hosts' own IPv6 may send something, and makes sure that the
/// backend sleeps meanwhile.
fn sleeps(io: &mut AfPacket, time: Duration) {
    let (until, before) = (Instant::now() + time, cpu_time());
    let mut waits = 0;
    while Instant::now() < until {
        io.wait(Some(until.saturating_duration_since(Instant::now()))).unwrap();
        io.exchange(&mut |_| {}).unwrap();
        waits += 1;
    }
    assert!(waits < 30, "wait returned {waits} times in {time:?}");
    assert!(cpu_time() - before < time / 4, "wait spins");
}

/// Processor time of this thread.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn an_interface_that_is_down_at_the_start_is_told_and_waited_for() {
    let lab = Lab::new();
    lab.director.ip("link set d1 down");
    let mut io = lab.open();
    let interface = || "d1".to_owned();
    let event = io.next_event();
    assert_eq!(event, Some(Event::PortDown { port: RIGHT, interface: interface() }));
    lab.director.ip("link set d1 up");
    let up = Event::PortUp { port: RIGHT, interface: interface(), reopened: false };
    assert_eq!(next_event(&mut io), up);
}

#[test]
fn a_wake_up_ends_a_wait_without_end_and_a_closed_one_does_not_spin() {
    let lab = Lab::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut io = lab.open_with(|builder| builder.wake_fd(theirs.into()));
    let ours = ours.into();
    nudge(&ours);
    assert_eq!(wait(&mut io, None), Readiness::Woken);
    let short = Some(Duration::from_millis(50));
    assert_eq!(wait(&mut io, short), Readiness::Deadline);
    drop(ours);
    assert_eq!(wait(&mut io, short), Readiness::Woken);
    assert_eq!(wait(&mut io, short), Readiness::Deadline);
}

/// What ends a wait, apart from the hosts' own IPv6.
fn wait(io: &mut AfPacket, timeout: Option<Duration>) -> Readiness {
    loop {
        match io.wait(timeout).unwrap() {
            Readiness::Frames => {
                io.exchange(&mut |_| {}).unwrap();
            }
            other => return other,
        }
    }
}

#[test]
fn frames_to_other_stations_are_counted_and_lent_only_when_asked_for() {
    let lab = Lab::new();
    let elsewhere = MacAddr([2, 0, 0, 0, 9, 9]);
    let sender = PacketSocket::open(&lab.left, "l0");
    for promiscuous in [false, true] {
        let mut io = lab.open_with(|builder| builder.promiscuous(promiscuous));
        sender.send(&frame(elsewhere, &[1]));
        sender.send(&frame(lab.mac("d0"), &[2]));
        let seen = lent(&mut io, if promiscuous { 2 } else { 1 }, |_| Verdict::Absorb);
        assert_eq!(seen.last().unwrap().0[14], 2);
        let counters = io.counters(LEFT).unwrap();
        assert_eq!(counters.other_host, u64::from(!promiscuous), "{counters:?}");
    }
}

#[test]
fn a_multicast_group_is_joined_once_and_left() {
    let lab = Lab::new();
    let mut io = lab.open();
    let group = MacAddr([0x33, 0x33, 0xff, 0xaa, 0xbb, 0xcc]);
    let is_joined = || lab.director.ip("maddr show dev d0").contains(&group.to_string());
    io.join_multicast(LEFT, group).unwrap();
    io.join_multicast(LEFT, group).unwrap();
    assert!(is_joined());
    io.leave_multicast(LEFT, group).unwrap();
    assert!(!is_joined());
    let error = io.join_multicast(lvs_core::ids::PortId(7), group).unwrap_err();
    assert_eq!(error.to_string(), "there is no port 7: the backend has 2");
}

#[test]
fn what_cannot_be_opened_says_what_to_do() {
    let lab = Lab::new();
    let build = |names: &[&str]| {
        let builder = names.iter().fold(AfPacket::builder(), |b, name| b.port(*name));
        lab.director.enter(|| builder.build()).unwrap_err()
    };
    let error = build(&["eth9"]).to_string();
    assert!(error.starts_with("no interface named eth9; there are: "), "{error}");
    assert!(error.contains("d0") && error.contains("lo"), "{error}");
    assert!(build(&["a-name-that-is-far-too-long"]).to_string().starts_with("no interface named"));
    assert!(matches!(build(&["lo"]), Error::NotEthernet { .. }));
    assert_eq!(build(&[]).to_string(), "no interface was named: name at least one port");
    let error = build(&["d0", "d1", "d0"]).to_string();
    assert!(error.starts_with("interface d0 was named twice"), "{error}");
}

/// Builds a backend in a thread that has only the capabilities named.
fn build_with(lab: &Lab, effective: CapabilitySet) -> Result<AfPacket, Error> {
    lab.director.enter(|| {
        let all = capabilities(None).unwrap();
        set_capabilities(None, CapabilitySets { effective, ..all }).unwrap();
        AfPacket::builder().port("d0").port("d1").build()
    })
}

#[test]
fn without_any_capability_the_error_names_the_one_that_is_missing() {
    let lab = Lab::new();
    let error = build_with(&lab, CapabilitySet::empty()).unwrap_err();
    assert!(matches!(&error, Error::NoPermission { name } if name == "d0"), "{error:?}");
    assert!(error.to_string().contains("setcap cap_net_raw"), "{error}");
}

#[test]
fn cap_net_raw_alone_is_enough() {
    let lab = Lab::new();
    let mut io = build_with(&lab, CapabilitySet::NET_RAW).unwrap();
    let mut peer = PacketSocket::open(&lab.right, "r0");
    send_some(&lab, 3);
    lent(&mut io, 3, |_| Verdict::Transmit(RIGHT));
    assert!(peer.receive_where(Duration::from_secs(2), is_experiment).is_some());
}

#[test]
fn interfaces_are_those_of_the_namespace_with_mac_mtu_and_addresses() {
    let lab = Lab::new();
    lab.left.add_address("l0", "10.9.0.1/20");
    lab.left.ip("link set l0 mtu 1400");
    let found = lab.left.enter(interfaces);
    let l0 = found.iter().find(|interface| interface.name == "l0").expect("l0 is listed");
    assert_eq!((l0.mac, l0.mtu, l0.is_up), (Some(lab.mac("l0")), 1400, true));
    assert!(l0.addresses.iter().any(|prefix| prefix.to_string() == "10.9.0.1/20"), "{l0:?}");
    assert!(!found.iter().any(|interface| interface.name == "d0"));
}
