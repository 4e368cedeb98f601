//! Real clients and real servers behind a trunk: all their traffic crosses the director in tagged frames.

use std::io::ErrorKind;
use std::net::SocketAddr;

use lvs_testnet::{Capture, Host, HttpServer, Net, describe, digest_of_pattern, http};

use crate::director::{Director, load, page, rules, servers4, servers6, wait_until_unreachable};
use crate::trunk::{DOT1AD, DOT1Q, Tag, Trunk};

/// The director's addresses on the trunk.
const DIRECTOR4: &str = "10.77.0.2/24";
const DIRECTOR6: &str = "fd77::2/64";

/// Bytes of a transfer that crosses as super-frames.
const TRANSFER_LEN: u64 = 20_000_000;

/// A network whose client and servers reach the director by a trunk alone.
struct Tagged {
    net: Net,
    director: Host,
    _trunk: Trunk,
}

impl Tagged {
    fn new(servers: usize, tags: &[Tag]) -> Tagged {
        let mut net = Net::one_armed(servers);
        let director = Host::new("tagged-director");
        let trunk = net.add_peer("trunk");
        let namespace = director.namespace_path().display();
        // Packet sockets have room for an 802.1Q tag beyond the MTU, and for no more (packet(7) is
        // silent about it): a link that carries two tags needs the larger MTU.
        let size = if tags.len() > 1 { "mtu 1508" } else { "mtu 1500" };
        trunk.ip(&format!(
            "link add trunk0 {size} type veth peer name eth0 {size} netns {namespace}"
        ));
        trunk.ip("link set trunk0 up");
        director.ip("link set eth0 up");
        director.add_address("eth0", DIRECTOR4);
        director.add_address("eth0", DIRECTOR6);
        director.set_sysctl("net.ipv4.ip_forward", "1");
        director.set_sysctl("net.ipv6.conf.all.forwarding", "1");
        let trunk = Trunk::start(trunk, "eth0", "trunk0", tags);
        Tagged { net, director, _trunk: trunk }
    }

    fn start(&self, rules: &str) -> Director {
        Director::start_on(&self.director, rules, &["--interface", "eth0"])
    }

    fn both_services(&self) -> String {
        let [four, six] = vips(&self.net);
        rules(&format!("-t {four} -s rr"), servers4(&self.net))
            + &rules(&format!("-t {six} -s rr"), servers6(&self.net))
    }
}

fn vips(net: &Net) -> [SocketAddr; 2] {
    [net.vip4(0), net.vip6(0)].map(|vip| SocketAddr::new(vip, 80))
}

/// Load, large transfers, refusals and answers for the VIP, all in tagged frames alone.
#[track_caller]
fn tagged_traffic_is_served(tags: &[Tag], shown: &str) {
    let tagged = Tagged::new(2, tags);
    let net = &tagged.net;
    let servers: Vec<_> = net.servers().iter().map(|host| HttpServer::start(host, 80)).collect();
    let with_content = |seen: &lvs_testnet::Seen| {
        let line = describe(&seen.bytes);
        line.contains("tcp") || line.contains("is-at") || line.contains("advertisement")
    };
    let on_trunk = Capture::start_where(&tagged.director, "eth0", with_content);
    let director = tagged.start(&tagged.both_services());
    for target in vips(net) {
        let answers: Vec<String> = (0..4).map(|_| page(net, target)).collect();
        assert_eq!(answers, ["server2", "server1", "server2", "server1"]);
        load(net, 500, target, None);
        let refused = net.client().enter(|| http::connect(SocketAddr::new(target.ip(), 81), None));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    assert!(servers.iter().all(|server| server.requests() >= 500));
    let frames = on_trunk.stop();
    assert!(frames.len() > 4 * 500, "{} frames", frames.len());
    let expected: Vec<u8> = tags
        .iter()
        .flat_map(|(tpid, tci)| [tpid.to_be_bytes(), tci.to_be_bytes()].concat())
        .collect();
    for seen in &frames {
        let line = describe(&seen.bytes);
        // The director announces its VIPs, and asks about its servers, untagged as well.
        if line.starts_with("fd77::200 > ff02::1 ") {
            continue;
        }
        assert!(line.starts_with(shown), "{line}");
        assert_eq!(seen.bytes[12..12 + expected.len()], expected, "{line}");
    }
    for target in vips(net) {
        let expected = digest_of_pattern(TRANSFER_LEN);
        let digest = net.client().enter(|| http::upload(target, TRANSFER_LEN)).unwrap();
        assert_eq!(digest, expected, "the upload to {target}");
        let got = net.client().enter(|| http::download(target, TRANSFER_LEN)).unwrap();
        assert_eq!(got, (TRANSFER_LEN, expected), "the download from {target}");
    }
    let printed = director.stop().output.stdout;
    assert!(!printed.contains("dropped:"), "{printed}");
}

#[test]
fn frames_with_one_tag_carry_the_same_traffic() {
    // VLAN 5 with priority 3, which belongs to the frame and not to the VLAN.
    tagged_traffic_is_served(&[(DOT1Q, 0x6005)], "vlan 5 ");
}

#[test]
fn frames_with_two_tags_carry_the_same_traffic() {
    tagged_traffic_is_served(&[(DOT1AD, 7), (DOT1Q, 0x6005)], "vlan 7 vlan 5 ");
}

#[test]
fn a_real_server_that_is_not_there_in_the_vlan_is_host_unreachable() {
    let tagged = Tagged::new(1, &[(DOT1Q, 5)]);
    let net = &tagged.net;
    let [four, six] = vips(net);
    let text = format!(
        "-A -t {four}\n-a -t {four} -r 10.77.0.99\n-A -t {six}\n-a -t {six} -r [fd77::99]:80\n"
    );
    let _director = tagged.start(&text);
    vips(net).iter().for_each(|target| wait_until_unreachable(net, *target));
}
