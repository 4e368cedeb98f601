//! The director as an operator runs it: the binary on a host of its own, between real clients and real
//! servers, over veth pairs with default offloads. The director's host has `ip_forward=1`.
//!
//! `cargo test -p lvs-director` as root runs them; without root they fail and say so. `cargo xtask ci`
//! installs the programs that they need.
//!
//! No test believes in time: each waits for what it wants to see, however slow the machine is. That
//! something does *not* come is seen by what would have to come behind it.

mod addresses;
mod arp;
mod balance;
mod bulk;
mod control;
mod director;
mod drain;
mod far;
mod far_tunnel;
mod forged;
mod fragments;
mod host;
mod keepalived;
mod latency;
mod listing;
mod masquerade;
mod numbers;
mod persistence;
mod privileges;
mod realserver;
mod reload;
mod routes;
mod sctp;
mod sync;
mod tagged;
mod tap;
mod terminal;
mod three_methods;
mod trace;
mod trunk;
mod tunnel;
mod vlan;
mod why;
mod wire;
