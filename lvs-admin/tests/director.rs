//! The language and the director together: what an operator types is carried out, refused and listed as
//! the recorded kernel does it.

use lvs_admin::diff::{Running, diff};
use lvs_admin::ipvsadm::{self, Action, apply_status};
use lvs_admin::listing::{self, Header, Listing};
use lvs_admin::names::NumericOnly;
use lvs_admin::rules::{Rules, Supported};
use lvs_core::addr::{MacAddr, Prefix};
use lvs_core::command::{Command, PortSpec};
use lvs_core::director::Director;
use lvs_core::ids::PortId;
use lvs_core::limits::Limits;
use lvs_core::time::Instant;

/// The director of the recorded scenarios: one port to the clients, one to the servers.
fn director() -> Director {
    let mut director = Director::new(Limits::small(), [1, 2]).unwrap();
    let prefix = |text: &str, len| Prefix::new(text.parse().unwrap(), len).unwrap();
    let ports = [
        vec![prefix("192.0.2.1", 32), prefix("2001:db8::1", 128)],
        vec![prefix("10.1.0.1", 16), prefix("2001:db8:2::1", 64)],
    ];
    for (id, addresses) in (0..).zip(ports) {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let port = PortSpec { id: PortId(id), mac, mtu: 1500, addresses };
        director.apply(Instant::ZERO, Command::SetPort(port)).unwrap();
    }
    director
}

/// Types a line at the director: `ok`, or the exit status with what is printed.
fn typed(director: &mut Director, line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let refused = |status, text: &dyn std::fmt::Display| format!("exit {status}\n! {text}");
    match ipvsadm::parse(&words, &NumericOnly) {
        Ok(Action::Change(command)) => match director.apply(Instant::ZERO, command) {
            Ok(()) => "ok".to_owned(),
            Err(error) => refused(apply_status(&error), &error),
        },
        Ok(other) => panic!("{line}: {other:?}"),
        Err(refusal) => refused(refusal.status(), &refusal),
    }
}

fn saved(director: &mut Director) -> String {
    let mut text = String::new();
    let entries = director.services(Instant::ZERO);
    listing::save(&mut text, &entries, &NumericOnly, true).unwrap();
    text
}

#[test]
fn what_the_recorded_kernel_refuses_is_refused_with_its_words_and_status() {
    let record = include_str!("../testdata/errors.rec");
    let mut director = director();
    let mut lines = record.lines().peekable();
    let mut wrong = String::new();
    while let Some(line) = lines.next() {
        let Some((command, answer)) = line.split_once(" => ") else { continue };
        let Some((_, command)) = command.split_once(" ipvsadm ") else { continue };
        let mut expected = answer.to_owned();
        if let Some(message) = lines.peek().and_then(|line| line.strip_prefix("    ! ")) {
            expected += &format!("\n! {message}");
        }
        let ours = typed(&mut director, command);
        if ours != expected {
            wrong += &format!("ipvsadm {command}\n{expected}\nours: {ours}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(
        saved(&mut director),
        "-A -t 10.0.0.4:80 -s rr\n\
         -A -t 10.0.0.11:80 -s rr -p 20 -M 255.0.255.0\n\
         -A -t 10.0.0.12:80 -s rr -p 20 -M 0.0.0.33\n"
    );
}

#[test]
fn the_service_gives_its_servers_their_port() {
    let mut director = director();
    for line in [
        "-A -t 10.0.0.1:80 -s rr",
        "-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -g",
        "-a -t 10.0.0.1:80 -r 10.1.0.3:8080 -g",
    ] {
        assert_eq!(typed(&mut director, line), "ok", "{line}");
    }
    let again = typed(&mut director, "-a -t 10.0.0.1:80 -r 10.1.0.2:81 -g");
    assert_eq!(again, "exit 255\n! Destination already exists");
    assert_eq!(typed(&mut director, "-d -t 10.0.0.1:80 -r 10.1.0.2"), "ok");
    let wrong_port = typed(&mut director, "-d -t 10.0.0.1:80 -r 10.1.0.3:8080");
    assert_eq!(wrong_port, "exit 255\n! No such destination");
    assert_eq!(typed(&mut director, "-e -t 10.0.0.1:80 -r 10.1.0.3:9999 -g -w 5"), "ok");
    let Ok(Action::List(request)) = ipvsadm::parse(&["-Ln"], &NumericOnly) else { panic!() };
    let mut text = String::new();
    let entries = director.services(Instant::ZERO);
    let listing = Listing::new(Header::default(), request, &NumericOnly);
    listing.services(&mut text, &entries).unwrap();
    assert_eq!(
        text,
        "IP Virtual Server version 1.2.1 (size=4096)\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
         TCP  10.0.0.1:80 rr\n  \
         -> 10.1.0.3:80                  Route   5      0          0         \n"
    );
}

#[test]
fn timeouts_change_where_they_are_not_zero() {
    let mut director = director();
    let shown = |director: &Director| {
        let mut text = String::new();
        listing::timeouts(&mut text, &director.timeouts()).unwrap();
        text
    };
    assert_eq!(shown(&director), "Timeout (tcp tcpfin udp): 900 120 300\n");
    assert_eq!(typed(&mut director, "--set 50 20 30"), "ok");
    assert_eq!(typed(&mut director, "--set 0 25 0"), "ok");
    assert_eq!(shown(&director), "Timeout (tcp tcpfin udp): 50 25 30\n");
}

#[test]
fn loading_the_same_rules_again_asks_the_director_for_nothing() {
    let text = "\
-A -t 10.0.0.1:80 -s wlc -p 60 -M 255.255.255.0
-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -g -w 4 -x 100 -y 50
-a -t 10.0.0.1:80 -r 10.1.0.3 -w 0
-A -u 10.0.0.1:53 -s rr -M 255.0.0.0
-A -t 10.0.0.2:0 -s wrr -p
-A -f 8 -6 -s rr -p 10 -M 64
-a -f 8 -6 -r [2001:db8:2::2]:80
-A -t [2001:db8:1::1]:80 -s rr -p 50 -M 128
ip6tables -t mangle -A PREROUTING -d 2001:db8:1::/64 -p tcp --dport 80 -j MARK --set-mark 8
--set 100 0 50
sysctl -w net.ipv4.vs.expire_nodest_conn=1
";
    let rules = Rules::parse("lvs.rules", text, &NumericOnly, &Supported::THIS_VERSION);
    let rules = rules.unwrap_or_else(|errors| panic!("{errors}"));
    let mut director = director();
    for command in rules.commands(|_| None).unwrap() {
        director.apply(Instant::ZERO, command).unwrap();
    }
    let marks = rules.mark_rules(|_| None).unwrap();
    let services = director.services(Instant::ZERO);
    let running = Running::of(&director, &services);
    assert_eq!(diff(&running, &rules, &marks), []);
    // And an empty file undoes it all.
    let commands = diff(&running, &Rules::default(), &[]);
    for command in commands {
        director.apply(Instant::ZERO, command).unwrap();
    }
    assert_eq!(saved(&mut director), "");
    assert!(director.mark_rules().is_empty());
}
