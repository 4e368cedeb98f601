//! What a packet costs on its way over AF_PACKET, beside the kernel's own forwarding and loops that decide
//! nothing. `cargo xtask bench --wire` runs it, as root; its argument is the path of `lvs-director`.
//!
//! ```text
//! left l0 ══ veth ══ d0 director d1 ══ veth ══ r0 right, which throws packets away
//! ```
//!
//! Generator, kernel, forwarder and sink share one processor, and there are never more frames on the way
//! than a forwarder can hold: none is lost, and the time that a frame takes is what everybody together
//! spend on it. What the generator and its wire spend is measured alone, with frames that end at `d0`, and
//! subtracted.

mod forwarders;
mod lab;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lvs_benches::flood::Flood;
use lvs_benches::ring::{BURST, Flags, Order, Pattern};

use forwarders::Forwarder;
use lab::{FLOWS, Lab};

/// Turns of each forwarder.
const TURNS: usize = 3;
/// How long a turn lasts.
const TURN: Duration = Duration::from_millis(1_200);
/// How long frames may be on the way before they count as lost.
const PATIENCE: Duration = Duration::from_millis(100);

fn main() {
    let program =
        std::env::args().nth(1).unwrap_or_else(|| panic!("the path of lvs-director is missing"));
    lab::stay_on_one_processor();
    let lab = Lab::new(&program);
    let mut lines: BTreeMap<Forwarder, Line> = BTreeMap::new();
    for _ in 0..TURNS {
        for forwarder in Forwarder::ALL {
            let turn = lab.with(forwarder, || turn(&lab, forwarder));
            let line = lines.entry(forwarder).or_default();
            line.lost += turn.lost;
            line.times.push(turn.time);
        }
    }
    print(&lines);
}

/// What was measured of one forwarder.
#[derive(Default)]
struct Line {
    /// Of a frame, in nanoseconds, in each turn.
    times: Vec<f64>,
    lost: u64,
}

impl Line {
    fn median(&self) -> f64 {
        median(self.times.clone())
    }
}

fn print(lines: &BTreeMap<Forwarder, Line>) {
    let generator = lines[&Forwarder::Nobody].median();
    let kernel = lines[&Forwarder::Kernel].median() - generator;
    println!(
        "64-byte frames of {FLOWS} established connections between veth pairs, everything on one processor\n\n\
         {:38} {:>10} {:>12} {:>8} {:>6}",
        "", "frames/s", "ns a frame", "ratio", "lost"
    );
    for (forwarder, line) in lines {
        let time = line.median();
        let net = match forwarder {
            Forwarder::Nobody => format!("{time:12.0} {:>8}", "-"),
            _ => format!("{:12.0} {:8.2}", time - generator, (time - generator) / kernel),
        };
        println!("{:38} {:10.0} {net} {:6}", forwarder.name(), 1e9 / time, line.lost);
    }
    println!(
        "\nFrames a second include the generator's work; `ns a frame` is the processor time of all others \
         together,\nits ratio that to the kernel's own forwarding. The system calls decide it: the core's \
         own share is some\ntens of nanoseconds (`cargo xtask bench established`)."
    );
}

/// What a turn showed.
struct Turn {
    time: f64,
    lost: u64,
}

/// Sends frames for a while, as fast as the forwarder takes them.
fn turn(lab: &Lab, forwarder: Forwarder) -> Turn {
    let mut pump = Pump {
        lab,
        flood: lab.flood(),
        window: forwarder.window(),
        sent: 0,
        start: lab.arrived(),
        lost: 0,
    };
    let (station, addr) = lab.target(forwarder);
    // Neighbours are resolved by the first frames, of which some are lost.
    for flags in [Flags::Syn, Flags::Syn, Flags::Ack] {
        let pattern = Pattern::requests(flags, station, addr);
        for first in (0..FLOWS).step_by(BURST) {
            pump.send(|flood| flood.send_flows(&pattern, first..first + BURST as u32), BURST);
        }
        pump.flush();
    }
    let pattern = Pattern::requests(Flags::Ack, station, addr);
    let mut order = Order::random(FLOWS);
    let bursts = forwarder.bursts();
    let mut times = Vec::new();
    pump.lost = 0;
    let began = Instant::now();
    while began.elapsed() < TURN {
        let started = Instant::now();
        let sent = pump.sent;
        while pump.sent - sent < 4_096 {
            pump.send(
                |flood| flood.send_random(&pattern, &mut order, bursts).map(drop),
                bursts * BURST,
            );
        }
        times.push(started.elapsed().as_secs_f64() * 1e9 / (pump.sent - sent) as f64);
    }
    pump.flush();
    Turn { time: median(times), lost: pump.lost }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Sends and keeps count.
struct Pump<'a> {
    lab: &'a Lab,
    flood: Flood,
    /// The most frames on the way; 0 if none arrives.
    window: u64,
    sent: u64,
    /// Frames that had arrived before.
    start: u64,
    lost: u64,
}

impl Pump<'_> {
    fn send(
        &mut self,
        send: impl FnOnce(&mut Flood) -> Result<(), lvs_io_afpacket::Error>,
        frames: usize,
    ) {
        self.wait(self.window.saturating_sub(frames as u64));
        send(&mut self.flood).unwrap_or_else(|error| panic!("the generator: {error}"));
        self.sent += frames as u64;
    }

    /// Waits until every frame has arrived, or is lost.
    fn flush(&mut self) {
        self.wait(0);
    }

    /// Waits until at most so many frames are on the way. The clock is read for every case, because what
    /// waiting costs is part of the generator's line.
    fn wait(&mut self, frames: u64) {
        let mut progress = (Instant::now(), u64::MAX);
        loop {
            let arrived = self.lab.arrived() - self.start;
            let away = self.sent.saturating_sub(arrived + self.lost);
            if away <= frames || self.window == 0 {
                return;
            }
            if away < progress.1 {
                progress = (Instant::now(), away);
            } else if progress.0.elapsed() > PATIENCE {
                self.lost += away;
                return;
            }
            std::thread::yield_now();
        }
    }
}
