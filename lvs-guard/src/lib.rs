//! The guard: hides from a director's own host what the director handles.
//!
//! A director that reads frames from packet sockets sees *copies*. The host's own stack gets every packet
//! as well: it answers a RST or an ICMP error for a virtual address that it owns, and forwards the packet
//! a second time if it does not own it and `ip_forward=1`. The guard is an nftables table of the `netdev`
//! family that drops those packets at the ingress hook of each interface. Packet sockets come before that
//! hook, so the director goes on to see them.
//!
//! ```no_run
//! use lvs_core::flow::{Endpoint, Protocol};
//! use lvs_guard::{Guard, GuardRule, GuardSpec};
//!
//! let vip = Endpoint::new("10.0.0.1".parse().unwrap(), 80);
//! let mut spec = GuardSpec::new(["eth0"]);
//! spec.rules.insert(GuardRule::for_service(Protocol::TCP, vip, true));
//! let mut guard = Guard::open()?;
//! guard.apply(&spec)?;
//! // … as long as `guard` lives, the host does not see 10.0.0.1:80 …
//! # Ok::<(), lvs_guard::GuardError>(())
//! ```
//!
//! # It cannot be left behind
//!
//! The table carries the owner flag (Linux 5.12): it belongs to the netlink socket that made it, which
//! [`Guard`] keeps open. The kernel removes it when the socket closes, and so also after SIGKILL. While
//! it is there, nobody else can change it, and `nft flush ruleset` leaves it alone.
//!
//! # VLAN tags
//!
//! The kernel takes the outermost tag out of a frame before its ingress hook, whether the network card
//! did so or not. A frame with one tag therefore looks like an untagged one here, and the same rules
//! take it. Behind two tags (QinQ) the inner one is still in front of the IP header, which a chain of its
//! own accounts for; it reads ports behind IPv4 options, but not behind IPv6 extension headers.
//!
//! # What it does not do
//!
//! * Fragments of an answer behind the first carry no port and are forwarded by a host with
//!   `ip_forward=1`; the client has no use for them. ICMP errors about masqueraded packets are recognized
//!   behind one tag at most, and where the packet they quote has no IPv4 options.
//! * Fragments behind the first carry no port: those to an address that the host owns reach its
//!   reassembly, which throws them away in silence because the first one is missing. Where a
//!   [`GuardRule::WholeAddress`] stands, they are dropped.
//! * ARP is not IP, and not touched. Neighbour solicitations to an address that the host owns are let
//!   through, also where the rest is hidden, because the host must answer them.
//! * A real server on the director's own host (rule F12) cannot be reached behind the guard.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod error;
mod guard;
mod netlink;
mod ruleset;
mod spec;

pub use error::{GuardError, Step};
pub use guard::{Applied, Guard};
pub use spec::{GuardRule, GuardSpec};
