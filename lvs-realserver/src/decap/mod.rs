//! Opening one packet of a tunnel: a function of bytes and a [`Policy`].
//!
//! Whoever may send a tunnelled packet here can send the host packets in anybody's name, so what comes
//! out is looked at as closely as what a stranger sends: it must be whole and well formed, for a virtual
//! address, from an address that a client can have, and no tunnel itself.

mod checksum;
mod gre;
mod gue;

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use lvs_core::addr::{Family, MacAddr, Prefix};
use lvs_core::flow::Protocol;
use lvs_core::parse::{Headers, L4, Parsed, parse};
use lvs_core::wire::ethernet::{self, VlanTags};
use lvs_core::wire::ipv4;

/// Bytes that must be free in front of what [`open`] is given.
pub const HEADROOM: usize = ethernet::HEADER_LEN;

/// Both bits of explicit congestion notification (RFC 3168 §5).
const ECN_MASK: u8 = 3;
/// Congestion was experienced.
const ECN_CONGESTED: u8 = 3;

/// What a tunnelled packet came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer {
    /// The outer source: the director.
    pub src: IpAddr,
    /// The outer destination: this host.
    pub dst: IpAddr,
    /// The outer type of service or traffic class.
    pub tos: u8,
    /// What the outer IP header says comes next.
    pub carrier: Carrier,
}

/// What is between the outer IP header and the packet inside.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Carrier {
    /// Nothing, and the packet is IPv4 (protocol 4).
    Ipv4,
    /// Nothing, and the packet is IPv6 (protocol 41).
    Ipv6,
    /// GRE (protocol 47).
    Gre,
    /// UDP, whose header was taken off, and GUE.
    Gue,
}

/// Which packets are let in.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Policy {
    /// Outer sources that may send; none named: everybody.
    pub directors: Vec<Prefix>,
    /// Inner destinations.
    pub virtuals: Vec<IpAddr>,
    /// The UDP port of GUE, if GUE is opened at all: what goes there from inside is a nested tunnel.
    pub gue_port: Option<u16>,
}

/// The packet inside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inside {
    /// Where it is in the buffer that was given.
    pub at: Range<usize>,
    /// Its family.
    pub family: Family,
    /// Whether its transport checksum is still to be finished.
    pub unfinished: Option<Unfinished>,
}

/// A transport checksum that holds the pseudo-header's sum only: the kernel merges segments on receive
/// and leaves it so (generic receive offload), and a remote checksum of GUE means the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unfinished {
    /// Where summing begins, in bytes from the start of the packet inside.
    pub start: u16,
    /// Where the checksum stands, in bytes from `start`.
    pub offset: u16,
    /// Bytes of all headers of the packet inside.
    pub headers: u16,
    /// Whether it is TCP; UDP otherwise.
    pub is_tcp: bool,
}

/// Why a packet is not let in; each is a counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The outer source is none of [`Policy::directors`].
    OuterSource,
    /// The outer destination is a virtual address: no director sends so.
    OuterToVirtual,
    /// The tunnel's header is cut off.
    Truncated,
    /// GRE of another version than 0, or with routing (RFC 2784 §2.3 has it discarded).
    GreForm,
    /// GRE's checksum is wrong.
    GreChecksum,
    /// GUE of another version than 0 and 1, a control message, or options that we do not know.
    GueForm,
    /// What is inside is neither IPv4 nor IPv6.
    NotIp,
    /// The packet inside is malformed.
    Malformed,
    /// The packet inside is a tunnel again.
    Nested,
    /// The packet inside is for no virtual address.
    NotVirtual,
    /// The packet inside is from an address that no client has: a virtual one.
    InnerSource,
    /// The network reports congestion to a packet whose sender cannot be told (RFC 6040 §4.2).
    Congested,
}

impl Refusal {
    /// Every reason, in the order of [`Refusal::index`].
    pub const ALL: [Refusal; 12] = [
        Refusal::OuterSource,
        Refusal::OuterToVirtual,
        Refusal::Truncated,
        Refusal::GreForm,
        Refusal::GreChecksum,
        Refusal::GueForm,
        Refusal::NotIp,
        Refusal::Malformed,
        Refusal::Nested,
        Refusal::NotVirtual,
        Refusal::InnerSource,
        Refusal::Congested,
    ];

    /// The place of its counter, below the length of [`Refusal::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::OuterSource => "not from a director (--director)",
            Refusal::OuterToVirtual => "tunnelled to the virtual address itself",
            Refusal::Truncated => "tunnel header cut off",
            Refusal::GreForm => "GRE with routing or of an unknown version",
            Refusal::GreChecksum => "GRE checksum wrong",
            Refusal::GueForm => "GUE control message, version or options unknown",
            Refusal::NotIp => "neither IPv4 nor IPv6 inside",
            Refusal::Malformed => "malformed packet inside",
            Refusal::Nested => "a tunnel inside the tunnel",
            Refusal::NotVirtual => "not for a virtual address inside (--vip)",
            Refusal::InnerSource => "from a virtual address inside",
            Refusal::Congested => "congestion reported to a packet that cannot carry it",
        })
    }
}

/// What a tunnel's header says about the packet behind it.
struct Wrapped {
    /// Bytes of the tunnel's header.
    len: usize,
    family: Family,
    /// Of GUE's remote checksum: where summing begins and where the checksum stands, in bytes from the
    /// start of the packet.
    remote_checksum: Option<(u16, u16)>,
    /// Whether GRE's checksum is wrong, which a merged packet's always is.
    wrong_sum: bool,
}

/// Opens a packet. `payload` is what follows the outer IP header (for GUE, the UDP header) in `buffer`,
/// which holds at least [`HEADROOM`] bytes in front of it. What stands in front of the packet inside is
/// overwritten, and congestion that the network reported on the outer header is noted in the inner one
/// (RFC 6040 §4.2).
///
/// The outer headers' own lengths and checksums are not looked at; sockets have done that.
///
/// # Errors
/// Why the packet is not let in; `buffer` holds nothing of use then.
///
/// # Panics
/// If `payload` does not lie in `buffer` or begins before [`HEADROOM`].
pub fn open(
    policy: &Policy,
    outer: &Outer,
    buffer: &mut [u8],
    payload: Range<usize>,
) -> Result<Inside, Refusal> {
    assert!(payload.start >= HEADROOM, "no room in front of the payload");
    if !policy.directors.is_empty() && !policy.directors.iter().any(|d| d.contains(outer.src)) {
        return Err(Refusal::OuterSource);
    }
    if policy.virtuals.contains(&outer.dst) {
        return Err(Refusal::OuterToVirtual);
    }
    let wrapped = unwrap(outer.carrier, &buffer[payload.clone()])?;
    let at = payload.start + wrapped.len;
    let frame = &mut buffer[at - HEADROOM..payload.end];
    let headers = look(policy, &wrapped, frame)?;
    let packet_end = headers.end();
    note_congestion(outer.tos, &headers, &mut frame[HEADROOM..packet_end])?;
    let packet = &frame[HEADROOM..packet_end];
    let merged = checksum::unfinished(&headers, packet);
    if wrapped.wrong_sum && merged.is_none() {
        return Err(Refusal::GreChecksum);
    }
    let unfinished = match wrapped.remote_checksum {
        Some(remote) => Some(checksum::remote(&headers, remote)?),
        None => merged,
    };
    Ok(Inside { at: at..at + packet.len(), family: headers.family, unfinished })
}

fn unwrap(carrier: Carrier, payload: &[u8]) -> Result<Wrapped, Refusal> {
    let bare = |family| Wrapped { len: 0, family, remote_checksum: None, wrong_sum: false };
    match carrier {
        Carrier::Ipv4 => Ok(bare(Family::V4)),
        Carrier::Ipv6 => Ok(bare(Family::V6)),
        Carrier::Gre => gre::unwrap(payload),
        Carrier::Gue => gue::unwrap(payload),
    }
}

/// Looks at the packet inside. The director's own parser does it, which wants an Ethernet header: `frame`
/// has room for one in front.
fn look(policy: &Policy, wrapped: &Wrapped, frame: &mut [u8]) -> Result<Headers, Refusal> {
    let kind = match wrapped.family {
        Family::V4 => ethernet::IPV4,
        Family::V6 => ethernet::IPV6,
    };
    let nobody = MacAddr([0; 6]);
    ethernet::emit_header(frame, nobody, nobody, &VlanTags::NONE, kind);
    let Parsed::Ip(headers) = parse(frame) else { return Err(Refusal::Malformed) };
    if !policy.virtuals.contains(&headers.dst()) {
        return Err(Refusal::NotVirtual);
    }
    if policy.virtuals.contains(&headers.src()) || headers.src().is_unspecified() {
        return Err(Refusal::InnerSource);
    }
    let tunnels = [Protocol::IPIP, Protocol::IPV6, Protocol::GRE];
    let to_gue = || policy.gue_port == Some(headers.flow.virtual_port().0);
    if tunnels.contains(&headers.protocol) || headers.l4_header == L4::Udp && to_gue() {
        return Err(Refusal::Nested);
    }
    Ok(headers)
}

/// Takes over "congestion experienced" from the outer header.
fn note_congestion(outer: u8, headers: &Headers, packet: &mut [u8]) -> Result<(), Refusal> {
    let inner = headers.tos & ECN_MASK;
    if outer & ECN_MASK != ECN_CONGESTED || inner == ECN_CONGESTED {
        return Ok(());
    }
    if inner == 0 {
        return Err(Refusal::Congested);
    }
    match headers.family {
        Family::V4 => {
            let header = &mut packet[..ipv4::HEADER_LEN];
            let old = u16::from_be_bytes([header[0], header[1]]);
            header[ipv4::field::TOS] |= ECN_CONGESTED;
            let new = u16::from_be_bytes([header[0], header[1]]);
            let place = ipv4::field::CHECKSUM..ipv4::field::CHECKSUM + 2;
            let sum = u16::from_be_bytes([header[place.start], header[place.start + 1]]);
            let sum = lvs_core::wire::checksum::update16(sum, old, new);
            header[place].copy_from_slice(&sum.to_be_bytes());
        }
        // The traffic class is the second half of the first byte and the first half of the second.
        Family::V6 => packet[1] |= ECN_CONGESTED << 4,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
