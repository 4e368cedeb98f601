//! Listings as JSON. The fields are those of [`crate::data`].

use lvs_admin::ipvsadm::{ListRequest, ListWhat};
use serde::Serialize;

use super::sync::Daemons;
use super::{Failure, Typed};
use crate::data::{Service, Timeouts};
use crate::protocol::{Reply, Request};

#[derive(Serialize)]
struct Services {
    services: Vec<Service>,
}

#[derive(Serialize)]
struct TimeoutsListing {
    timeouts: Timeouts,
}

/// A listing: an object with one field, which is called after what is listed.
pub(super) fn list(typed: &mut Typed<'_, '_>, request: &ListRequest) -> Result<(), Failure> {
    match request.what {
        ListWhat::Services => {
            let mut services = typed.services(request.service)?;
            services.sort_by_cached_key(|service| sort_key(&service.spec.service));
            print(typed, &Services { services })
        }
        ListWhat::Connections => connections(typed),
        ListWhat::Timeouts => {
            let timeouts = typed.settings()?.timeouts;
            print(typed, &TimeoutsListing { timeouts })
        }
        ListWhat::Daemons => {
            let daemons = typed.daemons()?;
            print(typed, &Daemons { daemons })
        }
    }
}

/// Prints a value on a line of its own.
pub(super) fn print(typed: &mut Typed<'_, '_>, value: &impl Serialize) -> Result<(), Failure> {
    let output = &mut *typed.console.output;
    serde_json::to_writer(&mut *output, value).map_err(std::io::Error::from)?;
    Ok(writeln!(output)?)
}

/// Marks first as in the listings in text, then addresses in their order.
fn sort_key(name: &crate::data::ServiceName) -> impl Ord + use<> {
    use crate::data::{IpFamily, ServiceName};
    match *name {
        ServiceName::Address { protocol, address, port } => {
            (0, address.is_ipv6(), protocol, Some(address), port)
        }
        ServiceName::Mark { mark, family } => {
            (mark, family == IpFamily::Ipv6, lvs_core::flow::Protocol::IP, None, 0)
        }
    }
}

/// One connection a line, so that a long table needs no memory here nor where it is read.
fn connections(typed: &mut Typed<'_, '_>) -> Result<(), Failure> {
    typed.client()?;
    let Some(mut client) = typed.client.take() else { return Ok(()) };
    let output = &mut *typed.console.output;
    output.write_all(b"{\"connections\":[")?;
    let mut between: &[u8] = b"\n";
    for reply in client.ask(Request::Connections)? {
        let Reply::Connections(connections) = reply? else { continue };
        for connection in &connections {
            output.write_all(between)?;
            between = b",\n";
            serde_json::to_writer(&mut *output, connection).map_err(std::io::Error::from)?;
        }
    }
    Ok(output.write_all(b"\n]}\n")?)
}
