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
}

/// All of them.
pub(super) const ALL: &[Step] = &[
    Step { title: "Scheduling: weights 4 and 2 under wlc", play: scheduling::play },
    Step { title: "A cart that gets lost", play: cart_lost::play },
    Step { title: "A cart that is kept: persistence", play: cart_kept::play },
    Step { title: "A whole network together: granularity", play: granularity::play },
    Step { title: "Persistence per client: all ports together", play: per_client::play },
    Step { title: "Persistence per port: each by itself", play: per_port::play },
    Step { title: "Persistence by mark: browse on 80, pay on 443", play: fwmark::play },
    Step { title: "The life of a template", play: template::play },
    Step { title: "Once renewed, 60 s for good", play: template_renewed::play },
    Step { title: "The advice: tcpfin shorter than -p", play: template_ends::play },
    Step { title: "The ARP problem", play: arp::play },
];
