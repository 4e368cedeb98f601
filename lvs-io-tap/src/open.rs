//! Opening a device: attaching a descriptor for each queue, and setting what is to be set.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::{c_int, c_ulong};
use lvs_core::io::vnet::VNET_HEADER_LEN;
use lvs_io_linux::NetDevice;

use crate::device::Device;
use crate::error::Error;
use crate::sys;

/// Ethernet frames, with a virtio-net header in front and nothing else.
const FLAGS: c_int = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;

/// What the kernel may leave to us. `UFO`, fragments of one datagram, is not among it: a director could
/// not tell them apart.
const OFFLOADS: libc::c_uint =
    libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
/// The same of UDP; since Linux 6.2, and only both together.
const OFFLOADS_UDP: libc::c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// Opens the device, or makes it. `socket` is any socket of the same network namespace.
pub(crate) fn open(
    device: &Device,
    socket: BorrowedFd<'_>,
) -> Result<(Vec<OwnedFd>, NetDevice), Error> {
    let name = &device.name;
    let was_there = NetDevice::ask(socket, name).is_ok();
    let queues = attach_all(device, was_there)?;
    let first = queues[0].as_fd();
    let failed = |what| move |error| Error::system(name, what, error);
    set_headers(first).map_err(failed("set the form of offload metadata on"))?;
    let offloads = |kinds| sys::set_by_value(first, libc::TUNSETOFFLOAD, c_ulong::from(kinds));
    offloads(OFFLOADS | OFFLOADS_UDP)
        .or_else(|_| offloads(OFFLOADS))
        .map_err(failed("ask for offloads on"))?;
    let bytes = device.send_buffer.map_or(c_int::MAX, |b| b.clamp(1, c_int::MAX as usize) as c_int);
    sys::set_by_pointer(first, libc::TUNSETSNDBUF, bytes)
        .map_err(failed("set the send buffer of"))?;
    if device.persistent {
        sys::set_by_value(first, libc::TUNSETPERSIST, 1).map_err(failed("make persistent"))?;
    }
    let found = || NetDevice::ask(socket, name).map_err(failed("ask about"));
    let before = found()?;
    if let Some(mtu) = device.mtu.filter(|mtu| *mtu != before.mtu) {
        sys::set_mtu(socket, name, mtu).map_err(failed("set the MTU of"))?;
    }
    if let Some(bridge) = &device.bridge {
        add_to_bridge(socket, device, bridge, before.index)?;
    }
    if !before.is_up {
        // Whoever may not do that is told that the port is down.
        match sys::set_up(socket, name) {
            Err(error) if !is_denied(&error) => return Err(failed("set up")(error)),
            _ => {}
        }
    }
    Ok((queues, found()?))
}

/// A descriptor for each queue. A device that is there already may have been made for several queues, and
/// then takes none but such.
fn attach_all(device: &Device, was_there: bool) -> Result<Vec<OwnedFd>, Error> {
    let (name, queues) = (&device.name, device.queues);
    let several = FLAGS | libc::IFF_MULTI_QUEUE;
    let (flags, otherwise) = if queues > 1 { (several, FLAGS) } else { (FLAGS, several) };
    let invalid = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
    let (first, flags) = match attach(name, flags)? {
        Ok(fd) => (fd, flags),
        Err(error) if was_there && invalid(&error) => match attach(name, otherwise)? {
            Ok(_) if queues > 1 => return Err(Error::NotMultiQueue { name: name.clone(), queues }),
            Ok(fd) => (fd, otherwise),
            Err(error) if invalid(&error) => return Err(Error::NotATap { name: name.clone() }),
            Err(error) => return Err(refusal(name, error)),
        },
        Err(error) => return Err(refusal(name, error)),
    };
    let mut fds = vec![first];
    for _ in 1..queues {
        fds.push(attach(name, flags)?.map_err(|error| refusal(name, error))?);
    }
    Ok(fds)
}

/// One queue. The outer error is of what every device needs, the inner one about this device.
fn attach(name: &str, flags: c_int) -> Result<io::Result<OwnedFd>, Error> {
    let fd = sys::open_clone_device().map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Error::NoTun { name: name.to_owned() },
        _ => Error::system(name, "make TAP device", error),
    })?;
    Ok(sys::attach(fd.as_fd(), name, flags).map(|()| fd))
}

fn refusal(name: &str, error: io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::E2BIG) => Error::Busy { name: name.to_owned() },
        _ => Error::system(name, "make TAP device", error),
    }
}

/// The form of the header in front of each frame; a device that is there may have been left with another.
fn set_headers(fd: BorrowedFd<'_>) -> io::Result<()> {
    sys::set_by_pointer(fd, libc::TUNSETVNETHDRSZ, VNET_HEADER_LEN as c_int)?;
    sys::set_by_pointer(fd, libc::TUNSETVNETLE, c_int::from(cfg!(target_endian = "little")))
}

fn add_to_bridge(
    socket: BorrowedFd<'_>,
    device: &Device,
    bridge: &str,
    index: u32,
) -> Result<(), Error> {
    let name = &device.name;
    match sys::add_to_bridge(socket, bridge, index) {
        Ok(()) => Ok(()),
        // It is a port of a bridge already, as after an earlier run.
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            match sys::is_in_bridge(socket, bridge, index) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    let (name, bridge) = (name.clone(), bridge.to_owned());
                    Err(Error::OtherBridge { name, bridge })
                }
                Err(error) => Err(Error::system(name, "ask for the bridge of", error)),
            }
        }
        Err(error) if is_denied(&error) => Err(Error::system(name, "connect to a bridge", error)),
        Err(source) => Err(Error::Bridge { name: name.clone(), bridge: bridge.to_owned(), source }),
    }
}

fn is_denied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}
