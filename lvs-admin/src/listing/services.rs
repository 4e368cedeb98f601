//! `-L` by itself and with `--tun-info`, `--thresholds` or `--persistent-conn`.

use std::fmt::{self, Write};

use lvs_core::command::{ForwardingMethod, Tunnel, TunnelChecksum};
use lvs_core::listing::DestinationEntry;

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
    lines(out, services, names, &|out, server| {
        let method = text::word(server.spec.method);
        write!(out, "{method:<7} {:<6} ", server.spec.weight)
    })
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
    lines(out, services, names, &|out, server| {
        let (method, tunnel) = (text::word(server.spec.method), tunnel(server.spec.method));
        write!(out, "{method:<7} {tunnel:<13} {:<6} ", server.spec.weight)
    })
}

pub(super) fn thresholds(
    out: &mut dyn Write,
    services: &[Service<'_>],
    names: &dyn Names,
) -> fmt::Result {
    writeln!(
        out,
        "{:<33} {:<10} {:<10} {:<10} {:<10}",
        "Prot LocalAddress:Port", "Uthreshold", "Lthreshold", "ActiveConn", "InActConn"
    )?;
    out.write_str("  -> RemoteAddress:Port\n")?;
    lines(out, services, names, &|out, server| {
        let (upper, lower) = (server.spec.upper_threshold, server.spec.lower_threshold);
        write!(out, "{upper:<10} {lower:<10} ")
    })
}

pub(super) fn persistent(
    out: &mut dyn Write,
    services: &[Service<'_>],
    names: &dyn Names,
) -> fmt::Result {
    writeln!(
        out,
        "{:<33} {:<9} {:<11} {:<10} {:<10}",
        "Prot LocalAddress:Port", "Weight", "PersistConn", "ActiveConn", "InActConn"
    )?;
    out.write_str("  -> RemoteAddress:Port\n")?;
    lines(out, services, names, &|out, server| {
        write!(out, "{:<9} {:<11} ", server.spec.weight, server.persistent)
    })
}

/// Services, each with its real servers: their addresses, what `columns` writes, and their connections.
fn lines(
    out: &mut dyn Write,
    services: &[Service<'_>],
    names: &dyn Names,
    columns: &dyn Fn(&mut dyn Write, &DestinationEntry) -> fmt::Result,
) -> fmt::Result {
    for service in services {
        let spec = &service.entry.spec;
        text::service_line(out, spec, names)?;
        for server in &service.destinations {
            write!(out, "  -> {:<28} ", text::server(server.spec.addr, &spec.key, names))?;
            columns(out, server)?;
            writeln!(out, "{:<10} {:<10}", server.active, server.inactive)?;
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
