//! `lvsadm` at a running director.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use lvs_testnet::{HttpServer, Net, Signal, TcpEcho};

use crate::director::{
    Director, Held, PATIENCE, RulesFile, SocketPath, load, page, wait_for, wait_until,
};

fn vip(net: &Net) -> SocketAddr {
    SocketAddr::new(net.vip4(0), 80)
}

fn web_servers(net: &Net) -> Vec<HttpServer> {
    net.servers().iter().map(|host| HttpServer::start(host, 80)).collect()
}

/// A director without any rules that lvsadm may fill.
fn empty_director(net: &Net, socket: &SocketPath) -> Director {
    Director::start_with(net, "# nothing yet\n", &["--control", socket.path()])
}

/// Minutes and seconds of the first line of `-L -c -n` in this state, in seconds.
fn expires(listing: &str, state: &str) -> u32 {
    let line = listing.lines().find(|line| line.contains(state));
    let line = line.unwrap_or_else(|| panic!("no {state} in:\n{listing}"));
    let time = line.split_whitespace().nth(1).unwrap_or_default();
    let (minutes, seconds) = time.split_once(':').unwrap_or_else(|| panic!("{line}"));
    minutes.parse::<u32>().unwrap() * 60 + seconds.parse::<u32>().unwrap()
}

#[test]
fn the_commands_of_a_tutorial_work_as_typed() {
    let net = Net::one_armed(2);
    let servers = web_servers(&net);
    let socket = SocketPath::new();
    let director = empty_director(&net, &socket);
    let (vip, rip) = (vip(&net), [net.server4(0), net.server4(1)]);
    for line in [
        format!("-A -t {vip} -s wlc -p"),
        format!("-a -t {vip} -r {} -g -w 4", rip[0]),
        format!("-a -t {vip} -r {} -g -w 2", rip[1]),
    ] {
        assert_eq!(socket.done(&line), "", "{line}");
    }
    let listing = socket.done("-L -n");
    let wanted = format!(
        "IP Virtual Server version 1.2.1 (size=4096)\n\
         Prot LocalAddress:Port Scheduler Flags\n  \
         -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
         TCP  {vip} wlc persistent 360\n  \
         -> {:<28} Route   4      0          0         \n  \
         -> {:<28} Route   2      0          0         \n",
        format!("{}:80", rip[0]),
        format!("{}:80", rip[1]),
    );
    assert_eq!(listing, wanted);
    assert!(socket.done("-L").contains(":http wlc persistent 360\n"));

    let name = page(&net, vip);
    assert_eq!(page(&net, vip), name, "a persistent client stays");
    let first = socket.done("-L -c -n");
    assert!(first.starts_with("IPVS connection entries\npro expire state "), "{first}");
    // The template and the closed connections count down.
    for state in ["ASSURED", "FIN_WAIT"] {
        let before = expires(&first, state);
        wait_until("time passes", || expires(&socket.done("-L -c -n"), state) < before);
    }
    socket.done("--set 28800 30 60");
    assert_eq!(socket.done("-L --timeout"), "Timeout (tcp tcpfin udp): 28800 30 60\n");

    let mut watch = std::process::Command::new("watch");
    let lvsadm = format!("{} --socket {} -l -n", env!("CARGO_BIN_EXE_lvsadm"), socket.path());
    watch.args(["-n", "1", &lvsadm]).env("TERM", "xterm").env("COLUMNS", "100");
    let watch = net.director().start_command(watch);
    load(&net, 10_000, vip, None);
    watch.wait_for("ActiveConn", PATIENCE);
    watch.signal(Signal::TERM);
    let stats = socket.done("-L -n --stats --exact");
    let line = stats.lines().find(|line| line.starts_with("TCP ")).unwrap();
    let connections: u64 = line.split_whitespace().nth(2).unwrap().parse().unwrap();
    assert!(connections > 5_000, "{stats}");
    wait_until("rates are estimated", || {
        load(&net, 500, vip, None);
        let rates = socket.done("-L -n --rate");
        let line = rates.lines().find(|line| line.starts_with("TCP ")).unwrap().to_owned();
        line.split_whitespace().nth(3).unwrap().parse::<u64>().unwrap() > 0
    });
    assert!(servers.iter().map(HttpServer::requests).sum::<u64>() >= 10_000);
    director.stop();
    let gone = socket.lvsadm("-L -n");
    assert_eq!(gone.status, Some(255));
    assert!(gone.stderr.contains("no director is running at "), "{}", gone.stderr);
}

#[test]
fn what_lvsadm_adds_is_taken_over_and_what_it_deletes_is_given_up() {
    let net = Net::one_armed(2);
    net.give_vip_to_servers(1);
    let _servers: Vec<TcpEcho> =
        net.servers().iter().map(|host| TcpEcho::start(host, 80)).collect();
    let socket = SocketPath::new();
    let arms = ["--interface", "eth0", "--control", socket.path()];
    let command = [&[crate::director::PROGRAM, "run"], &arms[..]].concat();
    let process = net.director().start(&command);
    process.wait_for("forwarding on ", PATIENCE);
    let guard = || net.director().run(&["nft", "list", "ruleset"]).stdout;
    let second = SocketAddr::new(net.vip4(1), 80);
    for vip in [vip(&net), second] {
        socket.done(&format!("-A -t {vip} -s rr"));
        socket.done(&format!("-a -t {vip} -r {}", net.server4(0)));
        assert!(guard().contains(&vip.ip().to_string()), "{}", guard());
        Held::open(&net, vip, None).echo("served");
    }
    let mut held = Held::open(&net, vip(&net), None);
    socket.done(&format!("-D -t {second}"));
    assert!(!guard().contains(&second.ip().to_string()), "{}", guard());
    held.echo("still here");
    // What a masqueraded server answers is hidden from the host, also if an edit made it one.
    let server = net.server4(0).to_string();
    for (method, hidden) in [("-m", true), ("-g", false)] {
        socket.done(&format!("-e -t {} -r {server}:80 {method}", vip(&net)));
        assert_eq!(guard().contains(&server), hidden, "{method}: {}", guard());
    }
    // By mark, with the rule typed at lvsadm as it would be at the kernel.
    let mark = format!(
        "iptables -t mangle -A PREROUTING -d {} -p tcp --dport 80 -j MARK --set-mark 10",
        second.ip()
    );
    socket.done(&mark);
    socket.done("-A -f 10 -s wlc -p");
    socket.done(&format!("-a -f 10 -r {} -g", net.server4(1)));
    assert!(guard().contains(&second.ip().to_string()), "{}", guard());
    assert_eq!(Held::open(&net, second, None).server, "server2");

    let saved = socket.done("-S -n");
    assert!(saved.contains(&format!("#lvs {mark}\n")), "{saved}");
    socket.done("-C");
    assert!(!socket.done("-L -n").contains("->  "), "all is gone");
    let restored = socket.lvsadm_reading("-R", &saved);
    assert_eq!((restored.status, restored.stderr.as_str()), (Some(0), ""));
    assert_eq!(socket.done("-S -n"), saved);
    held.echo("still here");
    process.signal(Signal::TERM);
    let output = process.finish(PATIENCE).expect_success();
    assert!(output.stderr.contains("no rules file: services: 0"), "{}", output.stderr);
}

#[test]
fn a_file_is_told_as_a_plan_then_applied_whole_or_not_at_all() {
    let net = Net::one_armed(2);
    let _servers: Vec<TcpEcho> =
        net.servers().iter().map(|host| TcpEcho::start(host, 80)).collect();
    let (vip, rip) = (vip(&net), [net.server4(0), net.server4(1)]);
    let socket = SocketPath::new();
    let text =
        format!("-A -t {vip} -s rr -p\n-a -t {vip} -r {}\n-a -t {vip} -r {}\n", rip[0], rip[1]);
    let director = Director::start_with(&net, &text, &["--control", socket.path()]);
    let mut held = Held::open(&net, vip, None);
    assert_eq!(held.server, "server2");
    let file = RulesFile::new(&text);
    let dry = format!("apply {} --dry-run", file.path());
    assert_eq!(socket.done(&dry), "no change\n");
    let before = socket.done("-S -n");

    file.write(&format!("-A -t {vip} -s wlc -p\n-a -t {vip} -r {} -w 3\n", rip[0]));
    let plan = socket.done(&dry);
    let wanted = format!(
        "~ service  TCP {vip}  -s rr -p 360 → -s wlc -p 360\n\
         ~ server   {}:80 of TCP {vip}  -g -w 1 → -g -w 3\n\
         - server   {}:80 of TCP {vip}  (1 connection ends, 1 template moves)\n\
         3 changes would be made\n",
        rip[0], rip[1]
    );
    assert_eq!(plan, wanted);
    assert_eq!(socket.done("-S -n"), before, "a dry run changes nothing");

    // Of a file with a mistake, or one that the director cannot take, nothing is applied.
    file.write(&format!("-A -t {vip} -s wlc\n-a -t {vip} -r {} -w much\n", rip[0]));
    let refused = socket.lvsadm(&format!("apply {}", file.path()));
    assert_eq!(refused.status, Some(2));
    assert!(refused.stderr.contains(".rules:2:") && refused.stderr.contains("nothing was applied"));
    let many: String =
        (1..=6000).map(|n| format!("-A -t 10.{}.{}.1:80\n", 100 + n / 250, n % 250)).collect();
    file.write(&(text.clone() + &many));
    let refused = socket.lvsadm(&format!("apply {}", file.path()));
    assert_eq!(refused.status, Some(255), "{}", refused.stderr);
    assert!(refused.stderr.contains("the limit "), "{}", refused.stderr);
    assert_eq!(socket.done("-S -n"), before, "what was refused changes nothing");
    held.echo("still here");

    file.write(&format!("{text}-A -u {vip}\n"));
    let applied = socket.done(&format!("apply {}", file.path()));
    assert!(
        applied.ends_with(&format!("+ service  UDP {vip}  -s wlc\n1 change applied\n")),
        "{applied}"
    );
    // SIGHUP goes back to the director's own file.
    let log = director.reload(&text);
    assert!(log.contains(&format!("- service  UDP {vip}")), "{log}");
    assert_eq!(socket.done("-S -n"), before);
    held.echo("still here");
}

/// A rules file for the load: both servers that stay, with random weights, and something beside them.
fn random_file(net: &Net, dice: &mut fastrand::Rng) -> String {
    let (vip, scheduler) =
        (vip(net), dice.choice(["rr", "wrr", "wlc", "lc", "sed"]).expect("there are some"));
    let mut text = format!("-A -t {vip} -s {scheduler}\n");
    for i in 0..2 {
        text += &format!("-a -t {vip} -r {} -w {}\n", net.server4(i), dice.u32(1..9));
    }
    for port in 81..81 + dice.u16(0..5) {
        text += &format!("-A -t {}:{port} -s rr\n", vip.ip());
        text += &format!("-a -t {}:{port} -r {}\n", vip.ip(), net.server4(2));
    }
    text
}

/// A random change that leaves the servers that stay in their place.
fn random_change(net: &Net, dice: &mut fastrand::Rng) -> String {
    let (vip, other) = (vip(net), format!("{}:{}", net.vip4(0), dice.u16(81..86)));
    let server = net.server4(dice.usize(0..2));
    let scheduler =
        dice.choice(["rr", "wrr", "wlc", "lc", "sed", "nq", "mh"]).expect("there are some");
    match dice.u8(0..10) {
        0..3 => format!("-e -t {vip} -r {server} -w {}", dice.u32(1..9)),
        3 => format!("-E -t {vip} -s {scheduler}"),
        4 => format!("-A -t {other} -s {scheduler}"),
        5 => format!("-D -t {other}"),
        6 => format!("-a -t {other} -r {} -x {}", net.server4(2), dice.u32(0..9)),
        7 => format!("-d -t {other} -r {}", net.server4(2)),
        8 => format!("--set {} 60 60", dice.u32(600..900)),
        _ => "-Z".to_owned(),
    }
}

#[test]
fn a_thousand_changes_and_fifty_files_under_load_fail_no_request() {
    let net = Net::one_armed(3);
    let servers = web_servers(&net);
    let mut dice = fastrand::Rng::with_seed(6);
    let socket = SocketPath::new();
    let text = random_file(&net, &mut dice);
    let director = Director::start_with(&net, &text, &["--control", socket.path()]);
    let file = RulesFile::new(&text);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let loading = scope.spawn(|| {
            let mut requests = 0;
            while !done.load(Ordering::SeqCst) {
                load(&net, 2_000, vip(&net), None);
                requests += 2_000;
            }
            requests
        });
        for change in 1..=1000 {
            let line = random_change(&net, &mut dice);
            let admin = socket.lvsadm(&line);
            // Half of the random changes make no sense; they are refused as the kernel does.
            let made_sense = admin.status == Some(0) && admin.stderr.is_empty();
            let refused = admin.status == Some(255) && admin.stdout.is_empty();
            assert!(made_sense || refused, "lvsadm {line}: {admin:?}");
            assert!(!loading.is_finished(), "the load has ended");
            if change % 20 == 0 {
                file.write(&random_file(&net, &mut dice));
                let plan = socket.done(&format!("apply {}", file.path()));
                assert!(plan.contains(" applied\n") || plan.contains("no change\n"), "{plan}");
            }
        }
        done.store(true, Ordering::SeqCst);
        assert!(loading.join().unwrap() > 0);
    });
    assert!(servers[..2].iter().all(|server| server.requests() > 500));
    let stopped = director.stop();
    assert!(!stopped.output.stdout.contains("dropped:"), "{}", stopped.output.stdout);
}

#[test]
fn a_second_director_does_not_take_the_socket_and_a_killed_one_leaves_none_in_the_way() {
    let net = Net::one_armed(2);
    let socket = SocketPath::new();
    let director = empty_director(&net, &socket);
    let command =
        [crate::director::PROGRAM, "run", "--interface", "eth0", "--control", socket.path()];
    let second = net.director().start(&command).finish(PATIENCE);
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stderr.contains("another director is running at "), "{}", second.stderr);
    assert!(socket.done("about").contains("interfaces: eth0"));
    director.kill();
    let director = empty_director(&net, &socket);
    assert!(socket.done("about").contains("interfaces: eth0"));
    director.stop();
    assert!(!std::path::Path::new(socket.path()).exists());
}

#[test]
fn another_user_is_refused_even_if_the_file_would_let_them() {
    let net = Net::one_armed(1);
    let socket = SocketPath::new();
    let _director = empty_director(&net, &socket);
    let lvsadm = format!("{} --socket {} -L", env!("CARGO_BIN_EXE_lvsadm"), socket.path());
    // A copy where everybody may reach it.
    let copy = std::env::temp_dir().join(format!("lvsadm-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_lvsadm"), &copy).unwrap();
    let lvsadm = lvsadm.replace(env!("CARGO_BIN_EXE_lvsadm"), copy.to_str().unwrap());
    let as_nobody = || {
        let output = std::process::Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"])
            .args(lvsadm.split(' '))
            .output()
            .unwrap_or_else(|error| panic!("setpriv, of Debian's util-linux: {error}"));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, text) = as_nobody();
    assert_eq!(status, Some(255));
    assert!(text.contains("you may not command the director at "), "{text}");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(socket.path(), std::fs::Permissions::from_mode(0o666)).unwrap();
    let (status, text) = as_nobody();
    std::fs::remove_file(&copy).unwrap();
    assert_eq!(status, Some(255));
    assert!(text.contains("user 65534 may not command this director"), "{text}");
    let found =
        wait_for("root is answered", || Some(socket.lvsadm("-L")).filter(|a| a.status == Some(0)));
    assert!(found.stdout.starts_with("IP Virtual Server version"));
}
