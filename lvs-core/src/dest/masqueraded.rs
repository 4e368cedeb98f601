//! Which ends masqueraded real servers answer from, for packets that belong to no connection.

use alloc::vec::Vec;

use super::Destination;
use crate::command::{ForwardingMethod, ServiceKey};
use crate::flow::{Endpoint, Protocol};
use crate::ids::DestIndex;

/// The ends of all listed destinations that are masqueraded, sorted: a look at thousands costs a dozen
/// comparisons. Each stands there once for each service, those under a mark for any protocol
/// ([`Protocol::IP`]).
#[derive(Debug)]
pub(super) struct Masqueraded {
    ends: Vec<(Endpoint, Protocol, Since, DestIndex)>,
    last: Since,
}

/// Since which addition a destination has been masqueraded, without a break.
pub(super) type Since = u64;

impl Masqueraded {
    pub(super) fn new(capacity: u32) -> Masqueraded {
        Masqueraded { ends: Vec::with_capacity(capacity as usize), last: 0 }
    }

    /// Bytes that it takes.
    pub(super) fn memory(capacity: u32) -> usize {
        capacity as usize * size_of::<(Endpoint, Protocol, Since, DestIndex)>()
    }

    /// Whether a packet of this protocol from `end` comes from one of them.
    pub(super) fn contains(&self, end: Endpoint, protocol: Protocol) -> bool {
        self.newest(end, protocol).is_some()
    }

    /// Of those that a packet of this protocol from `end` comes from the one that was masqueraded last.
    pub(super) fn newest(&self, end: Endpoint, protocol: Protocol) -> Option<DestIndex> {
        let last = |protocol| {
            let behind = self.ends.partition_point(|&(e, p, ..)| (e, p) <= (end, protocol));
            let &(e, p, since, index) = self.ends.get(behind.checked_sub(1)?)?;
            ((e, p) == (end, protocol)).then_some((since, index))
        };
        last(protocol).max(last(Protocol::IP)).map(|(_, index)| index)
    }

    /// Takes a destination in, if it belongs here; as one that has been here `since`, or from now on.
    pub(super) fn add(
        &mut self,
        destination: &Destination,
        index: DestIndex,
        since: Option<Since>,
    ) {
        let Some((end, protocol)) = end_of(destination) else { return };
        let since = since.unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        let entry = (end, protocol, since, index);
        let at = self.ends.partition_point(|other| *other < entry);
        self.ends.insert(at, entry);
    }

    /// Leaves a destination out that was taken in as it is now; since when it was here.
    pub(super) fn remove(&mut self, destination: &Destination, index: DestIndex) -> Option<Since> {
        let (end, protocol) = end_of(destination)?;
        let from = self.ends.partition_point(|&(e, p, ..)| (e, p) < (end, protocol));
        let own = self.ends[from..].iter().position(|&(.., other)| other == index)?;
        Some(self.ends.remove(from + own).2)
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
