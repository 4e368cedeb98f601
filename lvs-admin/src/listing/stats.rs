//! `-L --stats` and `-L --rate`.

use std::fmt::{self, Write};

use lvs_core::stats::Counters;

use super::sort::Service;
use super::text::{self, large};
use super::{Rates, RatesOf};
use crate::names::Names;

pub(super) fn stats(
    out: &mut dyn Write,
    services: &[Service<'_>],
    names: &dyn Names,
    exact: bool,
) -> fmt::Result {
    title(out, ["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"])?;
    let numbers =
        |c: &Counters| [c.connections, c.packets_in, c.packets_out, c.bytes_in, c.bytes_out];
    for service in services {
        let key = &service.entry.spec.key;
        write!(out, "{:<33}", text::service(key, names))?;
        row(out, numbers(&service.entry.counters), exact)?;
        for server in &service.destinations {
            write!(out, "  -> {:<28}", text::server(server.spec.addr, key, names))?;
            row(out, numbers(&server.counters), exact)?;
        }
    }
    Ok(())
}

pub(super) fn rates(
    out: &mut dyn Write,
    services: &[Service<'_>],
    names: &dyn Names,
    exact: bool,
    rates: RatesOf<'_>,
) -> fmt::Result {
    title(out, ["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"])?;
    for service in services {
        let key = &service.entry.spec.key;
        write!(out, "{:<33}", text::service(key, names))?;
        let Rates { connections, packets_in, packets_out, bytes_in, bytes_out } = rates(key, None);
        row(out, [connections, packets_in, packets_out, bytes_in, bytes_out], exact)?;
        for server in &service.destinations {
            let addr = server.spec.addr;
            let of = rates(key, Some(addr));
            // Of a server, ipvsadm never shortens the rates of connections and packets.
            write!(
                out,
                "  -> {:<28} {:>8} {:>8} {:>8}",
                text::server(addr, key, names),
                of.connections,
                of.packets_in,
                of.packets_out,
            )?;
            large(out, of.bytes_in, exact)?;
            large(out, of.bytes_out, exact)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

fn title(out: &mut dyn Write, titles: [&str; 5]) -> fmt::Result {
    write!(out, "{:<33}", "Prot LocalAddress:Port")?;
    for title in titles {
        write!(out, " {title:>8}")?;
    }
    out.write_str("\n  -> RemoteAddress:Port\n")
}

fn row(out: &mut dyn Write, numbers: [u64; 5], exact: bool) -> fmt::Result {
    numbers.into_iter().try_for_each(|number| large(out, number, exact))?;
    writeln!(out)
}
