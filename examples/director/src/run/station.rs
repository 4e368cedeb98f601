//! `--tap NAME,address=…`: a TAP device, and the station that the director is at its other end.
//!
//! A network interface brings addresses and routes along; a TAP device belongs to the host's end, and the
//! director at the other end has only what it is told.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use lvs_core::addr::{MacAddr, Prefix};
use lvs_core::command::{PortSpec, RouteSpec};
use lvs_core::ids::PortId;
use lvs_io_tap::{Device, Tap};

use super::configuration::Configuration;
use super::takeover::{Takeover, Virtual};
use crate::mac;

/// A TAP device with the director's identity on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Station {
    pub(crate) device: Device,
    pub(crate) mac: MacAddr,
    /// Its addresses, each with the length of its subnet; the first of each family is the one it asks
    /// neighbours and sends errors and tunnels from.
    pub(crate) addresses: Vec<Prefix>,
    pub(crate) gateways: Vec<IpAddr>,
}

/// Why a word of the command line names no station.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StationError {
    #[error(transparent)]
    Device(#[from] lvs_io_tap::Error),
    #[error(
        "{0} has no address: a TAP device brings none along; write {0},address=10.0.0.2/24, an address for \
         the director that nobody else has on that network"
    )]
    NoAddress(String),
    #[error("`{value}` is no value for {key}: {why}")]
    Value { key: String, value: String, why: &'static str },
    #[error(
        "`{0}` is not known here; after the name come address=, address6=, gateway=, gateway6=, mac=, mtu=, \
         queues=, bridge= and persistent, with commas between them"
    )]
    Key(String),
    #[error("gateway {0} is in no subnet of the addresses given")]
    GatewayOffLink(IpAddr),
}

impl FromStr for Station {
    type Err = StationError;

    fn from_str(text: &str) -> Result<Station, StationError> {
        let mut words = text.split(',');
        let name = words.next().unwrap_or_default();
        let mut station = Station {
            device: Device::new(name),
            mac: default_mac(name),
            addresses: Vec::new(),
            gateways: Vec::new(),
        };
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            station.set(key, value)?;
        }
        station.device.check()?;
        if station.addresses.is_empty() {
            return Err(StationError::NoAddress(name.to_owned()));
        }
        let is_off_link = |gateway: &&IpAddr| {
            !is_link_local(**gateway) && !station.addresses.iter().any(|p| p.contains(**gateway))
        };
        match station.gateways.iter().find(is_off_link) {
            Some(gateway) => Err(StationError::GatewayOffLink(*gateway)),
            None => Ok(station),
        }
    }
}

impl Station {
    fn set(&mut self, key: &str, value: &str) -> Result<(), StationError> {
        let wrong = |why| StationError::Value { key: key.to_owned(), value: value.to_owned(), why };
        let device = self.device.clone();
        match key {
            "address" | "address6" => {
                let prefix = parse_prefix(value).ok_or_else(|| {
                    wrong("write an address with the length of its subnet, as in 10.0.0.2/24")
                })?;
                if !is_of_a_host(prefix.addr()) {
                    return Err(wrong("it is no address of a host"));
                }
                check_family(key, prefix.addr()).map_err(wrong)?;
                self.addresses.push(prefix);
            }
            "gateway" | "gateway6" => {
                let addr: IpAddr = value.parse().map_err(|_| wrong("write an address"))?;
                if !is_of_a_host(addr) {
                    return Err(wrong("it is no address of a host"));
                }
                check_family(key, addr).map_err(wrong)?;
                self.gateways.push(addr);
            }
            "mac" => self.mac = mac::parse(value).map_err(wrong)?,
            "mtu" => self.device = device.mtu(number(value).map_err(wrong)?),
            "queues" => self.device = device.queues(number(value).map_err(wrong)?),
            "bridge" => self.device = device.bridge(value),
            "persistent" if value.is_empty() => self.device = device.persistent(true),
            _ => return Err(StationError::Key(key.to_owned())),
        }
        Ok(())
    }
}

fn number<N: FromStr>(value: &str) -> Result<N, &'static str> {
    value.parse().map_err(|_| "write a number")
}

fn check_family(key: &str, addr: IpAddr) -> Result<(), &'static str> {
    if key.ends_with('6') && addr.is_ipv4() { Err("it is not of IPv6") } else { Ok(()) }
}

fn is_of_a_host(addr: IpAddr) -> bool {
    !addr.is_unspecified() && !addr.is_multicast() && !addr.is_loopback()
}

fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

fn parse_prefix(text: &str) -> Option<Prefix> {
    let (addr, len) = text.split_once('/')?;
    Prefix::new(addr.parse().ok()?, len.parse().ok()?)
}

/// A locally administered address (IEEE 802 §8.4) that is the same at each start, and another on another
/// machine or device: caches of neighbours and switches outlive a restart.
fn default_mac(name: &str) -> MacAddr {
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    mac_of(machine.trim(), name)
}

/// FNV-1a, 64 bits, of both names.
fn mac_of(machine: &str, name: &str) -> MacAddr {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let bytes = machine.bytes().chain([0]).chain(name.bytes());
    let [.., a, b, c, d, e] = bytes.fold(0xcbf2_9ce4_8422_2325, fnv).to_be_bytes();
    MacAddr([0x02, a, b, c, d, e])
}

impl Takeover {
    /// What there is to take over at the far ends of TAP devices: everything, as nobody else is there.
    pub(super) fn of_stations(
        configuration: &Configuration,
        stations: &[Station],
        io: &Tap,
        extra: &[IpAddr],
    ) -> Takeover {
        let mut takeover = Takeover::default();
        for (number, station) in stations.iter().enumerate() {
            let id = PortId(number as u16);
            let mtu = io.interface(id).map_or(1_500, |interface| interface.mtu);
            let (mac, addresses) = (station.mac, station.addresses.clone());
            takeover.own.extend(addresses.iter().map(Prefix::addr));
            takeover.routes.extend(routes(id, station));
            takeover.ports.push(PortSpec { id, mac, mtu, addresses });
        }
        let mut addrs = configuration.virtual_addresses();
        let more = extra.iter().filter(|addr| !addrs.contains(addr)).copied();
        addrs.extend(more.collect::<Vec<_>>());
        let virt = |addr| Virtual { addr, on_host: None, answer: true };
        takeover.virtuals = addrs.into_iter().map(virt).collect();
        takeover
    }
}

/// The subnets on the link, and what is behind the gateways: everything.
fn routes(id: PortId, station: &Station) -> impl Iterator<Item = RouteSpec> {
    let on_link = station.addresses.iter().filter(|prefix| !prefix.is_host());
    let on_link = on_link.map(move |&prefix| RouteSpec { prefix, port: Some(id), via: None });
    let behind = station.gateways.iter().filter_map(move |&gateway| {
        let any: IpAddr = match gateway {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let prefix = Prefix::new(any, 0)?;
        Some(RouteSpec { prefix, port: Some(id), via: Some(gateway) })
    });
    on_link.chain(behind)
}

/// What the operator should know of stations and services.
pub(super) fn warnings(
    stations: &[Station],
    io: &Tap,
    configuration: &Configuration,
    takeover: &Takeover,
) -> Vec<String> {
    let leads_to = |addr: IpAddr| takeover.routes.iter().any(|route| route.prefix.contains(addr));
    let astray: BTreeSet<&IpAddr> =
        configuration.servers.iter().filter(|addr| !leads_to(**addr)).collect();
    let mut warnings: Vec<String> = astray.into_iter().map(no_way).collect();
    let virtuals = configuration.virtual_addresses();
    for (number, station) in stations.iter().enumerate() {
        let name = station.device.name();
        let host = io.interface(PortId(number as u16)).map(|interface| interface.mac);
        if host == Some(station.mac) {
            warnings.push(format!(
                "mac={} is the address of the host's end of {name}, too: neither will hear the other; \
                 choose another",
                station.mac
            ));
        }
        let own = || station.addresses.iter().map(Prefix::addr);
        for addr in own().filter(|addr| configuration.servers.contains(addr)) {
            warnings.push(format!(
                "real server {addr} is the director itself, at the far end of {name}, where nobody serves"
            ));
        }
        for addr in own().filter(|addr| virtuals.contains(addr)) {
            warnings.push(format!(
                "{addr} is the director's own address on {name} and a virtual one: real servers that have \
                 it on lo do not answer when it asks for them; give {name} another address of its own"
            ));
        }
    }
    warnings
}

fn no_way(server: &IpAddr) -> String {
    let key = if server.is_ipv4() { "address=" } else { "address6=" };
    format!(
        "no way leads to real server {server}: give a --tap an {key} in its network, a gateway to it, or \
         the director a --route"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        text.parse::<Station>().unwrap_err().to_string()
    }

    #[test]
    fn a_station_has_a_device_addresses_gateways_and_a_mac() {
        let text = "lvs0,address=10.0.0.2/24,address6=fd00::2/64,gateway=10.0.0.1,gateway6=fe80::1,\
                    mac=02:00:00:00:00:99,mtu=9000,queues=2,bridge=br0,persistent";
        let station: Station = text.parse().unwrap();
        let device = Device::new("lvs0").mtu(9000).queues(2).bridge("br0").persistent(true);
        assert_eq!(station.device, device);
        assert_eq!(station.mac, MacAddr([2, 0, 0, 0, 0, 0x99]));
        assert_eq!(station.addresses.len(), 2);
        let routes: Vec<String> = routes(PortId(0), &station)
            .map(|route| format!("{} {:?}", route.prefix, route.via))
            .collect();
        assert_eq!(routes.len(), 4, "{routes:?}");
        assert_eq!(routes[2], "0.0.0.0/0 Some(10.0.0.1)");
        assert_eq!(routes[3], "::/0 Some(fe80::1)");
    }

    #[test]
    fn mistakes_are_told_with_what_would_be_right() {
        let error = refused("lvs0");
        assert!(error.starts_with("lvs0 has no address"), "{error}");
        assert!(error.contains("lvs0,address=10.0.0.2/24"), "{error}");
        let cases = [
            ("lvs0,address=10.0.0.2", "length of its subnet"),
            ("lvs0,address=10.0.0.2/33", "length of its subnet"),
            ("lvs0,address=224.0.0.1/24", "no address of a host"),
            ("lvs0,address6=10.0.0.2/24", "not of IPv6"),
            ("lvs0,address=10.0.0.2/24,gateway=10.0.1.1", "in no subnet"),
            ("lvs0,address=10.0.0.2/24,gateway=x", "write an address"),
            ("lvs0,address=10.0.0.2/24,mac=01:00:5e:00:00:01", "must be even"),
            ("lvs0,address=10.0.0.2/24,mac=02:00", "six bytes"),
            ("lvs0,address=10.0.0.2/24,mtu=99", "out of range"),
            ("lvs0,address=10.0.0.2/24,mtu=big", "write a number"),
            ("lvs0,address=10.0.0.2/24,queues=0", "out of range"),
            ("lvs0,adress=10.0.0.2/24", "`adress` is not known here"),
            ("a-name-far-too-long,address=10.0.0.2/24", "too long"),
            (",address=10.0.0.2/24", "it is empty"),
        ];
        for (text, wanted) in cases {
            let error = refused(text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn the_default_mac_is_a_stations_and_tells_machines_and_devices_apart() {
        let mac = mac_of("machine", "lvs0");
        assert_eq!((mac.0[0], mac), (2, mac_of("machine", "lvs0")));
        assert_ne!(mac, mac_of("machine", "lvs1"));
        assert_ne!(mac, mac_of("another", "lvs0"));
    }
}
