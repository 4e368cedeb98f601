//! Sysctls of the network: their names, and reading and writing them.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lvs_core::addr::Family;

/// Where the kernel shows sysctls of the network namespace of whoever opens them.
const ROOT: &str = "/proc/sys/net";

/// A setting of one interface, or of `all` or `default` (the kernel's `Documentation/networking/ip-sysctl`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sysctl {
    family: &'static str,
    scope: String,
    name: &'static str,
}

impl Sysctl {
    /// `net.ipv4.conf.SCOPE.NAME` or `net.ipv6.conf.SCOPE.NAME`; `scope` is an interface, `all` or
    /// `default`.
    pub fn new(family: Family, scope: &str, name: &'static str) -> Sysctl {
        let family = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        Sysctl { family, scope: scope.to_owned(), name }
    }

    /// Reads it. `None` if the kernel has no such setting.
    pub(crate) fn read(&self) -> Option<i64> {
        std::fs::read_to_string(self.path()).ok()?.trim().parse().ok()
    }

    /// Writes it.
    pub(crate) fn write(&self, value: i64) -> io::Result<()> {
        std::fs::write(self.path(), value.to_string())
    }

    /// The file. An interface's name holds no slash, so it leads nowhere else.
    fn path(&self) -> PathBuf {
        [ROOT, self.family, "conf", &self.scope, self.name].iter().collect()
    }
}

impl fmt::Display for Sysctl {
    /// The name as sysctl(8) reads it: a dot within an interface's name is written as a slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "net.{}.conf.{}.{}", self.family, self.scope.replace('.', "/"), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_in_an_interfaces_name_is_no_separator() {
        let name = Sysctl::new(Family::V4, "eth0.100", "arp_ignore");
        assert_eq!(name.to_string(), "net.ipv4.conf.eth0/100.arp_ignore");
        assert_eq!(name.path(), PathBuf::from("/proc/sys/net/ipv4/conf/eth0.100/arp_ignore"));
    }
}
