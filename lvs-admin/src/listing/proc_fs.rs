//! The kernel's text files below `/proc/net`, which programs other than ipvsadm read.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv6Addr};

use lvs_core::addr::Granularity;
use lvs_core::command::{ServiceKey, ServiceSpec};
use lvs_core::flow::Endpoint;
use lvs_core::listing::{ConnectionEntry, ServiceEntry};
use lvs_core::stats::Counters;

use super::{Header, Rates};

/// The first line of `ip_vs_conn`, which the kernel pads to 127 characters.
pub const CONNECTIONS_TITLE: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData";

/// A line of `ip_vs_conn`.
///
/// # Errors
/// Those of `out`.
pub fn connection(out: &mut dyn Write, entry: &ConnectionEntry) -> fmt::Result {
    write!(out, "{:<3} ", entry.protocol)?;
    for end in [entry.client, entry.virt, entry.destination] {
        match end.addr {
            IpAddr::V4(addr) => write!(out, "{:08X}", addr.to_bits())?,
            IpAddr::V6(addr) => ipv6_in_full(out, addr)?,
        }
        write!(out, " {:04X} ", end.port.0)?;
    }
    write!(out, "{:<11} {:>7}", entry.state, entry.expires.as_secs())?;
    if let Some(read) = &entry.engine {
        write!(out, " {} {}", read.engine(), read.text())?;
    }
    writeln!(out)
}

/// `ip_vs`: services and servers in the director's own order. Timeouts of persistence are in the
/// kernel's ticks, of which there are `ticks` in a second (rule A4; 100 in the recorded kernel).
///
/// # Errors
/// Those of `out`.
pub fn services(
    out: &mut dyn Write,
    header: &Header,
    entries: &[ServiceEntry],
    ticks: u32,
) -> fmt::Result {
    writeln!(out, "{header}")?;
    out.write_str("Prot LocalAddress:Port Scheduler Flags\n")?;
    out.write_str("  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n")?;
    for entry in entries {
        service(out, &entry.spec, ticks)?;
        for server in &entry.destinations {
            out.write_str("  -> ")?;
            endpoint(out, server.spec.addr)?;
            writeln!(
                out,
                "      {:<7} {:<6} {:<10} {:<10}",
                server.spec.method.word(),
                server.spec.weight,
                server.active,
                server.inactive,
            )?;
        }
    }
    Ok(())
}

fn service(out: &mut dyn Write, spec: &ServiceSpec, ticks: u32) -> fmt::Result {
    let scheduler = &spec.scheduler;
    let one_packet = if spec.one_packet { "ops " } else { "" };
    match spec.key {
        ServiceKey::Address { protocol, virt } => {
            write!(out, "{protocol}  ")?;
            endpoint(out, virt)?;
            // Only a line of IPv4 has a place for "ops", and a blank where it is empty.
            match virt.addr {
                IpAddr::V4(_) => write!(out, " {scheduler} {one_packet} ")?,
                IpAddr::V6(_) => write!(out, " {scheduler} ")?,
            }
        }
        ServiceKey::Mark { mark, .. } => {
            write!(out, "FWM  {:08X} {scheduler} {one_packet}", mark.0)?;
        }
    }
    match spec.persistence {
        Some(persistence) => {
            let ticks = persistence.timeout.as_secs().saturating_mul(ticks.into());
            let mask = match persistence.granularity {
                Granularity::Mask(mask) => mask,
                // The kernel swaps the bytes of what is no address here.
                Granularity::Prefix(len) => u32::from(len).swap_bytes(),
            };
            writeln!(out, "persistent {ticks} {mask:08X}")
        }
        None => writeln!(out),
    }
}

/// `ip_vs_stats`: totals and rates, in hexadecimal.
///
/// # Errors
/// Those of `out`.
pub fn stats(out: &mut dyn Write, total: &Counters, rates: &Rates) -> fmt::Result {
    out.write_str("   Total Incoming Outgoing         Incoming         Outgoing\n")?;
    out.write_str("   Conns  Packets  Packets            Bytes            Bytes\n")?;
    writeln!(
        out,
        "{:8X} {:8X} {:8X} {:16X} {:16X}\n",
        total.connections, total.packets_in, total.packets_out, total.bytes_in, total.bytes_out
    )?;
    out.write_str(" Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n")?;
    writeln!(
        out,
        "{:8X} {:8X} {:8X} {:16X} {:16X}",
        rates.connections, rates.packets_in, rates.packets_out, rates.bytes_in, rates.bytes_out
    )
}

fn endpoint(out: &mut dyn Write, end: Endpoint) -> fmt::Result {
    match end.addr {
        IpAddr::V4(addr) => write!(out, "{:08X}:{:04X}", addr.to_bits(), end.port.0),
        IpAddr::V6(addr) => {
            out.write_str("[")?;
            ipv6_in_full(out, addr)?;
            write!(out, "]:{:04X}", end.port.0)
        }
    }
}

fn ipv6_in_full(out: &mut dyn Write, addr: Ipv6Addr) -> fmt::Result {
    let [first, rest @ ..] = addr.segments();
    write!(out, "{first:04x}")?;
    rest.iter().try_for_each(|segment| write!(out, ":{segment:04x}"))
}
