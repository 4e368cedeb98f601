use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::scenario::{Action, Packet, Scenario};

fn packet(line: &str) -> Packet {
    let scenario = Scenario::parse("p.lvs", &format!("1 {line}\n")).unwrap();
    match scenario.events.into_iter().next().unwrap().action {
        Action::Packet(packet) => packet,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_packet_has_the_documented_defaults() {
    let frames = packet("tcp 192.0.2.7:40000 > 10.0.0.1:80 A len=28").frames();
    assert_eq!(frames[0][..12], [2, 0xc0, 0, 0, 0, 1, 2, 0xc1, 0, 0, 0, 0xfe]);
    let sliced = SlicedPacket::from_ethernet(&frames[0]).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("no IPv4") };
    let header = ip.header().to_header();
    assert_eq!((header.time_to_live, header.identification), (64, 0x1234));
    assert!(header.dont_fragment);
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("no TCP") };
    assert_eq!(
        (tcp.sequence_number(), tcp.acknowledgment_number(), tcp.window_size()),
        (1000, 2000, 65_535)
    );
    assert_eq!(tcp.payload(), b"ABCDEFGHIJKLMNOPQRSTUVWXYZAB");
    assert_eq!(Ok(tcp.checksum()), tcp.calc_checksum_ipv4(header.source, header.destination));
}

#[test]
fn a_wrong_checksum_is_wrong() {
    let right = &packet("tcp 192.0.2.7:40000 > 10.0.0.1:80 S").frames()[0];
    let wrong = &packet("tcp 192.0.2.7:40000 > 10.0.0.1:80 S csum=0").frames()[0];
    let differing: Vec<_> = (0..right.len()).filter(|&i| right[i] != wrong[i]).collect();
    assert_eq!(differing, [50, 51]);
}

#[test]
fn a_reply_comes_from_its_servers_station() {
    let frames = packet("reply udp 10.1.0.2:53 > 192.0.2.7:40000").frames();
    assert_eq!(frames[0][..12], [2, 0x50, 0, 0, 0, 1, 2, 4, 10, 1, 0, 2]);
}

#[test]
fn fragments_are_cut_at_multiples_of_eight_and_sent_in_the_order_asked_for() {
    let frames =
        packet("frag udp 192.0.2.7:1 > 10.0.0.1:53 len=100 at=43,80 send=2,0,1 id=9").frames();
    let fields: Vec<_> = frames
        .iter()
        .map(|frame| {
            let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
            (word(16) - 20, word(18), (word(20) & 0x1fff) * 8, word(20) >> 13)
        })
        .collect();
    assert_eq!(fields, [(28, 9, 80, 0), (40, 9, 0, 1), (40, 9, 40, 1)]);
}

#[test]
fn every_shipped_packet_is_well_formed() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/scenarios");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let scenario = Scenario::parse(&path.to_string_lossy(), &text).unwrap();
        for event in &scenario.events {
            let Action::Packet(packet) = &event.action else { continue };
            for frame in packet.frames() {
                SlicedPacket::from_ethernet(&frame)
                    .unwrap_or_else(|e| panic!("{}: {e}", packet.text));
                count += 1;
            }
        }
    }
    assert!(count > 1000, "only {count} packets");
}
