//! Tunnels to real servers that are two routers away, opened by our own decapsulator.

use std::net::{IpAddr, SocketAddr};

use lvs_testnet::{Ab, Capture, HttpServer, digest_of_pattern, http};

use crate::director::Director;
use crate::far::{Far, RealServer};

const REQUESTS: u32 = 10_000;
const LARGE: u64 = 300_000_000;
const ARMS: [&str; 4] = ["--interface", "eth0", "--interface", "eth1"];

/// Words of ipvsadm's command line for a kind of tunnel.
const IPIP: &str = "-i";
const GUE: &str = "-i --tun-type gue --tun-port 6080";
const GRE: &str = "-i --tun-type gre";

/// The web service of a VIP with tunnels to servers.
fn web(vip: IpAddr, servers: &[IpAddr], kind: &str) -> String {
    let virt = SocketAddr::new(vip, 80);
    let line = |addr: &IpAddr| format!("-a -t {virt} -r {} {kind}\n", SocketAddr::new(*addr, 80));
    format!("-A -t {virt} -s rr\n") + &servers.iter().map(line).collect::<String>()
}

fn servers4(far: &Far) -> Vec<IpAddr> {
    (0..far.servers.len()).map(|i| far.server4(i)).collect()
}

fn servers6(far: &Far) -> Vec<IpAddr> {
    (0..far.servers.len()).map(|i| far.server6(i)).collect()
}

fn web_servers(far: &Far) -> Vec<HttpServer> {
    far.servers.iter().map(|host| HttpServer::start(host, 80)).collect()
}

/// How many packets a real server said it opened.
fn opened(printed: &str) -> u64 {
    let line = printed.lines().rfind(|line| line.starts_with("opened "));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.unwrap_or_else(|| panic!("no count in:\n{printed}"))
}

/// ApacheBench through tunnels of one kind: no request fails, both servers get their half, and every
/// packet was opened by our decapsulator.
#[track_caller]
fn load_through(kind: &str, tun: &str) {
    let far = Far::new(2);
    let web_servers = web_servers(&far);
    let made = far.make_real_servers(
        &[&["--tun", tun][..], &far.directors().each_ref().map(String::as_str)].concat(),
    );
    let director =
        Director::start_on(&far.director, &web(far.vip4(), &servers4(&far), kind), &ARMS);
    let report = Ab::new(REQUESTS, 50, &format!("http://{}/", far.vip4())).run(&far.client);
    assert_eq!(
        (report.complete, report.failed, report.non_2xx),
        (REQUESTS, 0, 0),
        "{}",
        report.text
    );
    let shares: Vec<u64> = web_servers.iter().map(HttpServer::requests).collect();
    assert!(shares.iter().all(|share| *share > u64::from(REQUESTS) * 4 / 10), "{shares:?}");
    let totals = director.stop().totals;
    let counts: Vec<u64> = made
        .into_iter()
        .map(|server| {
            let printed = server.stop();
            assert!(!printed.contains("dropped"), "{printed}");
            opened(&printed)
        })
        .collect();
    assert!(counts.iter().sum::<u64>() >= totals.packets_in, "{counts:?} of {totals:?}");
}

#[test]
fn apache_bench_fails_no_request_through_ipip_over_two_routers() {
    load_through(IPIP, "ipip");
}

#[test]
fn apache_bench_fails_no_request_through_gue_over_two_routers() {
    load_through(GUE, "gue");
}

#[test]
fn apache_bench_fails_no_request_through_gre_over_two_routers() {
    load_through(GRE, "gre");
}

/// Uploads through each kind of tunnel. `prepare` changes the network before.
#[track_caller]
fn upload_through(kinds: &[&str], len: u64, prepare: impl Fn(&Far)) {
    let far = Far::new(1);
    prepare(&far);
    let _web = web_servers(&far);
    let tun = ["--tun", "ipip,gue,gre"];
    let made = far
        .make_real_servers(&[&tun[..], &far.directors().each_ref().map(String::as_str)].concat());
    let expected = digest_of_pattern(len);
    for kind in kinds {
        let rules = web(far.vip4(), &servers4(&far), kind);
        let director = Director::start_on(&far.director, &rules, &ARMS);
        let target = SocketAddr::new(far.vip4(), 80);
        let digest = far.client.enter(|| http::upload(target, len));
        assert_eq!(digest.unwrap(), expected, "{kind}");
        director.stop();
    }
    let printed: String = made.into_iter().map(|server| server.stop()).collect();
    assert!(!printed.contains("dropped"), "{printed}");
}

/// The client's offloads are on: what the director gets are super-frames, which it cuts.
#[test]
fn an_upload_of_300_megabytes_arrives_whole_through_ipip() {
    upload_through(&[IPIP], LARGE, |_| {});
}

#[test]
fn an_upload_of_300_megabytes_arrives_whole_through_gue() {
    upload_through(&[GUE], LARGE, |_| {});
}

#[test]
fn an_upload_of_300_megabytes_arrives_whole_through_gre() {
    upload_through(&[GRE], LARGE, |_| {});
}

#[test]
fn super_frames_are_cut_before_a_checksum_of_the_tunnel_is_taken() {
    upload_through(&["-i --tun-type gre --tun-csum"], 50_000_000, |_| {});
}

/// Makes the path between the routers narrower, where neither director nor client sees it.
fn narrow_middle(far: &Far) {
    far.routers[0].ip("link set eth1 mtu 1400");
    far.routers[1].ip("link set eth0 mtu 1400");
}

#[test]
fn a_path_of_a_smaller_mtu_in_the_middle_is_discovered_through_the_director() {
    upload_through(&[IPIP, GUE, GRE], 10_000_000, |far| {
        narrow_middle(far);
    });
}

#[test]
fn a_smaller_mtu_in_the_middle_is_discovered_in_every_pair_of_inner_and_outer_family() {
    let expected = digest_of_pattern(2_000_000);
    for (inner, outer) in [(4, 4), (4, 6), (6, 4), (6, 6)] {
        // What a client learnt about a path must not help the next.
        let far = Far::new(1);
        narrow_middle(&far);
        let _web = web_servers(&far);
        let made = far.make_real_servers(&["--tun", "ipip"]);
        let vip = if inner == 4 { far.vip4() } else { far.vip6() };
        let servers = if outer == 4 { servers4(&far) } else { servers6(&far) };
        let director = Director::start_on(&far.director, &web(vip, &servers, IPIP), &ARMS);
        let digest = far.client.enter(|| http::upload(SocketAddr::new(vip, 80), 2_000_000));
        let digest = digest.unwrap_or_else(|error| panic!("IPv{inner} in IPv{outer}: {error}"));
        assert_eq!(digest, expected, "IPv{inner} in IPv{outer}");
        director.stop();
        drop(made);
    }
}

#[test]
fn every_pair_of_inner_and_outer_family_carries_pages_and_uploads() {
    let far = Far::new(1);
    let _web = web_servers(&far);
    let tun = ["--tun", "ipip,gue,gre"];
    let made = far
        .make_real_servers(&[&tun[..], &far.directors().each_ref().map(String::as_str)].concat());
    let expected = digest_of_pattern(1_000_000);
    for vip in [far.vip4(), far.vip6()] {
        for servers in [servers4(&far), servers6(&far)] {
            for kind in [IPIP, GUE, GRE, "-i --tun-type gre --tun-csum"] {
                let what = format!("{vip} in {} by {kind}", servers[0]);
                let director = Director::start_on(&far.director, &web(vip, &servers, kind), &ARMS);
                let target = SocketAddr::new(vip, 80);
                let digest = far.client.enter(|| http::upload(target, 1_000_000));
                assert_eq!(digest.unwrap_or_else(|error| panic!("{what}: {error}")), expected);
                director.stop();
            }
        }
    }
    let printed: Vec<String> = made.into_iter().map(|server| server.stop()).collect();
    assert!(!printed.concat().contains("dropped"), "{printed:?}");
}

/// Whether the kernel has a kind of link.
fn knows(far: &Far, kind: &str) -> bool {
    let host = &far.servers[0];
    let probe = format!("ip link add probe type {kind} remote 192.0.2.1 local 192.0.2.2");
    let words: Vec<&str> = probe.split_whitespace().collect();
    let known = host.run(&words).status.success();
    if known {
        host.ip("link del probe");
    }
    known
}

#[test]
fn the_kernels_own_modules_open_what_the_director_wraps() {
    for (module, kind, tun, options) in
        [("ipip", "ipip", "ipip", IPIP), ("gre", "gre", "gre", GRE), ("fou", "ipip", "gue", GUE)]
    {
        let far = Far::new(1);
        if !knows(&far, kind) {
            println!("skipped: kernel lacks {module}");
            continue;
        }
        let vip = far.vip4().to_string();
        let _web = web_servers(&far);
        let made = RealServer::start(&far.servers[0], &["--vip", &vip, "--tun", tun, "--kernel"]);
        let rules = web(far.vip4(), &servers4(&far), options);
        let director = Director::start_on(&far.director, &rules, &ARMS);
        let report = Ab::new(REQUESTS, 50, &format!("http://{vip}/")).run(&far.client);
        assert_eq!((report.complete, report.failed), (REQUESTS, 0), "{}", report.text);
        director.stop();
        made.stop();
    }
}

#[test]
fn a_limit_of_the_segment_size_reaches_the_server_in_the_clients_syn() {
    let far = Far::new(1);
    let vip = far.vip4();
    let _web = web_servers(&far);
    let made = far.make_real_servers(&["--tun", "ipip"]);
    let limit = format!("-t {vip}:80 1360");
    let options = [&ARMS[..], &["--mss", &limit]].concat();
    let director = Director::start_on(&far.director, &web(vip, &servers4(&far), IPIP), &options);
    let wire = Capture::start(&far.servers[0], "eth0");
    let page = far.client.enter(|| http::fetch(SocketAddr::new(vip, 80), "/"));
    assert_eq!(page.unwrap().status, 200);
    // Ethernet, the outer header and the inner one are 54 bytes; Linux says the size first.
    let said = wire.stop().iter().find_map(|seen| {
        let segment = seen.bytes.get(54..).filter(|segment| segment.len() >= 24)?;
        let is_syn = !seen.outgoing && seen.bytes[23] == 4 && segment[13] == 2;
        (is_syn && segment[20..22] == [2, 4])
            .then(|| u16::from_be_bytes([segment[22], segment[23]]))
    });
    assert_eq!(said, Some(1360));
    director.stop();
    drop(made);
}

#[test]
fn packets_come_out_of_the_tunnel_whatever_filter_by_reverse_path_the_host_has() {
    for filter in ["1", "2"] {
        let far = Far::new(1);
        for scope in ["all", "default"] {
            far.servers[0].set_sysctl(&format!("net.ipv4.conf.{scope}.rp_filter"), filter);
        }
        let _web = web_servers(&far);
        let made = far.make_real_servers(&["--tun", "ipip"]);
        let rules = web(far.vip4(), &servers4(&far), IPIP);
        let director = Director::start_on(&far.director, &rules, &ARMS);
        let page = far.client.enter(|| http::fetch(SocketAddr::new(far.vip4(), 80), "/"));
        assert_eq!(page.unwrap().status, 200, "rp_filter={filter}");
        director.stop();
        drop(made);
    }
}
