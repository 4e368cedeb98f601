use super::*;

fn texts(scenario: &Scenario) -> Vec<&str> {
    scenario
        .events
        .iter()
        .filter_map(|event| match &event.action {
            Action::Packet(packet) => Some(packet.text.as_str()),
            _ => None,
        })
        .collect()
}

fn parse(text: &str) -> Scenario {
    Scenario::parse("some/dir/s.lvs", text).unwrap()
}

#[test]
fn the_title_is_the_first_comment_and_the_name_the_files() {
    let scenario = parse("# first line\n# second\n@vip 10.0.0.9\n\n0.25 dump conns # why not\n");
    assert_eq!((scenario.name.as_str(), scenario.title.as_str()), ("s", "first line"));
    let event = &scenario.events[0];
    assert_eq!((event.line, event.time.as_str()), (5, "0.25"));
    assert_eq!(event.at, Instant::from_millis(250));
    assert_eq!(event.action, Action::Dump(Dump::Conns));
}

#[test]
fn ranges_stand_for_one_packet_each_the_last_one_changing_fastest() {
    let scenario = parse("1 tcp 192.0.2.7-8:40-41 > 10.0.0.1-2:80 S len=3\n");
    assert_eq!(
        texts(&scenario),
        [
            "tcp 192.0.2.7:40 > 10.0.0.1:80 S len=3",
            "tcp 192.0.2.7:40 > 10.0.0.2:80 S len=3",
            "tcp 192.0.2.7:41 > 10.0.0.1:80 S len=3",
            "tcp 192.0.2.7:41 > 10.0.0.2:80 S len=3",
            "tcp 192.0.2.8:40 > 10.0.0.1:80 S len=3",
            "tcp 192.0.2.8:40 > 10.0.0.2:80 S len=3",
            "tcp 192.0.2.8:41 > 10.0.0.1:80 S len=3",
            "tcp 192.0.2.8:41 > 10.0.0.2:80 S len=3",
        ]
    );
}

#[test]
fn ipv6_ranges_count_in_hex_and_absent_ports_are_written_as_zero() {
    let scenario = parse("1 udp [2001:db8::9-b] > [2001:DB8:1::1]:53\n");
    assert_eq!(
        texts(&scenario),
        [
            "udp [2001:db8::9]:0 > [2001:db8:1::1]:53",
            "udp [2001:db8::a]:0 > [2001:db8:1::1]:53",
            "udp [2001:db8::b]:0 > [2001:db8:1::1]:53",
        ]
    );
}

#[test]
fn an_icmp_error_shows_the_packet_it_quotes() {
    let line = "icmp unreach 10.1.0.9 > 10.1.0.1 mtu=1300 quoting ipip 10.1.0.1 > 10.1.0.2 tcp 192.0.2.7:4 > 10.0.0.1:80 A";
    let scenario = parse(&format!("1 reply {line}\n"));
    assert_eq!(texts(&scenario), [format!("reply {line}")]);
}

#[test]
fn a_command_line_is_kept_word_by_word() {
    let scenario = parse("0 ipvsadm -A -f 8 -6 -s  rr\n");
    let words = ["ipvsadm", "-A", "-f", "8", "-6", "-s", "rr"].map(str::to_owned);
    assert_eq!(scenario.events[0].action, Action::Ipvsadm(words.into()));
}

#[test]
fn mistakes_name_line_and_column_and_say_what_would_be_right() {
    let cases = [
        (
            "x dump conns",
            "1:1: 'x' is not a time; a line begins with seconds, such as 0.5, or with @",
        ),
        ("1", "1:2: the line ends too early; expected an action"),
        (
            "1 fly away",
            "1:3: 'fly' is no action; expected ipvsadm, sysctl, mark, dump, sync, reply, frag, tcp, udp, sctp or icmp",
        ),
        (
            "1 dump conns\n0.5 dump conns",
            "2:1: time goes backwards; the line before is later than 0.5",
        ),
        ("1 dump everything", "1:8: 'everything' cannot be dumped; expected conns, services, "),
        ("1 dump conns now", "1:14: 'now' is one word too many; the line is TIME dump WHAT"),
        (
            "1 sysctl net.ipv4.vs.sloppy_tcp",
            "1:10: 'net.ipv4.vs.sloppy_tcp' sets nothing; write NAME=VALUE",
        ),
        (
            "1 tcp 192.0.2.300:1 > 10.0.0.1:80 S",
            "1:7: '192.0.2.300' is not an address; write 192.0.2.7, ",
        ),
        (
            "1 tcp 192.0.2.7:1 < 10.0.0.1:80 S",
            "1:19: '<' where '>' should stand; write SOURCE > DESTINATION",
        ),
        ("1 tcp 192.0.2.7:1 >", "1:20: the line ends too early; expected a destination"),
        (
            "1 tcp 192.0.2.7:1 > [2001:db8::1]:80 S",
            "1:21: source and destination must be of one address family",
        ),
        (
            "1 tcp 192.0.2.7:1 > 10.0.0.1:80",
            "1:3: a tcp packet needs flags: letters of SAPFRUEW, or '.' for none",
        ),
        (
            "1 tcp 192.0.2.7:1 > 10.0.0.1:80 SX",
            "1:34: 'X' is no TCP flag; the letters are S A P F R U E W, '.' is none",
        ),
        (
            "1 tcp 192.0.2.7:1 > 10.0.0.1:80 S fast",
            "1:35: 'fast' is not understood; options are len=, ",
        ),
        ("1 tcp 192.0.2.7:1 > 10.0.0.1:80 S ttl=256", "1:39: '256' is not a number from 0 to 255"),
        ("1 tcp 192.0.2.7:1 > 10.0.0.1:80 S tll=3", "1:35: 'tll' is no option; options are len=, "),
        ("1 tcp 192.0.2.7:1 > 10.0.0.1:80 S at=8", "1:35: 'at' needs frag in front of the packet"),
        (
            "1 frag tcp 192.0.2.7:1 > 10.0.0.1:80 S at=8 send=0,2",
            "1:50: there is no part 2; the cuts make the parts 0 to 1",
        ),
        (
            "1 tcp 192.0.2.9-7:1 > 10.0.0.1:80 S",
            "1:7: the range of addresses counts down; write the lower one first",
        ),
        (
            "1 tcp 192.0.2.7-400:1 > 10.0.0.1:80 S",
            "1:17: '400' does not end a range; write the last byte (IPv4) or group (IPv6, hex)",
        ),
        (
            "1 tcp 192.0.2.7:9-1 > 10.0.0.1:80 S",
            "1:7: the range of ports counts down; write the lower one first",
        ),
        (
            "1 tcp 192.0.2.1-255:0-65535 > 10.0.0.1:80 S",
            "1:7: the ranges stand for more than 65536 packets",
        ),
        (
            "1 udp 192.0.2.7:1 > 10.0.0.1:99999",
            "1:30: '99999' is not a port; write a number from 0 to 65535",
        ),
        (
            "1 udp 192.0.2.7:1 > 10.0.0.1:53 S",
            "1:33: 'S' is not understood; a datagram has no flags",
        ),
        (
            "1 udp [2001:db8::7:1 > [2001:db8::1]:53",
            "1:7: '[2001:db8::7:1' lacks the closing bracket; write [IPv6]:PORT",
        ),
        (
            "1 sctp 192.0.2.7:1 > 10.0.0.1:9 HELLO",
            "1:33: 'HELLO' is no SCTP chunk; expected DATA, INIT, ",
        ),
        (
            "1 icmp boom 192.0.2.7 > 10.0.0.1",
            "1:8: 'boom' is no kind of ICMP message; expected unreach, toobig, ",
        ),
        ("1 icmp ttl 192.0.2.7 > 10.0.0.1 quoting arp", "1:41: 'arp' is no action; expected "),
        ("1 mark gre 10.0.0.1 3", "1:8: 'gre' cannot be marked; write tcp, udp, sctp, icmp or any"),
        ("1 mark any 10.0.0.1:80 3", "1:12: a port needs tcp, udp or sctp"),
        (
            "1 mark tcp 10.0.0.0/33 3",
            "1:12: '10.0.0.0/33' is not a prefix; write 10.0.0.0/24 or 2001:db8::/64",
        ),
        ("1 mark tcp 10.0.0.1 x", "1:21: 'x' is not a number from 0 to 4294967295"),
        ("@vap 10.0.0.1", "1:1: @vap is no directive; there are @vip, @novip, "),
        ("@vip", "1:5: the line ends too early; expected an address"),
        ("@mtu middle 1400", "1:6: 'middle' is no side; write client or server"),
        ("@mtu client 20", "1:13: an MTU is at least 68 bytes (RFC 791)"),
        ("1.0000000001 dump conns", "1:1: at most nine digits before and after the point"),
    ];
    for (text, expected) in cases {
        let error = Scenario::parse("f.lvs", text).expect_err(text).to_string();
        assert!(error.starts_with(&format!("f.lvs:{expected}")), "{text}: {error}");
    }
}

#[test]
fn columns_count_characters_not_bytes() {
    let error = Scenario::parse("f", "1 dump é x\n").unwrap_err();
    assert_eq!(error.column, 10);
}
