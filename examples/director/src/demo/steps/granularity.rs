//! Persistence of a whole network.

use crate::demo::DemoError;
use crate::demo::scene::{Scene, row};

pub(super) fn play(scene: &mut Scene<'_>) -> Result<(), DemoError> {
    scene.tell(
        "Clients behind several proxies come with several addresses. A granularity of\n\
         255.255.255.0 keeps a /24 together.",
    )?;
    scene.type_lines(
        "ipvsadm -A -t 192.168.0.1:80 -s rr -p 600 -M 255.255.255.0\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.2 -g\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.3 -g",
    )?;
    let mut rows = vec![row([&"client", &"answered by"])];
    let mut visits = Vec::new();
    let here = scene.clients::<4>();
    for (number, mut client) in here.into_iter().enumerate() {
        if number % 2 == 1 {
            let [a, b, _, d] = client.octets();
            client = [a, b, 8, d].into();
        }
        let visit = scene.visit(client, 80)?;
        rows.push(row([&client, &visit.server]));
        visits.push(visit.server);
    }
    scene.table(&rows)?;
    scene.type_lines("ipvsadm -Ln\nipvsadm -Lcn")?;
    scene.fact(
        visits[0] == visits[2] && visits[1] == visits[3] && visits[0] != visits[1],
        "each /24 has one real server",
    )?;
    let templates = scene.connections()?.into_iter().filter(|entry| entry.template);
    let mut clients: Vec<String> = templates.map(|entry| entry.client.to_string()).collect();
    clients.sort();
    scene.fact(
        clients == ["192.168.7.0:0", "192.168.8.0:0"],
        "and one template, of the network's address",
    )
}
