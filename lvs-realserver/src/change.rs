//! One thing to change on a host: as a command that somebody types, and how to take it back.

use lvs_core::addr::Prefix;

use crate::sysctl::Sysctl;

/// A change of a host.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Change {
    /// An address on a device.
    Address {
        /// The device's name.
        device: String,
        /// The address with the length of its network.
        prefix: Prefix,
    },
    /// A setting.
    Sysctl {
        /// Which.
        name: Sysctl,
        /// What it is.
        from: i64,
        /// What it becomes.
        to: i64,
    },
    /// A command for what only a program does.
    Run {
        /// Program and arguments.
        command: Vec<String>,
        /// What takes it back; empty if nothing has to.
        undo: Vec<String>,
    },
}

impl Change {
    /// The change as a command of iproute2, sysctl(8) or modprobe(8).
    pub fn command(&self) -> String {
        match self {
            Change::Address { device, prefix } => address("add", device, *prefix),
            Change::Sysctl { name, to, .. } => format!("sysctl -w {name}={to}"),
            Change::Run { command, .. } => command.join(" "),
        }
    }

    /// The command that takes it back; `None` if nothing has to.
    pub fn undo(&self) -> Option<String> {
        match self {
            Change::Address { device, prefix } => Some(address("del", device, *prefix)),
            Change::Sysctl { name, from, .. } => Some(format!("sysctl -w {name}={from}")),
            Change::Run { undo, .. } => (!undo.is_empty()).then(|| undo.join(" ")),
        }
    }

    pub(crate) fn run(command: &str, undo: &str) -> Change {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Change::Run { command: words(command), undo: words(undo) }
    }
}

fn address(verb: &str, device: &str, prefix: Prefix) -> String {
    let family = if prefix.addr().is_ipv6() { "ip -6" } else { "ip" };
    // The address is another host's, too: looking for it on the link would find that and refuse it.
    let nodad = if prefix.addr().is_ipv6() && verb == "add" { " nodad" } else { "" };
    format!("{family} address {verb} {}/{} dev {device}{nodad}", prefix.addr(), prefix.len())
}

#[cfg(test)]
mod tests {
    use lvs_core::addr::Family;

    use super::*;

    #[test]
    fn each_change_reads_as_a_command_and_as_one_that_takes_it_back() {
        let name = Sysctl::new(Family::V4, "all", "arp_ignore");
        let change = Change::Sysctl { name, from: 0, to: 1 };
        assert_eq!(change.command(), "sysctl -w net.ipv4.conf.all.arp_ignore=1");
        assert_eq!(change.undo().unwrap(), "sysctl -w net.ipv4.conf.all.arp_ignore=0");
        let prefix = Prefix::host("2001:db8::80".parse().unwrap());
        let change = Change::Address { device: "lo".into(), prefix };
        assert_eq!(change.command(), "ip -6 address add 2001:db8::80/128 dev lo nodad");
        assert_eq!(change.undo().unwrap(), "ip -6 address del 2001:db8::80/128 dev lo");
        assert_eq!(Change::run("modprobe ipip", "").undo(), None);
    }
}
