//! A template from its beginning to its end, with the 60 s that it is given while a connection lives.

use std::net::Ipv4Addr;

use crate::demo::DemoError;
use crate::demo::scene::Scene;
use crate::demo::stage::Pace;

/// `tcpfin`: how long a connection stays listed after its client's FIN.
const FIN_WAIT: u64 = 60;
/// When the client closes its connection.
const CLOSED: u64 = 3;

pub(super) fn play(scene: &mut Scene<'_>) -> Result<(), DemoError> {
    // The listings of a tutorial have 10 s; where a second is a second, 6 tell the same.
    let persistence = if scene.pace() == Pace::Virtual { 10 } else { 6 };
    scene.tell(&format!(
        "A template counts down from the persistence timeout, {persistence} s here. If one of its\n\
         connections is still listed at the end, though only in FIN_WAIT, it gets 60 s.",
    ))?;
    scene.type_lines(&format!(
        "ipvsadm --set 90 {FIN_WAIT} 300\n\
         ipvsadm -A -t 192.168.0.1:80 -s rr -p {persistence}\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.2 -g",
    ))?;
    let client = scene.client();
    counts_down(scene, client, persistence)?;
    let renewed = persistence + 1;
    scene.wait_until(renewed);
    scene.moment(&format!("The template's {persistence} s are over, its connection is not."))?;
    scene.type_lines("ipvsadm -Lcn")?;
    let fin_wait = FIN_WAIT + CLOSED - renewed - 1;
    let holds = scene.shows(client, &[("FIN_WAIT", fin_wait), ("ASSURED", 58)])?;
    scene.fact(holds, &format!("at {persistence} s the template started again, at 60 s"))?;
    match scene.pace() {
        Pace::Virtual => ends(scene, client, persistence + 60),
        Pace::Real => scene.tell_after(
            "It will end a minute after that, at 66 s: the demo in virtual time, which is\n\
             the one without --netns, waits for it.",
        ),
    }
}

/// From the client's SYN to its FIN, and a bit.
fn counts_down(scene: &mut Scene<'_>, client: Ipv4Addr, persistence: u64) -> Result<(), DemoError> {
    scene.cut_off(true)?;
    let link = scene.connect(client, 80)?;
    scene.wait_until(0);
    scene.moment("The client's SYN has come; the real server has not answered yet.")?;
    scene.type_lines("ipvsadm -Lcn")?;
    let holds = scene.shows(client, &[("SYN_RECV", 59), ("NONE", persistence - 1)])?;
    scene.fact(holds, "the template is the line of client port 0; its state is NONE")?;
    scene.cut_off(false)?;
    scene.wait_open(link)?;
    scene.wait_until(2);
    scene.moment("The handshake is done: ASSURED. (Older kernels go on saying NONE.)")?;
    scene.type_lines("ipvsadm -Lcn")?;
    let holds = scene.shows(client, &[("ESTABLISHED", 88), ("ASSURED", persistence - 3)])?;
    scene.fact(holds, "it counts down, although its connection is in use")?;
    scene.wait_until(CLOSED);
    scene.close(link)?;
    let before = persistence - 2;
    scene.wait_until(before);
    scene.moment(&format!("The client closed its connection at {CLOSED} s."))?;
    scene.type_lines("ipvsadm -Lcn")?;
    let fin_wait = FIN_WAIT + CLOSED - before - 1;
    let holds = scene.shows(client, &[("FIN_WAIT", fin_wait), ("ASSURED", 1)])?;
    scene.fact(holds, "FIN_WAIT will last longer than the template")
}

fn ends(scene: &mut Scene<'_>, client: Ipv4Addr, end: u64) -> Result<(), DemoError> {
    scene.wait_until(end - 5);
    scene.moment(&format!("The connection ended at {} s.", CLOSED + FIN_WAIT))?;
    scene.type_lines("ipvsadm -Lcn")?;
    let holds = scene.shows(client, &[("ASSURED", 4)])?;
    scene.fact(holds, &format!("the template does not end with it, but at {end} s"))?;
    scene.wait_until(end);
    scene.moment("No connection holds it any more.")?;
    scene.type_lines("ipvsadm -Lcn")?;
    let holds = scene.shows(client, &[])?;
    scene.fact(holds, "the template is gone, the client forgotten")
}
