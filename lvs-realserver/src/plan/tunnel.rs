//! Who opens what the director wrapped.

use lvs_core::addr::Family;
use lvs_core::flow::Protocol;

use super::{Plan, Standing, reverse_path};
use crate::change::Change;
use crate::host::Host;
use crate::spec::{DEVICE, Opener, Spec, TunnelKind};

pub(super) fn look(spec: &Spec, host: &Host, plan: &mut Plan) {
    match spec.opener() {
        None => {}
        Some(Opener::Own) => look_at_own(spec, host, plan),
        Some(Opener::Kernel) => look_at_kernel(spec, host, plan),
    }
}

fn look_at_own(spec: &Spec, host: &Host, plan: &mut Plan) {
    for (module, device) in kernel_devices(spec) {
        if host.interface(device).is_some() {
            let what = format!(
                "the kernel's module {module} is loaded ({device}): it takes tunnelled packets, or refuses \
                 them to the director, whoever else opens them"
            );
            let remedy = format!("add --kernel, and let it open them; or `modprobe -r {module}`");
            plan.add(Standing::Blocked(remedy), what);
        }
    }
    let kinds: Vec<String> = spec.kinds().iter().map(ToString::to_string).collect();
    let kinds = kinds.join(", ");
    match host.interface(DEVICE) {
        Some(device) if device.is_up => {
            for kind in spec.kinds() {
                if is_taken(*kind, spec, host) {
                    plan.right(format!("a decapsulator runs ({DEVICE}) and opens {kind}"));
                } else {
                    let what =
                        format!("a decapsulator runs ({DEVICE}), but it does not open {kind}");
                    let remedy = "stop it, and start it with every --vip and --tun";
                    plan.add(Standing::Blocked(remedy.into()), what);
                }
            }
            if spec.has(Family::V4) {
                reverse_path::look_at_device(DEVICE, spec, host, plan);
            }
        }
        _ => plan.add(Standing::Idle, format!("no decapsulator runs: nobody opens {kinds}")),
    }
}

/// Whether a socket takes what a kind of tunnel sends over IPv4.
fn is_taken(kind: TunnelKind, spec: &Spec, host: &Host) -> bool {
    let of_ip = [(Family::V4, Protocol::IPIP), (Family::V6, Protocol::IPV6)];
    match kind {
        TunnelKind::IpIp => of_ip
            .iter()
            .filter(|(family, _)| spec.has(*family))
            .all(|(_, protocol)| host.raw_protocols.contains(&protocol.0)),
        TunnelKind::Gre => host.raw_protocols.contains(&Protocol::GRE.0),
        TunnelKind::Gue { port } => host.udp_ports.contains(&port),
    }
}

fn look_at_kernel(spec: &Spec, host: &Host, plan: &mut Plan) {
    for (module, name) in kernel_devices(spec) {
        let device = host.interface(name);
        if device.is_none() {
            let change =
                Change::run(&format!("modprobe {module}"), &format!("modprobe -r {module}"));
            let what = format!("the kernel's module {module} is not loaded: nobody opens tunnels");
            plan.add(Standing::Wrong(change), what);
        }
        if spec.has(Family::V4) && name != SIT.1 {
            reverse_path::look_at_device(name, spec, host, plan);
        }
        if device.is_some_and(|device| device.is_up) {
            plan.right(format!("{name} is up and opens tunnels"));
        } else {
            let change =
                Change::run(&format!("ip link set {name} up"), &format!("ip link set {name} down"));
            plan.add(Standing::Wrong(change), format!("{name} is not up: nobody opens tunnels"));
        }
    }
    for kind in spec.kinds() {
        let TunnelKind::Gue { port } = kind else { continue };
        if host.fou_ports.contains(port) {
            plan.right(format!("fou takes GUE on UDP port {port}"));
            continue;
        }
        let what = format!("fou does not take GUE on UDP port {port}");
        if !host.has_fou {
            let change = Change::run("modprobe fou", "modprobe -r fou");
            plan.add(Standing::Wrong(change), "the kernel's module fou is not loaded");
        }
        let command = format!("ip fou add port {port} gue");
        let change = Change::run(&command, &format!("ip fou del port {port}"));
        plan.add(Standing::Wrong(change), what);
    }
}

const IPIP: (&str, &str) = ("ipip", "tunl0");
const SIT: (&str, &str) = ("sit", "sit0");
const GRE: (&str, &str) = ("ip_gre", "gre0");

/// The kernel's modules that open the tunnels, and the device that each brings along for packets from
/// anywhere. GUE's packets come out of fou as IP in IP.
fn kernel_devices(spec: &Spec) -> Vec<(&'static str, &'static str)> {
    let mut devices = Vec::new();
    let of_family = [(Family::V4, IPIP), (Family::V6, SIT)];
    if spec.kinds().iter().any(|kind| *kind != TunnelKind::Gre) {
        devices.extend(of_family.iter().filter(|(family, _)| spec.has(*family)).map(|(_, d)| *d));
    }
    if spec.kinds().contains(&TunnelKind::Gre) {
        devices.push(GRE);
    }
    devices
}
