//! One entry for fuzzers and property tests: whatever the text, nothing panics.

use crate::ipvsadm;
use crate::names::Services;
use crate::rules::{Rules, Supported};
use crate::words;

/// Reads `bytes` as a rules file, and each of its lines as a command line.
///
/// For fuzzing: the answers are of no interest, only that there are some.
pub fn parse_anything(bytes: &[u8]) {
    let names = Services::well_known();
    for supported in [Supported::THIS_VERSION, Supported::EVERYTHING] {
        match Rules::parse_bytes("fuzz", bytes, &names, &supported) {
            Ok(rules) => drop(rules.virtual_addresses()),
            Err(errors) => drop(errors.iter().map(ToString::to_string).collect::<Vec<_>>()),
        }
    }
    let text = String::from_utf8_lossy(bytes);
    for line in words::lines(&text).flatten() {
        match ipvsadm::parse(&line, &names) {
            Ok(action) => drop(action),
            Err(refusal) => drop(refusal.to_string()),
        }
    }
}
