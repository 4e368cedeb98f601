//! What follows from the 60 s.

use crate::demo::DemoError;
use crate::demo::scene::Scene;

pub(super) fn play(scene: &mut Scene<'_>) -> Result<(), DemoError> {
    scene.tell(
        "From its first renewal on, 60 s is a template's timeout for good: whatever -p\n\
         says, its client is remembered for a minute after a new connection.",
    )?;
    scene.type_lines(
        "ipvsadm --set 90 60 300\n\
         ipvsadm -A -t 192.168.0.1:80 -s rr -p 4\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.2 -g",
    )?;
    let client = scene.client();
    scene.ask_once(client, 80, "GET", "/")?;
    scene.wait_until(1);
    scene.moment("A client has come and gone.")?;
    scene.type_lines("ipvsadm -Lcn")?;
    let first = scene.shows(client, &[("FIN_WAIT", 58), ("ASSURED", 2)])?;
    scene.wait_until(6);
    scene.visit(client, 80)?;
    scene.wait_until(7);
    scene.moment("It came back at 6 s, when the template had been renewed.")?;
    scene.type_lines("ipvsadm -Lcn")?;
    let second = scene.shows(client, &[("FIN_WAIT", 52), ("ESTABLISHED", 88), ("ASSURED", 58)])?;
    scene.fact(first && second, "its first connection was remembered for 4 s, the second is for 60")
}
