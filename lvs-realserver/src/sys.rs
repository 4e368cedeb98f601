//! The system calls that have no safe wrapper, each behind one that is safe.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void, socklen_t};

/// The most packets of one [`receive_batch`].
pub(crate) const BATCH_MAX: usize = 32;
/// Room for the control messages of one packet: destination and type of service.
const CONTROL_LEN: usize = 128;
/// The option that lets a UDP socket of IPv6 take datagrams without a checksum (linux/udp.h).
const UDP_NO_CHECK6_RX: c_int = 102;

/// A place for one packet.
#[derive(Debug)]
pub(crate) struct Slot {
    /// The buffer.
    pub(crate) bytes: Box<[u8]>,
    /// Where the kernel writes from.
    pub(crate) start: usize,
    /// What it wrote.
    pub(crate) len: usize,
    /// Whether there was more than room.
    pub(crate) is_cut_off: bool,
    pub(crate) src: Option<IpAddr>,
    pub(crate) dst: Option<IpAddr>,
    /// Type of service or traffic class.
    pub(crate) tos: u8,
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes a descriptor of `/dev/net/tun` the new device `name` for IP packets, each with a virtio-net
/// header in front.
///
/// # Errors
/// `EBUSY` if another process holds a device of this name, `EPERM` without CAP_NET_ADMIN.
pub(crate) fn make_tun(fd: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the request reads name and flags of an `ifreq` and writes its name; `request` outlives it.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) }).map(drop)
}

/// Switches an option of a socket on.
fn switch_on(fd: BorrowedFd<'_>, level: c_int, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the pointer and length describe `on`, which outlives the call; the kernel only reads.
    let set = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as socklen_t,
        )
    };
    check(set).map(drop)
}

/// Makes a socket of IPv4 tell destination and type of service with each packet.
pub(crate) fn tell_headers_v4(fd: BorrowedFd<'_>) -> io::Result<()> {
    switch_on(fd, libc::IPPROTO_IP, libc::IP_PKTINFO)?;
    switch_on(fd, libc::IPPROTO_IP, libc::IP_RECVTOS)
}

/// Makes a socket of IPv6 tell destination and traffic class with each packet.
pub(crate) fn tell_headers_v6(fd: BorrowedFd<'_>) -> io::Result<()> {
    switch_on(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?;
    switch_on(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS)
}

/// Makes a UDP socket of IPv6 take datagrams without a checksum, which tunnels may send (RFC 6935).
pub(crate) fn take_without_checksum(fd: BorrowedFd<'_>) -> io::Result<()> {
    switch_on(fd, libc::IPPROTO_UDP, UDP_NO_CHECK6_RX)
}

/// Takes what waits in a socket's queue, at most [`BATCH_MAX`] packets, one to a slot, and returns how
/// many. Never blocks.
pub(crate) fn receive_batch(fd: BorrowedFd<'_>, slots: &mut [Slot]) -> io::Result<usize> {
    let count = slots.len().min(BATCH_MAX);
    // SAFETY: all zeroes is a valid `sockaddr_storage`.
    let mut names: [libc::sockaddr_storage; BATCH_MAX] = unsafe { mem::zeroed() };
    let mut controls = [[0u64; CONTROL_LEN / 8]; BATCH_MAX];
    let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    let mut parts = [nothing; BATCH_MAX];
    // SAFETY: all zeroes is a valid `mmsghdr`: null pointers with zero lengths.
    let mut headers: [libc::mmsghdr; BATCH_MAX] = unsafe { mem::zeroed() };
    for (i, slot) in slots[..count].iter_mut().enumerate() {
        let room = &mut slot.bytes[slot.start..];
        parts[i] = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        let header = &mut headers[i].msg_hdr;
        header.msg_name = (&raw mut names[i]).cast::<c_void>();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as socklen_t;
        header.msg_iov = &raw mut parts[i];
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut controls[i]).cast::<c_void>();
        header.msg_controllen = CONTROL_LEN as _;
    }
    // SAFETY:
    // * `headers` has at least `count` entries, each of which points to an entry of `names`, `parts` and
    //   `controls` with its true length, and `parts` to the slots' buffers with theirs;
    // * the buffers are exclusively borrowed; all outlive the call; a null timeout is none.
    let received = check(unsafe {
        libc::recvmmsg(
            fd.as_raw_fd(),
            headers.as_mut_ptr(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    })? as usize;
    for ((slot, header), name) in slots.iter_mut().zip(&headers).zip(&names).take(received) {
        slot.len = header.msg_len as usize;
        slot.is_cut_off = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        slot.src = source(name);
        (slot.dst, slot.tos) = (None, 0);
        read_control(&header.msg_hdr, slot);
    }
    Ok(received)
}

/// The address in a socket address of either family.
fn source(name: &libc::sockaddr_storage) -> Option<IpAddr> {
    let name: *const libc::sockaddr_storage = name;
    // SAFETY: a `sockaddr_storage` is as large as any socket address and aligned for all of them; the
    // family, which stands at the same place in all, says which one the kernel wrote.
    unsafe {
        match c_int::from((*name).ss_family) {
            libc::AF_INET => {
                let addr = (*name.cast::<libc::sockaddr_in>()).sin_addr.s_addr;
                Some(Ipv4Addr::from(addr.to_ne_bytes()).into())
            }
            libc::AF_INET6 => {
                let addr = (*name.cast::<libc::sockaddr_in6>()).sin6_addr.s6_addr;
                Some(Ipv6Addr::from(addr).into())
            }
            _ => None,
        }
    }
}

/// Destination and type of service from the control messages of a received packet.
fn read_control(message: &libc::msghdr, slot: &mut Slot) {
    // SAFETY: `message` was filled in by `recvmmsg`, and its control buffer is still alive.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR only return null or a header within the buffer.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        // SAFETY: as above, so the data behind the header lies within the buffer; the kernel fills in
        // the type that belongs to level and kind, and reads need not be aligned.
        unsafe {
            let data = libc::CMSG_DATA(header);
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    slot.dst = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => slot.tos = data.read(),
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    slot.dst = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    slot.tos = data.cast::<c_int>().read_unaligned() as u8;
                }
                _ => {}
            }
        }
        // SAFETY: as above; `header` belongs to `message`.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
}
