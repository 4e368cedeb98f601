//! A capture through the director, in the capture's own time.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::IpAddr;

use lvs_admin::rules::Rules;
use lvs_core::command::ServiceKey;
use lvs_core::explain::Event;
use lvs_core::flow::FlowKey;
use lvs_core::io::mem::FRAME_LEN_MAX_DEFAULT;
use lvs_core::limits::Limits;
use lvs_core::listing::{DestinationEntry, ServiceEntry};
use lvs_core::stats::Counters;
use lvs_core::time::Instant;

use super::lane::{Fate, Lane};
use super::report::{
    Against, ClientReport, Fairness, MovedFlow, ReasonCount, Report, ServerReport, ServiceReport,
};
use super::{CaptureError, CaptureReader, CaptureWriter, CapturedFrame, jain};

/// How many of the largest clients a report names.
const CLIENTS_MAX: usize = 5;
/// Bytes of an Ethernet header, which counters of IP leave out.
const ETHERNET: u64 = 14;

/// How a capture is replayed.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// The director's capacities.
    pub limits: Limits,
    /// The seed of the director's hash tables; nothing in a report depends on it.
    pub seed: [u64; 2],
    /// Local addresses besides those that the rules name, for mark rules without a single address.
    pub addresses: Vec<IpAddr>,
    /// Only frames to this Ethernet address are replayed. Without it a capture made on the director
    /// itself shows each packet twice, as it came and as it went.
    pub station: Option<lvs_core::addr::MacAddr>,
}

impl Default for CaptureOptions {
    /// Tables for a million connections, no further addresses, every frame.
    fn default() -> Self {
        CaptureOptions {
            limits: Limits::default(),
            seed: [0; 2],
            addresses: Vec::new(),
            station: None,
        }
    }
}

/// Replays a capture under `rules` and reports. With `against`, the same packets also meet those rules,
/// and the report lists the flows that they would send elsewhere. `output` takes everything the director
/// sends under `rules`, as a pcap file.
///
/// # Errors
/// If the capture cannot be read or the output not written, or if the rules do not fit the director.
pub fn replay_capture(
    rules: &Rules,
    against: Option<&Rules>,
    input: impl Read,
    output: Option<&mut dyn Write>,
    options: &CaptureOptions,
) -> Result<Report, CaptureError> {
    let mut reader = CaptureReader::new(input)?;
    let mut writer = output.map(CaptureWriter::new).transpose()?;
    let mut lane = Lane::new(rules, options)?;
    let mut other = against.map(|rules| Lane::new(rules, options)).transpose()?;
    let mut tally = Tally::default();
    let mut frame = CapturedFrame::default();
    let (mut first, mut last) = (None, 0);
    while reader.next_into(&mut frame)? {
        // Captures of several interfaces may step back in time a little; the director's time stands.
        let start = *first.get_or_insert(frame.time);
        last = frame.time.saturating_sub(start).max(last);
        tally.report.packets += 1;
        tally.report.bytes += frame.bytes.len() as u64;
        tally.report.cut_packets += u64::from(frame.cut);
        let is_for_us = options.station.is_none_or(|mac| frame.bytes.starts_with(&mac.0));
        if !is_for_us || frame.bytes.len() > FRAME_LEN_MAX_DEFAULT as usize {
            tally.report.skipped += 1;
            continue;
        }
        let now = Instant::from_nanos(last);
        let mut written = Ok(());
        lane.feed(now, &frame.bytes, |sent| {
            if let (Some(writer), Ok(())) = (&mut writer, &written) {
                written = writer.write(start.saturating_add(last), sent);
            }
        });
        written?;
        tally.take(&lane, frame.bytes.len() as u64);
        if let Some(other) = &mut other {
            other.feed(now, &frame.bytes, |_| {});
            tally.compare(&lane, other, last);
        }
    }
    if let Some(writer) = writer {
        writer.finish()?;
    }
    tally.report.seconds = last as f64 / 1e9;
    tally.report.truncated = reader.truncated();
    Ok(tally.finish(rules, &mut lane, Instant::from_nanos(last), other.is_some()))
}

#[derive(Default)]
struct Client {
    connections: u64,
    packets: u64,
    bytes: u64,
}

/// What a report is made of, while the capture is read.
#[derive(Default)]
struct Tally {
    report: Report,
    clients: HashMap<IpAddr, Client>,
    /// Connections that the scheduler placed, and those that a template did.
    choices: HashMap<ServiceKey, [u64; 2]>,
    /// The flows that were taken or refused; of those that differ their place in `moved`.
    flows: HashMap<FlowKey, Option<usize>>,
    moved: Vec<MovedFlow>,
}

impl Tally {
    fn take(&mut self, lane: &Lane, len: u64) {
        let (mut service, mut forced, mut opened) = (None, false, false);
        for event in &lane.events {
            match event {
                Event::Service(key) => service = Some(*key),
                Event::TemplateHit { .. } => forced = true,
                Event::Opened { .. } => opened = true,
                _ => {}
            }
        }
        if let (true, Some(service)) = (opened, service) {
            self.choices.entry(service).or_default()[usize::from(forced)] += 1;
        }
        match (lane.fate(), lane.flow()) {
            (Fate::Server(_), Some(flow)) => {
                self.report.forwarded += 1;
                let client = self.clients.entry(flow.client_addr()).or_default();
                client.connections += u64::from(opened);
                client.packets += 1;
                client.bytes += len.saturating_sub(ETHERNET);
            }
            (Fate::Refused, _) => self.report.answered += 1,
            _ => {}
        }
    }

    /// Notes where two directors part.
    fn compare(&mut self, here: &Lane, there: &Lane, nanos: u64) {
        let Some(flow) = here.flow().or_else(|| there.flow()) else { return };
        let fates = [here.fate(), there.fate()];
        if fates.iter().all(|fate| matches!(fate, Fate::Left(_))) {
            return;
        }
        let place = self.flows.entry(flow).or_default();
        if fates[0] == fates[1] {
            return;
        }
        let place = *place.get_or_insert_with(|| {
            self.moved.push(MovedFlow {
                flow: format!("{flow:?}"),
                seconds: nanos as f64 / 1e9,
                here: fates[0].to_string(),
                there: fates[1].to_string(),
                packets: 0,
            });
            self.moved.len() - 1
        });
        self.moved[place].packets += 1;
    }

    fn finish(mut self, rules: &Rules, lane: &mut Lane, now: Instant, compared: bool) -> Report {
        let stats = *lane.director().stats();
        self.report.dropped =
            counts(lvs_core::drop::DropReason::ALL.iter().map(|&r| (r.name(), stats.dropped(r))));
        self.report.passed =
            counts(lvs_core::drop::PassReason::ALL.iter().map(|&r| (r.name(), stats.passed(r))));
        let entries = lane.director().services(now);
        self.report.services = rules
            .services()
            .iter()
            .filter_map(|wanted| entries.iter().find(|entry| entry.spec.key == wanted.spec.key))
            .map(|entry| service(entry, self.choices.get(&entry.spec.key).copied()))
            .collect();
        self.report.largest_clients = largest(self.clients);
        if compared {
            self.report.against =
                Some(Against { flows: self.flows.len() as u64, moved: self.moved });
        }
        self.report
    }
}

fn counts(all: impl Iterator<Item = (&'static str, u64)>) -> Vec<ReasonCount> {
    let mut found: Vec<_> = all
        .filter(|(_, packets)| *packets > 0)
        .map(|(reason, packets)| ReasonCount { reason, packets })
        .collect();
    found.sort_by_key(|count| std::cmp::Reverse(count.packets));
    found
}

fn largest(clients: HashMap<IpAddr, Client>) -> Vec<ClientReport> {
    let all: u64 = clients.values().map(|client| client.bytes).sum();
    let mut clients: Vec<_> = clients.into_iter().collect();
    clients.sort_by_key(|(addr, client)| (std::cmp::Reverse(client.bytes), *addr));
    clients.truncate(CLIENTS_MAX);
    clients
        .into_iter()
        .map(|(addr, client)| ClientReport {
            client: addr.to_string(),
            connections: client.connections,
            packets: client.packets,
            bytes: client.bytes,
            share: ratio(client.bytes, all),
        })
        .collect()
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn service(entry: &ServiceEntry, choices: Option<[u64; 2]>) -> ServiceReport {
    let all = entry.counters;
    let [scheduled, forced_by_template] = choices.unwrap_or_default();
    let servers = entry.destinations.iter().map(|server| {
        let counters = server.counters;
        ServerReport {
            server: server.spec.addr.to_string(),
            weight: server.spec.weight,
            connections: counters.connections,
            packets: counters.packets_in,
            bytes: counters.bytes_in,
            share: [
                ratio(counters.connections, all.connections),
                ratio(counters.packets_in, all.packets_in),
                ratio(counters.bytes_in, all.bytes_in),
            ],
        }
    });
    let mut servers: Vec<_> = servers.collect();
    // Oldest first, the order of the rules.
    servers.reverse();
    ServiceReport {
        service: entry.spec.key.to_string(),
        scheduler: entry.spec.scheduler.to_string(),
        connections: all.connections,
        packets: all.packets_in,
        bytes: all.bytes_in,
        forced_by_template,
        scheduled,
        jain: fairness(&entry.destinations, |_| Some(1.0)),
        jain_by_weight: fairness(&entry.destinations, |server| {
            (server.spec.weight > 0).then(|| f64::from(server.spec.weight))
        }),
        servers,
    }
}

/// Jain's index of what each server got divided by what it is due; `None` leaves a server out.
fn fairness(
    servers: &[DestinationEntry],
    due: impl Fn(&DestinationEntry) -> Option<f64>,
) -> Fairness {
    let index = |count: fn(&Counters) -> u64| {
        jain(
            servers.iter().filter_map(|server| Some(count(&server.counters) as f64 / due(server)?)),
        )
    };
    Fairness {
        connections: index(|counters| counters.connections),
        packets: index(|counters| counters.packets_in),
        bytes: index(|counters| counters.bytes_in),
    }
}
