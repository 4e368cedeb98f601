//! What was dropped, and why.

use lvs_core::director::Director;
use lvs_core::drop::DropReason;
use lvs_core::ids::PortId;
use lvs_core::time::Instant;
use serde::{Deserialize, Serialize};

use super::connection::milliseconds;
use super::step::Flow;

/// Frames that were dropped for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dropped {
    /// The reason's name, the same as in metrics.
    pub reason: String,
    /// What it means.
    pub meaning: String,
    /// How many.
    pub count: u64,
    /// The last of them.
    pub last: Option<LastDropped>,
}

/// One frame that was dropped.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LastDropped {
    /// How long ago.
    pub ago_ms: u64,
    /// The interface it came in by; null if it had waited before.
    pub interface: Option<String>,
    /// Where it came from and was sent; null if that could not be read.
    pub flow: Option<Flow>,
}

impl Dropped {
    /// Every reason that came up, in a fixed order.
    pub fn all(
        director: &Director,
        now: Instant,
        interface: &dyn Fn(PortId) -> Option<String>,
    ) -> Vec<Dropped> {
        let came_up = DropReason::ALL.iter().filter(|&&r| director.stats().dropped(r) > 0);
        came_up
            .map(|&reason| Dropped {
                reason: reason.name().to_owned(),
                meaning: reason.meaning().to_owned(),
                count: director.stats().dropped(reason),
                last: director.last_drop(reason).map(|last| LastDropped {
                    ago_ms: milliseconds(now.saturating_since(last.at)),
                    interface: last.port.and_then(interface),
                    flow: last.flow.as_ref().map(Flow::from),
                }),
            })
            .collect()
    }
}
