//! The same shop with persistence.

use super::cart_lost::shop;
use crate::demo::DemoError;
use crate::demo::scene::Scene;

pub(super) fn play(scene: &mut Scene<'_>) -> Result<(), DemoError> {
    scene.tell(
        "With -p the director remembers where it sent a client, here for 600 s after the\n\
         client's last new connection. Everything else is as before.",
    )?;
    scene.type_lines(
        "ipvsadm -A -t 192.168.0.1:80 -s rr -p 600\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.2 -g\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.3 -g",
    )?;
    let shopper = scene.client();
    let said = shop(scene, shopper)?;
    scene.type_lines("ipvsadm -Lcn")?;
    scene.fact(
        said.last().is_some_and(|cart| cart == "teapot, cups, spoons"),
        "all three things are in the cart",
    )?;
    let template = scene.template(shopper)?;
    scene.fact(
        template.as_ref().is_some_and(|template| template.client.port.0 == 0),
        "the last line, with client port 0, is the memory: the persistence template",
    )?;
    let other = scene.client();
    let elsewhere = scene.visit(other, 80)?;
    scene.fact(
        template.is_some_and(|template| template.destination.addr != elsewhere.server),
        "the next client is scheduled anew, and gets the other real server",
    )
}
