//! `-L` and `-L --tun-info`.

use std::fmt::{self, Write};

use lvs_core::command::{ForwardingMethod, Tunnel, TunnelChecksum};

use super::sort::Service;
use super::text;
use crate::names::Names;

pub(super) fn plain(
    out: &mut dyn Write,
    services: &[Service<'_>],
    names: &dyn Names,
) -> fmt::Result {
    out.write_str("Prot LocalAddress:Port Scheduler Flags\n")?;
    out.write_str("  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n")?;
    for service in services {
        let spec = &service.entry.spec;
        text::service_line(out, spec, names)?;
        for server in &service.destinations {
            writeln!(
                out,
                "  -> {:<28} {:<7} {:<6} {:<10} {:<10}",
                text::server(server.spec.addr, &spec.key, names),
                text::word(server.spec.method),
                server.spec.weight,
                server.active,
                server.inactive,
            )?;
        }
    }
    Ok(())
}

pub(super) fn tunnel_info(
    out: &mut dyn Write,
    services: &[Service<'_>],
    names: &dyn Names,
) -> fmt::Result {
    out.write_str("Prot LocalAddress:Port Scheduler Flags\n")?;
    out.write_str(
        "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n",
    )?;
    for service in services {
        let spec = &service.entry.spec;
        text::service_line(out, spec, names)?;
        for server in &service.destinations {
            writeln!(
                out,
                "  -> {:<28} {:<7} {:<13} {:<6} {:<10} {:<10}",
                text::server(server.spec.addr, &spec.key, names),
                text::word(server.spec.method),
                tunnel(server.spec.method),
                server.spec.weight,
                server.active,
                server.inactive,
            )?;
        }
    }
    Ok(())
}

fn tunnel(method: ForwardingMethod) -> String {
    let flag = |checksum| match checksum {
        TunnelChecksum::None => "-c",
        TunnelChecksum::Checksum => "+c",
        TunnelChecksum::Remote => "r+c",
    };
    match method {
        ForwardingMethod::Tunnel(Tunnel::IpIp) => "ipip".to_owned(),
        ForwardingMethod::Tunnel(Tunnel::Gue { port, checksum }) => {
            format!("gue:{port}:{}", flag(checksum))
        }
        ForwardingMethod::Tunnel(Tunnel::Gre { checksum }) => format!("gre:{}", flag(checksum)),
        ForwardingMethod::Masquerade | ForwardingMethod::DirectRoute => "n/a".to_owned(),
    }
}
