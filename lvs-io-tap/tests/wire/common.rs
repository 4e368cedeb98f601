//! A director between two hosts: its TAP devices `d0` and `d1` are ports of bridges, and so are the links to
//! the hosts `left` and `right`.
//!
//! ```text
//!  left l0 ── v0 [br0] d0 ══ director ══ d1 [br1] v1 ── r0 right
//! ```

use std::time::Duration;

use lvs_core::addr::MacAddr;
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, Verdict};
use lvs_io_tap::{Builder, Device, Event, Tap};
use lvs_testnet::backend::{experiment, told};
use lvs_testnet::{Host, require};

pub(crate) const LEFT: PortId = PortId(0);
pub(crate) const RIGHT: PortId = PortId(1);

pub(crate) struct Lab {
    pub(crate) left: Host,
    pub(crate) director: Host,
    pub(crate) right: Host,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        require(&["ip", "tc"]);
        let lab = Lab {
            left: Host::new("left"),
            director: Host::new("director"),
            right: Host::new("right"),
        };
        for (host, there, number) in [(&lab.left, "l0", 0), (&lab.right, "r0", 1)] {
            let director = &lab.director;
            director.ip(&format!(
                "link add br{number} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
            ));
            // The kernel's own IPv6 would chat.
            for interface in ["all", "default", &format!("br{number}")] {
                director.set_sysctl(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1");
            }
            let namespace = director.namespace_path().display();
            host.ip(&format!("link add {there} type veth peer name v{number} netns {namespace}"));
            host.set_sysctl(&format!("net/ipv6/conf/{there}/disable_ipv6"), "1");
            host.ip(&format!("link set {there} up"));
            director.ip(&format!("link set v{number} master br{number} up"));
            director.ip(&format!("link set br{number} up"));
        }
        lab
    }

    pub(crate) fn open(&self) -> Tap {
        self.open_with(|device| device, |builder| builder)
    }

    pub(crate) fn open_with(
        &self,
        set_device: impl Fn(Device) -> Device,
        set: impl FnOnce(Builder) -> Builder,
    ) -> Tap {
        let device = |number: u8| {
            set_device(Device::new(format!("d{number}")).bridge(format!("br{number}")))
        };
        let builder = set(Tap::builder().port(device(0)).port(device(1)));
        let io = self.director.enter(|| builder.build()).unwrap();
        self.wait_until_forwarding();
        io
    }

    /// The kernel reports the carrier of a new link up to a second late; until then a bridge port does not
    /// forward.
    pub(crate) fn wait_until_forwarding(&self) {
        for _ in 0..1_000 {
            let ports = self.director.ip("-o -d link show");
            if ports.matches("state forwarding").count() == 4 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the bridges do not forward:\n{}", self.director.ip("-d link show"));
    }

    pub(crate) fn tc(&self, arguments: &str) {
        let words: Vec<&str> = ["tc"].into_iter().chain(arguments.split_whitespace()).collect();
        self.director.run(&words).expect_success();
    }
}

/// The address of the station that the director is on a port.
pub(crate) fn mac(port: PortId) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0xd, port.0 as u8])
}

/// Waits until an event is told.
pub(crate) fn next_event(io: &mut Tap) -> Event {
    told(io, Tap::next_event)
}

/// By the other port.
pub(crate) fn across(frame: &mut Frame<'_>) -> Verdict {
    Verdict::Transmit(if frame.port() == LEFT { RIGHT } else { LEFT })
}

/// A frame for experiments.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    experiment(mac(LEFT).0, payload)
}

/// A UDP datagram to 10.0.0.`host` of `len` bytes in all, its checksum left to others. The IP header's is
/// right: bridges may look at it.
pub(crate) fn datagram(host: u8, len: usize) -> Vec<u8> {
    let mut frame = frame(&vec![0; len - 14]);
    let [high, low] = ((len - 14) as u16).to_be_bytes();
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14..34].copy_from_slice(&[
        0x45, 0, high, low, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, host,
    ]);
    let words =
        frame[14..34].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame[38..40].copy_from_slice(&((len - 34) as u16).to_be_bytes());
    frame
}
