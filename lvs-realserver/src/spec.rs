//! What a real server is to be.

use std::fmt;
use std::net::IpAddr;

use lvs_core::addr::Family;

/// The name of the decapsulator's device.
pub const DEVICE: &str = "lvs-decap";

/// The UDP port of GUE that IANA assigned (6080).
pub const GUE_PORT: u16 = 6080;

/// A kind of tunnel, as in ipvsadm's `--tun-type`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum TunnelKind {
    /// IP in IP (RFC 2003, RFC 2473, RFC 4213).
    IpIp,
    /// Generic UDP encapsulation.
    Gue {
        /// The UDP port, in the byte order of the host.
        port: u16,
    },
    /// Generic routing encapsulation (RFC 2784).
    Gre,
}

/// Who opens tunnels.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Opener {
    /// A [`Decapsulator`](crate::Decapsulator) of ours, which needs no module of the kernel but TUN.
    #[default]
    Own,
    /// The kernel's modules ipip, sit, ip_gre and fou; outer IPv4 only.
    Kernel,
}

/// How packets come from the director.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Method {
    /// Direct routing (ipvsadm's `-g`).
    DirectRoute,
    /// Tunnels (ipvsadm's `-i`).
    Tunnel {
        /// The kinds, at least one.
        kinds: Vec<TunnelKind>,
        /// Who opens them.
        opener: Opener,
    },
}

/// What a real server is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spec {
    virtuals: Vec<IpAddr>,
    method: Method,
    interfaces: Vec<String>,
}

/// What is wrong with a [`Spec`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// There is no virtual address.
    #[error("a real server needs a virtual address: --vip ADDRESS")]
    NoVirtual,
    /// An address that cannot be a virtual one.
    #[error(
        "{addr} cannot be a virtual address: it is {what}; give the address that clients connect to"
    )]
    NotVirtual {
        /// The address.
        addr: IpAddr,
        /// What it is instead.
        what: &'static str,
    },
    /// A tunnel without a kind.
    #[error("a real server behind tunnels needs their kind: --tun ipip, gue or gre")]
    NoKind,
    /// UDP port 0.
    #[error("GUE needs a UDP port from 1 to 65535, not 0: --gue-port {GUE_PORT}")]
    NoPort,
}

impl Spec {
    /// A real server for virtual addresses; one that is named twice counts once.
    ///
    /// # Errors
    /// If there is no virtual address, or one that no client connects to; if a tunnel has no kind or
    /// no port.
    pub fn new(
        virtuals: impl IntoIterator<Item = IpAddr>,
        method: Method,
    ) -> Result<Spec, SpecError> {
        let mut spec = Spec { virtuals: Vec::new(), method, interfaces: Vec::new() };
        for addr in virtuals {
            if let Some(what) = what_instead(addr) {
                return Err(SpecError::NotVirtual { addr, what });
            }
            if !spec.virtuals.contains(&addr) {
                spec.virtuals.push(addr);
            }
        }
        if spec.virtuals.is_empty() {
            return Err(SpecError::NoVirtual);
        }
        if let Method::Tunnel { kinds, .. } = &mut spec.method {
            kinds.sort_unstable();
            kinds.dedup();
            if kinds.is_empty() {
                return Err(SpecError::NoKind);
            }
            if kinds.contains(&TunnelKind::Gue { port: 0 }) {
                return Err(SpecError::NoPort);
            }
        }
        Ok(spec)
    }

    /// Names the interfaces that clients' ARP requests and the director's packets come in by. Without
    /// any, all of the host's are meant.
    #[must_use]
    pub fn on_interfaces(mut self, names: impl IntoIterator<Item = String>) -> Spec {
        self.interfaces = names.into_iter().collect();
        self
    }

    /// The same with another method, which holds what [`Spec::new`] asks of one.
    pub(crate) fn with_method(mut self, method: Method) -> Spec {
        self.method = method;
        self
    }

    /// The virtual addresses, each once, in the order given.
    pub fn virtuals(&self) -> &[IpAddr] {
        &self.virtuals
    }

    /// How packets come.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The interfaces that were named.
    pub fn interfaces(&self) -> &[String] {
        &self.interfaces
    }

    /// Whether there is a virtual address of a family.
    pub fn has(&self, family: Family) -> bool {
        self.virtuals.iter().any(|addr| Family::of(*addr) == family)
    }

    /// The kinds of tunnels; none in direct routing.
    pub fn kinds(&self) -> &[TunnelKind] {
        match &self.method {
            Method::DirectRoute => &[],
            Method::Tunnel { kinds, .. } => kinds,
        }
    }

    /// Who opens tunnels; nobody in direct routing.
    pub fn opener(&self) -> Option<Opener> {
        match self.method {
            Method::DirectRoute => None,
            Method::Tunnel { opener, .. } => Some(opener),
        }
    }
}

/// What an address is, if no client can connect to it.
fn what_instead(addr: IpAddr) -> Option<&'static str> {
    let link_local = matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
    let broadcast = matches!(addr, IpAddr::V4(addr) if addr.is_broadcast());
    match addr {
        _ if addr.is_unspecified() => Some("the unspecified address"),
        _ if addr.is_loopback() => Some("a loopback address"),
        _ if addr.is_multicast() => Some("a multicast group"),
        _ if broadcast => Some("the broadcast address"),
        // A link-local address would need the link to be named.
        _ if link_local => Some("a link-local address"),
        _ => None,
    }
}

impl fmt::Display for TunnelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TunnelKind::IpIp => f.write_str("IPIP"),
            TunnelKind::Gue { port } => write!(f, "GUE on UDP port {port}"),
            TunnelKind::Gre => f.write_str("GRE"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(addr: &str) -> String {
        Spec::new([addr.parse().unwrap()], Method::DirectRoute).unwrap_err().to_string()
    }

    #[test]
    fn an_address_that_no_client_connects_to_is_refused_with_its_kind() {
        assert!(refused("0.0.0.0").contains("unspecified"));
        assert!(refused("127.0.0.1").contains("loopback"));
        assert!(refused("ff02::1").contains("multicast"));
        assert!(refused("255.255.255.255").contains("broadcast"));
        assert!(refused("fe80::1").contains("link-local"));
    }

    #[test]
    fn an_address_named_twice_counts_once() {
        let vip: IpAddr = "192.0.2.80".parse().unwrap();
        let spec = Spec::new([vip, vip], Method::DirectRoute).unwrap();
        assert_eq!(spec.virtuals(), [vip]);
    }

    #[test]
    fn a_tunnel_needs_a_kind_and_gue_a_port() {
        let vip: IpAddr = "192.0.2.80".parse().unwrap();
        let of = |kinds| Spec::new([vip], Method::Tunnel { kinds, opener: Opener::Own });
        assert_eq!(of(vec![]), Err(SpecError::NoKind));
        assert_eq!(of(vec![TunnelKind::Gue { port: 0 }]), Err(SpecError::NoPort));
        assert_eq!(Spec::new([], Method::DirectRoute), Err(SpecError::NoVirtual));
    }
}
