//! Networks for end-to-end tests: clients, a director and real servers, each in a network namespace of
//! its own, joined by veth pairs and a bridge, with the kernel's default offloads everywhere.
//!
//! ```no_run
//! use lvs_testnet::{Ab, HttpServer, Net};
//!
//! let net = Net::one_armed(3);
//! let servers: Vec<_> = net.servers().iter().map(|host| HttpServer::start(host, 80)).collect();
//! let report = Ab::new(10_000, 50, "http://10.77.0.11/").run(net.client());
//! assert_eq!((report.complete, report.failed), (10_000, 0));
//! assert!(servers[0].requests() >= 10_000);
//! ```
//!
//! # Nothing is left behind
//!
//! The namespaces have no names: each lives as long as the thread that made it, and with it go its
//! interfaces, addresses and rules. Programs started in a namespace are killed when their
//! [`Process`] is dropped, and by the kernel when the test dies in any other way. So neither a panic nor
//! a SIGKILL of the test leaves anything to clean up. While a test runs, its namespaces can be entered
//! from a shell with `nsenter --net=PATH`, where PATH is [`Host::namespace_path`].
//!
//! # Failing
//!
//! This crate is for tests: whatever goes wrong in building a network panics, with the command, its
//! output, and what to do about it. Tests begin with [`require`], which names the Debian packages of
//! missing programs. Root is needed, or `unshare --user --map-root-user cargo test`.
//!
//! | module | what it offers |
//! | --- | --- |
//! | [`Net`], [`Host`], [`Process`] | topologies, hosts, programs running on them |
//! | [`HttpServer`], [`TcpEcho`], [`UdpEcho`] | servers that run inside the test |
//! | [`http`], [`Ab`] | clients: a small HTTP client, and ApacheBench with its report |
//! | [`PacketSocket`], [`OffloadSocket`], [`Capture`], [`describe`] | what was on the wire |
//! | [`backend`] | what the tests of backends do |
#![cfg(target_os = "linux")]

mod ab;
pub mod backend;
mod capture;
mod describe;
mod echo;
mod host;
pub mod http;
mod listener;
mod net;
mod offload;
mod packet;
mod pattern;
mod prerequisites;
mod process;
mod sys;

pub use ab::{Ab, AbReport};
pub use capture::Capture;
pub use describe::describe;
pub use echo::{TcpEcho, UdpEcho};
pub use host::Host;
pub use http::server::HttpServer;
pub use net::Net;
pub use offload::OffloadSocket;
pub use packet::{PacketSocket, Seen};
pub use pattern::{Digest, Pattern, digest_of_pattern};
pub use prerequisites::require;
pub use process::{Output, Process};
pub use rustix::process::Signal;
