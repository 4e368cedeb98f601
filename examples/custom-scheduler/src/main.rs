//! A scheduler of one's own, plugged in from outside: no fork, and operators name it in their rules.
//!
//! ```sh
//! cargo run -p custom-scheduler
//! ```
//!
//! The scheduler is [`subnet`]: all clients of a network go to one real server. The program sends 1024
//! clients of 256 networks through a director under `-s subnet`, and under `sh` beside it, takes a
//! server away and sends them again. It prints the shares, how many networks were kept together, and
//! how many clients of the three servers that stayed had to move all the same.
//!
//! Three steps make a scheduler: implement [`Schedule`](lvs_core::sched::Schedule), hand its
//! [`SchedulerInfo`](lvs_core::sched::SchedulerInfo) to
//! [`Director::register_scheduler`], and tell the rules' reader its name
//! ([`Supported::own_schedulers`]).

mod subnet;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};

use etherparse::PacketBuilder;
use lvs_admin::diff::{Running, diff};
use lvs_admin::names::NumericOnly;
use lvs_admin::rules::{Rules, Supported};
use lvs_core::addr::{MacAddr, Prefix};
use lvs_core::command::{Command, Neighborhood, PortSpec};
use lvs_core::director::Director;
use lvs_core::ids::PortId;
use lvs_core::io::{Frame, HEADROOM_DEFAULT};
use lvs_core::limits::Limits;
use lvs_core::time::Instant;

const PORT: PortId = PortId(0);
const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const SERVERS: u8 = 4;
/// The server that goes.
const REMOVED: u8 = 3;

/// What the director at hand understands: everything that lvs does, and one scheduler more.
const SUPPORTED: Supported =
    Supported { own_schedulers: &[subnet::INFO.name], ..Supported::THIS_VERSION };

fn main() -> Result<(), Box<dyn Error>> {
    for scheduler in ["subnet", "sh"] {
        let mut director = director(scheduler)?;
        let before = connect_all(&mut director, 1000);
        make(&mut director, &rules(scheduler, Some(REMOVED)))?;
        let after = connect_all(&mut director, 2000);

        println!("-s {scheduler}");
        for server in 1..=SERVERS {
            let share = before.values().filter(|&&s| s == server).count();
            println!("  10.0.0.{server}  weight {server}  {share:4} of {} clients", before.len());
        }
        let mut networks: BTreeMap<[u8; 3], BTreeSet<u8>> = BTreeMap::new();
        for (client, server) in &before {
            let [a, b, c, _] = client.octets();
            networks.entry([a, b, c]).or_default().insert(*server);
        }
        let together = networks.values().filter(|servers| servers.len() == 1).count();
        println!("  {together} of {} networks have one server", networks.len());
        let stayed = before.iter().filter(|&(_, &server)| server != REMOVED);
        let moved = stayed.filter(|(client, server)| after.get(client) != Some(server)).count();
        println!("  without 10.0.0.{REMOVED}, {moved} clients of other servers move");
    }
    Ok(())
}

/// The rules as an operator writes them; the weight of each server is its number.
fn rules(scheduler: &str, without: Option<u8>) -> String {
    let mut text = format!("-A -t 10.0.0.80:80 -s {scheduler}\n");
    for server in (1..=SERVERS).filter(|&server| Some(server) != without) {
        text += &format!("-a -t 10.0.0.80:80 -r 10.0.0.{server} -g -w {server}\n");
    }
    text
}

/// A director that knows one scheduler more than lvs-core brings.
fn director(scheduler: &str) -> Result<Director, Box<dyn Error>> {
    let mut director = Director::new(Limits::small(), [0; 2])?;
    director.register_scheduler(subnet::INFO)?;
    let addr = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let addresses = Prefix::new(addr(254), 24).into_iter().collect();
    let quiet = Neighborhood { resolve_ahead: false, probe_virtual: None };
    let mut commands = vec![
        Command::SetNeighborhood(quiet),
        Command::SetPort(PortSpec { id: PORT, mac: DIRECTOR, mtu: 1500, addresses }),
        Command::AddLocal { addr: addr(80), answer: false },
    ];
    commands.extend((1..=SERVERS).map(|server| Command::SetNeighbor {
        port: PORT,
        addr: addr(server),
        mac: MacAddr([2, 0, 0, 0, 1, server]),
    }));
    commands.into_iter().try_for_each(|command| director.apply(Instant::ZERO, command))?;
    make(&mut director, &rules(scheduler, None))?;
    Ok(director)
}

/// Makes a running director what the rules say, by as few commands as that takes.
fn make(director: &mut Director, text: &str) -> Result<(), Box<dyn Error>> {
    let rules = Rules::parse("built-in rules", text, &NumericOnly, &SUPPORTED)?;
    let services = director.services(Instant::ZERO);
    for command in diff(&Running::of(director, &services), &rules, &[]) {
        director.apply(Instant::ZERO, command)?;
    }
    Ok(())
}

/// Each of 1024 clients opens a connection from `source_port`; tells the server that each went to.
fn connect_all(director: &mut Director, source_port: u16) -> BTreeMap<Ipv4Addr, u8> {
    let mut servers = BTreeMap::new();
    for (network, host) in (0..=255).flat_map(|network| [1, 80, 160, 254].map(|h| (network, h))) {
        let client = Ipv4Addr::new(198, 18, network, host);
        let mut slot = vec![0; HEADROOM_DEFAULT];
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], DIRECTOR.0)
            .ipv4(client.octets(), [10, 0, 0, 80], 64)
            .tcp(source_port, 80, 1, 1024)
            .syn();
        if builder.write(&mut slot, &[]).is_err() {
            continue;
        }
        let len = slot.len() - HEADROOM_DEFAULT;
        let mut burst = [Frame::new(&mut slot, HEADROOM_DEFAULT, len, PORT)];
        director.process_burst(Instant::ZERO, &mut burst);
        servers.insert(client, burst[0].bytes()[5]);
    }
    servers
}
