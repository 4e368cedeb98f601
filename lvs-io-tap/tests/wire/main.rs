//! The backend on TAP devices of a real kernel, in namespaces that the tests make.
//!
//! `cargo test -p lvs-io-tap` as root runs them; without root they fail and say so.

mod common;
mod conformance;
mod devices;
mod failures;
mod offloads;
