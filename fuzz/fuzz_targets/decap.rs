//! Any bytes as what came through a tunnel: nothing panics, and what is let in is a whole packet for a
//! virtual address, whose unfinished checksum lies within it.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use lvs_core::addr::Family;
use lvs_realserver::decap::{Carrier, HEADROOM, Outer, Policy, open};

const VIP4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 80);
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x80);

// The first byte says how the rest came: its two lowest bits the carrier, the next two the outer
// header's congestion bits.
fuzz_target!(|input: &[u8]| {
    let Some((&how, payload)) = input.split_first() else { return };
    let carrier = [Carrier::Ipv4, Carrier::Ipv6, Carrier::Gre, Carrier::Gue][usize::from(how & 3)];
    let policy = Policy {
        directors: Vec::new(),
        virtuals: vec![VIP4.into(), VIP6.into()],
        gue_port: Some(6080),
    };
    let (src, dst) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
    let outer = Outer { src, dst, tos: how >> 2 & 3, carrier };
    let mut buffer = [&[0; HEADROOM], payload].concat();
    let range = HEADROOM..buffer.len();
    let Ok(inside) = open(&policy, &outer, &mut buffer, range) else { return };
    let packet = &buffer[inside.at.clone()];
    let dst = match inside.family {
        Family::V4 => IpAddr::from(*packet[16..].first_chunk::<4>().unwrap()),
        Family::V6 => IpAddr::from(*packet[24..].first_chunk::<16>().unwrap()),
    };
    assert!(policy.virtuals.contains(&dst), "{dst}");
    assert!(inside.at.start >= HEADROOM && packet.len() <= payload.len(), "{inside:?}");
    if let Some(unfinished) = inside.unfinished {
        let place = usize::from(unfinished.start) + usize::from(unfinished.offset);
        assert!(place + 2 <= packet.len(), "{unfinished:?}");
        assert!(usize::from(unfinished.headers) <= packet.len(), "{unfinished:?}");
    }
});
