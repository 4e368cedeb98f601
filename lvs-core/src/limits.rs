//! Every capacity in one place. What they allow is allocated when a director is made, and nothing after.

use core::fmt;

/// The capacities of a [`Director`](crate::director::Director). All of its memory follows from them.
///
/// ```
/// use lvs_core::limits::Limits;
/// let limits = Limits { connections_max: 1 << 16, ..Limits::default() };
/// assert!(limits.check().is_ok());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections, of all services together.
    pub connections_max: u32,
    /// Persistence templates.
    pub templates_max: u32,
    /// Templates of services with a persistence engine, of those at most; each takes 257 bytes more. With
    /// 0 there is no engine, and `--pe` is refused as by a kernel without its module.
    pub engine_templates_max: u32,
    /// Virtual services.
    pub services_max: u32,
    /// Real servers, those that were deleted but still have connections included.
    pub destinations_max: u32,
    /// Rules that set a firewall mark.
    pub mark_rules_max: u32,
    /// Local addresses: virtual addresses and the director's own.
    pub local_addresses_max: u32,
    /// Ports.
    pub ports_max: u16,
    /// Routes, those of the ports' own subnets included.
    pub routes_max: u32,
    /// Neighbours (MAC addresses of real servers and gateways).
    pub neighbors_max: u32,
    /// Packets that may wait for one unresolved neighbour (rule F11: the kernel keeps 3).
    pub waiting_per_neighbor: u8,
    /// Bytes for packets that wait for a neighbour or leave in pieces.
    pub store_bytes: u32,
    /// Bytes for fragments that wait for the others of their packet, in chunks of 2,048, of which each takes
    /// at least one (`ipfrag_high_thresh`, 4 MB). What comes beyond them is dropped, as by the kernel: so
    /// whoever floods the director with fragments cannot push out those of others.
    pub fragment_bytes: u32,
    /// Packets of which fragments may be waiting at one time; what comes beyond them is dropped.
    pub fragment_sets_max: u32,
    /// Clients whose ICMP errors are paced one by one; further ones share a place by hash.
    pub paced_clients: u32,
    /// Frames of our own (ARP, announcements) that may wait to be sent.
    pub outgoing_max: u32,
}

impl Default for Limits {
    /// A million connections on about 130 MB, timers included, and a quarter of a million templates
    /// on 50 MB, of which 17 MB are for those of persistence engines; what `lvs-director run` starts with.
    fn default() -> Self {
        Limits {
            connections_max: 1 << 20,
            templates_max: 1 << 18,
            engine_templates_max: 1 << 16,
            services_max: 4096,
            destinations_max: 1 << 16,
            mark_rules_max: 1024,
            local_addresses_max: 4096,
            ports_max: 64,
            routes_max: 1024,
            neighbors_max: 4096,
            waiting_per_neighbor: 3,
            store_bytes: 4 << 20,
            fragment_bytes: 4 << 20,
            fragment_sets_max: 1024,
            paced_clients: 1024,
            outgoing_max: 1024,
        }
    }
}

impl Limits {
    /// Small tables, for tests, simulations and examples: a few thousand connections.
    pub const fn small() -> Limits {
        Limits {
            connections_max: 4096,
            templates_max: 1024,
            engine_templates_max: 256,
            services_max: 64,
            destinations_max: 1024,
            mark_rules_max: 64,
            local_addresses_max: 256,
            ports_max: 4,
            routes_max: 64,
            neighbors_max: 256,
            waiting_per_neighbor: 3,
            store_bytes: 1 << 20,
            fragment_bytes: 1 << 20,
            fragment_sets_max: 64,
            paced_clients: 64,
            outgoing_max: 64,
        }
    }

    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    /// The first limit that cannot be, with the bounds it must keep.
    pub fn check(&self) -> Result<(), LimitError> {
        let bounds = [
            ("connections_max", self.connections_max, 1, 1 << 28),
            ("templates_max", self.templates_max, 1, 1 << 28),
            ("engine_templates_max", self.engine_templates_max, 0, 1 << 24),
            ("services_max", self.services_max, 1, 1 << 20),
            ("destinations_max", self.destinations_max, 1, 1 << 24),
            ("mark_rules_max", self.mark_rules_max, 0, 1 << 20),
            ("local_addresses_max", self.local_addresses_max, 1, 1 << 20),
            ("ports_max", u32::from(self.ports_max), 1, 4096),
            ("routes_max", self.routes_max, 1, 1 << 20),
            ("neighbors_max", self.neighbors_max, 1, 1 << 20),
            ("waiting_per_neighbor", u32::from(self.waiting_per_neighbor), 0, 255),
            ("store_bytes", self.store_bytes, 1 << 16, 1 << 30),
            ("fragment_bytes", self.fragment_bytes, 1 << 16, 1 << 30),
            ("fragment_sets_max", self.fragment_sets_max, 1, 1 << 16),
            ("paced_clients", self.paced_clients, 1, 1 << 20),
            ("outgoing_max", self.outgoing_max, 1, 1 << 20),
        ];
        for (name, value, least, most) in bounds {
            if value < least || value > most {
                return Err(LimitError { name, value, least, most });
            }
        }
        Ok(())
    }
}

/// A limit outside its bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitError {
    /// The field of [`Limits`].
    pub name: &'static str,
    /// Its value.
    pub value: u32,
    /// The least it may be.
    pub least: u32,
    /// The most it may be.
    pub most: u32,
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, but must be {} to {}", self.name, self.value, self.least, self.most)
    }
}

impl core::error::Error for LimitError {}
