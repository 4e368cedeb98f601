//! No ARP for the virtual address: neither answers nor requests in its name.

use lvs_core::addr::Family;

use super::{Plan, Standing, arp_interfaces};
use crate::host::Host;
use crate::spec::Spec;
use crate::sysctl::Sysctl;

/// A setting of which the larger one of `all` and the interface's own counts
/// (the kernel's `Documentation/networking/ip-sysctl`).
struct Setting {
    name: &'static str,
    /// The values that keep the virtual address to ourselves.
    good: &'static [i64],
    /// The one of them that every guide sets.
    to: i64,
    right: &'static str,
    wrong: &'static str,
}

const SETTINGS: [Setting; 2] = [
    Setting {
        name: "arp_ignore",
        // 1 and 2 answer for addresses of the asked interface only, 8 for none. 3 answers for all that
        // are not of scope host, and addresses on lo seldom are.
        good: &[1, 2, 8],
        to: 1,
        right: "no interface answers ARP for addresses on lo",
        wrong: "answering ARP for the virtual address, so that clients may pass the director by",
    },
    Setting {
        name: "arp_announce",
        // 1 still announces an address that lies in the interface's own network.
        good: &[2],
        to: 2,
        right: "no interface asks by ARP in the name of an address on lo",
        wrong: "asking by ARP in the name of the virtual address, which neighbours learn",
    },
];

pub(super) fn look(spec: &Spec, host: &Host, plan: &mut Plan) {
    let interfaces = arp_interfaces(spec, host);
    for setting in &SETTINGS {
        let Some(all) = host.sysctl(Family::V4, "all", setting.name) else {
            let remedy = "mount /proc, and run where the kernel's IPv4 settings are to be seen";
            let what = format!("there is no setting net.ipv4.conf.all.{}", setting.name);
            plan.add(Standing::Blocked(remedy.into()), what);
            continue;
        };
        let is_good = |value: i64| setting.good.contains(&value);
        let bad: Vec<_> =
            interfaces.iter().filter(|i| !is_good(host.in_force(&i.name, setting.name))).collect();
        if bad.is_empty() {
            plan.right(format!("{}: {}", setting.name, setting.right));
            continue;
        }
        let name = |scope: &str| Sysctl::new(Family::V4, scope, setting.name);
        let names: Vec<&str> = bad.iter().map(|i| i.name.as_str()).collect();
        let of_all = spec.interfaces().is_empty() || all > setting.to;
        if of_all && !is_good(all) {
            let verb = if names.len() == 1 { "is" } else { "are" };
            let names = names.join(", ");
            let what = format!("{} is {all}: {names} {verb} {}", name("all"), setting.wrong);
            plan.set(host, name("all"), setting.to, what);
        }
        for interface in bad {
            let own = host.sysctl(Family::V4, &interface.name, setting.name).unwrap_or(0);
            // Where `all` is put right, an interface only stands out with a value above it.
            if !is_good(own) && (own > setting.to || !spec.interfaces().is_empty()) {
                let name = name(&interface.name);
                let what = format!("{name} is {own}: it is {}", setting.wrong);
                plan.set(host, name, setting.to, what);
            }
        }
    }
}
