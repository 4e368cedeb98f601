//! The order of listings.

use std::cmp::Ordering;
use std::net::IpAddr;

use lvs_core::addr::Family;
use lvs_core::command::ServiceKey;
use lvs_core::flow::Endpoint;
use lvs_core::listing::{DestinationEntry, ServiceEntry};

/// A service with its servers in the order of the listing.
pub(super) struct Service<'a> {
    pub(super) entry: &'a ServiceEntry,
    pub(super) destinations: Vec<&'a DestinationEntry>,
}

/// `--nosort`: as they come.
pub(super) fn unsorted(entries: &[ServiceEntry]) -> Vec<Service<'_>> {
    entries
        .iter()
        .map(|entry| Service { entry, destinations: entry.destinations.iter().collect() })
        .collect()
}

/// By mark, family, protocol, address and port; servers by address, of whichever family, and port.
pub(super) fn sorted(entries: &[ServiceEntry]) -> Vec<Service<'_>> {
    let mut services = unsorted(entries);
    merge_sort(&mut services, &|a, b| compare_services(&a.entry.spec.key, &b.entry.spec.key));
    for service in &mut services {
        merge_sort(&mut service.destinations, &|a, b| {
            let (a, b) = (a.spec.addr, b.spec.addr);
            compare_servers(a.addr, b.addr).then(a.port.cmp(&b.port))
        });
    }
    services
}

fn compare_services(a: &ServiceKey, b: &ServiceKey) -> Ordering {
    let marks = a.mark().0.wrapping_sub(b.mark().0).cast_signed().cmp(&0);
    let families = (a.family() == Family::V6).cmp(&(b.family() == Family::V6));
    marks.then(families).then_with(|| match (a, b) {
        (
            ServiceKey::Address { protocol: a, virt: a_end },
            ServiceKey::Address { protocol: b, virt: b_end },
        ) => a.cmp(b).then_with(|| compare_endpoints(*a_end, *b_end)),
        _ => Ordering::Equal,
    })
}

/// IPv4 addresses are compared as ipvsadm compares them, by the sign of their 32-bit difference, so that
/// `192.168.0.1` comes before `10.0.0.1`.
fn compare_endpoints(a: Endpoint, b: Endpoint) -> Ordering {
    let addrs = match (a.addr, b.addr) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            a.to_bits().wrapping_sub(b.to_bits()).cast_signed().cmp(&0)
        }
        (a, b) => a.cmp(&b),
    };
    addrs.then(a.port.cmp(&b.port))
}

/// Servers are compared word by word of 32 bits, each by the sign of the difference, an IPv4 address as if
/// zeros followed (`listing-order` among the recorded scenarios).
fn compare_servers(a: IpAddr, b: IpAddr) -> Ordering {
    let [a, b] = [a, b].map(|addr| match addr {
        IpAddr::V4(addr) => u128::from(addr.to_bits()) << 96,
        IpAddr::V6(addr) => addr.to_bits(),
    });
    let word = |bits: u128, shift: u32| (bits >> shift) as u32;
    [96, 64, 32, 0]
        .into_iter()
        .map(|at| word(a, at).wrapping_sub(word(b, at)).cast_signed().cmp(&0))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// A merge sort from the middle, as the C library's qsort(3) is one. The comparison above is no order
/// (three addresses may each come before the next, in a circle), where the standard library's sort may
/// panic, and where the result depends on the way of sorting.
fn merge_sort<T>(items: &mut Vec<T>, compare: &dyn Fn(&T, &T) -> Ordering) {
    if items.len() < 2 {
        return;
    }
    let mut right = items.split_off(items.len() / 2);
    let mut left = std::mem::take(items);
    merge_sort(&mut left, compare);
    merge_sort(&mut right, compare);
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    loop {
        let from_right = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => compare(a, b) == Ordering::Greater,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (None, None) => return,
        };
        items.extend(if from_right { right.next() } else { left.next() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_ordered_by_words_as_signed_differences() {
        let sorted = [
            "192.168.0.1",
            "f001:db8:2::2",
            "10.1.0.1",
            "1001:db8:2::2",
            "2001:db8:f000::1",
            "2001:db8:2::f000:2",
            "2001:db8:2::9",
            "2001:db8:2::1000:2",
            "127.0.0.1",
        ];
        let addrs: Vec<IpAddr> = sorted.iter().map(|addr| addr.parse().unwrap()).collect();
        for pair in addrs.windows(2) {
            assert_eq!(compare_servers(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
    }
}
