//! The steps of the story, in their order.

use super::DemoError;
use super::scene::Scene;

mod arp;
mod cart_kept;
mod cart_lost;
mod fwmark;
mod granularity;
mod per_client;
mod per_port;
mod scheduling;
mod template;
mod template_ends;
mod template_renewed;

/// A step.
pub(super) struct Step {
    pub(super) title: &'static str,
    pub(super) play: fn(&mut Scene<'_>) -> Result<(), DemoError>,
    /// Whether it only comes out the same each time where time and chance are ours.
    pub(super) virtual_only: bool,
}

/// All of them.
pub(super) const ALL: &[Step] = &[
    anywhere("Scheduling: weights 4 and 2 under wlc", scheduling::play),
    anywhere("A cart that gets lost", cart_lost::play),
    anywhere("A cart that is kept: persistence", cart_kept::play),
    anywhere("A whole network together: granularity", granularity::play),
    anywhere("Persistence per client: all ports together", per_client::play),
    anywhere("Persistence per port: each by itself", per_port::play),
    anywhere("Persistence by mark: browse on 80, pay on 443", fwmark::play),
    anywhere("The life of a template", template::play),
    anywhere("Once renewed, 60 s for good", template_renewed::play),
    anywhere("The advice: tcpfin shorter than -p", template_ends::play),
    // Of two answers to one ARP request a kernel believes the one that is microseconds earlier.
    Step { title: "The ARP problem", play: arp::play, virtual_only: true },
];

const fn anywhere(title: &'static str, play: fn(&mut Scene<'_>) -> Result<(), DemoError>) -> Step {
    Step { title, play, virtual_only: false }
}
