use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use lvs_core::addr::{Family, Granularity};
use lvs_core::command::{
    DestinationSpec, ForwardingMethod, Persistence, SchedulerFlags, ServiceSpec, Tunnel,
    TunnelChecksum,
};
use lvs_core::engine::{Engine, EngineData};
use lvs_core::flow::Protocol;
use lvs_core::ids::FwMark;
use lvs_core::listing::DestinationEntry;
use lvs_core::stats::Counters;
use lvs_core::time::Duration;

use super::*;
use crate::ipvsadm::{self, Action};
use crate::names::RecordingMachine;

type RateTable = HashMap<(ServiceKey, Option<Endpoint>), Rates>;

fn number<T: std::str::FromStr + Default>(words: &[&str], index: usize) -> T {
    words.get(index).map_or_else(T::default, |word| word.parse().ok().unwrap())
}

fn numbers(words: &[&str], from: usize) -> (Counters, Rates) {
    let at = |i: usize| number::<u64>(words, from + i);
    let counters = Counters {
        connections: at(0),
        packets_in: at(1),
        packets_out: at(2),
        bytes_in: at(3),
        bytes_out: at(4),
    };
    let rates = Rates {
        connections: at(5),
        packets_in: at(6),
        packets_out: at(7),
        bytes_in: at(8),
        bytes_out: at(9),
    };
    (counters, rates)
}

fn service(words: &[&str]) -> ServiceEntry {
    let mark: u32 = number(words, 4);
    let key = match mark {
        0 => ServiceKey::Address {
            protocol: Protocol(number(words, 1)),
            virt: Endpoint::new(words[2].parse().unwrap(), number(words, 3)),
        },
        mark => ServiceKey::Mark { mark: FwMark(mark), family: Family::V4 },
    };
    let flags = u32::from_str_radix(words[6], 16).unwrap();
    let mask: Ipv4Addr = words[8].parse().unwrap();
    let granularity = Granularity::Mask(mask.to_bits());
    let timeout = Duration::from_secs(number(words, 7));
    let spec = ServiceSpec {
        scheduler: words[5].into(),
        flags: SchedulerFlags {
            flag_1: flags & 8 != 0,
            flag_2: flags & 16 != 0,
            flag_3: flags & 32 != 0,
        },
        persistence: (flags & 1 != 0).then_some(Persistence { timeout, granularity }),
        granularity,
        one_packet: flags & 4 != 0,
        ..ServiceSpec::new(key)
    };
    ServiceEntry { spec, counters: numbers(words, 9).0, destinations: Vec::new() }
}

fn destination(words: &[&str]) -> DestinationEntry {
    let spec = DestinationSpec {
        method: match words[3] {
            "0" => ForwardingMethod::Masquerade,
            "2" => ForwardingMethod::Tunnel(Tunnel::IpIp),
            _ => ForwardingMethod::DirectRoute,
        },
        weight: number(words, 4),
        upper_threshold: number(words, 5),
        lower_threshold: number(words, 6),
        ..DestinationSpec::new(Endpoint::new(words[1].parse().unwrap(), number(words, 2)))
    };
    DestinationEntry {
        spec,
        active: number(words, 7),
        inactive: number(words, 8),
        persistent: number(words, 9),
        overloaded: false,
        counters: numbers(words, 10).0,
    }
}

/// The services of a file in the form that testdata/listings/README.md describes.
fn read(text: &str) -> (Vec<ServiceEntry>, RateTable) {
    let mut services: Vec<ServiceEntry> = Vec::new();
    let mut rates = RateTable::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if words[0] == "S" {
            let entry = service(&words);
            rates.insert((entry.spec.key, None), numbers(&words, 9).1);
            services.push(entry);
        } else {
            let server = destination(&words);
            let entry = services.last_mut().unwrap();
            rates.insert((entry.spec.key, Some(server.spec.addr)), numbers(&words, 10).1);
            entry.destinations.push(server);
        }
    }
    (services, rates)
}

fn request(line: &str) -> ListRequest {
    let words: Vec<_> = line.split_whitespace().collect();
    match ipvsadm::parse(&words, &NumericOnly) {
        Ok(Action::List(request)) => request,
        other => panic!("{line}: {other:?}"),
    }
}

/// Shows the ends of lines, as the recorded listings do.
fn with_ends(text: &str) -> String {
    text.lines().map(|line| format!("{line}$\n")).collect()
}

fn list(line: &str, data: &str) -> String {
    let (entries, rates) = read(data);
    let request = request(line);
    let names = RecordingMachine::new();
    let listing = Listing::new(Header::default(), request, &names);
    let entries = match request.service {
        Some(_) => vec![find(&entries, &request).unwrap().clone()],
        None => entries,
    };
    let mut text = String::new();
    let of = |key: &ServiceKey, addr| rates[&(*key, addr)];
    listing.services_with_rates(&mut text, &entries, &of).unwrap();
    with_ends(&text)
}

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../testdata/listings/", $name))
    };
}

#[test]
fn listings_of_services_are_those_of_ipvsadm_byte_for_byte() {
    let listings = [
        ("-L", recorded!("L.txt")),
        ("-Ln", recorded!("Ln.txt")),
        ("-Ln --stats", recorded!("Ln-stats.txt")),
        ("-Ln --stats --exact", recorded!("Ln-stats-exact.txt")),
        ("-Ln --rate", recorded!("Ln-rate.txt")),
        ("-Ln --rate --exact", recorded!("Ln-rate-exact.txt")),
        ("-Ln --thresholds", recorded!("Ln-thresholds.txt")),
        ("-Ln --persistent-conn", recorded!("Ln-persistent-conn.txt")),
        ("-Ln --tun-info", recorded!("Ln-tun-info.txt")),
        ("-Ln -t 10.0.0.1:80", recorded!("Ln-one.txt")),
    ];
    for (line, expected) in listings {
        assert_eq!(list(line, recorded!("services.txt")), expected, "ipvsadm {line}");
    }
}

#[test]
fn a_hundred_services_come_in_the_order_of_ipvsadm() {
    assert_eq!(list("-Ln", recorded!("order.txt")), recorded!("Ln-order.txt"));
}

#[test]
fn an_unsorted_listing_keeps_the_directors_order() {
    let text = list("-Ln --nosort", recorded!("services.txt"));
    let addrs: Vec<_> =
        text.lines().skip(3).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(addrs[..3], ["10.0.0.1:80", "10.1.0.3:80", "10.1.0.2:80"]);
}

#[test]
fn saved_rules_are_those_of_ipvsadm() {
    let (entries, _) = read(recorded!("services.txt"));
    let names = RecordingMachine::new();
    for (numeric, expected) in [(true, recorded!("Sn.txt")), (false, recorded!("S.txt"))] {
        let mut text = String::new();
        save(&mut text, &entries, &names, numeric).unwrap();
        assert_eq!(with_ends(&text), expected);
    }
}

fn endpoint(addr: &str, port: &str) -> Endpoint {
    let addr = match addr.parse::<std::net::Ipv6Addr>() {
        Ok(addr) => IpAddr::V6(addr),
        Err(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::from_str_radix(addr, 16).unwrap())),
    };
    Endpoint::new(addr, u16::from_str_radix(port, 16).unwrap())
}

/// The connections of a `/proc/net/ip_vs_conn`.
fn read_connections(text: &str) -> Vec<ConnectionEntry> {
    let states = ["ESTABLISHED", "NONE", "UDP", "FIN_WAIT", "SYN_RECV"];
    let read = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        ConnectionEntry {
            protocol: match words[0] {
                "TCP" => Protocol::TCP,
                "UDP" => Protocol::UDP,
                _ => Protocol::IP,
            },
            client: endpoint(words[1], words[2]),
            virt: endpoint(words[3], words[4]),
            destination: endpoint(words[5], words[6]),
            state: states.into_iter().find(|state| *state == words[7]).unwrap(),
            expires: Duration::from_secs(words[8].parse().unwrap()) + Duration::from_millis(999),
            template: words[2] == "0000",
            engine: words.get(10).map(|data| {
                Box::new(EngineData::of_text(Engine::of_name(words[9]).unwrap(), data).unwrap())
            }),
            mark: FwMark::NONE,
            packets: 0,
            bytes: 0,
            age: Duration::ZERO,
        }
    };
    text.lines().skip(1).map(read).collect()
}

#[test]
fn listings_of_connections_are_those_of_ipvsadm_byte_for_byte() {
    let entries = read_connections(recorded!("conn.txt"));
    let listings = [
        ("-Lcn", recorded!("Lcn.txt")),
        ("-Lc", recorded!("Lc.txt")),
        ("-Lcn --persistent-conn", recorded!("Lcn-persistent-conn.txt")),
    ];
    for (line, expected) in listings {
        let names = RecordingMachine::new();
        let listing = Listing::new(Header::default(), request(line), &names);
        let mut text = String::new();
        listing.connections_title(&mut text).unwrap();
        listing.connections(&mut text, &entries).unwrap();
        assert_eq!(with_ends(&text), expected, "ipvsadm {line}");
    }
}

#[test]
fn the_kernels_file_of_connections_is_written_as_it_was_read() {
    let file = recorded!("conn.txt");
    let mut text = format!("{}\n", proc_fs::CONNECTIONS_TITLE);
    for entry in read_connections(file) {
        proc_fs::connection(&mut text, &entry).unwrap();
    }
    let widths = |text: &str| -> Vec<_> {
        text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(widths(&text), widths(file));
    let line = text.lines().nth(1).unwrap();
    assert_eq!(line, "TCP CB007107 C93A C633640A 01BB 0A09000B 01BB ESTABLISHED     898");
}

/// The services that scenario `save-format` of the recorded kernel makes, by our own parser.
fn save_format() -> Vec<ServiceEntry> {
    let commands = "\
        -A -t 10.0.0.1:80 -s wlc -p 60 -M 255.255.255.0\n\
        -a -t 10.0.0.1:80 -r 10.1.0.2 -g -w 4 -x 100 -y 50\n\
        -a -t 10.0.0.1:80 -r 10.1.0.3 -i -w 0\n\
        -a -t 10.0.0.1:80 -r 10.1.0.4:8080 -m -x 7\n\
        -a -t 10.0.0.1:80 -r 10.1.0.5 -i --tun-type gue --tun-port 6080\n\
        -a -t 10.0.0.1:80 -r 10.1.0.6 -i --tun-type gre --tun-csum\n\
        -A -u 10.0.0.1:53 -s rr -o\n\
        -A -t 10.0.0.2:0 -s wrr -p\n\
        -A -t 10.0.0.3:80 -s sh -b sh-port,sh-fallback\n\
        -A -t 10.0.0.4:80 -s mh -b flag-1,flag-3\n\
        -A -f 7 -s sed -p 360\n\
        -A -f 8 -6 -s rr -p 10 -M 64\n\
        -A -t [2001:db8:1::1]:80 -s rr -p 50 -M 128\n\
        -A --sctp-service 10.0.0.1:9 -s rr\n";
    crate::diff::tests::entries_of(commands)
}

#[test]
fn save_restores_what_it_saved() {
    let entries = save_format();
    let mut text = String::new();
    save(&mut text, &entries, &NumericOnly, true).unwrap();
    assert_eq!(
        text,
        "\
-A -t 10.0.0.1:80 -s wlc -p 60 -M 255.255.255.0
-a -t 10.0.0.1:80 -r 10.1.0.2:80 -g -w 4
-a -t 10.0.0.1:80 -r 10.1.0.3:80 -i -w 0 --tun-type ipip
-a -t 10.0.0.1:80 -r 10.1.0.4:8080 -m -w 1
-a -t 10.0.0.1:80 -r 10.1.0.5:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t 10.0.0.1:80 -r 10.1.0.6:80 -i -w 1 --tun-type gre --tun-csum
-A -t 10.0.0.2:0 -s wrr -p 360
-A -t 10.0.0.3:80 -s sh -b sh-fallback,sh-port
-A -t 10.0.0.4:80 -s mh -b mh-fallback
-A -u 10.0.0.1:53 -s rr -o
-A --sctp-service 10.0.0.1:9 -s rr
-A -t [2001:db8:1::1]:80 -s rr -p 50
-A -f 7 -s sed -p 360
-A -f 8 -6 -s rr -p 10 -M 64
"
    );
    let mut again = String::new();
    save(&mut again, &crate::diff::tests::entries_of(&text), &NumericOnly, true).unwrap();
    assert_eq!(again, text);
}

#[test]
fn kinds_of_tunnels_and_ipv6_are_listed_as_recorded() {
    let listing = Listing::new(Header::default(), request("-Ln --tun-info"), &NumericOnly);
    let mut text = String::new();
    listing.services(&mut text, &save_format()).unwrap();
    for line in [
        "FWM  8 IPv6 rr persistent 10 mask 64",
        "  -> 10.1.0.2:80                  Route   n/a           4      0          0         ",
        "  -> 10.1.0.3:80                  Tunnel  ipip          0      0          0         ",
        "  -> 10.1.0.4:8080                Masq    n/a           1      0          0         ",
        "  -> 10.1.0.5:80                  Tunnel  gue:6080:-c   1      0          0         ",
        "  -> 10.1.0.6:80                  Tunnel  gre:+c        1      0          0         ",
        "TCP  [2001:db8:1::1]:80 rr persistent 50",
        "SCTP 10.0.0.1:9 rr",
        "UDP  10.0.0.1:53 rr ops",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
    }
    let remote = Tunnel::Gue { port: lvs_core::ids::L4Port(5), checksum: TunnelChecksum::Remote };
    let mut entries = crate::diff::tests::entries_of(
        "-A -t [2001:db8::1]:80 -s rr\n-a -t [2001:db8::1]:80 -r 10.1.0.2 -i\n",
    );
    entries[0].destinations[0].spec.method = ForwardingMethod::Tunnel(remote);
    let mut text = String::new();
    listing.services(&mut text, &entries).unwrap();
    assert!(text.contains("  -> 10.1.0.2:80                  Tunnel  gue:5:r+c "), "{text}");
}

#[test]
fn the_kernels_file_of_services_is_as_recorded() {
    let mut text = String::new();
    proc_fs::services(&mut text, &Header::default(), &save_format(), 100).unwrap();
    let expected = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A000001:0050 wlc  persistent 6000 FFFFFF00
  -> 0A010006:0050      Tunnel  1      0          0
  -> 0A010005:0050      Tunnel  1      0          0
  -> 0A010004:1F90      Masq    1      0          0
  -> 0A010003:0050      Tunnel  0      0          0
  -> 0A010002:0050      Route   4      0          0
UDP  0A000001:0035 rr ops
TCP  0A000002:0000 wrr  persistent 36000 FFFFFFFF
TCP  0A000003:0050 sh
TCP  0A000004:0050 mh
FWM  00000007 sed persistent 36000 FFFFFFFF
FWM  00000008 rr persistent 1000 40000000
TCP  [2001:0db8:0001:0000:0000:0000:0000:0001]:0050 rr persistent 5000 80000000
SCTP  0A000001:0009 rr
";
    let trimmed: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    assert_eq!(trimmed, expected);
}

#[test]
fn the_kernels_file_of_totals_is_as_recorded() {
    let total = Counters {
        connections: 3,
        packets_in: 6,
        packets_out: 2,
        bytes_in: 0x184,
        bytes_out: 0x438,
    };
    let rates = Rates { packets_in: 1, bytes_in: 0x30, bytes_out: 0x87, ..Rates::default() };
    let mut text = String::new();
    proc_fs::stats(&mut text, &total, &rates).unwrap();
    assert_eq!(
        text,
        "   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
       3        6        2              184              438

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       0        1        0               30               87
"
    );
}

#[test]
fn timeouts_and_daemons_have_a_line_each() {
    let mut text = String::new();
    timeouts(&mut text, &crate::diff::TIMEOUTS_DEFAULT).unwrap();
    assert_eq!(text, "Timeout (tcp tcpfin udp): 900 120 300\n");
    let daemon = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        match ipvsadm::parse(&words, &NumericOnly).unwrap() {
            Action::StartDaemon(spec) => spec,
            other => panic!("{other:?}"),
        }
    };
    let running = [
        daemon("--start-daemon backup --syncid 5"),
        daemon(
            "--start-daemon master --syncid 5 --sync-maxlen 1472 --mcast-group 224.0.0.81 \
             --mcast-port 8848 --mcast-ttl 1",
        ),
    ];
    let mut text = String::new();
    daemons(&mut text, &running).unwrap();
    assert_eq!(
        text,
        "master sync daemon (mcast=eth0, syncid=5, maxlen=1472, group=224.0.0.81, port=8848, \
         ttl=1)\nbackup sync daemon (mcast=eth0, syncid=5)\n"
    );
}

#[test]
fn long_names_are_cut_as_ipvsadm_cuts_them() {
    struct Long;
    impl Names for Long {
        fn port(&self, _: &str, _: Protocol) -> Option<u16> {
            None
        }
        fn service(&self, _: u16, _: Protocol) -> Option<String> {
            None
        }
        fn host(&self, _: IpAddr) -> Option<String> {
            Some("a-very-long-name.of.a.machine.example.org".to_owned())
        }
    }
    let entries = crate::diff::tests::entries_of(
        "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.2\n-A -t [::2]:80 -s rr\n",
    );
    let mut text = String::new();
    Listing::new(Header::default(), request("-L"), &Long).services(&mut text, &entries).unwrap();
    let lines: Vec<_> = text.lines().skip(3).collect();
    assert_eq!(lines[0], "TCP  a-very-long-name.of.a.machin rr");
    assert!(lines[1].starts_with("  -> a-very-long-name.of.a.machin Route "), "{}", lines[1]);
    assert_eq!(lines[2], "TCP  [a-very-long-name.of.a.machine.example.org]:80 rr");
}
