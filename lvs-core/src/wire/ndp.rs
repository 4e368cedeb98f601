//! Neighbour discovery (RFC 4861): solicitations and advertisements, by smoltcp's wire types.
//!
//! ```
//! use lvs_core::wire::ndp::solicited_node;
//! assert_eq!(solicited_node("2001:db8::1:2".parse()?).to_string(), "ff02::1:ff01:2");
//! # Ok::<(), core::net::AddrParseError>(())
//! ```

use core::net::{IpAddr, Ipv6Addr};

use smoltcp::wire::{
    EthernetAddress, Icmpv6Packet, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};

use crate::addr::MacAddr;
use crate::drop::DropReason;
use crate::flow::Protocol;
use crate::wire::{checksum, chunk, icmp, ipv6};

/// Bytes of a solicitation or advertisement with its link-layer address option, IPv6 header included.
pub const LEN: usize = ipv6::HEADER_LEN + 24 + 8;
/// The hop limit of every neighbour message: a router cannot have forwarded it (RFC 4861 §3.1).
pub const HOP_LIMIT: u8 = 255;
/// All nodes of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// An ICMPv6 message as far as neighbour discovery is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NdpMessage {
    /// Who has `target`?
    Solicit {
        /// The address asked for.
        target: Ipv6Addr,
        /// Who asks; unspecified if the asker wants to take the address itself (RFC 4862 §5.4).
        source: Ipv6Addr,
        /// The asker's Ethernet address, if it says so.
        source_mac: Option<MacAddr>,
    },
    /// `target` is at `mac`.
    Advert {
        /// The address spoken of.
        target: Ipv6Addr,
        /// Its Ethernet address; may be left out of an answer to a unicast solicitation.
        mac: Option<MacAddr>,
        /// Whether this answers a solicitation.
        solicited: bool,
        /// Whether an entry that exists is to be overwritten.
        override_: bool,
    },
    /// No solicitation or advertisement.
    Other,
}

/// Reads the ICMPv6 message at `l4` of an IPv6 packet that is cut to its own length.
///
/// # Errors
/// [`DropReason::NdpMalformed`] for a solicitation or advertisement that RFC 4861 §7.1.1 or §7.1.2
/// says to discard: hop limit other than 255, wrong checksum, code other than 0, cut off, a multicast
/// target, an option of length 0, a source address option from or a destination other than
/// solicited-node for the unspecified source, a solicited advertisement to a group. Likewise if the
/// Ethernet address it tells is a group's.
pub fn parse(packet: &[u8], l4: usize) -> Result<NdpMessage, DropReason> {
    const MALFORMED: DropReason = DropReason::NdpMalformed;
    let header: &[u8; ipv6::HEADER_LEN] = chunk(packet, 0).ok_or(MALFORMED)?;
    let message = packet.get(l4..).ok_or(MALFORMED)?;
    let [kind, code, ..] = *message else { return Err(MALFORMED) };
    if !matches!(kind, icmp::v6::NEIGHBOR_SOLICIT | icmp::v6::NEIGHBOR_ADVERT) {
        return Ok(NdpMessage::Other);
    }
    let (source, dst) = (ipv6::src(header), ipv6::dst(header));
    let sum = checksum::transport(source.into(), dst.into(), Protocol::ICMPV6, message);
    if header[ipv6::field::HOP_LIMIT] != HOP_LIMIT || code != 0 || sum != 0 {
        return Err(MALFORMED);
    }
    let wire = Icmpv6Packet::new_checked(message).map_err(|_| MALFORMED)?;
    let parsed = match NdiscRepr::parse(&wire).map_err(|_| MALFORMED)? {
        NdiscRepr::NeighborSolicit { target_addr: target, lladdr } => {
            let source_mac = ethernet_addr(lladdr)?;
            let no_source = source.is_unspecified();
            if no_source && (lladdr.is_some() || dst != solicited_node(dst)) {
                return Err(MALFORMED);
            }
            NdpMessage::Solicit { target, source, source_mac }
        }
        NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr } => {
            let solicited = flags.contains(NdiscNeighborFlags::SOLICITED);
            if solicited && dst.is_multicast() {
                return Err(MALFORMED);
            }
            let override_ = flags.contains(NdiscNeighborFlags::OVERRIDE);
            NdpMessage::Advert { target, mac: ethernet_addr(lladdr)?, solicited, override_ }
        }
        _ => return Ok(NdpMessage::Other),
    };
    match parsed {
        NdpMessage::Solicit { target, .. } | NdpMessage::Advert { target, .. }
            if target.is_multicast() =>
        {
            Err(MALFORMED)
        }
        parsed => Ok(parsed),
    }
}

/// A solicitation to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Solicit {
    /// The address asked for.
    pub target: Ipv6Addr,
    /// Who asks.
    pub source: Ipv6Addr,
    /// The asker's Ethernet address; left out if the source is unspecified.
    pub source_mac: MacAddr,
    /// To whom: [`solicited_node`] of the target, or the target itself to check that it still answers.
    pub dst: Ipv6Addr,
}

impl Solicit {
    /// Writes the whole IPv6 packet and returns its length, at most [`LEN`].
    ///
    /// # Panics
    /// If the buffer is shorter than that.
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let lladdr = (!self.source.is_unspecified()).then(|| raw(self.source_mac));
        let repr = NdiscRepr::NeighborSolicit { target_addr: self.target, lladdr };
        emit_message(buf, self.source, self.dst, &repr)
    }
}

/// An advertisement to be written. It speaks of its own source address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advert {
    /// The address advertised, and the packet's source.
    pub target: Ipv6Addr,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// To whom.
    pub dst: Ipv6Addr,
    /// Whether this answers a solicitation.
    pub solicited: bool,
    /// Whether the owner is a router, which IPv6 hosts keep in mind (RFC 4861 §7.3.3).
    pub router: bool,
}

impl Advert {
    /// Tells the whole link that `target` is at `mac` now (RFC 4861 §7.2.6).
    pub const fn unsolicited(target: Ipv6Addr, mac: MacAddr) -> Advert {
        Advert { target, mac, dst: ALL_NODES, solicited: false, router: false }
    }

    /// The answer to a solicitation from `source`, who may be unspecified: then all nodes are told and
    /// the advertisement does not count as solicited (RFC 4861 §7.2.4).
    pub const fn answer(target: Ipv6Addr, mac: MacAddr, source: Ipv6Addr) -> Advert {
        if source.is_unspecified() {
            return Advert::unsolicited(target, mac);
        }
        Advert { target, mac, dst: source, solicited: true, router: false }
    }

    /// Writes the whole IPv6 packet, with the override flag, and returns its length, [`LEN`].
    ///
    /// # Panics
    /// If the buffer is shorter than that.
    pub fn emit(&self, buf: &mut [u8]) -> usize {
        let mut flags = NdiscNeighborFlags::OVERRIDE;
        flags.set(NdiscNeighborFlags::SOLICITED, self.solicited);
        flags.set(NdiscNeighborFlags::ROUTER, self.router);
        let lladdr = Some(raw(self.mac));
        let repr = NdiscRepr::NeighborAdvert { flags, target_addr: self.target, lladdr };
        emit_message(buf, self.target, self.dst, &repr)
    }
}

/// The solicited-node multicast address of an address (RFC 4291 §2.7.1).
pub const fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let low = addr.to_bits() & 0xff_ffff;
    Ipv6Addr::from_bits(0xff02_0000_0000_0000_0000_0001_ff00_0000 | low)
}

/// The Ethernet group address that an IPv6 multicast address is sent to (RFC 2464 §7).
pub const fn multicast_mac(addr: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = addr.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

fn emit_message(buf: &mut [u8], src: Ipv6Addr, dst: Ipv6Addr, repr: &NdiscRepr<'_>) -> usize {
    let len = repr.buffer_len();
    let header = ipv6::Header {
        src,
        dst,
        next_header: Protocol::ICMPV6,
        hop_limit: HOP_LIMIT,
        traffic_class: 0,
        payload_len: len as u16,
    };
    ipv6::emit_header(buf, &header);
    let message = &mut buf[ipv6::HEADER_LEN..][..len];
    repr.emit(&mut Icmpv6Packet::new_unchecked(&mut *message));
    let at = icmp::field::CHECKSUM;
    message[at..at + 2].fill(0);
    let (src, dst): (IpAddr, IpAddr) = (src.into(), dst.into());
    let sum = checksum::transport(src, dst, Protocol::ICMPV6, message);
    message[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    ipv6::HEADER_LEN + len
}

fn raw(mac: MacAddr) -> RawHardwareAddress {
    RawHardwareAddress::from(EthernetAddress(mac.0))
}

/// The Ethernet address in a link-layer address option.
fn ethernet_addr(option: Option<RawHardwareAddress>) -> Result<Option<MacAddr>, DropReason> {
    let Some(raw) = option else { return Ok(None) };
    let bytes = raw.as_bytes().first_chunk::<6>().ok_or(DropReason::NdpMalformed)?;
    let mac = MacAddr(*bytes);
    if mac.is_group() { Err(DropReason::NdpMalformed) } else { Ok(Some(mac)) }
}

#[cfg(test)]
mod tests;
