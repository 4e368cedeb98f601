//! The names of hosts and ports that this host knows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs as _};

use lvs_admin::names::{Names, Services};
use lvs_core::flow::Protocol;

/// `/etc/services`, and whatever the system asks for the names of hosts. Each address is asked for once.
pub(super) struct HostNames {
    services: Services,
    hosts: RefCell<HashMap<IpAddr, Option<String>>>,
}

impl HostNames {
    pub(super) fn new() -> HostNames {
        let services = match std::fs::read_to_string("/etc/services") {
            Ok(text) => Services::parse(&text),
            Err(_) => Services::well_known(),
        };
        HostNames { services, hosts: RefCell::default() }
    }
}

impl Names for HostNames {
    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.services.port(name, protocol)
    }

    fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
        self.services.service(port, protocol)
    }

    fn host(&self, addr: IpAddr) -> Option<String> {
        let ask = || dns_lookup::lookup_addr(&addr).ok().filter(|name| *name != addr.to_string());
        self.hosts.borrow_mut().entry(addr).or_insert_with(ask).clone()
    }

    fn address(&self, name: &str) -> Option<IpAddr> {
        let mut found = (name, 0).to_socket_addrs().ok()?.map(|end| end.ip());
        // ipvsadm's option without brackets is an IPv4 address.
        let first = found.next()?;
        if first.is_ipv4() { Some(first) } else { found.find(IpAddr::is_ipv4).or(Some(first)) }
    }
}
