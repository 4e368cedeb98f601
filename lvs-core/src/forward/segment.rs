//! Cutting a super-frame into the segments it stands for, as a network card would (GSO): TCP (RFC 9293) and
//! UDP, each segment with the headers of the whole and lengths, numbers and checksums of its own.

use core::net::IpAddr;

use crate::addr::Family;
use crate::flow::Protocol;
use crate::wire::tcp::TcpFlags;
use crate::wire::{checksum, ipv4, ipv6, tcp, udp};

/// Which segment of its super-frame a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its number, from 0.
    pub number: u16,
    /// Where its payload begins in that of the whole, in bytes.
    pub offset: u32,
    /// Whether none comes behind it.
    pub last: bool,
}

/// Makes a packet out of the headers of a super-frame and the payload of one segment: `packet` begins with the
/// IP header and ends where the segment does. `l4` is where the transport header begins.
///
/// The checksum is computed anew, whether that of the super-frame was finished or not.
///
/// # Panics
/// If the packet is shorter than its headers.
pub fn finish(packet: &mut [u8], family: Family, protocol: Protocol, l4: usize, segment: &Segment) {
    let (src, dst) = match family {
        Family::V4 => number_v4(packet, segment),
        Family::V6 => number_v6(packet),
    };
    let transport = &mut packet[l4..];
    let checksum_at = match protocol {
        Protocol::TCP => {
            number_tcp(transport, segment);
            tcp::field::CHECKSUM
        }
        _ => {
            let len = transport.len() as u16;
            transport[udp::field::LEN..][..2].copy_from_slice(&len.to_be_bytes());
            udp::field::CHECKSUM
        }
    };
    transport[checksum_at..][..2].fill(0);
    let sum = match checksum::transport(src, dst, protocol, transport) {
        0 if protocol == Protocol::UDP => 0xffff,
        sum => sum,
    };
    transport[checksum_at..][..2].copy_from_slice(&sum.to_be_bytes());
}

/// Length, identification and checksum of the IPv4 header; segments count on from the identification of the
/// first.
fn number_v4(packet: &mut [u8], segment: &Segment) -> (IpAddr, IpAddr) {
    let len = packet.len() as u16;
    let header_len = usize::from(packet[ipv4::field::VERSION_IHL] & 0xf) * 4;
    let header = &mut packet[..header_len];
    let ident = u16::from_be_bytes([header[ipv4::field::IDENT], header[ipv4::field::IDENT + 1]])
        .wrapping_add(segment.number);
    header[ipv4::field::TOTAL_LEN..][..2].copy_from_slice(&len.to_be_bytes());
    header[ipv4::field::IDENT..][..2].copy_from_slice(&ident.to_be_bytes());
    header[ipv4::field::CHECKSUM..][..2].fill(0);
    let sum = checksum::of(header);
    header[ipv4::field::CHECKSUM..][..2].copy_from_slice(&sum.to_be_bytes());
    let header: &[u8; ipv4::HEADER_LEN] = header.first_chunk().expect("a whole header");
    (ipv4::src(header).into(), ipv4::dst(header).into())
}

fn number_v6(packet: &mut [u8]) -> (IpAddr, IpAddr) {
    let len = (packet.len() - ipv6::HEADER_LEN) as u16;
    packet[ipv6::field::PAYLOAD_LEN..][..2].copy_from_slice(&len.to_be_bytes());
    let header: &[u8; ipv6::HEADER_LEN] = packet.first_chunk().expect("a whole header");
    (ipv6::src(header).into(), ipv6::dst(header).into())
}

/// Sequence number and flags: only the first segment tells of a reduced window (RFC 3168 §6.1.2), only the
/// last one pushes or ends.
fn number_tcp(transport: &mut [u8], segment: &Segment) {
    let number = &mut transport[tcp::field::SEQ..tcp::field::ACK];
    let first = number.iter().fold(0, |first, byte| first << 8 | u32::from(*byte));
    number.copy_from_slice(&first.wrapping_add(segment.offset).to_be_bytes());
    let flags = &mut transport[tcp::field::FLAGS];
    if segment.number > 0 {
        *flags &= !TcpFlags::CWR.0;
    }
    if !segment.last {
        *flags &= !(TcpFlags::FIN.0 | TcpFlags::PSH.0);
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    proptest! {
        /// Each segment is what a TCP that cuts by itself would have sent.
        #[test]
        fn a_segment_is_the_packet_that_a_sender_without_offloads_sends(
            v6 in any::<bool>(),
            number in 0u16..40,
            size in 1u32..1400,
            (fin, psh, last) in any::<(bool, bool, bool)>(),
            payload in prop::collection::vec(any::<u8>(), 1..1400),
        ) {
            let packet = |sequence: u32, fin: bool, psh: bool, ident: u16| {
                let ends = ([192, 0, 2, 7], [10, 0, 0, 1]);
                let builder = match v6 {
                    true => PacketBuilder::ipv6([7; 16], [9; 16], 64),
                    false => {
                        let mut header =
                            etherparse::Ipv4Header::new(0, 64, 6.into(), ends.0, ends.1).unwrap();
                        header.identification = ident;
                        PacketBuilder::ip(etherparse::IpHeaders::Ipv4(header, Default::default()))
                    }
                };
                let mut tcp = builder.tcp(40_000, 80, sequence, 1000).ack(5);
                if fin {
                    tcp = tcp.fin();
                }
                if psh {
                    tcp = tcp.psh();
                }
                let mut bytes = Vec::new();
                tcp.write(&mut bytes, &payload).unwrap();
                bytes
            };
            let offset = u32::from(number) * size;
            let first = 0xffff_f000;
            let mut segment = packet(first, fin, psh, 77);
            let l4 = if v6 { 40 } else { 20 };
            // What the headers of a super-frame say of length and checksum is no segment's.
            segment[l4 + 16..l4 + 18].fill(0xab);
            let (family, place) = match v6 {
                true => (Family::V6, Segment { number, offset, last }),
                false => (Family::V4, Segment { number, offset, last }),
            };
            finish(&mut segment, family, Protocol::TCP, l4, &place);
            let sequence = first.wrapping_add(offset);
            let expected = packet(sequence, fin && last, psh && last, 77 + number);
            prop_assert_eq!(segment, expected);
        }
    }

    #[test]
    fn only_the_first_segment_tells_of_a_reduced_window() {
        for number in 0..2 {
            let mut packet = [0; 40];
            packet[0] = 0x45;
            packet[33] = TcpFlags::CWR.0 | TcpFlags::ACK.0;
            let place = Segment { number, offset: 0, last: false };
            finish(&mut packet, Family::V4, Protocol::TCP, 20, &place);
            assert_eq!(TcpFlags(packet[33]).contains(TcpFlags::CWR), number == 0);
        }
    }
}
