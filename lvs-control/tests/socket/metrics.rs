//! Metrics as a scraper meets them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lvs_control::data::{Server, Service, Totals};
use lvs_control::metrics::{Metrics, SERVERS_MAX, page as page_of};
use lvs_control::server::Patience;

use crate::director::{PATIENCE, Running};

const LINES: [&str; 5] = [
    "-A -t 192.0.2.80:80 -s wlc -p 600",
    "-a -t 192.0.2.80:80 -r 10.1.0.2 -g -w 4",
    "-A -f 7 -6 -s rr",
    "-a -f 7 -6 -r 2001:db8::2 -i -w 0",
    "-A -u [2001:db8::1]:53",
];

fn start(running: &Running) -> Metrics {
    Metrics::start("127.0.0.1:0".parse().unwrap(), running.asker.clone()).unwrap()
}

fn ask(metrics: &Metrics, request: &str) -> String {
    let mut stream = TcpStream::connect(metrics.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn page(metrics: &Metrics) -> String {
    let answer = ask(metrics, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("application/openmetrics-text"), "{head}");
    body.to_owned()
}

#[test]
fn a_scraper_reads_services_and_servers() {
    let running = Running::start_with(&LINES, Patience::default());
    let page = page(&start(&running));
    for line in [
        r#"lvs_server_weight{proto="TCP",family="ipv4",local_address="192.0.2.80",local_port="80",local_mark="",remote_address="10.1.0.2",remote_port="80"} 4"#,
        r#"lvs_server_weight{proto="FWM",family="ipv6",local_address="",local_port="",local_mark="7",remote_address="2001:db8::2",remote_port="0"} 0"#,
        r#"lvs_service_connections_total{proto="UDP",family="ipv6",local_address="2001:db8::1",local_port="53",local_mark=""} 0"#,
        r#"lvs_frames_dropped_total{reason="no-destination"} 0"#,
        "lvs_servers_left_out 0",
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\nis not in\n{page}");
    }
}

/// The rules of the text format that a scraper holds a page to.
#[test]
fn the_page_is_well_formed() {
    let running = Running::start_with(&LINES, Patience::default());
    let page = page(&start(&running));
    assert!(page.ends_with("# EOF\n"));
    let mut family = ("", "");
    let mut seen = std::collections::HashSet::new();
    for line in page.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(name.starts_with("lvs_") && !help.is_empty(), "{line}");
            assert!(seen.insert(name), "{name} comes twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split_once(' ').unwrap();
            assert!(matches!(family.1, "counter" | "gauge"), "{line}");
        } else {
            let name = &line[..line.find(['{', ' ']).unwrap()];
            let total = if family.1 == "counter" { "_total" } else { "" };
            assert_eq!(name, format!("{}{total}", family.0), "{line}");
            let (_, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(line), "{line} comes twice");
        }
    }
}

#[test]
fn the_number_of_servers_on_the_page_is_bounded() {
    let text = r#"{"service":{"protocol":"tcp","address":"192.0.2.80","port":80},"scheduler":"wlc",
        "counters":{"connections":0,"packets_in":0,"packets_out":0,"bytes_in":0,"bytes_out":0},
        "rates":{"connections":0,"packets_in":0,"packets_out":0,"bytes_in":0,"bytes_out":0},
        "servers":[]}"#;
    let mut service: Service = serde_json::from_str(text).unwrap();
    let server = r#"{"address":"10.1.0.2","port":80,"method":"direct_route","weight":1,
        "upper_threshold":0,"lower_threshold":0,"active":0,"inactive":0,"persistent":0,
        "overloaded":false,
        "counters":{"connections":0,"packets_in":0,"packets_out":0,"bytes_in":0,"bytes_out":0},
        "rates":{"connections":0,"packets_in":0,"packets_out":0,"bytes_in":0,"bytes_out":0}}"#;
    let server: Server = serde_json::from_str(server).unwrap();
    let ports = (0..SERVERS_MAX + 3).map(|n| {
        let mut server = server;
        server.spec.port = n as u16;
        server
    });
    service.servers = ports.collect();
    let about = r#"{"version":"0","pid":1,"uptime_ms":0,"interfaces":[],"rules":null,
        "connections_max":1,"templates_max":1}"#;
    let page = page_of(&serde_json::from_str(about).unwrap(), &Totals::default(), &[service], &[]);
    let shown = page.lines().filter(|line| line.starts_with("lvs_server_weight{")).count();
    assert_eq!(shown, SERVERS_MAX);
    assert!(page.contains("\nlvs_servers_left_out 3\n"));
}

#[test]
fn what_is_no_scrape_is_told_so() {
    let running = Running::start();
    let metrics = start(&running);
    for (request, status) in [
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("GET /etc/passwd HTTP/1.1\r\n\r\n", "404"),
        ("\x01\x02\x03\r\n\r\n", "400"),
        ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", "200"),
    ] {
        let answer = ask(&metrics, request);
        let told = answer.starts_with(&format!("HTTP/1.1 {status} "));
        assert!(told, "{request:?}: {answer}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(20_000));
    let mut stream = TcpStream::connect(metrics.addr()).unwrap();
    // Its end may find the connection closed already.
    let _ = stream.write_all(long.as_bytes());
    drop(stream);
    page(&metrics);
}

#[test]
fn a_reader_that_does_nothing_holds_up_others_only_for_a_while() {
    let running = Running::start();
    let metrics = start(&running);
    let idle = TcpStream::connect(metrics.addr()).unwrap();
    let mut half = TcpStream::connect(metrics.addr()).unwrap();
    half.write_all(b"GET /metr").unwrap();
    page(&metrics);
    drop((idle, half));
}

#[test]
fn an_address_that_is_taken_is_told() {
    let running = Running::start();
    let metrics = start(&running);
    let error = Metrics::start(metrics.addr(), running.asker.clone()).unwrap_err().to_string();
    assert!(error.contains(&metrics.addr().to_string()) && error.contains("--metrics"), "{error}");
}

#[test]
fn metrics_end_with_the_director() {
    let mut running = Running::start();
    let metrics = start(&running);
    running.stop();
    let answer = ask(&metrics, "GET /metrics HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let addr = metrics.addr();
    drop(metrics);
    assert!(TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_err());
}
