//! PCC: a service of port 0.

use crate::demo::DemoError;
use crate::demo::scene::{Scene, row};

pub(super) fn play(scene: &mut Scene<'_>) -> Result<(), DemoError> {
    scene.tell(
        "Port 0 is every port (the tutorials' PCC): a client's HTTP and SSH arrive at\n\
         the same machine.",
    )?;
    scene.type_lines(
        "ipvsadm -A -t 192.168.0.1:0 -s wlc -p 600\n\
         ipvsadm -a -t 192.168.0.1:0 -r 192.168.1.2 -w 4 -g\n\
         ipvsadm -a -t 192.168.0.1:0 -r 192.168.1.3 -w 2 -g",
    )?;
    let clients = scene.clients::<3>();
    let mut rows = vec![row([&"client", &"port 80", &"port 22"])];
    let mut together = true;
    for client in &clients {
        let web = scene.visit(*client, 80)?;
        let shell = scene.visit(*client, 22)?;
        together &= web.server == shell.server;
        rows.push(row([client, &web.server, &shell.server]));
    }
    scene.table(&rows)?;
    scene.type_lines("ipvsadm -Lcn")?;
    scene.fact(together, "both connections of each client are at one real server")?;
    let templates = scene.connections()?.iter().filter(|entry| entry.template).count();
    scene.fact(templates == 3, "one template a client, whatever the port: its ports are 0")
}
