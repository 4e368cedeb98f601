//! Connection synchronisation as Linux IPVS speaks it: a master tells its backups of connections, so that
//! they go on when a backup takes over.
//!
//! The protocol is one way, datagrams to a multicast group, without acknowledgement, authentication or
//! encryption: it belongs on a link that only directors use.
//!
//! | module | holds |
//! | --- | --- |
//! | [`message`] | datagrams read and written, both versions |
//! | [`master`] | announcements batched into datagrams, as long as they may wait |
//! | [`backup`] | datagrams taken into a director, and what became of each entry |
//!
//! What is announced, and when, is decided where connections are: by
//! [`Director`](lvs_core::director::Director) once [`Command::SetSyncRoles`] made it a master. This crate
//! has neither socket nor clock: the caller sends what [`Master::poll`](master::Master::poll) gives, to port
//! [`PORT`] plus its offset, and hands what it receives to [`Backup::take`](backup::Backup::take).
//!
//! ```
//! use lvs_core::command::{Command, SyncRoles};
//! use lvs_core::director::Director;
//! use lvs_core::limits::Limits;
//! use lvs_core::time::Instant;
//! use lvs_sync::{backup, master};
//!
//! let now = Instant::ZERO;
//! let mut old = Director::new(Limits::small(), [1, 2])?;
//! old.apply(now, Command::SetSyncRoles(SyncRoles { master: true, backup: false }))?;
//! let mut master = master::Master::new(master::Settings { syncid: 7, ..master::Settings::default() })?;
//! let mut new = Director::new(Limits::small(), [3, 4])?;
//! let mut backup = backup::Backup::new(backup::Settings { syncid: 7 });
//!
//! // After each burst and each call of the timers:
//! while let Some(announcement) = old.poll_announcement() {
//!     master.offer(now, &announcement);
//! }
//! while let Some((_port_offset, datagram)) = master.poll(now) {
//!     // … through a socket …
//!     backup.take(now, &mut new, &datagram);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Command::SetSyncRoles`]: lvs_core::command::Command::SetSyncRoles
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod backup;
mod convert;
pub mod master;
pub mod message;

pub use convert::Refusal;

/// The UDP port of the first thread; the others follow it.
pub const PORT: u16 = 8848;

/// The most threads, and ports, that a master has (`sync_ports`).
pub const PORTS_MAX: u8 = 64;

/// The examples of the README are compiled with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
