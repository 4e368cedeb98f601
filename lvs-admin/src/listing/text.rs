//! The pieces that listings share (names, numbers, widths).

use std::fmt::{self, Write};
use std::net::IpAddr;

use lvs_core::addr::{Family, Granularity};
use lvs_core::command::{ForwardingMethod, SchedulerFlags, ServiceKey, ServiceSpec};
use lvs_core::flow::{Endpoint, Protocol};
use lvs_core::ids::FwMark;

use crate::names::Names;

/// The longest `address:port`, in characters.
const ENDPOINT_MAX: usize = 59;
/// The longest name of a service that is not of IPv6.
const SERVICE_MAX: usize = 33;
/// The longest name of a real server that is not of IPv6.
const SERVER_MAX: usize = 28;

fn cut(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
    }
    text
}

/// `address:port`, each by name where it has one.
pub(super) fn endpoint(end: Endpoint, protocol: Protocol, names: &dyn Names) -> String {
    let host = names.host(end.addr).unwrap_or_else(|| end.addr.to_string());
    // Port 0 is no service's, whatever a services file may say.
    let port = match end.port.0 {
        0 => None,
        port => names.service(port, protocol),
    };
    let port = port.unwrap_or_else(|| end.port.to_string());
    let text = match end.addr {
        IpAddr::V4(_) => format!("{host}:{port}"),
        IpAddr::V6(_) => format!("[{host}]:{port}"),
    };
    cut(text, ENDPOINT_MAX)
}

/// The protocol by which a service's ports are named. ipvsadm lets a mark's be TCP.
pub(super) fn protocol(key: &ServiceKey) -> Protocol {
    match key {
        ServiceKey::Address { protocol, .. } => *protocol,
        ServiceKey::Mark { .. } => Protocol::TCP,
    }
}

/// `TCP  10.0.0.1:80`, `FWM  7`, `FWM  7 IPv6`.
pub(super) fn service(key: &ServiceKey, names: &dyn Names) -> String {
    match key {
        ServiceKey::Address { protocol, virt } => {
            let text = format!("{protocol:<4} {}", endpoint(*virt, *protocol, names));
            match virt.addr {
                IpAddr::V4(_) => cut(text, SERVICE_MAX),
                IpAddr::V6(_) => text,
            }
        }
        ServiceKey::Mark { mark, family: Family::V4 } => format!("FWM  {}", signed(*mark)),
        ServiceKey::Mark { mark, family: Family::V6 } => format!("FWM  {} IPv6", signed(*mark)),
    }
}

/// A mark as ipvsadm prints it, as a signed number.
pub(super) fn signed(mark: FwMark) -> i32 {
    mark.0.cast_signed()
}

/// A real server's name.
pub(super) fn server(addr: Endpoint, key: &ServiceKey, names: &dyn Names) -> String {
    let text = endpoint(addr, protocol(key), names);
    match addr.addr {
        IpAddr::V4(_) => cut(text, SERVER_MAX),
        IpAddr::V6(_) => text,
    }
}

/// The names of a scheduler's flags, parted by commas; empty if none is set. Of sh and mh the third flag
/// has no name and is not shown (scenario `save-format`).
pub(super) fn flags(scheduler: &str, flags: SchedulerFlags) -> String {
    let names = match scheduler {
        "sh" => ["sh-fallback", "sh-port", ""],
        "mh" => ["mh-fallback", "mh-port", ""],
        _ => ["flag-1", "flag-2", "flag-3"],
    };
    let set = [flags.flag_1, flags.flag_2, flags.flag_3];
    let shown = names.into_iter().zip(set).filter(|(name, set)| *set && !name.is_empty());
    shown.map(|(name, _)| name).collect::<Vec<_>>().join(",")
}

/// The granularity, where it is not the whole address.
pub(super) fn mask(granularity: Granularity, family: Family) -> Option<String> {
    if granularity == Granularity::single(family) {
        return None;
    }
    match granularity {
        Granularity::Mask(u32::MAX) | Granularity::Prefix(128..) => None,
        Granularity::Mask(mask) => Some(std::net::Ipv4Addr::from_bits(mask).to_string()),
        Granularity::Prefix(len) => Some(len.to_string()),
    }
}

/// The whole line of a service: name, scheduler, flags, persistence.
pub(super) fn service_line(
    out: &mut dyn Write,
    spec: &ServiceSpec,
    names: &dyn Names,
) -> fmt::Result {
    write!(out, "{} {}", service(&spec.key, names), spec.scheduler)?;
    let flags = flags(&spec.scheduler, spec.flags);
    if !flags.is_empty() {
        write!(out, " ({flags})")?;
    }
    if let Some(persistence) = spec.persistence {
        write!(out, " persistent {}", persistence.timeout.as_secs())?;
        if let Some(mask) = mask(persistence.granularity, spec.key.family()) {
            write!(out, " mask {mask}")?;
        }
        // Without persistence it is not shown, though it is kept (rule E5).
        if let Some(engine) = &spec.engine {
            write!(out, " pe {engine}")?;
        }
    }
    if spec.one_packet {
        out.write_str(" ops")?;
    }
    writeln!(out)
}

/// The word of a forwarding method.
pub(super) fn word(method: ForwardingMethod) -> &'static str {
    method.word()
}

/// A number in nine characters, of which the first is a blank where the number leaves room: in full up
/// to 99999999, else in thousands (`K`), millions (`M`), 10^9 (`G`) or 10^12 (`T`), cut off, not rounded.
pub(super) fn large(out: &mut dyn Write, number: u64, exact: bool) -> fmt::Result {
    if exact {
        // A number that fills the column still keeps a blank before it.
        return match number {
            0..=99_999_999 => write!(out, "{number:>9}"),
            _ => write!(out, " {number}"),
        };
    }
    let (divisor, letter) = match number {
        0..100_000_000 => return write!(out, "{number:>9}"),
        100_000_000..1_000_000_000 => (1_000, 'K'),
        1_000_000_000..100_000_000_000 => (1_000_000, 'M'),
        100_000_000_000..100_000_000_000_000 => (1_000_000_000, 'G'),
        _ => (1_000_000_000_000, 'T'),
    };
    write!(out, "{:>8}{letter}", number / divisor)
}
