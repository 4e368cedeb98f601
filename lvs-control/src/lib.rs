//! The control socket of a director: how a program beside it asks what there is, and changes it.
//!
//! ```text
//!  lvsadm ── Client ══ Unix socket, JSON lines ══ Server ── Job ──▶ Desk ── director's loop
//!                                                 (threads) ◀─ Answer ──
//! ```
//!
//! * [`protocol`] has the requests and replies, [`data`] the listings as JSON: both are the schema that
//!   `lvsadm --json` prints.
//! * [`Server`] owns the socket. A thread for each connection reads, checks and writes; none of them holds up
//!   a packet. Connections, their requests and what waits for a slow reader are bounded.
//! * [`Desk`] belongs to the loop that owns the director. It does one small thing each time it is asked,
//!   such as listing a few hundred connections, so that it finds its place between two bursts.
//! * [`Client`] sends requests and reads replies; [`console`] is `lvsadm`, all but its `main`.
//!
//! Whoever runs a director implements [`Program`]: what there is besides the director itself, such as the
//! guard that must follow a change.
#![forbid(unsafe_code)]

pub mod client;
pub mod console;
pub mod data;
pub mod desk;
pub mod metrics;
pub mod plan;
pub mod protocol;
pub mod replacement;
pub mod server;
pub mod transaction;
mod wire;

pub use client::{Client, ClientError, ConnectError};
pub use desk::{Alone, Answer, Asker, Desk, Job, Order, Program, Replies, Stopping};
pub use protocol::{Refusal, Reply, Request};
pub use server::{Server, ServerError};

/// Where a director's socket is if nobody says otherwise.
pub const SOCKET_DEFAULT: &str = "/run/lvs/control.sock";
