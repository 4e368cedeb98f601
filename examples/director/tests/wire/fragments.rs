//! Datagrams that are longer than the link: they come in fragments, and the server must get them whole.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use lvs_testnet::{Host, Net, UdpEcho};

use crate::director::{Director, PATIENCE, rules, servers4, servers6};
use crate::far::Far;

/// Bytes of a datagram: three fragments on a link of 1500, and six.
const LENGTHS: [usize; 2] = [4000, 8000];
const PORT: u16 = 53;
/// EMSGSIZE of Linux.
const MESSAGE_TOO_LONG: i32 = 90;

fn datagram(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 256) as u8).collect()
}

/// Sends a datagram, and returns the server that sent it back, whole.
#[track_caller]
fn echoed(client: &Host, target: SocketAddr, len: usize) -> String {
    let sent = datagram(len);
    let answer = client.enter(|| -> io::Result<Vec<u8>> {
        let any: IpAddr = if target.is_ipv4() { [0; 4].into() } else { [0u8; 16].into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(target)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            socket.send(&sent)?;
            match socket.recv(&mut buffer) {
                Ok(len) => return Ok(buffer[..len].to_vec()),
                // The path's MTU was told, and is known from now on.
                Err(error) if error.raw_os_error() == Some(MESSAGE_TOO_LONG) => {}
                Err(error) => return Err(error),
            }
        }
    });
    let answer = answer.unwrap_or_else(|error| panic!("{len} bytes to {target}: {error}"));
    let colon = answer.iter().position(|byte| *byte == b':').expect("a name and a colon");
    assert!(answer[colon + 1..] == sent, "{len} bytes to {target} came back changed");
    String::from_utf8_lossy(&answer[..colon]).into_owned()
}

#[test]
fn datagrams_in_fragments_are_shared_by_the_servers_and_answered_whole() {
    let net = Net::two_armed(2);
    let vips = [net.vip4(0), net.vip6(0)].map(|vip| SocketAddr::new(vip, PORT));
    let _servers: Vec<UdpEcho> =
        net.servers().iter().flat_map(|host| vips.map(|vip| UdpEcho::start(host, vip))).collect();
    let text = rules(&format!("-u {} -s rr", vips[0]), servers4(&net))
        + &rules(&format!("-u {} -s rr", vips[1]), servers6(&net));
    let director = Director::start(&net, &text);
    for vip in vips {
        for len in LENGTHS {
            let names = [0; 2].map(|_| echoed(net.client(), vip, len));
            assert_eq!(names, ["server2", "server1"], "{len} bytes to {vip}");
        }
    }
    let totals = director.stop().totals;
    // Each datagram counts once, with its whole length.
    assert_eq!((totals.connections, totals.packets_in), (8, 8));
    assert_eq!(totals.bytes_in, 4 * (4000 + 8000) + 4 * 28 + 4 * 48);
}

#[test]
fn a_masqueraded_servers_fragments_come_back_from_the_virtual_address() {
    let net = Net::two_armed(1);
    let (vip, server) = (net.vip4(0), net.server4(0));
    // Its answers must pass the director.
    net.servers()[0].ip("route replace default via 10.77.2.1");
    let _server = UdpEcho::start(&net.servers()[0], SocketAddr::new(server, 5353));
    let text = format!("-A -u {vip}:{PORT} -s rr\n-a -u {vip}:{PORT} -r {server}:5353 -m\n");
    let director = Director::start(&net, &text);
    for len in LENGTHS {
        assert_eq!(echoed(net.client(), SocketAddr::new(vip, PORT), len), "server1");
    }
    assert_eq!(director.stop().totals.packets_in, 2);
}

#[test]
fn datagrams_in_fragments_arrive_whole_through_tunnels_of_both_families() {
    let far = Far::new(1);
    let vips = [far.vip4(), far.vip6()];
    let options = ["--tun", "ipip,gue,gre"];
    let made = far.make_real_servers(
        &[&options[..], &far.directors().each_ref().map(String::as_str)].concat(),
    );
    let _servers = vips.map(|vip| UdpEcho::start(&far.servers[0], SocketAddr::new(vip, PORT)));
    for vip in vips {
        for server in [far.server4(0), far.server6(0)] {
            for kind in ["-i", "-i --tun-type gue --tun-port 6080", "-i --tun-type gre"] {
                let (virt, server) = (SocketAddr::new(vip, PORT), SocketAddr::new(server, PORT));
                let text = format!("-A -u {virt} -s rr\n-a -u {virt} -r {server} {kind}\n");
                let arms = ["--interface", "eth0", "--interface", "eth1"];
                let director = Director::start_on(&far.director, &text, &arms);
                for len in LENGTHS {
                    echoed(&far.client, virt, len);
                }
                // Of IPv6 also those that were too big for the tunnel.
                let totals = director.stop().totals;
                assert!(totals.packets_in >= 2, "{kind} to {server}: {totals:?}");
            }
        }
    }
    for server in made {
        server.stop();
    }
}
