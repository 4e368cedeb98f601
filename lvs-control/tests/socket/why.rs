//! Why a packet goes where it goes, what was dropped, and what becomes of a server that is to go.

use lvs_control::console::Console;
use lvs_control::desk::TraceFilter;
use lvs_control::server::Patience;
use lvs_control::{Client, Desk, Reply, Request};
use lvs_core::director::Director;
use lvs_core::drop::DropReason;
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, Verdict};
use lvs_core::time::Instant;

use crate::answers::{datagram, exchange, loaded};
use crate::director::{Alone, Running, SocketPath, command, wait_until};

/// A director with three connections, whose server has got company, and a persistent service.
fn director() -> Director {
    let mut director = loaded(3);
    for line in [
        "-a -u 10.0.0.1:53 -r 10.1.0.3 -w 2",
        "-a -u 10.0.0.1:53 -r 10.1.0.4 -w 0",
        "-A -t 10.0.0.1:80 -s wlc -p 300",
        "-a -t 10.0.0.1:80 -r 10.1.0.2 -m",
        "-a -t 10.0.0.1:80 -r 10.9.0.2",
    ] {
        director.apply(Instant::ZERO, command(line)).unwrap();
    }
    let mut broken = datagram([192, 0, 0, 1].into(), 9);
    broken[24] ^= 1;
    exchange(&mut director, &broken);
    director
}

fn running() -> Running {
    Running::run(director(), Patience::default(), SocketPath::new()).unwrap()
}

fn typed(running: &Running, line: &str) -> String {
    let (status, output, errors) = running.lvsadm(line, "");
    assert_eq!((status, errors.as_str()), (0, ""), "{line}");
    output
}

#[test]
fn explain_tells_where_a_packet_would_go_and_leaves_no_trace() {
    let running = running();
    let before = ["-L -n --stats", "-L -n -c", "drops"].map(|line| typed(&running, line));
    let mut story = String::new();
    for line in [
        "explain udp 192.0.0.0:1024 10.0.0.1:53",
        "explain udp 192.0.0.0:9 10.0.0.1:53",
        "explain tcp 192.0.2.7:40000 10.0.0.1:80 --in eth0",
        "explain tcp 192.0.2.7:40000 10.0.0.1:80 --flags A",
        "explain tcp 192.0.2.7:40000 10.0.0.1:81",
        "explain tcp 192.0.2.7:40000 10.7.0.1:80",
    ] {
        let told = typed(&running, line);
        assert_eq!(typed(&running, line), told, "and again the same");
        story += &format!("$ lvsadm {line}\n{told}\n");
    }
    insta::assert_snapshot!("explain", story);
    let after = ["-L -n --stats", "-L -n -c", "drops"].map(|line| typed(&running, line));
    assert_eq!(after, before);
}

#[test]
fn explain_asks_a_persistence_engine_by_the_call_id_that_is_given() {
    let running = running();
    for line in ["-A -u 10.0.0.1:5060 -s rr -p 60 --pe sip", "-a -u 10.0.0.1:5060 -r 10.1.0.2 -m"] {
        typed(&running, line);
    }
    let without = typed(&running, "explain udp 192.0.2.7:5060 10.0.0.1:5060");
    assert!(without.contains("no-engine-data"), "{without}");
    let with = typed(&running, "explain udp 192.0.2.7:5060 10.0.0.1:5060 --call-id 7f3a@h");
    assert!(with.contains("10.1.0.2:5060") && !with.contains("no-engine-data"), "{with}");
    let listed = typed(&running, "-L -n --json");
    assert!(listed.contains(r#""engine":"sip""#), "{listed}");
    let saved = typed(&running, "-S -n");
    assert!(saved.contains("-A -u 10.0.0.1:5060 -s rr -p 60 --pe sip\n"), "{saved}");
    for (option, wanted) in
        [("--call-id", "1 to 255 characters"), ("--flags S --call-id a", "flags")]
    {
        let line = format!("explain udp 192.0.2.7:5060 10.0.0.1:5060 {option}");
        let (status, _, errors) = running.lvsadm(&line, "");
        assert!(status == 2 && errors.contains(wanted), "{line}: {errors}");
    }
}

#[test]
fn drops_are_listed_with_the_last_of_each() {
    let running = running();
    insta::assert_snapshot!("drops", typed(&running, "drops"));
    let json = typed(&running, "drops --json");
    assert!(json.contains(r#""reason":"ipv4-checksum""#), "{json}");
    assert!(json.contains(r#""count":1"#), "{json}");
}

#[test]
fn a_connection_is_shown_with_everything_known() {
    let running = running();
    insta::assert_snapshot!(
        "connection",
        typed(&running, "connection udp 192.0.0.0:1024 10.0.0.1:53")
    );
    let (status, _, errors) = running.lvsadm("connection udp 192.0.0.0:9 10.0.0.1:53", "");
    assert_eq!(status, 1);
    assert!(errors.starts_with("no connection and no template UDP 192.0.0.0:9"), "{errors}");
}

#[test]
fn a_server_that_is_to_go_is_quiesced_watched_and_removed() {
    let running = running();
    let told = typed(&running, "drain -u 10.0.0.1:53 -r 10.1.0.2 --deadline 0");
    let (story, end) = told.rsplit_once(", after ").unwrap();
    assert!(end.ends_with(" s\n"), "{end}");
    insta::assert_snapshot!("drain", story);
    // One without connections goes at once.
    let told = typed(&running, "drain 10.0.0.1:80 10.1.0.2:80");
    assert!(told.contains("10.1.0.2:80 is removed from TCP 10.0.0.1:80, after 0."), "{told}");
    let listing = typed(&running, "-L -n");
    assert!(!listing.contains("10.1.0.2"), "{listing}");
    assert!(listing.contains("10.1.0.3"), "{listing}");
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_to_type() {
    let running = running();
    for (line, status, wanted) in [
        ("explain tcp 192.0.2.7:1", 2, "protocol, client and virtual address are needed"),
        ("explain icmp 192.0.2.7 10.0.0.1", 2, "icmp: no protocol that is balanced"),
        ("explain tcp nobody:1 10.0.0.1:80", 2, "nobody:1: no address"),
        ("explain tcp 192.0.2.7:1 [2001:db8::1]:80", 255, "two address families"),
        ("explain tcp 192.0.2.7:1 10.0.0.1:80 --in eth7", 255, "no interface eth7; it has eth0"),
        ("explain tcp 192.0.2.7:1 10.0.0.1:80 --flags X", 2, "are no flags of TCP"),
        ("explain udp 192.0.2.7:1 10.0.0.1:80 --flags A", 2, "only TCP has flags"),
        ("explain tcp 192.0.2.7:1 10.0.0.1:80 --call-id a", 2, "only UDP is read for it"),
        ("trace icmp", 2, "icmp: unknown filter"),
        ("trace -c none", 2, "is no number of packets"),
        ("trace --vip", 2, "--vip: missing argument"),
        ("drops all", 2, "unexpected argument all"),
        ("drain 10.0.0.1:80", 2, "which real server of which service?"),
        ("drain 10.0.0.1:80 10.1.0.2:80 --deadline soon", 2, "is no time"),
        ("drain 10.0.0.1:80 10.1.0.9:80", 255, "has no real server 10.1.0.9:80"),
        ("drain 10.0.0.1:8 10.1.0.9:80", 1, "No such service"),
    ] {
        let (got, _, errors) = running.lvsadm(line, "");
        assert_eq!(got, status, "{line}: {errors}");
        assert!(errors.contains(wanted), "{line}: {errors}");
    }
}

/// A desk and a director in the test's own hands, with a client in a thread.
#[test]
fn traced_packets_are_told_as_they_come_and_who_reads_slowly_loses_some() {
    let path = SocketPath::new();
    let (woken, wakes) = std::sync::mpsc::channel();
    let mut desk = Desk::open(&path, move || {
        let _gone = woken.send(());
    })
    .unwrap();
    let mut program = Alone { director: director(), daemons: Vec::new() };
    let typed = std::thread::spawn({
        let socket = path.to_path_buf();
        move || {
            let mut output = Vec::new();
            let line = ["trace", "udp", "--vip", "10.0.0.1", "-c", "40"];
            let status = Console {
                program: "lvsadm",
                socket,
                names: &lvs_admin::names::NumericOnly,
                hints: true,
                input: &mut std::io::empty(),
                output: &mut output,
                errors: &mut std::io::sink(),
            }
            .run(&line);
            (status, String::from_utf8(output).unwrap())
        }
    });
    wakes.recv_timeout(crate::director::PATIENCE).unwrap();
    assert!(desk.serve(Instant::ZERO, &mut program));
    for burst in 0..2u64 {
        let now = Instant::from_millis(1500 + burst);
        // More packets that are asked for than are told of one burst.
        let datagrams = (0..33u8).map(|client| datagram([192, 0, 0, client].into(), 1024));
        let mut slots: Vec<Vec<u8>> =
            datagrams.chain([vec![2; 42]]).map(|frame| [vec![0; 128], frame].concat()).collect();
        let mut frames: Vec<Frame<'_>> =
            slots.iter_mut().map(|slot| Frame::new(slot, 128, 42, PortId(0))).collect();
        desk.process_burst(now, &mut program.director, &mut frames);
        assert!(frames.iter().all(|f| f.verdict != Verdict::Drop(DropReason::Undecided)));
        desk.serve(now, &mut program);
    }
    wait_until("the trace has ended", || {
        desk.serve(Instant::from_secs(2), &mut program);
        typed.is_finished()
    });
    let (status, story) = typed.join().unwrap();
    assert_eq!(status, 0);
    let packets = story.lines().filter(|line| line.starts_with("1.50")).count();
    assert_eq!(packets, 40, "{story}");
    assert!(story.starts_with("… 1 more came too fast\n"), "{story}");
    let start: Vec<&str> = story.lines().take(12).collect();
    insta::assert_snapshot!("trace", start.join("\n"));
}

#[test]
fn so_many_may_trace_and_no_more_until_one_leaves_even_if_none_reads() {
    let path = SocketPath::new();
    let mut desk = Desk::open(&path, || {}).unwrap();
    let mut program = Alone { director: director(), daemons: Vec::new() };
    let request = || Request::Trace { filter: TraceFilter::default(), packets: None };
    let mut watching: Vec<Client> = (0..8).map(|_| Client::connect(&path).unwrap()).collect();
    for client in &mut watching {
        client.ask(request()).unwrap();
        wait_until("it is taken", || desk.serve(Instant::ZERO, &mut program));
    }
    let asked = |path: &std::path::Path| {
        let path = path.to_path_buf();
        std::thread::spawn(move || {
            let mut client = Client::connect(&path).unwrap();
            client.ask(request()).unwrap().next().unwrap().map_err(|error| error.to_string())
        })
    };
    let refused = asked(&path);
    wait_until("it is refused", || {
        desk.serve(Instant::ZERO, &mut program);
        refused.is_finished()
    });
    assert_eq!(refused.join().unwrap().unwrap_err(), "8 traces run already; end one");
    // Far more than anybody has room for: the director goes on.
    let datagram = datagram([192, 0, 0, 0].into(), 1024);
    let before = program.director.stats().transmitted;
    for ms in 0..20_000 {
        let mut slot = [&[0; 128], &datagram[..]].concat();
        let mut frames = [Frame::new(&mut slot, 128, datagram.len(), PortId(0))];
        desk.process_burst(Instant::from_millis(ms / 20), &mut program.director, &mut frames);
    }
    assert_eq!(program.director.stats().transmitted - before, 20_000);
    drop(watching);
    let mut now = Instant::from_secs(1);
    wait_until("who has gone makes room", || {
        let next = asked(&path);
        wait_until("it is answered", || {
            now = now + lvs_core::time::Duration::from_millis(500);
            desk.serve(now, &mut program);
            next.is_finished()
        });
        matches!(next.join().unwrap(), Ok(Reply::Traced(_)))
    });
}
