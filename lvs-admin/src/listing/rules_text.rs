//! `-S`.

use std::fmt::{self, Write};

use lvs_core::addr::Family;
use lvs_core::command::{
    DestinationSpec, ForwardingMethod, ServiceKey, ServiceSpec, Tunnel, TunnelChecksum,
};
use lvs_core::flow::Protocol;

use super::sort::Service;
use super::text;
use crate::names::Names;

pub(super) fn save(
    out: &mut dyn Write,
    services: &[Service<'_>],
    names: &dyn Names,
) -> fmt::Result {
    for service in services {
        let spec = &service.entry.spec;
        let name = match &spec.key {
            // As ipvsadm prints it, although it does not take it back.
            ServiceKey::Mark { mark, family } if mark.0 > i32::MAX as u32 => {
                let family = if *family == Family::V6 { " -6" } else { "" };
                format!("-f {}{family}", text::signed(*mark))
            }
            key => service_option(key, names),
        };
        service_rule(out, &name, spec)?;
        for server in &service.destinations {
            let server_name = text::server(server.spec.addr, &spec.key, names);
            write!(out, "-a {name} -r {server_name}")?;
            server_options(out, &server.spec)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

/// The option that names a service.
pub(super) fn service_option(key: &ServiceKey, names: &dyn Names) -> String {
    match key {
        ServiceKey::Address { protocol, virt } => {
            let option = match *protocol {
                Protocol::UDP => "-u",
                Protocol::SCTP => "--sctp-service",
                _ => "-t",
            };
            format!("{option} {}", text::endpoint(*virt, *protocol, names))
        }
        ServiceKey::Mark { mark, family: Family::V4 } => format!("-f {}", mark.0),
        ServiceKey::Mark { mark, family: Family::V6 } => format!("-f {} -6", mark.0),
    }
}

fn service_rule(out: &mut dyn Write, name: &str, spec: &ServiceSpec) -> fmt::Result {
    write!(out, "-A {name} -s {}", spec.scheduler)?;
    if let Some(persistence) = spec.persistence {
        write!(out, " -p {}", persistence.timeout.as_secs())?;
        if let Some(mask) = text::mask(persistence.granularity, spec.key.family()) {
            write!(out, " -M {mask}")?;
        }
    }
    if let Some(engine) = &spec.engine {
        write!(out, " --pe {engine}")?;
    }
    if spec.one_packet {
        out.write_str(" -o")?;
    }
    let flags = text::flags(&spec.scheduler, spec.flags);
    if !flags.is_empty() {
        write!(out, " -b {flags}")?;
    }
    writeln!(out)
}

/// Method, weight and tunnel of a real server.
pub(super) fn server_options(out: &mut dyn Write, spec: &DestinationSpec) -> fmt::Result {
    let method = match spec.method {
        ForwardingMethod::Masquerade => "-m",
        ForwardingMethod::Tunnel(_) => "-i",
        ForwardingMethod::DirectRoute => "-g",
    };
    write!(out, " {method} -w {}", spec.weight)?;
    match spec.method {
        ForwardingMethod::Tunnel(tunnel) => tunnel_options(out, tunnel),
        _ => Ok(()),
    }
}

fn tunnel_options(out: &mut dyn Write, tunnel: Tunnel) -> fmt::Result {
    let checksum = match tunnel {
        Tunnel::IpIp => return out.write_str(" --tun-type ipip"),
        Tunnel::Gue { port, checksum } => {
            write!(out, " --tun-type gue --tun-port {port}")?;
            checksum
        }
        Tunnel::Gre { checksum } => {
            out.write_str(" --tun-type gre")?;
            checksum
        }
    };
    out.write_str(match checksum {
        TunnelChecksum::None => " --tun-nocsum",
        TunnelChecksum::Checksum => " --tun-csum",
        TunnelChecksum::Remote => " --tun-remcsum",
    })
}
