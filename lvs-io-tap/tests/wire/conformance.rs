//! The backend keeps the contract of `FrameIo`.

use lvs_core::addr::MacAddr;
use lvs_core::ids::PortId;
use lvs_core::io::Offload;
use lvs_core::io::conformance::{self, Harness, PeerFrame};
use lvs_io_tap::{Builder, Device, Tap};
use lvs_testnet::{OffloadSocket, backend};

use crate::common::{Lab, mac};

/// A dozen frames of 1,000 bytes.
const SEND_BUFFER: usize = 25_000;

struct Bridged {
    lab: Lab,
    io: Tap,
    peers: [OffloadSocket; 2],
}

impl Bridged {
    fn new(set_device: impl Fn(Device) -> Device, set: impl FnOnce(Builder) -> Builder) -> Bridged {
        let lab = Lab::new();
        let io = lab.open_with(|device| set_device(device.send_buffer(SEND_BUFFER)), set);
        let peers = [OffloadSocket::open(&lab.left, "l0"), OffloadSocket::open(&lab.right, "r0")];
        Bridged { lab, io, peers }
    }
}

impl Harness for Bridged {
    type Io = Tap;

    fn io(&mut self) -> &mut Tap {
        &mut self.io
    }

    fn mac(&self, port: PortId) -> MacAddr {
        mac(port)
    }

    fn peer_send(&mut self, port: PortId, frame: &[u8], offload: Offload) {
        backend::peer_send(&self.peers[port.index()], frame, offload);
    }

    fn peer_receive(&mut self, port: PortId, at_least: usize) -> Vec<PeerFrame> {
        backend::peer_receive(&mut self.peers[port.index()], at_least)
    }

    fn clog(&mut self, _port: PortId) {
        // What waits here counts for the device's send buffer.
        self.lab.tc("qdisc replace dev v1 root tbf rate 8kbit burst 1600 limit 1000000");
    }

    fn unclog(&mut self, _port: PortId) {
        self.lab.tc("qdisc del dev v1 root");
    }

    fn refused_len(&self) -> usize {
        // Beyond the MTU of 1,500 bytes, an Ethernet header and a tag.
        1_600
    }
}

#[test]
fn the_backend_keeps_the_contract() {
    conformance::run(&mut || Bridged::new(|device| device, |builder| builder));
}

#[test]
fn it_keeps_the_contract_with_small_bursts() {
    conformance::run(&mut || Bridged::new(|device| device, |builder| builder.burst_max(5)));
}
