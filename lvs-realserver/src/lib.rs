//! The real server's side of a Linux Virtual Server.
//!
//! A real server answers clients itself, under the virtual address. So its host must have that address,
//! and must neither answer ARP for it nor use it as the sender of ARP requests, or clients pass the
//! director by. Behind a tunnel it must also open what the director wrapped, and take packets whose way
//! back leads out of another interface. Every guide has commands for this; here they are a plan:
//!
//! ```
//! use lvs_realserver::{Host, Method, Spec};
//!
//! let spec = Spec::new(["192.0.2.80".parse().unwrap()], Method::DirectRoute)?;
//! // `Host::observe` reads the host that the program runs on.
//! let host = Host::default();
//! let plan = lvs_realserver::plan(&spec, &host);
//! assert!(!plan.is_right());
//! let commands: Vec<String> = plan.changes().map(|change| change.command()).collect();
//! assert!(commands.contains(&"ip address add 192.0.2.80/32 dev lo".to_owned()));
//! # Ok::<(), lvs_realserver::SpecError>(())
//! ```
//!
//! | to do | with |
//! | --- | --- |
//! | say what a real server needs | [`Spec`], [`Method`], [`commands`] |
//! | see what its host lacks | [`Host::observe`], [`plan`] |
//! | change it, and back | [`Applied`] |
//! | see the routes of a director's host | [`routes`] |
//! | open tunnels | [`Decapsulator`]; [`decap`] is what it does with one packet |
//!
//! # What stays when the process is killed
//!
//! [`Applied`] takes back what it changed when it is dropped. SIGKILL leaves addresses and sysctls as they
//! are then; the next run finds them right, leaves them, and does not take them back either. The
//! decapsulator's device goes with the process in any case.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod apply;
mod change;
pub mod decap;
mod decapsulator;
mod device;
mod error;
mod host;
mod netlink;
mod observe;
mod plan;
mod receiver;
pub mod routes;
mod spec;
#[expect(unsafe_code, reason = "system calls that rustix has no function for")]
mod sys;
mod sysctl;

pub use apply::{Applied, Outcome, Undone};
pub use change::Change;
pub use decap::Refusal;
pub use decapsulator::{Decapsulator, DecapsulatorConfig, Stats};
pub use error::Error;
pub use host::{Host, Interface};
pub use plan::{Finding, Plan, Standing, commands, plan};
pub use spec::{DEVICE, GUE_PORT, Method, Opener, Spec, SpecError, TunnelKind};
pub use sysctl::Sysctl;
