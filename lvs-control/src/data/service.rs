//! Virtual services and real servers.

use std::net::IpAddr;

use lvs_admin::listing;
use lvs_core::addr::{Family, Granularity};
use lvs_core::command::{self, ForwardingMethod, Persistence, ServiceKey};
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::{FwMark, L4Port};
use lvs_core::listing::{DestinationEntry, ServiceEntry};
use lvs_core::stats;
use lvs_core::time::Duration;
use serde::{Deserialize, Serialize};

use super::DataError;
use super::text::protocol;

/// An address family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What names a virtual service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ServiceName {
    /// An address.
    Address {
        /// `tcp`, `udp` or `sctp`.
        #[serde(with = "protocol")]
        protocol: Protocol,
        /// The virtual address.
        address: IpAddr,
        /// The port; 0 is every port.
        port: u16,
    },
    /// A firewall mark.
    Mark {
        /// The mark, not 0.
        mark: u32,
        /// Of whose packets.
        family: IpFamily,
    },
}

impl From<ServiceKey> for ServiceName {
    fn from(key: ServiceKey) -> ServiceName {
        match key {
            ServiceKey::Address { protocol, virt } => {
                ServiceName::Address { protocol, address: virt.addr, port: virt.port.0 }
            }
            ServiceKey::Mark { mark, family } => {
                let family = if family == Family::V4 { IpFamily::Ipv4 } else { IpFamily::Ipv6 };
                ServiceName::Mark { mark: mark.0, family }
            }
        }
    }
}

impl TryFrom<ServiceName> for ServiceKey {
    type Error = DataError;

    fn try_from(name: ServiceName) -> Result<ServiceKey, DataError> {
        const PROTOCOLS: [Protocol; 3] = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
        match name {
            ServiceName::Address { protocol, address, port } if PROTOCOLS.contains(&protocol) => {
                Ok(ServiceKey::Address { protocol, virt: Endpoint::new(address, port) })
            }
            ServiceName::Mark { mark, family } if mark != 0 => {
                let family = if family == IpFamily::Ipv4 { Family::V4 } else { Family::V6 };
                Ok(ServiceKey::Mark { mark: FwMark(mark), family })
            }
            ServiceName::Address { protocol, .. } => {
                Err(DataError(format!("a service of protocol {protocol}: tcp, udp or sctp")))
            }
            ServiceName::Mark { .. } => Err(DataError("the mark of a service is not 0".to_owned())),
        }
    }
}

/// A virtual service as it is set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// What names it.
    pub service: ServiceName,
    /// The scheduler's name.
    pub scheduler: String,
    /// The numbers, 1 to 3, of the scheduler's flags that are set.
    #[serde(default)]
    pub scheduler_flags: Vec<u8>,
    /// How long a client stays with its real server; absent without persistence.
    #[serde(default)]
    pub persistent_s: Option<u64>,
    /// Which clients go together: a netmask, or a prefix length for IPv6; absent for each by itself.
    #[serde(default)]
    pub granularity: Option<String>,
    /// The name of the persistence engine; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Whether each packet is scheduled by itself.
    #[serde(default)]
    pub one_packet: bool,
}

impl From<&command::ServiceSpec> for ServiceSpec {
    fn from(spec: &command::ServiceSpec) -> ServiceSpec {
        let flags = [spec.flags.flag_1, spec.flags.flag_2, spec.flags.flag_3];
        let numbered = (1..).zip(flags).filter(|(_, set)| *set);
        let single = Granularity::single(spec.key.family());
        let granularity = (spec.granularity != single).then(|| match spec.granularity {
            Granularity::Mask(mask) => std::net::Ipv4Addr::from_bits(mask).to_string(),
            Granularity::Prefix(len) => len.to_string(),
        });
        ServiceSpec {
            service: spec.key.into(),
            scheduler: spec.scheduler.to_string(),
            scheduler_flags: numbered.map(|(number, _)| number).collect(),
            persistent_s: spec.persistence.map(|persistence| persistence.timeout.as_secs()),
            granularity,
            engine: spec.engine.as_deref().map(str::to_owned),
            one_packet: spec.one_packet,
        }
    }
}

impl TryFrom<&ServiceSpec> for command::ServiceSpec {
    type Error = DataError;

    fn try_from(data: &ServiceSpec) -> Result<command::ServiceSpec, DataError> {
        let key = ServiceKey::try_from(data.service)?;
        let mut spec = command::ServiceSpec::new(key);
        spec.scheduler = data.scheduler.as_str().into();
        for flag in &data.scheduler_flags {
            match flag {
                1 => spec.flags.flag_1 = true,
                2 => spec.flags.flag_2 = true,
                3 => spec.flags.flag_3 = true,
                _ => return Err(DataError(format!("scheduler flag {flag}: 1, 2 or 3"))),
            }
        }
        if let Some(text) = &data.granularity {
            spec.granularity = granularity(text, key.family())?;
        }
        let granularity = spec.granularity;
        spec.persistence = data
            .persistent_s
            .map(|timeout| Persistence { timeout: Duration::from_secs(timeout), granularity });
        spec.engine = data.engine.as_deref().map(Into::into);
        spec.one_packet = data.one_packet;
        Ok(spec)
    }
}

fn granularity(text: &str, family: Family) -> Result<Granularity, DataError> {
    let read = match family {
        Family::V4 => {
            text.parse().ok().map(|mask: std::net::Ipv4Addr| Granularity::Mask(mask.to_bits()))
        }
        Family::V6 => text.parse().ok().filter(|len| *len <= 128).map(Granularity::Prefix),
    };
    read.ok_or_else(|| DataError(format!("granularity {text:?}: a netmask, or a prefix length")))
}

/// A forwarding method.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// NAT.
    Masquerade,
    /// Tunneling.
    Tunnel,
    /// Direct routing.
    DirectRoute,
}

/// What a tunnel is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tunnel {
    /// Its kind.
    pub kind: TunnelKind,
    /// The real server's UDP port; 0 but for `gue`.
    #[serde(default)]
    pub port: u16,
    /// The checksum of the outer header.
    #[serde(default)]
    pub checksum: Checksum,
}

/// A kind of tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the kind of that name of --tun-type")]
pub enum TunnelKind {
    Ipip,
    Gue,
    Gre,
}

/// The checksum of a tunnel's outer header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// None.
    #[default]
    None,
    /// A checksum.
    Checksum,
    /// A remote checksum.
    Remote,
}

/// A real server as it is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServerSpec {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// How packets reach it.
    pub method: Method,
    /// The tunnel, if the method is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// Its share; 0 is quiesced.
    pub weight: u32,
    /// Connections at which it is full; 0 is no limit.
    #[serde(default)]
    pub upper_threshold: u32,
    /// Connections below which it opens again.
    #[serde(default)]
    pub lower_threshold: u32,
}

impl From<command::DestinationSpec> for ServerSpec {
    fn from(spec: command::DestinationSpec) -> ServerSpec {
        let (method, tunnel) = match spec.method {
            ForwardingMethod::Masquerade => (Method::Masquerade, None),
            ForwardingMethod::DirectRoute => (Method::DirectRoute, None),
            ForwardingMethod::Tunnel(tunnel) => (Method::Tunnel, Some(tunnel.into())),
        };
        ServerSpec {
            address: spec.addr.addr,
            port: spec.addr.port.0,
            method,
            tunnel,
            weight: spec.weight,
            upper_threshold: spec.upper_threshold,
            lower_threshold: spec.lower_threshold,
        }
    }
}

impl From<ServerSpec> for command::DestinationSpec {
    fn from(data: ServerSpec) -> command::DestinationSpec {
        let mut spec = command::DestinationSpec::new(Endpoint::new(data.address, data.port));
        let ipip = Tunnel { kind: TunnelKind::Ipip, port: 0, checksum: Checksum::None };
        spec.method = match data.method {
            Method::Masquerade => ForwardingMethod::Masquerade,
            Method::DirectRoute => ForwardingMethod::DirectRoute,
            Method::Tunnel => ForwardingMethod::Tunnel(data.tunnel.unwrap_or(ipip).into()),
        };
        spec.weight = data.weight;
        spec.upper_threshold = data.upper_threshold;
        spec.lower_threshold = data.lower_threshold;
        spec
    }
}

impl From<command::Tunnel> for Tunnel {
    fn from(tunnel: command::Tunnel) -> Tunnel {
        match tunnel {
            command::Tunnel::IpIp => {
                Tunnel { kind: TunnelKind::Ipip, port: 0, checksum: Checksum::None }
            }
            command::Tunnel::Gue { port, checksum } => {
                Tunnel { kind: TunnelKind::Gue, port: port.0, checksum: checksum.into() }
            }
            command::Tunnel::Gre { checksum } => {
                Tunnel { kind: TunnelKind::Gre, port: 0, checksum: checksum.into() }
            }
        }
    }
}

impl From<Tunnel> for command::Tunnel {
    fn from(data: Tunnel) -> command::Tunnel {
        let checksum = data.checksum.into();
        match data.kind {
            TunnelKind::Ipip => command::Tunnel::IpIp,
            TunnelKind::Gue => command::Tunnel::Gue { port: L4Port(data.port), checksum },
            TunnelKind::Gre => command::Tunnel::Gre { checksum },
        }
    }
}

impl From<command::TunnelChecksum> for Checksum {
    fn from(checksum: command::TunnelChecksum) -> Checksum {
        match checksum {
            command::TunnelChecksum::None => Checksum::None,
            command::TunnelChecksum::Checksum => Checksum::Checksum,
            command::TunnelChecksum::Remote => Checksum::Remote,
        }
    }
}

impl From<Checksum> for command::TunnelChecksum {
    fn from(data: Checksum) -> command::TunnelChecksum {
        match data {
            Checksum::None => command::TunnelChecksum::None,
            Checksum::Checksum => command::TunnelChecksum::Checksum,
            Checksum::Remote => command::TunnelChecksum::Remote,
        }
    }
}

/// What went through a service or to a real server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Connections opened.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets from real servers that the director saw.
    pub packets_out: u64,
    /// Bytes from clients, each packet's IP total length (rule A6).
    pub bytes_in: u64,
    /// Bytes from real servers that the director saw.
    pub bytes_out: u64,
}

impl From<stats::Counters> for Counters {
    fn from(counters: stats::Counters) -> Counters {
        let stats::Counters { connections, packets_in, packets_out, bytes_in, bytes_out } =
            counters;
        Counters { connections, packets_in, packets_out, bytes_in, bytes_out }
    }
}

impl From<Counters> for stats::Counters {
    fn from(data: Counters) -> stats::Counters {
        let Counters { connections, packets_in, packets_out, bytes_in, bytes_out } = data;
        stats::Counters { connections, packets_in, packets_out, bytes_in, bytes_out }
    }
}

/// The same in a second, as IPVS estimates it (rule T4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Rates {
    /// Connections opened.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets from real servers.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes from real servers.
    pub bytes_out: u64,
}

impl From<listing::Rates> for Rates {
    fn from(rates: listing::Rates) -> Rates {
        let listing::Rates { connections, packets_in, packets_out, bytes_in, bytes_out } = rates;
        Rates { connections, packets_in, packets_out, bytes_in, bytes_out }
    }
}

impl From<Rates> for listing::Rates {
    fn from(data: Rates) -> listing::Rates {
        let Rates { connections, packets_in, packets_out, bytes_in, bytes_out } = data;
        listing::Rates { connections, packets_in, packets_out, bytes_in, bytes_out }
    }
}

/// A virtual service with what went through it and its real servers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Service {
    /// As it is set.
    #[serde(flatten)]
    pub spec: ServiceSpec,
    /// Since it was added or zeroed.
    pub counters: Counters,
    /// In a second.
    pub rates: Rates,
    /// Its real servers, the newest first (rule S1).
    pub servers: Vec<Server>,
}

/// A real server of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Server {
    /// As it is set.
    #[serde(flatten)]
    pub spec: ServerSpec,
    /// Connections in an active state (rule C4).
    pub active: u32,
    /// All other connections.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
    /// Whether it is full (rule S14).
    pub overloaded: bool,
    /// Since it was added or zeroed.
    pub counters: Counters,
    /// In a second.
    pub rates: Rates,
}

impl Service {
    /// A listing's entry as data, with the rates that `rates` knows of the service and of its servers.
    pub fn new(entry: &ServiceEntry, rates: listing::RatesOf<'_>) -> Service {
        let key = entry.spec.key;
        let server = |entry: &DestinationEntry| Server {
            spec: entry.spec.into(),
            active: entry.active,
            inactive: entry.inactive,
            persistent: entry.persistent,
            overloaded: entry.overloaded,
            counters: entry.counters.into(),
            rates: rates(&key, Some(entry.spec.addr)).into(),
        };
        Service {
            spec: (&entry.spec).into(),
            counters: entry.counters.into(),
            rates: rates(&key, None).into(),
            servers: entry.destinations.iter().map(server).collect(),
        }
    }
}

impl TryFrom<&Service> for ServiceEntry {
    type Error = DataError;

    fn try_from(data: &Service) -> Result<ServiceEntry, DataError> {
        let destination = |data: &Server| DestinationEntry {
            spec: data.spec.into(),
            active: data.active,
            inactive: data.inactive,
            persistent: data.persistent,
            overloaded: data.overloaded,
            counters: data.counters.into(),
        };
        Ok(ServiceEntry {
            spec: (&data.spec).try_into()?,
            counters: data.counters.into(),
            destinations: data.servers.iter().map(destination).collect(),
        })
    }
}
