//! The backend keeps the contract of `FrameIo`, on veth with default offloads.

use crate::common::{LEFT, Lab};
use lvs_core::addr::MacAddr;
use lvs_core::ids::PortId;
use lvs_core::io::Offload;
use lvs_core::io::conformance::{self, Harness, PeerFrame};
use lvs_io_afpacket::{AfPacket, Builder};
use lvs_testnet::{OffloadSocket, backend};

struct Veth {
    lab: Lab,
    io: AfPacket,
    peers: [OffloadSocket; 2],
}

impl Veth {
    fn new(set: impl FnOnce(Builder) -> Builder + Send) -> Veth {
        let lab = Lab::new();
        let io = lab.open_with(set);
        let peers = [OffloadSocket::open(&lab.left, "l0"), OffloadSocket::open(&lab.right, "r0")];
        Veth { lab, io, peers }
    }
}

impl Harness for Veth {
    type Io = AfPacket;

    fn io(&mut self) -> &mut AfPacket {
        &mut self.io
    }

    fn mac(&self, port: PortId) -> MacAddr {
        self.lab.mac(if port == LEFT { "d0" } else { "d1" })
    }

    fn peer_send(&mut self, port: PortId, frame: &[u8], offload: Offload) {
        backend::peer_send(&self.peers[port.index()], frame, offload);
    }

    fn peer_receive(&mut self, port: PortId, at_least: usize) -> Vec<PeerFrame> {
        backend::peer_receive(&mut self.peers[port.index()], at_least)
    }

    fn clog(&mut self, _port: PortId) {
        let shaper = "qdisc replace dev d1 root tbf rate 8kbit burst 1600 limit 3000";
        tc(&self.lab, shaper);
    }

    fn unclog(&mut self, _port: PortId) {
        tc(&self.lab, "qdisc del dev d1 root");
    }

    fn refused_len(&self) -> usize {
        // Beyond the MTU of 1,500 bytes, an Ethernet header and a tag.
        1_600
    }
}

fn tc(lab: &Lab, arguments: &str) {
    let words: Vec<&str> = ["tc"].into_iter().chain(arguments.split_whitespace()).collect();
    lab.director.run(&words).expect_success();
}

#[test]
fn the_backend_keeps_the_contract() {
    conformance::run(&mut || Veth::new(|builder| builder));
}

#[test]
fn it_keeps_the_contract_with_small_bursts_and_a_small_ring() {
    conformance::run(&mut || Veth::new(|builder| builder.burst_max(5).ring_bytes(512 * 1024)));
}
