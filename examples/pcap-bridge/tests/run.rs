//! The example as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use etherparse::PacketBuilder;
use lvs_sim::capture::{CaptureReader, CaptureWriter, CapturedFrame};

const DIRECTOR: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn bridge(rules: &Path, input: &Path, output: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pcap-bridge")).args([rules, input, output]).output().unwrap()
}

fn frames(capture: &[u8]) -> Vec<CapturedFrame> {
    let mut reader = CaptureReader::new(capture).unwrap();
    let mut frames = Vec::new();
    let mut frame = CapturedFrame::default();
    while reader.next_into(&mut frame).unwrap() {
        frames.push(frame.clone());
    }
    frames
}

/// Twelve clients, a tenth of a second apart, each with SYN, ACK, a request and FIN, and one packet to a
/// port without a service: what `clients.pcap` holds.
fn clients() -> Vec<u8> {
    let mut writer = CaptureWriter::new(Vec::new()).unwrap();
    let mut time = 1_700_000_000_000_000_000;
    for client in 1..=12 {
        for step in 0..5 {
            let port = if step == 4 { 81 } else { 80 };
            let tcp = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0xfe], DIRECTOR)
                .ipv4([198, 51, 100, client], [192, 0, 2, 80], 63)
                .tcp(40_000, port, 1, 1024);
            let (tcp, payload) = match step {
                0 | 4 => (tcp.syn(), ""),
                1 => (tcp.ack(1), ""),
                2 => (tcp.ack(1), "GET / HTTP/1.1\r\n\r\n"),
                _ => (tcp.ack(1).fin(), ""),
            };
            let mut bytes = Vec::new();
            tcp.write(&mut bytes, payload.as_bytes()).unwrap();
            writer.write(time, &bytes).unwrap();
            time += 20_000_000;
        }
    }
    writer.finish().unwrap()
}

#[test]
fn the_shipped_capture_is_the_one_that_this_test_describes() {
    let path = here("clients.pcap");
    if std::env::var_os("LVS_WRITE_CAPTURE").is_some() {
        std::fs::write(&path, clients()).unwrap();
    }
    let shipped = std::fs::read(&path).unwrap();
    assert_eq!(frames(&shipped), frames(&clients()), "LVS_WRITE_CAPTURE=1 writes it anew");
}

#[test]
fn what_goes_in_comes_out_at_the_servers_addresses_in_its_own_time() {
    let output = std::env::temp_dir().join(format!("pcap-bridge-{}.pcap", std::process::id()));
    let out = bridge(&here("shop.rules"), &here("clients.pcap"), &output);
    let shown = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(shown.contains("60 frames: 48 sent on, 12 left to the host, 0 dropped"), "{shown}");
    assert!(shown.contains("-> 192.0.2.11:80  weight 4  32 packets"), "{shown}");
    assert!(shown.contains("-> 192.0.2.12:80  weight 2  16 packets"), "{shown}");

    let sent = frames(&std::fs::read(&output).unwrap());
    std::fs::remove_file(&output).unwrap();
    let came = frames(&clients());
    let forwarded: Vec<_> = came.iter().enumerate().filter(|(i, _)| i % 5 != 4).collect();
    assert_eq!(sent.len(), forwarded.len());
    for (sent, (_, came)) in sent.iter().zip(forwarded) {
        assert_eq!(sent.time, came.time);
        assert!(
            [11, 12].map(|n| [2, 0, 192, 0, 2, n]).iter().any(|mac| sent.bytes.starts_with(mac))
        );
        assert_eq!(sent.bytes[22], came.bytes[22] - 1, "a router counts the TTL down");
        assert_eq!(sent.bytes[26..], came.bytes[26..], "addresses and the rest are untouched");
    }
}

#[test]
fn a_file_that_is_no_capture_is_named_with_what_it_should_be() {
    let out = bridge(&here("shop.rules"), &here("shop.rules"), Path::new("/dev/null"));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success());
    assert!(said.contains("shop.rules: this is no capture"), "{said}");
}
