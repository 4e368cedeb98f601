use lvs_core::command::Command;
use lvs_core::engine::{Engine, EngineData};
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::FwMark;
use lvs_core::listing::ConnectionEntry;
use lvs_core::state::State;
use lvs_core::time::Duration;

use super::*;
use lvs_admin::ipvsadm::{Action, parse};
use lvs_admin::names::NumericOnly;

/// A command, over JSON and back.
fn there_and_back(line: &str) -> (Command, Command, String) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let Ok(Action::Change(command)) = parse(&words, &NumericOnly) else {
        panic!("{line} is no change")
    };
    let json = serde_json::to_string(&Change::try_from(&command).unwrap()).unwrap();
    let change: Change = serde_json::from_str(&json).unwrap();
    (command, (&change).try_into().unwrap(), json)
}

#[test]
fn every_command_of_ipvsadm_survives_the_socket() {
    let lines = [
        "-A -t 10.0.0.1:80",
        "-A -t 10.0.0.1:0 -s wrr -p 600 -M 255.255.255.0",
        "-A -t 10.0.0.1:80 -M 255.0.255.0",
        "-A -u [2001:db8::1]:53 -s mh -o -b mh-fallback,mh-port",
        "-A -u [2001:db8::1]:53 -p 7 -M 64 -b flag-3",
        "-A --sctp-service 10.0.0.1:99",
        "-E -f 7 -s sh -b sh-port",
        "-A -f 4294967295 -6 -p",
        "-D -f 7 -6",
        "-C",
        "-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -m -w 0",
        "-a -t 10.0.0.1:80 -r 10.1.0.2 -x 10 -y 5 -w 65536",
        "-e -t 10.0.0.1:80 -r 10.1.0.2 -i",
        "-a -t 10.0.0.1:80 -r [2001:db8::2]:80 -i --tun-type gue --tun-port 6080 --tun-remcsum",
        "-a -f 1 -r 10.1.0.2 -i --tun-type gre --tun-csum",
        "-d -t 10.0.0.1:80 -r 10.1.0.2:80",
        "-Z",
        "-Z -t 10.0.0.1:80",
        "--set 900 0 30",
    ];
    for line in lines {
        let (sent, received, json) = there_and_back(line);
        assert_eq!(sent, received, "{line}: {json}");
    }
}

#[test]
fn a_change_reads_like_the_command() {
    let (.., json) = there_and_back("-a -t 10.0.0.1:80 -r 10.1.0.2 -w 4");
    assert_eq!(
        json,
        r#"{"add_server":{"service":{"protocol":"tcp","address":"10.0.0.1","port":80},"server":{"address":"10.1.0.2","port":80,"method":"direct_route","weight":4,"upper_threshold":0,"lower_threshold":0}}}"#
    );
}

#[test]
fn connections_in_every_state_survive_the_socket() {
    let end = |text: &str, port| Endpoint::new(text.parse().unwrap(), port);
    let states = (0..State::COUNT).map(|byte| State::from_byte(byte as u8).name());
    for state in states.chain(["ASSURED"]) {
        let entry = ConnectionEntry {
            protocol: Protocol(58),
            client: end("2001:db8::7", 40_000),
            virt: end("2001:db8::1", 80),
            destination: end("10.1.0.2", 80),
            state,
            expires: Duration::from_millis(898_765),
            template: false,
            engine: EngineData::new(Engine::Sip, b"a\"\xe4\xff@h").map(Box::new),
            mark: FwMark(7),
            packets: 3,
            bytes: u64::MAX,
            age: Duration::from_millis(1),
        };
        let json = serde_json::to_string(&Connection::from(&entry)).unwrap();
        let data: Connection = serde_json::from_str(&json).unwrap();
        assert_eq!(ConnectionEntry::try_from(&data), Ok(entry), "{json}");
    }
}

#[test]
fn an_engine_that_is_none_and_data_that_no_engine_reads_are_told_in_words() {
    let read =
        |name: &str, data: String| EngineData::try_from(&EngineRead { name: name.into(), data });
    let error = read("sips", "a".into()).unwrap_err();
    assert_eq!(error.to_string(), "\"sips\" is no persistence engine");
    for data in ["".into(), "\u{20ac}".into(), "z".repeat(256)] {
        let error = read("sip", data).unwrap_err().to_string();
        assert!(error.contains("1 to 255 characters of ISO 8859-1"), "{error}");
    }
}

#[test]
fn nonsense_is_told_in_words() {
    let name = r#"{"protocol":"icmp","address":"10.0.0.1","port":80}"#;
    let name: ServiceName = serde_json::from_str(name).unwrap();
    let error = lvs_core::command::ServiceKey::try_from(name).unwrap_err();
    assert_eq!(error.to_string(), "a service of protocol ICMP: tcp, udp or sctp");
    let wrong = serde_json::from_str::<Connection>(r#"{"protocol":"tpc"}"#).unwrap_err();
    assert!(wrong.to_string().contains("\"tpc\" is no protocol"), "{wrong}");
}
