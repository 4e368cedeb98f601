//! A frame as a line of text, for assertions and for the messages of those that fail.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use etherparse::{
    ArpPacketSlice, Icmpv4Slice, Icmpv6Slice, LaxNetSlice, LaxSlicedPacket, TcpSlice,
    TransportSlice,
};

/// Describes a frame: VLAN tags, addresses and ports, protocol, flags, length of the payload.
///
/// ```text
/// 10.77.0.100:40000 > 10.77.0.200:80 tcp S len=0
/// vlan 5 vlan 7 fd77::100:40000 > fd77::200:53 udp len=12
/// 10.77.0.200 > 10.77.0.100 icmp 3/3
/// arp who-has 10.77.0.200 tell 10.77.0.100
/// ```
///
/// What cannot be parsed is described as far as it goes; a frame of another EtherType by its number.
pub fn describe(frame: &[u8]) -> String {
    let Ok(packet) = LaxSlicedPacket::from_ethernet(frame) else {
        return format!("{} bytes that are no Ethernet frame", frame.len());
    };
    let mut text = String::new();
    for tag in &packet.link_exts {
        if let etherparse::LaxLinkExtSlice::Vlan(tag) = tag {
            let _ = write!(text, "vlan {} ", tag.vlan_identifier().value());
        }
    }
    let Some(net) = &packet.net else {
        let kind = packet.ether_payload().map_or(0, |payload| payload.ether_type.0);
        let _ = write!(text, "ethertype {kind:#06x}");
        return text;
    };
    let (source, destination): (IpAddr, IpAddr) = match net {
        LaxNetSlice::Ipv4(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        LaxNetSlice::Ipv6(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        LaxNetSlice::Arp(arp) => return text + &describe_arp(arp),
    };
    let rest = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let (from, to) = (tcp.source_port(), tcp.destination_port());
            format!("{source}:{from} > {destination}:{to} {}", describe_tcp(tcp))
        }
        Some(TransportSlice::Udp(udp)) => {
            let (from, to) = (udp.source_port(), udp.destination_port());
            format!("{source}:{from} > {destination}:{to} udp len={}", udp.payload().len())
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            format!("{source} > {destination} {}", describe_icmp4(icmp))
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            format!("{source} > {destination} {}", describe_icmp6(icmp))
        }
        _ => {
            let payload = net.ip_payload_ref();
            let number = payload.map_or(0, |payload| payload.ip_number.0);
            let fragment = payload.is_some_and(|payload| payload.fragmented);
            let kind = if fragment { "fragment of protocol" } else { "protocol" };
            format!("{source} > {destination} {kind} {number}")
        }
    };
    text + &rest
}

fn describe_tcp(tcp: &TcpSlice<'_>) -> String {
    let flags = [
        (tcp.syn(), 'S'),
        (tcp.ack(), 'A'),
        (tcp.psh(), 'P'),
        (tcp.fin(), 'F'),
        (tcp.rst(), 'R'),
        (tcp.urg(), 'U'),
    ];
    let mut shown: String = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect();
    if shown.is_empty() {
        shown.push('.');
    }
    format!("tcp {shown} len={}", tcp.payload().len())
}

fn describe_icmp4(icmp: &Icmpv4Slice<'_>) -> String {
    match icmp.type_u8() {
        0 => "icmp echo-reply".to_owned(),
        8 => "icmp echo".to_owned(),
        number => format!("icmp {number}/{}", icmp.code_u8()),
    }
}

fn describe_icmp6(icmp: &Icmpv6Slice<'_>) -> String {
    match icmp.type_u8() {
        128 => "icmp6 echo".to_owned(),
        129 => "icmp6 echo-reply".to_owned(),
        135 => "icmp6 neighbor-solicitation".to_owned(),
        136 => "icmp6 neighbor-advertisement".to_owned(),
        number => format!("icmp6 {number}/{}", icmp.code_u8()),
    }
}

fn describe_arp(arp: &ArpPacketSlice<'_>) -> String {
    let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).map(Ipv4Addr::from);
    let (sender, target) =
        (address(arp.sender_protocol_addr()), address(arp.target_protocol_addr()));
    match (arp.operation().0, sender, target) {
        (1, Ok(sender), Ok(target)) => format!("arp who-has {target} tell {sender}"),
        (2, Ok(sender), Ok(_)) => {
            let mac: Vec<String> =
                arp.sender_hw_addr().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("arp {sender} is-at {}", mac.join(":"))
        }
        (operation, ..) => format!("arp operation {operation}"),
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    #[test]
    fn a_tagged_syn_shows_tag_addresses_ports_and_flags() {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
            .single_vlan(5.try_into().unwrap())
            .ipv4([192, 0, 2, 7], [10, 0, 0, 1], 64)
            .tcp(40000, 80, 1, 1000)
            .syn();
        let mut frame = Vec::new();
        builder.write(&mut frame, b"abc").unwrap();
        assert_eq!(describe(&frame), "vlan 5 192.0.2.7:40000 > 10.0.0.1:80 tcp S len=3");
    }

    #[test]
    fn an_icmp_error_shows_type_and_code() {
        use etherparse::icmpv4::DestUnreachableHeader::Port;
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [192, 0, 2, 7], 64)
            .icmpv4(etherparse::Icmpv4Type::DestinationUnreachable(Port));
        let mut frame = Vec::new();
        builder.write(&mut frame, &[0; 28]).unwrap();
        assert_eq!(describe(&frame), "10.0.0.1 > 192.0.2.7 icmp 3/3");
    }

    #[test]
    fn bytes_that_are_nothing_are_described_all_the_same() {
        assert_eq!(describe(&[1, 2, 3]), "3 bytes that are no Ethernet frame");
        assert_eq!(describe(&[0; 14]), "ethertype 0x0000");
    }
}
