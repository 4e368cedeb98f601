//! Who forwards, and the loops that do it without deciding anything: new MAC addresses, from `d0` to `d1`.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use lvs_core::ids::PortId;
use lvs_core::io::{FrameIo, Verdict};
use lvs_io_afpacket::AfPacket;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType, bind,
    recvmmsg, sendmmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use pnet::datalink;

/// Frames of a system call.
const BATCH: usize = 64;
const FRAME_LEN_MAX: usize = 2048;
/// How often a loop without frames looks whether it should end.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of a receive buffer.
const BUFFER: usize = 32 << 20;

/// Who forwards, in the order of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Forwarder {
    /// Frames end at the entrance.
    Nobody,
    /// The kernel, as a router.
    Kernel,
    /// `lvs-director run`.
    Director,
    /// The I/O backend of the director, and nothing behind it.
    Backend,
    /// `recvmmsg` and `sendmmsg`.
    Messages,
    /// pnet's `datalink` as it comes: one system call for each frame and direction.
    Pnet,
}

impl Forwarder {
    pub(crate) const ALL: [Forwarder; 6] = [
        Forwarder::Nobody,
        Forwarder::Kernel,
        Forwarder::Director,
        Forwarder::Backend,
        Forwarder::Messages,
        Forwarder::Pnet,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Forwarder::Nobody => "generator alone",
            Forwarder::Kernel => "kernel forwarding",
            Forwarder::Director => "lvs-director run",
            Forwarder::Backend => "lvs-io-afpacket, nothing decided",
            Forwarder::Messages => "bare loop of recvmmsg and sendmmsg",
            Forwarder::Pnet => "bare loop of pnet::datalink",
        }
    }

    /// The most frames on the way to it, fewer than its buffer holds.
    pub(crate) fn window(self) -> u64 {
        match self {
            Forwarder::Nobody => 0,
            // The system's default buffer holds some 270 small frames.
            Forwarder::Pnet => 128,
            _ => 1_024,
        }
    }

    /// Bursts that are sent before the generator looks what has arrived.
    pub(crate) fn bursts(self) -> usize {
        if self == Forwarder::Pnet { 2 } else { 8 }
    }
}

/// The new MAC addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Macs {
    pub(crate) to: [u8; 6],
    pub(crate) from: [u8; 6],
}

impl Macs {
    /// Writes them if it is a frame to be forwarded: IPv4, not a broadcast.
    fn write(self, frame: &mut [u8]) -> bool {
        if frame.get(12..14) != Some(&[8, 0]) || frame[0] & 1 == 1 {
            return false;
        }
        frame[..6].copy_from_slice(&self.to);
        frame[6..12].copy_from_slice(&self.from);
        true
    }
}

/// The director's backend alone.
pub(crate) fn backend(macs: Macs, stop: &AtomicBool, ready: &Sender<()>) {
    let mut io = AfPacket::builder().port("d0").port("d1").build().expect("both ports open");
    ready.send(()).expect("somebody waits");
    while !stop.load(Ordering::Relaxed) {
        io.wait(Some(LOOK)).expect("the ports are there");
        let exchanged = io.exchange(&mut |burst| {
            for frame in burst {
                if macs.write(frame.bytes_mut()) {
                    frame.verdict = Verdict::Transmit(PortId(1));
                }
            }
        });
        exchanged.expect("the ports are there");
    }
}

/// Many frames with each system call, and no ring.
pub(crate) fn messages(macs: Macs, stop: &AtomicBool, ready: &Sender<()>) {
    let input = packet_socket("d0", Some(SockProtocol::EthAll));
    let output = packet_socket("d1", None);
    setsockopt(&input, sockopt::RcvBufForce, &BUFFER).expect("root may have a great buffer");
    let look = TimeVal::new(0, LOOK.as_micros() as i64);
    setsockopt(&input, sockopt::ReceiveTimeout, &look).expect("a timeout can be set");
    ready.send(()).expect("somebody waits");
    let mut memory = vec![[0; FRAME_LEN_MAX]; BATCH];
    let mut lengths = [0; BATCH];
    while !stop.load(Ordering::Relaxed) {
        let count = {
            let mut headers = MultiHeaders::<LinkAddr>::preallocate(BATCH, None);
            let mut parts: Vec<_> =
                memory.iter_mut().map(|frame| [IoSliceMut::new(frame)]).collect();
            let flags = MsgFlags::MSG_WAITFORONE;
            match recvmmsg(input.as_raw_fd(), &mut headers, parts.iter_mut(), flags, None) {
                Ok(received) => {
                    let taken = received.zip(&mut lengths);
                    taken.map(|(message, len)| *len = message.bytes).count()
                }
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(error) => panic!("recvmmsg: {error}"),
            }
        };
        let frames = memory.iter_mut().zip(&lengths).take(count);
        let parts: Vec<_> = frames
            .filter_map(|(frame, &len)| {
                macs.write(&mut frame[..len]).then_some([IoSlice::new(&frame[..len])])
            })
            .collect();
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(BATCH, None);
        let nowhere: [Option<LinkAddr>; BATCH] = [None; BATCH];
        let fd = output.as_raw_fd();
        sendmmsg(fd, &mut headers, &parts, nowhere, [], MsgFlags::empty()).expect("sendmmsg");
    }
}

/// A packet socket on an interface; without a protocol it receives nothing.
fn packet_socket(interface: &str, protocol: Option<SockProtocol>) -> OwnedFd {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol);
    let socket = socket.expect("root may open packet sockets");
    let addresses = getifaddrs().expect("there are interfaces");
    let address = addresses
        .filter(|found| found.interface_name == interface)
        .find_map(|found| found.address?.as_link_addr().copied())
        .unwrap_or_else(|| panic!("{interface} is missing"));
    bind(socket.as_raw_fd(), &address).expect("a socket can be bound");
    socket
}

/// pnet's channels.
pub(crate) fn pnet(macs: Macs, stop: &AtomicBool, ready: &Sender<()>) {
    let interfaces = datalink::interfaces();
    let open = |name: &str| {
        let interface = interfaces.iter().find(|interface| interface.name == name);
        let interface = interface.unwrap_or_else(|| panic!("{name} is missing"));
        let config = datalink::Config { read_timeout: Some(LOOK), ..Default::default() };
        match datalink::channel(interface, config) {
            Ok(datalink::Channel::Ethernet(out, input)) => (out, input),
            Ok(_) => panic!("{name} is no Ethernet"),
            Err(error) => panic!("{name}: {error}"),
        }
    };
    let (_, mut input) = open("d0");
    let (mut out, _unread) = open("d1");
    ready.send(()).expect("somebody waits");
    let mut copy = [0; FRAME_LEN_MAX];
    while !stop.load(Ordering::Relaxed) {
        // An error is the timeout.
        let Ok(frame) = input.next() else { continue };
        let Some(copy) = copy.get_mut(..frame.len()) else { continue };
        copy.copy_from_slice(frame);
        if macs.write(copy) {
            out.send_to(copy, None).expect("pnet takes it").expect("pnet sends");
        }
    }
}
