//! The system calls that have no safe wrapper, each behind one that is safe.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, socklen_t};
use lvs_core::io::vnet::VNET_HEADER_LEN;

/// The most messages of one [`send_batch`].
pub(crate) const BATCH_MAX: usize = 64;

/// A frame to send: its virtio-net header and its bytes.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) header: [u8; VNET_HEADER_LEN],
    pub(crate) frame: &'a [u8],
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A nonblocking packet socket that receives nothing until [`bind`].
pub(crate) fn open_packet_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers; the result is checked.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: `fd` was just opened, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets a socket option whose value is a plain kernel structure or an integer.
fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    value: &T,
) -> io::Result<()> {
    let len = size_of::<T>() as socklen_t;
    // SAFETY: the pointer and length describe `value`, which outlives the call; the kernel only reads.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const *value).cast(), len) };
    check(result).map(drop)
}

/// Sets an integer option of level `SOL_PACKET`.
pub(crate) fn set_packet_option(fd: BorrowedFd<'_>, option: c_int, value: c_int) -> io::Result<()> {
    set_option(fd, libc::SOL_PACKET, option, &value)
}

/// Sets an integer option of level `SOL_SOCKET`.
pub(crate) fn set_socket_option(fd: BorrowedFd<'_>, option: c_int, value: c_int) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, option, &value)
}

/// Makes the kernel build a receive ring.
pub(crate) fn set_receive_ring(fd: BorrowedFd<'_>, request: &libc::tpacket_req) -> io::Result<()> {
    set_option(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, request)
}

/// Adds (or drops) a membership of a packet socket: a group address, or all frames.
pub(crate) fn set_membership(
    fd: BorrowedFd<'_>,
    add: bool,
    index: u32,
    kind: c_int,
    mac: [u8; 6],
) -> io::Result<()> {
    let mut address = [0; 8];
    address[..6].copy_from_slice(&mac);
    let request = libc::packet_mreq {
        mr_ifindex: index as c_int,
        mr_type: kind as u16,
        mr_alen: 6,
        mr_address: address,
    };
    let option = if add { libc::PACKET_ADD_MEMBERSHIP } else { libc::PACKET_DROP_MEMBERSHIP };
    set_option(fd, libc::SOL_PACKET, option, &request)
}

/// Starts receiving every incoming frame of one interface, and makes it the one to send by.
pub(crate) fn bind(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as c_int;
    let len = size_of_val(&address) as socklen_t;
    // SAFETY: the pointer and length describe `address`, which outlives the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) }).map(drop)
}

/// Frames that the kernel dropped since the last call because the ring was full.
pub(crate) fn take_kernel_drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut len = size_of_val(&stats) as socklen_t;
    // SAFETY: both pointers describe locals that outlive the call; `len` is the true size of `stats`.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut stats).cast(),
            &raw mut len,
        )
    };
    check(result).map(|_| stats.tp_drops)
}

/// Sends messages in order, at most [`BATCH_MAX`], and returns how many were sent. Never blocks.
///
/// # Errors
/// Why the *first* message could not be sent. The error of a later one shows only when the call is
/// repeated from that message on.
pub(crate) fn send_batch(fd: BorrowedFd<'_>, messages: &[Message<'_>]) -> io::Result<usize> {
    let messages = &messages[..messages.len().min(BATCH_MAX)];
    let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    let mut parts = [[nothing; 2]; BATCH_MAX];
    // SAFETY: all zeroes is a valid `mmsghdr`: null pointers with zero lengths.
    let mut headers: [libc::mmsghdr; BATCH_MAX] = unsafe { mem::zeroed() };
    for ((message, parts), header) in messages.iter().zip(&mut parts).zip(&mut headers) {
        parts[0].iov_base = message.header.as_ptr().cast_mut().cast::<c_void>();
        parts[0].iov_len = message.header.len();
        parts[1].iov_base = message.frame.as_ptr().cast_mut().cast::<c_void>();
        parts[1].iov_len = message.frame.len();
        header.msg_hdr.msg_iov = parts.as_mut_ptr();
        header.msg_hdr.msg_iovlen = 2;
    }
    // SAFETY:
    // * `headers` has at least `messages.len()` entries, each of which points to two entries of
    //   `parts`, which point to the bytes of `messages` with their true lengths; all outlive the call;
    // * the kernel only reads what the `iovec`s of a send point to, so casting away `const` is sound.
    let sent = unsafe {
        libc::sendmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr(),
            messages.len() as libc::c_uint,
            libc::MSG_DONTWAIT as _,
        )
    };
    check(sent).map(|sent| sent as usize)
}

/// Takes the oldest frame from the socket's queue (not the ring): its virtio-net header into `header`,
/// its bytes into `buffer`. Returns the frame's length, which is more than the buffer's if it was cut
/// off. Never blocks.
pub(crate) fn receive(
    fd: BorrowedFd<'_>,
    header: &mut [u8; VNET_HEADER_LEN],
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut parts = [
        libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: header.len() },
        libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() },
    ];
    // SAFETY: all zeroes is a valid `msghdr`.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = 2;
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: `message` points to `parts`, which describe `header` and `buffer` with their true
    // lengths; all are exclusively borrowed and outlive the call.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) };
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((len as usize).saturating_sub(VNET_HEADER_LEN))
}
