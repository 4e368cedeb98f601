//! What the kernel says about a network device.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use lvs_core::addr::MacAddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::sys;

/// What the kernel says about a network device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NetDevice {
    /// The kernel's number for it.
    pub index: u32,
    /// Whether it is administratively up.
    pub is_up: bool,
    /// The longest packet it takes, in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Kind of hardware: `ARPHRD_ETHER` and others.
    pub kind: u16,
    /// Its address, if its kind is Ethernet.
    pub mac: MacAddr,
}

impl NetDevice {
    /// Asks about the device `name`; any socket of its network namespace will do.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub fn ask(socket: impl AsFd, name: &str) -> io::Result<NetDevice> {
        sys::net_device(socket.as_fd(), name)
    }
}

/// A socket to ask about devices of the calling thread's network namespace; needs no privilege.
///
/// # Errors
/// What the system says, such as `EMFILE`.
pub fn inquiry_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_no_ethernet_and_what_is_not_there_is_an_error() {
        let socket = inquiry_socket().unwrap();
        let loopback = NetDevice::ask(&socket, "lo").expect("every namespace has a loopback");
        assert_eq!(loopback.kind, libc::ARPHRD_LOOPBACK);
        assert!(loopback.index > 0 && loopback.mtu >= 1280, "{loopback:?}");
        for name in ["", "not-there", "a-name-that-is-far-too-long", "l\0"] {
            let error = NetDevice::ask(&socket, name).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{name:?}");
        }
    }
}
