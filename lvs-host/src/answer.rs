//! The answers.

use lvs_core::addr::{Family, MacAddr};
use lvs_core::command::IcmpPacing;
use lvs_core::drop::PassReason;
use lvs_core::io::{Frame, Offload, Verdict};
use lvs_core::pace::Pacer;
use lvs_core::parse::{Headers, L4};
use lvs_core::time::Instant;
use lvs_core::wire::icmp::{self, ErrorSpec, IcmpError};
use lvs_core::wire::{ethernet, tcp};

use crate::checksum;

/// The longest answer that is built beside the frame: a RST in IPv6.
const RESET_LEN_MAX: usize = 60;

/// IGMP: taken by every host in silence.
const IGMP: u8 = 2;
/// PIM: multicast routing.
const PIM: u8 = 103;
/// IPv6 "no next header" (RFC 8200 §4.7): nothing to answer.
const NO_NEXT_HEADER: u8 = 59;

/// What was answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// A TCP reset.
    Reset,
    /// An ICMP echo reply.
    EchoReply,
    /// An ICMP error: port or protocol unreachable.
    Error,
}

/// Answers in the host's place.
#[derive(Debug)]
pub struct StandIn {
    pacer: Pacer,
    /// Identification of the last IPv4 packet sent without DF.
    ident: u16,
    suppressed: u64,
}

impl StandIn {
    /// A stand-in whose ICMP errors `pacer` paces.
    pub fn new(pacer: Pacer) -> StandIn {
        StandIn { pacer, ident: 0, suppressed: 0 }
    }

    /// Changes the pacing.
    pub fn set_pacing(&mut self, pacing: IcmpPacing) {
        self.pacer.set(pacing);
    }

    /// How many ICMP errors were not sent because of the pacing.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// Answers the packet in a frame that the director left to the host, if a host would: the frame then
    /// holds the answer, and its verdict is to reply by the port it came in by. Otherwise the frame
    /// stays as it is.
    ///
    /// `headers` are those of the frame. `own_mac` is the Ethernet address of the port: frames to
    /// another one are not the host's. The caller must have made sure that the host does not see the
    /// packet, and should show the answer to the director (rule C7).
    pub fn answer(
        &mut self,
        now: Instant,
        frame: &mut Frame<'_>,
        headers: &Headers,
        own_mac: MacAddr,
    ) -> Option<Answer> {
        let Verdict::Pass(reason) = frame.verdict else { return None };
        if !concerns_the_host(reason) || !is_between_two_hosts(frame, headers, own_mac) {
            return None;
        }
        let answer = match headers.l4_header {
            L4::Tcp { .. } => reset(frame, headers, own_mac),
            L4::Udp => self.port_unreachable(now, frame, headers, own_mac),
            L4::Icmp { .. } => self.echo_reply(frame, headers, own_mac),
            L4::Sctp(_) | L4::Other => self.protocol_unreachable(now, frame, headers, own_mac),
            L4::Fragment => None,
        }?;
        frame.verdict = Verdict::Reply(frame.port());
        Some(answer)
    }

    fn port_unreachable(
        &mut self,
        now: Instant,
        frame: &mut Frame<'_>,
        headers: &Headers,
        own_mac: MacAddr,
    ) -> Option<Answer> {
        let datagram_len = checksum::right_datagram_len(frame, headers)?;
        let len = usize::from(headers.l4 - headers.l3) + datagram_len;
        self.error(now, frame, headers, own_mac, IcmpError::PortUnreachable, len)
    }

    fn protocol_unreachable(
        &mut self,
        now: Instant,
        frame: &mut Frame<'_>,
        headers: &Headers,
        own_mac: MacAddr,
    ) -> Option<Answer> {
        if matches!(headers.protocol.0, IGMP | PIM | NO_NEXT_HEADER) {
            return None;
        }
        let len = headers.ip_len as usize;
        self.error(now, frame, headers, own_mac, IcmpError::ProtocolUnreachable, len)
    }

    /// Puts an ICMP error in front of the first `len` bytes of the packet.
    fn error(
        &mut self,
        now: Instant,
        frame: &mut Frame<'_>,
        headers: &Headers,
        own_mac: MacAddr,
        kind: IcmpError,
        len: usize,
    ) -> Option<Answer> {
        let needed = icmp::error_header_len(headers.family);
        if frame.headroom() < needed {
            return None;
        }
        if !self.pacer.allow(now, headers.src()) {
            self.suppressed += 1;
            return None;
        }
        let back_to = ethernet::src(frame.bytes());
        let spec =
            ErrorSpec { src: headers.dst(), dst: headers.src(), kind, ident: self.next_ident() };
        frame.prepend(needed).ok()?;
        let l3 = address(frame, headers, back_to, own_mac);
        let written = icmp::wrap_error(&mut frame.bytes_mut()[l3..], &spec, len);
        finish(frame, l3 + written);
        Some(Answer::Error)
    }

    fn echo_reply(
        &mut self,
        frame: &mut Frame<'_>,
        headers: &Headers,
        own_mac: MacAddr,
    ) -> Option<Answer> {
        let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
        let ident = self.next_ident();
        let packet = frame.bytes_mut().get_mut(l3..headers.end())?;
        let len = icmp::echo_reply(packet, l4 - l3, ident)?;
        let back_to = ethernet::src(frame.bytes());
        address(frame, headers, back_to, own_mac);
        finish(frame, l3 + len);
        Some(Answer::EchoReply)
    }

    /// The kernel numbers these packets, and never with 0.
    fn next_ident(&mut self) -> u16 {
        self.ident = self.ident.wrapping_add(1).max(1);
        self.ident
    }
}

/// Whether a packet that the director left alone for this reason would be answered by the host's own
/// stack, as being addressed to it.
pub const fn concerns_the_host(reason: PassReason) -> bool {
    match reason {
        PassReason::NoService
        | PassReason::NotScheduled
        | PassReason::NoServices
        | PassReason::Icmp
        | PassReason::OtherProtocol
        | PassReason::LocalDestination
        | PassReason::BackupOnly => true,
        PassReason::NotIp
        | PassReason::OtherStation
        | PassReason::Arp
        | PassReason::Ndp
        | PassReason::NotLocal
        | PassReason::FragmentTimeout
        | PassReason::Reply => false,
    }
}

/// Whether a packet was sent by one host to this one alone, in one piece, and is no ICMP error.
fn is_between_two_hosts(frame: &Frame<'_>, headers: &Headers, own_mac: MacAddr) -> bool {
    let bytes = frame.bytes();
    let on_link = ethernet::dst(bytes) == own_mac && !ethernet::src(bytes).is_group();
    on_link && headers.may_be_answered_with_error() && headers.fragment.is_none()
}

/// Answers a segment of no connection.
fn reset(frame: &mut Frame<'_>, headers: &Headers, own_mac: MacAddr) -> Option<Answer> {
    if !checksum::tcp_is_right(frame, headers) {
        return None;
    }
    let l3 = usize::from(headers.l3);
    let packet = frame.bytes().get(l3..headers.end())?;
    let mut segment = [0; RESET_LEN_MAX];
    let len = tcp::emit_reset(&mut segment, packet, usize::from(headers.l4) - l3)?;
    // The answer is no longer than the segment: bare headers without options.
    frame.bytes_mut().get_mut(l3..l3 + len)?.copy_from_slice(&segment[..len]);
    let back_to = ethernet::src(frame.bytes());
    address(frame, headers, back_to, own_mac);
    finish(frame, l3 + len);
    Some(Answer::Reset)
}

/// Writes the Ethernet header of an answer, within the same VLAN; returns where the IP header is.
fn address(frame: &mut Frame<'_>, headers: &Headers, to: MacAddr, own_mac: MacAddr) -> usize {
    let ethertype = match headers.family {
        Family::V4 => ethernet::IPV4,
        Family::V6 => ethernet::IPV6,
    };
    ethernet::emit_header(frame.bytes_mut(), to, own_mac, &headers.tags, ethertype)
}

/// Cuts the frame to the answer, which has its checksums.
fn finish(frame: &mut Frame<'_>, len: usize) {
    let fits = frame.set_len(len);
    debug_assert!(fits, "an answer is written within the frame");
    frame.offload = Offload::default();
}
