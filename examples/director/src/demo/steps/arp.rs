//! A real server that answers ARP for the virtual address.

use std::net::{IpAddr, Ipv4Addr};

use crate::demo::scene::Scene;
use crate::demo::{DemoError, SERVERS, VIP};

const CARELESS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 4);

pub(super) fn play(scene: &mut Scene<'_>) -> Result<(), DemoError> {
    scene.tell(
        "In direct routing every real server has the virtual address, but only the\n\
         director may answer ARP for it. Somebody puts up 192.168.1.4, with the address,\n\
         and forgets arp_ignore and arp_announce. It is not even in the rules yet.",
    )?;
    scene.type_lines(
        "ipvsadm -A -t 192.168.0.1:80 -s rr\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.2 -g\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.3 -g",
    )?;
    let [before, after] = scene.clients();
    let first = scene.visit(before, 80)?;
    let alone = scene.conflicts()?.is_empty();
    scene.add_careless_server(CARELESS)?;
    let second = scene.visit(after, 80)?;
    scene.table(&[
        vec!["client".into(), String::new(), "answered by".into()],
        vec![before.to_string(), "came before".into(), first.server.to_string()],
        vec![after.to_string(), "came after".into(), second.server.to_string()],
    ])?;
    scene.wait_until(31);
    scene.type_lines("ipvsadm -Lcn")?;
    let listed = [!scene.shows(before, &[])?, !scene.shows(after, &[])?];
    scene.fact(
        SERVERS.contains(&first.server) && listed[0],
        "the first client went through the director",
    )?;
    scene.fact(
        second.server == CARELESS && !listed[1],
        "the second passed it by: it got 192.168.1.4, and the director knows nothing",
    )?;
    let conflicts = scene.conflicts()?;
    let [conflict] = conflicts[..] else {
        return scene.fact(false, "the director finds out by asking every 30 s");
    };
    scene.fact(
        alone && conflict.addr == IpAddr::V4(VIP),
        &format!("but it asks every 30 s, and reports who answers: {}", conflict.mac),
    )?;
    scene.advise(
        "On every real server, before its lo gets the address:",
        "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
    )
}
