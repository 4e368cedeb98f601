//! Small numbers with a meaning, each a type of its own so that they cannot be swapped by mistake.
//!
//! ```
//! use lvs_core::ids::{L4Port, PortId};
//! let (interface, http) = (PortId(1), L4Port(80));
//! assert_eq!((interface.index(), http.to_string().as_str()), (1, "80"));
//! ```

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $int);

        impl $name {
            /// The number as an index into a table.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

id! {
    /// An I/O port of the director: one network interface, TAP device or simulated link. Not to be
    /// confused with [`L4Port`].
    PortId(u16)
}
id! {
    /// The place of a destination (real server of one virtual service) in the table of destinations.
    DestIndex(u32)
}
id! {
    /// The place of a virtual service in the table of services.
    ServiceIndex(u32)
}
id! {
    /// The place of a connection in the connection table.
    ConnId(u32)
}
id! {
    /// The place of a persistence template in the template table.
    TemplateId(u32)
}

/// A TCP, UDP or SCTP port number, in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct L4Port(pub u16);

impl L4Port {
    /// Port 0: "any port" in the address of a virtual service, "no port" in a template.
    pub const ANY: L4Port = L4Port(0);
    /// FTP control (21), which the kernel treats apart when it belongs to a service.
    pub const FTP: L4Port = L4Port(21);
    /// FTP data (20): a client with this port is never scheduled.
    pub const FTP_DATA: L4Port = L4Port(20);
}

impl fmt::Debug for L4Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ":{}", self.0)
    }
}

impl fmt::Display for L4Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A firewall mark: the number that joins several addresses, ports and protocols in one virtual
/// service. 0 means "no mark".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FwMark(pub u32);

impl FwMark {
    /// An unmarked packet.
    pub const NONE: FwMark = FwMark(0);
}

impl fmt::Debug for FwMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mark {}", self.0)
    }
}
