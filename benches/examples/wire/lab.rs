//! The network: three hosts, the generator's and the sink's interfaces, and who is in between.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lvs_benches::flood::Flood;
use lvs_benches::ring::{DIRECTOR, VIRTUAL};
use lvs_testnet::{Host, Process, Signal, require};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::forwarders::{self, Forwarder, Macs};

/// Connections.
pub(crate) const FLOWS: u32 = 1_024;

const SERVERS: u8 = 8;
/// Another station's address: frames for it end at the director's entrance.
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
/// An address that is just routed.
const ROUTED: [u8; 4] = [192, 0, 2, 3];
/// What to drop: what has been forwarded, at the sink; what a packet socket has taken, at the director,
/// where the director has a guard for it.
const DROP: &str = "add table netdev lab; add chain netdev lab taken { type filter hook ingress device \
                    DEVICE priority 0; }; add rule netdev lab taken ip daddr 192.0.2.0/28 drop";

pub(crate) struct Lab {
    left: Host,
    director: Host,
    right: Host,
    /// Counters of the sink's interfaces.
    counters: File,
    program: String,
    rules: RulesFile,
}

impl Lab {
    pub(crate) fn new(program: &str) -> Lab {
        require(&["ip", "nft"]);
        let [left, director, right] = ["left", "director", "right"].map(Host::new);
        for host in [&left, &director, &right] {
            host.set_sysctl("net.ipv6.conf.all.disable_ipv6", "1");
            host.set_sysctl("net.ipv6.conf.default.disable_ipv6", "1");
        }
        let namespace = director.namespace_path().display().to_string();
        left.ip(&format!("link add l0 type veth peer name d0 netns {namespace}"));
        right.ip(&format!("link add r0 type veth peer name d1 netns {namespace}"));
        let mac = DIRECTOR.map(|byte| format!("{byte:02x}")).join(":");
        director.ip(&format!("link set d0 address {mac}"));
        for (host, interface) in
            [(&left, "l0"), (&right, "r0"), (&director, "d0"), (&director, "d1")]
        {
            host.ip(&format!("link set {interface} up"));
        }
        director.add_address("d0", "192.0.2.254/24");
        director.add_address("d1", "10.1.0.1/16");
        director.ip("route add 11.0.0.0/8 dev d0");
        director.ip(&format!("route add {}/32 via 10.1.1.1", Ipv4Addr::from(ROUTED)));
        let mut rules = format!("-A -t {}:80 -s rr\n", Ipv4Addr::from(VIRTUAL));
        for n in 1..=SERVERS {
            right.add_address("r0", &format!("10.1.1.{n}/16"));
            rules += &format!("-a -t {}:80 -r 10.1.1.{n}:80 -g\n", Ipv4Addr::from(VIRTUAL));
        }
        right.run(&["nft", &DROP.replace("DEVICE", "r0")]).expect_success();
        let counters = right.enter(|| File::open("/proc/thread-self/net/dev"));
        let counters = counters.unwrap_or_else(|error| panic!("/proc/net/dev: {error}"));
        Lab {
            left,
            director,
            right,
            counters,
            program: program.to_owned(),
            rules: RulesFile::new(&rules),
        }
    }

    /// Frames that have arrived at the sink.
    pub(crate) fn arrived(&self) -> u64 {
        let mut text = [0; 1024];
        let len = self.counters.read_at(&mut text, 0).unwrap_or(0);
        let text = std::str::from_utf8(&text[..len]).unwrap_or_default();
        let (_, numbers) = text.split_once("r0:").unwrap_or_else(|| panic!("no r0 in {text}"));
        let packets = numbers.split_whitespace().nth(1).and_then(|number| number.parse().ok());
        packets.unwrap_or_else(|| panic!("no counter in {text}"))
    }

    /// A generator on the left.
    pub(crate) fn flood(&self) -> Flood {
        let opened = self.left.enter(|| Flood::open("l0"));
        opened.unwrap_or_else(|error| panic!("the generator: {error}"))
    }

    /// Where frames for a forwarder go: station and address.
    pub(crate) fn target(&self, forwarder: Forwarder) -> ([u8; 6], [u8; 4]) {
        match forwarder {
            Forwarder::Nobody => (STRANGER, VIRTUAL),
            Forwarder::Kernel => (DIRECTOR, ROUTED),
            _ => (DIRECTOR, VIRTUAL),
        }
    }

    /// Does something while a forwarder is at work.
    pub(crate) fn with<T: Send>(&self, forwarder: Forwarder, work: impl FnOnce() -> T + Send) -> T {
        let forwards = if forwarder == Forwarder::Kernel { "1" } else { "0" };
        self.director.set_sysctl("net.ipv4.ip_forward", forwards);
        let run = match forwarder {
            Forwarder::Nobody | Forwarder::Kernel => return work(),
            Forwarder::Director => {
                let director = self.start_director();
                let done = work();
                director.signal(Signal::TERM);
                director.finish(Duration::from_secs(10)).expect_success();
                return done;
            }
            Forwarder::Backend => forwarders::backend,
            Forwarder::Messages => forwarders::messages,
            Forwarder::Pnet => forwarders::pnet,
        };
        self.director.run(&["nft", &DROP.replace("DEVICE", "d0")]).expect_success();
        let macs = Macs { to: self.right.mac("r0"), from: self.director.mac("d1") };
        let stop = AtomicBool::new(false);
        let done = std::thread::scope(|scope| {
            let (ready, is_ready) = std::sync::mpsc::channel();
            let (director, stop) = (&self.director, &stop);
            scope.spawn(move || director.enter(|| run(macs, stop, &ready)));
            is_ready.recv().unwrap_or_else(|_| panic!("{} did not start", forwarder.name()));
            let done = work();
            stop.store(true, Ordering::Relaxed);
            done
        });
        self.director.run(&["nft", "delete table netdev lab"]).expect_success();
        done
    }

    fn start_director(&self) -> Process {
        let ports = ["--interface", "d0", "--interface", "d1"];
        let command = [&[&self.program, "run", "--rules", self.rules.path()], &ports[..]].concat();
        let process = self.director.start(&command);
        process.wait_for("forwarding on ", Duration::from_secs(10));
        process
    }
}

/// The director's rules, in a file that goes with the lab.
struct RulesFile(PathBuf);

impl RulesFile {
    fn new(text: &str) -> RulesFile {
        let path = std::env::temp_dir().join(format!("lvs-wire-{}.rules", std::process::id()));
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        RulesFile(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the folder's name is UTF-8")
    }
}

impl Drop for RulesFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Keeps this thread, and those and the programs that it starts, on the last processor it may use.
pub(crate) fn stay_on_one_processor() {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).expect("it can be asked");
    let last = (0..CpuSet::count()).rev().find(|&number| allowed.is_set(number) == Ok(true));
    let mut one = CpuSet::new();
    one.set(last.expect("it runs on one")).expect("the number is within bounds");
    sched_setaffinity(this, &one).expect("it may be lowered");
}
