//! What must not change a record: the size of bursts, and a reload of the rules at any moment.

use std::fs;
use std::path::Path;

use lvs_core::sched::SCHEDULERS;
use lvs_sim::compare::{Tolerances, compare};
use lvs_sim::player::{PlayOptions, play};
use lvs_sim::scenario::Scenario;
use proptest::prelude::*;

/// At how many moments of each shipped scenario a reload is tried.
const MOMENTS: usize = 8;

fn shipped() -> Vec<Scenario> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/scenarios");
    let mut found = Vec::new();
    for dir in [dir.clone(), dir.join("long"), dir.join("loose")] {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "lvs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Scenario::parse(&path.to_string_lossy(), &text).unwrap());
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn record(scenario: &Scenario, options: PlayOptions) -> String {
    play(scenario, &options)
        .unwrap_or_else(|error| panic!("{}: {error}", scenario.name))
        .into_string()
}

fn assert_same(scenario: &Scenario, one: &str, other: &str, what: &str) {
    let strict = Tolerances { seconds: 0, ..Tolerances::default() };
    let differences: Vec<_> =
        compare(one, other, strict).iter().map(|difference| difference.to_string()).collect();
    assert!(differences.is_empty(), "{} {what}:\n{}", scenario.name, differences.join("\n"));
}

#[test]
fn a_reload_changes_no_shipped_scenarios_record() {
    for scenario in shipped() {
        let plain = record(&scenario, PlayOptions::default());
        let count = scenario.events.len();
        for at in (0..count).step_by(count.div_ceil(MOMENTS)).chain(count.checked_sub(1)) {
            let options = PlayOptions { reload_before: Some(at), ..PlayOptions::default() };
            let what = format!("with a reload before event {at}");
            assert_same(&scenario, &plain, &record(&scenario, options), &what);
        }
    }
}

/// Packets that are cut, wait, are refused, or are not for the director at all.
const ODD: &[&str] = &[
    "tcp 192.0.2.7-8:40000-40003 > 10.0.0.1:80 A len=900 df=0",
    "tcp 192.0.2.7:40000-40003 > 10.0.0.1:80 S len=900 df=0",
    "tcp 192.0.2.7:40000-40003 > 10.0.0.1:80 A len=900",
    "tcp 192.0.2.7:40000-40002 > 10.0.0.1:80 S ttl=1",
    "tcp 192.0.2.7:40000-40005 > 10.0.0.1:82 S",
    "udp 192.0.2.7:40000-40005 > 10.0.0.1:54 len=700 df=0",
    "tcp [2001:db8::7]:40000-40004 > [2001:db8:1::1]:80 S",
    "tcp [2001:db8::7]:40000-40004 > [2001:db8:1::1]:80 A len=900",
    "frag udp 192.0.2.7:40000 > 10.0.0.1:53 len=100 at=40 send=1,0",
    "sctp 192.0.2.7:40000 > 10.0.0.1:80 INIT",
    "icmp echo 192.0.2.7 > 10.0.0.1 len=8",
    "icmp unreach 192.0.2.99 > 10.0.0.1 mtu=1400 quoting tcp 10.0.0.1:80 > 192.0.2.7:40000 A",
    "reply icmp ttl 10.1.0.9 > 10.1.0.1 quoting ipip 10.1.0.1 > 10.1.0.2 tcp 192.0.2.7:4 > 10.0.0.1:80 A",
    "reply udp 10.1.0.2:53 > 192.0.2.7:40000 len=4",
    "udp 192.0.2.7:1 > 8.8.8.8:53 ttl=1",
    "udp 192.0.2.7:1 > 255.255.255.255:53",
];

/// A line of a generated scenario, without its time.
fn action() -> impl Strategy<Value = String> {
    let client = 7_u8..10;
    let port = 40_000_u16..40_006;
    let flags = prop::sample::select(vec!["S", "A", "FA", "R", "SA", "PA len=10", "."]);
    let vport = prop::sample::select(vec![80_u16, 81, 443]);
    let server = 2_u8..6;
    let weight = 0_u8..4;
    let tcp = (client.clone(), port.clone(), vport.clone(), flags)
        .prop_map(|(c, p, v, f)| format!("tcp 192.0.2.{c}:{p} > 10.0.0.1:{v} {f}"));
    let syns = (client.clone(), port.clone(), vport)
        .prop_map(|(c, p, v)| format!("tcp 192.0.2.{c}:{p}-{} > 10.0.0.1:{v} S", p + 20));
    let udp = (client, port).prop_map(|(c, p)| format!("udp 192.0.2.{c}:{p} > 10.0.0.1:53 len=4"));
    let reply =
        (40_000_u16..40_006).prop_map(|p| format!("reply tcp 10.0.0.1:80 > 192.0.2.7:{p} SA"));
    let edit = (server.clone(), weight)
        .prop_map(|(s, w)| format!("ipvsadm -e -t 10.0.0.1:80 -r 10.1.0.{s} -g -w {w}"));
    let change = (server, prop::sample::select(vec!["-a", "-d"]))
        .prop_map(|(s, verb)| format!("ipvsadm {verb} -t 10.0.0.1:80 -r 10.1.0.{s}"));
    let dump =
        prop::sample::select(vec!["dump conns", "dump services", "dump persist", "dump stats"])
            .prop_map(str::to_owned);
    let odd = prop::sample::select(ODD.to_vec()).prop_map(str::to_owned);
    prop_oneof![6 => tcp, 3 => syns, 2 => udp, 1 => reply, 1 => edit, 1 => change, 1 => dump, 3 => odd]
}

/// A generated scenario, as text.
fn text() -> impl Strategy<Value = String> {
    let scheduler =
        prop::sample::select(SCHEDULERS.iter().map(|info| info.name).collect::<Vec<_>>());
    let persistence = prop::sample::select(vec!["", " -p 3", " -p 30 -M 255.255.255.0"]);
    let steps =
        prop::collection::vec((prop::sample::select(vec![0_u16, 0, 0, 1, 700]), action()), 1..60);
    (scheduler, persistence, steps).prop_map(|(scheduler, persistence, steps)| {
        let mut text = format!(
            "# generated\n\
             @mtu server 600\n\
             @noneigh 10.1.0.5 10.1.0.6 2001:db8:2::6\n\
             0 sysctl net.ipv4.conf.all.accept_local=1\n\
             0 mark tcp 10.0.0.1:443 5\n\
             0 ipvsadm --set 20 5 4\n\
             0 ipvsadm -A -t 10.0.0.1:80 -s {scheduler}{persistence}\n\
             0 ipvsadm -a -t 10.0.0.1:80 -r 10.1.0.2 -g -w 3\n\
             0 ipvsadm -a -t 10.0.0.1:80 -r 10.1.0.3 -g -x 6 -y 2\n\
             0 ipvsadm -A -f 5 -s {scheduler} -p 5\n\
             0 ipvsadm -a -f 5 -r 10.1.0.2 -g\n\
             0 ipvsadm -A -u 10.0.0.1:53 -s rr -o\n\
             0 ipvsadm -a -u 10.0.0.1:53 -r 10.1.0.4 -g\n\
             0 ipvsadm -A -t 10.0.0.1:82 -s rr\n\
             0 ipvsadm -a -t 10.0.0.1:82 -r 10.1.0.5 -g\n\
             0 ipvsadm -a -t 10.0.0.1:82 -r 10.1.0.6 -g\n\
             0 ipvsadm -A -u 10.0.0.1:54 -s rr\n\
             0 ipvsadm -a -u 10.0.0.1:54 -r 10.1.0.5 -g\n\
             0 ipvsadm -a -u 10.0.0.1:54 -r 10.1.0.4 -g\n\
             0 ipvsadm -A -t [2001:db8:1::1]:80 -s rr\n\
             0 ipvsadm -a -t [2001:db8:1::1]:80 -r [2001:db8:2::6]:80 -g\n\
             0 ipvsadm -a -t [2001:db8:1::1]:80 -r [2001:db8:2::5]:80 -g\n"
        );
        let mut tenths = 5_u64;
        for (pause, action) in steps {
            tenths += u64::from(pause);
            text.push_str(&format!("{}.{} {action}\n", tenths / 10, tenths % 10));
        }
        text.push_str(&format!("{} dump conns\n", tenths / 10 + 1));
        text.push_str(&format!("{} dump proc\n", tenths / 10 + 1));
        text
    })
}

fn parse(text: &str) -> Scenario {
    Scenario::parse("generated.lvs", text).unwrap_or_else(|error| panic!("{error}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_size_of_bursts_changes_no_record(text in text()) {
        let scenario = parse(&text);
        let one = record(&scenario, PlayOptions::default());
        for burst in [7, 32] {
            let options = PlayOptions { burst, ..PlayOptions::default() };
            assert_same(&scenario, &one, &record(&scenario, options), &format!("in bursts of {burst}"));
        }
    }

    #[test]
    fn a_reload_at_any_moment_changes_no_record(
        text in text(),
        at in any::<prop::sample::Index>(),
        burst in prop::sample::select(vec![1_u16, 7, 32]),
    ) {
        let scenario = parse(&text);
        let plain = record(&scenario, PlayOptions { burst, ..PlayOptions::default() });
        let at = at.index(scenario.events.len());
        let options = PlayOptions { burst, reload_before: Some(at), ..PlayOptions::default() };
        let what = format!("with a reload before event {at}");
        assert_same(&scenario, &plain, &record(&scenario, options), &what);
    }
}
