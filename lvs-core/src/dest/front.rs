//! What a packet of an established connection needs of its destination: one cache line.

use crate::addr::MacAddr;
use crate::ids::{PortId, ServiceIndex};
use crate::stats::Counters;

/// The front of a destination. It stands in an array of its own, so that packets to many real servers
/// touch one line for each of them and not the several that a whole [`Destination`](super::Destination)
/// takes.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Front {
    pub(crate) counters: Counters,
    /// The service that lists the destination, or `UNLISTED`.
    service: u32,
    pub(crate) trail: Trail,
}

const _: () = assert!(size_of::<Front>() == 64, "the front of a destination is one cache line");

/// No service has this number.
const UNLISTED: u32 = u32::MAX;

impl Front {
    pub(super) const EMPTY: Front = Front {
        counters: Counters {
            connections: 0,
            packets_in: 0,
            packets_out: 0,
            bytes_in: 0,
            bytes_out: 0,
        },
        service: UNLISTED,
        trail: Trail::NONE,
    };

    /// The service that lists the destination.
    #[inline]
    pub(crate) fn service(&self) -> Option<ServiceIndex> {
        (self.service != UNLISTED).then_some(ServiceIndex(self.service))
    }

    pub(super) fn set_service(&mut self, service: Option<ServiceIndex>) {
        self.service = service.map_or(UNLISTED, |service| service.0);
    }
}

/// The trail of the last packet to a destination, for the next one to follow without asking for route,
/// link and neighbour anew, as long as none of them has changed.
///
/// It is for direct routing of untagged packets. Whether anything has changed is told by a version
/// that changes with everything that a trail is made of. It is a 32-bit number: a trail would be mistaken
/// for a fresh one only if the destination got no packet during exactly 2³² changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trail {
    /// Destination and source address of the frame.
    macs: [u8; 12],
    port: PortId,
    /// The longest packet that may follow it: the link's MTU, as far as 16 bits go.
    len_max: u16,
    version: u32,
}

impl Trail {
    /// Too narrow for any packet.
    pub(super) const NONE: Trail = Trail { macs: [0; 12], port: PortId(0), len_max: 0, version: 0 };

    /// The trail out of `port` to the neighbour `dst`, as of `version`.
    pub(crate) fn new(version: u32, port: PortId, src: MacAddr, dst: MacAddr, mtu: u32) -> Trail {
        let (MacAddr([a, b, c, d, e, f]), MacAddr([g, h, i, j, k, l])) = (dst, src);
        let macs = [a, b, c, d, e, f, g, h, i, j, k, l];
        Trail { macs, port, len_max: mtu.min(0xffff) as u16, version }
    }

    /// The trail, if it is of this version and a packet of `len` bytes may follow it.
    #[inline(always)]
    pub(crate) fn fresh_for(&self, len: u32, version: u32) -> Option<&Trail> {
        (self.version == version && len <= u32::from(self.len_max)).then_some(self)
    }

    /// Where it leads out.
    #[inline]
    pub(crate) fn port(&self) -> PortId {
        self.port
    }

    /// The first twelve bytes of the frame.
    #[inline]
    pub(crate) fn macs(&self) -> &[u8; 12] {
        &self.macs
    }
}
