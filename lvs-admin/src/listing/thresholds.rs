//! `-L --thresholds` and `-L --persistent-conn`.

use std::fmt::{self, Write};

use super::sort::Service;
use super::text;
use crate::names::Names;

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
    for service in services {
        let spec = &service.entry.spec;
        text::service_line(out, spec, names)?;
        for server in &service.destinations {
            writeln!(
                out,
                "  -> {:<28} {:<10} {:<10} {:<10} {:<10}",
                text::server(server.spec.addr, &spec.key, names),
                server.spec.upper_threshold,
                server.spec.lower_threshold,
                server.active,
                server.inactive,
            )?;
        }
    }
    Ok(())
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
    for service in services {
        let spec = &service.entry.spec;
        text::service_line(out, spec, names)?;
        for server in &service.destinations {
            writeln!(
                out,
                "  -> {:<28} {:<9} {:<11} {:<10} {:<10}",
                text::server(server.spec.addr, &spec.key, names),
                server.spec.weight,
                server.persistent,
                server.active,
                server.inactive,
            )?;
        }
    }
    Ok(())
}
