//! The TUN device that opened packets come out of.

use std::fs::OpenOptions;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};

use lvs_core::addr::Family;

use crate::apply::index_of;
use crate::decap::Unfinished;
use crate::error::Error;
use crate::netlink::RouteSocket;
use crate::sys;
use crate::sysctl::Sysctl;

/// The file that TUN devices are made with.
const CONTROL: &str = "/dev/net/tun";

/// Bytes of the header in front of each packet (Virtual I/O Device specification 1.2 §5.1.6, without
/// `num_buffers`).
const HEADER_LEN: usize = 10;
/// Of its `flags`: the checksum is unfinished.
const NEEDS_CSUM: u8 = 1;
/// Of its `gso_type`: segments of TCP over IPv4, of TCP over IPv6, of UDP.
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP: u8 = 5;

/// A device; it is there as long as this value.
#[derive(Debug)]
pub(crate) struct Device {
    file: OwnedFd,
}

impl Device {
    /// Makes a device, lets packets in by it whose answers leave elsewhere, and brings it up.
    pub(crate) fn create(name: &str, ipv6: bool) -> Result<Device, Error> {
        let file = OpenOptions::new().read(true).write(true).open(CONTROL);
        let file = OwnedFd::from(file.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Error::NoTun,
            _ => Error::system(format!("opening {CONTROL}"), error),
        })?);
        sys::make_tun(file.as_fd(), name).map_err(|error| match error.raw_os_error() {
            Some(libc::EBUSY | libc::EEXIST) => Error::DeviceTaken { name: name.to_owned() },
            // A device of another kind has the name.
            Some(libc::EINVAL) if index_of(name).is_ok() => {
                Error::DeviceTaken { name: name.to_owned() }
            }
            _ => Error::system(format!("making the device {name}"), error),
        })?;
        set_up(name, ipv6)?;
        Ok(Device { file })
    }

    /// Hands a packet to the host as if the device had received it. `segment` is the largest segment's
    /// payload, for a packet that was merged.
    ///
    /// # Errors
    /// What the kernel says about the packet: `EINVAL` if it does not believe it, `EIO` if the device is
    /// down.
    pub(crate) fn deliver(
        &self,
        packet: &[u8],
        unfinished: Option<Unfinished>,
        segment: impl Fn(&Unfinished) -> usize,
    ) -> io::Result<()> {
        let header = match &unfinished {
            None => [0; HEADER_LEN],
            Some(unfinished) => header(packet, unfinished, segment(unfinished)),
        };
        rustix::io::writev(&self.file, &[IoSlice::new(&header), IoSlice::new(packet)])?;
        Ok(())
    }
}

fn set_up(name: &str, ipv6: bool) -> Result<(), Error> {
    let failed = |what: String| move |source| Error::system(what, source);
    // What answers leave by is another interface: a strict filter would drop everything. The larger of
    // this and `all` counts, so that this is enough; and 0 needs no change (a container's /proc/sys
    // may be read-only).
    let filter = |scope: &str| Sysctl::new(Family::V4, scope, "rp_filter");
    let own = filter(name);
    let in_force = own.read().unwrap_or(0).max(filter("all").read().unwrap_or(0));
    if in_force == 1 {
        own.write(2).map_err(failed(format!("sysctl -w {own}=2")))?;
    }
    // It needs no addresses, and it speaks to nobody: no address of the link, no solicitations.
    let no_address = Sysctl::new(Family::V6, name, "addr_gen_mode");
    if no_address.read().is_some_and(|value| value != 1) {
        let _ = no_address.write(1);
    }
    let off = Sysctl::new(Family::V6, name, "disable_ipv6");
    if ipv6 && off.read() == Some(1) {
        off.write(0).map_err(failed(format!("sysctl -w {off}=0")))?;
    }
    let up = || RouteSocket::open()?.set_up(index_of(name)?);
    up().map_err(failed(format!("ip link set {name} up")))
}

fn header(packet: &[u8], unfinished: &Unfinished, segment: usize) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let mut put = |at: usize, value: u16| {
        header[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    };
    let payload = packet.len().saturating_sub(usize::from(unfinished.headers));
    let is_merged = segment > 0 && payload > segment;
    if is_merged {
        put(2, unfinished.headers);
        put(4, segment as u16);
    }
    put(6, unfinished.start);
    put(8, unfinished.offset);
    header[0] = NEEDS_CSUM;
    header[1] = match (is_merged, unfinished.is_tcp, packet[0] >> 4) {
        (false, ..) => 0,
        (true, false, _) => GSO_UDP,
        (true, true, 4) => GSO_TCPV4,
        (true, true, _) => GSO_TCPV6,
    };
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> Unfinished {
        Unfinished { start: 20, offset: 16, headers: 40, is_tcp: true }
    }

    fn field(header: &[u8; HEADER_LEN], at: usize) -> u16 {
        u16::from_ne_bytes([header[at], header[at + 1]])
    }

    #[test]
    fn only_a_packet_longer_than_a_segment_is_told_to_be_several() {
        let packet = [0x45; 3000];
        let merged = header(&packet, &tcp(), 1440);
        assert_eq!((merged[0], merged[1]), (NEEDS_CSUM, GSO_TCPV4));
        assert_eq!([2, 4, 6, 8].map(|at| field(&merged, at)), [40, 1440, 20, 16]);
        let single = header(&packet[..1480], &tcp(), 1440);
        assert_eq!((single[0], single[1]), (NEEDS_CSUM, 0));
        assert_eq!([2, 4, 6, 8].map(|at| field(&single, at)), [0, 0, 20, 16]);
    }

    #[test]
    fn the_kind_of_segments_follows_family_and_protocol() {
        assert_eq!(header(&[0x60; 3000], &tcp(), 1440)[1], GSO_TCPV6);
        let udp = Unfinished { offset: 6, headers: 28, is_tcp: false, ..tcp() };
        assert_eq!(header(&[0x45; 3000], &udp, 1440)[1], GSO_UDP);
    }
}
