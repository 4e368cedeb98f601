//! How long a lone frame takes, printed beside the kernel's own forwarding; nothing is asserted about
//! time.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::common::{Forwarder, Lab, frame};
use lvs_testnet::PacketSocket;
use lvs_testnet::backend::is_experiment;

const FRAMES: usize = 300;
/// Between two frames, so that each is alone.
const PAUSE: Duration = Duration::from_millis(3);

#[test]
fn a_lone_frame_does_not_wait_for_others() {
    let (lab, stop) = (Lab::new(), AtomicBool::new(false));
    let ours = std::thread::scope(|scope| {
        let forwarder = Forwarder::start(&lab, &stop, scope);
        let times = crossing_times(&lab);
        let (_, seen) = forwarder.stop();
        assert!(seen.frames >= FRAMES as u64);
        times
    });
    let kernel = {
        // A bridge is the least that a kernel does to a frame on its way.
        lab.director.ip("link add br0 type bridge stp_state 0 forward_delay 0");
        lab.director.ip("link set br0 up");
        lab.director.ip("link set d0 master br0");
        lab.director.ip("link set d1 master br0");
        crossing_times(&lab)
    };
    println!("a lone frame from left to right, median and 99th percentile:");
    for (name, times) in [("AF_PACKET", ours), ("kernel bridge", kernel)] {
        println!("  {name}: {:?}, {:?}", times[FRAMES / 2], times[FRAMES * 99 / 100]);
    }
}

/// How long each of some lone frames takes, in order.
fn crossing_times(lab: &Lab) -> Vec<Duration> {
    let sender = PacketSocket::open(&lab.left, "l0");
    let mut receiver = PacketSocket::open(&lab.right, "r0");
    let to = lab.mac("d0");
    // To the bridge, so that the frame takes the same way with both.
    let to = if lab.director.ip("-o link").contains("br0") { lab.mac("r0") } else { to };
    std::thread::sleep(Duration::from_millis(100));
    let mut times: Vec<Duration> = (0..FRAMES)
        .map(|number| {
            std::thread::sleep(PAUSE);
            let started = Instant::now();
            sender.send(&frame(to, &number.to_be_bytes()));
            let crossed = receiver.receive_where(Duration::from_secs(2), is_experiment);
            assert!(crossed.is_some(), "frame {number} did not arrive");
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
}
