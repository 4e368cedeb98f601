//! Which ends masqueraded real servers answer from, for packets that belong to no connection.

use alloc::vec::Vec;

use super::Destination;
use crate::command::{ForwardingMethod, ServiceKey};
use crate::flow::{Endpoint, Protocol};

/// The ends of all listed destinations that are masqueraded, sorted: a look at thousands costs a dozen
/// comparisons. Each stands there once for each service, those under a mark for any protocol
/// ([`Protocol::IP`]).
#[derive(Debug)]
pub(super) struct Masqueraded {
    ends: Vec<(Endpoint, Protocol)>,
}

impl Masqueraded {
    pub(super) fn new(capacity: u32) -> Masqueraded {
        Masqueraded { ends: Vec::with_capacity(capacity as usize) }
    }

    /// Bytes that it takes.
    pub(super) fn memory(capacity: u32) -> usize {
        capacity as usize * size_of::<(Endpoint, Protocol)>()
    }

    /// Whether a packet of this protocol from `end` comes from one of them.
    pub(super) fn contains(&self, end: Endpoint, protocol: Protocol) -> bool {
        let has = |protocol| self.ends.binary_search(&(end, protocol)).is_ok();
        has(protocol) || has(Protocol::IP)
    }

    /// Takes a destination in, if it belongs here.
    pub(super) fn add(&mut self, destination: &Destination) {
        if let Some(end) = end_of(destination) {
            let at = self.ends.partition_point(|other| *other < end);
            self.ends.insert(at, end);
        }
    }

    /// Leaves a destination out that was taken in as it is now.
    pub(super) fn remove(&mut self, destination: &Destination) {
        if let Some(at) = end_of(destination).and_then(|end| self.ends.binary_search(&end).ok()) {
            self.ends.remove(at);
        }
    }
}

fn end_of(destination: &Destination) -> Option<(Endpoint, Protocol)> {
    let protocol = match destination.service_key {
        ServiceKey::Address { protocol, .. } => protocol,
        ServiceKey::Mark { .. } => Protocol::IP,
    };
    let belongs = destination.is_listed() && destination.method() == ForwardingMethod::Masquerade;
    belongs.then_some((destination.addr(), protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Family;
    use crate::command::DestinationSpec;
    use crate::dest::Destinations;
    use crate::ids::{FwMark, ServiceIndex};

    #[test]
    fn an_end_is_known_as_long_as_a_service_masquerades_to_it() {
        let end = |text: &str, port| Endpoint::new(text.parse().unwrap(), port);
        let server = end("10.1.0.2", 8080);
        let virt = end("10.0.0.1", 80);
        let web = ServiceKey::Address { protocol: Protocol::TCP, virt };
        let mark = ServiceKey::Mark { mark: FwMark(1), family: Family::V4 };
        let method = ForwardingMethod::Masquerade;
        let spec = DestinationSpec { method, ..DestinationSpec::new(server) };
        let mut all = Destinations::new(4);
        let [a, b] = [web, mark]
            .map(|key| all.insert(Destination::new(spec, key, ServiceIndex(0))).unwrap());
        let known = |all: &Destinations, protocol| all.masquerades_to(server, protocol);
        assert!(known(&all, Protocol::TCP) && known(&all, Protocol::UDP));
        assert!(!all.masquerades_to(end("10.1.0.2", 80), Protocol::TCP));
        all.unlist(b);
        assert!(known(&all, Protocol::TCP) && !known(&all, Protocol::UDP));
        all.edit(a, DestinationSpec::new(server));
        assert!(!known(&all, Protocol::TCP));
        all.edit(a, spec);
        all.relist(b, ServiceIndex(0));
        assert!(known(&all, Protocol::TCP) && known(&all, Protocol::UDP));
        all.unlist(a);
        all.unlist(b);
        assert!(!known(&all, Protocol::TCP));
    }
}
