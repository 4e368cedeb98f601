use core::net::IpAddr;

use proptest::prelude::*;

use super::*;

#[test]
fn the_longest_record_fits_with_room_for_more_fields() {
    let mut bytes = [0; Record::LEN];
    let mut out = Writer { bytes: &mut bytes, at: 2 };
    out.connection(&connection(Some(u32::MAX)));
    assert!(out.at <= Record::LEN - 16, "{}", out.at);
}

fn connection(template: Option<u32>) -> ConnectionRecord {
    let end = |port| Endpoint { addr: IpAddr::V6(Ipv6Addr::LOCALHOST), port: L4Port(port) };
    let service = ServiceKey::Address { protocol: Protocol::TCP, virt: end(443) };
    ConnectionRecord {
        protocol: Protocol::TCP,
        client: end(50_000),
        virt: end(443),
        server: ServerKey { service, addr: end(8443) },
        method: Method::Masquerade,
        own_port: true,
        answers: Some(7),
        state: State::LastAck,
        answered: true,
        timeout: Duration::from_secs(30),
        idle: Duration::from_millis(1234),
        template,
        mark: FwMark(u32::MAX),
        age: Duration::from_secs(1 << 30),
        packets: u32::MAX,
        bytes: u64::MAX,
    }
}

proptest! {
    #[test]
    fn a_record_comes_back_as_it_was(template in any::<Option<u32>>()) {
        let record = Record::Connection(connection(template));
        prop_assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record));
    }

    #[test]
    fn bytes_that_are_read_are_those_that_would_be_written(
        kind in 0u8..7,
        rest in prop::collection::vec(prop_oneof![8 => 0u8..8, 1 => any::<u8>()], Record::LEN),
    ) {
        let mut bytes = [0; Record::LEN];
        bytes.copy_from_slice(&rest);
        (bytes[0], bytes[1]) = (VERSION, kind);
        // Most bytes behind the fields are damage; half of the time there is none.
        if rest[0] & 1 == 0 {
            bytes[150..].fill(0);
        }
        if let Ok(record) = Record::from_bytes(&bytes) {
            prop_assert_eq!(&*record.to_bytes(), bytes.as_slice());
        }
    }

    #[test]
    fn one_wrong_byte_is_an_error_or_another_record(at in 0..Record::LEN, byte in any::<u8>()) {
        let record = Record::Connection(connection(Some(1)));
        let mut bytes = record.to_bytes().to_vec();
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert_ne!(Record::from_bytes(&bytes), Ok(record));
    }
}

proptest! {
    #[test]
    fn what_an_engine_read_comes_back_as_it_was(
        data in prop::collection::vec(any::<u8>(), 1..=DATA_MAX),
        cut in 1..Record::LEN_MAX,
        at in 0..Record::LEN_MAX,
    ) {
        let record = Record::Template(template(EngineData::new(Engine::Sip, &data)));
        let bytes = record.to_bytes();
        prop_assert_eq!(bytes.len() % Record::LEN, 0);
        prop_assert_eq!(Record::len_of(bytes.first_chunk().unwrap()), bytes.len());
        prop_assert_eq!(Record::from_bytes(&bytes), Ok(record));
        let two = [&*bytes, &*bytes].concat();
        let (first, rest) = Record::first_of(&two).unwrap();
        prop_assert_eq!((first, rest), (Ok(record), &*bytes));
        let short = &bytes[..cut.min(bytes.len() - 1)];
        prop_assert!(Record::from_bytes(short).is_err());
        let mut wrong = bytes.to_vec();
        let at = at % wrong.len();
        wrong[at] ^= 1;
        prop_assert_ne!(Record::from_bytes(&wrong), Ok(record));
        wrong.push(0);
        prop_assert!(Record::from_bytes(&wrong).is_err());
    }
}

fn template(engine: Option<EngineData>) -> TemplateRecord {
    let connection = connection(None);
    TemplateRecord {
        number: 7,
        protocol: Protocol::UDP,
        client: connection.client.addr,
        virt: connection.virt,
        server: connection.server,
        engine,
        port: L4Port(5060),
        timeout: Duration::from_secs(60),
        idle: Duration::from_millis(59_999),
        assured: true,
        spoilt: false,
        mark: FwMark(u32::MAX),
        age: Duration::from_secs(1 << 30),
        connections: u32::MAX,
        holds: 3,
    }
}

#[test]
fn the_fields_of_a_template_end_before_its_engine() {
    let mut bytes = [0; Record::LEN];
    let mut out = Writer { bytes: &mut bytes, at: 2 };
    out.template(&template(None));
    assert!(out.at <= ENGINE_AT - 16, "{}", out.at);
}

#[test]
fn another_version_is_told_by_its_number() {
    let error = Record::from_bytes(&[9; Record::LEN]).unwrap_err();
    assert_eq!(std::format!("{error}"), "the record has format 9, this version reads format 1");
}
