//! Network address translation: one end of a packet rewritten in place, its checksums updated and never
//! computed anew, so that a wrong one stays wrong (rule P9; RFC 3022 §4.2).

use core::net::IpAddr;

use crate::flow::{Endpoint, Protocol};
use crate::wire::checksum::{self, Sum};
use crate::wire::{icmp, ipv4, ipv6, sctp, tcp, udp};

/// One end of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The sender's.
    Source,
    /// The receiver's.
    Destination,
}

/// Bytes of the ports at the front of a transport header.
const PORTS_LEN: usize = 4;

/// What stands in a packet's transport header, as far as translation asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transport {
    /// The protocol.
    pub protocol: Protocol,
    /// Where its header begins, in bytes from the IP header.
    pub at: usize,
    /// The checksum field holds the sum of the pseudo-header alone, not complemented, because the
    /// hardware is to finish it ([`Checksum::Partial`](crate::io::Checksum::Partial)).
    pub unfinished: bool,
}

/// Rewrites address and port at one end of a TCP, UDP or SCTP packet, which begins with its IP header and
/// ends where it ends. A UDP checksum of 0 is none, and stays so (RFC 768). SCTP's is no sum and is
/// computed anew, but only where the port changes: the addresses are not part of it.
///
/// An address of the other family changes nothing.
pub fn translate(packet: &mut [u8], transport: Transport, end: End, to: Endpoint) {
    let Some(addresses) = set_addr(packet, end, to.addr) else { return };
    let Some(segment) = packet.get_mut(transport.at..) else { return };
    let before = segment.first_chunk::<PORTS_LEN>().copied();
    let ports = set_port(segment, end, to.port.0);
    let (at, is_udp) = match transport.protocol {
        Protocol::TCP => (tcp::field::CHECKSUM, false),
        Protocol::UDP => (udp::field::CHECKSUM, true),
        Protocol::SCTP if !transport.unfinished && before.as_ref() != segment.first_chunk() => {
            return sctp::set_checksum(segment);
        }
        _ => return,
    };
    let Some(field) = segment.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) else { return };
    let old = u16::from_be_bytes(*field);
    let new = match transport.unfinished {
        true => addresses.word(old).fold(),
        false if is_udp && old == 0 => return,
        // What comes out as 0 is sent as its other form (RFC 768).
        false => match checksum::update(old, addresses.and(ports)) {
            0 if is_udp => 0xffff,
            new => new,
        },
    };
    *field = new.to_be_bytes();
}

/// Where an ICMP error and the packet that it quotes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote {
    /// Where the ICMP header begins, in bytes from the IP header.
    pub icmp_at: usize,
    /// Where the quoted transport header begins, in bytes from the quoted IP header.
    pub transport_at: usize,
    /// As [`Transport::unfinished`], of the error.
    pub unfinished: bool,
}

/// Rewrites the address at one end of an ICMP error, and address and port at the other end of the packet
/// that it quotes: both stand for the same host. `packet` is the error from its IP header to its end.
///
/// The quoted transport checksum is left as it is, as in the kernel: it may be cut off, and nobody looks
/// at it.
pub fn translate_error(packet: &mut [u8], quote: Quote, end: End, to: Endpoint) {
    let Some(addresses) = set_addr(packet, end, to.addr) else { return };
    let v6 = to.addr.is_ipv6();
    let Some(message) = packet.get_mut(quote.icmp_at..) else { return };
    let Some((header, quoted)) = message.split_at_mut_checked(icmp::HEADER_LEN) else { return };
    let Some(changed) = quoted.get_mut(..quote.transport_at + PORTS_LEN) else { return };
    let other = match end {
        End::Source => End::Destination,
        End::Destination => End::Source,
    };
    let before = Sum::ZERO.less(changed);
    set_addr(changed, other, to.addr);
    set_port(&mut changed[quote.transport_at..], other, to.port.0);
    let quoted = before.bytes(changed);
    let field = &mut header[icmp::field::CHECKSUM..icmp::field::REST];
    let old = u16::from_be_bytes([field[0], field[1]]);
    // Only ICMPv6 has a pseudo-header (RFC 4443 §2.3).
    let new = match (v6, quote.unfinished) {
        (true, true) => addresses.word(old).fold(),
        (true, false) => checksum::update(old, addresses.and(quoted)),
        (false, _) => checksum::update(old, quoted),
    };
    field.copy_from_slice(&new.to_be_bytes());
}

/// Rewrites an address of the packet at the front of `packet`, and the header checksum of IPv4; returns
/// by how much the sum of addresses changed. `None` if the packet is of another family, or too short.
fn set_addr(packet: &mut [u8], end: End, to: IpAddr) -> Option<Sum> {
    match to {
        IpAddr::V4(to) => {
            let header: &mut [u8; ipv4::HEADER_LEN] = packet.first_chunk_mut()?;
            if header[ipv4::field::VERSION_IHL] >> 4 != 4 {
                return None;
            }
            let at = match end {
                End::Source => ipv4::field::SRC,
                End::Destination => ipv4::field::DST,
            };
            let field: &mut [u8; 4] = header[at..].first_chunk_mut()?;
            let change = replace(field, &to.octets());
            let sum: &mut [u8; 2] = header[ipv4::field::CHECKSUM..].first_chunk_mut()?;
            *sum = checksum::update(u16::from_be_bytes(*sum), change).to_be_bytes();
            Some(change)
        }
        IpAddr::V6(to) => {
            let header: &mut [u8; ipv6::HEADER_LEN] = packet.first_chunk_mut()?;
            if header[ipv6::field::VERSION] >> 4 != 6 {
                return None;
            }
            let at = match end {
                End::Source => ipv6::field::SRC,
                End::Destination => ipv6::field::DST,
            };
            let field: &mut [u8; 16] = header[at..].first_chunk_mut()?;
            Some(replace(field, &to.octets()))
        }
    }
}

/// Rewrites a port of a transport header, if the packet has it, and returns by how much the sum changed.
fn set_port(segment: &mut [u8], end: End, to: u16) -> Sum {
    // The same place in the headers of TCP, UDP and SCTP.
    let at = match end {
        End::Source => tcp::field::SRC_PORT,
        End::Destination => tcp::field::DST_PORT,
    };
    let field = segment.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>);
    field.map_or(Sum::ZERO, |field| replace(field, &to.to_be_bytes()))
}

/// Replaces bytes and returns by how much their sum changed.
#[inline]
fn replace<const N: usize>(field: &mut [u8; N], new: &[u8; N]) -> Sum {
    let change = Sum::ZERO.less(field).bytes(new);
    *field = *new;
    change
}

#[cfg(test)]
mod tests;
