//! The system calls that have no safe wrapper.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Room for control messages with a `tpacket_auxdata` and a `timespec`.
const CONTROL_LEN: usize = 128;

/// Moves the calling thread into a new network namespace.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN.
pub(crate) fn enter_new_network_namespace() -> io::Result<()> {
    // SAFETY: `unshare_unsafe` is unsafe because of `UnshareFlags::FILES`, which is not used.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}

/// Makes the kernel kill the program when the thread that starts it ends, however that comes about.
pub(crate) fn die_with_starter(command: &mut Command) {
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe functions may be
    // called: it makes one `prctl` system call and neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(|| {
            set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)
        });
    }
}

/// What came with a received frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Length of the frame, which may be more than the buffer took.
    pub(crate) len: usize,
    /// Whether the frame was sent by this host.
    pub(crate) outgoing: bool,
    /// The VLAN tag that the kernel took out, as (TPID, TCI).
    pub(crate) tag: Option<(u16, u16)>,
    /// When the kernel took the frame in, if [`stamp_frames`] asked for it.
    pub(crate) stamp: Option<SystemTime>,
}

/// What the control messages of a frame say.
#[derive(Clone, Copy, Debug, Default)]
struct Notes {
    tag: Option<(u16, u16)>,
    stamp: Option<SystemTime>,
}

/// A packet socket that receives nothing until [`bind_packet_socket`].
pub(crate) fn open_packet_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the result is checked.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just opened, and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    switch_on(&fd, libc::SOL_PACKET, libc::PACKET_AUXDATA)?;
    Ok(fd)
}

/// Makes a packet socket take and give a virtio-net header in front of each frame.
pub(crate) fn add_virtio_net_header(fd: impl AsFd) -> io::Result<()> {
    switch_on(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR)
}

/// Makes the kernel say when each frame came.
pub(crate) fn stamp_frames(fd: impl AsFd) -> io::Result<()> {
    switch_on(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS)
}

/// Switches on an option of a socket.
fn switch_on(fd: impl AsFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer and length describe `on`, which outlives the call.
    let set = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            mem::size_of_val(&on) as libc::socklen_t,
        )
    };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Starts receiving every frame of one interface, both directions.
pub(crate) fn bind_packet_socket(fd: impl AsFd, interface: u32) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `sockaddr_ll`.
    let mut addr: libc::sockaddr_ll = unsafe { mem::zeroed() };
    addr.sll_family = libc::AF_PACKET as u16;
    addr.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    addr.sll_ifindex = interface as i32;
    // SAFETY: the pointer and length describe `addr`, which outlives the call.
    let bound = unsafe {
        libc::bind(
            fd.as_fd().as_raw_fd(),
            (&raw const addr).cast(),
            mem::size_of_val(&addr) as libc::socklen_t,
        )
    };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits for one frame, at most as long as the socket's receive timeout.
pub(crate) fn receive(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    // SAFETY: all zeroes is a valid `sockaddr_ll`.
    let mut addr: libc::sockaddr_ll = unsafe { mem::zeroed() };
    let mut control = [0u64; CONTROL_LEN / 8];
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = (&raw mut addr).cast();
    message.msg_namelen = mem::size_of_val(&addr) as libc::socklen_t;
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_LEN as _;
    // SAFETY: `message` points to `addr`, `iov` (which describes `buffer`) and `control` with their
    // true lengths; all outlive the call.
    let len = unsafe { libc::recvmsg(fd.as_fd().as_raw_fd(), &raw mut message, libc::MSG_TRUNC) };
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    let outgoing = addr.sll_pkttype == libc::PACKET_OUTGOING;
    let Notes { tag, stamp } = notes_of(&message);
    Ok(Received { len: len as usize, outgoing, tag, stamp })
}

/// The VLAN tag in the auxiliary data of a received message, and its time.
fn notes_of(message: &libc::msghdr) -> Notes {
    let mut notes = Notes::default();
    // SAFETY: `message` was filled in by `recvmsg`, and its control buffer is still alive.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR only return null or a header within the buffer.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        if level == libc::SOL_PACKET && kind == libc::PACKET_AUXDATA {
            // SAFETY: this kind of message carries a `tpacket_auxdata`; the read need not be aligned.
            let aux: libc::tpacket_auxdata =
                unsafe { libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned() };
            let valid = aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
            notes.tag = valid.then_some((aux.tp_vlan_tpid, aux.tp_vlan_tci));
        } else if level == libc::SOL_SOCKET && kind == libc::SCM_TIMESTAMPNS {
            // SAFETY: this kind of message carries a `timespec`; the read need not be aligned.
            let time: libc::timespec =
                unsafe { libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned() };
            let since = Duration::new(time.tv_sec as u64, time.tv_nsec as u32);
            notes.stamp = Some(SystemTime::UNIX_EPOCH + since);
        }
        // SAFETY: as above; `header` belongs to `message`.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    notes
}
