use lvs_core::addr::Prefix;
use lvs_core::flow::Protocol;
use lvs_core::ids::L4Port;
use proptest::prelude::*;

use super::*;
use crate::names::{NumericOnly, Services};

fn parse(text: &str) -> Result<Rules, RuleErrors> {
    Rules::parse("lvs.rules", text, &Services::well_known(), &Supported::THIS_VERSION)
}

fn good(text: &str) -> Rules {
    parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn mistake(text: &str) -> String {
    let errors = parse(text).expect_err(text);
    assert_eq!(errors.count(), 1, "{errors}");
    errors.to_string()
}

#[test]
fn a_file_of_many_mistakes_is_told_them_all() {
    let text = include_str!("../../testdata/mistakes.rules");
    let errors = parse(text).unwrap_err();
    insta::assert_snapshot!(errors.to_string());
}

#[test]
fn no_mistake_of_the_file_goes_unnoticed() {
    let text = include_str!("../../testdata/mistakes.rules");
    let errors = parse(text).unwrap_err();
    let told: Vec<_> = errors.iter().map(|error| error.line).collect();
    for (index, line) in text.lines().enumerate() {
        let number = u32::try_from(index).unwrap() + 1;
        let right = line.starts_with('#')
            || line.ends_with('\\')
            || line == "-A -t 10.0.0.1:80 -s rr"
            || line == "-a -t 10.0.0.1:80 -r 10.1.0.2 -g";
        assert_ne!(told.contains(&number), right, "line {number}: {line}");
    }
}

#[test]
fn an_empty_file_is_a_valid_one() {
    for text in ["", "\n\n", "# nothing\n", "\u{feff}", "   \t\r\n"] {
        let rules = good(text);
        assert!(rules.services().is_empty());
        assert!(rules.commands(|_| None).unwrap().is_empty());
        assert!(rules.virtual_addresses().is_empty());
    }
}

#[test]
fn the_tutorials_lines_are_understood_as_typed() {
    let rules = good(
        "
# PCC, per client: port 0, every port of the client to one real server (HTTP and SSH arrive at the same machine)
ipvsadm -A -t 192.168.0.1:0 -s wlc -p 600
ipvsadm -a -t 192.168.0.1:0 -r 192.168.1.2 -w 4 -g
ipvsadm -a -t 192.168.0.1:0 -r 192.168.1.3 -w 2 -g

# PPC, per port: each service remembered by itself
ipvsadm -A -t 192.168.0.1:80 -s wlc -p 600
ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.2 -w 4 -g
ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.3 -w 2 -g
ipvsadm -A -t 192.168.0.1:22 -s wlc -p 600
ipvsadm -a -t 192.168.0.1:22 -r 192.168.1.2 -g
ipvsadm -a -t 192.168.0.1:22 -r 192.168.1.3 -g

# by firewall mark: ports with an affinity (browsing on 80, paying on 443) are one service
iptables -t mangle -A PREROUTING -d 192.168.0.1 -p tcp --dport 80  -j MARK --set-mark 10
iptables -t mangle -A PREROUTING -d 192.168.0.1 -p tcp --dport 443 -j MARK --set-mark 10
ipvsadm -A -f 10 -s wlc -p
ipvsadm -a -f 10 -r 192.168.1.2 -g -w 4
ipvsadm -a -f 10 -r 192.168.1.3 -g -w 2

ipvsadm --set 28800 30 60
",
    );
    assert_eq!(rules.services().len(), 4);
    assert_eq!(rules.services()[0].destinations[0].weight, 4);
    assert_eq!(rules.services()[3].spec.persistence.unwrap().timeout.as_secs(), 360);
    assert_eq!(rules.virtual_addresses(), ["192.168.0.1".parse::<IpAddr>().unwrap()]);
    assert!(rules.prefix_marks().is_empty());
    assert!(rules.warnings().is_empty());
    assert_eq!(rules.timeouts().tcp.unwrap().as_secs(), 28800);
    assert_eq!(rules.commands(|_| None).unwrap().len(), 4 + 8 + 1 + 1);
}

#[test]
fn the_word_ipvsadm_may_be_left_out_or_have_a_path() {
    let spellings =
        ["-A -f 1", "ipvsadm -A -f 1", "/sbin/ipvsadm -A -f 1", "lvsadm --add-service -f1"];
    for text in spellings {
        assert_eq!(good(text).services().len(), 1, "{text}");
    }
    let shown = mistake("/usr/sbin/ipvsadm -A -t 10.0.0.1:x");
    assert!(shown.starts_with("lvs.rules:1:25: "), "{shown}");
}

#[test]
fn mark_lines_say_addresses_ports_and_interface() {
    let rules = good(
        "/sbin/iptables -w 5 -t mangle -A PREROUTING -i eth0 -s 10.0.0.0/255.0.0.0 -d 10.0.0.5,10.0.0.6 \
         -p tcp -m multiport --dports http,443,8000:8010 -m comment --comment 'web; shop' \
         -j MARK --set-mark 0x10/0xffffffff\n\
         ip6tables --table=mangle --append=PREROUTING --destination 2001:db8::/64 --protocol all \
         --jump MARK --set-xmark 020\n\
         iptables -tmangle -APREROUTING -ptcp --dport=:1023 --sport 1024: -jMARK --set-mark=7",
    );
    let marks: Vec<_> = rules.mark_lines().map(|(_, line)| line.clone()).collect();
    assert_eq!(marks[0].rules.len(), 6);
    assert_eq!(marks[0].interface.as_deref(), Some("eth0"));
    let first = marks[0].rules[0];
    assert_eq!(first.destination, Some(Prefix::host("10.0.0.5".parse().unwrap())));
    assert_eq!(first.source, Prefix::new("10.0.0.0".parse().unwrap(), 8));
    assert_eq!(first.destination_ports, Some((L4Port(80), L4Port(80))));
    assert_eq!(marks[0].rules[2].destination_ports, Some((L4Port(8000), L4Port(8010))));
    assert_eq!((first.mark, first.protocol), (FwMark(16), Some(Protocol::TCP)));
    assert_eq!((marks[1].rules[0].family, marks[1].rules[0].mark), (Family::V6, FwMark(16)));
    assert_eq!(marks[1].rules[0].protocol, None);
    assert_eq!(marks[2].rules[0].destination_ports, Some((L4Port(0), L4Port(1023))));
    assert_eq!(marks[2].rules[0].source_ports, Some((L4Port(1024), L4Port(65535))));
    assert_eq!(rules.prefix_marks(), [(FwMark(16), Family::V6), (FwMark(7), Family::V4)]);
    assert_eq!(rules.virtual_addresses().len(), 2);
}

#[test]
fn an_interface_of_a_mark_line_becomes_a_port_or_an_error() {
    let rules = good(
        "# x\niptables -t mangle -A PREROUTING -i eth1 -p tcp --dport 80 -j MARK --set-mark 1\n",
    );
    let port = |name: &str| (name == "eth1").then_some(PortId(4));
    assert_eq!(rules.mark_rules(port).unwrap()[0].port, Some(PortId(4)));
    let error = rules.mark_rules(|_| None).unwrap_err().to_string();
    assert!(error.starts_with("lvs.rules:2:1: the director has no interface eth1; "), "{error}");
}

#[test]
fn switches_are_set_by_sysctl_lines() {
    let rules = good(
        "sysctl -w net.ipv4.vs.expire_nodest_conn=1\nsysctl net/ipv4/vs/conn_reuse_mode = 0\n\
         net.ipv4.vs.sloppy_tcp = 1\nnet.ipv4.vs.conntrack=1\nnet.ipv4.vs.sync_threshold = 4\n",
    );
    let tunables = Tunables {
        expire_nodest_conn: true,
        conn_reuse_mode: 0,
        sloppy_tcp: true,
        sync_threshold: 4,
        ..Tunables::default()
    };
    assert_eq!(rules.tunables(), tunables);
    assert_eq!(rules.commands(|_| None).unwrap(), [Command::SetTunables(tunables)]);
    for tunable in TUNABLES {
        let mut tunables = Tunables::default();
        (tunable.set)(&mut tunables, tunable.most);
        assert_eq!((tunable.get)(&tunables), tunable.most, "{}", tunable.name);
    }
}

#[test]
fn synchronisation_daemons_are_started_by_lines_of_their_own() {
    let rules = good(
        "ipvsadm --start-daemon backup --mcast-interface eth1 --syncid 5\n--start-daemon master\n\
         --stop-daemon master\n--start-daemon master --sync-maxlen 1400\n",
    );
    let told: Vec<String> = rules.daemons().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "--start-daemon master --mcast-interface eth0 --sync-maxlen 1400",
            "--start-daemon backup --mcast-interface eth1 --syncid 5"
        ]
    );
    assert!(rules.commands(|_| None).unwrap().is_empty(), "a director itself has no daemons");
    let twice = mistake("--start-daemon backup\n--start-daemon backup --syncid 5\n");
    assert!(twice.contains("lvs.rules:2:1: Daemon has already run: backup, started on line 1"));
    let none = mistake("--stop-daemon master\n");
    assert!(none.contains("No daemon is running: master"), "{none}");
    let wrong = mistake("--start-daemon master --syncid 300\n");
    assert!(wrong.contains(":1:32: illegal syncid specified; 0 to 255"), "{wrong}");
}

#[test]
fn the_two_numbers_of_sync_threshold_are_written_as_for_the_kernel_or_with_a_comma() {
    for text in [
        "sync_threshold=5,60",
        "sync_threshold = 5 60",
        "sync_threshold=5 60",
        "sync_threshold='5 60'",
    ] {
        let tunables =
            good(&format!("sysctl -w net.ipv4.vs.{text} net.ipv4.vs.sync_ports=8\n")).tunables();
        let found = (tunables.sync_threshold, tunables.sync_period, tunables.sync_ports);
        assert_eq!(found, (5, 60, 8), "{text}");
    }
    let refused = |text: &str| {
        let text = format!("sysctl net.ipv4.vs.{text}\n");
        let rules = Rules::parse("lvs.rules", &text, &NumericOnly, &Supported::THIS_VERSION);
        rules.unwrap_err().to_string()
    };
    let error = refused("sync_threshold=60,60");
    assert!(error.contains("a second number above the first, or 0"), "{error}");
    let error = refused("sync_ports=3");
    assert!(error.contains("a power of two from 1 to 64"), "{error}");
    for wrong in [
        "sync_retries=4",
        "sync_version=2",
        "sync_threshold=-1",
        "sync_threshold=1,x",
        "sync_ports=0",
    ] {
        assert!(refused(wrong).contains("illegal value"), "{wrong}");
    }
}

#[test]
fn later_lines_may_change_what_earlier_ones_made() {
    let rules = good(
        "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.2\n-C\n-A -t 10.0.0.1:80 -s rr\n\
         -E -t 10.0.0.1:80 -s wrr -p 9\n-a -t 10.0.0.1:80 -r 10.1.0.2\n-a -t 10.0.0.1:80 -r 10.1.0.3\n\
         -e -t 10.0.0.1:80 -r 10.1.0.2 -w 0\n-d -t 10.0.0.1:80 -r 10.1.0.3\n-A -f 1\n-D -f 1\n",
    );
    let [service] = rules.services() else { panic!("{:?}", rules.services()) };
    assert_eq!(&*service.spec.scheduler, "wrr");
    assert_eq!(service.destinations.len(), 1);
    assert_eq!(service.destinations[0].weight, 0);
    assert_eq!(service.line, 4);
}

#[test]
fn more_is_allowed_where_more_is_supported() {
    let text = "-A -t 10.0.0.1:80 -s mh -b mh-port\n-a -t 10.0.0.1:80 -r 10.1.0.2:81 -m\n\
                -A --sctp-service 10.0.0.1:9 -s lc\n-A -u 10.0.0.1:53 -o\n";
    let less = Supported { masquerade: false, sctp: false, ..Supported::THIS_VERSION };
    let less = Rules::parse("lvs.rules", text, &NumericOnly, &less);
    assert_eq!(less.unwrap_err().count(), 2);
    let all = Rules::parse("lvs.rules", text, &NumericOnly, &Supported::EVERYTHING);
    assert_eq!(all.unwrap().services().len(), 3);
}

#[test]
fn warnings_tell_what_can_hardly_be_meant() {
    let rules = good(
        "-A -t 10.0.0.1:80\n-A -f 3\n-a -f 3 -r 10.1.0.2\n\
         iptables -t mangle -A PREROUTING -d 10.0.0.1 -j MARK --set-mark 4\n",
    );
    let warnings: Vec<_> = rules.warnings().iter().map(|w| (w.line, w.message.clone())).collect();
    assert_eq!(
        warnings,
        [
            (1, "TCP 10.0.0.1:80 has no real server".to_owned()),
            (2, "no line sets the mark of FWM 3".to_owned()),
            (4, "no service takes the mark of FWM 4".to_owned()),
        ]
    );
}

#[test]
fn an_error_shows_the_line_and_the_column() {
    let shown = mistake("# ü\n\t-a  -t 10.0.0.1:80 -r 10.1.0.2 -w ü\r\n");
    assert_eq!(
        shown,
        "lvs.rules:2:36: illegal weight specified: 'ü'; a weight is a number from 0 to 2147483647\n  \
         2 | \t-a  -t 10.0.0.1:80 -r 10.1.0.2 -w ü\n    | \t                                  ^"
    );
    let long = format!("-A {}-t x", " ".repeat(500));
    let shown = mistake(&long);
    assert!(shown.lines().all(|line| line.chars().count() < 260), "{shown}");
    assert!(shown.ends_with('^'));
}

#[test]
fn one_mistake_is_told_once() {
    for wrong in [
        "-A -t 10.0.0.1:80 -s nosuch",
        "-A -t 10.0.0.1:80 -p x",
        "-A -s --sh -t 10.0.0.1:80 rr",
        "-A --tcp-service=10.0.0.1:80 -s rr -w 3",
    ] {
        mistake(&format!(
            "{wrong}\n-a -t 10.0.0.1:80 -r 10.1.0.2\n-e -t 10.0.0.1:80 -r 10.1.0.2\n"
        ));
    }
    mistake("-A -f 3 -6 -M 0\n-a -f 3 -6 -r [2001:db8::2]:80\n");
    assert_eq!(parse("-A -f 3 -M x\n-a -f 4 -r 10.1.0.2\n").unwrap_err().count(), 2);
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    let bytes = b"-A -f 1\n-A -f 2 \xff\n";
    let errors = Rules::parse_bytes("x", bytes, &NumericOnly, &Supported::EVERYTHING).unwrap_err();
    assert!(errors.to_string().starts_with("x:2:9: a byte that is no UTF-8 text; "), "{errors}");
}

#[test]
fn a_file_that_is_no_rules_file_is_told_so_briefly() {
    let errors = parse(&"nonsense\n".repeat(50_000)).unwrap_err();
    assert_eq!(errors.count(), 50_000);
    assert_eq!(errors.iter().count(), 100);
    assert!(errors.to_string().lines().count() < 400);
}

/// Words that rules files are made of, whole and broken.
fn any_word() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "ipvsadm",
        "iptables",
        "ip6tables",
        "sysctl",
        "-A",
        "-a",
        "-E",
        "-e",
        "-D",
        "-d",
        "-C",
        "--set",
        "-t",
        "-u",
        "-f",
        "-6",
        "-r",
        "-s",
        "rr",
        "wlc",
        "-p",
        "600",
        "-M",
        "255.255.0.0",
        "64",
        "-g",
        "-i",
        "-m",
        "-w",
        "-x",
        "-y",
        "-o",
        "-b",
        "10.0.0.1:80",
        "10.0.0.1:0",
        "[2001:db8::1]:443",
        "[::1]",
        "10.1.0.2",
        "mangle",
        "PREROUTING",
        "-j",
        "MARK",
        "--set-mark",
        "0x10",
        "1/0xffffffff",
        "--dport",
        "80:90",
        "--dports",
        "80,443",
        "multiport",
        "net.ipv4.vs.sloppy_tcp=1",
        "=",
        "'",
        "\"",
        "\\",
        "#",
        "$",
        "!",
        "-",
        "--",
        "é",
        "\n",
        "\r\n",
        "--tun-type",
        "gue",
        "--tun-port",
        "-L",
        "-n",
        "-Z",
        "--start-daemon",
        "master",
    ]);
    prop_oneof![
        8 => known.prop_map(str::to_owned),
        1 => any::<String>(),
        1 => any::<i64>().prop_map(|n| n.to_string()),
    ]
}

proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic(
        words in prop::collection::vec((any_word(), prop::sample::select(vec!["", " ", " ", " ", "\n"])), 0..40)
    ) {
        let text: String = words.into_iter().flat_map(|(word, gap)| [word, gap.to_owned()]).collect();
        crate::parse_anything(text.as_bytes());
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        crate::parse_anything(&bytes);
    }
}

#[test]
fn a_scheduler_of_the_embedding_program_is_accepted_and_offered() {
    let text = "-A -t 192.0.2.1:80 -s subnet\n-A -t 192.0.2.1:81 -s subnets\n";
    let supported = Supported { own_schedulers: &["subnet"], ..Supported::THIS_VERSION };
    let errors = Rules::parse("lvs.rules", text, &Services::well_known(), &supported).unwrap_err();
    let said = errors.to_string();
    assert!(said.contains("lvs.rules:2:") && !said.contains("lvs.rules:1:"), "{said}");
    assert!(said.contains("mh or subnet"), "{said}");
}
