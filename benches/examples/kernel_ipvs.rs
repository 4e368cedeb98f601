//! What a packet costs the IPVS of the kernel that this runs on, beside plain forwarding of the same
//! frames. `cargo xtask bench --kernel` runs it in a guest (User Mode Linux), as root on a network that it
//! may rearrange:
//!
//! ```text
//! generator g0 ══ veth ══ d0, the director ── forwarding, IPVS ──▶ s0, which throws frames away
//! ```
//!
//! The whole way of a frame, from `g0` to `s0`, is within the system call that sends it. The generator
//! and the wire are part of every line and go away in the difference. Its argument is a file with a
//! [`Task`].

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use lvs_benches::flood::Flood;
use lvs_benches::ring::{BURST, DIRECTOR, Flags, Order, Pattern, VIRTUAL};
use lvs_benches::world::MASQUERADED;
use serde::{Deserialize, Serialize};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const SERVERS: u8 = 8;
/// Another station's address: frames for it end at the director's entrance.
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
/// The virtual address of the masquerading service.
const MASQUERADE: [u8; 4] = [192, 0, 2, 2];
/// An address that is just routed.
const ROUTED: [u8; 4] = [192, 0, 2, 3];
/// Bursts between two looks at the clock, a millisecond or two: less than the machine leaves a processor
/// to somebody else. Of a turn's figures the median counts, so that what others do is not counted.
const BURSTS: usize = 32;
/// Figures of a turn.
const FIGURES: usize = 400;
/// Bursts before a turn, which bring into the cache what belongs to its kind.
const WARM_UP: usize = 512;
const TURN_FRAMES: u64 = ((WARM_UP + FIGURES * BURSTS) * BURST) as u64;
/// Up to so many flows masquerading is measured, too; its connections need memory of their own.
const MASQUERADE_FLOWS_MAX: u32 = 10_000;

/// What to do.
#[derive(Deserialize)]
struct Task {
    /// A file for progress: `BOOTED`, `DONE` or `FAILED …`.
    log: PathBuf,
    /// The directory of the kernel's modules.
    modules: PathBuf,
    /// Where the [`Figures`] go.
    out: PathBuf,
    /// Numbers of flows, whole bursts each.
    flows: Vec<u32>,
    /// Turns of each kind of packet.
    turns: usize,
}

/// What was measured.
#[derive(Serialize)]
struct Figures {
    kernel: String,
    lines: Vec<Line>,
}

/// Nanoseconds a packet, of each turn.
#[derive(Serialize)]
struct Line {
    flows: u32,
    name: &'static str,
    ns: Vec<f64>,
}

fn main() -> Result<()> {
    let path = std::env::args().nth(1).ok_or("the argument is missing: a file with the task")?;
    let task: Task = serde_json::from_str(&fs::read_to_string(path)?)?;
    let mut log = fs::OpenOptions::new().append(true).open(&task.log)?;
    writeln!(log, "BOOTED")?;
    match run(&task) {
        Ok(()) => writeln!(log, "DONE")?,
        Err(error) => writeln!(log, "FAILED {error}")?,
    }
    Ok(())
}

fn run(task: &Task) -> Result<()> {
    let modules = Modules::read(&task.modules)?;
    for name in ["veth", "dummy"] {
        modules.load(name, "")?;
    }
    build()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let mut figures = Figures { kernel, lines: Vec::new() };
    for &flows in &task.flows {
        // As many buckets as an operator would ask for; the kernel takes 8 to 20 bits.
        let bits = flows.next_power_of_two().ilog2().clamp(12, 20);
        modules.load("ip_vs", &format!("conn_tab_bits={bits}"))?;
        modules.load("ip_vs_rr", "")?;
        figures.lines.extend(measure(flows, task.turns)?);
        do_all("ipvsadm", "-C")?;
        do_all("rmmod", "ip_vs_rr\nip_vs")?;
    }
    Ok(fs::write(&task.out, serde_json::to_string(&figures)?)?)
}

/// Interfaces, addresses, routes and neighbours.
fn build() -> Result<()> {
    let [a, b, c, d, e, f] = DIRECTOR;
    let mut lines = format!(
        "link add g0 type veth peer name d0 address {a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}\n\
         link add s0 type dummy\nlink set lo up\nlink set g0 up\nlink set d0 up\nlink set s0 up\n\
         addr add 192.0.2.254/32 dev d0\naddr add 10.1.0.1/16 dev s0\n\
         addr add {}/32 dev lo\naddr add {}/32 dev lo\n\
         route add 11.0.0.0/8 dev d0\nroute add {}/32 via 10.1.1.0\n",
        dotted(VIRTUAL),
        dotted(MASQUERADE),
        dotted(ROUTED),
    );
    for n in 0..SERVERS {
        lines += &format!("neigh add 10.1.1.{n} lladdr 2:0:0:0:1:{n:x} dev s0 nud permanent\n");
    }
    do_all("ip", &lines)?;
    for (name, value) in
        [("ip_forward", "1"), ("conf/all/rp_filter", "0"), ("conf/d0/rp_filter", "0")]
    {
        fs::write(format!("/proc/sys/net/ipv4/{name}"), value)?;
    }
    Ok(())
}

/// Opens the connections of `flows` flows and sends packets of each kind, in turns.
fn measure(flows: u32, turns: usize) -> Result<Vec<Line>> {
    let virt = |addr| format!("-t {}:80", dotted(addr));
    let mut rules = format!("-A {} -s rr\n", virt(VIRTUAL));
    for n in 0..SERVERS {
        rules += &format!("-a {} -r 10.1.1.{n}:80 -g\n", virt(VIRTUAL));
    }
    let (server, port) = MASQUERADED;
    rules += &format!("-A {} -s rr\n", virt(MASQUERADE));
    rules += &format!("-a {} -r {}:{port} -m\n", virt(MASQUERADE), dotted(server));
    do_all("ipvsadm", &rules)?;

    let mut kinds = vec![
        ("generator", STRANGER, VIRTUAL),
        ("forwarding", DIRECTOR, ROUTED),
        ("direct routing", DIRECTOR, VIRTUAL),
    ];
    if flows <= MASQUERADE_FLOWS_MAX {
        kinds.push(("masquerading", DIRECTOR, MASQUERADE));
    }
    let mut flood = Flood::open("g0")?;
    let mut order = Order::random(flows);
    for &(name, station, addr) in &kinds {
        for flags in [Flags::Syn, Flags::Ack] {
            let before = sent()?;
            flood.send_flows(&Pattern::requests(flags, station, addr), 0..flows)?;
            held(name, sent()? - before, u64::from(flows), station)?;
        }
    }
    let mut lines: Vec<Line> =
        kinds.iter().map(|&(name, ..)| Line { flows, name, ns: Vec::new() }).collect();
    for _ in 0..turns {
        for (line, &(name, station, addr)) in lines.iter_mut().zip(&kinds) {
            let pattern = Pattern::requests(Flags::Ack, station, addr);
            let before = sent()?;
            flood.send_random(&pattern, &mut order, WARM_UP)?;
            let mut times = Vec::new();
            for _ in 0..FIGURES {
                let time = flood.send_random(&pattern, &mut order, BURSTS)?;
                times.push(time.as_secs_f64() * 1e9 / (BURSTS * BURST) as f64);
            }
            times.sort_by(f64::total_cmp);
            line.ns.push(times[FIGURES / 2]);
            held(name, sent()? - before, TURN_FRAMES, station)?;
        }
    }
    Ok(lines)
}

/// Whether the frames of a turn left as they should have.
fn held(name: &str, left: u64, came: u64, station: [u8; 6]) -> Result<()> {
    let expected = if station == STRANGER { 0 } else { came };
    // The kernel may send a frame of its own meanwhile.
    if left.abs_diff(expected) <= came / 10_000 {
        return Ok(());
    }
    Err(format!("{name}: {left} of {came} frames were sent on; {expected} should have been").into())
}

/// Frames that were sent on.
fn sent() -> Result<u64> {
    Ok(fs::read_to_string("/sys/class/net/s0/statistics/tx_packets")?.trim().parse()?)
}

fn dotted(addr: [u8; 4]) -> std::net::Ipv4Addr {
    addr.into()
}

/// Runs a program once for each line of arguments.
fn do_all(program: &str, lines: &str) -> Result<()> {
    for line in lines.lines() {
        let output = Command::new(program).args(line.split_whitespace()).output();
        let output = output.map_err(|error| format!("{program}: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(format!("{program} {line}: {said}").into());
        }
    }
    Ok(())
}

/// The kernel's modules, which are not where `modprobe` looks.
struct Modules {
    directory: PathBuf,
    /// Paths, each with those it needs, nearest first.
    needs: Vec<(String, Vec<String>)>,
}

impl Modules {
    fn read(directory: &std::path::Path) -> Result<Modules> {
        let text = fs::read_to_string(directory.join("modules.dep"))?;
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let needs = lines.map(|(path, needs)| (path.to_owned(), words(needs))).collect();
        Ok(Modules { directory: directory.to_owned(), needs })
    }

    /// Loads a module and what it needs, unless it is loaded.
    fn load(&self, name: &str, parameters: &str) -> Result<()> {
        let is_it = |path: &str| path.rsplit('/').next() == Some(&format!("{name}.ko"));
        let found = self.needs.iter().find(|(path, _)| is_it(path));
        let (path, needs) = found.ok_or_else(|| format!("the kernel has no module {name}"))?;
        let loaded = fs::read_to_string("/proc/modules")?;
        let is_loaded = |path: &str| {
            let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".ko");
            let stem = stem.replace('-', "_");
            loaded.lines().any(|line| line.split(' ').next() == Some(&stem))
        };
        for needed in needs.iter().rev().filter(|needed| !is_loaded(needed)) {
            do_all("insmod", &self.directory.join(needed).display().to_string())?;
        }
        if is_loaded(path) {
            return Ok(());
        }
        do_all("insmod", &format!("{} {parameters}", self.directory.join(path).display()))
    }
}
