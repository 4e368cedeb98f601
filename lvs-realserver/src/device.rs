//! The TUN device that opened packets come out of.

use std::fs::OpenOptions;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use lvs_core::addr::{Family, Prefix};
use lvs_core::io::vnet;
use lvs_core::io::{Checksum, Offload, SegmentKind, Segments};

use crate::apply::index_of;
use crate::decap::Unfinished;
use crate::error::Error;
use crate::netlink::RouteSocket;
use crate::sys;
use crate::sysctl::Sysctl;

/// The file that TUN devices are made with.
const CONTROL: &str = "/dev/net/tun";

/// A device; it is there as long as this value.
#[derive(Debug)]
pub(crate) struct Device {
    file: OwnedFd,
}

impl Device {
    /// Makes a device, lets packets in by it whose answers leave elsewhere, and brings it up.
    pub(crate) fn create(name: &str, virtuals: &[IpAddr]) -> Result<Device, Error> {
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
        set_up(name, virtuals)?;
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
        let offload = unfinished.as_ref().map(|of| offload(packet, of, segment(of)));
        let header = vnet::encode(&offload.unwrap_or_default());
        rustix::io::writev(&self.file, &[IoSlice::new(&header), IoSlice::new(packet)])?;
        Ok(())
    }
}

fn set_up(name: &str, virtuals: &[IpAddr]) -> Result<(), Error> {
    let failed = |what: String| move |source| Error::system(what, source);
    // What answers leave by is another interface: a strict filter would drop everything. The larger of
    // this and `all` counts, so that this is enough; and 0 needs no change (a container's /proc/sys
    // may be read-only).
    let filter = |scope: &str| Sysctl::new(Family::V4, scope, "rp_filter");
    let own = filter(name);
    let in_force = own.read().unwrap_or(0).max(filter("all").read().unwrap_or(0));
    if in_force == 1 {
        // Where /proc/sys is read-only the device cannot be there before, but what it begins with can.
        let begins = filter("default");
        own.write(2).map_err(failed(format!("sysctl -w {begins}=2, with which {name} begins")))?;
    }
    // It speaks to nobody: no address of the link, no solicitations.
    let no_address = Sysctl::new(Family::V6, name, "addr_gen_mode");
    if no_address.read().is_some_and(|value| value != 1) {
        let _ = no_address.write(1);
    }
    let off = Sysctl::new(Family::V6, name, "disable_ipv6");
    if virtuals.iter().any(IpAddr::is_ipv6) && off.read() == Some(1) {
        off.write(0).map_err(failed(format!("sysctl -w {off}=0")))?;
    }
    // The loose filter drops everything from a device that has no address.
    if let Some(addr) = virtuals.iter().find(|addr| addr.is_ipv4()) {
        let add = || RouteSocket::open()?.add_address(index_of(name)?, Prefix::host(*addr));
        add().map_err(failed(format!("ip address add {addr}/32 dev {name}")))?;
    }
    let up = || RouteSocket::open()?.set_up(index_of(name)?);
    up().map_err(failed(format!("ip link set {name} up")))
}

/// What the device is to know about a packet whose checksum is not finished.
fn offload(packet: &[u8], unfinished: &Unfinished, segment: usize) -> Offload {
    let kind = match (unfinished.is_tcp, packet.first().map(|byte| byte >> 4)) {
        (false, _) => SegmentKind::Udp,
        (true, Some(4)) => SegmentKind::Tcp4,
        (true, _) => SegmentKind::Tcp6,
    };
    let payload = packet.len().saturating_sub(usize::from(unfinished.headers));
    let is_merged = segment > 0 && payload > segment;
    let segments = is_merged.then_some(Segments {
        kind,
        size: segment as u16,
        header_len: unfinished.headers,
        ecn: false,
    });
    let Unfinished { start, offset, .. } = *unfinished;
    Offload { checksum: Checksum::Partial { start, offset }, segments }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> Unfinished {
        Unfinished { start: 20, offset: 16, headers: 40, is_tcp: true }
    }

    #[test]
    fn only_a_packet_longer_than_a_segment_is_told_to_be_several() {
        let packet = [0x45; 3000];
        let merged = offload(&packet, &tcp(), 1440);
        assert_eq!(merged.checksum, Checksum::Partial { start: 20, offset: 16 });
        let segments = merged.segments.unwrap();
        assert_eq!((segments.size, segments.header_len), (1440, 40));
        assert_eq!(offload(&packet[..1480], &tcp(), 1440).segments, None);
    }

    #[test]
    fn the_kind_of_segments_follows_family_and_protocol() {
        let kind = |packet: &[u8], of| offload(packet, &of, 1440).segments.unwrap().kind;
        assert_eq!(kind(&[0x45; 3000], tcp()), SegmentKind::Tcp4);
        assert_eq!(kind(&[0x60; 3000], tcp()), SegmentKind::Tcp6);
        let udp = Unfinished { offset: 6, headers: 28, is_tcp: false, ..tcp() };
        assert_eq!(kind(&[0x45; 3000], udp), SegmentKind::Udp);
    }
}
