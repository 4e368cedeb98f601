//! Any bytes as a frame: nothing panics, and every offset that the parser hands out lies where it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lvs_core::addr::Family;
use lvs_core::flow::Protocol;
use lvs_core::parse::{Headers, L4, Parsed, parse, parse_quoted, parse_super};
use lvs_core::wire::arp::ArpPacket;
use lvs_core::wire::ndp;

fuzz_target!(|frame: &[u8]| {
    for family in [Family::V4, Family::V6] {
        quoted(frame, family);
    }
    for parsed in [parse(frame), parse_super(frame)] {
        match parsed {
            Parsed::Ip(headers) => packet(frame, &headers),
            Parsed::Arp { l3, .. } => {
                let _ = ArpPacket::parse(&frame[usize::from(l3)..]);
            }
            Parsed::Other(_) | Parsed::Malformed(_) => {}
        }
    }
});

fn packet(frame: &[u8], headers: &Headers) {
    let (l3, l4, end) = (usize::from(headers.l3), usize::from(headers.l4), headers.end());
    assert!(14 <= l3 && l3 < l4 && l4 <= end && end <= frame.len(), "{headers:?}");
    assert_eq!(headers.family, headers.flow.family());
    assert_eq!(headers.protocol, headers.flow.protocol());
    if let Some(fragment) = headers.fragment {
        assert!(usize::from(fragment.payload) <= end, "{headers:?}");
        let payload = end - usize::from(fragment.payload);
        assert!(fragment.offset as usize + payload <= 65_535, "{headers:?}");
    }
    let transport = match headers.l4_header {
        L4::Tcp { header_len, .. } => usize::from(header_len).max(20),
        L4::Udp => 8,
        L4::Sctp(_) => 12,
        L4::Icmp { .. } => 4,
        L4::Fragment | L4::Other => 0,
    };
    assert!(l4 + transport <= end, "{headers:?}");
    if let L4::Icmp { .. } = headers.l4_header {
        if headers.protocol == Protocol::ICMPV6 && headers.family == Family::V6 {
            let _ = ndp::parse(&frame[l3..end], l4 - l3);
        }
        quoted(frame.get(l4 + 8..end).unwrap_or_default(), headers.family);
    }
}

fn quoted(bytes: &[u8], family: Family) {
    if let Some(quoted) = parse_quoted(bytes, family) {
        assert!(quoted.l4 <= bytes.len(), "{quoted:?}");
        assert_eq!(quoted.flow.family(), family);
    }
}
