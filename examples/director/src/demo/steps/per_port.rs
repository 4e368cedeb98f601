//! PPC: a service for each port.

use crate::demo::DemoError;
use crate::demo::scene::{Scene, row};

pub(super) fn play(scene: &mut Scene<'_>) -> Result<(), DemoError> {
    scene.tell(
        "A service for each port (PPC): each is remembered by itself, so a client's HTTP\n\
         and SSH may part.",
    )?;
    scene.type_lines(
        "ipvsadm -A -t 192.168.0.1:80 -s wlc -p 600\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.2 -w 4 -g\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.3 -w 2 -g\n\
         ipvsadm -A -t 192.168.0.1:22 -s wlc -p 600\n\
         ipvsadm -a -t 192.168.0.1:22 -r 192.168.1.2 -g\n\
         ipvsadm -a -t 192.168.0.1:22 -r 192.168.1.3 -g",
    )?;
    let clients = scene.clients::<3>();
    let mut rows = vec![row([&"client", &"port 80", &"again", &"port 22", &"again"])];
    let (mut parted, mut kept) = (0, true);
    for client in &clients {
        let mut servers = Vec::new();
        for port in [80, 80, 22, 22] {
            servers.push(scene.visit(*client, port)?.server);
        }
        let [web, web_again, shell, shell_again] = servers[..] else { continue };
        parted += usize::from(web != shell);
        kept &= web == web_again && shell == shell_again;
        rows.push(row([client, &web, &web_again, &shell, &shell_again]));
    }
    scene.table(&rows)?;
    scene.type_lines("ipvsadm -Ln --persistent-conn")?;
    scene.fact(kept, "each port goes where that port went before")?;
    scene.fact(parted > 0, "but the two ports of a client need not go to one real server")?;
    let templates = scene.connections()?.iter().filter(|entry| entry.template).count();
    scene.fact(templates == 6, "two templates a client, one for each port")
}
