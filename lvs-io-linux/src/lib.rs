//! What the Linux backends of lvs have in common.
//!
//! A backend gives each of its ports a [`PortWatch`], which knows whether the port works and tells changes as
//! [`Event`]s; it sleeps with a [`Sleeper`], asks for what the kernel says of an interface with
//! [`NetDevice::ask`], and keeps frames that lie in no ring in a [`Pool`]. How frames come and go is each
//! backend's own.
//!
//! ```
//! use lvs_core::ids::PortId;
//! use lvs_io_linux::{Event, Events, NetDevice, PortState, PortWatch, inquiry_socket};
//!
//! let socket = inquiry_socket()?;
//! let found = NetDevice::ask(&socket, "lo")?;
//! let mut events = Events::default();
//! let mut watch = PortWatch::new(PortId(0), "lo", found.is_up, &mut events);
//! while events.next().is_some() {}
//! watch.note(PortState::Gone, "lo", &mut events);
//! assert!(matches!(events.next(), Some(Event::PortGone { .. })));
//! # Ok::<(), std::io::Error>(())
//! ```
#![cfg(target_os = "linux")]

mod counters;
mod device;
mod event;
mod pool;
mod sleeper;
mod sys;
mod watch;

use lvs_core::io::{Caps, HEADROOM_DEFAULT};

pub use counters::PortCounters;
pub use device::{NetDevice, inquiry_socket};
pub use event::{Event, Events};
pub use pool::{Pool, Settled, Slots};
pub use sleeper::{Found, Sleeper};
pub use sys::{NAME_LEN_MAX, interface_request};
pub use watch::{PortState, PortWatch};

/// The most frames of a burst.
pub const BURST_MAX: usize = 64;

/// Headroom of each frame, in bytes.
pub const HEADROOM: usize = HEADROOM_DEFAULT;

/// Bytes of an Ethernet header. A shorter frame has none.
pub const ETHERNET_LEN: usize = 14;

/// Bytes of an Ethernet header with two VLAN tags.
pub const ETHERNET_LEN_MAX: usize = ETHERNET_LEN + 2 * 4;

/// The longest frame: a packet of 65,535 bytes behind an Ethernet header with two VLAN tags. Anything longer
/// is IPv6 BIG TCP.
pub const FRAME_LEN_MAX: usize = ETHERNET_LEN_MAX + 65_535;

/// What a backend with so many ports can do.
pub fn caps(ports: u16, burst_max: usize) -> Caps {
    Caps {
        ports,
        headroom_min: HEADROOM as u16,
        frame_len_max: FRAME_LEN_MAX as u32,
        burst_max: burst_max.clamp(1, BURST_MAX) as u16,
        offloads: true,
    }
}
