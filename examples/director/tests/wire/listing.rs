//! Whether packets wait longer while somebody lists all connections, however many: printed; nothing is asserted
//! about time. In figures that mean something, with a million connections:
//!
//! ```sh
//! LVS_CONNECTIONS=1000000 cargo test --release -p lvs-director --test wire listing:: -- --nocapture
//! ```
//!
//! Datagrams of the listed connections, one each 150 µs or so, go through a director on AF_PACKET. The kernel stamps each
//! as it comes to the director's interface and as it comes to the real server's; the time between is the delay. It is
//! taken in windows that follow each other in turns, so that whatever else the machine does falls on all kinds alike:
//!
//! - *quiet*: nobody lists;
//! - *listing*: `lvsadm -L -c -n | wc -l` runs, one after the other;
//! - *beside*: the same is asked of another director, with as many connections and no packets.
//!
//! The last two keep the processors equally busy: a reader of such a listing takes a whole processor, and so does the
//! thread that writes it for the socket. What *beside* has above *quiet* is the price of a machine with so few
//! processors; what *listing* has above *beside* is that of being asked. The percentile *in the window in the middle*
//! leaves out windows in which something else happened to the machine.
//!
//! It wants a machine that does nothing else. Two runs in a row with a million connections on a 2-core virtual machine
//! (twelve windows of 2 s and some 115,000 probes of each kind, 24 listings a run):
//!
//! | run | | median | 99th percentile | 99.9th percentile | in the window in the middle |
//! | --- | --- | --- | --- | --- | --- |
//! | 1 | quiet | 13 µs | 0.03 ms | 0.16 ms | 0.14 ms |
//! | 1 | listing | 8 µs | 0.44 ms | 1.97 ms | 0.91 ms |
//! | 1 | beside | 8 µs | 0.10 ms | 0.73 ms | 0.57 ms |
//! | 2 | quiet | 13 µs | 0.03 ms | 0.16 ms | 0.13 ms |
//! | 2 | listing | 8 µs | 0.44 ms | 1.73 ms | 0.76 ms |
//! | 2 | beside | 8 µs | 0.19 ms | 1.82 ms | 0.88 ms |
//!
//! A reader that keeps both processors busy costs packets a millisecond or two at the 99.9th percentile, whichever
//! director it reads from: listing stands 1.2 ms above beside in one run and 0.1 ms below it in the other. At the 99th to be
//! asked costs more than to stand beside, in both. In earlier runs the loop worked 8 % of the time while it was asked, 3 %
//! otherwise, and waited four times as long for a processor each time. To sleep 20 µs between two steps of a listing changed
//! nothing of it. What the loop itself spends on a listing is what `listing_delay` of lvs-control measures: less than a
//! burst. A machine with a processor to spare has not been tried.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use etherparse::PacketBuilder;
use lvs_core::wire::checksum;
use lvs_testnet::{Net, PacketSocket, require};

use crate::director::{Director, Done, LVSADM, PATIENCE, SocketPath, wait_until};
use crate::numbers::Stats;

/// Connections if `LVS_CONNECTIONS` does not say otherwise: enough for many steps of a listing.
const CONNECTIONS: u32 = 20_000;
/// Connections that are opened before it is looked whether they are there.
const BATCH: u32 = 4_000;
/// Between two probes; what the kernel adds to so short a sleep comes on top.
const PAUSE: Duration = Duration::from_micros(100);
/// Where client address and port stand in a frame, the checksums of IPv4 and UDP, and the number of a probe.
const CLIENT: usize = 14 + 12;
const PORT: usize = 14 + 20;
const IP_SUM: usize = 14 + 10;
const UDP_SUM: usize = 14 + 20 + 6;
const NUMBER: usize = 14 + 20 + 8;

/// A director in front of one real server that swallows what comes, with connections of its own.
struct Table {
    net: Net,
    socket: SocketPath,
    _director: Director,
    wire: PacketSocket,
    /// A datagram of nobody's yet.
    template: Vec<u8>,
    connections: u32,
}

impl Table {
    #[track_caller]
    fn new(connections: u32) -> Table {
        require(&["nft"]);
        let net = Net::two_armed(1);
        let swallow = "add table ip swallow; \
                       add chain ip swallow clients { type filter hook prerouting priority raw; }; \
                       add rule ip swallow clients udp dport 53 drop";
        net.servers()[0].run(&["nft", swallow]).expect_success();
        let socket = SocketPath::new();
        let IpAddr::V4(vip) = net.vip4(0) else { panic!("an IPv4 address") };
        let rules = format!("-A -u {vip}:53 -s rr\n-a -u {vip}:53 -r {} -g\n", net.server4(0));
        let room = connections.to_string();
        let options = ["--control", socket.path(), "--connections-max", &room];
        let director = Director::start_with(&net, &rules, &options);
        // None ends before the last window.
        socket.done("--set 900 120 86400");
        let mut template = Vec::new();
        PacketBuilder::ethernet2(net.client().mac("eth0"), net.director().mac("eth0"))
            .ipv4([0; 4], vip.octets(), 64)
            .udp(0, 53)
            .write(&mut template, &[0; 8])
            .expect("a vector takes everything");
        let wire = PacketSocket::open(net.client(), "eth0");
        let table = Table { net, socket, _director: director, wire, template, connections };
        table.open_all();
        table
    }

    /// A datagram of a connection, with a number.
    fn datagram(&self, connection: u32, number: u64) -> Vec<u8> {
        let mut frame = self.template.clone();
        let client = Ipv4Addr::from_bits(0xac10_0000 + connection / 50_000);
        frame[CLIENT..CLIENT + 4].copy_from_slice(&client.octets());
        let port = 1024 + (connection % 50_000) as u16;
        frame[PORT..PORT + 2].copy_from_slice(&port.to_be_bytes());
        frame[NUMBER..].copy_from_slice(&number.to_be_bytes());
        frame[IP_SUM..IP_SUM + 2].fill(0);
        let sum = checksum::of(&frame[14..PORT]);
        frame[IP_SUM..IP_SUM + 2].copy_from_slice(&sum.to_be_bytes());
        // None, as IPv4 allows (RFC 768).
        frame[UDP_SUM..UDP_SUM + 2].fill(0);
        frame
    }

    /// Opens all connections, as fast as the director takes them.
    #[track_caller]
    fn open_all(&self) {
        let service = format!("UDP {}:53", self.net.vip4(0));
        let opened = || Stats::of(&self.socket).service(&service)[0];
        for first in (0..self.connections).step_by(BATCH as usize) {
            let last = (first + BATCH).min(self.connections);
            let send = |connection| self.wire.send(&self.datagram(connection, 0));
            (first..last).for_each(send);
            let mut before = None;
            wait_until("a batch of connections is open", || {
                let now = Some(opened());
                // What a busy machine lost is sent again; who has a connection keeps it.
                if before == now {
                    (first..last).for_each(send);
                }
                before = now;
                now == Some(u64::from(last))
            });
        }
    }
}

/// What else happens in a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Quiet,
    Listing,
    Beside,
}

const KINDS: [Kind; 3] = [Kind::Quiet, Kind::Listing, Kind::Beside];

/// What was seen in all windows of a kind.
#[derive(Default)]
struct Seen {
    delays: Vec<Duration>,
    /// The 99.9th percentile of each window.
    tails: Vec<Duration>,
    /// The entries of each listing.
    listings: Vec<u64>,
}

/// Sends probes and takes their times, on the director's interface and on the real server's.
struct Prober<'t> {
    table: &'t Table,
    arrivals: [PacketSocket; 2],
    dice: fastrand::Rng,
    number: u64,
}

impl Prober<'_> {
    fn new(table: &Table) -> Prober<'_> {
        let arrivals = [table.net.director(), &table.net.servers()[0]]
            .map(|host| PacketSocket::open(host, "eth0"));
        arrivals.iter().for_each(PacketSocket::stamp);
        let dice = fastrand::Rng::with_seed(6);
        let mut prober = Prober { table, arrivals, dice, number: 0 };
        // Neighbours are known, processors awake and stamps switched on behind these.
        prober.delays(Duration::from_millis(300));
        prober
    }

    /// The delays of the probes of a window. Nobody reads what arrives before it has passed.
    fn delays(&mut self, length: Duration) -> Vec<Duration> {
        let (first, begun) = (self.number, Instant::now());
        while begun.elapsed() < length {
            thread::sleep(PAUSE);
            let connection = self.dice.u32(0..self.table.connections);
            self.number += 1;
            self.table.wire.send(&self.table.datagram(connection, self.number));
        }
        let numbers = first + 1..=self.number;
        let [came, arrived] = self.arrivals.each_mut().map(|socket| stamps(socket, &numbers));
        came.iter()
            .zip(&arrived)
            // A clock that was set back meanwhile is no reason to fail.
            .map(|(came, arrived)| arrived.duration_since(*came).unwrap_or_default())
            .collect()
    }
}

/// When each of some probes came.
#[track_caller]
fn stamps(socket: &mut PacketSocket, numbers: &RangeInclusive<u64>) -> Vec<SystemTime> {
    let mut stamps = vec![None; (numbers.end() - numbers.start() + 1) as usize];
    let mut missing = stamps.len();
    let deadline = Instant::now() + PATIENCE;
    while missing > 0 {
        assert!(Instant::now() < deadline, "{missing} of {} probes were lost", stamps.len());
        let Some(seen) = socket.receive(Duration::from_millis(100)) else { continue };
        let number = seen.bytes.get(NUMBER..).and_then(|bytes| bytes.try_into().ok());
        let Some(number) = number.map(u64::from_be_bytes) else { continue };
        if !seen.outgoing && numbers.contains(&number) {
            let stamp = stamps[(number - numbers.start()) as usize].replace(seen.stamp);
            missing -= usize::from(stamp.is_none());
        }
    }
    stamps.into_iter().flatten().map(|stamp| stamp.expect("stamps are switched on")).collect()
}

/// Lists all connections, one listing after the other, until it is enough. Returns the entries of each.
fn list(socket: &SocketPath, enough: &AtomicBool) -> Vec<u64> {
    let mut listings = Vec::new();
    while !enough.load(Ordering::SeqCst) {
        let line = format!("{LVSADM} --socket {} -L -c -n | wc -l", socket.path());
        let output = Command::new("sh").args(["-c", &line]).output().expect("there is a shell");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let lines: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
        // Two lines of title.
        listings.push(lines - 2);
    }
    listings
}

fn window(prober: &mut Prober<'_>, asked: Option<&SocketPath>, length: Duration, seen: &mut Seen) {
    let enough = AtomicBool::new(false);
    let mut delays = thread::scope(|scope| {
        let lister = asked.map(|socket| scope.spawn(|| list(socket, &enough)));
        let done = Done(&enough);
        let delays = prober.delays(length);
        drop(done);
        let listings = lister.map(|lister| lister.join().expect("every listing is whole"));
        seen.listings.extend(listings.into_iter().flatten());
        delays
    });
    delays.sort_unstable();
    seen.tails.push(at(&delays, 0.999));
    seen.delays.append(&mut delays);
}

/// A percentile of what is in order.
fn at(sorted: &[Duration], share: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

#[test]
fn delays_are_taken_while_all_connections_are_listed_and_while_another_director_is_asked() {
    let wanted = std::env::var("LVS_CONNECTIONS").ok();
    let connections = wanted.as_ref().map_or(CONNECTIONS, |text| {
        let number = text.parse().ok().filter(|&number| number > 0);
        number.unwrap_or_else(|| panic!("LVS_CONNECTIONS={text} is no number of connections"))
    });
    let (rounds, length) = match wanted {
        Some(_) => (12, Duration::from_secs(2)),
        None => (3, Duration::from_millis(300)),
    };
    let (table, other) = (Table::new(connections), Table::new(connections));
    let mut prober = Prober::new(&table);
    let mut seen = KINDS.map(|_| Seen::default());
    for round in 0..rounds * KINDS.len() {
        // Each kind comes behind each of the others.
        let kind = KINDS[(round + round / KINDS.len()) % KINDS.len()];
        let asked = match kind {
            Kind::Quiet => None,
            Kind::Listing => Some(&table.socket),
            Kind::Beside => Some(&other.socket),
        };
        window(&mut prober, asked, length, &mut seen[kind as usize]);
    }
    println!("{connections} connections, {rounds} windows of {length:?} of each kind:");
    for (kind, seen) in KINDS.into_iter().zip(&mut seen) {
        let whole = seen.listings.iter().all(|&entries| entries == u64::from(connections));
        assert!(whole, "not all connections are listed: {:?}", seen.listings);
        assert_eq!(seen.listings.is_empty(), kind == Kind::Quiet);
        seen.delays.sort_unstable();
        seen.tails.sort_unstable();
        let [median, p99, p999] = [0.5, 0.99, 0.999].map(|share| at(&seen.delays, share));
        let kind = format!("{kind:?}").to_lowercase();
        println!(
            "  {kind:<8} median {median:?}, 99th {p99:?}, 99.9th percentile {p999:?} (in the window \
             in the middle {:?}); {} probes, {} listings",
            at(&seen.tails, 0.5),
            seen.delays.len(),
            seen.listings.len()
        );
    }
}
