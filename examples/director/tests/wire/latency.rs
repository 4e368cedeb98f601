//! How long a lone request takes to a real server and back, printed beside the kernel's own forwarding of the same
//! run; nothing is asserted about time. In figures that mean something:
//!
//! ```sh
//! cargo test --release -p lvs-director --test wire latency -- --nocapture
//! ```
//!
//! On a 2-core virtual machine that does nothing else: 115 µs over AF_PACKET and 113 µs over TAP, where kernel
//! forwarding takes 9 µs (medians). Nearly all of it is waking a processor that slept: where the cores are busy with
//! other work, and awake, it was 72 µs where kernel forwarding took 45 µs.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use lvs_testnet::{Net, UdpEcho};

use crate::director::{Director, wait_until};
use crate::tap;

const REQUESTS: usize = 500;
/// Between two requests, so that each is alone.
const PAUSE: Duration = Duration::from_millis(2);
/// How long one may take on a machine that is busy.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long each of some requests took, in order.
fn round_trips(net: &Net, target: SocketAddr) -> Vec<Duration> {
    let ask = || {
        let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("a port is free");
        socket.set_read_timeout(Some(TIMEOUT)).expect("a timeout can be set");
        socket.connect(target).expect("there is a route");
        let mut times = Vec::with_capacity(REQUESTS);
        while times.len() < REQUESTS {
            thread::sleep(PAUSE);
            let started = Instant::now();
            // A refused or lost datagram is sent again: neighbours are only just being learned.
            if socket.send(b"there").and_then(|_| socket.recv(&mut [0; 64])).is_ok() {
                times.push(started.elapsed());
            }
        }
        times.sort_unstable();
        times
    };
    wait_until(&format!("an answer of {target}"), || {
        net.client().enter(|| {
            let socket = UdpSocket::bind(("0.0.0.0", 0)).expect("a port is free");
            socket.set_read_timeout(Some(Duration::from_millis(200))).expect("it can be set");
            let asked = socket.connect(target).and_then(|()| socket.send(b"there"));
            asked.and_then(|_| socket.recv(&mut [0; 64])).is_ok()
        })
    });
    net.client().enter(ask)
}

/// The service in the director's rules, and the server behind it.
fn service(net: &Net) -> (SocketAddr, String) {
    let (vip, server) = (net.vip4(0), net.server4(0));
    (SocketAddr::new(vip, 53), format!("-A -u {vip}:53 -s rr\n-a -u {vip}:53 -r {server}:53 -g\n"))
}

#[test]
fn a_lone_request_is_timed_through_the_director_and_through_the_kernel() {
    let mut lines = Vec::new();
    let net = Net::two_armed(1);
    let _vip = UdpEcho::start(&net.servers()[0], SocketAddr::new(net.vip4(0), 53));
    let (target, rules) = service(&net);
    let director = Director::start(&net, &rules);
    lines.push(("lvs over AF_PACKET", round_trips(&net, target)));
    director.stop();
    // The same way there and back, the director's host being a router.
    let direct = SocketAddr::new(net.server4(0), 53);
    let _own = UdpEcho::start(&net.servers()[0], direct);
    net.client().ip(&format!("route add {} via {}", direct.ip(), net.director4()));
    lines.push(("kernel forwarding", round_trips(&net, direct)));

    let net = Net::two_armed(1);
    let _vip = UdpEcho::start(&net.servers()[0], SocketAddr::new(net.vip4(0), 53));
    let (target, rules) = service(&net);
    let director = tap::start_between_bridges(&net, &rules);
    lines.push(("lvs over TAP, between bridges", round_trips(&net, target)));
    director.stop();

    println!("a lone request and its answer, median and 99th percentile:");
    for (name, times) in lines {
        println!("  {name}: {:?}, {:?}", times[REQUESTS / 2], times[REQUESTS * 99 / 100]);
    }
}
