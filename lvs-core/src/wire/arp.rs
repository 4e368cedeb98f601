//! ARP for IPv4 over Ethernet (RFC 826), by smoltcp's wire types.
//!
//! ```
//! use lvs_core::addr::MacAddr;
//! use lvs_core::wire::arp::ArpPacket;
//! use lvs_core::wire::ethernet::VlanTags;
//!
//! let (mac, ip) = (MacAddr([2, 0, 0, 0, 0, 1]), "192.0.2.80".parse()?);
//! let mut frame = [0; 64];
//! let len = ArpPacket::gratuitous(mac, ip).emit_frame(&mut frame, MacAddr::BROADCAST, &VlanTags::NONE);
//! let announced = ArpPacket::parse(&frame[14..len]).map(|arp| arp.is_gratuitous());
//! assert_eq!(announced, Ok(true));
//! # Ok::<(), core::net::AddrParseError>(())
//! ```

use core::net::Ipv4Addr;

use smoltcp::wire::{ArpOperation, ArpPacket as Wire, ArpRepr, EthernetAddress};

use crate::addr::MacAddr;
use crate::drop::DropReason;
use crate::wire::ethernet::{self, VlanTags};

/// Bytes of an ARP packet for IPv4 over Ethernet.
pub const LEN: usize = 28;

/// What an ARP packet is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ArpOp {
    /// Who has the target address?
    Request,
    /// The sender has its address.
    Reply,
    /// Anything else, such as RARP; nobody answers it.
    Other(u16),
}

/// An ARP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArpPacket {
    /// What it is.
    pub op: ArpOp,
    /// The sender's Ethernet address.
    pub sender_mac: MacAddr,
    /// The sender's IPv4 address; `0.0.0.0` in a probe.
    pub sender_ip: Ipv4Addr,
    /// The target's Ethernet address; zero where it is asked for.
    pub target_mac: MacAddr,
    /// The target's IPv4 address.
    pub target_ip: Ipv4Addr,
}

impl ArpPacket {
    /// Asks who has `target_ip`.
    pub const fn request(sender_mac: MacAddr, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Self {
        let target_mac = MacAddr([0; 6]);
        ArpPacket { op: ArpOp::Request, sender_mac, sender_ip, target_mac, target_ip }
    }

    /// Asks who has `target_ip` without entering the asker into anybody's table (RFC 5227 §1.1).
    pub const fn probe(sender_mac: MacAddr, target_ip: Ipv4Addr) -> Self {
        ArpPacket::request(sender_mac, Ipv4Addr::UNSPECIFIED, target_ip)
    }

    /// Tells the link that `ip` is at `mac` now: a request for the sender's own address, the form that
    /// RFC 5227 §3 prefers.
    pub const fn gratuitous(mac: MacAddr, ip: Ipv4Addr) -> Self {
        ArpPacket::request(mac, ip, ip)
    }

    /// The answer to this request by the owner of its target address, who is at `mac`.
    #[must_use]
    pub const fn reply(&self, mac: MacAddr) -> Self {
        ArpPacket {
            op: ArpOp::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// Whether the sender speaks of itself alone.
    pub fn is_gratuitous(&self) -> bool {
        self.sender_ip == self.target_ip
    }

    /// Whether the sender has no address yet (RFC 5227 §1.1).
    pub fn is_probe(&self) -> bool {
        self.op == ArpOp::Request && self.sender_ip.is_unspecified()
    }

    /// Reads the ARP packet that begins at the slice's first byte; padding may follow.
    ///
    /// # Errors
    /// [`DropReason::ArpMalformed`] if it is cut off, not for IPv4 over Ethernet, or sent in the name of
    /// a group address (RFC 1812 §3.3.2).
    pub fn parse(bytes: &[u8]) -> Result<ArpPacket, DropReason> {
        let wire = Wire::new_checked(bytes).map_err(|_| DropReason::ArpMalformed)?;
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_hardware_addr,
            target_protocol_addr,
        } = ArpRepr::parse(&wire).map_err(|_| DropReason::ArpMalformed)?
        else {
            return Err(DropReason::ArpMalformed);
        };
        let sender_mac = MacAddr(source_hardware_addr.0);
        if sender_mac.is_group() {
            return Err(DropReason::ArpMalformed);
        }
        Ok(ArpPacket {
            op: match operation {
                ArpOperation::Request => ArpOp::Request,
                ArpOperation::Reply => ArpOp::Reply,
                ArpOperation::Unknown(other) => ArpOp::Other(other),
            },
            sender_mac,
            sender_ip: source_protocol_addr,
            target_mac: MacAddr(target_hardware_addr.0),
            target_ip: target_protocol_addr,
        })
    }

    /// Writes the packet, [`LEN`] bytes.
    ///
    /// # Panics
    /// If the buffer is shorter than that.
    pub fn emit(&self, buf: &mut [u8]) {
        let repr = ArpRepr::EthernetIpv4 {
            operation: match self.op {
                ArpOp::Request => ArpOperation::Request,
                ArpOp::Reply => ArpOperation::Reply,
                ArpOp::Other(other) => ArpOperation::Unknown(other),
            },
            source_hardware_addr: EthernetAddress(self.sender_mac.0),
            source_protocol_addr: self.sender_ip,
            target_hardware_addr: EthernetAddress(self.target_mac.0),
            target_protocol_addr: self.target_ip,
        };
        repr.emit(&mut Wire::new_unchecked(&mut buf[..LEN]));
    }

    /// Writes a whole frame from the packet's sender to `dst` and returns its length.
    ///
    /// # Panics
    /// If the buffer is shorter than header, tags and packet: 50 bytes are always enough.
    pub fn emit_frame(&self, buf: &mut [u8], dst: MacAddr, tags: &VlanTags) -> usize {
        let at = ethernet::emit_header(buf, dst, self.sender_mac, tags, ethernet::ARP);
        self.emit(&mut buf[at..]);
        at + LEN
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
    const IP_A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
    const IP_B: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);

    #[test]
    fn a_request_and_its_reply_read_back_as_written() {
        let request = ArpPacket::request(A, IP_A, IP_B);
        let reply = request.reply(B);
        assert_eq!((reply.sender_ip, reply.target_ip), (IP_B, IP_A));
        assert_eq!((reply.sender_mac, reply.target_mac), (B, A));
        for packet in [request, reply, ArpPacket::gratuitous(A, IP_A), ArpPacket::probe(A, IP_B)] {
            let mut buf = [0xaa; 64];
            let len =
                packet.emit_frame(&mut buf, MacAddr::BROADCAST, &VlanTags::single(0x8100, 100));
            assert_eq!(len, 46);
            assert_eq!(ethernet::src(&buf), packet.sender_mac);
            assert_eq!(ArpPacket::parse(&buf[18..]), Ok(packet));
        }
    }

    #[test]
    fn etherparse_reads_a_request_as_meant() {
        let mut buf = [0; 64];
        let len = ArpPacket::request(A, IP_A, IP_B).emit_frame(&mut buf, B, &VlanTags::NONE);
        let read = etherparse::SlicedPacket::from_ethernet(&buf[..len]).unwrap();
        let Some(etherparse::NetSlice::Arp(arp)) = read.net else { panic!("{read:?}") };
        assert_eq!(arp.operation(), etherparse::ArpOperation::REQUEST);
        assert_eq!(
            (arp.sender_hw_addr(), arp.sender_protocol_addr()),
            (&A.0[..], &[10, 1, 0, 1][..])
        );
        assert_eq!(arp.target_protocol_addr(), [10, 1, 0, 2]);
    }

    #[test]
    fn probes_and_announcements_are_told_apart() {
        assert!(ArpPacket::probe(A, IP_A).is_probe());
        assert!(!ArpPacket::probe(A, IP_A).is_gratuitous());
        assert!(ArpPacket::gratuitous(A, IP_A).is_gratuitous());
        assert!(!ArpPacket::request(A, IP_A, IP_B).is_gratuitous());
    }

    #[test]
    fn what_is_cut_off_or_of_another_kind_is_malformed() {
        let mut good = [0; LEN];
        ArpPacket::request(A, IP_A, IP_B).emit(&mut good);
        for len in 0..LEN {
            assert_eq!(ArpPacket::parse(&good[..len]), Err(DropReason::ArpMalformed), "{len}");
        }
        // Hardware type, protocol type, hardware length, protocol length; a group address as sender.
        for (at, value) in [(0, 9), (2, 9), (4, 5), (5, 16), (8, 0xff)] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(ArpPacket::parse(&bad), Err(DropReason::ArpMalformed), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = ArpPacket::parse(&bytes);
        }
    }
}
