//! The same numbers by every way that an operator may take: listings, JSON, Prometheus, `top`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use lvs_testnet::{HttpServer, Net, Signal, TcpEcho, UdpEcho, require};
use serde_json::Value;

use crate::director::{
    Director, Held, SocketPath, load, page, rules, servers4, wait_for, wait_until,
};
use crate::terminal::Terminal;

/// The counters of `lvsadm -L -n --stats --exact`: connections, packets and bytes in and out, in its order
/// (`Conns InPkts OutPkts InBytes OutBytes`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stats {
    /// By `TCP 10.77.0.200:80`, and of a real server by that and its address and port.
    all: BTreeMap<String, [u64; 5]>,
}

impl Stats {
    /// What they are now.
    #[track_caller]
    pub(crate) fn of(socket: &SocketPath) -> Stats {
        let listing = socket.done("-L -n --stats --exact");
        let (mut all, mut service) = (BTreeMap::new(), String::new());
        for line in listing.lines().skip(3) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (&[kind, name], numbers) = words.split_at(2) else { panic!("{line:?}") };
            let numbers: Vec<u64> = numbers.iter().filter_map(|word| word.parse().ok()).collect();
            let Ok(numbers) = numbers.try_into() else { panic!("{line:?} in:\n{listing}") };
            let key = if kind == "->" {
                format!("{service} {name}")
            } else {
                service = format!("{kind} {name}");
                service.clone()
            };
            all.insert(key, numbers);
        }
        Stats { all }
    }

    /// Those of a service, such as `TCP 10.77.0.200:80`.
    #[track_caller]
    pub(crate) fn service(&self, name: &str) -> [u64; 5] {
        *self.all.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// Those of the real server with this address behind it, on whatever port.
    #[track_caller]
    pub(crate) fn server(&self, service: &str, server: IpAddr) -> [u64; 5] {
        let start = format!("{service} {server}:");
        let found = self.all.iter().find(|(name, _)| name.starts_with(&start));
        *found.unwrap_or_else(|| panic!("no {start} in {self:?}")).1
    }
}

/// Services of every kind with all that counts behind them, and what they did.
struct Loaded {
    net: Net,
    socket: SocketPath,
    held: Vec<Held>,
    director: Director,
    _servers: (Vec<HttpServer>, Vec<TcpEcho>, Vec<UdpEcho>),
}

impl Loaded {
    /// Where Prometheus asks, on the director's host.
    const METRICS: &str = "127.0.0.1:9108";

    fn new() -> Loaded {
        let net = Net::one_armed(2);
        let vip = net.vip4(0);
        let at = |port| SocketAddr::new(vip, port);
        let hosts = net.servers();
        let _servers = (
            hosts.iter().map(|host| HttpServer::start(host, 80)).collect(),
            hosts.iter().map(|host| TcpEcho::start(host, 7)).collect(),
            hosts.iter().map(|host| UdpEcho::start(host, at(53))).collect(),
        );
        let text = rules(&format!("-t {} -s wlc", at(80)), servers4(&net))
            + &rules(&format!("-u {} -s rr", at(53)), servers4(&net))
            + &format!(
                "iptables -t mangle -A PREROUTING -d {vip} -p tcp --dport 7 -j MARK --set-mark 7\n"
            )
            + &rules("-f 7 -s rr -p 300", servers4(&net));
        let socket = SocketPath::new();
        let options = ["--control", socket.path(), "--metrics", Loaded::METRICS];
        let director = Director::start_with(&net, &text, &options);
        let held = (0..3).map(|_| Held::open(&net, at(7), None)).collect();
        load(&net, 1_000, at(80), None);
        net.client().enter(|| {
            for _ in 0..5 {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.send_to(b"a question", at(53)).unwrap();
                socket.recv_from(&mut [0; 64]).unwrap();
            }
        });
        let loaded = Loaded { net, socket, held, director, _servers };
        // The last packets of the load may still be under way.
        let mut before = Stats::of(&loaded.socket);
        wait_until("nothing more is counted", || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            let now = Stats::of(&loaded.socket);
            std::mem::replace(&mut before, now.clone()) == now
        });
        loaded
    }

    /// The page that Prometheus gets.
    fn page(&self) -> String {
        let url = format!("http://{}/metrics", Loaded::METRICS);
        let fetched =
            self.net.director().run(&["curl", "--silent", "--show-error", "--fail", &url]);
        fetched.expect_success().stdout
    }
}

/// The samples of a page by their names with labels. Each belongs to the family declared before it, and every
/// family has a help text and a type, once.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut declared) = (BTreeMap::new(), BTreeMap::new());
    let (mut helped, mut family) = (BTreeSet::new(), String::new());
    assert!(page.ends_with("# EOF\n"), "{page}");
    for line in page.lines().filter(|line| *line != "# EOF") {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            assert!(helped.insert(name.to_owned()) && !help.is_empty(), "{line}");
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert!(declared.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            family = name.to_owned();
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            let plain = name.split('{').next().unwrap_or_default();
            let counter = declared.get(&family).is_some_and(|kind| kind == "counter");
            let suffix = if counter { "_total" } else { "" };
            assert_eq!(plain, format!("{family}{suffix}"), "{line} is not of the family before it");
            assert!(helped.contains(&family), "{line} has no help");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line:?}"));
            assert!(samples.insert(name.to_owned(), value).is_none(), "{line} comes twice");
        }
    }
    samples
}

/// The counters' names in the order of the columns of `--stats`.
const COUNTERS: [&str; 5] =
    ["connections", "incoming_packets", "outgoing_packets", "incoming_bytes", "outgoing_bytes"];

/// The labels of a service by its name in the listing.
fn labels(service: &str) -> String {
    let (protocol, address, port, mark) = match service.split_once(' ').unwrap() {
        ("FWM", mark) => ("FWM", "", "", mark),
        (protocol, virt) => {
            let (address, port) = virt.split_once(':').unwrap();
            (protocol, address, port, "")
        }
    };
    format!(
        "proto=\"{protocol}\",family=\"ipv4\",local_address=\"{address}\",local_port=\"{port}\",\
         local_mark=\"{mark}\""
    )
}

#[test]
fn prometheus_reads_the_numbers_of_the_listing() {
    require(&["curl"]);
    let loaded = Loaded::new();
    let page = loaded.page();
    let samples = samples(&page);
    let value = |name: String| {
        let found = samples.get(&name);
        *found.unwrap_or_else(|| panic!("no {name} in\n{page}")) as u64
    };
    let stats = Stats::of(&loaded.socket);
    assert_eq!(stats.all.len(), 9, "three services with two servers each: {stats:?}");
    for (name, numbers) in &stats.all {
        let words: Vec<&str> = name.split(' ').collect();
        let mut labels = labels(&words[..2].join(" "));
        if let Some((address, port)) = words.get(2).and_then(|server| server.split_once(':')) {
            labels += &format!(",remote_address=\"{address}\",remote_port=\"{port}\"");
        }
        let of = if words.len() == 2 { "service" } else { "server" };
        for (counter, wanted) in COUNTERS.iter().zip(numbers) {
            assert_eq!(value(format!("lvs_{of}_{counter}_total{{{labels}}}")), *wanted, "{name}");
        }
    }
    // Weights and connections of each server, as the plain listing has them.
    let mut service = String::new();
    for line in loaded.socket.done("-L -n").lines().skip(3) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0] != "->" {
            service = words[..2].join(" ");
            continue;
        }
        let (address, port) = words[1].split_once(':').unwrap();
        let labels =
            format!("{},remote_address=\"{address}\",remote_port=\"{port}\"", labels(&service));
        for (name, column) in
            [("weight", 3), ("connections_active", 4), ("connections_inactive", 5)]
        {
            let wanted: u64 = words[column].parse().unwrap();
            assert_eq!(value(format!("lvs_server_{name}{{{labels}}}")), wanted, "{line}");
        }
    }
    // And the tables.
    let connections = loaded.socket.done("-L -c -n");
    let (templates, others): (Vec<&str>, Vec<&str>) =
        connections.lines().skip(2).partition(|line| line.contains(" ASSURED "));
    assert_eq!(value("lvs_templates".to_owned()), templates.len() as u64, "{connections}");
    assert_eq!(value("lvs_connections".to_owned()), others.len() as u64, "{connections}");
    assert_eq!(value("lvs_servers_left_out".to_owned()), 0);
    let totals = loaded.director.stop().totals;
    let services = ["TCP 10.77.0.200:80", "UDP 10.77.0.200:53", "FWM 7"];
    let incoming = services
        .map(|name| value(format!("lvs_service_incoming_packets_total{{{}}}", labels(name))));
    assert_eq!(incoming.iter().sum::<u64>(), totals.packets_in);
}

#[test]
fn a_scrape_under_load_never_goes_backwards() {
    require(&["curl"]);
    let loaded = Loaded::new();
    let name = format!("lvs_service_connections_total{{{}}}", labels("TCP 10.77.0.200:80"));
    let mut before = samples(&loaded.page());
    let target = SocketAddr::new(loaded.net.vip4(0), 80);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(&loaded.net, 3_000, target, None));
        loop {
            let last = loading.is_finished();
            let now = samples(&loaded.page());
            for (name, value) in before.iter().filter(|(name, _)| name.contains("_total")) {
                assert!(now[name] >= *value, "{name} went from {value} to {}", now[name]);
            }
            before = now;
            if last {
                break;
            }
        }
    });
    let counted = Stats::of(&loaded.socket).service("TCP 10.77.0.200:80")[0];
    assert_eq!(before[&name] as u64, counted, "and in the end it is what the listing says");
}

#[test]
fn the_listings_in_json_say_what_those_in_text_say() {
    let mut loaded = Loaded::new();
    let socket = &loaded.socket;
    let json = |line: &str| -> Value {
        let text = socket.done(line);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}:\n{text}"))
    };
    let all = json("-L --json");
    let services = all["services"].as_array().unwrap();
    // The listing of services, made anew from the JSON.
    let (mut plain, mut counted) = (Vec::new(), BTreeMap::new());
    let numbers = |of: &Value| {
        ["connections", "packets_in", "packets_out", "bytes_in", "bytes_out"]
            .map(|name| of["counters"][name].as_u64().unwrap())
    };
    for service in services {
        let key = &service["service"];
        let name = match key["mark"].as_u64() {
            Some(mark) => format!("FWM {mark}"),
            None => {
                let protocol = key["protocol"].as_str().unwrap().to_uppercase();
                format!("{protocol} {}:{}", key["address"].as_str().unwrap(), key["port"])
            }
        };
        let persistent = service["persistent_s"].as_u64();
        let flags = persistent.map_or(String::new(), |seconds| format!(" persistent {seconds}"));
        plain.push(format!("{name} {}{flags}", service["scheduler"].as_str().unwrap()));
        counted.insert(name.clone(), numbers(service));
        // As ipvsadm does, the text sorts them by their addresses.
        let mut servers: Vec<&Value> = service["servers"].as_array().unwrap().iter().collect();
        servers.sort_by_key(|server| server["address"].as_str());
        for server in servers {
            let address = format!("{}:{}", server["address"].as_str().unwrap(), server["port"]);
            assert_eq!(server["method"], "direct_route");
            let load = format!("{} {} {}", server["weight"], server["active"], server["inactive"]);
            plain.push(format!("-> {address} Route {load}"));
            counted.insert(format!("{name} {address}"), numbers(server));
        }
    }
    let text = socket.done("-L -n");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(text.lines().skip(3).map(words).collect::<Vec<_>>(), plain);
    assert_eq!(Stats { all: counted }, Stats::of(socket));
    let one = json("-L -f 7 --json");
    assert_eq!(one["services"].as_array().unwrap().len(), 1);
    assert_eq!(one["services"][0]["service"]["mark"], 7);

    // Connections: the same entries in the same order, and the time left lies between two texts.
    let (before, json_text, after) =
        (socket.done("-L -c -n"), socket.done("-L -c --json"), socket.done("-L -c -n"));
    let listed: Value = serde_json::from_str(&json_text).unwrap();
    let listed = listed["connections"].as_array().unwrap();
    let lines = |text: &str| -> Vec<(String, u64)> {
        let entries = text.lines().skip(2).map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (minutes, seconds) = words[1].split_once(':').unwrap();
            let left = minutes.parse::<u64>().unwrap() * 60 + seconds.parse::<u64>().unwrap();
            (format!("{} {}", words[0], words[2..].join(" ")), left)
        });
        entries.collect()
    };
    let (before, after) = (lines(&before), lines(&after));
    assert!(before.len() > 1_000 && listed.len() == before.len(), "{}", before.len());
    for ((entry, (line, most)), (_, least)) in listed.iter().zip(&before).zip(&after) {
        let text = |name: &str| entry[name].as_str().unwrap();
        let protocol = text("protocol").to_uppercase();
        let ends = format!("{} {} {}", text("client"), text("virtual"), text("server"));
        assert_eq!(format!("{protocol} {} {ends}", text("state")), *line);
        let left = entry["expires_ms"].as_u64().unwrap() / 1000;
        assert!((*least..=*most).contains(&left), "{line}: {left} not in {least}..={most}");
        assert_eq!(entry["template"], *line.split(' ').nth(1).unwrap() == *"ASSURED", "{line}");
    }
    let timeouts = json("-L --timeout --json");
    let seconds = ["tcp_s", "tcp_fin_s", "udp_s"].map(|name| &timeouts["timeouts"][name]);
    let wanted =
        format!("Timeout (tcp tcpfin udp): {} {} {}\n", seconds[0], seconds[1], seconds[2]);
    assert_eq!(socket.done("-L --timeout"), wanted);
    loaded.held.iter_mut().for_each(|held| held.echo("still here"));
}

#[test]
fn top_draws_services_and_servers_takes_keys_and_gives_the_terminal_back() {
    let loaded = Loaded::new();
    let (net, socket) = (&loaded.net, &loaded.socket);
    let target = SocketAddr::new(net.vip4(0), 80);
    for leave in ["q", "\u{1b}", "\u{3}"] {
        let mut top = Terminal::start(socket, "top");
        let screen = top.wait_for(&format!("TCP {target}"));
        assert!(screen.starts_with("lvs-director "), "{screen}");
        for wanted in ["  eth0  connections ", "SERVICE  ", "FWM 7  ", "q quit   "] {
            assert!(screen.contains(wanted), "{wanted:?} is not on\n{screen}");
        }
        assert!(!screen.contains(&net.server4(0).to_string()), "none is open yet:\n{screen}");
        // Down to the web's service, and its servers.
        wait_until("it is chosen", || {
            let screen = top.screen();
            let chosen = screen.lines().find(|line| line.starts_with("> "));
            let found = chosen.is_some_and(|line| line.contains(&format!("TCP {target}")));
            if !found {
                top.press("j");
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            found
        });
        top.press("\r");
        for i in 0..2 {
            top.wait_for(&format!("    {}:80 ", net.server4(i)));
        }
        // It is alive: connections that are opened meanwhile appear as a rate.
        wait_for("a rate", || {
            load(net, 200, target, None);
            let line =
                top.screen().lines().find(|line| line.contains("TCP ")).map(str::to_owned)?;
            let rate = line.split_whitespace().rev().nth(3)?.to_owned();
            (rate != "0").then_some(())
        });
        top.press("s");
        top.wait_for("order: connections");
        let before = top.settings_before();
        top.press(leave);
        let (status, after) = top.finish();
        assert_eq!(status.code(), Some(0), "left by {leave:?}");
        assert_eq!(after.settings, before, "the terminal works as before");
        assert!(!after.alternate_screen && after.cursor_visible, "left by {leave:?}");
    }
    // Without a terminal it says what else there is.
    let refused = socket.lvsadm("top");
    assert_eq!(refused.status, Some(2));
    assert!(refused.stderr.starts_with("top needs a terminal\n"), "{}", refused.stderr);
}

#[test]
fn top_whose_director_ends_says_so_on_a_terminal_that_works() {
    let net = Net::one_armed(1);
    let socket = SocketPath::new();
    let text = rules(&format!("-t {}:80 -s rr", net.vip4(0)), servers4(&net));
    let _server = HttpServer::start(&net.servers()[0], 80);
    let director = Director::start_with(&net, &text, &["--control", socket.path()]);
    page(&net, SocketAddr::new(net.vip4(0), 80));
    let top = Terminal::start(&socket, "top");
    top.wait_for("TCP ");
    let before = top.settings_before();
    director.signal(Signal::TERM);
    let (status, after) = top.finish();
    assert_eq!(status.code(), Some(255), "{}", after.text);
    assert_eq!(after.settings, before);
    assert!(!after.alternate_screen && after.cursor_visible);
    assert!(after.text.contains("director"), "{}", after.text);
}
