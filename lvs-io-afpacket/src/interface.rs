//! The machine's interfaces, as an operator and a director need to know them.

use lvs_core::addr::{MacAddr, Prefix};
use lvs_io_linux::{NetDevice, inquiry_socket};
use pnet::datalink;

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// The kernel's number for it.
    pub index: u32,
    /// Its Ethernet address; `None` if it has none.
    pub mac: Option<MacAddr>,
    /// Its addresses, each with the prefix length of its subnet.
    pub addresses: Vec<Prefix>,
    /// The longest packet it takes, in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub is_up: bool,
}

/// The interfaces of the calling thread's network namespace.
///
/// The list is empty if the system does not give it.
pub fn interfaces() -> Vec<Interface> {
    datalink::interfaces().into_iter().map(Interface::from_pnet).collect()
}

impl Interface {
    fn from_pnet(found: datalink::NetworkInterface) -> Interface {
        Interface {
            index: found.index,
            mac: found.mac.map(|mac| MacAddr(mac.octets())),
            addresses: found
                .ips
                .iter()
                .filter_map(|ip| Prefix::new(ip.ip(), ip.prefix()))
                .collect(),
            mtu: mtu(&found.name).unwrap_or(0),
            is_up: found.is_up(),
            name: found.name,
        }
    }
}

/// The MTU of an interface, asked by name. Not from sysfs, which shows the namespace that it was mounted
/// in and not that of the caller.
fn mtu(name: &str) -> Option<u32> {
    NetDevice::ask(inquiry_socket().ok()?, name).ok().map(|device| device.mtu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_listed_with_index_and_mtu() {
        let all = interfaces();
        let loopback = all.iter().find(|i| i.name == "lo").expect("every namespace has a loopback");
        assert!(loopback.index > 0);
        assert!(loopback.mtu >= 1280, "{loopback:?}");
    }
}
