//! Any text as a rules file: nothing panics, a file that is accepted is accepted by a director too, and
//! a director that was made from a file needs no change to become what the file says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lvs_admin::diff::{Running, diff};
use lvs_admin::names::Services;
use lvs_admin::rules::{Rules, Supported};
use lvs_core::command::ApplyError;
use lvs_core::director::Director;
use lvs_core::ids::PortId;
use lvs_core::limits::Limits;
use lvs_core::time::Instant;

fuzz_target!(|text: &[u8]| {
    lvs_admin::parse_anything(text);
    let names = Services::well_known();
    let rules = Rules::parse_bytes("fuzz", text, &names, &Supported::THIS_VERSION);
    if let Ok(rules) = rules {
        obey(&rules);
    }
});

fn obey(rules: &Rules) {
    let port = |name: &str| (name == "eth0").then_some(PortId(0));
    let Ok(commands) = rules.commands(port) else { return };
    let limits = Limits { connections_max: 1, templates_max: 1, ..Limits::small() };
    let mut director = Director::new(limits, [1, 2]).expect("the limits are within their bounds");
    for command in commands {
        match director.apply(Instant::ZERO, command.clone()) {
            Ok(()) => {}
            Err(ApplyError::Limit(_)) => return,
            Err(error) => panic!("{command:?}: {error}"),
        }
    }
    let mark_rules = rules.mark_rules(port).expect("they were made before");
    let services = director.services(Instant::ZERO);
    let running = Running { mark_rules: &mark_rules, ..Running::of(&director, &services) };
    assert_eq!(diff(&running, rules, &mark_rules), []);
}
