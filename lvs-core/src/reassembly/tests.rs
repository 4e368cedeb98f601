use std::format;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const KEY: Key = [1, 0, 2, 0, 7 << 32, 1 << 8 | 17];
/// Bytes in front of what a fragment carries.
const HEAD: usize = 34;

fn packet(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn reassembly() -> Reassembly {
    Reassembly::new(1 << 20, 4, [3, 5])
}

fn seconds(count: u64) -> Instant {
    Instant::from_secs(count)
}

/// The bytes from `from` to `to` of a packet, as a fragment of it.
fn add(
    set: &mut Reassembly,
    at: Instant,
    key: &Key,
    family: Family,
    packet: &[u8],
    (from, to): (usize, usize),
) -> Added {
    let mut frame = vec![0xee; HEAD];
    frame.extend_from_slice(&packet[from..to]);
    let fragment = Fragment {
        family,
        frame: &frame,
        payload: HEAD,
        offset: from as u32,
        more: to < packet.len(),
        ip_len: (20 + to - from) as u32,
        dont_fragment: false,
        congestion: 0,
        port: PortId(1),
    };
    set.add(at, key, &fragment)
}

fn whole(set: &mut Reassembly, index: SetIndex) -> Vec<u8> {
    let mut out = vec![0; 70_000];
    let len = set.copy_whole(index, &mut out).unwrap();
    set.release(index);
    assert_eq!(out[..HEAD], [0xee; HEAD], "the first fragment's headers");
    out[HEAD..len].to_vec()
}

fn is_empty(set: &Reassembly) -> bool {
    set.next_due() == Instant::MAX && format!("{set:?}").contains("512 of 512 chunks free")
}

/// Places where a packet is cut, multiples of 8, beginning and end included.
fn cuts(len: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::btree_set(1..len.div_ceil(8), 1..12).prop_map(move |places| {
        let inner = places.into_iter().map(|place| place * 8);
        [0].into_iter().chain(inner).chain([len]).collect()
    })
}

proptest! {
    #[test]
    fn a_packet_cut_anywhere_and_in_any_order_comes_out_as_it_was(
        (len, cuts) in (9usize..5000).prop_flat_map(|len| (Just(len), cuts(len))),
        order in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let packet = packet(len);
        let mut pieces: Vec<(usize, usize)> = cuts.windows(2).map(|cut| (cut[0], cut[1])).collect();
        let first = order.index(pieces.len());
        pieces.rotate_left(first);
        if seed % 2 == 0 {
            pieces.reverse();
        }
        // One of them comes twice.
        pieces.insert(1, pieces[0]);
        let mut set = reassembly();
        let mut done = None;
        for (i, &piece) in pieces.iter().enumerate() {
            match add(&mut set, seconds(1), &KEY, Family::V4, &packet, piece) {
                Added::Whole(index) => {
                    prop_assert_eq!(i + 1, pieces.len(), "with the last one");
                    prop_assert_eq!(set.summary(index).fragments as usize, pieces.len() - 1);
                    done = Some(whole(&mut set, index));
                }
                Added::Refused(reason) => {
                    prop_assert_eq!((i, reason), (1, DropReason::FragmentDuplicate));
                }
                Added::Held(_) => {}
                Added::GivenUp(..) => prop_assert!(false, "nothing overlaps"),
            }
        }
        prop_assert_eq!(done, Some(packet));
        prop_assert!(is_empty(&set));
    }

    /// Parts that overlap in any way give the packet or nothing, and all memory comes back.
    #[test]
    fn whatever_parts_of_a_packet_come_nothing_but_the_packet_comes_out(
        len in 64usize..2000,
        parts in prop::collection::vec((any::<u16>(), any::<u16>()), 1..60),
        v6 in any::<bool>(),
    ) {
        let packet = packet(len);
        let family = if v6 { Family::V6 } else { Family::V4 };
        let mut set = reassembly();
        for (n, (a, b)) in parts.into_iter().enumerate() {
            let from = usize::from(a) % (len / 8) * 8;
            let to = (from + 8 + usize::from(b) % 600 / 8 * 8).min(len);
            let at = seconds(n as u64);
            while let Some(index) = set.expired(at) {
                set.release(index);
            }
            if let Added::Whole(index) = add(&mut set, at, &KEY, family, &packet, (from, to)) {
                prop_assert_eq!(&whole(&mut set, index), &packet);
            }
        }
        while let Some(index) = set.expired(seconds(1000)) {
            set.release(index);
        }
        prop_assert!(is_empty(&set));
    }

    /// Sets of many packets at once keep apart, begin and end in any order.
    #[test]
    fn fragments_of_different_packets_do_not_mix(
        steps in prop::collection::vec((0u64..6, 0usize..4, 0u64..3), 1..200)
    ) {
        let mut set = Reassembly::new(1 << 20, 3, [3, 5]);
        let mut now = 0;
        for (id, part, pause) in steps {
            now += pause;
            while let Some(index) = set.expired(seconds(now)) {
                set.release(index);
            }
            let packet: Vec<u8> = packet(32).iter().map(|byte| byte ^ id as u8).collect();
            let key = [1, 0, 2, 0, id << 32, if id % 2 == 0 { 0 } else { 1 << 8 }];
            let family = if id % 2 == 0 { Family::V6 } else { Family::V4 };
            let piece = (part * 8, part * 8 + 8);
            match add(&mut set, seconds(now), &key, family, &packet, piece) {
                Added::Whole(index) => prop_assert_eq!(&whole(&mut set, index), &packet),
                Added::Held(_)
                | Added::Refused(
                    DropReason::FragmentDuplicate | DropReason::FragmentStoreFull,
                ) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
        while let Some(index) = set.expired(seconds(now + 100)) {
            set.release(index);
        }
        prop_assert!(is_empty(&set));
    }
}

#[test]
fn an_overlap_ends_the_set_in_both_families() {
    for family in [Family::V4, Family::V6] {
        let (mut set, packet) = (reassembly(), packet(100));
        for part in [(0, 16), (48, 64)] {
            let added = add(&mut set, seconds(0), &KEY, family, &packet, part);
            assert!(matches!(added, Added::Held(_)));
        }
        let added = add(&mut set, seconds(0), &KEY, family, &packet, (8, 32));
        assert_eq!(added, Added::GivenUp(DropReason::FragmentOverlap, 2));
        assert!(is_empty(&set));
    }
}

#[test]
fn a_part_that_disagrees_about_the_end_ends_an_ipv4_set_and_is_ignored_in_ipv6() {
    for (family, given_up) in [(Family::V4, true), (Family::V6, false)] {
        let (mut set, long, short) = (reassembly(), packet(100), packet(80));
        add(&mut set, seconds(0), &KEY, family, &long, (64, 100));
        let added = add(&mut set, seconds(0), &KEY, family, &short, (64, 80));
        let reason = DropReason::FragmentInconsistent;
        let expected = if given_up { Added::GivenUp(reason, 1) } else { Added::Refused(reason) };
        assert_eq!(added, expected);
        assert_eq!(is_empty(&set), given_up);
    }
}

#[test]
fn an_empty_fragment_ends_an_ipv4_set() {
    let (mut set, packet) = (reassembly(), packet(100));
    let malformed = DropReason::FragmentMalformed;
    let empty = (16, 16);
    let nothing = add(&mut set, seconds(0), &KEY, Family::V4, &packet, empty);
    assert_eq!(nothing, Added::Refused(malformed));
    add(&mut set, seconds(0), &KEY, Family::V4, &packet, (0, 16));
    let ended = add(&mut set, seconds(0), &KEY, Family::V4, &packet, empty);
    assert_eq!(ended, Added::GivenUp(malformed, 1));
    assert!(is_empty(&set));
}

#[test]
fn a_set_ends_30_s_after_its_first_fragment_and_one_of_ipv6_after_60_s() {
    let (mut set, packet) = (reassembly(), packet(100));
    add(&mut set, seconds(10), &[6; 6], Family::V6, &packet, (0, 8));
    add(&mut set, seconds(20), &KEY, Family::V4, &packet, (0, 8));
    add(&mut set, seconds(40), &KEY, Family::V4, &packet, (8, 16));
    assert_eq!(set.next_due(), seconds(50));
    assert_eq!(set.expired(Instant::from_millis(49_999)), None);
    let ended = set.expired(seconds(50)).unwrap();
    assert_eq!(set.release(ended), 2);
    assert_eq!(set.next_due(), seconds(70));
    assert_eq!(set.expired(seconds(69)), None);
    let ended = set.expired(seconds(70)).unwrap();
    assert_eq!(set.copy_first(ended, &mut [0; 100]), Some(HEAD + 8));
    set.release(ended);
    assert!(is_empty(&set));
}

#[test]
fn what_finds_no_room_is_dropped_and_the_sets_that_are_there_go_on() {
    let (mut set, packet) = (reassembly(), packet(100));
    let key = |id: u64| [1, 0, 2, 0, id << 32, 0];
    for id in 0..4 {
        add(&mut set, seconds(id), &key(id), Family::V6, &packet, (0, 8));
    }
    let fifth = add(&mut set, seconds(4), &key(4), Family::V6, &packet, (0, 8));
    assert_eq!(fifth, Added::Refused(DropReason::FragmentStoreFull));
    let first = add(&mut set, seconds(4), &key(0), Family::V6, &packet, (8, 100));
    assert!(matches!(first, Added::Whole(_)));
    let Added::Whole(index) = first else { return };
    assert_eq!(whole(&mut set, index), packet);
    let fifth = add(&mut set, seconds(4), &key(4), Family::V6, &packet, (0, 8));
    assert_eq!(fifth, Added::Held(8));
}

#[test]
fn bytes_are_bounded_too() {
    let mut set = Reassembly::new(1 << 16, 1000, [3, 5]);
    let packet = packet(60_000);
    let key = |id: u64| [1, 0, 2, 0, id << 32, 0];
    let held = (0..1000)
        .take_while(|&id| {
            add(&mut set, seconds(0), &key(id), Family::V6, &packet, (0, 8)) == Added::Held(8)
        })
        .count();
    assert_eq!(held, (1 << 16) / 2048, "a chunk for each");
    // A set that could not even begin is not kept.
    assert_eq!(set.lines[1].newest, held as u32 - 1);
}

#[test]
fn the_parts_are_told_where_three_numbers_say_them() {
    let packet = packet(1000);
    let parts = |cuts: &[usize]| {
        let mut set = reassembly();
        let mut told = None;
        for cut in cuts.windows(2).rev() {
            if let Added::Whole(index) =
                add(&mut set, seconds(0), &KEY, Family::V6, &packet, (cut[0], cut[1]))
            {
                let Parts { first, rest, last } = set.summary(index).parts;
                told = Some((first, rest, last));
            }
        }
        told.unwrap()
    };
    assert_eq!(parts(&[0, 600, 1000]), (600, 400, 400));
    assert_eq!(parts(&[0, 200, 800, 1000]), (200, 600, 200));
    assert_eq!(parts(&[0, 200, 400, 600, 1000]), (200, 200, 400));
    assert_eq!(parts(&[0, 200, 400, 608, 1000]), (0, 0, 0));
}

/// A fragment as the director adds it: what was given up, and what became of it.
fn come(
    set: &mut Reassembly,
    key: &Key,
    family: Family,
    packet: &[u8],
    part: (usize, usize),
) -> (u32, Added) {
    let lost = set.keep_distance(key, family);
    (lost, add(set, seconds(0), key, family, packet, part))
}

#[test]
fn a_packet_is_given_up_when_its_sender_sent_more_than_64_fragments_of_others_in_between() {
    let packet = packet(32);
    let other = |n: u32| Key::from([1, 0, 2, 0, u64::from(1000 + n) << 32, 1 << 8 | 17]);
    for (others, family, lost) in [(63, Family::V4, 0), (64, Family::V4, 1), (64, Family::V6, 0)] {
        let mut set = Reassembly::new(1 << 20, 128, [3, 5]);
        assert_eq!(come(&mut set, &KEY, family, &packet, (0, 16)), (0, Added::Held(16)));
        for n in 0..others {
            assert_eq!(come(&mut set, &other(n), family, &packet, (0, 16)), (0, Added::Held(16)));
        }
        let (given_up, added) = come(&mut set, &KEY, family, &packet, (16, 32));
        assert_eq!(given_up, lost, "{others} others");
        assert_eq!(matches!(added, Added::Whole(_)), lost == 0);
        if lost == 1 {
            assert_eq!(added, Added::Held(16), "it is the first of another packet");
            let (_, added) = come(&mut set, &KEY, family, &packet, (0, 16));
            assert!(matches!(added, Added::Whole(_)));
        }
    }
}
