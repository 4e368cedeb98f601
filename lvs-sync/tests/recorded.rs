//! Datagrams that the master of a Linux kernel sent, from the records in `conformance/recorded`: read, written
//! again, and taken by a backup.

use std::fs;
use std::path::Path;

use lvs_core::director::Director;
use lvs_core::limits::Limits;
use lvs_core::time::Instant;
use lvs_sync::backup::{Backup, Settings};
use lvs_sync::message::{Encoder, Message, Version};

/// The least number of datagrams that the records hold, so that a test cannot pass without any.
const AT_LEAST: usize = 30;

/// The datagrams of every record, with its name. None if the records are not there, as in a package.
fn datagrams() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/recorded");
    if !root.is_dir() {
        println!("skipped: the records of the repository are not in this package");
        return Vec::new();
    }
    let mut found = Vec::new();
    for directory in [root.clone(), root.join("long")] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_some_and(|extension| extension == "rec") {
                let text = fs::read_to_string(&path).unwrap();
                let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("raw| "));
                let hex = lines.filter_map(|line| line.split_once(' ')).map(|(_, hex)| bytes(hex));
                found.extend(hex.map(|bytes| (name.clone(), bytes)));
            }
        }
    }
    assert!(found.len() >= AT_LEAST, "only {} datagrams", found.len());
    found
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn what_the_kernel_sends_is_read_and_written_byte_for_byte() {
    for (name, datagram) in datagrams() {
        let message = Message::decode(&datagram).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut encoder = Encoder::new(message.syncid(), message.version(), datagram.len() as u16);
        for entry in message.entries() {
            let entry = entry.unwrap_or_else(|e| panic!("{name}: {e}"));
            encoder.push(&entry).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        }
        assert_eq!(encoder.take().as_deref(), Some(&datagram[..]), "{name}");
    }
}

#[test]
fn a_backup_without_services_takes_all_that_the_kernel_sends() {
    for (name, datagram) in datagrams() {
        let mut director = Director::new(Limits::small(), [1, 2]).unwrap();
        let mut backup = Backup::new(Settings { syncid: 0 });
        let taken = backup.take(Instant::ZERO, &mut director, &datagram).unwrap();
        assert_eq!((taken.accepted, taken.complaint), (taken.entries, None), "{name}");
    }
}

#[test]
fn both_versions_and_families_are_recorded() {
    let found = datagrams();
    let has = |wanted: fn(&Message<'_>) -> bool| {
        found.iter().any(|(_, datagram)| wanted(&Message::decode(datagram).unwrap()))
    };
    if !found.is_empty() {
        assert!(has(|message| message.version() == Version::Zero));
        assert!(has(|message| message.entries().flatten().any(|e| e.client.addr.is_ipv6())));
    }
}
