//! `-g`, `-i`, `-m` and the options of tunnels.

use lvs_core::command::{ForwardingMethod, Tunnel, TunnelChecksum};
use lvs_core::ids::L4Port;

use super::refusal::RefusalKind;
use super::table::{Label, Opt};
use crate::address::number;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Method {
    #[default]
    DirectRoute,
    Tunnel,
    Masquerade,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Kind {
    #[default]
    IpIp,
    Gue,
    Gre,
}

/// The forwarding method and its options, as given so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TunnelGiven {
    method: Method,
    kind: Option<Kind>,
    port: Option<u16>,
    no_checksum: bool,
    checksum: bool,
    remote: bool,
}

impl TunnelGiven {
    /// Takes an option, if it is one of these.
    pub(super) fn option(&mut self, id: Opt, text: &str) -> Option<Result<(), RefusalKind>> {
        match id {
            Opt::Gatewaying => self.method = Method::DirectRoute,
            Opt::Ipip => self.method = Method::Tunnel,
            Opt::Masquerading => self.method = Method::Masquerade,
            Opt::TunnelNoChecksum => self.no_checksum = true,
            Opt::TunnelChecksum => self.checksum = true,
            Opt::TunnelRemoteChecksum => self.remote = true,
            Opt::TunnelType => {
                self.kind = match text {
                    "ipip" => Some(Kind::IpIp),
                    "gue" => Some(Kind::Gue),
                    "gre" => Some(Kind::Gre),
                    _ => return Some(Err(RefusalKind::TunnelType)),
                };
            }
            Opt::TunnelPort => {
                self.port = number(text, 1, u16::MAX.into()).and_then(|n| u16::try_from(n).ok());
                if self.port.is_none() {
                    return Some(Err(RefusalKind::TunnelPort));
                }
            }
            _ => return None,
        }
        Some(Ok(()))
    }

    pub(super) fn is_tunnel(&self) -> bool {
        self.method == Method::Tunnel
    }

    /// The whole, or why the parts do not go together, with the option to blame.
    pub(super) fn method(&self) -> Result<ForwardingMethod, (RefusalKind, Label)> {
        let options = [
            (Label::TunnelType, self.kind.is_some()),
            (Label::TunnelPort, self.port.is_some()),
            (Label::TunnelNoChecksum, self.no_checksum),
            (Label::TunnelChecksum, self.checksum),
            (Label::TunnelRemoteChecksum, self.remote),
        ];
        if self.method != Method::Tunnel
            && let Some(&(label, _)) = options.iter().find(|(_, given)| *given)
        {
            return Err((RefusalKind::TunnelOptions, label));
        }
        match self.method {
            Method::DirectRoute => Ok(ForwardingMethod::DirectRoute),
            Method::Masquerade => Ok(ForwardingMethod::Masquerade),
            Method::Tunnel => self.tunnel(&options).map(ForwardingMethod::Tunnel),
        }
    }

    fn tunnel(&self, options: &[(Label, bool); 5]) -> Result<Tunnel, (RefusalKind, Label)> {
        let kind = self.kind.unwrap_or_default();
        let (tunnel, excluded): (_, &[Label]) = match kind {
            Kind::IpIp => (
                "ipip",
                &[
                    Label::TunnelPort,
                    Label::TunnelNoChecksum,
                    Label::TunnelChecksum,
                    Label::TunnelRemoteChecksum,
                ],
            ),
            Kind::Gue => ("gue", &[]),
            Kind::Gre => ("gre", &[Label::TunnelPort, Label::TunnelRemoteChecksum]),
        };
        for &(option, given) in options {
            if given && excluded.contains(&option) {
                return Err((RefusalKind::NotWithTunnel { option, tunnel }, option));
            }
        }
        let port = match (kind, self.port) {
            (Kind::Gue, None) => {
                let option = Label::TunnelPort;
                return Err((RefusalKind::TunnelRequires { option, tunnel }, Label::TunnelType));
            }
            (_, port) => L4Port(port.unwrap_or(0)),
        };
        let mut checksums = options[2..].iter().filter(|(_, given)| *given);
        if let (Some(&(other, _)), Some(&(option, _))) = (checksums.next(), checksums.next()) {
            return Err((RefusalKind::TunnelConflict { option, other, tunnel }, option));
        }
        let checksum = match (self.checksum, self.remote) {
            (true, _) => TunnelChecksum::Checksum,
            (_, true) => TunnelChecksum::Remote,
            _ => TunnelChecksum::None,
        };
        Ok(match kind {
            Kind::IpIp => Tunnel::IpIp,
            Kind::Gue => Tunnel::Gue { port, checksum },
            Kind::Gre => Tunnel::Gre { checksum },
        })
    }
}
