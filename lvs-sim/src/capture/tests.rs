use std::io::Cursor;

use proptest::prelude::*;

use super::*;

/// A pcap file with microseconds, little endian.
fn pcap(link: u32, packets: &[(u32, u32, &[u8], u32)]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 96, link] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for (secs, micros, data, len) in packets {
        for word in [*secs, *micros, data.len() as u32, *len] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(data);
    }
    file
}

/// A pcapng file, big endian, with one interface and one enhanced packet.
fn pcapng(link: u16, resolution: Option<u8>, units: u64, data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |ty: u32, body: &[u8]| {
        let len = 12 + body.len() as u32;
        file.extend_from_slice(&ty.to_be_bytes());
        file.extend_from_slice(&len.to_be_bytes());
        file.extend_from_slice(body);
        file.extend_from_slice(&len.to_be_bytes());
    };
    let head = [&[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0][..], &[0xff; 8]].concat();
    block(0x0a0d_0d0a, &head);
    let mut interface = [&link.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0]].concat();
    if let Some(resolution) = resolution {
        interface.extend_from_slice(&[0, 9, 0, 1, resolution, 0, 0, 0, 0, 0, 0, 0]);
    }
    block(1, &interface);
    let mut packet = vec![0; 4];
    packet.extend_from_slice(&units.to_be_bytes());
    packet.extend_from_slice(&(data.len() as u32).to_be_bytes());
    packet.extend_from_slice(&(data.len() as u32).to_be_bytes());
    packet.extend_from_slice(data);
    packet.resize(packet.len().next_multiple_of(4), 0);
    block(6, &packet);
    file
}

fn read(file: Vec<u8>) -> Result<Vec<CapturedFrame>, CaptureError> {
    let mut reader = CaptureReader::new(Cursor::new(file))?;
    let mut frame = CapturedFrame::default();
    let mut found = Vec::new();
    while reader.next_into(&mut frame)? {
        found.push(frame.clone());
    }
    Ok(found)
}

#[test]
fn what_the_capture_cut_off_is_filled_with_zeros() {
    let frames = read(pcap(1, &[(7, 5, &[1; 60], 80)])).unwrap();
    assert_eq!(frames[0].time, 7_000_005_000);
    assert!(frames[0].cut);
    assert_eq!(frames[0].bytes.len(), 80);
    assert_eq!(frames[0].bytes[59..61], [1, 0]);
}

#[test]
fn raw_ip_gets_an_ethernet_header_of_its_family() {
    for link in [101, 228] {
        let frames = read(pcap(link, &[(0, 0, &[0x45; 20], 20)])).unwrap();
        assert_eq!(frames[0].bytes[12..15], [0x08, 0x00, 0x45]);
    }
    let frames = read(pcap(101, &[(0, 0, &[0x60; 40], 40)])).unwrap();
    assert_eq!(frames[0].bytes[12..15], [0x86, 0xdd, 0x60]);
}

#[test]
fn pcapng_times_follow_the_resolution_of_the_interface() {
    let time = |resolution, units| read(pcapng(1, resolution, units, &[0; 61])).unwrap()[0].time;
    assert_eq!(time(None, 3_000_001), 3_000_001_000);
    assert_eq!(time(Some(9), 3_000_001), 3_000_001);
    assert_eq!(time(Some(3), 4), 4_000_000);
    assert_eq!(time(Some(0x80 | 1), 3), 1_500_000_000);
    assert_eq!(time(Some(0x7f), 3), 0);
}

#[test]
fn a_file_that_ends_within_a_packet_gives_what_came_before() {
    let mut file = pcap(1, &[(0, 0, &[0; 60], 60), (1, 0, &[0; 60], 60)]);
    file.truncate(file.len() - 7);
    let mut reader = CaptureReader::new(Cursor::new(file)).unwrap();
    let mut frame = CapturedFrame::default();
    assert!(reader.next_into(&mut frame).unwrap());
    assert!(!reader.next_into(&mut frame).unwrap());
    assert!(reader.truncated());
    assert_eq!(reader.packets(), 1);
}

#[test]
fn what_is_no_capture_is_said_so() {
    let message = |file: Vec<u8>| read(file).unwrap_err().to_string();
    assert!(
        message(b"-A -t 10.0.0.1:80".to_vec())
            .starts_with("this is no capture: it begins with [2d, 41")
    );
    assert!(message(Vec::new()).starts_with("this is no capture: it begins with []; expected"));
    let wifi = message(pcap(105, &[(0, 0, &[0; 60], 60)]));
    assert!(wifi.starts_with("packet 1 has link type 105, which cannot be replayed"), "{wifi}");
}

#[test]
fn what_is_written_can_be_read() {
    let mut writer = CaptureWriter::new(Vec::new()).unwrap();
    writer.write(1_500_000_000_123_456_789, &[9; 70]).unwrap();
    let frames = read(writer.finish().unwrap()).unwrap();
    assert_eq!(
        frames,
        [CapturedFrame { time: 1_500_000_000_123_456_789, bytes: vec![9; 70], cut: false }]
    );
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        ng: bool,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        len in any::<prop::sample::Index>(),
    ) {
        let mut file =
            if ng { pcapng(1, Some(6), 77, &[3; 62]) } else { pcap(1, &[(1, 2, &[4; 60][..], 60); 3]) };
        for (at, value) in flips {
            let at = at.index(file.len());
            file[at] = value;
        }
        file.truncate(len.index(file.len()) + 1);
        let _ = read(file);
    }
}
