//! The backend keeps the contract of `FrameIo`.

use std::time::{Duration, Instant};

use lvs_core::addr::MacAddr;
use lvs_core::ids::PortId;
use lvs_core::io::Offload;
use lvs_core::io::conformance::peer::{checksum_of, virtio_header};
use lvs_core::io::conformance::{self, Harness, PeerFrame};
use lvs_io_tap::{Builder, Device, Tap};
use lvs_testnet::OffloadSocket;

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
        self.peers[port.index()].send(&virtio_header(&offload), frame);
    }

    fn peer_receive(&mut self, port: PortId, at_least: usize) -> Vec<PeerFrame> {
        let deadline = Instant::now() + Duration::from_secs(3);
        let mut frames = Vec::new();
        loop {
            let is_enough = frames.len() >= at_least || Instant::now() >= deadline;
            let timeout = Duration::from_millis(if is_enough { 20 } else { 500 });
            match self.peers[port.index()].receive(timeout) {
                // What the peer sent itself, and frames of the hosts' own.
                Some((_, seen)) if seen.outgoing || seen.bytes[12..14] == [0x86, 0xdd] => {}
                Some((header, seen)) => {
                    let offload = Offload { checksum: checksum_of(&header), segments: None };
                    frames.push(PeerFrame { bytes: seen.bytes, offload });
                }
                None if is_enough => return frames,
                None => {}
            }
        }
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
