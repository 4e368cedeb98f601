//! What a plan needs to know about a host, as data.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lvs_core::addr::{Family, Prefix};

use crate::sysctl::Sysctl;

/// A host as it is. [`Host::observe`] reads the one that the program runs on; an empty one
/// ([`Host::default`]) has no interface and no setting.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Host {
    /// Its interfaces, the loopback among them.
    pub interfaces: Vec<Interface>,
    /// Its settings; one that the kernel does not have is missing.
    pub sysctls: BTreeMap<Sysctl, i64>,
    /// UDP ports on which the kernel's fou module opens GUE; only read where the kernel is to do it.
    pub fou_ports: Vec<u16>,
    /// IP protocols that raw sockets of IPv4 take; only read where tunnels are to be opened.
    pub raw_protocols: Vec<u8>,
    /// UDP ports that sockets of IPv4 have; only read where tunnels are to be opened.
    pub udp_ports: Vec<u16>,
    /// Whether the kernel's fou module is loaded, or part of the kernel.
    pub has_fou: bool,
}

/// An interface of a host.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The kernel's number for it.
    pub index: u32,
    /// Its addresses with the length of their networks.
    pub addresses: Vec<Prefix>,
    /// Whether it is the loopback.
    pub is_loopback: bool,
    /// Whether it speaks ARP and NDP.
    pub has_arp: bool,
    /// Whether it is administratively up.
    pub is_up: bool,
    /// The longest packet it takes, in bytes.
    pub mtu: u32,
    /// Whether a default route of IPv4 leaves by it.
    pub has_default_route: bool,
}

impl Host {
    /// The interface of a name.
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// The interfaces that have an address.
    pub fn owners(&self, addr: IpAddr) -> impl Iterator<Item = &Interface> {
        let has = move |interface: &&Interface| {
            interface.addresses.iter().any(|prefix| prefix.addr() == addr)
        };
        self.interfaces.iter().filter(has)
    }

    /// A setting; `None` if the kernel does not have it.
    pub fn sysctl(&self, family: Family, scope: &str, name: &'static str) -> Option<i64> {
        self.sysctls.get(&Sysctl::new(family, scope, name)).copied()
    }

    /// What is in force on an interface of a setting of which the larger one of `all` and the
    /// interface's own counts: `arp_ignore`, `arp_announce`, `rp_filter`.
    pub(crate) fn in_force(&self, interface: &str, name: &'static str) -> i64 {
        let of = |scope| self.sysctl(Family::V4, scope, name).unwrap_or(0);
        of("all").max(of(interface))
    }
}
