//! How long does a director's loop stand still while an operator applies a large rules file, or lists it?
//!
//! Between two bursts the loop gives its desk one step. A client in another thread applies rules files over the
//! socket and lists what there is; printed is the longest step of each request, in the processor time of the
//! loop's thread, and how many steps it took. Two sizes: 4,096 services with 4 real servers each, and one
//! service with 4,096.
//!
//! ```sh
//! cargo run --release -p lvs-control --example apply_delay
//! ```

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::time::{ClockId, clock_gettime};

use lvs_control::{Alone, Client, Desk, Request};
use lvs_core::addr::{MacAddr, Prefix};
use lvs_core::command::{Command, PortSpec};
use lvs_core::director::Director;
use lvs_core::ids::PortId;
use lvs_core::limits::Limits;
use lvs_core::time::Instant;

/// A rules file with services of so many servers each, out of a subnet of their own.
fn file(scheduler: &str, services: u32, servers: u32, subnet: u32, weight: u32) -> String {
    let mut text = String::new();
    for service in 0..services {
        let virt = format!("10.0.{}.{}:80", service / 256, service % 256);
        let _ = writeln!(text, "-A -t {virt} -s {scheduler}");
        for server in 0..servers {
            let server = (service * servers + server) % 4096;
            let addr = format!("10.{subnet}.{}.{}", server / 250, server % 250 + 1);
            let _ = writeln!(text, "-a -t {virt} -r {addr} -w {weight}");
        }
    }
    text
}

/// The processor time that this thread has used, in nanoseconds.
fn processor_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

struct Stage {
    program: Alone,
    desk: Desk,
    path: std::path::PathBuf,
}

impl Stage {
    /// Asks, and tells how long the loop stood still.
    fn measure(&mut self, what: &str, request: Request) {
        let (path, over) = (&self.path, AtomicBool::new(false));
        let (mut longest, mut steps, mut all) = (0, 0u32, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut client = Client::connect(path).expect("the socket is there");
                client.for_each(request, |_| Ok(())).expect("it is answered");
                over.store(true, Ordering::SeqCst);
            });
            while !over.load(Ordering::SeqCst) {
                let before = processor_time();
                if self.desk.serve(Instant::from_secs(1), &mut self.program) {
                    let took = processor_time() - before;
                    (longest, steps, all) = (longest.max(took), steps + 1, all + took);
                } else {
                    std::thread::yield_now();
                }
            }
        });
        let ms = |ns: u64| ns as f64 / 1e6;
        println!("  {what:<34} {:8.2} ms   {steps:5} steps, {:.2} ms", ms(longest), ms(all));
    }

    fn apply(&mut self, what: &str, text: String) {
        let file = "apply_delay".to_owned();
        self.measure(what, Request::Apply { file, text, dry_run: false });
    }
}

fn director() -> Director {
    let limits = Limits { connections_max: 1 << 16, ..Limits::default() };
    let mut director = Director::new(limits, [1, 2]).expect("the limits are possible");
    let own = |text: &str| Prefix::new(text.parse().expect("an address"), 16).expect("16 fits");
    let addresses = vec![own("10.1.255.254"), own("10.2.255.254")];
    let port = PortSpec { id: PortId(0), mac: MacAddr([2, 0, 0, 0, 0, 1]), mtu: 1500, addresses };
    director.apply(Instant::ZERO, Command::SetPort(port)).expect("it is right");
    director
}

fn main() {
    for scheduler in ["wlc", "wrr", "mh"] {
        for (services, servers) in [(4096, 4), (1, 4096)] {
            println!("{services} services, {scheduler}, with {servers} servers each:");
            let path = std::env::temp_dir().join(format!("lvs-apply-{}.sock", std::process::id()));
            let desk = Desk::open(&path, || {}).expect("the socket can be made");
            let mut stage = Stage {
                program: Alone { director: director(), interfaces: Vec::new() },
                desk,
                path,
            };
            let with = |subnet, weight| file(scheduler, services, servers, subnet, weight);
            stage.apply("all are added", with(1, 1));
            stage.apply("nothing changes", with(1, 1));
            stage.apply("all weights change", with(1, 2));
            stage.measure("all are listed", Request::Services { only: None });
            stage.apply("all servers are replaced", with(2, 1));
            stage.apply("all are removed", String::new());
        }
    }
}
