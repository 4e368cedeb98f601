//! What operators are advised to do about the 60 s.

use crate::demo::DemoError;
use crate::demo::scene::Scene;
use crate::demo::stage::Pace;

pub(super) fn play(scene: &mut Scene<'_>) -> Result<(), DemoError> {
    let (fin, persistence) = match scene.pace() {
        Pace::Virtual => (30, 40),
        Pace::Real => (4, 8),
    };
    scene.tell(
        "With tcpfin, the second of --set, shorter than -p, no connection that was\n\
         closed is left when its template's time comes.",
    )?;
    scene.type_lines(&format!(
        "ipvsadm --set 28800 {fin} 60\n\
         ipvsadm -A -t 192.168.0.1:80 -s rr -p {persistence}\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.2 -g\n\
         ipvsadm -L --timeout",
    ))?;
    let client = scene.client();
    scene.ask_once(client, 80, "GET", "/")?;
    scene.wait_until(1);
    scene.moment("A client has come and gone.")?;
    scene.type_lines("ipvsadm -Lcn")?;
    let first = scene.shows(client, &[("FIN_WAIT", fin - 2), ("ASSURED", persistence - 2)])?;
    scene.wait_until(persistence - 2);
    scene.moment("FIN_WAIT is over, the client still remembered.")?;
    scene.type_lines("ipvsadm -Lcn")?;
    let then = scene.shows(client, &[("ASSURED", 1)])?;
    scene.wait_until(persistence + 1);
    scene.moment("The template ended by its own timeout.")?;
    scene.type_lines("ipvsadm -Lcn")?;
    let last = scene.shows(client, &[])?;
    scene.fact(first && then && last, "no renewal came in between")
}
