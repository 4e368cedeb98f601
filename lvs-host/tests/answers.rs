//! When the stand-in speaks and when it is silent.

use etherparse::PacketBuilder;
use lvs_core::addr::MacAddr;
use lvs_core::command::IcmpPacing;
use lvs_core::drop::{DropReason, PassReason};
use lvs_core::ids::PortId;
use lvs_core::io::{Checksum, Frame, Offload, SegmentKind, Segments, Verdict};
use lvs_core::pace::Pacer;
use lvs_core::parse::{Parsed, parse_super};
use lvs_core::time::Instant;
use lvs_host::{Answer, StandIn};
use proptest::prelude::*;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
const HEADROOM: usize = 128;

/// What became of a frame.
struct Outcome {
    answer: Option<Answer>,
    verdict: Verdict,
    offload: Offload,
    bytes: Vec<u8>,
}

fn stand_in() -> StandIn {
    StandIn::new(Pacer::new(16, IcmpPacing::default()))
}

fn ask(
    stand_in: &mut StandIn,
    bytes: &[u8],
    headroom: usize,
    set: impl FnOnce(&mut Frame<'_>),
) -> Outcome {
    let mut slot = vec![0; headroom + bytes.len()];
    slot[headroom..].copy_from_slice(bytes);
    let mut frame = Frame::new(&mut slot, headroom, bytes.len(), PortId(1));
    frame.verdict = Verdict::Pass(PassReason::NoService);
    set(&mut frame);
    let Parsed::Ip(headers) = parse_super(frame.bytes()) else { panic!("not a packet") };
    let answer = stand_in.answer(Instant::from_secs(1), &mut frame, &headers, OWN);
    let (verdict, offload) = (frame.verdict, frame.offload);
    Outcome { answer, verdict, offload, bytes: frame.bytes().to_vec() }
}

fn answer(bytes: &[u8], set: impl FnOnce(&mut Frame<'_>)) -> Option<Answer> {
    ask(&mut stand_in(), bytes, HEADROOM, set).answer
}

fn syn() -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(CLIENT.0, OWN.0)
        .ipv4([192, 0, 2, 7], [10, 0, 0, 1], 64)
        .tcp(40000, 81, 1000, 512)
        .syn()
        .write(&mut bytes, &[])
        .unwrap();
    bytes
}

fn datagram() -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(CLIENT.0, OWN.0)
        .ipv4([192, 0, 2, 7], [10, 0, 0, 1], 64)
        .udp(40000, 80)
        .write(&mut bytes, b"hello")
        .unwrap();
    bytes
}

#[test]
fn the_answers_recorded_for_no_service_are_given() {
    let outcome = ask(&mut stand_in(), &syn(), HEADROOM, |_| ());
    assert_eq!(outcome.answer, Some(Answer::Reset));
    assert_eq!(outcome.verdict, Verdict::Reply(PortId(1)));
    assert_eq!(lvs_testnet::describe(&outcome.bytes), "10.0.0.1:81 > 192.0.2.7:40000 tcp AR len=0");
    assert_eq!((&outcome.bytes[..6], &outcome.bytes[6..12]), (&CLIENT.0[..], &OWN.0[..]));

    let outcome = ask(&mut stand_in(), &datagram(), HEADROOM, |_| ());
    assert_eq!(outcome.answer, Some(Answer::Error));
    assert_eq!(lvs_testnet::describe(&outcome.bytes), "10.0.0.1 > 192.0.2.7 icmp 3/3");
    assert_eq!(outcome.bytes.len(), 14 + 61);
}

#[test]
fn only_what_would_reach_the_hosts_own_stack_is_answered() {
    for reason in PassReason::ALL {
        let answered = answer(&syn(), |frame| frame.verdict = Verdict::Pass(*reason)).is_some();
        let not_the_hosts = [
            PassReason::NotIp,
            PassReason::OtherStation,
            PassReason::Arp,
            PassReason::Ndp,
            PassReason::NotLocal,
            PassReason::FragmentTimeout,
            PassReason::Reply,
        ];
        assert_eq!(answered, !not_the_hosts.contains(reason), "{reason}");
    }
    for verdict in [
        Verdict::Drop(DropReason::NoDestination),
        Verdict::Transmit(PortId(0)),
        Verdict::Reply(PortId(0)),
        Verdict::Absorb,
    ] {
        assert_eq!(answer(&syn(), |frame| frame.verdict = verdict), None);
    }
}

#[test]
fn a_frame_to_another_station_or_from_or_to_a_group_is_not_answered() {
    for (at, mac) in [(0, [2, 0, 0, 0, 0, 9]), (0, [0xff; 6]), (6, [1, 0, 0x5e, 0, 0, 1])] {
        let set = |frame: &mut Frame<'_>| frame.bytes_mut()[at..at + 6].copy_from_slice(&mac);
        assert_eq!(answer(&syn(), set), None, "{mac:x?} at {at}");
        assert_eq!(answer(&datagram(), set), None, "{mac:x?} at {at}");
    }
}

#[test]
fn a_checksum_that_others_vouch_for_is_not_summed() {
    let partial = Checksum::Partial { start: 34, offset: 16 };
    for (checksum, answered) in
        [(Checksum::Unknown, false), (Checksum::Verified, true), (partial, true)]
    {
        for (mut bytes, at) in [(syn(), 50), (datagram(), 40)] {
            bytes[at] ^= 0x55;
            let given = answer(&bytes, |frame| frame.offload.checksum = checksum);
            assert_eq!(given.is_some(), answered, "{checksum:?}");
        }
    }
}

#[test]
fn a_super_frame_is_answered_once_and_the_answer_is_an_ordinary_frame() {
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(CLIENT.0, OWN.0)
        .ipv4([192, 0, 2, 7], [10, 0, 0, 1], 64)
        .tcp(40000, 81, 1000, 512)
        .ack(7000)
        .write(&mut bytes, &[0; 60_000])
        .unwrap();
    let outcome = ask(&mut stand_in(), &bytes, HEADROOM, |frame| {
        frame.offload.checksum = Checksum::Partial { start: 34, offset: 16 };
        let kind = SegmentKind::Tcp4;
        frame.offload.segments = Some(Segments { kind, size: 1448, header_len: 54, ecn: false });
    });
    assert_eq!(outcome.answer, Some(Answer::Reset));
    assert_eq!((outcome.bytes.len(), outcome.offload), (54, Offload::default()));
}

#[test]
fn an_answer_stays_within_its_vlans() {
    for count in [1, 2] {
        for (plain, expected) in [(syn(), Answer::Reset), (datagram(), Answer::Error)] {
            let mut bytes = plain.clone();
            let tags = [0x88, 0xa8, 0, 5, 0x81, 0, 0, 7];
            bytes.splice(12..12, tags[8 - 4 * count..].iter().copied());
            let outcome = ask(&mut stand_in(), &bytes, HEADROOM, |_| ());
            assert_eq!(outcome.answer, Some(expected));
            assert_eq!(outcome.bytes[12..][..4 * count], tags[8 - 4 * count..]);
            let untagged = ask(&mut stand_in(), &plain, HEADROOM, |_| ());
            assert_eq!(outcome.bytes[12 + 4 * count..], untagged.bytes[12..]);
        }
    }
}

#[test]
fn errors_are_paced_and_resets_are_not() {
    let mut stand_in = stand_in();
    let errors =
        (0..10).filter(|_| ask(&mut stand_in, &datagram(), HEADROOM, |_| ()).answer.is_some());
    assert_eq!(errors.count(), 6);
    assert_eq!(stand_in.suppressed(), 4);
    for _ in 0..100 {
        assert_eq!(ask(&mut stand_in, &syn(), HEADROOM, |_| ()).answer, Some(Answer::Reset));
    }
    stand_in.set_pacing(IcmpPacing { enabled: false, ..IcmpPacing::default() });
    assert!(ask(&mut stand_in, &datagram(), HEADROOM, |_| ()).answer.is_some());
}

#[test]
fn without_headroom_there_is_no_error_and_no_harm() {
    let outcome = ask(&mut stand_in(), &datagram(), 27, |_| ());
    assert_eq!((outcome.answer, outcome.bytes), (None, datagram()));
    assert_eq!(outcome.verdict, Verdict::Pass(PassReason::NoService));
    assert!(ask(&mut stand_in(), &datagram(), 28, |_| ()).answer.is_some());
    assert_eq!(ask(&mut stand_in(), &syn(), 0, |_| ()).answer, Some(Answer::Reset));
}

proptest! {
    #[test]
    fn an_answer_to_any_packet_is_a_right_packet_that_is_not_answered_with_an_error(
        mut bytes in prop_oneof![Just(syn()), Just(datagram())],
        changes in prop::collection::vec((14usize..60, any::<u8>()), 0..6),
        padding in 0usize..40,
    ) {
        bytes.resize(bytes.len() + padding, 0xee);
        for (at, value) in changes {
            let at = at.min(bytes.len() - 1);
            bytes[at] = value;
        }
        // The header checksum is put right, so that changed headers are not all turned away by it.
        let header_len = usize::from(bytes[14] & 0xf) * 4;
        if bytes[14] >> 4 == 4 && (20..=bytes.len() - 14).contains(&header_len) {
            bytes[24..26].fill(0);
            let sum = lvs_core::wire::checksum::of(&bytes[14..14 + header_len]);
            bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        let Parsed::Ip(_) = parse_super(&bytes) else { return Ok(()) };
        let outcome = ask(&mut stand_in(), &bytes, HEADROOM, |frame| {
            frame.offload.checksum = Checksum::Verified;
        });
        if outcome.answer.is_some() {
            let Parsed::Ip(headers) = parse_super(&outcome.bytes) else {
                panic!("an answer that cannot be parsed: {:x?}", outcome.bytes);
            };
            prop_assert_eq!(headers.end(), outcome.bytes.len());
            // Two stand-ins would not keep each other busy.
            let mut back = outcome.bytes;
            back[..6].copy_from_slice(&OWN.0);
            back[6..12].copy_from_slice(&CLIENT.0);
            prop_assert_eq!(ask(&mut stand_in(), &back, HEADROOM, |_| ()).answer, None);
        } else {
            prop_assert_eq!(outcome.bytes, bytes);
        }
    }
}
