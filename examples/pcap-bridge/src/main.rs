//! Pcap in, pcap out: the director over an I/O backend of one's own.
//!
//! ```sh
//! cargo run -p pcap-bridge -- examples/pcap-bridge/shop.rules examples/pcap-bridge/clients.pcap out.pcap
//! ```
//!
//! The input is what came in at a director: pcap or pcapng, as `tcpdump -w` writes it. The output holds
//! every frame that a director under these rules sends, at the time at which it sends it, for
//! `tcpdump -e -r out.pcap`. The program prints what became of the frames and `ipvsadm -Ln` at the end.
//!
//! [`io`] is the backend. The loop in [`bridge`] is that of any director, whatever carries its frames:
//! wait, exchange a burst, see to timers, send what the director has to send.

mod io;

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use lvs_admin::names::NumericOnly;
use lvs_admin::rules::{Rules, Supported};
use lvs_core::addr::{MacAddr, Prefix};
use lvs_core::command::{Command, Neighborhood, PortSpec, RouteSpec};
use lvs_core::director::Director;
use lvs_core::io::{BurstReport, FrameIo, until};
use lvs_core::limits::Limits;
use lvs_core::time::Instant;

use io::{PORT, PcapIo};

/// Connections and templates whose end is dealt with in one turn of the loop.
const TIMER_BUDGET: usize = 256;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rules, input, output] = arguments.as_slice() else {
        eprintln!("usage: pcap-bridge RULES INPUT.pcap OUTPUT.pcap");
        return ExitCode::from(2);
    };
    match run(rules, input, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(rules: &str, input: &str, output: &str) -> Result<(), Box<dyn Error>> {
    let text = std::fs::read(rules).map_err(|e| format!("cannot read {rules}: {e}"))?;
    let parsed = Rules::parse_bytes(rules, &text, &NumericOnly, &Supported::THIS_VERSION)?;
    let source = File::open(input).map_err(|e| format!("cannot read {input}: {e}"))?;
    let sink = File::create(output).map_err(|e| format!("cannot write {output}: {e}"))?;
    let io = PcapIo::new(BufReader::new(source), BufWriter::new(sink))
        .map_err(|e| format!("{input}: {e}"))?;
    let mut director = Director::new(Limits::default(), [0; 2])?;
    let station = io.station().unwrap_or([2, 0, 0, 0, 0, 1]);
    for command in configuration(&parsed, MacAddr(station))? {
        director.apply(Instant::ZERO, command)?;
    }
    let (sum, end) = bridge(&mut director, io).map_err(|e| format!("{input}: {e}"))?;
    println!(
        "{} frames: {} sent on, {} left to the host, {} dropped",
        sum.received, sum.transmitted, sum.passed, sum.dropped
    );
    for service in director.services(end) {
        println!("{}  {}", service.spec.key, service.spec.scheduler);
        for server in service.destinations {
            let (addr, packets) = (server.spec.addr, server.counters.packets_in);
            println!("  -> {addr}  weight {}  {packets} packets", server.spec.weight);
        }
    }
    Ok(())
}

/// The loop of a director, until the capture ends; tells what became of the frames, and the time.
fn bridge<R: Read, W: Write>(
    director: &mut Director,
    mut io: PcapIo<R, W>,
) -> Result<(BurstReport, Instant), Box<dyn Error>> {
    let mut sum = BurstReport::default();
    while !io.is_at_end() {
        io.wait(until(io.now(), director.next_deadline()))?;
        let now = io.now();
        let report = io.exchange(&mut |frames| director.process_burst(now, frames))?;
        director.handle_timers(now, TIMER_BUDGET);
        sum.transmitted += io.inject(&mut |frame| director.poll_transmit(now, frame))?;
        sum.received += report.received;
        sum.transmitted += report.transmitted;
        sum.passed += report.passed;
        sum.dropped += report.dropped;
    }
    let end = io.now();
    io.finish()?;
    Ok((sum, end))
}

/// The rules, on one port that has every address of theirs. A capture answers no ARP: each real server
/// gets an Ethernet address that shows its IP address, 02:00 and its last four bytes.
fn configuration(rules: &Rules, mac: MacAddr) -> Result<Vec<Command>, Box<dyn Error>> {
    let quiet = Neighborhood { resolve_ahead: false, probe_virtual: None };
    let everywhere = ["0.0.0.0", "::"].map(|addr| addr.parse::<IpAddr>());
    let mut routes = Vec::new();
    for addr in everywhere {
        let prefix = Prefix::new(addr?, 0).ok_or("a prefix of no bits")?;
        routes.push(RouteSpec { prefix, port: Some(PORT), via: None });
    }
    let mut commands = vec![
        Command::SetNeighborhood(quiet),
        Command::SetPort(PortSpec { id: PORT, mac, mtu: 65_535, addresses: Vec::new() }),
        Command::SetRoutes(routes),
    ];
    for addr in rules.virtual_addresses() {
        commands.push(Command::AddLocal { addr, answer: false });
    }
    for server in rules.services().iter().flat_map(|service| &service.destinations) {
        let addr = server.addr.addr;
        let [.., a, b, c, d] = match addr {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mac = MacAddr([2, 0, a, b, c, d]);
        commands.push(Command::SetNeighbor { port: PORT, addr, mac });
    }
    commands.extend(rules.commands(|_| Some(PORT))?);
    Ok(commands)
}
