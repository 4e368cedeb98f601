//! The far end of the wire: two real servers and eighteen clients. No part of what the example shows.

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use lvs_core::addr::MacAddr;

/// The director's Ethernet address.
pub(crate) const DIRECTOR: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const CLIENTS: u16 = 18;

/// A SYN from 10.0.0.9 to port 80 of 10.0.0.80; its source port stands at byte 34.
const SYN: [u8; 54] = [
    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0, // Ethernet
    0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x26, 0x78, 10, 0, 0, 9, 10, 0, 0, 80, // IPv4
    0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0, // TCP
];

/// Two sockets that send to each other.
pub(crate) fn wire() -> io::Result<(UdpSocket, UdpSocket)> {
    let [near, far] = [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?];
    near.connect(far.local_addr()?)?;
    far.connect(near.local_addr()?)?;
    far.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok((near, far))
}

/// Answers ARP for the servers until both are known; then the clients connect, and each SYN is seen to
/// arrive at one of the servers.
pub(crate) fn play(wire: &UdpSocket) -> io::Result<()> {
    let mut frame = [0; 2048];
    let mut known = [false; 2];
    while known != [true; 2] {
        let len = wire.recv(&mut frame)?;
        if let Some(server) = asked_for(&frame[..len]) {
            wire.send(&answer(&frame[..42], server))?;
            known[usize::from(server - 2)] = true;
        }
    }
    for client in 0..CLIENTS {
        let mut syn = SYN;
        syn[34..36].copy_from_slice(&(40_000 + client).to_be_bytes());
        wire.send(&syn)?;
        let server = loop {
            let len = wire.recv(&mut frame)?;
            if frame[..len].starts_with(&[2, 0, 0, 0, 0]) && len == SYN.len() {
                break frame[5];
            }
        };
        println!("client port {} -> 10.0.0.{server}", 40_000 + client);
    }
    Ok(())
}

/// The last byte of the server's address that an ARP request asks for.
fn asked_for(frame: &[u8]) -> Option<u8> {
    let request = frame.len() >= 42 && frame[12..14] == [8, 6] && frame[21] == 1;
    (request && [2, 3].contains(&frame[41])).then(|| frame[41])
}

/// The ARP request turned round: 10.0.0.N is at 02:00:00:00:00:0N.
fn answer(request: &[u8], server: u8) -> Vec<u8> {
    let mut reply = request.to_vec();
    let mac = [2, 0, 0, 0, 0, server];
    reply[..6].copy_from_slice(&request[6..12]);
    reply[6..12].copy_from_slice(&mac);
    reply[21] = 2;
    reply[22..28].copy_from_slice(&mac);
    reply[28..32].copy_from_slice(&request[38..42]);
    reply[32..42].copy_from_slice(&request[22..32]);
    reply
}
