//! A shop without persistence.

use std::net::Ipv4Addr;

use crate::demo::DemoError;
use crate::demo::scene::{Scene, row};

/// What a shopper does, on a connection each.
const ERRANDS: [(&str, &str); 4] =
    [("POST", "/cart/teapot"), ("POST", "/cart/cups"), ("POST", "/cart/spoons"), ("GET", "/cart")];

pub(super) fn play(scene: &mut Scene<'_>) -> Result<(), DemoError> {
    scene.tell(
        "HTTP forgets. This shop keeps carts in the memory of the real server that was\n\
         asked; round robin sends one shopper's connections now here, now there.",
    )?;
    scene.type_lines(
        "ipvsadm -A -t 192.168.0.1:80 -s rr\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.2 -g\n\
         ipvsadm -a -t 192.168.0.1:80 -r 192.168.1.3 -g",
    )?;
    let shopper = scene.client();
    let said = shop(scene, shopper)?;
    scene.type_lines("ipvsadm -Lcn")?;
    scene.fact(
        said == ["teapot", "cups", "teapot, spoons", "cups"],
        "of three things bought, the shopper finds one in the cart",
    )?;
    let connections = scene.connections()?;
    scene.fact(
        connections.len() == 4 && connections.iter().all(|entry| !entry.template),
        "the director remembers four connections, but no client",
    )?;
    scene.fact(
        connections.iter().all(|entry| entry.state == "FIN_WAIT"),
        "it sees only the clients' half of them: after their FIN it says FIN_WAIT",
    )
}

/// Buys three things and looks into the cart. Returns what the cart was said to hold each time.
pub(super) fn shop(scene: &mut Scene<'_>, shopper: Ipv4Addr) -> Result<Vec<String>, DemoError> {
    let mut rows = vec![row([&shopper, &"answered by", &"says it has in the cart"])];
    let mut said = Vec::new();
    for (method, path) in ERRANDS {
        let answer = scene.ask_once(shopper, 80, method, path)?;
        rows.push(row([&format!("{method} {path}"), &answer.server, &answer.body]));
        said.push(answer.body);
    }
    scene.table(&rows)?;
    Ok(said)
}
