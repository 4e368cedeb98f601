//! What a replay of a capture found, as data and as text.

use std::fmt;

use serde::Serialize;

/// What became of a capture.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Report {
    /// Packets in the capture.
    pub packets: u64,
    /// Their bytes on the wire, link layer included.
    pub bytes: u64,
    /// Packets of which the capture holds only the beginning.
    pub cut_packets: u64,
    /// Packets that were not replayed: to another station than the chosen one, or longer than any frame.
    pub skipped: u64,
    /// Whether the file ends within a packet.
    pub truncated: bool,
    /// From the first packet to the last, in seconds.
    pub seconds: f64,
    /// Packets sent to real servers.
    pub forwarded: u64,
    /// Packets answered with an ICMP error.
    pub answered: u64,
    /// Packets dropped, by reason, the most frequent first.
    pub dropped: Vec<ReasonCount>,
    /// Packets left to the director's host, by reason, the most frequent first.
    pub passed: Vec<ReasonCount>,
    /// Each service in the order of the rules.
    pub services: Vec<ServiceReport>,
    /// The clients that sent most, by bytes.
    pub largest_clients: Vec<ClientReport>,
    /// The comparison with other rules, if it was asked for.
    pub against: Option<Against>,
}

/// How often something happened for a reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ReasonCount {
    /// The reason's name.
    pub reason: &'static str,
    /// How often.
    pub packets: u64,
}

/// What went through a service.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ServiceReport {
    /// The service, as listings name it.
    pub service: String,
    /// Its scheduler.
    pub scheduler: String,
    /// Connections opened.
    pub connections: u64,
    /// Packets from clients.
    pub packets: u64,
    /// Bytes from clients, from the IP header on.
    pub bytes: u64,
    /// Connections whose server a persistence template named.
    pub forced_by_template: u64,
    /// Connections whose server the scheduler chose.
    pub scheduled: u64,
    /// How evenly they were shared out.
    pub jain: Fairness,
    /// The same with each share divided by its server's weight; servers of weight 0 left out.
    pub jain_by_weight: Fairness,
    /// Its real servers.
    pub servers: Vec<ServerReport>,
}

/// Jain's index over the servers of a service; `None` if nothing was shared out.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Fairness {
    /// Of connections.
    pub connections: Option<f64>,
    /// Of packets.
    pub packets: Option<f64>,
    /// Of bytes.
    pub bytes: Option<f64>,
}

/// What went to a real server.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ServerReport {
    /// Its address and port.
    pub server: String,
    /// Its weight.
    pub weight: u32,
    /// Connections opened.
    pub connections: u64,
    /// Packets from clients.
    pub packets: u64,
    /// Bytes from clients, from the IP header on.
    pub bytes: u64,
    /// Its share of the service's connections, packets and bytes; 0 to 1.
    pub share: [f64; 3],
}

/// What came from a client, over all services.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ClientReport {
    /// Its address.
    pub client: String,
    /// Connections opened.
    pub connections: u64,
    /// Packets.
    pub packets: u64,
    /// Bytes, from the IP header on.
    pub bytes: u64,
    /// Its share of the bytes of all clients; 0 to 1.
    pub share: f64,
}

/// How another rule set would have decided.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Against {
    /// Flows that either rule set took, refused or dropped.
    pub flows: u64,
    /// Those that would go elsewhere, in the order of their first differing packets.
    pub moved: Vec<MovedFlow>,
}

/// A flow that another rule set would treat differently.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct MovedFlow {
    /// Protocol, client and virtual address.
    pub flow: String,
    /// When they first differ, in seconds from the capture's first packet.
    pub seconds: f64,
    /// What the rules do with it.
    pub here: String,
    /// What the other rules do with it.
    pub there: String,
    /// Packets from the client that are treated differently.
    pub packets: u64,
}

impl Report {
    /// The report for machines.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// A share of 0 to 1 in per cent.
fn percent(share: f64) -> String {
    format!("{:5.1} %", share * 100.0)
}

fn index(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} packets, {} bytes in {:.3} s", self.packets, self.bytes, self.seconds)?;
        if self.cut_packets > 0 {
            let cut = self.cut_packets;
            writeln!(f, "{cut} of them cut off by the capture; what is missing counts as zeros")?;
        }
        if self.skipped > 0 {
            writeln!(f, "{} of them not replayed: to another station, or too long", self.skipped)?;
        }
        if self.truncated {
            writeln!(f, "the file ends within a packet; what comes before it was replayed")?;
        }
        writeln!(f, "{} forwarded, {} answered", self.forwarded, self.answered)?;
        for (what, counts) in [("dropped", &self.dropped), ("left to the host", &self.passed)] {
            for ReasonCount { reason, packets } in counts {
                writeln!(f, "{packets} {what}: {reason}")?;
            }
        }
        self.services.iter().try_for_each(|service| write!(f, "\n{service}"))?;
        if !self.largest_clients.is_empty() {
            writeln!(f, "\nlargest clients")?;
        }
        for client in &self.largest_clients {
            let ClientReport { client, connections, packets, bytes, share } = client;
            let share = percent(*share);
            writeln!(
                f,
                "  {client:39} {connections:>8} connections {packets:>10} packets {bytes:>12} bytes {share}"
            )?;
        }
        self.against.iter().try_for_each(|against| write!(f, "\n{against}"))
    }
}

impl fmt::Display for ServiceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.service, self.scheduler)?;
        writeln!(f, "  {:40} weight  connections         packets           bytes", "server")?;
        for server in &self.servers {
            let [connections, packets, bytes] = server.share.map(percent);
            writeln!(
                f,
                "  {:40} {:>6} {:>7} {connections} {:>9} {packets} {:>11} {bytes}",
                server.server, server.weight, server.connections, server.packets, server.bytes
            )?;
        }
        for (name, fairness) in
            [("Jain's index", self.jain), ("Jain's index by weight", self.jain_by_weight)]
        {
            let Fairness { connections, packets, bytes } = fairness;
            let [connections, packets, bytes] = [connections, packets, bytes].map(index);
            writeln!(f, "  {name:40} {connections:>23} {packets:>17} {bytes:>19}")?;
        }
        writeln!(
            f,
            "  {} connections scheduled, {} sent where a template said",
            self.scheduled, self.forced_by_template
        )
    }
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (moved, flows) = (self.moved.len(), self.flows);
        writeln!(f, "{moved} of {flows} flows would go elsewhere under the other rules")?;
        for flow in &self.moved {
            let MovedFlow { flow, seconds, here, there, packets } = flow;
            writeln!(f, "  {seconds:>12.6} s  {flow}  {here} -> {there}  {packets} packets")?;
        }
        Ok(())
    }
}
