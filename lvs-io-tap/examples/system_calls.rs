//! Which system calls move frames over a TAP device fastest: `read` and `write`, `readv` and `writev`, or
//! io_uring. As root:
//!
//! ```sh
//! cargo run --release -p lvs-io-tap --example system_calls
//! ```
//!
//! Bursts of 32 frames, in a network namespace of its own where nobody takes them; the kinds take turns in one
//! run, and the median of each is printed with its ratio to `write` or `read`. Absolute figures differ
//! between machines.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, squeue, types};
use lvs_testnet::{Host, PacketSocket};

#[path = "../src/sys.rs"]
#[expect(dead_code, reason = "of the crate's system calls this needs those that open a device")]
mod sys;

const BURST: usize = 32;
const ROUNDS: usize = 4_000;
/// Bytes of the virtio-net header.
const HEADER_LEN: usize = 10;
/// Frames that the packet socket sends are no longer than the MTU allows.
const SENT_LEN_MAX: usize = 1_514;

fn main() {
    let host = Host::new("system-calls");
    host.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    for (number, len) in [64, SENT_LEN_MAX, 60_000].into_iter().enumerate() {
        let name = format!("tap{number}");
        let fd = host.enter(|| open(&name));
        host.ip(&format!("link set {name} up"));
        let sender = PacketSocket::open(&host, &name);
        println!("{len} bytes:");
        report(&Bench::new(fd, sender, len).run());
    }
}

/// Opens a device with a virtio-net header, as the crate does.
fn open(name: &str) -> OwnedFd {
    let fd = sys::open_clone_device().expect("root and /dev/net/tun are needed");
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    sys::attach(fd.as_fd(), name, flags).expect("root is needed");
    sys::set_by_value(fd.as_fd(), libc::TUNSETOFFLOAD, libc::TUN_F_CSUM.into())
        .expect("the device takes unfinished checksums");
    fd
}

/// What is measured, with the durations of its bursts.
type Line = (&'static str, Vec<Duration>);

struct Bench {
    fd: OwnedFd,
    ring: IoUring,
    sender: PacketSocket,
    /// Header and frame.
    frame: Vec<u8>,
    buffers: Vec<Vec<u8>>,
}

impl Bench {
    fn new(fd: OwnedFd, sender: PacketSocket, len: usize) -> Bench {
        let mut frame = vec![0; HEADER_LEN + len];
        let ethernet = [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xb5];
        frame[HEADER_LEN..HEADER_LEN + 14].copy_from_slice(&ethernet);
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .build(BURST as u32)
            .expect("io_uring is allowed here (Linux 6.0)");
        ring.submitter().register_files(&[fd.as_raw_fd()]).expect("a descriptor can be registered");
        Bench { fd, ring, sender, frame, buffers: vec![vec![0; 65_700]; BURST] }
    }

    fn run(mut self) -> [Line; 6] {
        let mut lines = ["write", "writev", "io_uring write", "read", "readv", "io_uring read"]
            .map(|name| (name, Vec::with_capacity(ROUNDS)));
        for _ in 0..ROUNDS {
            for (kind, (_, times)) in lines.iter_mut().enumerate() {
                if kind >= 3 {
                    self.fill_queue();
                }
                let started = Instant::now();
                match kind {
                    0 => self.write(),
                    1 => self.write_vectored(),
                    3 => self.read(),
                    4 => self.read_vectored(),
                    _ => self.submit(kind == 5),
                }
                times.push(started.elapsed());
            }
        }
        lines
    }

    fn fill_queue(&self) {
        let end = self.frame.len().min(HEADER_LEN + SENT_LEN_MAX);
        (0..BURST).for_each(|_| self.sender.send(&self.frame[HEADER_LEN..end]));
    }

    fn write(&self) {
        for _ in 0..BURST {
            rustix::io::write(&self.fd, &self.frame).expect("the device is up");
        }
    }

    fn write_vectored(&self) {
        let (header, frame) = self.frame.split_at(HEADER_LEN);
        for _ in 0..BURST {
            let parts = [IoSlice::new(header), IoSlice::new(frame)];
            rustix::io::writev(&self.fd, &parts).expect("the device is up");
        }
    }

    fn read(&mut self) {
        for buffer in &mut self.buffers {
            rustix::io::read(&self.fd, &mut buffer[..]).expect("a frame waits");
        }
    }

    fn read_vectored(&mut self) {
        for buffer in &mut self.buffers {
            let (header, frame) = buffer.split_at_mut(HEADER_LEN);
            let mut parts = [IoSliceMut::new(header), IoSliceMut::new(frame)];
            rustix::io::readv(&self.fd, &mut parts).expect("a frame waits");
        }
    }

    /// All of a burst by one system call.
    fn submit(&mut self, read: bool) {
        for buffer in &mut self.buffers {
            let entry: squeue::Entry = if read {
                opcode::Read::new(types::Fixed(0), buffer.as_mut_ptr(), buffer.len() as u32).build()
            } else {
                let (frame, len) = (self.frame.as_ptr(), self.frame.len() as u32);
                opcode::Write::new(types::Fixed(0), frame, len).build()
            };
            // SAFETY: the buffers and the frame live in `self`, are not touched meanwhile, and below we
            // wait until the kernel has finished with all of them.
            unsafe { self.ring.submission().push(&entry) }
                .expect("the queue is as long as a burst");
        }
        self.ring.submit_and_wait(BURST).expect("the ring works");
        let done = self.ring.completion().filter(|completion| completion.result() > 0).count();
        assert_eq!(done, BURST, "every frame crossed");
    }
}

fn report(lines: &[Line; 6]) {
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / BURST as f64
    };
    for three in lines.chunks(3) {
        let first = median(&three[0].1);
        for (name, times) in three {
            let each = median(times);
            println!("  {name:<15} {each:6.0} ns a frame, ratio {:.2}", each / first);
        }
    }
}
