//! Why a frame was dropped, or left alone: one reason per place that can decide it.
//!
//! Each reason is also the index of its counter. Adding one makes the compiler show every listing that
//! must learn it.
//!
//! [The manual](crate::manual::verdicts) shows how to print the counters by reason.

/// Defines a fieldless enum whose variants carry a stable text name and serve as counter indexes.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $vdoc:literal])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum $name {
            $($(#[doc = $vdoc])* $variant,)*
        }

        impl $name {
            /// Every reason, in the order of their counters.
            pub const ALL: &[$name] = &[$($name::$variant,)*];
            /// How many reasons there are: the length of an array of counters.
            pub const COUNT: usize = Self::ALL.len();

            /// The reason's place in an array of counters.
            pub const fn index(self) -> usize {
                self as usize
            }

            /// A short name in kebab case, the same in every listing and metric.
            pub const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }

            /// What it means, in a sentence or two: the text of its documentation.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $($name::$variant => concat!($($vdoc),*).trim_ascii(),)*
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

reasons! {
    /// Why a frame was dropped.
    DropReason {
        /// Nobody set a verdict; a bug of whoever handled the burst.
        Undecided = "undecided",

        /// Shorter than an Ethernet header.
        EthernetTruncated = "ethernet-truncated",
        /// An 802.1Q or 802.1ad tag is cut off.
        VlanTruncated = "vlan-truncated",
        /// More than two VLAN tags.
        VlanTooDeep = "vlan-too-deep",
        /// An ARP packet that is cut off or not IPv4 over Ethernet.
        ArpMalformed = "arp-malformed",
        /// Shorter than its IPv4 header (RFC 791 §3.1).
        Ipv4Truncated = "ipv4-truncated",
        /// EtherType IPv4, but another version number.
        Ipv4Version = "ipv4-version",
        /// An IPv4 header length below 20 bytes or beyond the packet.
        Ipv4HeaderLength = "ipv4-header-length",
        /// An IPv4 total length below the header length or beyond the frame.
        Ipv4TotalLength = "ipv4-total-length",
        /// A wrong IPv4 header checksum.
        Ipv4Checksum = "ipv4-checksum",
        /// A source or destination address that no packet on a wire may have.
        MartianAddress = "martian-address",
        /// Shorter than an IPv6 header (RFC 8200 §3).
        Ipv6Truncated = "ipv6-truncated",
        /// EtherType IPv6, but another version number.
        Ipv6Version = "ipv6-version",
        /// An IPv6 payload length beyond the frame.
        Ipv6PayloadLength = "ipv6-payload-length",
        /// An IPv6 extension header is cut off.
        Ipv6ExtensionTruncated = "ipv6-extension-truncated",
        /// More IPv6 extension headers than any honest packet has.
        Ipv6ExtensionChain = "ipv6-extension-chain",
        /// A fragment whose offset and length pass 65,535 bytes, whose length is no multiple of 8, or
        /// without any bytes.
        FragmentMalformed = "fragment-malformed",
        /// Shorter than a TCP header.
        TcpTruncated = "tcp-truncated",
        /// A TCP data offset below 20 bytes or beyond the segment.
        TcpHeaderLength = "tcp-header-length",
        /// Shorter than a UDP header.
        UdpTruncated = "udp-truncated",
        /// Shorter than an SCTP header.
        SctpTruncated = "sctp-truncated",
        /// Shorter than an ICMP or ICMPv6 header.
        IcmpTruncated = "icmp-truncated",
        /// A wrong checksum of an ICMP error about a connection.
        IcmpChecksum = "icmp-checksum",
        /// An ICMPv6 neighbour message that is cut off or breaks RFC 4861 §7.1.
        NdpMalformed = "ndp-malformed",

        /// A fragment of which every byte is there already; the others go on to wait (rule F9).
        FragmentDuplicate = "fragment-duplicate",
        /// A fragment that overlaps another: all of its packet are dropped (RFC 5722, rule F9).
        FragmentOverlap = "fragment-overlap",
        /// A fragment that ends where others say it cannot, or makes a packet of more than 65,535 bytes.
        /// In IPv4 all of its packet are dropped.
        FragmentInconsistent = "fragment-inconsistent",
        /// Fragments whose congestion marks cannot be of one packet (RFC 3168 §5.3).
        FragmentCongestionMark = "fragment-congestion-mark",
        /// Fragments of a packet that did not become whole in 30 s, IPv6 60 s.
        FragmentTimeout = "fragment-timeout",
        /// Fragments of a packet whose sender sent 64 others before the next one: the identification has
        /// probably come round (`ipfrag_max_dist`, rule F9).
        FragmentDistance = "fragment-distance",
        /// No room for another fragment.
        FragmentStoreFull = "fragment-store-full",
        /// The connection's real server was deleted (`expire_nodest_conn=0`, rule L1).
        DestinationGone = "destination-gone",
        /// No real server to be had: all quiesced, overloaded, or none defined (rule S12).
        NoDestination = "no-destination",
        /// The service's persistence engine (`--pe`) finds nothing in the packet that it could go by, such
        /// as a Call-ID (rule E2).
        NoEngineData = "no-engine-data",
        /// The connection table is full.
        ConnectionTableFull = "connection-table-full",
        /// One of the packets that `drop_packet` sacrifices.
        Defense = "defense",
        /// The table of real servers has no room for the one that stands for none (`cache_bypass`).
        DestinationTableFull = "destination-table-full",
        /// The template table is full.
        TemplateTableFull = "template-table-full",
        /// TTL or hop limit ran out (rule F1).
        TtlExceeded = "ttl-exceeded",
        /// Larger than the link's MTU and not to be fragmented (rule F8).
        TooBig = "too-big",
        /// Of a connection that a master of synchronisation announced, through a tunnel to a server that no
        /// service here has (rule Z2).
        UnboundTunnel = "unbound-tunnel",
        /// A super-frame to a real server behind a tunnel that cannot be cut into segments: neither TCP nor
        /// UDP, or of no segment size.
        TunnelSuperFrame = "tunnel-super-frame",
        /// An ICMP error about a tunnelled packet whose sender need not be told: it may be fragmented
        /// (rule F5). The path's MTU was noted.
        TunnelErrorNoted = "tunnel-error-noted",
        /// No route leads to the real server (rule F11).
        NoRoute = "no-route",
        /// The real server's neighbour is unresolved and the waiting store is full.
        NeighborQueueFull = "neighbor-queue-full",
        /// The real server did not answer ARP or neighbour solicitation (rule F11).
        NeighborSilent = "neighbor-silent",
        /// The store for packets that wait or leave in pieces is full.
        StoreFull = "store-full",
        /// A packet of a masqueraded real server that belongs to no connection (`nat_icmp_send`, rule F10).
        NoConnection = "no-connection",
        /// Masqueraded to a loopback address, which nothing that comes from a wire may be sent to
        /// (RFC 1122 §3.2.1.3 g); rule F12 is for the other methods.
        LoopbackDestination = "loopback-destination",
        /// Too little headroom for an outer header.
        NoHeadroom = "no-headroom",
        /// Too large for the frame slot offered.
        SlotTooSmall = "slot-too-small",

        /// The backend received fewer bytes than the frame had.
        ReceiveTruncated = "receive-truncated",
        /// The backend's transmit ring or send buffer was full.
        TransmitFull = "transmit-full",
        /// The system refused to send the frame.
        TransmitError = "transmit-error",
        /// The verdict named a port that the backend does not have, or one that is down.
        PortDown = "port-down",
    }
}

reasons! {
    /// Why a frame was left to the director's own host.
    PassReason {
        /// Neither IPv4, IPv6 nor ARP.
        NotIp = "not-ip",
        /// Not addressed to the director's MAC.
        OtherStation = "other-station",
        /// ARP that the host answers.
        Arp = "arp",
        /// A neighbour message that the host answers.
        Ndp = "ndp",
        /// To a local address, but of no virtual service (rule P3).
        NoService = "no-service",
        /// To a virtual service, but it may not open a connection (rules P1, P6, P7).
        NotScheduled = "not-scheduled",
        /// No service of this address family exists at all (rule P8).
        NoServices = "no-services",
        /// To an address that the director does not own (rule P10).
        NotLocal = "not-local",
        /// A real server's answer that merely crosses the director; it moved the connection's state.
        Reply = "reply",
        /// ICMP that concerns no connection.
        Icmp = "icmp",
        /// A transport protocol that is never scheduled.
        OtherProtocol = "other-protocol",
        /// Scheduled to a local real server (rule F12).
        LocalDestination = "local-destination",
        /// The first fragment of a packet of no virtual service that did not become whole in time: the host,
        /// which saw what there was of it, tells the sender.
        FragmentTimeout = "fragment-timeout",
        /// The director is a backup, and `backup_only` is set.
        BackupOnly = "backup-only",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_indexes_its_own_counter() {
        for (i, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), i, "{reason}");
        }
        for (i, reason) in PassReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), i, "{reason}");
        }
    }

    #[test]
    fn names_are_unique() {
        for (i, a) in DropReason::ALL.iter().enumerate() {
            assert!(DropReason::ALL[..i].iter().all(|b| a.name() != b.name()), "{a} twice");
        }
    }
}
