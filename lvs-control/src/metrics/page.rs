//! The page: names and labels.
//!
//! Names begin with `lvs_`, counters end with `_total`, and labels of services and real servers are those
//! that Prometheus' node exporter gives IPVS in the kernel, so that a dashboard needs new names only. No
//! label has a client's address; there are as many series as there are services and servers, and of
//! servers at most [`SERVERS_MAX`].

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::sync;
use crate::data::{About, Counters, Daemon, IpFamily, Server, Service, ServiceName, Totals};

/// Real servers on a page; how many did not find room is a metric itself.
pub const SERVERS_MAX: usize = 10_000;

/// The metrics of a director in the text of OpenMetrics.
///
/// ```
/// use lvs_control::data::{About, Totals};
/// use lvs_control::metrics::page;
///
/// let about = About {
///     version: "0.1.0".to_owned(),
///     pid: 1,
///     uptime_ms: 2500,
///     interfaces: vec!["eth0".to_owned()],
///     daemons: Vec::new(),
///     rules: None,
///     connections_max: 1024,
///     templates_max: 1024,
/// };
/// let totals = Totals { connections: 17, ..Totals::default() };
/// let text = page(&about, &totals, &[], &[]);
/// assert!(text.contains("\nlvs_connections 17\n"), "{text}");
/// ```
pub fn page(about: &About, totals: &Totals, services: &[Service], daemons: &[Daemon]) -> String {
    let mut registry = Registry::default();
    let (about, totals, services) = (about.clone(), totals.clone(), services.to_vec());
    let daemons = daemons.to_vec();
    registry.register_collector(Box::new(Page { about, totals, services, daemons }));
    let mut text = String::new();
    let encoded = prometheus_client::encoding::text::encode(&mut text, &registry);
    debug_assert!(encoded.is_ok(), "a String takes every text");
    text
}

#[derive(Debug)]
struct Page {
    about: About,
    totals: Totals,
    services: Vec<Service>,
    daemons: Vec<Daemon>,
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.program(&mut encoder)?;
        self.frames(&mut encoder)?;
        self.tables(&mut encoder)?;
        sync::daemons(&mut encoder, &self.daemons)?;
        self.services(&mut encoder)?;
        self.servers(&mut encoder)
    }
}

/// Labels: a name and its value each.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A number that every `T` has: the metric's name, its help text, its value.
pub(super) type Column<T> = (&'static str, &'static str, fn(&T) -> u64);

/// One metric family being written.
pub(super) struct Family<'e>(MetricEncoder<'e>);

impl<'e> Family<'e> {
    pub(super) fn counter<'d: 'e>(
        encoder: &'e mut DescriptorEncoder<'d>,
        name: &'e str,
        help: &'e str,
    ) -> Result<Family<'e>, fmt::Error> {
        let kind = ConstCounter::new(0u64).metric_type();
        Ok(Family(encoder.encode_descriptor(name, help, None, kind)?))
    }

    pub(super) fn gauge<'d: 'e>(
        encoder: &'e mut DescriptorEncoder<'d>,
        name: &'e str,
        help: &'e str,
    ) -> Result<Family<'e>, fmt::Error> {
        let kind = ConstGauge::new(0i64).metric_type();
        Ok(Family(encoder.encode_descriptor(name, help, None, kind)?))
    }

    /// The only series of the family.
    fn alone(self, metric: &impl EncodeMetric) -> fmt::Result {
        metric.encode(self.0)
    }

    pub(super) fn count(&mut self, labels: &Labels, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.0.encode_family(labels)?)
    }

    pub(super) fn level(&mut self, labels: &Labels, value: u64) -> fmt::Result {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        ConstGauge::new(value).encode(self.0.encode_family(labels)?)
    }
}

impl Page {
    fn program(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut build = Family::gauge(encoder, "lvs_build_info", "The version of the director")?;
        build.level(&vec![("version", self.about.version.clone())], 1)?;
        let uptime = self.about.uptime_ms as f64 / 1000.0;
        let help = "Since the director started, in seconds";
        let kind = ConstGauge::new(0f64).metric_type();
        let metric = encoder.encode_descriptor("lvs_uptime_seconds", help, None, kind)?;
        ConstGauge::new(uptime).encode(metric)
    }

    fn frames(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let t = &self.totals;
        let plain: [(&str, &str, u64); 7] = [
            ("lvs_frames_received", "Frames handed to the director", t.received),
            ("lvs_frames_transmitted", "Frames sent on to real servers or clients", t.transmitted),
            ("lvs_frames_replied", "Frames answered to where they came from", t.replied),
            ("lvs_frames_absorbed", "Frames kept for later, among them fragments", t.absorbed),
            (
                "lvs_frames_originated",
                "Frames of the director's own, and kept ones, sent",
                t.originated,
            ),
            ("lvs_packets_reassembled", "Packets put together from fragments", t.reassembled),
            ("lvs_icmp_suppressed", "ICMP errors that pacing held back", t.icmp_suppressed),
        ];
        for (name, help, value) in plain {
            Family::counter(encoder, name, help)?.alone(&ConstCounter::new(value))?;
        }
        let help = "Frames dropped, by reason";
        let mut dropped = Family::counter(encoder, "lvs_frames_dropped", help)?;
        for (reason, &count) in &t.dropped {
            dropped.count(&vec![("reason", reason.clone())], count)?;
        }
        let help = "Frames left to the host, by reason";
        let mut passed = Family::counter(encoder, "lvs_frames_passed", help)?;
        for (reason, &count) in &t.passed {
            passed.count(&vec![("reason", reason.clone())], count)?;
        }
        Ok(())
    }

    fn tables(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let t = &self.totals;
        let levels: [(&str, &str, u32); 4] = [
            ("lvs_connections", "Connections there are", t.connections),
            ("lvs_connections_limit", "Connections there is room for", t.connections_max),
            ("lvs_templates", "Persistence templates there are", t.templates),
            ("lvs_templates_limit", "Persistence templates there is room for", t.templates_max),
        ];
        for (name, help, value) in levels {
            Family::gauge(encoder, name, help)?.alone(&ConstGauge::new(i64::from(value)))?;
        }
        Ok(())
    }

    fn services(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let subjects =
            || self.services.iter().map(|s| (service_labels(&s.spec.service), s.counters));
        counters(encoder, "lvs_service", "virtual service", subjects)
    }

    fn servers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all =
            || self.services.iter().flat_map(|s| s.servers.iter().map(move |server| (s, server)));
        let shown =
            || all().take(SERVERS_MAX).map(|(s, server)| (server_labels(s, server), server));
        let help = "Real servers that are not on this page";
        let left_out = all().count().saturating_sub(SERVERS_MAX);
        Family::gauge(encoder, "lvs_servers_left_out", help)?
            .alone(&ConstGauge::new(left_out as i64))?;

        let levels: [Column<Server>; 5] = [
            ("lvs_server_weight", "Weight; 0 is quiesced", |s| s.spec.weight.into()),
            ("lvs_server_connections_active", "Active connections", |s| s.active.into()),
            ("lvs_server_connections_inactive", "Inactive connections", |s| s.inactive.into()),
            ("lvs_server_templates", "Persistence templates", |s| s.persistent.into()),
            ("lvs_server_overloaded", "1 beyond its upper threshold", |s| s.overloaded.into()),
        ];
        for (name, help, value) in levels {
            let mut family = Family::gauge(encoder, name, help)?;
            for (labels, server) in shown() {
                family.level(&labels, value(server))?;
            }
        }
        let subjects = || shown().map(|(labels, server)| (labels, server.counters));
        counters(encoder, "lvs_server", "real server", subjects)
    }
}

/// The five counters of IPVS for each subject. They start anew when they are zeroed (`-Z`), as counters
/// may.
fn counters<I: Iterator<Item = (Labels, Counters)>>(
    encoder: &mut DescriptorEncoder<'_>,
    prefix: &str,
    of: &str,
    subjects: impl Fn() -> I,
) -> fmt::Result {
    let kinds: [Column<Counters>; 5] = [
        ("connections", "Connections opened", |c| c.connections),
        ("incoming_packets", "Packets from clients", |c| c.packets_in),
        ("outgoing_packets", "Packets from real servers that the director saw", |c| c.packets_out),
        ("incoming_bytes", "Bytes from clients", |c| c.bytes_in),
        ("outgoing_bytes", "Bytes from real servers that the director saw", |c| c.bytes_out),
    ];
    for (name, what, value) in kinds {
        let (name, help) = (format!("{prefix}_{name}"), format!("{what}, by {of}"));
        let mut family = Family::counter(encoder, &name, &help)?;
        for (labels, counters) in subjects() {
            family.count(&labels, value(&counters))?;
        }
    }
    Ok(())
}

/// The same names for every service, so that any two series can be joined; what a service has not is empty.
fn service_labels(service: &ServiceName) -> Labels {
    let (proto, address, port, mark, v6) = match *service {
        ServiceName::Address { protocol, address, port } => {
            let protocol = protocol.to_string().to_uppercase();
            (protocol, address.to_string(), port.to_string(), String::new(), address.is_ipv6())
        }
        ServiceName::Mark { mark, family } => {
            let v6 = family == IpFamily::Ipv6;
            ("FWM".to_owned(), String::new(), String::new(), mark.to_string(), v6)
        }
    };
    let family = if v6 { "ipv6" } else { "ipv4" };
    vec![
        ("proto", proto),
        ("family", family.to_owned()),
        ("local_address", address),
        ("local_port", port),
        ("local_mark", mark),
    ]
}

fn server_labels(service: &Service, server: &Server) -> Labels {
    let (address, port) = (server.spec.address.to_string(), server.spec.port.to_string());
    let mut labels = service_labels(&service.spec.service);
    labels.extend([("remote_address", address), ("remote_port", port)]);
    labels
}
