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

/// By mark, family, protocol, address and port; servers by address and port.
pub(super) fn sorted(entries: &[ServiceEntry]) -> Vec<Service<'_>> {
    let mut services = unsorted(entries);
    merge_sort(&mut services, &|a, b| compare_services(&a.entry.spec.key, &b.entry.spec.key));
    for service in &mut services {
        merge_sort(&mut service.destinations, &|a, b| {
            let (a, b) = (a.spec.addr, b.spec.addr);
            a.addr.is_ipv6().cmp(&b.addr.is_ipv6()).then_with(|| compare_endpoints(a, b))
        });
    }
    services
}

fn compare_services(a: &ServiceKey, b: &ServiceKey) -> Ordering {
    let marks = a.mark().cmp(&b.mark());
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
