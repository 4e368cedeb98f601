//! A director between two hosts: `left` on its first port, `right` on its second, each over a veth pair
//! with the kernel's default offloads.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;

use lvs_core::addr::MacAddr;
use lvs_core::ids::PortId;
use lvs_core::io::{Checksum, Frame, FrameIo, Verdict};
use lvs_io_afpacket::{AfPacket, Builder, Event};
use lvs_testnet::backend::{experiment, nudge, told};
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
        lab.connect(&lab.left, "l0", "d0");
        lab.connect(&lab.right, "r0", "d1");
        lab
    }

    /// A veth pair from `host` to the director.
    pub(crate) fn connect(&self, host: &Host, there: &str, here: &str) {
        let namespace = self.director.namespace_path().display();
        host.ip(&format!("link add {there} type veth peer name {here} netns {namespace}"));
        host.ip(&format!("link set {there} up"));
        self.director.ip(&format!("link set {here} up"));
    }

    pub(crate) fn open(&self) -> AfPacket {
        self.open_with(|builder| builder)
    }

    pub(crate) fn open_with(&self, set: impl FnOnce(Builder) -> Builder + Send) -> AfPacket {
        let builder = set(AfPacket::builder().port("d0").port("d1"));
        self.director.enter(|| builder.build()).unwrap()
    }

    pub(crate) fn mac(&self, interface: &str) -> MacAddr {
        let host = match interface {
            "l0" => &self.left,
            "r0" => &self.right,
            _ => &self.director,
        };
        MacAddr(host.mac(interface))
    }

    /// Gives both sides an address of one subnet, each the director's port as the other's neighbour.
    pub(crate) fn add_addresses(&self) {
        for (host, interface, own, other, port) in
            [(&self.left, "l0", 1, 2, "d0"), (&self.right, "r0", 2, 1, "d1")]
        {
            host.add_address(interface, &format!("10.1.0.{own}/24"));
            host.add_address(interface, &format!("fd01::{own}/64"));
            let mac = self.mac(port);
            host.ip(&format!("neigh replace 10.1.0.{other} lladdr {mac} dev {interface}"));
            host.ip(&format!("neigh replace fd01::{other} lladdr {mac} dev {interface}"));
        }
    }
}

/// A frame for experiments.
pub(crate) fn frame(to: MacAddr, payload: &[u8]) -> Vec<u8> {
    experiment(to.0, payload)
}

/// Waits until an event is told.
pub(crate) fn next_event(io: &mut AfPacket) -> Event {
    told(io, AfPacket::next_event)
}

/// What a [`Forwarder`] saw of the frames that it forwarded.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Seen {
    pub(crate) frames: u64,
    pub(crate) super_frames: u64,
    pub(crate) unfinished: u64,
    pub(crate) unsent: u64,
    pub(crate) bursts: u64,
}

/// Forwards every frame between the two sides in a thread of its own, as a router would: with new MAC
/// addresses.
pub(crate) struct Forwarder<'scope> {
    stop: &'scope AtomicBool,
    wake: OwnedFd,
    thread: Option<ScopedJoinHandle<'scope, (AfPacket, Seen)>>,
}

impl<'scope> Forwarder<'scope> {
    pub(crate) fn start(
        lab: &'scope Lab,
        stop: &'scope AtomicBool,
        scope: &'scope std::thread::Scope<'scope, '_>,
    ) -> Forwarder<'scope> {
        let (wake, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut io = lab.open_with(|builder| builder.wake_fd(theirs.into()));
        // By the port that a frame came in by: where to, from where.
        let macs = [[lab.mac("r0"), lab.mac("d1")], [lab.mac("l0"), lab.mac("d0")]];
        let thread = scope.spawn(move || {
            lab.director.enter(move || {
                let mut seen = Seen::default();
                while !stop.load(Ordering::Relaxed) {
                    io.wait(None).unwrap();
                    let report = io.exchange(&mut |burst| forward(burst, &macs, &mut seen));
                    seen.unsent += u64::from(report.unwrap().unsent);
                }
                (io, seen)
            })
        });
        Forwarder { stop, wake: wake.into(), thread: Some(thread) }
    }

    pub(crate) fn stop(mut self) -> (AfPacket, Seen) {
        self.tell_to_stop();
        let thread = self.thread.take().expect("only taken here");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn tell_to_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        nudge(&self.wake);
    }
}

/// A test that fails must not wait for its forwarder without end.
impl Drop for Forwarder<'_> {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.tell_to_stop();
        }
    }
}

fn forward(burst: &mut [Frame<'_>], macs: &[[MacAddr; 2]; 2], seen: &mut Seen) {
    seen.bursts += 1;
    for frame in burst {
        seen.frames += 1;
        seen.super_frames += u64::from(frame.offload.segments.is_some());
        seen.unfinished += u64::from(matches!(frame.offload.checksum, Checksum::Partial { .. }));
        let [to, from] = macs[frame.port().index()];
        let bytes = frame.bytes_mut();
        if bytes[0] & 1 == 1 {
            // Multicast of the hosts' own IPv6.
            continue;
        }
        bytes[..6].copy_from_slice(&to.0);
        bytes[6..12].copy_from_slice(&from.0);
        frame.verdict = Verdict::Transmit(if frame.port() == LEFT { RIGHT } else { LEFT });
    }
}
