//! What forwarding methods write around a packet and into it. Nothing here decides anything: the director says which
//! packet goes where.
//!
//! What a tunnel adds:
//!
//! ```
//! use lvs_core::addr::Family;
//! use lvs_core::command::Tunnel;
//! use lvs_core::forward::tunnel::overhead;
//! assert_eq!(overhead(Family::V4, Tunnel::IpIp), 20);
//! assert_eq!(overhead(Family::V6, Tunnel::IpIp), 40);
//! ```

pub mod segment;
pub mod translate;
pub mod tunnel;
