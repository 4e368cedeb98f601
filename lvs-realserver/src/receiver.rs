//! The sockets that tunnelled packets come in by.
//!
//! Raw sockets and not packet sockets, so that the host's own stack has done its part: the outer packet
//! is for this host, put together from its fragments, past the host's packet filter. And because a
//! protocol that a socket takes is one the host knows: it sends no "protocol unreachable" to the director.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use lvs_core::addr::Family;
use lvs_core::flow::Protocol;
use lvs_core::wire::ipv4;
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, RawProtocol, SocketFlags, SocketType};

use crate::decap::{Carrier, HEADROOM, Outer};
use crate::error::Error;
use crate::spec::TunnelKind;
use crate::sys::{self, Slot};

/// Room for the longest IP packet.
pub(crate) const PACKET_MAX: usize = 65_535;
/// Bytes that wait in a socket while the decapsulator is busy: a few milliseconds at 10 Gbit/s.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;

/// One socket.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: OwnedFd,
    family: Family,
    carrier: Carrier,
}

impl Receiver {
    /// All sockets for one kind of tunnel. `inner` are the families of packets inside; a family that the
    /// host does not have is left out.
    pub(crate) fn open_all(kind: TunnelKind, inner: &[Family]) -> Result<Vec<Receiver>, Error> {
        let mut receivers = Vec::new();
        for outer in [Family::V4, Family::V6] {
            let carriers: Vec<Carrier> = match kind {
                TunnelKind::IpIp => inner.iter().map(|family| ip_in_ip(*family)).collect(),
                TunnelKind::Gre => vec![Carrier::Gre],
                TunnelKind::Gue { .. } => vec![Carrier::Gue],
            };
            for carrier in carriers {
                match Receiver::open(outer, carrier, kind) {
                    Ok(socket) => receivers.push(Receiver { socket, family: outer, carrier }),
                    Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if outer == Family::V6 => {}
                    Err(error) => return Err(explain(kind, error)),
                }
            }
        }
        Ok(receivers)
    }

    fn open(family: Family, carrier: Carrier, kind: TunnelKind) -> Result<OwnedFd, Errno> {
        let domain = match family {
            Family::V4 => AddressFamily::INET,
            Family::V6 => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = match carrier {
            Carrier::Ipv4 => Protocol::IPIP,
            Carrier::Ipv6 => Protocol::IPV6,
            Carrier::Gre => Protocol::GRE,
            Carrier::Gue => Protocol::UDP,
        };
        let socket = match kind {
            TunnelKind::Gue { port } => {
                let socket = rustix::net::socket_with(domain, SocketType::DGRAM, flags, None)?;
                let any = family.unspecified();
                if family == Family::V6 {
                    sockopt::set_ipv6_v6only(&socket, true)?;
                    sys::take_without_checksum(socket.as_fd()).map_err(errno)?;
                }
                rustix::net::bind(&socket, &std::net::SocketAddr::new(any, port))?;
                socket
            }
            TunnelKind::IpIp | TunnelKind::Gre => {
                let number = RawProtocol::new(protocol.0.into());
                let protocol = number.map(rustix::net::Protocol::from_raw);
                rustix::net::socket_with(domain, SocketType::RAW, flags, protocol)?
            }
        };
        match family {
            Family::V4 => sys::tell_headers_v4(socket.as_fd()),
            Family::V6 => sys::tell_headers_v6(socket.as_fd()),
        }
        .map_err(errno)?;
        // Without the privilege to go beyond the limit, up to it.
        if sockopt::set_socket_recv_buffer_size_force(&socket, QUEUE_BYTES).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(&socket, QUEUE_BYTES);
        }
        Ok(socket)
    }

    /// Takes what waits, at most a slot's worth each, and returns how many slots were filled.
    pub(crate) fn receive(&self, slots: &mut [Slot]) -> io::Result<usize> {
        match sys::receive_batch(self.socket.as_fd(), slots) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            // What passes: an interrupted call, no memory at present, an ICMP error about something else.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EINTR | libc::ENOMEM | libc::ENOBUFS | libc::ECONNREFUSED)
                ) =>
            {
                Ok(0)
            }
            received => received,
        }
    }

    /// What a received packet came in, and where its payload begins and ends in the slot. `None` if the
    /// system did not tell, or told nonsense.
    pub(crate) fn outer_of(&self, slot: &Slot) -> Option<(Outer, std::ops::Range<usize>)> {
        let (start, end) = (slot.start, slot.start + slot.len);
        let carrier = self.carrier;
        if self.family == Family::V6 || carrier == Carrier::Gue {
            let outer = Outer { src: slot.src?, dst: slot.dst?, tos: slot.tos, carrier };
            return Some((outer, start..end));
        }
        // A raw socket of IPv4 gives the header, too (raw(7)).
        let header: &[u8; ipv4::HEADER_LEN] = slot.bytes.get(start..end)?.first_chunk()?;
        let header_len = usize::from(header[ipv4::field::VERSION_IHL] & 0xf) * 4;
        let addr =
            |at: usize| IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let outer = Outer {
            src: addr(ipv4::field::SRC),
            dst: addr(ipv4::field::DST),
            tos: header[ipv4::field::TOS],
            carrier,
        };
        (start + header_len <= end).then_some((outer, start + header_len..end))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A slot with room for any packet, and in front of it what [`crate::decap::open`] wants.
pub(crate) fn slot() -> Slot {
    Slot {
        bytes: vec![0; HEADROOM + PACKET_MAX].into(),
        start: HEADROOM,
        len: 0,
        is_cut_off: false,
        src: None,
        dst: None,
        tos: 0,
    }
}

fn ip_in_ip(inner: Family) -> Carrier {
    match inner {
        Family::V4 => Carrier::Ipv4,
        Family::V6 => Carrier::Ipv6,
    }
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn explain(kind: TunnelKind, error: Errno) -> Error {
    let what = format!("opening a socket for {kind}");
    match (kind, error) {
        (TunnelKind::Gue { port }, Errno::ADDRINUSE) => Error::PortTaken { port },
        (_, Errno::PERM | Errno::ACCESS) => {
            Error::NotPermitted { what, capability: "CAP_NET_RAW", short: "NET_RAW" }
        }
        _ => Error::system(what, error.into()),
    }
}
