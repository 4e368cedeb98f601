//! The filter by reverse path (RFC 3704): strict, it drops a client's packet that comes in by another
//! interface than the answer would leave by.

use std::net::IpAddr;

use lvs_core::addr::{Family, Prefix};

use super::{Plan, Standing, arp_interfaces};
use crate::change::Change;
use crate::host::{Host, Interface};
use crate::spec::{Method, Spec};
use crate::sysctl::Sysctl;

const NAME: &str = "rp_filter";
/// The value of the strict filter.
const STRICT: i64 = 1;
/// The value of the loose one. The larger one of `all` and the interface's own counts, so this takes
/// effect whatever `all` is.
pub(super) const LOOSE: i64 = 2;

/// In direct routing packets come in as they left the client, perhaps by an interface that no default
/// route leaves by.
pub(super) fn look(spec: &Spec, host: &Host, plan: &mut Plan) {
    if *spec.method() != Method::DirectRoute {
        return;
    }
    let interfaces = arp_interfaces(spec, host);
    let way_back = host.interfaces.iter().find(|i| i.has_default_route);
    let suspects = |interface: &&&Interface| {
        !interface.has_default_route
            && interface.is_up
            && host.in_force(&interface.name, NAME) == STRICT
    };
    for interface in interfaces.iter().filter(suspects) {
        let name = Sysctl::new(Family::V4, &interface.name, NAME);
        let change = Change::Sysctl { name, from: in_name(host, &interface.name), to: LOOSE };
        let way = match way_back {
            Some(way) => format!("the default route leaves by {}", way.name),
            None => "there is no default route".to_owned(),
        };
        let what = format!("{} filters strictly by reverse path, and {way}", interface.name);
        if spec.interfaces().is_empty() {
            let remedy =
                format!("if the director is on {}, name it: --interface {0}", interface.name);
            plan.add(Standing::Advice(remedy), what);
        } else {
            plan.add(Standing::Wrong(change), what + ": packets of clients are dropped");
        }
    }
}

/// What comes out of a tunnel's device has its way back elsewhere: a strict filter drops it, and a loose
/// one does if the device has no address (the kernel then takes the packet's way back as unknown).
pub(super) fn look_at_device(device: &str, spec: &Spec, host: &Host, plan: &mut Plan) {
    // A device that is still to come begins with the default.
    let own = host.sysctl(Family::V4, device, NAME);
    let own = own.or_else(|| host.sysctl(Family::V4, "default", NAME)).unwrap_or(0);
    let in_force = own.max(host.sysctl(Family::V4, "all", NAME).unwrap_or(0));
    let name = Sysctl::new(Family::V4, device, NAME);
    if in_force == STRICT {
        let what =
            format!("{name}: what comes out of the tunnel is dropped, as answers leave elsewhere");
        plan.add(Standing::Wrong(Change::Sysctl { name, from: own, to: LOOSE }), what);
    }
    let is_v4 = |addr: IpAddr| addr.is_ipv4();
    let addresses = host.interface(device).map_or(&[][..], |interface| &interface.addresses);
    let has_address = addresses.iter().any(|prefix| is_v4(prefix.addr()));
    match spec.virtuals().iter().find(|addr| is_v4(**addr)) {
        Some(&addr) if in_force != 0 && !has_address => {
            let what =
                format!("{device} has no address: the loose filter by reverse path drops all");
            let change = Change::Address { device: device.into(), prefix: Prefix::host(addr) };
            plan.add(Standing::Wrong(change), what);
        }
        _ if in_force == STRICT => {}
        _ => plan.right(format!("rp_filter: {device} takes packets whose answers leave elsewhere")),
    }
}

fn in_name(host: &Host, scope: &str) -> i64 {
    host.sysctl(Family::V4, scope, NAME).unwrap_or(0)
}
