//! The system calls that have no safe wrapper, each behind one that is safe.

use std::fs::OpenOptions;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use libc::{c_int, c_short};
use lvs_io_linux::interface_request;

/// Where TAP devices come from.
pub(crate) const CLONE_DEVICE: &str = "/dev/net/tun";

/// Makes an interface a port of a bridge (`linux/sockios.h`); the libc crate has no name for it.
const SIOCBRADDIF: libc::Ioctl = 0x89a2;

/// What only one kind of device understands (`linux/sockios.h`), here bridges.
const SIOCDEVPRIVATE: libc::Ioctl = 0x89f0;
/// Asks a bridge for its ports (`linux/if_bridge.h`).
const BRCTL_GET_PORT_LIST: libc::c_ulong = 7;
/// The most ports of a bridge (`BR_MAX_PORTS` of the kernel).
const BRIDGE_PORTS_MAX: usize = 1 << 10;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes a request that reads and writes nothing but an `ifreq`.
fn ask(fd: BorrowedFd<'_>, what: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: each request made through this function reads and writes an `ifreq` and nothing else, and
    // `request` is one that outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), what, &raw mut *request) }).map(drop)
}

/// A descriptor that is not yet a queue of any device.
pub(crate) fn open_clone_device() -> io::Result<OwnedFd> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC);
    options.open(CLONE_DEVICE).map(OwnedFd::from)
}

/// Makes the descriptor a queue of the TAP device `name`, which is created if there is none.
pub(crate) fn attach(fd: BorrowedFd<'_>, name: &str, flags: c_int) -> io::Result<()> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_flags = flags as c_short;
    ask(fd, libc::TUNSETIFF, &mut request)
}

/// The name that the queue's device has now.
///
/// # Errors
/// `EBADFD` if the device is gone.
pub(crate) fn name_of(fd: BorrowedFd<'_>) -> io::Result<String> {
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    ask(fd, libc::TUNGETIFF, &mut request)?;
    let name = request.ifr_name.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0);
    Ok(String::from_utf8_lossy(&name.collect::<Vec<u8>>()).into_owned())
}

/// Sets an option whose request takes a pointer to an integer.
pub(crate) fn set_by_pointer(
    fd: BorrowedFd<'_>,
    option: libc::Ioctl,
    value: c_int,
) -> io::Result<()> {
    // SAFETY: the requests made through this function read one integer, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), option, &raw const value) }).map(drop)
}

/// Sets an option whose request takes the value itself.
pub(crate) fn set_by_value(
    fd: BorrowedFd<'_>,
    option: libc::Ioctl,
    value: libc::c_ulong,
) -> io::Result<()> {
    // SAFETY: the requests made through this function take a plain number.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), option, value) }).map(drop)
}

/// Sets the device's MTU.
pub(crate) fn set_mtu(fd: BorrowedFd<'_>, name: &str, mtu: u32) -> io::Result<()> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_mtu = mtu as c_int;
    ask(fd, libc::SIOCSIFMTU, &mut request)
}

/// Sets the device up.
pub(crate) fn set_up(fd: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut request = interface_request(name)?;
    ask(fd, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: the request above filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as c_short;
    ask(fd, libc::SIOCSIFFLAGS, &mut request)
}

/// Makes the device with this index a port of a bridge.
pub(crate) fn add_to_bridge(fd: BorrowedFd<'_>, bridge: &str, index: u32) -> io::Result<()> {
    let mut request = interface_request(bridge)?;
    request.ifr_ifru.ifru_ifindex = index as c_int;
    ask(fd, SIOCBRADDIF, &mut request)
}

/// Whether the device with this index is a port of this bridge.
pub(crate) fn is_in_bridge(fd: BorrowedFd<'_>, bridge: &str, index: u32) -> io::Result<bool> {
    let mut ports = [0 as c_int; BRIDGE_PORTS_MAX];
    let mut arguments =
        [BRCTL_GET_PORT_LIST, ports.as_mut_ptr() as libc::c_ulong, ports.len() as libc::c_ulong, 0];
    let mut request = interface_request(bridge)?;
    request.ifr_ifru.ifru_data = arguments.as_mut_ptr().cast();
    // SAFETY: the request reads an `ifreq` that points to four words, of which the second points to as
    // many integers as the third says, which it writes; all of them outlive the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), SIOCDEVPRIVATE, &raw mut request) })?;
    Ok(ports.contains(&(index as c_int)))
}
