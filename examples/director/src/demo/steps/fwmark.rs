//! Persistence of a firewall mark.

use crate::demo::DemoError;
use crate::demo::scene::{Scene, row};

pub(super) fn play(scene: &mut Scene<'_>) -> Result<(), DemoError> {
    scene.tell(
        "What belongs together gets one firewall mark, and the mark is the service: no\n\
         matter by which port, a shopper stays with the cart. (No TLS here: a demo.)",
    )?;
    scene.type_lines(
        "iptables -t mangle -A PREROUTING -d 192.168.0.1 -p tcp --dport 80 \\\n\
         \x20       -j MARK --set-mark 10\n\
         iptables -t mangle -A PREROUTING -d 192.168.0.1 -p tcp --dport 443 \\\n\
         \x20       -j MARK --set-mark 10\n\
         ipvsadm -A -f 10 -s wlc -p\n\
         ipvsadm -a -f 10 -r 192.168.1.2 -g -w 4\n\
         ipvsadm -a -f 10 -r 192.168.1.3 -g -w 2",
    )?;
    let mut rows = vec![row([&"client", &"port 80", &"in the cart", &"port 443", &"at the till"])];
    let (mut together, mut paid) = (true, true);
    for (shopper, item) in scene.clients::<3>().iter().zip(["teapot", "cups", "spoons"]) {
        let cart = scene.ask_once(*shopper, 80, "POST", &format!("/cart/{item}"))?;
        let till = scene.ask_once(*shopper, 443, "POST", "/pay")?;
        together &= cart.server == till.server;
        paid &= till.body == format!("paid: {item}");
        rows.push(row([shopper, &cart.server, &cart.body, &till.server, &till.body]));
    }
    scene.table(&rows)?;
    scene.type_lines("ipvsadm -Ln\nipvsadm -Lcn")?;
    scene.fact(together && paid, "each pays for what was put into the cart")?;
    let entries = scene.connections()?;
    let mut templates = entries.iter().filter(|entry| entry.template);
    let of_mark = templates.all(|template| template.virt.to_string() == "0.0.0.10:0");
    scene.fact(of_mark, "templates of mark 10 have protocol IP and the mark for an address")
}
