//! Large transfers: with default offloads the director sees super-frames with unfinished checksums.

use std::net::SocketAddr;

use lvs_testnet::{HttpServer, Net, digest_of_pattern, http};

use crate::director::{Director, rules, servers4, servers6};

const LARGE: u64 = 300_000_000;
const MEDIUM: u64 = 50_000_000;

/// An upload and a download of `len` bytes through the VIP, and what the director saw of the upload.
#[track_caller]
fn both_ways(net: &Net, target: SocketAddr, service: &str, len: u64) {
    let _servers: Vec<_> = net.servers().iter().map(|host| HttpServer::start(host, 80)).collect();
    let director = Director::start(net, service);
    let expected = digest_of_pattern(len);
    let digest = net.client().enter(|| http::upload(target, len));
    assert_eq!(digest.unwrap(), expected, "the upload");
    let seen = director.listing().totals();
    let (got, digest) = net.client().enter(|| http::download(target, len)).unwrap();
    assert_eq!((got, digest), (len, expected), "the download");
    assert!(seen.bytes_in > len, "{seen:?}");
    // With an MTU of 1500 no packet is longer, unless it is a super-frame.
    let mean = seen.bytes_in / seen.packets_in;
    assert!(mean > 4 * 1500, "{mean} bytes a packet: no super-frames; {seen:?}");
    // What comes back does not pass the director: of the download it saw acknowledgements.
    let stopped = director.stop();
    assert!(stopped.totals.bytes_in - seen.bytes_in < len / 10, "{:?}", stopped.totals);
    assert!(!stopped.output.stdout.contains("dropped:"), "{}", stopped.output.stdout);
}

#[test]
fn uploads_and_downloads_of_300_megabytes_arrive_whole_as_super_frames() {
    let net = Net::one_armed(1);
    let target = SocketAddr::new(net.vip4(0), 80);
    both_ways(&net, target, &rules(&format!("-t {target}"), servers4(&net)), LARGE);
}

#[test]
fn large_transfers_arrive_whole_through_two_arms_in_ipv6() {
    let net = Net::two_armed(1);
    let target = SocketAddr::new(net.vip6(0), 80);
    both_ways(&net, target, &rules(&format!("-t {target}"), servers6(&net)), MEDIUM);
}
