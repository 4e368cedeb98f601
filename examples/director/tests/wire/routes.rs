//! Where a director finds the way to real servers that are on none of its links.

use std::net::SocketAddr;

use lvs_testnet::{HttpServer, http, require};

use crate::director::{Director, PATIENCE, PROGRAM, RulesFile, wait_until};
use crate::far::Far;

/// A real server behind two routers, and a director with options.
struct Routed {
    far: Far,
    _http: HttpServer,
    _made: Vec<crate::far::RealServer>,
    rules: String,
    target: SocketAddr,
}

impl Routed {
    fn new() -> Routed {
        let far = Far::new(1);
        let target = SocketAddr::new(far.vip4(), 80);
        let server = far.server4(0);
        let http = HttpServer::start(&far.servers[0], 80);
        let made = far.make_real_servers(&["--tun", "ipip"]);
        let rules = format!("-A -t {target} -s rr\n-a -t {target} -r {server}:80 -i\n");
        Routed { far, _http: http, _made: made, rules, target }
    }

    fn start(&self, options: &[&str]) -> Director {
        let arms = ["--interface", "eth0", "--interface", "eth1"];
        Director::start_on(&self.far.director, &self.rules, &[&arms[..], options].concat())
    }

    fn page(&self) -> std::io::Result<String> {
        self.far.client.enter(|| http::fetch(self.target, "/").map(|page| page.body))
    }

    fn serves(&self) -> bool {
        self.page().is_ok_and(|body| body.trim_end() == "server1")
    }
}

#[test]
fn a_director_follows_the_routes_of_its_host_as_they_come_and_go() {
    require(&["ip"]);
    let routed = Routed::new();
    routed.far.director.ip("route del 10.80.11.0/24");
    let director = routed.start(&[]);
    assert!(!routed.serves());
    routed.far.director.ip("route add 10.80.0.0/16 via 10.80.2.2");
    wait_until("the new route is taken", || routed.serves());
    routed.far.director.ip("route del 10.80.0.0/16");
    wait_until("the route is given up", || !routed.serves());
    director.stop();
}

#[test]
fn a_directors_own_route_needs_none_of_the_host_and_goes_before_it() {
    let routed = Routed::new();
    // The host's leads nowhere.
    routed.far.director.ip("route replace 10.80.11.0/24 via 10.80.2.77");
    let director = routed.start(&["--route", "10.80.11.0/24 via 10.80.2.2"]);
    assert_eq!(routed.page().unwrap().trim_end(), "server1");
    director.stop();
    routed.far.director.ip("route del 10.80.11.0/24");
    let own = ["--routes", "none", "--route", "10.80.11.2 via 10.80.2.2 dev eth1"];
    let director = routed.start(&own);
    assert_eq!(routed.page().unwrap().trim_end(), "server1");
    director.stop();
}

#[test]
fn without_the_hosts_routes_a_server_behind_a_gateway_is_unreachable() {
    let routed = Routed::new();
    let director = routed.start(&["--routes", "none"]);
    let error = routed.page().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::HostUnreachable, "{error}");
    director.stop();
}

#[test]
fn a_route_that_leads_nowhere_is_refused_at_the_start() {
    let routed = Routed::new();
    let file = RulesFile::new(&routed.rules);
    for (route, wanted) in [
        ("10.80.11.0/24 via 192.0.2.1", "name the interface: `dev NAME`"),
        ("10.80.11.0/24 dev eth7", "eth7 is no interface of this director's; it has eth1"),
        ("10.80.11.0/24", "PREFIX via GATEWAY"),
    ] {
        let command =
            [PROGRAM, "run", "--rules", file.path(), "--interface", "eth1", "--route", route];
        let output = routed.far.director.start(&command).finish(PATIENCE);
        assert!(!output.status.success());
        assert!(output.stderr.contains(wanted), "{}", output.stderr);
    }
}
