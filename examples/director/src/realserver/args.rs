//! The command line of `realserver`.

use std::net::IpAddr;

use clap::{Args, ValueEnum};
use lvs_core::addr::Prefix;
use lvs_realserver::{GUE_PORT, Method, Opener, Spec, SpecError, TunnelKind};

#[derive(Debug, Args)]
pub(crate) struct RealServerArgs {
    /// The virtual address; may be given several times, IPv4 and IPv6
    #[arg(long, value_name = "ADDRESS", required = true)]
    pub(crate) vip: Vec<IpAddr>,

    /// Packets come by direct routing, ipvsadm's -g; this is what holds without --tun
    #[arg(long, conflicts_with = "tun")]
    pub(crate) dr: bool,

    /// Packets come through tunnels, ipvsadm's -i; several kinds may be named
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub(crate) tun: Vec<Kind>,

    /// The UDP port of GUE, ipvsadm's --tun-port
    #[arg(long, value_name = "PORT", default_value_t = GUE_PORT, requires = "tun")]
    pub(crate) gue_port: u16,

    /// Who may send tunnelled packets: the directors' own addresses, or networks as ADDRESS/LENGTH; anybody
    /// if none is named
    #[arg(long, value_name = "ADDRESS", requires = "tun", value_parser = prefix)]
    pub(crate) director: Vec<Prefix>,

    /// Let the kernel's modules (ipip, sit, ip_gre, fou) open tunnels instead of this program
    #[arg(long, requires = "tun", conflicts_with = "director")]
    pub(crate) kernel: bool,

    /// Look at and change this interface only, instead of all; may be given several times
    #[arg(long, short, value_name = "NAME")]
    pub(crate) interface: Vec<String>,

    /// Say what is wrong, and change nothing (what happens without --apply and --print, too); exit status 1
    /// if anything is
    #[arg(long, group = "action")]
    pub(crate) check: bool,

    /// Put right what is wrong, open tunnels, and take it back at the end
    #[arg(long, group = "action")]
    pub(crate) apply: bool,

    /// Print the commands, for typing them
    #[arg(long, group = "action")]
    pub(crate) print: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// IP in IP, the default of ipvsadm's -i
    Ipip,
    /// Generic UDP encapsulation
    Gue,
    /// Generic routing encapsulation
    Gre,
}

impl RealServerArgs {
    /// What the real server is to be.
    pub(crate) fn spec(&self) -> Result<Spec, SpecError> {
        let kinds = self.tun.iter().map(|kind| match kind {
            Kind::Ipip => TunnelKind::IpIp,
            Kind::Gue => TunnelKind::Gue { port: self.gue_port },
            Kind::Gre => TunnelKind::Gre,
        });
        let opener = if self.kernel { Opener::Kernel } else { Opener::Own };
        let method = match self.tun[..] {
            [] => Method::DirectRoute,
            _ => Method::Tunnel { kinds: kinds.collect(), opener },
        };
        Ok(Spec::new(self.vip.iter().copied(), method)?.on_interfaces(self.interface.clone()))
    }

    /// The command line again, with another action.
    pub(crate) fn with_action(&self, action: &str) -> String {
        let mut words = vec!["lvs-director realserver".to_owned()];
        words.extend(self.vip.iter().map(|vip| format!("--vip {vip}")));
        for kind in &self.tun {
            let name = kind.to_possible_value().map(|value| value.get_name().to_owned());
            words.push(format!("--tun {}", name.unwrap_or_default()));
        }
        if self.gue_port != GUE_PORT {
            words.push(format!("--gue-port {}", self.gue_port));
        }
        words.extend(self.director.iter().map(|d| format!("--director {}/{}", d.addr(), d.len())));
        words.extend(self.kernel.then(|| "--kernel".to_owned()));
        words.extend(self.interface.iter().map(|name| format!("--interface {name}")));
        words.push(action.to_owned());
        words.join(" ")
    }
}

/// An address, or a network.
fn prefix(text: &str) -> Result<Prefix, String> {
    let wanted = "an address like 10.0.0.1, or a network like 10.0.0.0/24";
    let (addr, len) = match text.split_once('/') {
        Some((addr, len)) => (addr, Some(len)),
        None => (text, None),
    };
    let addr: IpAddr = addr.parse().map_err(|_| format!("give {wanted}"))?;
    let Some(len) = len else { return Ok(Prefix::host(addr)) };
    let prefix = len.parse().ok().and_then(|len| Prefix::new(addr, len));
    prefix.ok_or_else(|| format!("{len} is no prefix length for {addr}: give {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_director_is_an_address_or_a_network() {
        let one = Prefix::host("10.0.0.1".parse().unwrap());
        assert_eq!(prefix("10.0.0.1"), Ok(one));
        assert_eq!(prefix("fd00::/64").map(|prefix| prefix.len()), Ok(64));
        assert!(prefix("10.0.0.0/33").unwrap_err().contains("33 is no prefix length"));
        assert!(prefix("web1").unwrap_err().contains("like 10.0.0.1"));
    }
}
