//! The system calls that have no safe wrapper, each behind one that is safe.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use libc::c_int;
use lvs_core::addr::MacAddr;

use crate::device::NetDevice;

/// The most bytes of an interface's name.
pub const NAME_LEN_MAX: usize = libc::IFNAMSIZ - 1;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// What most requests about an interface take: an `ifreq` with its name, and zeroes.
///
/// # Errors
/// `ENODEV` if no interface can have that name.
pub fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() > NAME_LEN_MAX || name.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

/// Asks about the device `name`; any socket of its namespace will do.
pub(crate) fn net_device(fd: BorrowedFd<'_>, name: &str) -> io::Result<NetDevice> {
    let mut request = interface_request(name)?;
    let mut ask = |what| {
        // SAFETY: each of these requests reads the name and writes the union of an `ifreq`, and
        // `request` is one that outlives the call.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), what, &raw mut request) };
        check(result).map(|_| request.ifr_ifru)
    };
    let (index, flags) = (ask(libc::SIOCGIFINDEX)?, ask(libc::SIOCGIFFLAGS)?);
    let (mtu, hardware) = (ask(libc::SIOCGIFMTU)?, ask(libc::SIOCGIFHWADDR)?);
    // SAFETY: the union's members are plain integers and arrays of them, valid for any bytes; each
    // request filled in the member that is read here.
    let (index, flags, mtu, hardware) =
        unsafe { (index.ifru_ifindex, flags.ifru_flags, mtu.ifru_mtu, hardware.ifru_hwaddr) };
    let mut mac = [0; 6];
    for (to, from) in mac.iter_mut().zip(hardware.sa_data) {
        *to = from as u8;
    }
    Ok(NetDevice {
        index: index as u32,
        is_up: c_int::from(flags) & libc::IFF_UP != 0,
        mtu: mtu as u32,
        kind: hardware.sa_family,
        mac: MacAddr(mac),
    })
}

/// Waits until one of the descriptors has an event or `timeout` has passed; `None` waits without end.
/// Returns how many have one.
pub(crate) fn poll(fds: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    let limit = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the pointer and length describe `fds`; `limit` is null or points to a `timespec` that
    // outlives the call; a null signal mask leaves the mask alone.
    let ready = unsafe {
        libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, limit, std::ptr::null())
    };
    check(ready).map(|ready| ready as usize)
}
