//! Names of ports and hosts.
//!
//! This crate resolves nothing itself: whoever calls it hands over a [`Names`], which may know
//! `/etc/services` ([`Services`]), a name server, or nothing at all ([`NumericOnly`]).

use std::collections::HashMap;
use std::net::IpAddr;

use lvs_core::flow::Protocol;

/// What knows the names of ports and hosts.
pub trait Names {
    /// The port that a service's name stands for, such as 80 for `http`.
    fn port(&self, name: &str, protocol: Protocol) -> Option<u16>;

    /// The name of the service on a port; `None` lets listings print the number.
    fn service(&self, port: u16, protocol: Protocol) -> Option<String>;

    /// The name of a host; `None` lets listings print the address.
    fn host(&self, addr: IpAddr) -> Option<String>;

    /// The address that a host's name stands for. Nothing is known unless an implementation says so.
    fn address(&self, name: &str) -> Option<IpAddr> {
        let _ = name;
        None
    }
}

/// Knows no name: listings with `-n`, and rules files that contain numbers only.
#[derive(Clone, Copy, Debug, Default)]
pub struct NumericOnly;

impl Names for NumericOnly {
    fn port(&self, _name: &str, _protocol: Protocol) -> Option<u16> {
        None
    }

    fn service(&self, _port: u16, _protocol: Protocol) -> Option<String> {
        None
    }

    fn host(&self, _addr: IpAddr) -> Option<String> {
        None
    }
}

/// The names of ports from a file in the format of `/etc/services` (services(5)). It knows no hosts.
///
/// ```
/// use lvs_admin::names::{Names, Services};
/// use lvs_core::flow::Protocol;
///
/// let services = Services::parse("www-local 8080/tcp www # inside\n");
/// assert_eq!(services.port("www", Protocol::TCP), Some(8080));
/// assert_eq!(services.service(8080, Protocol::TCP).as_deref(), Some("www-local"));
/// assert_eq!(services.port("www", Protocol::UDP), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Services {
    ports: HashMap<(String, Protocol), u16>,
    names: HashMap<(u16, Protocol), String>,
}

impl Services {
    /// Reads the text of a services file. As the system's own lookups do, it passes over lines that it
    /// cannot read, and of two lines about one port or one name the first counts.
    pub fn parse(text: &str) -> Services {
        let mut services = Services::default();
        for line in text.lines() {
            services.line(line);
        }
        services
    }

    /// The well-known services of a load balancer, for hosts without a services file, which most
    /// containers are. Numbers and names are those of IANA's registry.
    pub fn well_known() -> Services {
        Services::parse(WELL_KNOWN)
    }

    fn line(&mut self, line: &str) {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let (Some(name), Some(what)) = (words.next(), words.next()) else { return };
        let Some((port, protocol)) = what.split_once('/') else { return };
        let (Ok(port), Some(protocol)) = (port.parse::<u16>(), protocol_of(protocol)) else {
            return;
        };
        self.names.entry((port, protocol)).or_insert_with(|| name.to_owned());
        for name in std::iter::once(name).chain(words) {
            self.ports.entry((name.to_owned(), protocol)).or_insert(port);
        }
    }
}

impl Names for Services {
    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.ports.get(&(name.to_owned(), protocol)).copied()
    }

    fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
        self.names.get(&(port, protocol)).cloned()
    }

    fn host(&self, _addr: IpAddr) -> Option<String> {
        None
    }
}

fn protocol_of(word: &str) -> Option<Protocol> {
    match word {
        "tcp" => Some(Protocol::TCP),
        "udp" => Some(Protocol::UDP),
        "sctp" => Some(Protocol::SCTP),
        _ => None,
    }
}

const WELL_KNOWN: &str = "\
ftp-data 20/tcp
ftp 21/tcp
ssh 22/tcp
telnet 23/tcp
smtp 25/tcp mail
domain 53/tcp
domain 53/udp
bootps 67/udp
tftp 69/udp
http 80/tcp www
http 80/udp
pop3 110/tcp pop-3
sunrpc 111/tcp portmapper
sunrpc 111/udp portmapper
nntp 119/tcp
ntp 123/udp
imap2 143/tcp imap
snmp 161/udp
bgp 179/tcp
ldap 389/tcp
https 443/tcp
https 443/udp
submissions 465/tcp ssmtp smtps urd
syslog 514/udp
submission 587/tcp
ldaps 636/tcp
domain-s 853/tcp
domain-s 853/udp
imaps 993/tcp
pop3s 995/tcp
openvpn 1194/udp
ms-sql-s 1433/tcp
radius 1812/udp
radius-acct 1813/udp
nfs 2049/tcp
mysql 3306/tcp
sip 5060/tcp
sip 5060/udp
sip-tls 5061/tcp
postgresql 5432/tcp postgres
amqp 5672/tcp
http-alt 8080/tcp webcache
";

/// Names as the machine knew them that recorded what ipvsadm says.
#[cfg(test)]
pub(crate) struct RecordingMachine(Services);

#[cfg(test)]
impl RecordingMachine {
    pub(crate) fn new() -> RecordingMachine {
        RecordingMachine(Services::well_known())
    }
}

#[cfg(test)]
impl Names for RecordingMachine {
    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.0.port(name, protocol)
    }

    fn service(&self, port: u16, protocol: Protocol) -> Option<String> {
        self.0.service(port, protocol)
    }

    fn host(&self, addr: IpAddr) -> Option<String> {
        addr.is_loopback().then(|| "localhost".to_owned())
    }

    fn address(&self, name: &str) -> Option<IpAddr> {
        (name == "localhost").then(|| [127, 0, 0, 1].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_about_a_port_names_it() {
        let services =
            Services::parse("a 80/tcp\nb 80/tcp c\nbad\nx 99999/tcp\ny 7/ddp\n\n#z 9/udp\n");
        assert_eq!(services.service(80, Protocol::TCP).as_deref(), Some("a"));
        assert_eq!(services.port("c", Protocol::TCP), Some(80));
        assert_eq!(services.port("x", Protocol::TCP), None);
        assert_eq!(services.port("z", Protocol::UDP), None);
    }

    #[test]
    fn the_well_known_services_are_all_readable() {
        let services = Services::well_known();
        assert_eq!(services.names.len(), WELL_KNOWN.lines().count());
        assert_eq!(services.port("https", Protocol::TCP), Some(443));
    }
}
