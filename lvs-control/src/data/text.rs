//! Core types as text.

use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::L4Port;
use std::net::SocketAddr;

/// `tcp`, `udp`, `icmpv6`, or a number.
pub(super) mod protocol {
    use super::Protocol;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const NAMED: [(Protocol, &str); 6] = [
        (Protocol::TCP, "tcp"),
        (Protocol::UDP, "udp"),
        (Protocol::SCTP, "sctp"),
        (Protocol::IP, "ip"),
        (Protocol::ICMP, "icmp"),
        (Protocol::ICMPV6, "icmpv6"),
    ];

    pub(in super::super) fn serialize<S: Serializer>(
        protocol: &Protocol,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match NAMED.iter().find(|(named, _)| named == protocol) {
            Some((_, name)) => serializer.serialize_str(name),
            None => serializer.collect_str(&protocol.0),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Protocol, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let named = NAMED.iter().find(|(_, name)| *name == text).map(|(protocol, _)| *protocol);
        let found = named.or_else(|| text.parse().ok().map(Protocol));
        found.ok_or_else(|| D::Error::custom(format!("{text:?} is no protocol: tcp, udp, sctp")))
    }
}

pub(super) fn socket_addr(end: Endpoint) -> SocketAddr {
    SocketAddr::new(end.addr, end.port.0)
}

pub(super) fn endpoint(addr: SocketAddr) -> Endpoint {
    Endpoint { addr: addr.ip(), port: L4Port(addr.port()) }
}
