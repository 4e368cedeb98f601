//! A stand-in for the director's own host.
//!
//! In the kernel, a packet that IPVS does not schedule goes on to the host's own stack, which answers it:
//! a RST for TCP, "port unreachable" for UDP, an echo reply (rules P1, P3, P6). A director in user space
//! hides the packets of its services from that stack, because it would answer those that are scheduled,
//! too. So somebody has to answer those that are not: this crate does, as the kernel's stack would where
//! nobody listens. A simulation, which has no host at all, uses it for the same purpose.
//!
//! ```
//! use lvs_core::io::Verdict;
//! use lvs_core::parse::{Parsed, parse_super};
//! use lvs_core::time::Instant;
//! # use lvs_core::{addr::MacAddr, io::Frame};
//! # fn hidden(headers: &lvs_core::parse::Headers) -> bool { true }
//! # fn after_a_burst(now: Instant, stand_in: &mut lvs_host::StandIn, mac: MacAddr,
//! #     director: &mut lvs_core::director::Director, frames: &mut [Frame<'_>]) {
//! for frame in frames {
//!     if !matches!(frame.verdict, Verdict::Pass(_)) {
//!         continue;
//!     }
//!     let Parsed::Ip(headers) = parse_super(frame.bytes()) else { continue };
//!     if hidden(&headers) && stand_in.answer(now, frame, &headers, mac).is_some() {
//!         // A RST moves the connection's state (rule C7).
//!         director.observe_output(now, frame);
//!     }
//! }
//! # }
//! ```
//!
//! # What is answered, and what is not
//!
//! | packet | answer |
//! | --- | --- |
//! | TCP without RST | RST (RFC 9293 §3.10.7.1), not paced, as in the kernel |
//! | UDP | ICMP port unreachable |
//! | echo request | echo reply, without IP options |
//! | SCTP and other protocols | ICMP protocol unreachable; IPv6: parameter problem, unrecognized next header |
//! | fragments, ICMP errors, what is sent to or from a group | nothing |
//! | a wrong checksum of TCP, UDP or an echo request | nothing |
//! | multicast and membership protocols, "no next header" | nothing |
//!
//! ICMP errors are paced by the [`Pacer`](lvs_core::pace::Pacer) that the stand-in was made with. The ICMP timestamp request
//! (type 13), which the kernel answers, is left alone.
#![no_std]
#![forbid(unsafe_code)]

mod answer;
mod checksum;

pub use answer::{Answer, StandIn, concerns_the_host};
