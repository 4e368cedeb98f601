//! Weighted least-connection with connections that stay open.

use std::net::IpAddr;

use crate::demo::scene::Scene;
use crate::demo::{DemoError, SERVERS};

const CLIENTS: usize = 18;

pub(super) fn play(scene: &mut Scene<'_>) -> Result<(), DemoError> {
    scene.tell(
        "Eighteen clients connect and stay connected, as browsers do. Weighted least-\n\
         connection gives each to the real server with the least to do for its weight.",
    )?;
    scene.type_lines(
        "ipvsadm -A -t 192.168.0.1:80 -s wlc\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.2 -g -w 4\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.3 -g -w 2",
    )?;
    let mut visits = Vec::new();
    for client in scene.clients::<CLIENTS>() {
        visits.push(scene.visit(client, 80)?);
    }
    scene.bars(&visits, [4, 2])?;
    scene.type_lines("ipvsadm -Ln")?;
    let shares = SERVERS.map(|addr| visits.iter().filter(|visit| visit.server == addr).count());
    scene.fact(shares == [12, 6], "12 to 6 is exactly 4 to 2")?;
    let services = scene.services()?;
    let listed = SERVERS.map(|addr| {
        let mut all = services.iter().flat_map(|service| &service.destinations);
        let server = all.find(|server| server.spec.addr.addr == IpAddr::V4(addr));
        server.map_or(0, |server| server.active as usize)
    });
    scene.fact(listed == shares, "the director counts what the real servers say they serve")?;
    let totals = scene.totals()?;
    scene.fact(
        totals.packets_in > 0 && totals.packets_out == 0,
        "requests passed the director; answers went from server to client without it",
    )
}
