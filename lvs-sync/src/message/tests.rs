//! Bytes as the kernel writes them, and bytes as it does not.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// What a kernel sent: see the record `sync-master-tcp` of the conformance set.
const KERNEL_V4: &str =
    "0007002c01010000000600240000000000019c40005000500000000000000384c00002070a0000020a010003";
/// The first entry of a datagram of the record `sync-master-maxlen`.
const KERNEL_V6: &str = "0007005001010000011100480000018300009c4000350035000000000000012c20010db8000000000000\
     00000000000720010db8000100000000000000000001 20010db8000200000000000000000002";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

fn v4(host: u8, port: u16) -> Endpoint {
    Endpoint::new(Ipv4Addr::new(192, 0, 2, host).into(), port)
}

fn v6(text: &str, port: u16) -> Endpoint {
    Endpoint::new(text.parse::<Ipv6Addr>().unwrap().into(), port)
}

fn entry(port: u16) -> Entry<'static> {
    let entry = Entry::new(Protocol::TCP, v4(7, port), v4(80, 80), v4(2, 80));
    Entry { flags: Flags(0x83), state: 1, timeout: 900, ..entry }
}

fn encoded(version: Version, entries: &[Entry<'_>]) -> Vec<u8> {
    let mut encoder = Encoder::new(7, version, u16::MAX);
    entries.iter().for_each(|entry| encoder.push(entry).unwrap());
    encoder.take().unwrap()
}

/// A datagram of version 1 with these entries, one behind the other with padding.
fn datagram(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut datagram = vec![0, 7, 0, 0, entries.len() as u8, 1, 0, 0];
    for entry in entries {
        datagram.resize(datagram.len().next_multiple_of(4), 0);
        datagram.extend_from_slice(entry);
    }
    let [high, low] = (datagram.len() as u16).to_be_bytes();
    (datagram[2], datagram[3]) = (high, low);
    datagram
}

/// An entry's bytes, with these bytes of options behind it.
fn with_options(port: u16, options: &[u8]) -> Vec<u8> {
    let mut bytes = encoded(Version::One, &[entry(port)])[8..].to_vec();
    bytes.extend_from_slice(options);
    let [high, low] = (bytes.len() as u16).to_be_bytes();
    (bytes[2], bytes[3]) = (high, low);
    bytes
}

/// The client's ports of the entries that can be read, and the errors between them.
fn read(datagram: &[u8]) -> (Vec<u16>, Vec<EntryError>) {
    let (mut ports, mut errors) = (Vec::new(), Vec::new());
    for entry in Message::decode(datagram).unwrap().entries() {
        match entry {
            Ok(entry) => ports.push(entry.client.port.0),
            Err(error) => errors.push(error),
        }
    }
    (ports, errors)
}

#[test]
fn what_a_kernel_sent_is_read_and_written_as_it_was() {
    let client = Endpoint::new(Ipv4Addr::new(192, 0, 2, 7).into(), 40_000);
    let virt = Endpoint::new(Ipv4Addr::new(10, 0, 0, 2).into(), 80);
    let server = Endpoint::new(Ipv4Addr::new(10, 1, 0, 3).into(), 80);
    let tcp = Entry { state: 1, timeout: 900, ..Entry::new(Protocol::TCP, client, virt, server) };
    let ends = [v6("2001:db8::7", 40_000), v6("2001:db8:1::1", 53), v6("2001:db8:2::2", 53)];
    let udp = Entry {
        flags: Flags(0x183),
        timeout: 300,
        ..Entry::new(Protocol::UDP, ends[0], ends[1], ends[2])
    };
    for (hex, expected) in [(KERNEL_V4, tcp), (KERNEL_V6, udp)] {
        let kernel = bytes(hex);
        let message = Message::decode(&kernel).unwrap();
        assert_eq!((message.syncid(), message.version(), message.count()), (7, Version::One, 1));
        let entries: Vec<_> = message.entries().map(Result::unwrap).collect();
        assert_eq!(entries, [expected]);
        assert_eq!(encoded(Version::One, &entries), kernel);
    }
}

#[test]
fn a_datagram_is_refused_whole_for_its_length_alone() {
    assert_eq!(Message::decode(&[]), Err(MessageError::Short { len: 0 }));
    assert_eq!(Message::decode(&[0, 7, 0]), Err(MessageError::Short { len: 3 }));
    let mut kernel = bytes(KERNEL_V4);
    kernel.push(0);
    assert_eq!(Message::decode(&kernel), Err(MessageError::Size { told: 44, len: 45 }));
    kernel.truncate(43);
    assert_eq!(Message::decode(&kernel), Err(MessageError::Size { told: 44, len: 43 }));
}

#[test]
fn what_is_not_version_1_is_version_0() {
    let mut kernel = bytes(KERNEL_V4);
    kernel[7] = 1;
    let message = Message::decode(&kernel).unwrap();
    assert_eq!((message.version(), message.count()), (Version::Zero, 0));
    assert_eq!(message.entries().count(), 0);
}

#[test]
fn version_0_has_entries_of_24_bytes_and_sequence_data_where_the_flags_say_so() {
    let mut adjusted = entry(40_001);
    (adjusted.flags, adjusted.timeout) = (Flags(0x683), 0);
    let incoming = Shift { from: 1, delta: 2, before: 3 };
    let outgoing = Shift { from: 4, delta: 5, before: u32::MAX };
    adjusted.sequence = Some(Sequence { incoming, outgoing });
    let plain = Entry { timeout: 0, ..entry(40_000) };
    let datagram = encoded(Version::Zero, &[plain, adjusted]);
    assert_eq!(datagram.len(), 4 + 24 + 48);
    assert_eq!(datagram[..4], [2, 7, 0, 76]);
    let message = Message::decode(&datagram).unwrap();
    assert_eq!(message.version(), Version::Zero);
    let entries: Vec<_> = message.entries().map(Result::unwrap).collect();
    assert_eq!(entries, [plain, adjusted]);
    let mut cut_off = datagram[..70].to_vec();
    cut_off[3] = 70;
    assert_eq!(read(&cut_off), (vec![40_000], vec![EntryError::CutOff]));
}

#[test]
fn entries_begin_at_multiples_of_four_and_the_last_one_is_not_padded() {
    let engine = |data| Some(Engine { name: b"sip", data });
    let entries = [
        Entry { engine: engine(b"abcd"), ..entry(1) },
        Entry { engine: engine(b"abc"), ..entry(2) },
    ];
    let datagram = encoded(Version::One, &entries);
    // 36 + 2 + 4 + 2 + 3 are 47 bytes and one of padding; the second entry has 46.
    assert_eq!(datagram.len(), 8 + 48 + 46);
    assert_eq!(datagram[8 + 47], 0);
    let message = Message::decode(&datagram).unwrap();
    let again: Vec<_> = message.entries().map(Result::unwrap).collect();
    assert_eq!(again, entries);
}

#[test]
fn the_entries_that_a_header_tells_too_few_or_too_many_of() {
    let mut datagram = encoded(Version::One, &[entry(1), entry(2)]);
    datagram[4] = 1;
    assert_eq!(read(&datagram), (vec![1], vec![]));
    datagram[4] = 9;
    assert_eq!(read(&datagram), (vec![1, 2], vec![EntryError::CutOff]));
    let message = Message::decode(&datagram).unwrap();
    let mut entries = message.entries();
    assert_eq!(entries.by_ref().count(), 3);
    assert_eq!(entries.lost(), 6);
}

#[test]
fn an_entry_whose_frame_is_wrong_takes_the_rest_of_the_datagram_with_it() {
    let good = with_options(2, &[]);
    let changed = |at: usize, value: u8| {
        let mut first = with_options(1, &[]);
        first[at] = value;
        read(&datagram(&[first, good.clone()]))
    };
    assert_eq!(changed(3, 35), (vec![], vec![EntryError::Size(35)]), "too small");
    assert_eq!(changed(3, 37), (vec![], vec![EntryError::OptionCutOff]), "half an option");
    assert_eq!(changed(3, 0), (vec![], vec![EntryError::Size(0)]));
    assert_eq!(changed(2, 0x0f), (vec![], vec![EntryError::CutOff]), "3876 bytes");
    assert_eq!(changed(2, 0x10), (vec![], vec![EntryError::Version(1)]));
    assert_eq!(changed(0, 2), (vec![], vec![EntryError::Kind(2)]));
    assert_eq!(changed(0, 1), (vec![], vec![EntryError::Size(36)]), "IPv6 needs 72");
}

#[test]
fn an_option_that_cannot_be_takes_the_rest_with_it_and_an_unknown_one_its_entry() {
    let reads = |options: &[u8]| {
        let (ports, errors) = read(&datagram(&[with_options(1, options), with_options(2, &[])]));
        (ports, errors.first().copied())
    };
    let sequence = [&[1, 24][..], &[9; 24]].concat();
    assert_eq!(reads(&sequence), (vec![1, 2], None));
    let twice = [&sequence[..], &sequence].concat();
    assert_eq!(reads(&twice), (vec![], Some(EntryError::OptionTwice(1))));
    let length = |kind, len| Some(EntryError::OptionLength { kind, len });
    assert_eq!(reads(&[1, 2, 0, 0]), (vec![], length(1, 2)));
    assert_eq!(reads(&[0x41, 1, 0]), (vec![], length(0x41, 1)), "a known one is not skipped");
    assert_eq!(reads(&[[3, 17].as_slice(), &[b'a'; 17]].concat()), (vec![], length(3, 17)));
    assert_eq!(reads(&[[3, 16].as_slice(), &[b'a'; 16]].concat()), (vec![1, 2], None));
    assert_eq!(reads(&[0x49, 0]), (vec![], Some(EntryError::OptionCutOff)));
    assert_eq!(reads(&[0x49, 9, 1, 2]), (vec![], Some(EntryError::OptionCutOff)));
    assert_eq!(reads(&[9, 1, 0]), (vec![2], Some(EntryError::UnknownOption(9))));
    assert_eq!(reads(&[0x80, 1, 0]), (vec![2], Some(EntryError::UnknownOption(0x80))));
    assert_eq!(reads(&[0, 1, 0]), (vec![2], Some(EntryError::UnknownOption(0))));
    for skipped in [[0x49, 1, 0], [0x40, 1, 0], [0xc9, 1, 0]] {
        assert_eq!(reads(&skipped), (vec![1, 2], None), "{skipped:x?}");
    }
    assert_eq!(
        reads(&[0x49, 1, 1, 0x49, 1, 2]),
        (vec![1, 2], None),
        "unknown ones may be repeated"
    );
    // What comes behind an unknown one is not looked at.
    assert_eq!(reads(&[9, 1, 0, 1, 1, 0]), (vec![2], Some(EntryError::UnknownOption(9))));
}

#[test]
fn a_message_is_closed_at_its_length_and_at_255_entries() {
    let mut encoder = Encoder::new(0, Version::One, 8 + 36 + 36 + 35);
    assert_eq!(encoder.take(), None);
    assert_eq!(encoder.push(&entry(1)), Ok(()));
    assert_eq!(encoder.push(&entry(2)), Ok(()));
    assert_eq!(encoder.push(&entry(3)), Err(PushError::Full));
    assert_eq!(encoder.take().unwrap().len(), 8 + 72, "without a trace of the third");
    assert!(encoder.is_empty());
    let mut encoder = Encoder::new(0, Version::One, u16::MAX);
    (0..255).for_each(|port| encoder.push(&entry(port)).unwrap());
    assert_eq!(encoder.push(&entry(255)), Err(PushError::Full));
    assert_eq!(read(&encoder.take().unwrap()).0.len(), 255);
    let mut tiny = Encoder::new(0, Version::One, 1);
    assert_eq!(tiny.push(&entry(1)), Ok(()), "one entry always fits");
    assert_eq!(tiny.push(&entry(2)), Err(PushError::Full));
}

#[test]
fn what_a_version_cannot_say_is_refused() {
    let mixed = Entry::new(Protocol::TCP, v4(7, 1), v4(80, 80), v6("2001:db8::2", 80));
    let ends = v6("2001:db8::2", 80);
    let v6 = Entry::new(Protocol::TCP, ends, ends, ends);
    let mut encoder = Encoder::new(0, Version::One, 1472);
    assert_eq!(encoder.push(&mixed), Err(PushError::Families));
    let name = Engine { name: &[b'a'; 17], data: &[] };
    let named = Entry { engine: Some(name), ..entry(1) };
    assert_eq!(encoder.push(&named), Err(PushError::Engine));
    assert!(encoder.is_empty());
    let mut old = Encoder::new(0, Version::Zero, 1472);
    let read = Engine { name: b"sip", data: b"call" };
    let template = Entry { engine: Some(read), ..entry(0) };
    assert_eq!(old.push(&template), Err(PushError::Engine));
    assert_eq!(old.push(&v6), Err(PushError::Families));
}

/// What an entry of a property test is made of.
#[derive(Clone, Debug)]
struct Made {
    v6: bool,
    protocol: u8,
    addresses: [u128; 3],
    ports: [u16; 3],
    numbers: [u32; 3],
    state: u16,
    shifts: Option<[u32; 6]>,
    name: Vec<u8>,
    data: Vec<u8>,
}

impl Made {
    fn entry(&self) -> Entry<'_> {
        let end = |n: usize| {
            let (addr, port) = (self.addresses[n], self.ports[n]);
            match self.v6 {
                true => Endpoint::new(Ipv6Addr::from_bits(addr).into(), port),
                false => Endpoint::new(Ipv4Addr::from_bits(addr as u32).into(), port),
            }
        };
        let [flags, mark, timeout] = self.numbers;
        let shift = |from, delta, before| Shift { from, delta, before };
        Entry {
            flags: Flags(flags),
            state: self.state,
            mark: FwMark(mark),
            timeout,
            sequence: self.shifts.map(|[a, b, c, d, e, f]| Sequence {
                incoming: shift(a, b, c),
                outgoing: shift(d, e, f),
            }),
            engine: match (self.name.is_empty(), self.data.is_empty()) {
                (true, true) => None,
                _ => Some(Engine { name: &self.name, data: &self.data }),
            },
            ..Entry::new(Protocol(self.protocol), end(0), end(1), end(2))
        }
    }

    /// As much of it as version 0 can say.
    fn old_entry(&self) -> Entry<'_> {
        let entry = Made { v6: false, ..self.clone() };
        let entry = entry.entry();
        let flags = Flags(entry.flags.0 & 0xffff);
        let sequence = flags.any(Flags::SEQUENCE).then(|| entry.sequence.unwrap_or_default());
        Entry { flags, sequence, mark: FwMark::NONE, timeout: 0, engine: None, ..entry }
    }
}

fn made() -> impl Strategy<Value = Made> {
    let ends = (any::<[u128; 3]>(), any::<[u16; 3]>(), any::<[u32; 3]>());
    let name = prop::collection::vec(any::<u8>(), 0..=Engine::NAME_MAX);
    let data = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..=Engine::DATA_MAX),
    ];
    let rest = (any::<(bool, u8, u16)>(), any::<Option<[u32; 6]>>(), name, data);
    (ends, rest).prop_map(|((addresses, ports, numbers), (small, shifts, name, data))| {
        let (v6, protocol, state) = small;
        Made { v6, protocol, addresses, ports, numbers, state, shifts, name, data }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_was(all in prop::collection::vec(made(), 1..12)) {
        let entries: Vec<Entry<'_>> = all.iter().map(Made::entry).collect();
        let datagram = encoded(Version::One, &entries);
        let message = Message::decode(&datagram).unwrap();
        let again: Result<Vec<_>, _> = message.entries().collect();
        prop_assert_eq!(again.unwrap(), entries);
        let entries: Vec<Entry<'_>> = all.iter().map(Made::old_entry).collect();
        let datagram = encoded(Version::Zero, &entries);
        let message = Message::decode(&datagram).unwrap();
        let again: Result<Vec<_>, _> = message.entries().collect();
        prop_assert_eq!(again.unwrap(), entries);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        whole in any::<bool>(),
        version_1 in any::<bool>(),
    ) {
        if whole && bytes.len() >= 8 {
            let [high, low] = (bytes.len() as u16).to_be_bytes();
            (bytes[2], bytes[3]) = (high, low);
            if version_1 {
                (bytes[0], bytes[5], bytes[6], bytes[7]) = (0, 1, 0, 0);
            }
        }
        if let Ok(message) = Message::decode(&bytes) {
            let mut entries = message.entries();
            let read = entries.by_ref().count();
            prop_assert_eq!(read + usize::from(entries.lost()), usize::from(message.count()));
        }
    }

    /// A good message with a few bytes changed reaches more of the reader than any bytes do.
    #[test]
    fn a_damaged_message_is_read_or_refused(
        all in prop::collection::vec(made(), 1..6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let entries: Vec<Entry<'_>> = all.iter().map(Made::entry).collect();
        let mut datagram = encoded(Version::One, &entries);
        for (at, value) in changes {
            let at = at.index(datagram.len());
            if at > 3 {
                datagram[at] = value;
            }
        }
        let message = Message::decode(&datagram).unwrap();
        prop_assert!(message.entries().count() <= usize::from(message.count()));
    }
}
